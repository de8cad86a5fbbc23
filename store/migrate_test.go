package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/micromdm/nanomdm/storage/pgsql"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func empty(ctx context.Context, _ string) error { return ctx.Err() }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Migration 1 was released with the tables of this version of NanoMDM. Another version may want other tables, but a
// migration never changes: add one that turns these into those, and then the new hash here.
func TestNanoMDMSchemaIsTheOneThatMigration1WasReleasedWith(t *testing.T) {
	const released = "33480889eb1154d1213ebba7d99b39fe1f02533266a23733a9b0b2500aceed6b"
	sum := sha256.Sum256([]byte(pgsql.Schema))
	require.Equal(t, released, hex.EncodeToString(sum[:]))
}

func TestMigrationsAreNumberedWithoutGaps(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for i, f := range files {
		require.Equal(t, fmt.Sprintf("%05d", i+2), filepath.Base(f)[:5])
	}
}

func TestMigrateUpTwiceDownAndUp(t *testing.T) {
	at := stacktest.Database(t, "empty", empty)
	files, err := filepath.Glob("migrations/*.sql")
	require.NoError(t, err)
	all := len(files) + 1

	status, err := store.MigrationStatus(t.Context(), at)
	require.NoError(t, err)
	require.Len(t, status, all)
	for _, m := range status {
		require.Zero(t, m.AppliedAt, m.Name)
		require.Regexp(t, `^\d{5}_[a-z_]+$`, m.Name)
	}
	applied, err := store.Migrate(t.Context(), at)
	require.NoError(t, err)
	require.Len(t, applied, all)
	require.Equal(t, "00001_nanomdm", applied[0].Name)
	before := tables(t, at)
	require.Contains(t, before, "nanomdm.enrollment_queue")
	require.Contains(t, before, "public.device_events")

	again, err := store.Migrate(t.Context(), at)
	require.NoError(t, err)
	require.Empty(t, again)
	status, err = store.MigrationStatus(t.Context(), at)
	require.NoError(t, err)
	for i, m := range status {
		require.Equal(t, int64(i+1), m.Version)
		require.NotZero(t, m.AppliedAt, m.Name)
	}

	require.NoError(t, store.MigrateDown(t.Context(), at))
	require.Equal(t, []string{"public.goose_db_version"}, tables(t, at), "nothing stays")
	_, err = store.Migrate(t.Context(), at)
	require.NoError(t, err)
	require.Equal(t, before, tables(t, at))
}

