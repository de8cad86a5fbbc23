package api_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

const schools = "/v1/abm-servers/schools"

// token is what Apple's portal gives for the certificate of a server here.
func (s *server) token(o *abm.Organization, id, path string) string {
	s.t.Helper()
	p7m, err := o.IssueToken(id, s.get(path+"/certificate").ok(200).body)
	require.NoError(s.t, err)
	return string(p7m)
}

func (s *server) uploadToken(path, p7m string) answer {
	s.t.Helper()
	return s.send(request{method: "PUT", path: path, body: p7m, media: serverToken})
}

// link links the server schools with a server of a new virtual organisation.
func (s *server) link(config abm.Config) (*abm.Organization, api.AbmServer) {
	s.t.Helper()
	o := abm.New(config)
	s.put(schools, body{}).ok(201)
	p7m := s.token(o, o.AddServer(abm.Server{Name: "Schools"}).ID, schools)
	return o, read[api.AbmServer](s.uploadToken(schools+"/token", p7m).ok(200))
}

// list has the server schools list devices, as a sync does.
func (s *server) list(records ...store.ABMRecord) {
	s.t.Helper()
	task, err := s.db.NextABMTask(s.t.Context(), "schools")
	require.NoError(s.t, err)
	_, err = s.db.TakeABMPage(s.t.Context(), store.ABMPage{Task: task, Next: rand.Text(), More: task.Phase == store.PhaseFetch, Records: records})
	require.NoError(s.t, err)
}

// sql changes what no use case of this room changes.
func (s *server) sql(statement string, args ...any) {
	s.t.Helper()
	c, err := pgx.Connect(s.t.Context(), s.url)
	require.NoError(s.t, err)
	defer func() { _ = c.Close(context.WithoutCancel(s.t.Context())) }()
	_, err = c.Exec(s.t.Context(), statement, args...)
	require.NoError(s.t, err)
}

func TestLinkingAServer(t *testing.T) {
	s := serve(t)
	made := s.put(schools, body{"description": " iPads "}).ok(201)
	is := read[api.AbmServer](made)
	require.Equal(t, api.HealthUnlinked, is.Health.State)
	require.Contains(t, is.Health.Explanation, "no server token yet")
	require.Equal(t, "an administrator", *is.Health.Who)
	require.Equal(t, []string{"iPads", "5m", "24h"}, []string{is.Description, is.SyncEvery, is.FullEvery})
	require.Nil(t, is.Token)
	s.post(schools+":sync", nil).fails(409, intake.ServerUnlinked)

	a := s.get(schools + "/certificate").ok(200)
	require.Equal(t, pemFile, a.header.Get("Content-Type"))
	require.Equal(t, "attachment; filename*=UTF-8''schools.pem", a.header.Get("Content-Disposition"))
	block, _ := pem.Decode(a.body)
	require.Equal(t, "CERTIFICATE", block.Type)

	o := abm.New(abm.Config{})
	id := o.AddServer(abm.Server{}).ID
	p7m := s.token(o, id, schools)
	is = read[api.AbmServer](s.uploadToken(schools+"/token", p7m).ok(200))
	require.Equal(t, api.HealthOk, is.Health.State)
	require.Empty(t, is.Health.Explanation)
	require.NotNil(t, is.LinkedAt)
	require.NotNil(t, is.SyncWantedAt, "it is synced at once")
	require.Equal(t, api.PhaseFetch, is.Phase)
	require.WithinDuration(t, time.Now().AddDate(1, 0, 0), is.Token.ExpiresAt, 48*time.Hour)
	require.Nil(t, is.Token.Warning)

	s.uploadToken(schools+"/token", s.token(o, id, schools)).ok(200)
	other := s.token(o, o.AddServer(abm.Server{}).ID, schools)
	s.uploadToken(schools+"/token", other).fails(409, store.ABMTokenOther)
	s.uploadToken(schools+"/token?force=true", other).ok(200)

	s.put("/v1/abm-servers/annex", body{}).ok(201)
	s.uploadToken("/v1/abm-servers/annex/token", other).fails(422, provision.ABMTokenForeignKey)
	twice := s.token(o, o.Servers()[1].ID, "/v1/abm-servers/annex")
	s.uploadToken("/v1/abm-servers/annex/token", twice).fails(409, provision.AlreadyExists)
	s.uploadToken(schools+"/token", string(a.body)).fails(422, provision.ABMTokenInvalid)
	s.uploadToken("/v1/abm-servers/nowhere/token", other).fails(404, provision.NotFound)

	renewed := s.post(schools+":renew-keys", nil).ok(200)
	require.Equal(t, api.HealthOk, read[api.AbmServer](renewed).Health.State, "the token that is linked stays good")
	require.NotEqual(t, string(a.body), string(s.get(schools+"/certificate").ok(200).body))
	s.uploadToken(schools+"/token", other).fails(422, provision.ABMTokenForeignKey)
	require.Len(t, read[api.AbmServerList](s.get("/v1/abm-servers").ok(200)).Servers, 2)
}

