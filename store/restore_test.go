package store_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// documented is the statement of the page on operations that begins so.
func documented(t *testing.T, beginning string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	statement := regexp.MustCompile(`(?m)^ *(` + regexp.QuoteMeta(beginning) + `.*);$`).FindSubmatch(page)
	require.NotNil(t, statement, "no statement %s… in docs/operations.md", beginning)
	return string(statement[1])
}

// restored is a store whose database is to be restored, and a raw connection to it.
type restored struct {
	t    *testing.T
	db   *store.DB
	pool *pgxpool.Pool
}

func openRestored(t *testing.T) *restored {
	t.Helper()
	url := stacktest.Database(t, "muster", migrate)
	db, err := store.Open(t.Context(), store.Config{URL: url})
	require.NoError(t, err)
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { pool.Close(); db.Close() })
	return &restored{t: t, db: db, pool: pool}
}

func (r *restored) exec(sql string) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), sql)
	require.NoError(r.t, err)
}

func (r *restored) record(f provision.Fact) (fact provision.Fact) {
	r.t.Helper()
	_, err := r.db.UpdateOrCreate(r.t.Context(), "F4K0000001", func(ctx context.Context, c *store.Change) (err error) {
		fact, err = c.Record(ctx, f)
		return err
	})
	require.NoError(r.t, err)
	return fact
}

// A workflow that is newer than the restored database takes the facts after the restore for old ones, unless the
// documented step was taken.
func TestNumbersOfFactsAfterARestore(t *testing.T) {
	for name, step := range map[string]bool{"with the documented step": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			r := openRestored(t)
			known := provision.Fold(provision.Device{Serial: "F4K0000001"}, r.record(provision.Fact{Kind: provision.Registered}))
			r.exec(`CREATE TABLE backup AS SELECT * FROM devices`)
			for range 3 {
				known = provision.Fold(known, r.record(provision.Fact{Kind: provision.HoldRequest, Reason: "lost"}))
			}
			require.True(t, known.OnHold)
			r.exec(`DELETE FROM device_events WHERE kind = 'hold'`)
			r.exec(`UPDATE devices d SET state = b.state, blocked_by = b.blocked_by FROM backup b WHERE b.serial = d.serial`)
			r.exec(`ALTER TABLE device_events ALTER COLUMN id RESTART WITH 2`)
			if step {
				r.exec(documented(t, "SELECT setval"))
			}
			resumed := r.record(provision.Fact{Kind: provision.ResumeRequest})
			require.Equal(t, !step, provision.Fold(known, resumed).OnHold, "fact %d", resumed.ID)
		})
	}
}

// Facts that an older Temporal doesn't know any more are delivered again.
func TestFactsAreDeliveredAgainAfterARestore(t *testing.T) {
	r := openRestored(t)
	for range 3 {
		r.record(provision.Fact{Kind: provision.RetryItem})
	}
	r.record(provision.Fact{Kind: provision.Nudged})
	all := func(_ context.Context, devices [][]provision.Delivery) (receipt provision.Receipt) {
		for _, d := range devices[0] {
			receipt.Delivered = append(receipt.Delivered, d.Fact.ID)
		}
		return receipt
	}
	n, err := r.db.ClaimFacts(t.Context(), 10, all)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	r.exec(`UPDATE device_events SET delivered_at = '2026-01-31 03:00:00+00' WHERE id = (SELECT min(id) FROM device_events)`)
	r.exec(strings.Replace(documented(t, "UPDATE device_events SET delivered_at"), "2026-01-31 04:00:00+00", "2026-01-31 03:30:00+00", 1))
	n, err = r.db.ClaimFacts(t.Context(), 10, all)
	require.NoError(t, err)
	require.Equal(t, 2, n, "but not what was delivered before the backup")
}
