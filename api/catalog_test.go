package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
)

func TestGroups(t *testing.T) {
	s := serve(t)
	s.upload("/v1/configurations/wifi", wifi).ok(201)
	s.put("/v1/apps/routes", body{"bundle_id": "com.zylker.routes", "store_id": 361309726}).ok(201)
	in := body{"description": "north", "items": []body{
		{"kind": "configuration", "name": "wifi", "stage": "before_release"},
		{"kind": "app", "name": "routes", "depends_on": []body{{"kind": "configuration", "name": "wifi"}}},
	}}
	a := s.put("/v1/groups/drivers%20%26%20co", in).ok(201)
	require.Equal(t, `"1"`, a.header.Get("ETag"))
	g := read[api.Group](s.get("/v1/groups/drivers%20%26%20co").ok(200))
	require.Equal(t, "drivers & co", g.Name)
	require.Equal(t, api.Required, *g.Items[1].Stage)
	require.Equal(t, "wifi", (*g.Items[1].DependsOn)[0].Name)
	require.Equal(t, `"1"`, s.put("/v1/groups/drivers%20%26%20co", in).ok(200).header.Get("ETag"), "nothing changed")

	s.put("/v1/groups/a%2Fb", in).fails(422, provision.GroupNameInvalid)
	s.put("/v1/groups/"+strings.Repeat("x", 101), in).fails(422, provision.GroupNameInvalid)
	s.put("/v1/groups/DRIVERS%20%26%20co", in).fails(409, provision.AlreadyExists)
	twice := body{"items": []body{{"kind": "app", "name": "routes"}, {"kind": "app", "name": "routes"}}}
	require.Equal(t, []string{"items[1].name"}, fields(s.put("/v1/groups/twice", twice).fails(422, provision.Invalid)))
	unknown := body{"items": []body{{"kind": "app", "name": "routes"}, {"kind": "app", "name": "none"}}}
	require.Equal(t, []string{"items[1].name"}, fields(s.put("/v1/groups/x", unknown).fails(422, provision.ItemNotFound)))
	missing := body{"items": []body{{"kind": "app", "name": "routes", "depends_on": []body{{"kind": "app", "name": "none"}}}}}
	require.Equal(t, []string{"items[0].depends_on[0]"}, fields(s.put("/v1/groups/x", missing).fails(422, provision.DependencyMissing)))
	circle := body{"items": []body{{"kind": "app", "name": "routes", "depends_on": []body{{"kind": "app", "name": "routes"}}}}}
	s.put("/v1/groups/x", circle).fails(422, provision.DependencyCycle)
	s.upload("/v1/configurations/wifi2", wifi).ok(201)
	both := body{"items": []body{{"kind": "configuration", "name": "wifi"}, {"kind": "configuration", "name": "wifi2"}}}
	s.put("/v1/groups/x", both).fails(422, provision.ItemConflict)
	s.get("/v1/groups/x").fails(404, provision.GroupNotFound)

	s.delete("/v1/configurations/wifi").fails(409, provision.InUse)
	s.delete("/v1/apps/routes").fails(409, provision.InUse)
	s.put("/v1/devices/"+serial+"/assignment", body{"groups": []string{"drivers & co"}}).ok(200)
	s.delete("/v1/groups/drivers%20%26%20co").fails(409, provision.InUse)
	s.delete("/v1/devices/" + serial + "/assignment").ok(200)
	s.delete("/v1/groups/drivers%20%26%20co").ok(204)
	s.delete("/v1/configurations/wifi").ok(204)
	s.delete("/v1/apps/routes").ok(204)
}

func TestConfigurations(t *testing.T) {
	s := serve(t)
	a := s.upload("/v1/configurations/wifi?description=Depot", wifi).ok(201)
	c := read[api.Configuration](a)
	require.Equal(t, "com.zylker.wifi", c.Identifier)
	require.Equal(t, 1, c.Content)
	require.Equal(t, "Depot", c.Description)
	content := s.get("/v1/configurations/wifi/content").ok(200)
	require.Equal(t, wifi, string(content.body))
	require.Equal(t, aspenConfig, content.header.Get("Content-Type"))

	require.Equal(t, int64(1), read[api.Configuration](s.upload("/v1/configurations/wifi", wifi).ok(200)).Version)
	changed := read[api.Configuration](s.upload("/v1/configurations/wifi", strings.Replace(wifi, "depot", "yard", 1)).ok(200))
	require.Equal(t, 2, changed.Content)
	require.Equal(t, "Depot", changed.Description, "left as it was")
	renamed := read[api.Configuration](s.upload("/v1/configurations/wifi?description=Yard", strings.Replace(wifi, "depot", "yard", 1)).ok(200))
	require.Equal(t, 2, renamed.Content)
	require.Equal(t, int64(3), renamed.Version)

	s.upload("/v1/configurations/wifi", profile("com.zylker.other")).fails(422, provision.ConfigurationBad)
	s.upload("/v1/configurations/a%2Fb", wifi).fails(422, provision.Invalid)
	mdm := s.upload("/v1/configurations/mdm", strings.Replace(wifi, "com.apple.wifi.managed", "com.apple.mdm", 1))
	require.Equal(t, []string{"PayloadContent[0].PayloadType"}, fields(mdm.fails(422, provision.ConfigurationBad)))
	junk := s.upload("/v1/configurations/junk", "not a profile").fails(422, provision.ConfigurationBad)
	require.NotContains(t, junk.Detail, "CharData", "the library's words")
	require.Contains(t, s.log.String(), "CharData")
	s.upload("/v1/configurations/empty", "").fails(422, provision.ConfigurationBad)
	s.get("/v1/configurations/junk").fails(404, provision.NotFound)
}

