package activities_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

const school, home = "school", "home"

// clock is the time of the store; it can be moved ahead.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Now().UTC().Add(time.Duration(c.ahead.Load())).Truncate(time.Microsecond)
}

// world is a virtual Apple, a store on real PostgreSQL, and the activities between them.
type world struct {
	*store.DB
	t     *testing.T
	clock *clock
	org   *sim.Organization
	url   string
	sql   *pgx.Conn
	abm   *activities.ABM
	// servers are the ids at Apple of the servers here.
	servers map[string]string
	mu      sync.Mutex
	clients map[string]*dep.Client
	carrier *http.Transport
}

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

func newWorld(t *testing.T, cfg sim.Config) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, servers: map[string]string{}, clients: map[string]*dep.Client{}, carrier: &http.Transport{}}
	w.org = sim.New(cfg)
	listener, err := w.org.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	t.Cleanup(w.carrier.CloseIdleConnections)
	w.url = listener.URL
	ring, err := keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	at := stacktest.Database(t, "muster", migrate)
	w.DB, err = store.Open(t.Context(), store.Config{URL: at, MaxConns: 6}, store.WithSealer(ring), store.WithClock(w.clock.now))
	require.NoError(t, err)
	t.Cleanup(w.Close)
	w.sql, err = pgx.Connect(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.sql.Close(context.Background()) })
	w.abm = &activities.ABM{
		Servers: w.DB, List: w.DB, Whereabouts: w.DB, Duties: w.DB, Profiles: w.DB, Connect: w.connect, Now: w.clock.now,
		Config: activities.ABMConfig{
			PageSize: 7, Addresses: provision.EnrollmentAddresses{Enroll: "https://muster.example/enroll"},
		}.Complete(),
	}
	return w
}

// pass has time go by, here and at Apple.
func (w *world) pass(d time.Duration) {
	w.clock.ahead.Add(int64(d))
	w.org.Jump(d)
}

// connect keeps the clients, as sessions are kept.
func (w *world) connect(s store.ABMSecrets) (activities.DEP, activities.Business, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var d activities.DEP
	if s.Token != nil {
		client := w.clients[string(s.Token)]
		if client == nil {
			var token dep.Token
			if err := json.Unmarshal(s.Token, &token); err != nil {
				return nil, nil, err
			}
			client = dep.New(dep.Config{BaseURL: w.url, Transport: w.carrier, Token: token, Timeout: 500 * time.Millisecond})
			w.clients[string(s.Token)] = client
		}
		d = client
	}
	if s.BusinessKey == nil {
		return d, nil, nil
	}
	b, err := abm.New(abm.Config{
		BaseURL: w.url, TokenURL: w.url + "/auth/oauth2/v2/token", Transport: w.carrier, Timeout: 500 * time.Millisecond,
		Account: abm.Account{ClientID: s.Server.BusinessClient, KeyID: s.Server.BusinessKey, PrivateKeyPEM: s.BusinessKey},
	})
	return d, b, err
}

var keyPair = sync.OnceValues(func() ([2][]byte, error) {
	certificate, key, err := dep.NewKeyPair("Muster", time.Now())
	return [2][]byte{certificate, key}, err
})

// server sets a server up here and at Apple, and links them.
func (w *world) server(name string) {
	w.t.Helper()
	in := store.ABMServerInput{Name: name, SyncEvery: 5 * time.Minute, FullEvery: 24 * time.Hour}
	_, _, err := w.PutABMServer(w.t.Context(), in, store.Condition{}, func() (certificate, key []byte, err error) {
		pair, err := keyPair()
		return pair[0], pair[1], err
	})
	require.NoError(w.t, err)
	w.servers[name] = w.org.AddServer(sim.Server{Name: name}).ID
	w.link(name)
}

// link downloads a server token at Apple and stores it here.
func (w *world) link(name string) {
	w.t.Helper()
	pair, err := keyPair()
	require.NoError(w.t, err)
	p7m, err := w.org.IssueToken(w.servers[name], pair[0])
	require.NoError(w.t, err)
	_, err = w.LinkABM(w.t.Context(), name, false, func(certificate, key []byte) (store.ABMToken, error) {
		token, err := dep.OpenToken(p7m, certificate, key)
		if err != nil {
			return store.ABMToken{}, err
		}
		raw, err := json.Marshal(token)
		return store.ABMToken{ConsumerKey: token.ConsumerKey, ExpiresAt: token.Expiry, Secret: raw}, err
	})
	require.NoError(w.t, err)
}

