package api_test

import (
	"maps"
	"testing"

	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const zylker = "/v1/directories/zylker"

// ldap is the real OpenLDAP server as administrators describe it, with changes.
func ldap(t *testing.T, change body) body {
	t.Helper()
	slapd := directorytest.OpenLDAP(t)
	b := body{
		"kind": "ldap", "domain": "ZYLKER", "urls": []string{slapd.URL}, "ca": slapd.CA, "base_dn": directories.BaseDN,
		"bind_template": "uid={user}," + directories.PeopleDN,
	}
	maps.Copy(b, change)
	return b
}

func TestDirectoriesAreSetUpTriedAndDeleted(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []any{}}).ok(201)
	group := body{"directory_group": "cn=drivers," + directories.BaseDN, "group": "ZYLKER_drivers"}
	wish := ldap(t, body{"description": "The school's", "timeout": "3s", "groups": []any{group}})
	made := s.put(zylker, wish).ok(201)
	require.Equal(t, `"1"`, made.header.Get("ETag"))
	d := read[api.Directory](s.get(zylker).ok(200))
	require.Equal(t, "3s", *d.Timeout)
	require.Equal(t, []api.DirectoryGroup{{DirectoryGroup: "cn=drivers," + directories.BaseDN, Group: "zylker_drivers"}}, d.Groups)
	require.False(t, d.HasClientSecret)
	require.JSONEq(t, `{"works": true, "problems": []}`, string(s.post(zylker+":test", nil).ok(200).body))

	require.Contains(t, s.delete("/v1/groups/zylker_drivers").fails(409, provision.InUse).Detail, `Directory "zylker" brings group "zylker_drivers"`)
	s.send(request{method: "PUT", path: zylker, body: ldap(t, nil), header: map[string]string{"If-Match": `"7"`}}).fails(412, provision.VersionConflict)
	require.Equal(t, `"2"`, s.send(request{method: "PUT", path: zylker, body: ldap(t, nil), header: map[string]string{"If-Match": `"1"`}}).ok(200).header.Get("ETag"))
	s.delete("/v1/groups/zylker_drivers").ok(204)
	s.put("/v1/directories/again", ldap(t, nil)).fails(409, provision.AlreadyExists)
	s.put("/v1/directories/other", ldap(t, body{"domain": "OTHER"})).ok(201)

	first := read[api.DirectoryList](s.get("/v1/directories?limit=1").ok(200))
	require.Equal(t, "other", first.Directories[0].Name)
	rest := read[api.DirectoryList](s.get("/v1/directories?limit=1&cursor=" + *first.NextCursor).ok(200))
	require.Equal(t, "zylker", rest.Directories[0].Name)
	require.Nil(t, rest.NextCursor)

	s.delete(zylker).ok(204)
	s.get(zylker).fails(404, provision.NotFound)
	s.delete(zylker).fails(404, provision.NotFound)
	s.post(zylker+":test", nil).fails(404, provision.NotFound)
}

func TestDirectorySettingsThatCannotWork(t *testing.T) {
	s := serve(t)
	p := s.put(zylker, body{
		"kind": "ldap", "urls": []string{"https://x"}, "issuer": "https://y", "client_secret": "z",
		"groups": []any{body{"directory_group": "Drivers", "group": "a/b"}},
	}).fails(422, provision.DirectoryInvalid)
	require.Equal(t, []string{
		"client_secret", "issuer", "domain", "urls[0]", "base_dn", "bind_template", "groups[0].directory_group", "groups[0]",
	}, fields(p))
	require.Equal(t, []string{"base_dn"}, fields(s.put(zylker, body{"kind": "oidc", "issuer": "https://y", "client_id": "c", "base_dn": "x"}).fails(422, provision.DirectoryInvalid)))
	require.Equal(t, []string{"groups"}, fields(s.put(zylker, ldap(t, body{"groups": []any{body{"directory_group": "cn=a", "group": "none"}}})).fails(422, provision.GroupNotFound)))
	s.put("/v1/directories/Zylker", ldap(t, nil)).fails(422, provision.Invalid)
	s.put(zylker, body{"kind": "nis"}).fails(422, provision.Invalid)
	require.Equal(t, []string{"timeout"}, fields(s.put(zylker, ldap(t, body{"timeout": "soon"})).fails(422, provision.Invalid)))
}

