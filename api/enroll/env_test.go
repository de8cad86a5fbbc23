package enroll_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/checkin"
	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/devstack/logtest"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Runner{M: directorytest.Runner{M: m}}.Run()) }

const (
	topic    = "com.apple.mgmt.External.6c3f1b0a-7f0a-4a52-9d5c-3b1f6e0a0001"
	deadline = 20 * time.Second
)

// shelf keeps one authority for all tests, because its key is slow to make.
type shelf struct {
	mu        sync.Mutex
	cert, key []byte
}

func (s *shelf) Authority(_ context.Context, create func() ([]byte, []byte, error)) (certificate, key []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert == nil {
		if s.cert, s.key, err = create(); err != nil {
			return nil, nil, err
		}
	}
	return s.cert, s.key, nil
}

var (
	authorities shelf
	factory     = sync.OnceValues(sim.NewFactory)
)

// choices are what a test changes of a house.
type choices struct {
	door     enroll.DoorConfig
	enroller enroll.Config
	intake   intake.Settings
	foreign  checkin.Authority
	renewal  time.Duration
	// noTopic: no push certificate is stored.
	noTopic bool
}

// house is a server with all that a device meets from its power-on to its last answer, on real PostgreSQL and HTTP.
type house struct {
	t        testing.TB
	db       *store.DB
	sql      *pgx.Conn
	storage  *mdm.Storage
	apns     *sim.APNs
	pusher   *mdm.Pusher
	enroller *enroll.Enroller
	door     *enroll.Door
	cases    *intake.Intake
	server   *httptest.Server
	log      *logtest.Log
	metrics  *prometheus.Registry
	tape     tape
}

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

func build(t testing.TB, change ...func(*choices)) *house {
	t.Helper()
	f, err := factory()
	require.NoError(t, err)
	machines, err := identity.NewMachines(f.AnchorsPEM())
	require.NoError(t, err)
	h := &house{t: t, log: &logtest.Log{}, metrics: prometheus.NewRegistry()}
	c := choices{door: enroll.DoorConfig{Machines: machines, Title: api.Title, Metrics: h.metrics}, renewal: 365 * 24 * time.Hour}
	c.door.Log = slog.New(slog.NewTextHandler(h.log, nil))
	for _, change := range change {
		change(&c)
	}
	h.furnish(c)
	h.serve(c)
	return h
}

func (h *house) furnish(c choices) {
	h.t.Helper()
	url := stacktest.Database(h.t, "muster", migrate)
	keys, err := keyring.Parse(keyring.NewKey())
	require.NoError(h.t, err)
	h.db, err = store.Open(h.t.Context(), store.Config{URL: url, MaxConns: 6}, store.WithEncoder(mdm.Encode), store.WithRenewal(c.renewal), store.WithSealer(keys))
	require.NoError(h.t, err)
	h.t.Cleanup(h.db.Close)
	h.sql, err = pgx.Connect(h.t.Context(), url)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = h.sql.Close(context.Background()) })
	h.storage, err = mdm.NewStorage(h.db.NanoMDM(), slog.New(slog.DiscardHandler))
	require.NoError(h.t, err)
	h.apns, err = sim.StartAPNs(h.t.Context(), sim.APNsConfig{Seed: 1})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { require.NoError(h.t, h.apns.Close()) })
	if c.noTopic {
		return
	}
	cert, key, err := h.apns.IssuePushCertificate(topic)
	require.NoError(h.t, err)
	_, err = h.storage.StorePushCertificate(h.t.Context(), cert, key)
	require.NoError(h.t, err)
	roots := x509.NewCertPool()
	require.True(h.t, roots.AppendCertsFromPEM(h.apns.CACertPEM()))
	h.pusher, err = mdm.NewPusher(h.storage, mdm.PushConfig{BaseURL: h.apns.URL(), Roots: roots}, slog.New(slog.DiscardHandler))
	require.NoError(h.t, err)
}

func (h *house) serve(c choices) {
	h.t.Helper()
	authority, err := identity.LoadAuthority(h.t.Context(), &authorities, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(h.t, err)
	mux := http.NewServeMux()
	h.server = httptest.NewUnstartedServer(mux)
	h.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	h.server.StartTLS()
	h.t.Cleanup(h.server.Close)
	c.intake.SignInReturn = h.server.URL + enroll.ReturnPath
	h.cases, err = intake.New(h.db, c.intake)
	require.NoError(h.t, err)
	checkins, err := checkin.New(
		checkin.Parts{Store: h.db, Storage: h.storage, Authority: authority, Foreign: c.foreign, Facts: h.cases, Title: api.Title},
		checkin.Config{Log: c.door.Log})
	require.NoError(h.t, err)
	mux.Handle("/mdm", h.tape.record(checkins))
	mux.Handle("/scep", identity.NewSCEP(authority, h.db, slog.New(slog.DiscardHandler)))
	c.enroller.ServerURL, c.enroller.Organization = h.server.URL+"/mdm", "Zylker"
	if c.enroller.SCEPURL == "" {
		c.enroller.SCEPURL = h.server.URL + "/scep"
	}
	h.enroller, err = enroll.New(h.db, h.storage, c.enroller)
	require.NoError(h.t, err)
	h.door, err = enroll.NewDoor(h.enroller, h.db, c.door)
	require.NoError(h.t, err)
	web, err := enroll.NewWeb(h.door, h.cases, h.db, h.server.URL)
	require.NoError(h.t, err)
	mux.Handle("/enroll", h.door)
	mux.Handle("/enroll/", web)
}

// tape keeps what devices said, as it came.
type tape struct {
	mu       sync.Mutex
	paused   bool
	requests []*http.Request
	bodies   [][]byte
}

func (t *tape) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			t.mu.Lock()
			if !t.paused {
				t.requests, t.bodies = append(t.requests, r.Clone(context.Background())), append(t.bodies, body)
			}
			t.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func (t *tape) pause(paused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = paused
}

// played are the requests so far, to be sent again.
func (t *tape) played(url string) []*http.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	var again []*http.Request
	for i, r := range t.requests {
		n, err := http.NewRequestWithContext(context.Background(), r.Method, url+r.URL.Path, bytes.NewReader(t.bodies[i]))
		if err != nil {
			panic(err)
		}
		n.Header = r.Header.Clone()
		again = append(again, n)
	}
	return again
}