// business gives a server an API account.
func (w *world) business(name string, readOnly bool) sim.Account {
	w.t.Helper()
	account, err := w.org.AddAccount(readOnly)
	require.NoError(w.t, err)
	_, err = w.PutABMBusiness(w.t.Context(), name, account.ClientID, account.KeyID, account.PrivateKeyPEM)
	require.NoError(w.t, err)
	return account
}

func (w *world) addNew(server string, n int) []string {
	w.t.Helper()
	serials, err := w.org.AddNew(w.servers[server], n)
	require.NoError(w.t, err)
	return serials
}

// perform runs an activity as the SDK does, once.
func perform[R any](w *world, run, in any) (R, error) {
	w.t.Helper()
	suite := testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(w.abm)
	env.SetTestTimeout(time.Minute)
	var out R
	value, err := env.ExecuteActivity(run, in)
	if err != nil {
		return out, err
	}
	return out, value.Get(&out)
}

// insist is perform with the retries that workflows ask for; time passes instead of being waited for.
func insist[R any](w *world, run, in any) R {
	w.t.Helper()
	for range 40 {
		out, err := perform[R](w, run, in)
		if err == nil {
			return out
		}
		var app *temporal.ApplicationError
		require.ErrorAs(w.t, err, &app)
		require.False(w.t, app.NonRetryable(), err)
		w.pass(max(app.NextRetryDelay(), time.Second))
	}
	w.t.Fatal("the activity never succeeds")
	panic("unreachable")
}

// sync goes on as the workflow does, until nothing more is to be had, and returns the last result.
func (w *world) sync(server string) (last activities.SyncResult, pages int) {
	w.t.Helper()
	in := activities.SyncInput{Server: server, First: true}
	for pages = 1; ; pages++ {
		require.Less(w.t, pages, 500, "the sync never ends")
		last = insist[activities.SyncResult](w, w.abm.SyncPage, in)
		w.pass(last.Wait)
		if !last.More {
			return last, pages
		}
		in = activities.SyncInput{Server: server, Same: last.Same, Restarts: last.Restarts}
	}
}

// settle goes on until all is settled that can be.
func (w *world) settle(server string) (sum activities.SettleResult) {
	w.t.Helper()
	for in, more := (activities.SettleInput{Server: server}), true; more; {
		out := insist[activities.SettleResult](w, w.abm.SettleGone, in)
		w.pass(out.Wait)
		in.Skip, more = out.Skip, out.More
		sum.Released, sum.Unassigned = sum.Released+out.Released, sum.Unassigned+out.Unassigned
	}
	return sum
}

// duties goes on until nothing is due, and says when something is.
func (w *world) duties(server string) (done int, last activities.DutyResult) {
	w.t.Helper()
	for more := true; more; {
		last = insist[activities.DutyResult](w, w.abm.RunDuties, activities.DutyInput{Server: server})
		w.pass(last.Wait)
		done, more = done+last.Done, last.More
	}
	return done, last
}

func (w *world) device(serial string) provision.Device {
	w.t.Helper()
	d, err := w.Device(w.t.Context(), serial)
	require.NoError(w.t, err)
	return d
}

func (w *world) record(serial string, facts ...provision.Fact) {
	w.t.Helper()
	_, err := w.UpdateOrCreate(w.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(w.t, err)
}

func (w *world) count(from string, args ...any) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.sql.QueryRow(w.t.Context(), `SELECT count(*) FROM `+from, args...).Scan(&n))
	return n
}

func (w *world) listed(server string) []string {
	w.t.Helper()
	rows, err := w.sql.Query(w.t.Context(), `SELECT serial FROM abm_devices WHERE server = $1 AND listed ORDER BY serial`, server)
	require.NoError(w.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	return list
}

// agrees holds what is known here against Apple's own list: nothing is missing, nothing is there that isn't at Apple, and
// no fact was recorded twice.
func (w *world) agrees(servers ...string) {
	w.t.Helper()
	for _, name := range servers {
		want := []string{}
		for _, d := range w.org.Devices(w.servers[name], 1<<20) {
			want = append(want, d.Serial)
			require.Equal(w.t, provision.ABMFact{Server: name, State: provision.ABMPresent}, w.device(d.Serial).ABM, d.Serial)
		}
		slices.Sort(want)
		got := w.listed(name)
		require.Equal(w.t, len(want), len(got), name)
		require.Equal(w.t, want, append([]string{}, got...), name)
	}
	require.Zero(w.t, w.count(`(SELECT serial, payload -> 'abm' AS said, lag(payload -> 'abm') OVER (PARTITION BY serial ORDER BY id) AS before
		FROM device_events WHERE kind IN ('abm_seen', 'abm_gone')) f WHERE said = before`), "facts that say nothing new")
	require.Zero(w.t, w.org.Counts().Impatient)
}
