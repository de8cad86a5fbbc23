package checkin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/checkin"
	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
	"github.com/muster-mdm/muster/store"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

const (
	topic    = "com.apple.mgmt.External.6c3f1b0a-7f0a-4a52-9d5c-3b1f6e0a0001"
	deadline = 20 * time.Second
)

type dict = map[string]any

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

var authorities shelf

// env is a server with everything behind check-ins, on real PostgreSQL and HTTP.
type env struct {
	t         testing.TB
	db        *store.DB
	sql       *pgx.Conn
	storage   *mdm.Storage
	authority *identity.Authority
	enroller  *enroll.Enroller
	facts     *breaking
	server    *httptest.Server
	watched   bool
}

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

var quiet = slog.New(slog.DiscardHandler)

func start(t testing.TB, change func(*checkin.Config)) *env {
	t.Helper()
	e := prepare(t)
	e.serve(change)
	return e
}

// startWatched is start with all traffic checked against Apple's schema, if that is given.
func startWatched(t testing.TB) *env {
	t.Helper()
	e := prepare(t)
	e.watched = true
	e.serve(nil)
	return e
}

func prepare(t testing.TB) *env {
	t.Helper()
	url := stacktest.Database(t, "muster", migrate)
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 5}, store.WithEncoder(mdm.Encode))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	e := &env{t: t, db: db}
	e.sql, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.sql.Close(context.Background()) })
	e.storage, err = mdm.NewStorage(db.NanoMDM(), quiet)
	require.NoError(t, err)
	e.authority, err = identity.LoadAuthority(t.Context(), &authorities, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(t, err)
	in, err := intake.New(db, intake.Settings{})
	require.NoError(t, err)
	e.facts = &breaking{Facts: in}
	return e
}

func (e *env) serve(change func(*checkin.Config)) {
	e.t.Helper()
	c := checkin.Config{Log: quiet}
	if change != nil {
		change(&c)
	}
	endpoint, err := checkin.New(checkin.Parts{Store: e.db, Storage: e.storage, Authority: e.authority, Facts: e.facts, Title: api.Title}, c)
	require.NoError(e.t, err)
	mux := http.NewServeMux()
	mux.Handle("/mdm", endpoint)
	mux.Handle("/scep", identity.NewSCEP(e.authority, e.db, quiet))
	var handler http.Handler = mux
	if w, ok := schemaflag.Watch(e.t); ok && e.watched {
		handler = w.Handler(mux)
	}
	e.server = httptest.NewUnstartedServer(handler)
	e.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	e.server.StartTLS()
	e.t.Cleanup(e.server.Close)
	e.enroller, err = enroll.New(e.db, e.storage, enroll.Config{
		ServerURL: e.server.URL + "/mdm", SCEPURL: e.server.URL + "/scep", Organization: "Zylker",
		Roots: []*x509.Certificate{e.server.Certificate()},
	})
	require.NoError(e.t, err)
}

// register makes a device known.
func (e *env) register(serial string, facts ...provision.Fact) {
	e.t.Helper()
	_, err := e.db.UpdateOrCreate(e.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range append([]provision.Fact{{Kind: provision.Registered}}, facts...) {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(e.t, err)
}

func (e *env) device(serial string) provision.Device {
	e.t.Helper()
	d, err := e.db.Device(e.t.Context(), serial)
	require.NoError(e.t, err)
	return d
}

// kinds lists the facts of a device in their order.
func (e *env) kinds(serial string) []string {
	e.t.Helper()
	rows, err := e.sql.Query(e.t.Context(), `SELECT kind FROM device_events WHERE serial = $1 ORDER BY id`, serial)
	require.NoError(e.t, err)
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(e.t, err)
	return kinds
}

// counted is everything that a message could change, to show that a refused one changes nothing.
func (e *env) counted() string {
	e.t.Helper()
	const everything = `
SELECT concat_ws(' ', (SELECT count(*) FROM device_events), (SELECT coalesce(sum(version), 0) FROM devices),
    (SELECT string_agg(coalesce(udid, '-'), ',' ORDER BY serial) FROM devices),
    (SELECT count(*) FROM nanomdm.devices), (SELECT max(authenticate_at) FROM nanomdm.devices),
    (SELECT count(*) FROM nanomdm.cert_auth_associations), (SELECT string_agg(token_hex, ',' ORDER BY id) FROM nanomdm.enrollments),
    (SELECT count(*) FROM nanomdm.command_results), (SELECT string_agg(status, ',' ORDER BY command_uuid) FROM device_commands))`
	var s string
	require.NoError(e.t, e.sql.QueryRow(e.t.Context(), everything).Scan(&s))
	return s
}

// bring fills a group with a configuration and an app and gives it to the device.
func (e *env) bring(serial string) {
	e.t.Helper()
	for _, statement := range []string{
		`INSERT INTO configurations (name, content, identifier) VALUES ('wifi', 1, 'com.example.wifi') ON CONFLICT DO NOTHING`,
		`INSERT INTO apps (name, bundle_id, store_id) VALUES ('pages', 'com.example.pages', 361309726) ON CONFLICT DO NOTHING`,
		`INSERT INTO groups (name) VALUES ('drivers') ON CONFLICT DO NOTHING`,
		`INSERT INTO group_items (group_name, position, kind, configuration_name, stage) VALUES ('drivers', 1, 'configuration', 'wifi', 'before_release') ON CONFLICT DO NOTHING`,
		`INSERT INTO group_items (group_name, position, kind, app_name, stage, depends_on) VALUES ('drivers', 2, 'app', 'pages', 'required', '[{"kind": "configuration", "name": "wifi"}]') ON CONFLICT DO NOTHING`,
	} {
		_, err := e.sql.Exec(e.t.Context(), statement)
		require.NoError(e.t, err)
	}
	_, err := e.sql.Exec(e.t.Context(), `INSERT INTO configuration_contents (name, content, identifier, payload) VALUES ('wifi', 1, 'com.example.wifi', $1) ON CONFLICT DO NOTHING`, wifi)
	require.NoError(e.t, err)
	e.register(serial, provision.Fact{
		Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"drivers"}, Requirement: provision.RequireUserOrG},
	})
}

