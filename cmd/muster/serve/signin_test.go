package serve_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

// page sends devices to the sign-in page of a service.
type page string

func (p page) Activate(string) (sim.Activation, bool) {
	return sim.Activation{URL: string(p) + "/enroll", WebURL: string(p) + enroll.SignInPath, Await: true, Supervised: true}, true
}

// adminToken has the form that tokens have.
var adminToken = "mst_" + strings.Repeat("a", 43)

// rest asks the API of a service, which must do it, and returns what it answers.
func (s *site) rest(service *serve.Service, method, path string, body any) map[string]any {
	s.t.Helper()
	status, out := s.ask(service, method, path, body)
	require.Less(s.t, status, 300, "%s %s: %v", method, path, out)
	return out
}

// send is rest for what isn't JSON.
func (s *site) send(service *serve.Service, method, path, media string, raw []byte) map[string]any {
	s.t.Helper()
	status, out := s.request(service, method, path, media, bytes.NewReader(raw))
	require.Less(s.t, status, 300, "%s %s: %v", method, path, out)
	return out
}

// ask asks the API of a service. Bytes are a configuration profile, anything else is sent as JSON.
func (s *site) ask(service *serve.Service, method, path string, body any) (status int, out map[string]any) {
	s.t.Helper()
	switch b := body.(type) {
	case nil:
		return s.request(service, method, path, "", nil)
	case []byte:
		return s.request(service, method, path, "application/x-apple-aspen-config", bytes.NewReader(b))
	}
	raw, err := json.Marshal(body)
	require.NoError(s.t, err)
	return s.request(service, method, path, "application/json", bytes.NewReader(raw))
}

func (s *site) request(service *serve.Service, method, path, media string, body io.Reader) (status int, out map[string]any) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, service.URL()+path, body)
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	require.NoError(s.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.NoError(s.t, json.NewDecoder(resp.Body).Decode(&out))
	return resp.StatusCode, out
}

// secured are the settings of a service that devices sign in to, beside a Temporal of its own.
func (s *site) secured() (environ []string, address, namespace string) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	cert, keyFile := s.pair("tls", key, key.Public())
	address, namespace = stacktest.Temporal(s.t)
	return []string{
		"MUSTER_TEMPORAL_ADDRESS=" + address, "MUSTER_TEMPORAL_NAMESPACE=" + namespace, "MUSTER_DATABASE_MAX_CONNS=10",
		"MUSTER_TLS_CERT_FILE=" + cert, "MUSTER_TLS_KEY_FILE=" + keyFile, "MUSTER_ENROLL_ANCHORS_FILE=" + filepath.Join(s.dir, "anchors.pem"),
		"MUSTER_KEYRING=" + keyring.NewKey(), "MUSTER_BOOTSTRAP_TOKEN=" + adminToken, "MUSTER_REPUSH_FIRST=200ms", "MUSTER_ORGANIZATION=Zylker",
	}, address, namespace
}

// withWorker starts a service in all its roles.
func (s *site) withWorker(more ...string) *serve.Service {
	s.t.Helper()
	environ, _, _ := s.secured()
	service, err := s.start(append(append(environ, more...), "MUSTER_ROLES=mdm,api,worker")...)
	require.NoError(s.t, err)
	return service
}

// school has whoever signs in by the directory assigned; members of its drivers get a group.
func (s *site) school(service *serve.Service, slapd *directories.Slapd) {
	s.t.Helper()
	s.rest(service, "PUT", "/v1/groups/zylker_drivers", map[string]any{"items": []any{}})
	s.rest(service, "PUT", "/v1/directories/zylker", map[string]any{
		"kind": "ldap", "domain": directories.Domain, "urls": []string{slapd.URL}, "ca": slapd.CA, "base_dn": directories.BaseDN,
		"bind_template": "uid={user}," + directories.PeopleDN,
		"groups":        []any{map[string]any{"directory_group": "cn=drivers," + directories.BaseDN, "group": "zylker_drivers"}},
	})
	require.Equal(s.t, map[string]any{"works": true, "problems": []any{}}, s.rest(service, "POST", "/v1/directories/zylker:test", nil))
	s.rest(service, "PUT", "/v1/device-profiles/by-user", map[string]any{
		"activation_mode": "by_user", "fields": map[string]any{"is_supervised": true, "await_device_configured": true},
	})
	s.rest(service, "PUT", "/v1/abm-servers/school", map[string]any{"default_profile": "by-user", "auto_assign_users": true})
}

// listed makes a device one of the school's at Apple.
func (s *site) listed(serial string) {
	s.t.Helper()
	_, err := s.db.UpdateOrCreate(s.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "school", State: provision.ABMPresent}})
		return err
	})
	require.NoError(s.t, err)
}

// used is a device that andrew switches on and signs in on; it answers until the test ends.
func (s *site) used(service *serve.Service, slapd *directories.Slapd, serial string) *sim.Device {
	s.t.Helper()
	d, err := sim.NewDevice(sim.Config{
		Serial: serial, Roots: s.roots, Factory: s.fabric, KeyBits: 2048, APNs: s.apns,
		Person: &sim.Credentials{Account: directories.Domain + `\` + directories.Andrew, Password: slapd.Password},
	})
	require.NoError(s.t, err)
	s.t.Cleanup(d.Close)
	require.NoError(s.t, d.PowerOn(s.t.Context(), page(service.URL())))
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	s.t.Cleanup(func() { stop(); require.NoError(s.t, <-ran) })
	return d
}

// R8, R9, R49: a device out of its box is Enrolled when somebody signed in on it, and nobody else did anything.
func TestSigningInLeadsToEnrolled(t *testing.T) {
	s := newSite(t)
	service := s.withWorker()
	slapd := directorytest.OpenLDAP(t)
	s.school(service, slapd)
	s.listed(serial)
	d := s.used(service, slapd, serial)

	s.until(serial, "it is Enrolled", func(d provision.Device) bool { return d.Status() == provision.StatusEnrolled })
	shown := s.rest(service, "GET", "/v1/devices/"+serial+"/assignment", nil)
	require.Equal(t, "andrew@zylker.com", shown["user"].(map[string]any)["email"])
	require.Equal(t, []any{"zylker_drivers"}, shown["groups"])
	require.False(t, d.Snapshot().AwaitingConfiguration, "it left Setup Assistant")
}

// until waits until a device has come so far, and returns it.
func (s *site) until(serial, what string, reached func(provision.Device) bool) provision.Device {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for {
		d, err := s.db.Device(s.t.Context(), serial)
		require.NoError(s.t, err)
		if reached(d) {
			return d
		}
		select {
		case <-tick.C:
		case <-end:
			s.t.Fatalf("not in time: %s; device %s is %s, blocked by %q; log:\n%s", what, serial, d.Status(), d.BlockedBy(), s.logged())
		}
	}
}