func TestTokensOfServersWarn(t *testing.T) {
	const day = 24 * time.Hour
	for lifetime, want := range map[time.Duration]api.AbmTokenWarning{
		20 * day: api.TokenOneMonth, 6 * day: api.TokenOneWeek, 20 * time.Hour: api.TokenOneDay,
	} {
		s := serve(t)
		_, is := s.link(abm.Config{Lifetime: abm.Lifetimes{Token: lifetime}})
		require.Equal(t, want, *is.Token.Warning)
		s.sql(`UPDATE abm_servers SET token_expires_at = now()`)
		require.Equal(t, api.TokenExpired, *read[api.AbmServer](s.get(schools).ok(200)).Token.Warning)
	}
	s := serve(t)
	s.put(schools, body{}).ok(201)
	o := abm.New(abm.Config{Lifetime: abm.Lifetimes{Token: time.Nanosecond}})
	expired := s.token(o, o.AddServer(abm.Server{}).ID, schools)
	require.Contains(t, s.uploadToken(schools+"/token", expired).fails(422, provision.ABMTokenInvalid).Detail, "expired on")
}

func TestServersAreEdited(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		path, field string
		in          body
	}{
		{"/v1/abm-servers/Schools", "name", body{}},
		{"/v1/abm-servers/a%20b", "name", body{}},
		{"/v1/abm-servers/-", "name", body{}},
		{schools, "sync_every", body{"sync_every": "soon"}},
		{schools, "sync_every", body{"sync_every": "10s"}},
		{schools, "sync_every", body{"sync_every": "25h"}},
		{schools, "full_every", body{"full_every": "30m"}},
		{schools, "default_profile", body{"default_profile": "nothing"}},
	} {
		a := s.put(c.path, c.in)
		require.Equal(t, 422, a.status, "%s", a.body)
		require.Equal(t, []string{c.field}, fields(a.problem()))
	}
	s.get(schools).fails(404, provision.NotFound)
	s.put("/v1/device-profiles/standard", body{"fields": body{}}).ok(201)
	s.put(schools, body{"default_profile": "standard", "sync_every": "90m", "full_every": "36h"}).ok(201)
	is := read[api.AbmServer](s.get(schools).ok(200))
	require.Equal(t, []string{"standard", "1h30m", "36h"}, []string{*is.DefaultProfile, is.SyncEvery, is.FullEvery})
	s.delete("/v1/device-profiles/standard").fails(409, provision.InUse)
	is = read[api.AbmServer](s.put(schools, body{}).ok(200))
	require.Nil(t, is.DefaultProfile)
	require.Equal(t, "5m", is.SyncEvery)
}

func TestSyncsArePausedAndWished(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	s.list(store.ABMRecord{Serial: serial})
	require.NoError(t, s.db.SyncBegun(t.Context(), "schools", time.Now().Add(time.Hour)))
	require.Nil(t, read[api.AbmServer](s.get(schools).ok(200)).SyncWantedAt)

	require.True(t, read[api.AbmServer](s.post(schools+":pause", nil).ok(200)).Paused)
	s.post(schools+":sync", nil).fails(409, intake.ServerPaused)
	require.False(t, read[api.AbmServer](s.post(schools+":resume", nil).ok(200)).Paused)
	a := s.send(request{method: "POST", path: schools + ":sync", role: store.Technician}).ok(200)
	require.NotNil(t, read[api.AbmServer](a).SyncWantedAt)
	full := read[api.AbmServer](s.post(schools+":sync?full=true", nil).ok(200))
	require.Equal(t, api.PhaseFetch, full.Phase)
	s.post("/v1/abm-servers/nowhere:sync", nil).fails(404, provision.NotFound)
	s.post("/v1/abm-servers/nowhere:pause", nil).fails(404, provision.NotFound)
}

func TestServersThatAreGoneAreForgotten(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	s.list(store.ABMRecord{Serial: serial}, store.ABMRecord{Serial: "C07Q853LG9RN"})
	require.Equal(t, 2, read[api.AbmServer](s.get(schools).ok(200)).Devices)
	s.delete(schools).fails(409, provision.InUse)
	require.Equal(t, []string{"name"}, fields(s.post(schools+":forget-devices", body{"name": "school"}).fails(422, intake.NameMismatch)))
	s.post(schools+":forget-devices", body{"name": "schools"}).fails(409, intake.ServerWorks)
	s.post(schools+":pause", nil).ok(200)
	require.Zero(t, read[api.ForgetDevicesResult](s.post(schools+":forget-devices", body{"name": "schools"}).ok(200)).Left)
	require.Equal(t, api.StatusUnassigned, read[api.Device](s.get("/v1/devices/"+serial).ok(200)).Status)
	s.delete(schools).ok(204)
	s.get(schools).fails(404, provision.NotFound)
}