func TestDirectoryThatFailsItsTest(t *testing.T) {
	s := serve(t)
	s.put(zylker, ldap(t, body{"urls": []string{"ldaps://127.0.0.1:1", "ldaps://127.0.0.1:2"}})).ok(201)
	out := read[api.DirectoryTest](s.post(zylker+":test", nil).ok(200))
	require.False(t, out.Works)
	require.Len(t, out.Problems, 2, "every server has its sentence")
	for _, p := range out.Problems {
		require.Equal(t, "directory_unavailable", p.Code)
		require.Contains(t, p.Detail, "127.0.0.1")
	}
	p := s.put("/v1/abm-servers/schools", body{"auto_assign_users": true}).fails(422, intake.DirectoryRequired)
	require.Equal(t, []string{"auto_assign_users"}, fields(p))
	require.Contains(t, p.Detail, "127.0.0.1")
}

func TestDirectoryIsTestedWithAnAccount(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/drivers", body{"items": []any{}}).ok(201)
	s.put("/v1/groups/kiosks", body{"items": []any{}}).ok(201)
	s.put(zylker, ldap(t, body{"groups": []any{
		body{"directory_group": "CN=drivers," + directories.BaseDN, "group": "drivers"}, body{"directory_group": "cn=others," + directories.BaseDN, "group": "kiosks"},
	}})).ok(201)
	password := directorytest.OpenLDAP(t).Password
	try := func(account, password string) api.DirectoryTest {
		return read[api.DirectoryTest](s.post(zylker+":test", body{"account": account, "password": password}).ok(200))
	}
	out := try(`zylker\ANDREW`, password)
	require.True(t, out.Works)
	require.Equal(t, "andrew@zylker.com", out.Person.Email)
	require.Equal(t, `ZYLKER andrew Andrew Fuller`, out.Person.Domain+" "+out.Person.Name+" "+out.Person.DisplayName)
	require.Contains(t, out.Person.DirectoryGroups, "cn=drivers,"+directories.BaseDN)
	require.Equal(t, []string{"drivers"}, out.Person.Groups)
	require.Empty(t, read[api.PersonList](s.get("/v1/people").ok(200)).People, "nothing is kept")

	for account, code := range map[string]string{
		`ZYLKER\andrew`: "sign_in_refused", "andrew": "account_format", `OTHER\andrew`: "domain_unknown",
	} {
		out := try(account, "wrong")
		require.False(t, out.Works)
		require.Nil(t, out.Person)
		require.Equal(t, code, out.Problems[0].Code)
		require.NotEmpty(t, out.Problems[0].Detail)
	}
	require.Equal(t, "sign_in_refused", try(`ZYLKER\andrew`, "").Problems[0].Code, "an empty password would bind as nobody")
	require.NotContains(t, s.log.String(), password)
	require.Equal(t, []string{"password"}, fields(s.post(zylker+":test", body{"account": "x"}).fails(422, provision.Invalid)))
}

// Whoever has a token can't guess faster than somebody with a device, nor with many accounts.
func TestGuessingByTheAPIIsLimited(t *testing.T) {
	s := serve(t)
	s.put(zylker, ldap(t, nil)).ok(201)
	code := func(account string) string {
		out := read[api.DirectoryTest](s.post(zylker+":test", body{"account": account, "password": "wrong"}).ok(200))
		return out.Problems[0].Code
	}
	for range intake.TriesPerAccount {
		require.Equal(t, "sign_in_refused", code(`ZYLKER\nobody`))
	}
	require.Equal(t, "sign_in_locked", code(`ZYLKER\nobody`))
	require.Equal(t, "sign_in_locked", code(`zylker\NOBODY`), "however it is spelled")
	for range intake.TriesPerToken - intake.TriesPerAccount {
		require.Equal(t, "sign_in_refused", code(`ZYLKER\somebody`))
	}
	require.Equal(t, "sign_in_locked", code(`ZYLKER\anybody`))
	require.True(t, read[api.DirectoryTest](s.post(zylker+":test", nil).ok(200)).Works, "without an account it is no guess")
}

