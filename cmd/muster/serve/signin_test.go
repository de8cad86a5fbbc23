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

// rest asks the API of a service and returns what it answers.
func (s *site) rest(service *serve.Service, method, path string, body any) map[string]any {
	s.t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(s.t, err)
	return s.send(service, method, path, "application/json", raw)
}

func (s *site) send(service *serve.Service, method, path, media string, raw []byte) map[string]any {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, service.URL()+path, bytes.NewReader(raw))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", media)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	require.NoError(s.t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.Less(s.t, resp.StatusCode, 300, "%s %s: %s", method, path, answer)
	var out map[string]any
	require.NoError(s.t, json.Unmarshal(answer, &out))
	return out
}

// withWorker starts a service in all its roles.
func (s *site) withWorker(more ...string) *serve.Service {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	cert, keyFile := s.pair("tls", key, key.Public())
	address, namespace := stacktest.Temporal(s.t)
	service, err := s.start(append(more,
		"MUSTER_ROLES=mdm,api,worker", "MUSTER_TEMPORAL_ADDRESS="+address, "MUSTER_TEMPORAL_NAMESPACE="+namespace, "MUSTER_DATABASE_MAX_CONNS=10",
		"MUSTER_TLS_CERT_FILE="+cert, "MUSTER_TLS_KEY_FILE="+keyFile, "MUSTER_ENROLL_ANCHORS_FILE="+filepath.Join(s.dir, "anchors.pem"),
		"MUSTER_KEYRING="+keyring.NewKey(), "MUSTER_BOOTSTRAP_TOKEN="+adminToken, "MUSTER_REPUSH_FIRST=200ms", "MUSTER_ORGANIZATION=Zylker")...)
	require.NoError(s.t, err)
	return service
}

// R8, R9, R49: a device out of its box is Enrolled when somebody signed in on it, and nobody else did anything.
func TestSigningInLeadsToEnrolled(t *testing.T) {
	s := newSite(t)
	service := s.withWorker()
	slapd := directorytest.OpenLDAP(t)
	s.rest(service, "PUT", "/v1/groups/zylker_drivers", map[string]any{"items": []any{}})
	s.rest(service, "PUT", "/v1/directories/zylker", map[string]any{
		"kind": "ldap", "domain": directorytest.Domain, "urls": []string{slapd.URL}, "ca": slapd.CA, "base_dn": directorytest.BaseDN,
		"bind_template": "uid={user}," + directorytest.PeopleDN,
		"groups":        []any{map[string]any{"directory_group": "cn=drivers," + directorytest.BaseDN, "group": "zylker_drivers"}},
	})
	require.Equal(t, map[string]any{"works": true, "problems": []any{}}, s.rest(service, "POST", "/v1/directories/zylker:test", nil))
	s.rest(service, "PUT", "/v1/device-profiles/by-user", map[string]any{
		"activation_mode": "by_user", "fields": map[string]any{"is_supervised": true, "await_device_configured": true},
	})
	s.rest(service, "PUT", "/v1/abm-servers/school", map[string]any{"default_profile": "by-user", "auto_assign_users": true})
	_, err := s.db.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "school", State: provision.ABMPresent}})
		return err
	})
	require.NoError(t, err)

	d, err := sim.NewDevice(sim.Config{
		Serial: serial, Roots: s.roots, Factory: s.fabric, KeyBits: 2048, APNs: s.apns,
		Person: &sim.Credentials{Account: directorytest.Domain + `\` + directorytest.Andrew, Password: slapd.Password},
	})
	require.NoError(t, err)
	t.Cleanup(d.Close)
	require.NoError(t, d.PowerOn(t.Context(), page(service.URL())))
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-ran) })

	s.until(provision.StatusEnrolled)
	shown := s.rest(service, "GET", "/v1/devices/"+serial+"/assignment", nil)
	require.Equal(t, "andrew@zylker.com", shown["user"].(map[string]any)["email"])
	require.Equal(t, []any{"zylker_drivers"}, shown["groups"])
	require.False(t, d.Snapshot().AwaitingConfiguration, "it left Setup Assistant")
}

// until waits for a status.
func (s *site) until(want provision.Status) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for {
		d, err := s.db.Device(s.t.Context(), serial)
		require.NoError(s.t, err)
		if d.Status() == want {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			s.t.Fatalf("the device is %s instead of %s; log:\n%s", d.Status(), want, s.logged())
		}
	}
}
