package signals_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
)

// outbox is a store on a database of the test's own.
type outbox struct {
	t    testing.TB
	url  string
	db   *store.DB
	pool *pgxpool.Pool
}

func migrationsHash(t testing.TB) string {
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

func newOutbox(t testing.TB) *outbox {
	t.Helper()
	url := stacktest.Database(t, "signals_"+migrationsHash(t), func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})
	o := &outbox{t: t, url: url}
	o.db = o.open()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	o.pool = pool
	return o
}

func (o *outbox) open() *store.DB {
	o.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: o.url, MaxConns: 8})
	require.NoError(o.t, err)
	o.t.Cleanup(db.Close)
	return db
}

// record records a fact with a priority and returns its id.
func (o *outbox) record(serial string, p provision.Priority, f provision.Fact) int64 {
	o.t.Helper()
	var id int64
	_, err := o.db.UpdateOrCreate(context.Background(), serial, func(ctx context.Context, c *store.Change) error {
		c.Priority(p)
		recorded, err := c.Record(ctx, f)
		id = recorded.ID
		return err
	})
	require.NoError(o.t, err)
	return id
}

func assigned(group string) provision.Fact {
	return provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{group}}}
}

func (o *outbox) undelivered() int64 {
	n, _, err := o.db.Undelivered(context.Background())
	require.NoError(o.t, err)
	return n
}

// run runs a relay until the returned function is called or the test ends.
func (o *outbox) run(r signals.Relay) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	o.t.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(limit), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}

func dial(t testing.TB, hostPort, namespace string) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{
		HostPort: hostPort, Namespace: namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// signalled lists the ids of the facts in a workflow's history, in their order.
func signalled(t *testing.T, c client.Client, serial string) []int64 {
	t.Helper()
	var ids []int64
	events := c.GetWorkflowHistory(context.Background(), signals.WorkflowID(serial), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			var f provision.Fact
			require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(a.GetInput(), &f))
			require.Equal(t, string(f.Kind), a.GetSignalName())
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// firsts drops repetitions.
func firsts(ids []int64) []int64 {
	seen := map[int64]bool{}
	var once []int64
	for _, id := range ids {
		if !seen[id] {
			once = append(once, id)
		}
		seen[id] = true
	}
	return once
}

func serial(i int) string { return fmt.Sprintf("F4K%07d", i) }

// door is a Temporal that does as the test says.
type door struct {
	mu        sync.Mutex
	delivered []provision.Delivery
	attempts  map[string]int
	deliver   func(provision.Delivery) error
}

// Deliver implements signals.Door.
func (d *door) Deliver(_ context.Context, delivery provision.Delivery) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.attempts == nil {
		d.attempts = map[string]int{}
	}
	d.attempts[delivery.Serial]++
	if d.deliver != nil {
		if err := d.deliver(delivery); err != nil {
			return err
		}
	}
	d.delivered = append(d.delivered, delivery)
	return nil
}

func (d *door) tries(serial string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attempts[serial]
}

func (d *door) serials() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, delivery := range d.delivered {
		all = append(all, delivery.Serial)
	}
	return all
}
