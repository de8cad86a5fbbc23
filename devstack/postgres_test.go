package devstack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func findPostgres(t *testing.T) PostgresBinaries {
	t.Helper()
	bin, err := FindPostgres(t.Context(), FindOptions{Progress: func(s string) { t.Log(s) }})
	require.NoError(t, err)
	return bin
}

func startPostgres(t *testing.T, cfg PostgresConfig) *Postgres {
	t.Helper()
	cfg.Bin = findPostgres(t)
	pg, err := StartPostgres(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pg.Stop()) })
	return pg
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return value
}

func requireQuery(t *testing.T, url string) {
	t.Helper()
	require.Equal(t, 1, query[int](t, url, "SELECT 1"))
}

func TestPostgresSecondRunContinues(t *testing.T) {
	dir := reachableDir(t)
	pg := startPostgres(t, PostgresConfig{Dir: dir})
	require.NoError(t, pg.CreateDatabase(t.Context(), "muster", ""))
	require.NoError(t, pg.CreateDatabase(t.Context(), "muster", ""), "one that exists is left as it is")
	url := pg.URL("muster")
	require.Equal(t, "on", query[string](t, url, "SHOW fsync"))
	require.Equal(t, "200", query[string](t, url, "SHOW max_connections"))
	require.Equal(t, "É", query[string](t, url, "SELECT upper('é')"))
	execute(t, url, "CREATE TABLE kept AS SELECT 'C07Q853LG9RM' AS serial")
	require.NoError(t, pg.Stop())

	pg = startPostgres(t, PostgresConfig{Dir: dir})
	require.Equal(t, url, pg.URL("muster"), "the address stays the same")
	require.Equal(t, "C07Q853LG9RM", query[string](t, pg.URL("muster"), "SELECT serial FROM kept"))
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func TestPostgresDatabasesFromATemplate(t *testing.T) {
	pg := startPostgres(t, PostgresConfig{ThrowAway: true})
	require.Equal(t, "off", query[string](t, pg.URL("postgres"), "SHOW fsync"))
	require.NoError(t, pg.CreateDatabase(t.Context(), "pattern", ""))
	execute(t, pg.URL("pattern"), "CREATE TABLE devices AS SELECT 7 AS id")
	require.NoError(t, pg.CreateDatabase(t.Context(), `we"ird`, "pattern"))
	require.NoError(t, pg.DropDatabase(t.Context(), "pattern"))
	require.NoError(t, pg.DropDatabase(t.Context(), "pattern"), "one that is gone is no error")
	require.Equal(t, 7, query[int](t, pg.URL(`we"ird`), "SELECT id FROM devices"))
	require.Error(t, pg.CreateDatabase(t.Context(), "orphan", "pattern"))
}

func TestPostgresOpensOnlyWithItsPassword(t *testing.T) {
	pg := startPostgres(t, PostgresConfig{ThrowAway: true})
	_, err := pgx.Connect(t.Context(), strings.Replace(pg.URL("postgres"), pg.password, "wrong", 1))
	require.ErrorContains(t, err, "password authentication failed")
}

func TestPostgresThrowAwayFolderIsGoneAfterStop(t *testing.T) {
	pg := startPostgres(t, PostgresConfig{ThrowAway: true})
	dir := filepath.Dir(pg.log)
	require.DirExists(t, dir)
	require.NoError(t, pg.Stop())
	require.NoDirExists(t, dir)
}

func TestPostgresCrashIsNamedAndRecoveredFrom(t *testing.T) {
	dir := reachableDir(t)
	pg := startPostgres(t, PostgresConfig{Dir: dir})
	execute(t, pg.URL("postgres"), "CREATE TABLE committed AS SELECT 1 AS id")
	require.NoError(t, pg.os.Signal(syscall.SIGKILL))
	err := NewSupervisor(pg).Wait(t.Context())
	require.ErrorContains(t, err, "PostgreSQL stopped by itself (signal: killed)")
	require.ErrorContains(t, err, "ready to accept connections")
	require.FileExists(t, filepath.Join(dir, "pgdata", "postmaster.pid"))
	require.NoError(t, pg.Stop())

	pg = startPostgres(t, PostgresConfig{Dir: dir})
	require.Equal(t, 1, query[int](t, pg.URL("postgres"), "SELECT id FROM committed"))
}

// In a container the number of a dead server soon belongs to another process, and PostgreSQL alone then refuses to start.
func TestPostgresClearsAPidFileOfAnotherProcess(t *testing.T) {
	dir := reachableDir(t)
	pg := startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true})
	file := filepath.Join(dir, "pgdata", "postmaster.pid")
	trace, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, pg.Stop())
	_, rest, _ := strings.Cut(string(trace), "\n")
	require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600))

	requireQuery(t, startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true}).URL("postgres"))
}

func TestPostgresRefusesAnotherMajorVersion(t *testing.T) {
	dir := reachableDir(t)
	pg := startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true})
	require.NoError(t, pg.Stop())
	bin := findPostgres(t)
	bin.Major++
	_, err := StartPostgres(t.Context(), PostgresConfig{Bin: bin, Dir: dir})
	require.ErrorContains(t, err, fmt.Sprintf("written by PostgreSQL %d, but", bin.Major-1))
	requireQuery(t, startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true}).URL("postgres"))
}

func TestPostgresHalfMadeClusterIsMadeAnew(t *testing.T) {
	dir := reachableDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "pgdata.new", "base"), 0o700)) // initdb was killed here
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pgdata.new", "PG_VERSION"), []byte("15\n"), 0o600))
	requireQuery(t, startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true}).URL("postgres"))
	require.NoDirExists(t, filepath.Join(dir, "pgdata.new"))
}

func TestPostgresTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	dir := reachableDir(t)
	pg := startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true})
	require.NoError(t, pg.Stop())
	thief, err := listen(pg.port)
	require.NoError(t, err)
	defer thief.Close()
	again := startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true})
	require.NotEqual(t, pg.port, again.port)
}

func TestPostgresStartHearsItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := StartPostgres(ctx, PostgresConfig{Bin: findPostgres(t), ThrowAway: true})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A folder below somebody's closed home, as a checkout below /root is when root runs `muster dev`.
func TestPostgresBelowAClosedFolder(t *testing.T) {
	base := reachableDir(t)
	require.NoError(t, os.Chmod(base, 0o755))
	home, fallback := filepath.Join(base, "home"), filepath.Join(base, "fallback")
	require.NoError(t, os.Mkdir(home, 0o700))
	var told []string
	cfg := PostgresConfig{Dir: filepath.Join(home, ".dev"), fallback: fallback, ThrowAway: true, Progress: func(s string) { told = append(told, s) }}
	for range 2 {
		pg := startPostgres(t, cfg)
		requireQuery(t, pg.URL("postgres"))
		require.NoError(t, pg.Stop())
	}
	info, err := os.Stat(home)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "a home was opened")
	require.FileExists(t, filepath.Join(home, ".dev", "pgdata", "PG_VERSION"), "the data can be seen from the folder")

	data, err := filepath.EvalSymlinks(filepath.Join(home, ".dev", "pgdata"))
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		require.Equal(t, fallback, filepath.Dir(filepath.Dir(data)))
		require.Contains(t, strings.Join(told, "\n"), "cannot reach")
	} else {
		require.Equal(t, filepath.Join(home, ".dev", "pgdata"), data)
	}
}
