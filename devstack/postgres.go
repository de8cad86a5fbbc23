package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	kindPostgres = "postgres"
	superuser    = "muster"
	homeless     = "/var/lib/muster" // where root's clusters live when their folder can't be reached by another user
)

// PostgresConfig says how a private cluster runs.
type PostgresConfig struct {
	Bin PostgresBinaries // from FindPostgres

	// Dir holds the data (pgdata), the log and the password, and is made when missing. Empty means a throw-away folder that
	// Stop removes. When root starts a cluster in a folder that PostgreSQL's user cannot reach (say, below /root), the data
	// lives below /var/lib/muster and Dir/pgdata is a link to it.
	Dir string
	// ThrowAway gives up durability for speed: fsync and its like are off.
	ThrowAway bool
	Progress  Progress

	fallback string // homeless, unless a test says otherwise
}

// Postgres is a running private cluster that only its password opens.
type Postgres struct {
	*process
	port     int
	password string
	release  func()
}

// StartPostgres starts a private cluster on a free loopback port, the same as last time where that is free, and returns when it answers.
// The context bounds the start, not the life. A folder with data of another major version is refused, as is one in which a
// live process runs a cluster already (ErrInUse); what a killed one left behind is cleared away.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	c, err := openCluster(cfg)
	if err != nil {
		return nil, err
	}
	p, err := c.start(ctx)
	if err != nil {
		c.release()
		return nil, err
	}
	return p, nil
}

func (c *cluster) start(ctx context.Context) (*Postgres, error) {
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	wish := rememberedPorts(c.dir, kindPostgres)
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(1, wish)
		if err != nil {
			return nil, err
		}
		p, err := c.startOn(ctx, ports[0])
		if err == nil {
			return p, rememberPorts(c.dir, kindPostgres, ports)
		}
		var crash *CrashError
		if attempt == startAttempts || !errors.As(err, &crash) || !strings.Contains(crash.Log, "could not bind") {
			return nil, err
		}
		wish = nil
	}
}

func (c *cluster) startOn(ctx context.Context, port int) (*Postgres, error) {
	proc, err := c.command(c.serverArgs(port)...).start()
	if err != nil {
		return nil, err
	}
	p := &Postgres{process: proc, port: port, password: c.password, release: c.release}
	if err := p.awaitReady(ctx); err != nil {
		_ = proc.Stop()
		return nil, err
	}
	return p, nil
}

func (c *cluster) serverArgs(port int) []string {
	args := []string{
		filepath.Join(c.Bin.Dir, "postgres"), "-D", c.pgdata,
		"-c", "listen_addresses=127.0.0.1", "-c", fmt.Sprintf("port=%d", port),
		"-c", "unix_socket_directories=", // nobody needs a socket, and a long folder name would be too long for one
		"-c", "max_connections=200", "-c", "shared_buffers=256MB", "-c", "timezone=UTC",
		"-c", "log_line_prefix=%m [%p] %u@%d ",
	}
	if c.ThrowAway {
		args = append(args, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	return args
}

// command runs one of PostgreSQL's programs as the cluster's user.
func (c *cluster) command(args ...string) command {
	return command{
		name: "PostgreSQL", args: args, env: environment("PG"), log: filepath.Join(c.dir, "postgres.log"), account: c.account,
		lastWill: syscall.SIGQUIT, // at once, and recover from the log at the next start: there is nobody left to wait
		farewell: []farewell{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}},
	}
}

// environment is ours without the variables of a prefix, which would steer the server from outside.
func environment(without string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, without) {
			env = append(env, kv)
		}
	}
	return env
}

// awaitReady waits until the server answers a query; recovery after a crash may take its time, so only the context bounds it.
func (p *Postgres) awaitReady(ctx context.Context) error {
	return poll(ctx, p.process, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, p.URL("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// URL returns the superuser's address of a database: postgres://…
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, p.password), Host: loopback(p.port),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase creates a database as a copy of the template, or an empty one where template is "". One that exists already
// is left as it is.
func (p *Postgres) CreateDatabase(ctx context.Context, name, template string) error {
	sql := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize()
	if template != "" {
		sql += " TEMPLATE " + pgx.Identifier{template}.Sanitize()
	}
	err := p.exec(ctx, sql)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42P04" { // duplicate_database
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating the database %s: %w", name, err)
	}
	return nil
}

// DropDatabase removes a database and whoever is connected to it; one that does not exist is no error.
func (p *Postgres) DropDatabase(ctx context.Context, name string) error {
	if err := p.exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("dropping the database %s: %w", name, err)
	}
	return nil
}

func (p *Postgres) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Stop ends the cluster: open transactions are rolled back, everything committed is on disk. A throw-away folder is removed.
func (p *Postgres) Stop() error {
	err := p.process.Stop()
	p.release()
	return err
}