func TestHealthSaysWhoCanMendIt(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	for cause, who := range map[provision.BlockCause]string{
		provision.BlockedTokenExpired: "renew the server token", provision.BlockedTokenRejected: "renew the server token",
		provision.BlockedTerms: "accept the terms", provision.BlockedAccess: "check the server's access",
	} {
		server, err := s.db.ABMServer(t.Context(), "schools")
		require.NoError(t, err)
		_, err = s.db.ABMFailed(t.Context(), server, cause, "Apple's own words")
		require.NoError(t, err)
		h := read[api.AbmServer](s.get(schools).ok(200)).Health
		require.Equal(t, api.AbmHealthState(cause), h.State)
		require.Contains(t, h.Explanation, `"schools"`)
		require.Contains(t, *h.Who, who)
		require.Equal(t, "Apple's own words", h.Detail)
		require.NotNil(t, h.FailingSince)
	}
	s.list(store.ABMRecord{Serial: serial})
	told, err := s.db.TellABMHealth(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, told)
	cause := read[api.AbmServer](s.get(schools).ok(200)).Health.State
	require.Equal(t, string(cause), string(*read[api.Device](s.get("/v1/devices/" + serial).ok(200)).BlockedBy), "the device names it, too")
	require.Len(t, read[api.DeviceList](s.get("/v1/devices?blocked_by="+string(cause)).ok(200)).Devices, 1)

	require.NoError(t, s.db.ABMThrottled(t.Context(), "schools", time.Hour))
	is := read[api.AbmServer](s.get(schools).ok(200))
	require.EqualValues(t, 1, is.Throttled)
	require.True(t, is.ThrottledUntil.After(time.Now()))
	account := store.ABMAccount{ServerName: "Schools", ServerUUID: "u", OrgName: "Zylker", OrgType: "edu", OrgEmail: "it@zylker.com"}
	require.NoError(t, s.db.NoteABMAccount(t.Context(), "schools", account))
	require.Equal(t, "Zylker", read[api.AbmServer](s.get(schools).ok(200)).Account.OrgName)
}

func TestBusinessAccounts(t *testing.T) {
	s := serve(t)
	o, _ := s.link(abm.Config{})
	account, err := o.AddAccount(false)
	require.NoError(t, err)
	at := schools + "/business-account"
	in := func(client, key, private string) body {
		return body{"client_id": client, "key_id": key, "private_key": private}
	}
	for field, bad := range map[string]body{
		"client_id": in("nobody", account.KeyID, string(account.PrivateKeyPEM)), "key_id": in(account.ClientID, "", string(account.PrivateKeyPEM)),
		"private_key": in(account.ClientID, account.KeyID, "-----BEGIN"),
	} {
		require.Equal(t, []string{field}, fields(s.put(at, bad).fails(422, provision.ABMAccountInvalid)))
	}
	a := s.put(at, in(account.ClientID, account.KeyID, string(account.PrivateKeyPEM))).ok(200)
	require.Equal(t, api.AbmBusinessAccount{ClientId: account.ClientID, KeyId: account.KeyID}, *read[api.AbmServer](a).BusinessAccount)
	secret, err := s.db.ABMSecrets(t.Context(), "schools")
	require.NoError(t, err)
	require.Equal(t, account.PrivateKeyPEM, secret.BusinessKey)
	s.put("/v1/abm-servers/nowhere/business-account", in(account.ClientID, account.KeyID, string(account.PrivateKeyPEM))).fails(404, provision.NotFound)
	require.Nil(t, read[api.AbmServer](s.delete(at).ok(200)).BusinessAccount)
	s.delete(at).ok(200)
}

func TestSecretsOfServersStayHere(t *testing.T) {
	s := serve(t)
	o, _ := s.link(abm.Config{})
	account, err := o.AddAccount(false)
	require.NoError(t, err)
	r := request{method: "PUT", path: schools + "/business-account", header: key("k"), body: body{
		"client_id": account.ClientID, "key_id": account.KeyID, "private_key": string(account.PrivateKeyPEM),
	}}
	s.send(r).ok(200)
	require.Equal(t, "true", s.send(r).ok(200).header.Get("Idempotency-Replayed"))

	kept, err := s.db.ABMSecrets(t.Context(), "schools")
	require.NoError(t, err)
	var secrets map[string]string
	require.NoError(t, json.Unmarshal(kept.Token, &secrets))
	delete(secrets, "access_token_expiry")
	require.Len(t, secrets, 4)
	secrets["private_key"] = strings.Split(string(account.PrivateKeyPEM), "\n")[1]
	shown := string(s.get(schools).ok(200).body) + string(s.get("/v1/abm-servers").ok(200).body) + s.log.String()
	for name, secret := range secrets {
		require.NotEmpty(t, secret, name)
		require.NotContains(t, shown, secret, name)
	}
}
