package worker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
	"github.com/muster-mdm/muster/worker"
	"github.com/muster-mdm/muster/workflows"
)

const managementIdentifier = "com.github.muster-mdm.enrollment"

// fleet is a store, and devices that answer every command as soon as they are pushed.
type fleet struct {
	t    *testing.T
	db   *store.DB
	pool *pgxpool.Pool

	mu     sync.Mutex
	locks  map[string]*sync.Mutex
	work   sync.WaitGroup
	deaf   map[string]int // serial → pushes still to be lost
	refuse map[string]int // item → installs still to be answered by an error
	pushed map[string]int
	fail   error // of every push
	// installing: how often apps are still to be reported as on their way.
	installing map[string]int
	// before runs at each push and may block or panic.
	before func(serial string)
}

func migrationsHash(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../store/migrations/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	h := sha256.New()
	for _, f := range append(files, "../store/migrate.go") {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

func fastTiming() store.Timing {
	return store.Timing{
		Poll:   store.Backoff(50*time.Millisecond, time.Second),
		Repush: store.Backoff(300*time.Millisecond, 5*time.Second),
		NotNow: 100 * time.Millisecond, Connected: 300 * time.Millisecond,
	}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	url := stacktest.Database(t, "worker_"+migrationsHash(t), migrate)
	encode := func(o provision.Order) ([]byte, error) {
		return []byte("<?xml version=\"1.0\"?><plist>" + o.UUID + "</plist>"), nil
	}
	ring, err := keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 12}, store.WithEncoder(encode), store.WithTiming(fastTiming()),
		store.WithSealer(ring))
	require.NoError(t, err)
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	f := &fleet{
		t: t, db: db, pool: pool, locks: map[string]*sync.Mutex{}, deaf: map[string]int{}, refuse: map[string]int{},
		pushed: map[string]int{}, installing: map[string]int{},
	}
	t.Cleanup(func() {
		f.work.Wait()
		pool.Close()
		db.Close()
	})
	f.exec(`INSERT INTO groups (name) VALUES ('sales'), ('drivers')`)
	f.exec(`INSERT INTO apps (name, bundle_id, store_id) VALUES ('maps', 'example.maps', 1), ('mail', 'example.mail', 2)`)
	f.exec(`INSERT INTO group_items (group_name, position, kind, app_name, stage) VALUES
		('sales', 0, 'app', 'mail', 'before_release'), ('sales', 1, 'app', 'maps', 'required'), ('drivers', 0, 'app', 'maps', 'required')`)
	f.exec(`INSERT INTO people (id, name, domain, email) VALUES ('p1', 'Ada', 'MDM', 'ada@example.org')`)
	return f
}

func (f *fleet) exec(sql string, args ...any) {
	f.t.Helper()
	_, err := f.pool.Exec(context.Background(), sql, args...)
	require.NoError(f.t, err)
}

func dial(t *testing.T) (client.Client, string) {
	t.Helper()
	hostPort, namespace := stacktest.Temporal(t)
	c, err := client.DialContext(t.Context(), client.Options{HostPort: hostPort, Namespace: namespace, Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, namespace
}

func quiet() log.Logger {
	return log.NewStructuredLogger(slog.New(slog.DiscardHandler))
}

// run runs a worker until the returned function is called or the test ends.
func (f *fleet) run(c client.Client, config worker.Config) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	config.ManagementIdentifier = managementIdentifier
	if config.Policy == nil {
		policy := workflows.DefaultPolicy()
		policy.ReleaseDelay = 100 * time.Millisecond
		config.Policy = &policy
	}
	done := make(chan error, 1)
	go func() { done <- worker.New(c, f.db, f, config).Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(f.t, <-done)
	})
	f.t.Cleanup(stop)
	return stop
}

func (f *fleet) assign(serial string, groups ...string) {
	f.record(serial, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "p1", Groups: groups}})
}