var wifi = []byte(`<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.example.wifi</string><key>PayloadUUID</key><string>7B1D1C4E-5B0C-5F5C-8E1D-1A2B3C4D5E6F</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.example.wifi.1</string><key>PayloadUUID</key><string>8C2D1C4E-5B0C-5F5C-8E1D-1A2B3C4D5E6F</string>
<key>SSID_STR</key><string>depot</string>
</dict></array>
</dict></plist>`)

func (e *env) apply(serial string) {
	e.t.Helper()
	_, err := e.db.Apply(e.t.Context(), serial, e.device(serial).Plan.By, 1, identity.DefaultProfileIdentifier)
	require.NoError(e.t, err)
}

// status is how a command was answered, as we keep it.
func (e *env) status(uuid string) string {
	e.t.Helper()
	sent, err := e.db.SentCommand(e.t.Context(), uuid)
	require.NoError(e.t, err)
	return string(sent.Status)
}

func (e *env) eventually(what string, ok func() bool) {
	e.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			e.t.Fatalf("no %s within %s", what, deadline)
		}
	}
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code is the problem's, with its status before it.
func (a answer) code() string {
	var p struct{ Code string }
	if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil {
		return fmt.Sprintf("%d %s", a.status, a.body)
	}
	return fmt.Sprintf("%d %s", a.status, p.Code)
}

func read(t testing.TB, resp *http.Response, err error) answer {
	t.Helper()
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, body}
}

// breaking are the use cases with a switch that lets one fail.
type breaking struct {
	checkin.Facts
	mu     sync.Mutex
	broken error
}

// fail makes the next use case fail, once.
func (b *breaking) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = err
}

func (b *breaking) take() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.broken
	b.broken = nil
	return err
}

func (b *breaking) Authenticated(ctx context.Context, e intake.Enrollment) (provision.Device, error) {
	if err := b.take(); err != nil {
		return provision.Device{}, err
	}
	return b.Facts.Authenticated(ctx, e)
}

func (b *breaking) Activated(ctx context.Context, serial string, awaiting bool) (provision.Device, error) {
	if err := b.take(); err != nil {
		return provision.Device{}, err
	}
	return b.Facts.Activated(ctx, serial, awaiting)
}

func (b *breaking) CheckedOut(ctx context.Context, serial string) (provision.Device, error) {
	if err := b.take(); err != nil {
		return provision.Device{}, err
	}
	return b.Facts.CheckedOut(ctx, serial)
}

func (b *breaking) CheckedIn(ctx context.Context, serial string) (provision.Device, error) {
	if err := b.take(); err != nil {
		return provision.Device{}, err
	}
	return b.Facts.CheckedIn(ctx, serial)
}

func (b *breaking) Answered(ctx context.Context, uuid string, a provision.Answer, info *store.Information) (store.Outcome, error) {
	if err := b.take(); err != nil {
		return store.Outcome{}, err
	}
	return b.Facts.Answered(ctx, uuid, a, info)
}

// virtual makes a virtual device that trusts the server.
func (e *env) virtual(serial string, apns *sim.APNs) *sim.Device {
	e.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(e.server.Certificate())
	d, err := sim.NewDevice(sim.Config{
		Serial: serial, Seed: 7, APNs: apns, Roots: roots, AutomatedEnrollment: true, Await: true, KeyBits: 2048,
		Catalog: map[string]string{"361309726": "com.example.pages"},
	})
	require.NoError(e.t, err)
	e.t.Cleanup(d.Close)
	return d
}
