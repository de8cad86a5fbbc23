package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
)

// A dry run is refused and answered as the request would be, and leaves nothing behind.
func TestDryRunsOfTheCatalog(t *testing.T) {
	s := serve(t)
	const dry = "?dry_run=true"
	c := read[api.Configuration](s.upload("/v1/configurations/wifi"+dry, wifi).ok(201))
	require.Equal(t, "com.zylker.wifi", c.Identifier)
	s.get("/v1/configurations/wifi").fails(404, provision.NotFound)
	s.upload("/v1/configurations/wifi"+dry, "not a profile").fails(422, provision.ConfigurationBad)

	s.upload("/v1/configurations/wifi", wifi).ok(201)
	s.upload("/v1/configurations/wifi"+dry, profile("com.zylker.other")).fails(422, provision.ConfigurationBad)
	changed := read[api.Configuration](s.upload("/v1/configurations/wifi"+dry+"&description=Yard", wifi).ok(200))
	require.Equal(t, int64(2), changed.Version)
	require.Equal(t, int64(1), read[api.Configuration](s.get("/v1/configurations/wifi").ok(200)).Version)

	s.put("/v1/apps/routes"+dry, body{"bundle_id": "com.zylker.routes", "store_id": 1}).ok(201)
	s.get("/v1/apps/routes").fails(404, provision.NotFound)
	s.put("/v1/documents/menu"+dry, body{"media_url": "https://docs.zylker.com/menu.pdf"}).ok(201)
	s.get("/v1/documents/menu").fails(404, provision.NotFound)
	s.send(request{method: "PUT", path: "/v1/documents/menu/content" + dry, body: "%PDF-1.7", media: "application/octet-stream"}).ok(201)
	s.get("/v1/documents/menu").fails(404, provision.NotFound)
	s.sql(`DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM document_files), 'the file is left'; END $$`)
	s.put("/v1/device-profiles/kiosk"+dry, body{"fields": body{"department": "IT"}}).ok(201)
	s.put("/v1/device-profiles/kiosk"+dry, body{"fields": body{"colour": "red"}}).fails(422, provision.DeviceProfileBad)
	s.get("/v1/device-profiles/kiosk").fails(404, provision.NotFound)
	ldap := body{"kind": "ldap", "domain": "ZYLKER", "urls": []string{"ldaps://dc.zylker.com"}, "base_dn": "dc=zylker,dc=com", "bind_template": "uid={user},dc=zylker,dc=com"}
	s.put("/v1/directories/zylker"+dry, ldap).ok(201)
	s.get("/v1/directories/zylker").fails(404, provision.NotFound)
	ldap["groups"] = []body{{"directory_group": "cn=drivers", "group": "drivers"}}
	s.put("/v1/directories/zylker"+dry, ldap).fails(422, provision.GroupNotFound)
	s.put("/v1/directories/zylker"+dry+"&assume=group/drivers", ldap).ok(201)
	s.get("/v1/groups/drivers").fails(404, provision.GroupNotFound)
}

func TestDryRunsAssumeWhatWillBeMade(t *testing.T) {
	s := serve(t)
	s.upload("/v1/configurations/wifi", wifi).ok(201)
	at := "/v1/groups/drivers?dry_run=true"
	in := body{"device_profile": "kiosk", "items": []body{
		{"kind": "configuration", "name": "wifi", "depends_on": []body{{"kind": "app", "name": "routes"}}},
		{"kind": "app", "name": "routes"},
		{"kind": "document", "name": "menu"},
	}}
	s.put(at, in).fails(422, provision.NotFound)
	s.put(at+"&assume=device_profile/kiosk", in).fails(422, provision.DependencyMissing)
	s.put(at+"&assume=device_profile/kiosk&assume=app/routes", in).fails(422, provision.ItemNotFound)
	all := at + "&assume=device_profile/kiosk&assume=app/routes&assume=document/menu"
	g := read[api.Group](s.put(all, in).ok(201))
	require.Len(t, g.Items, 3)
	for _, thing := range []string{"groups/drivers", "apps/routes", "documents/menu", "device-profiles/kiosk"} {
		require.Equal(t, 404, s.get("/v1/"+thing).status, thing)
	}
	circle := body{"items": []body{
		{"kind": "app", "name": "routes", "depends_on": []body{{"kind": "document", "name": "menu"}}},
		{"kind": "document", "name": "menu", "depends_on": []body{{"kind": "app", "name": "routes"}}},
	}}
	s.put(all, circle).fails(422, provision.DependencyCycle)
	both := body{"items": []body{{"kind": "configuration", "name": "wifi"}, {"kind": "configuration", "name": "wlan"}}}
	s.put(at+"&assume=configuration/wlan/com.zylker.wifi", both).fails(422, provision.ItemConflict)
	s.put(at+"&assume=configuration/wlan", both).ok(201)

	require.Equal(t, []string{"assume"}, fields(s.put("/v1/groups/drivers?assume=app/routes", circle).fails(400, "invalid_parameter")))
	require.Equal(t, []string{"assume"}, fields(s.put(at+"&assume=routes", circle).fails(400, "invalid_parameter")))
	require.Equal(t, []string{"assume"}, fields(s.put(at+"&assume=ship/routes", circle).fails(422, provision.Invalid)))
}

// Devices aren't told of what is only tried.
func TestDryRunsTellNoDevice(t *testing.T) {
	s := serve(t)
	s.upload("/v1/configurations/wifi", wifi).ok(201)
	s.put("/v1/groups/drivers", body{"items": []body{}}).ok(201)
	s.put(device+"/assignment", body{"groups": []string{"drivers"}}).ok(200)
	in := body{"items": []body{{"kind": "configuration", "name": "wifi"}}}
	s.put("/v1/groups/drivers?dry_run=true", in).ok(200)
	require.Equal(t, []string{"assigned"}, s.kinds(serial))
	s.put("/v1/groups/drivers", in).ok(200)
	require.Equal(t, []string{"assigned", "catalog_changed"}, s.kinds(serial))
}
