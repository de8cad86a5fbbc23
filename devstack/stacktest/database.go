package stacktest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// databaseLimit bounds migrating a template and copying it.
const databaseLimit = 2 * time.Minute

// Database returns the URL of a fresh database, dropped when the test ends. It is a copy of the template database of that
// name, which migrate fills once per server, also when many test processes ask at the same time. Let the name carry a hash of the migrations:
// a template is never migrated a second time.
func Database(t testing.TB, template string, migrate func(ctx context.Context, url string) error) string {
	t.Helper()
	server, err := servers.postgresURL()
	if err != nil {
		t.Fatalf("starting PostgreSQL for the test: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), databaseLimit)
	defer cancel()
	source, err := ensureTemplate(ctx, server, "template_"+template, migrate)
	if err != nil {
		t.Fatalf("preparing the template database %s: %v", template, err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:16])
	if err := copyDatabase(ctx, server, name, source); err != nil {
		t.Fatalf("creating the test's database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), databaseLimit)
		defer cancel()
		if err := onServer(ctx, server, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return onDatabase(server, name)
}

// ready remembers the templates this process has seen complete.
var ready sync.Map

// ensureTemplate makes the template unless it is there. The name is made a template, and closed to connections, only after
// its migration: one that isn't was left behind by a process that died meanwhile, and is made anew.
func ensureTemplate(ctx context.Context, server, name string, migrate func(context.Context, string) error) (string, error) {
	if len(name) > 63 { // PostgreSQL would cut it in silence, and a hash at its end with it
		return "", fmt.Errorf("the name %q is longer than 63 bytes", name)
	}
	if _, ok := ready.Load(server + name); ok {
		return name, nil
	}
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // which also gives the lock back
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey(name)); err != nil {
		return "", err
	}
	var complete bool
	err = conn.QueryRow(ctx, "SELECT datistemplate FROM pg_database WHERE datname = $1", name).Scan(&complete)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", err
	}
	if !complete {
		if err := makeTemplate(ctx, conn, server, name, migrate); err != nil {
			return "", err
		}
	}
	ready.Store(server+name, true)
	return name, nil
}

func makeTemplate(ctx context.Context, conn *pgx.Conn, server, name string, migrate func(context.Context, string) error) error {
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + quote(name) + " WITH (FORCE)", "CREATE DATABASE " + quote(name)} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if migrate != nil {
		if err := migrate(ctx, onDatabase(server, name)); err != nil {
			return fmt.Errorf("migrating: %w", err)
		}
	}
	_, err := conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
	if err != nil {
		return err
	}
	// A pool that migrate forgot to close would forbid every copy.
	_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	return err
}

func copyDatabase(ctx context.Context, server, name, source string) error {
	return onServer(ctx, server, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(source))
}

func onServer(ctx context.Context, server, sql string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func lockKey(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte("muster stacktest " + name))
	return int64(h.Sum64())
}

func onDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server // pgx has connected with it; a key=value string can't come from our runner
	}
	u.Path = "/" + name
	return u.String()
}
