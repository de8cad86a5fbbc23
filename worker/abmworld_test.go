package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/worker"
)

const school, home = "school", "home"

// portal is a fleet whose devices come from a virtual Apple Business Manager.
type portal struct {
	*fleet
	org     *sim.Organization
	url     string
	client  client.Client
	config  worker.Config
	servers map[string]string // ids at Apple
}

func newPortal(t *testing.T, cfg sim.Config) *portal {
	t.Helper()
	c, namespace := dial(t)
	p := &portal{fleet: newFleet(t), org: sim.New(cfg), client: c, servers: map[string]string{}}
	listener, err := p.org.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	p.url = listener.URL
	p.config = worker.Config{Namespace: namespace, ABM: worker.ABMConfig{
		URL: p.url, BusinessURL: p.url, TokenURL: p.url + "/auth/oauth2/v2/token", Transport: carrier(t),
		ABMConfig: activities.ABMConfig{
			Addresses: provision.EnrollmentAddresses{Enroll: "https://muster.example/enroll"}, PageSize: 10, Poll: 300 * time.Millisecond,
			RetryAfter: []time.Duration{200 * time.Millisecond}, MissingAfter: time.Millisecond,
		},
	}}
	return p
}

func (p *portal) start() (stop func()) {
	p.t.Helper()
	return p.run(p.client, p.config)
}

func (p *portal) door() *signals.ABM {
	return signals.NewABM(p.client, p.config.Namespace, signals.TaskQueue)
}

// carrier is a transport that leaves nothing behind.
func carrier(t *testing.T) *http.Transport {
	t.Helper()
	c := &http.Transport{}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

var keyPair = sync.OnceValues(func() ([2][]byte, error) {
	certificate, key, err := dep.NewKeyPair("Muster", time.Now())
	return [2][]byte{certificate, key}, err
})

// server sets a server up here and at Apple and links them. It is synced once an hour, and otherwise when it is wished.
func (p *portal) server(name string) {
	p.t.Helper()
	p.put(store.ABMServerInput{Name: name, SyncEvery: time.Hour, FullEvery: 24 * time.Hour})
	p.servers[name] = p.org.AddServer(sim.Server{Name: name}).ID
	p.link(name)
}

func (p *portal) put(in store.ABMServerInput) {
	p.t.Helper()
	_, _, err := p.db.PutABMServer(context.Background(), in, store.Condition{}, func() (certificate, key []byte, err error) {
		pair, err := keyPair()
		return pair[0], pair[1], err
	})
	require.NoError(p.t, err)
}

func (p *portal) link(name string) {
	p.t.Helper()
	pair, err := keyPair()
	require.NoError(p.t, err)
	p7m, err := p.org.IssueToken(p.servers[name], pair[0])
	require.NoError(p.t, err)
	_, err = p.db.LinkABM(context.Background(), name, false, func(certificate, key []byte) (store.ABMToken, error) {
		token, err := dep.OpenToken(p7m, certificate, key)
		if err != nil {
			return store.ABMToken{}, err
		}
		raw, err := json.Marshal(token)
		return store.ABMToken{ConsumerKey: token.ConsumerKey, ExpiresAt: token.Expiry, Secret: raw}, err
	})
	require.NoError(p.t, err)
}

func (p *portal) business(name string) sim.Account {
	p.t.Helper()
	account, err := p.org.AddAccount(false)
	require.NoError(p.t, err)
	_, err = p.db.PutABMBusiness(context.Background(), name, account.ClientID, account.KeyID, account.PrivateKeyPEM)
	require.NoError(p.t, err)
	return account
}

func (p *portal) addNew(name string, n int) []string {
	p.t.Helper()
	serials, err := p.org.AddNew(p.servers[name], n)
	require.NoError(p.t, err)
	return serials
}

func (p *portal) wish(name string, full bool) {
	p.t.Helper()
	_, err := p.db.WantSync(context.Background(), name, full)
	require.NoError(p.t, err)
}

// profile gives a server a default device profile.
func (p *portal) profile(server, name, fields string) {
	p.t.Helper()
	_, _, err := p.db.PutDeviceProfile(context.Background(), store.DeviceProfile{Name: name, ActivationMode: "by_admin", Fields: []byte(fields)}, store.Edit{})
	require.NoError(p.t, err)
	p.put(store.ABMServerInput{Name: server, DefaultProfile: name, SyncEvery: time.Hour, FullEvery: 24 * time.Hour})
}

// differs says how what is known here differs from Apple's own list; "" = not at all.
func (p *portal) differs(servers ...string) string {
	for _, name := range servers {
		var want []string
		for _, d := range p.org.Devices(p.servers[name], 1<<20) {
			want = append(want, d.Serial)
		}
		slices.Sort(want)
		rows, err := p.pool.Query(context.Background(), `
SELECT serial FROM devices
WHERE state -> 'abm' ->> 'server' = $1 AND state -> 'abm' ->> 'state' = 'present' ORDER BY serial`, name)
		require.NoError(p.t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(p.t, err)
		if !slices.Equal(want, got) {
			return fmt.Sprintf("%s lists %v, known are %v", name, want, got)
		}
	}
	return ""
}

// agree waits until what is known here is what Apple lists.
func (p *portal) agree(servers ...string) {
	p.t.Helper()
	p.eventually("the lists to agree", func() bool { return p.differs(servers...) == "" })
}

func (p *portal) device(serial string) provision.Device {
	p.t.Helper()
	d, err := p.db.Device(context.Background(), serial)
	require.NoError(p.t, err)
	return d
}

// profiled waits until Apple tells all devices of servers where to enroll.
func (p *portal) profiled(serials ...string) {
	p.t.Helper()
	p.eventually("profiles to be assigned", func() bool {
		for _, s := range serials {
			if got, ok := p.org.ProfileFor(s); !ok || got.URL != "https://muster.example/enroll" {
				return false
			}
		}
		return true
	})
}

// nothingTwice: no fact was recorded that says what was known.
func (p *portal) nothingTwice() {
	p.t.Helper()
	require.Equal(p.t, "0", p.text(`SELECT count(*)::text FROM (
		SELECT payload -> 'abm' AS said, lag(payload -> 'abm') OVER (PARTITION BY serial ORDER BY id) AS before
		FROM device_events WHERE kind IN ('abm_seen', 'abm_gone')) f WHERE said = before`))
}

// patient: Apple was never asked before a pause was over that it had asked for.
func (p *portal) patient() {
	p.t.Helper()
	require.Zero(p.t, p.org.Counts().Impatient)
}