func (f *fleet) record(serial string, facts ...provision.Fact) {
	f.t.Helper()
	_, err := f.db.UpdateOrCreate(context.Background(), serial, func(ctx context.Context, c *store.Change) error {
		for _, fact := range facts {
			if _, err := c.Record(ctx, fact); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(f.t, err)
}

// activate enrolls the device: NanoMDM's rows, then Authenticate and TokenUpdate.
func (f *fleet) activate(serial string, awaiting bool) {
	f.t.Helper()
	udid := "udid-" + serial
	f.exec(`INSERT INTO nanomdm.devices (id, authenticate, authenticate_at) VALUES ($1, 'x', now()) ON CONFLICT DO NOTHING`, udid)
	f.exec(`INSERT INTO nanomdm.enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at)
		VALUES ($1, $1, 'Device', 't', 'm', 'aa', now()) ON CONFLICT DO NOTHING`, udid)
	_, err := f.db.UpdateOrCreate(context.Background(), serial, func(ctx context.Context, c *store.Change) error {
		if err := c.SetUDID(ctx, udid); err != nil {
			return err
		}
		epoch := c.Device.NextEpoch()
		if _, err := c.Record(ctx, provision.Fact{Kind: provision.Authenticated, Epoch: epoch, Source: provision.FromDevice}); err != nil {
			return err
		}
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Activated, Epoch: epoch, AwaitingConfiguration: awaiting, Source: provision.FromDevice})
		return err
	})
	require.NoError(f.t, err)
}

// Push implements worker.Pusher: the device wakes and works off its queue.
func (f *fleet) Push(_ context.Context, udid string) error {
	serial := strings.TrimPrefix(udid, "udid-")
	if f.before != nil {
		f.before(serial)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushed[serial]++
	if f.fail != nil {
		return f.fail
	}
	if f.deaf[serial] > 0 {
		f.deaf[serial]--
		return nil
	}
	lock, ok := f.locks[serial]
	if !ok {
		lock = &sync.Mutex{}
		f.locks[serial] = lock
	}
	f.work.Go(func() {
		lock.Lock()
		defer lock.Unlock()
		f.connect(serial)
	})
	return nil
}

const nextCommand = `
SELECT q.command_uuid, d.request_type, d.name
FROM nanomdm.enrollment_queue q
    JOIN device_commands d USING (command_uuid)
WHERE q.id = $1 AND q.active AND d.status = ''
ORDER BY q.created_at
LIMIT 1`

func (f *fleet) connect(serial string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		var uuid, kind, name string
		if err := f.pool.QueryRow(ctx, nextCommand, "udid-"+serial).Scan(&uuid, &kind, &name); err != nil {
			return
		}
		answer := provision.Answer{
			Status: provision.AnswerAcknowledged, Profiles: []string{managementIdentifier},
			Apps: map[string]string{"example.maps": "Managed", "example.mail": "Managed"},
		}
		f.mu.Lock()
		if kind == string(provision.InstallApplication) && f.refuse[name] > 0 {
			f.refuse[name]--
			answer = provision.Answer{Status: provision.AnswerError, Detail: "no room"}
		}
		if kind == string(provision.ManagedApplicationList) && f.installing[serial] > 0 {
			f.installing[serial]--
			answer.Apps = map[string]string{"example.maps": "Installing", "example.mail": "Installing"}
		}
		f.mu.Unlock()
		if _, err := f.db.Answer(ctx, uuid, answer, nil); err != nil {
			f.t.Errorf("answering %s of %s: %v", kind, serial, err)
			return
		}
	}
}

// verified reports whether everything of the device's plan is on it.
func (f *fleet) verified(serial string) func() bool {
	return func() bool {
		var total, left int
		require.NoError(f.t, f.pool.QueryRow(context.Background(),
			`SELECT count(*), count(*) FILTER (WHERE state <> 'verified') FROM plan_items WHERE serial = $1`, serial).Scan(&total, &left))
		return total > 0 && left == 0
	}
}

// plan enrolls a device and plans it without a workflow.
func (f *fleet) plan(serial string) {
	f.t.Helper()
	f.assign(serial, "sales")
	f.activate(serial, false)
	_, err := f.db.Apply(context.Background(), serial, 0, 1, managementIdentifier)
	require.NoError(f.t, err)
}

func (f *fleet) pushes(serial string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pushed[serial]
}

func (f *fleet) text(sql string, args ...any) string {
	f.t.Helper()
	var text string
	require.NoError(f.t, f.pool.QueryRow(context.Background(), sql, args...).Scan(&text))
	return text
}

func (f *fleet) eventually(what string, ok func() bool) {
	f.t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			f.t.Fatalf("not in time: %s\n%s", what, f.picture())
		case <-tick.C:
		}
	}
}

// picture tells where each device stands, for a failure.
func (f *fleet) picture() string {
	rows, err := f.pool.Query(context.Background(), `
		SELECT format('%s %s push_at=%s tries=%s error=%s | undelivered %s | %s | %s', serial, status, push_at, push_tries, push_error,
			(SELECT count(*) FROM device_events e WHERE e.serial = d.serial AND deliver AND delivered_at IS NULL),
			(SELECT string_agg(name || ':' || state || ':' || detail, ' ' ORDER BY position) FROM plan_items p WHERE p.serial = d.serial),
			(SELECT string_agg(kind, ' ' ORDER BY id) FROM device_events e WHERE e.serial = d.serial))
		FROM devices d ORDER BY serial`)
	if err != nil {
		return err.Error()
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	return strings.Join(lines, "\n")
}

func (f *fleet) enrolled(n int) func() bool {
	return func() bool {
		var count int
		require.NoError(f.t, f.pool.QueryRow(context.Background(), `SELECT count(*) FROM devices WHERE status = 'Enrolled'`).Scan(&count))
		return count == n
	}
}

func serial(i int) string { return fmt.Sprintf("C07Q%06d", i) }