func tables(t *testing.T, at string) []string {
	t.Helper()
	rows, err := connect(t, at).Query(t.Context(), `
SELECT table_schema || '.' || table_name
FROM information_schema.tables
WHERE table_schema IN ('public', 'nanomdm')
ORDER BY 1`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

func TestMigrateAtTheSameTime(t *testing.T) {
	at := stacktest.Database(t, "empty", empty)
	applied := make([]int, 4)
	errs := make([]error, len(applied))
	var wg sync.WaitGroup
	for i := range applied {
		wg.Go(func() {
			done, err := store.Migrate(context.Background(), at)
			applied[i], errs[i] = len(done), err
		})
	}
	wg.Wait()
	workers := 0
	for i, n := range applied {
		require.NoError(t, errs[i])
		if n > 0 {
			workers++
		}
	}
	require.Equal(t, 1, workers, "one works, the others wait: %v", applied)
}

func TestNamedRulesExist(t *testing.T) {
	at := stacktest.Database(t, "muster", migrate)
	rows, err := connect(t, at).Query(t.Context(), `
SELECT conname FROM pg_constraint
UNION
SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for rule, code := range store.NamedRules() {
		require.Contains(t, names, rule, "PostgreSQL knows no such rule, so its meaning %s is never told", code)
	}
}

func TestOpenRefusesModesThatCorruptText(t *testing.T) {
	at, err := url.Parse(stacktest.Database(t, "muster", migrate))
	require.NoError(t, err)
	for mode, fine := range map[string]bool{
		"cache_statement": true, "cache_describe": true, "describe_exec": true, "exec": false, "simple_protocol": false,
	} {
		q := at.Query()
		q.Set("default_query_exec_mode", mode)
		at.RawQuery = q.Encode()
		db, err := store.Open(t.Context(), store.Config{URL: at.String()})
		if !fine {
			require.ErrorContains(t, err, mode, mode)
			continue
		}
		require.NoError(t, err, mode)
		require.NoError(t, db.Ping(t.Context()), mode)
		db.Close()
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	_, err := store.Open(t.Context(), store.Config{URL: "postgres://%zz"})
	require.ErrorContains(t, err, "database URL can't be read")
	socket := filepath.Join(t.TempDir(), "nobody")
	require.NoError(t, os.Mkdir(socket, 0o700))
	_, err = store.Open(t.Context(), store.Config{URL: "host=" + socket + " user=muster dbname=muster"})
	require.ErrorContains(t, err, "can't be reached")
	require.Equal(t, provision.StorageUnavailable, provision.CodeOf(store.Translate(err)))
}

// What was stored before there were documents is read as it was, and a way back leaves it so.
func TestPlansAndGroupsOutliveTheMigrationOfDocuments(t *testing.T) {
	const before = 10
	at := stacktest.Database(t, "before-documents", func(ctx context.Context, url string) error { return store.MigrateTo(ctx, url, before) })
	conn := connect(t, at)
	_, err := conn.Exec(t.Context(), `
		INSERT INTO configurations (name, content, identifier) VALUES ('wifi', 3, 'com.example.wifi');
		INSERT INTO apps (name, bundle_id, store_id) VALUES ('mail', 'com.example.mail', 1);
		INSERT INTO groups (name) VALUES ('g');
		INSERT INTO group_items (group_name, position, kind, configuration_name, app_name, stage) VALUES
			('g', 0, 'configuration', 'wifi', NULL, 'required'), ('g', 1, 'app', NULL, 'mail', 'best_effort');
		INSERT INTO devices (serial, state, status, management, epoch) VALUES
			('C07Q853LG9RM', '{"serial": "C07Q853LG9RM", "activation": {"epoch": 1}}', 'Provisioning', 'managed', 1);
		INSERT INTO plan_items (serial, epoch, kind, name, stage, version, identifier, group_names, position, state, attempt, updated_at) VALUES
			('C07Q853LG9RM', 1, 'configuration', 'wifi', 'required', 3, 'com.example.wifi', '{g}', 0, 'verified', 1, now()),
			('C07Q853LG9RM', 1, 'app', 'mail', 'best_effort', 1, 'com.example.mail', '{g}', 1, 'acknowledged', 2, now());`)
	require.NoError(t, err)
	_, err = store.Migrate(t.Context(), at)
	require.NoError(t, err)

	db, err := store.Open(t.Context(), store.Config{URL: at})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	plan, err := db.PlanItems(t.Context(), "C07Q853LG9RM")
	require.NoError(t, err)
	require.Len(t, plan, 2)
	require.Equal(t, []any{"configuration/wifi", provision.Verified, 3}, []any{plan[0].Key.String(), plan[0].State, plan[0].Version})
	require.Equal(t, []any{"app/mail", provision.Acknowledged, 2}, []any{plan[1].Key.String(), plan[1].State, plan[1].Attempt})
	g, err := db.Group(t.Context(), "g")
	require.NoError(t, err)
	require.Equal(t, []any{"configuration/wifi", "com.example.wifi", "app/mail", "com.example.mail"},
		[]any{g.Items[0].Key.String(), g.Items[0].Identifier, g.Items[1].Key.String(), g.Items[1].Identifier})

	_, _, err = db.PutDocument(t.Context(), store.DocumentEdit{Name: "menu", MediaURL: "https://example.com/menu.pdf", Format: provision.PDF}, store.Edit{})
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `INSERT INTO group_items (group_name, position, kind, document_name, stage) VALUES ('g', 2, 'document', 'menu', 'required')`)
	require.NoError(t, err)
	require.NoError(t, store.MigrateTo(t.Context(), at, before))
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM group_items WHERE name IN ('wifi', 'mail')`).Scan(&left))
	require.Equal(t, 2, left)
}