// register makes a device known, with facts.
func (h *house) register(serial string, facts ...provision.Fact) {
	h.t.Helper()
	_, err := h.db.UpdateOrCreate(h.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range append([]provision.Fact{{Kind: provision.Registered}}, facts...) {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(h.t, err)
}

func (h *house) device(serial string) provision.Device {
	h.t.Helper()
	d, err := h.db.Device(h.t.Context(), serial)
	require.NoError(h.t, err)
	return d
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	_, err := h.sql.Exec(h.t.Context(), sql, args...)
	require.NoError(h.t, err)
}

func (h *house) text(sql string, args ...any) string {
	h.t.Helper()
	var s string
	require.NoError(h.t, h.sql.QueryRow(h.t.Context(), sql, args...).Scan(&s))
	return s
}

// kinds lists the facts of a device in their order.
func (h *house) kinds(serial string) []string {
	h.t.Helper()
	rows, err := h.sql.Query(h.t.Context(), `SELECT kind FROM device_events WHERE serial = $1 ORDER BY id`, serial)
	require.NoError(h.t, err)
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(h.t, err)
	return kinds
}

// counted is everything that a request could change, to show that a refused one changes nothing.
func (h *house) counted() string {
	h.t.Helper()
	return h.text(`
SELECT concat_ws(' ', (SELECT count(*) FROM device_events), (SELECT coalesce(sum(version), 0) FROM devices),
    (SELECT string_agg(concat(udid, identity, renew_tries), ',' ORDER BY serial) FROM devices),
    (SELECT count(*) FROM enrollment_challenges), (SELECT count(*) FROM enrollment_challenges WHERE used_at IS NULL AND expires_at > now()),
    (SELECT count(*) FROM identities), (SELECT count(*) FROM identities WHERE revoked_at IS NULL),
    (SELECT max(authenticate_at) FROM nanomdm.devices), (SELECT count(*) FROM nanomdm.cert_auth_associations),
    (SELECT string_agg(token_hex, ',' ORDER BY id) FROM nanomdm.enrollments), (SELECT count(*) FROM nanomdm.commands),
    (SELECT string_agg(status, ',' ORDER BY command_uuid) FROM device_commands),
    (SELECT string_agg(state, ',' ORDER BY serial, epoch, kind, name) FROM plan_items))`)
}

// virtual makes a virtual device as it comes out of its box.
func (h *house) virtual(serial string, change ...func(*sim.Config)) *sim.Device {
	h.t.Helper()
	f, err := factory()
	require.NoError(h.t, err)
	roots := x509.NewCertPool()
	roots.AddCert(h.server.Certificate())
	c := sim.Config{
		Serial: serial, ProductName: "iPad13,4", Seed: 7, APNs: h.apns, Roots: roots, KeyBits: 2048, Factory: f,
		Backoff: sim.Span{Min: time.Millisecond, Max: 50 * time.Millisecond}, Catalog: map[string]string{"361309726": "com.example.pages"},
	}
	for _, change := range change {
		change(&c)
	}
	d, err := sim.NewDevice(c)
	require.NoError(h.t, err)
	h.t.Cleanup(d.Close)
	return d
}

// run runs a device's connect loop until the test ends.
func (h *house) run(d *sim.Device) {
	h.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	h.t.Cleanup(func() { stop(); require.NoError(h.t, <-done) })
}

// Activate sends every device here, to wait in Setup Assistant: the house is its own source of activations.
func (h *house) Activate(string) (sim.Activation, bool) {
	return sim.Activation{URL: h.server.URL + "/enroll", Await: true, Supervised: true}, true
}

func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			h.t.Fatalf("no %s within %s", what, deadline)
		}
	}
}

// reply is what the server said.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// code is the problem's, or Apple's, with the status before it.
func (r reply) code() string {
	var p struct{ Code string }
	if json.Unmarshal(r.body, &p) != nil {
		return fmt.Sprint(r.status)
	}
	return fmt.Sprintf("%d %s", r.status, p.Code)
}

func (h *house) send(r *http.Request) reply {
	h.t.Helper()
	resp, err := h.server.Client().Do(r)
	require.NoError(h.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	return reply{resp.StatusCode, resp.Header, body}
}

func (h *house) post(body []byte) reply {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.server.URL+"/enroll", bytes.NewReader(body))
	require.NoError(h.t, err)
	r.Header.Set("Content-Type", "application/pkcs7-signature")
	return h.send(r)
}

// knock posts the machine information of a device.
func (h *house) knock(d *sim.Device) reply {
	h.t.Helper()
	message, err := d.MachineInfo()
	require.NoError(h.t, err)
	return h.post(message)
}