func TestSecretOfAProviderIsNeverShown(t *testing.T) {
	s := serve(t, func(c *api.Config) {
		use, err := intake.New(c.DB, intake.Settings{SignInReturn: "https://muster.example.com/enroll/return", Edition: directory.CloudMSP})
		require.NoError(t, err)
		c.Intake = use
	})
	m, err := mockoidc.Run()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Shutdown()) })
	wish := body{
		"kind": "oidc", "issuer": m.Issuer(), "client_id": m.ClientID, "client_secret": m.ClientSecret, "insecure_plain": true, "domain": "CLOUD",
		"scopes": []string{"email"}, "claims": body{"groups": "roles"}, "groups": []any{},
	}
	made := s.put("/v1/directories/entra", wish).ok(201)
	require.NotContains(t, string(made.body), m.ClientSecret)
	d := read[api.Directory](made)
	require.True(t, d.HasClientSecret)
	require.Equal(t, "roles", *d.Claims.Groups)
	require.True(t, read[api.DirectoryTest](s.post("/v1/directories/entra:test", nil).ok(200)).Works)
	p := s.post("/v1/directories/entra:test", body{"account": "x", "password": "y"}).fails(422, provision.Invalid)
	require.Contains(t, p.Detail, "tested without an account")

	delete(wish, "client_secret")
	require.True(t, read[api.Directory](s.put("/v1/directories/entra", wish).ok(200)).HasClientSecret)
	require.NotContains(t, string(s.get("/v1/directories").ok(200).body), m.ClientSecret)
	wish["client_secret"] = ""
	require.False(t, read[api.Directory](s.put("/v1/directories/entra", wish).ok(200)).HasClientSecret)
	require.NotContains(t, s.log.String(), m.ClientSecret)

	// R51, R52.
	p = s.put(zylker, ldap(t, body{"kind": "active_directory", "bind_template": ""})).fails(422, provision.EditionRefuses)
	require.Equal(t, []string{"kind"}, fields(p))
}

func TestServersSayWhatBecomesOfSignIns(t *testing.T) {
	s := serve(t)
	made := read[api.AbmServer](s.put(schools, body{}).ok(201))
	require.False(t, made.AutoAssignUsers)
	require.Equal(t, api.HoldForReview, made.SignInConflict)
	require.Equal(t, "8h", made.SignInHold)
	require.Equal(t, api.HoldKeepReserved, made.SignInHoldChoice)
	require.Contains(t, s.put(schools, body{"auto_assign_users": true}).fails(422, intake.DirectoryRequired).Detail, "None is set up")
	s.put(zylker, ldap(t, nil)).ok(201)
	saved := read[api.AbmServer](s.put(schools, body{
		"auto_assign_users": true, "sign_in_conflict": "take_signed_in", "sign_in_hold": "30m", "sign_in_hold_choice": "take_signed_in",
	}).ok(200))
	require.True(t, saved.AutoAssignUsers)
	require.Equal(t, "30m", saved.SignInHold)
	require.Contains(t, s.delete(zylker).fails(409, provision.InUse).Detail, `"schools"`)
	for field, wrong := range map[string]string{"sign_in_conflict": "ask", "sign_in_hold_choice": "hold_for_review", "sign_in_hold": "1s"} {
		require.Equal(t, []string{field}, fields(s.put(schools, body{field: wrong}).fails(422, provision.Invalid)))
	}
	s.put(schools, body{}).ok(200)
	s.delete(zylker).ok(204)
}

func TestWhoMayHandleDirectories(t *testing.T) {
	s := serve(t)
	s.put(zylker, ldap(t, nil)).ok(201)
	require.Equal(t, 200, s.send(request{method: "GET", path: zylker, role: store.Viewer}).status)
	require.Equal(t, 403, s.send(request{method: "POST", path: zylker + ":test", role: store.Viewer}).status)
	require.Equal(t, 200, s.send(request{method: "POST", path: zylker + ":test", role: store.Technician}).status)
	require.Equal(t, 403, s.send(request{method: "PUT", path: zylker, role: store.Technician, body: ldap(t, nil)}).status)
	require.Equal(t, 403, s.send(request{method: "DELETE", path: zylker, role: store.Technician}).status)
	require.Equal(t, 401, s.send(request{method: "GET", path: zylker, role: nobody}).status)
}

func TestProviderNeedsAPublicAddress(t *testing.T) {
	s := serve(t, func(c *api.Config) {
		use, err := intake.New(c.DB, intake.Settings{SignInReturn: "http://127.0.0.1:8080/enroll/return"})
		require.NoError(t, err)
		c.Intake = use
	})
	p := s.put("/v1/directories/entra", body{"kind": "oidc", "issuer": "https://y", "client_id": "c"}).fails(422, provision.DirectoryInvalid)
	require.Contains(t, p.Detail, "MUSTER_PUBLIC_URL")
	require.Empty(t, fields(p))
}