func TestApps(t *testing.T) {
	s := serve(t)
	manifest := body{"bundle_id": "com.zylker.routes", "manifest_url": "https://apps.zylker.com/m.plist"}
	a := read[api.App](s.put("/v1/apps/routes", manifest).ok(201))
	require.Equal(t, "https://apps.zylker.com/m.plist", *a.ManifestUrl)
	require.Nil(t, a.StoreId)
	a = read[api.App](s.put("/v1/apps/routes", body{"bundle_id": "com.zylker.routes", "store_id": 5}).ok(200))
	require.Equal(t, 2, a.Content)
	require.Nil(t, a.ManifestUrl)
	s.put("/v1/apps/routes", body{"bundle_id": "com.zylker.other", "store_id": 5}).fails(422, provision.AppBad)
	s.put("/v1/apps/a%2Fb", manifest).fails(422, provision.Invalid)
}

func TestCatalogPages(t *testing.T) {
	s := serve(t)
	for i := range 5 {
		s.put(fmt.Sprintf("/v1/groups/g%d", i), body{"items": []body{}}).ok(201)
		s.put(fmt.Sprintf("/v1/apps/a%d", i), body{"bundle_id": fmt.Sprintf("com.zylker.a%d", i), "store_id": i + 1}).ok(201)
		s.upload(fmt.Sprintf("/v1/configurations/c%d", i), profile(fmt.Sprintf("com.zylker.c%d", i))).ok(201)
		s.put(fmt.Sprintf("/v1/documents/d%d", i), body{"media_url": fmt.Sprintf("https://docs.zylker.com/%d.pdf", i)}).ok(201)
		s.post("/v1/people", body{"name": "SAME", "domain": fmt.Sprint("d", i), "email": "a@b.co", "technician": i == 0}).ok(201)
		s.post("/v1/tokens", body{"name": "same", "role": "viewer"}).ok(201)
	}
	for list, want := range map[string]int{"groups": 5, "apps": 5, "configurations": 5, "documents": 5, "people": 5, "tokens": 8} {
		seen, path := map[string]bool{}, "/v1/"+list+"?limit=2"
		for {
			page := read[map[string]any](s.get(path).ok(200))
			for _, entry := range page[list].([]any) {
				raw := fmt.Sprint(entry)
				require.False(t, seen[raw], "%s twice", raw)
				seen[raw] = true
			}
			next, more := page["next_cursor"].(string)
			if !more {
				break
			}
			path = "/v1/" + list + "?limit=2&cursor=" + next
		}
		require.Len(t, seen, want, list)
	}
	require.Len(t, read[api.PersonList](s.get("/v1/people?technician=true").ok(200)).People, 1)
	require.Len(t, read[api.PersonList](s.get("/v1/people?q=sam&technician=false").ok(200)).People, 4)
	require.Empty(t, read[api.PersonList](s.get("/v1/people?q=nobody").ok(200)).People)
}

func TestPeople(t *testing.T) {
	s := serve(t)
	a := s.post("/v1/people", body{"name": "ANDREW", "email": "andrew@zylker.com"}).ok(201)
	p := read[api.Person](a)
	require.Equal(t, "MDM", p.Domain)
	require.Equal(t, "/v1/people/"+p.Id, a.header.Get("Location"))
	s.post("/v1/people", body{"name": "andrew", "domain": "mdm", "email": "x@zylker.com"}).fails(409, provision.AlreadyExists)
	edited := read[api.Person](s.put("/v1/people/"+p.Id, body{"name": "ANDREW", "email": "a.b@zylker.com", "technician": true}).ok(200))
	require.Equal(t, edited, read[api.Person](s.get("/v1/people/"+p.Id).ok(200)))
	require.True(t, edited.Technician)
	s.post("/v1/people", body{"name": "BETTY", "email": "b@zylker.com"}).ok(201)
	s.put("/v1/people/"+p.Id, body{"name": "BETTY", "email": "a@zylker.com"}).fails(409, provision.AlreadyExists)
}
