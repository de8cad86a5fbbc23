// Package store keeps what Muster knows in PostgreSQL: devices and their facts, plans and commands, groups and what they
// bring, people, tokens and identities. A change of a device is one transaction that locks its row, folds the new facts
// into it and appends them to device_events, from where the relay delivers them.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store/keyring"
)

// Config says how to reach PostgreSQL.
type Config struct {
	// URL is a PostgreSQL connection URL or keyword string.
	URL string
	// MaxConns bounds the pool; NanoMDM's tables have a second pool of the same size. 0 = 20.
	MaxConns int32
}

// DB is the store. Its methods are safe for concurrent use.
type DB struct {
	pool    *pgxpool.Pool
	mdmPool *pgxpool.Pool
	mdm     *sql.DB
	encode  Encoder
	sealer  Sealer
	profile string // see WithManagementIdentifier
	timing  Timing
	links   documentLinks
	// renewBefore: see [WithRenewal].
	renewBefore time.Duration
	now         func() time.Time
}

// Timing holds the pauses of the worker's own duties: pushing, asking after installing apps, and trying again what nothing waits
// for.
type Timing struct {
	// Poll is the pause before the n-th question (from 1) after an app that is still installing.
	Poll func(polls int) time.Duration
	// Repush is the pause before a push is repeated while commands are unanswered, by number of pushes so far.
	Repush func(tries int) time.Duration
	// NotNow is the pause before a device that answered NotNow is pushed again.
	NotNow time.Duration
	// Connected is how long a device that is talking to us is given to fetch its next command before it is pushed.
	Connected time.Duration
	// RetryAfter are the pauses before each further try of a best_effort item that failed; after the last it stays failed.
	RetryAfter []time.Duration
}

// DefaultTiming suits real devices: apps take minutes, radios sleep.
func DefaultTiming() Timing {
	return Timing{
		Poll:      Backoff(5*time.Second, 5*time.Minute),
		Repush:    Backoff(time.Minute, 6*time.Hour),
		NotNow:    time.Minute,
		Connected: 20 * time.Second,
		// As those of what is required: see the workflows' policy.
		RetryAfter: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour},
	}
}

// Backoff doubles from first for each try after the first, up to most.
func Backoff(first, most time.Duration) func(int) time.Duration {
	return func(n int) time.Duration {
		d := first
		for range n - 1 {
			if d *= 2; d >= most {
				return most
			}
		}
		return min(d, most)
	}
}

// Option changes how a [DB] works.
type Option func(*DB)

// WithEncoder sets what writes commands as property lists. Without it no command can be queued.
func WithEncoder(e Encoder) Option { return func(db *DB) { db.encode = e } }

// WithManagementIdentifier sets the payload identifier of the enrollment profile, whose removal ends a device's management.
func WithManagementIdentifier(identifier string) Option {
	return func(db *DB) { db.profile = identifier }
}

// WithSealer sets what seals secrets. Without it no secret of an ABM server can be stored or read, and others are stored in
// clear.
func WithSealer(s Sealer) Option { return func(db *DB) { db.sealer = s } }

// WithTiming replaces [DefaultTiming].
func WithTiming(t Timing) Option { return func(db *DB) { db.timing = t } }

// WithClock replaces the clock that dates facts, for tests.
func WithClock(now func() time.Time) Option { return func(db *DB) { db.now = now } }

// Open connects to PostgreSQL. It refuses the query modes that corrupt NanoMDM's text columns.
func Open(ctx context.Context, c Config, options ...Option) (*DB, error) {
	db := &DB{sealer: (*keyring.Keyring)(nil), timing: DefaultTiming(), now: func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }}
	for _, o := range options {
		o(db)
	}
	pool, err := open(ctx, c, "public")
	if err != nil {
		return nil, err
	}
	mdm, err := open(ctx, c, "nanomdm")
	if err != nil {
		pool.Close()
		return nil, err
	}
	db.pool, db.mdmPool, db.mdm = pool, mdm, stdlib.OpenDBFromPool(mdm)
	return db, nil
}

func open(ctx context.Context, c Config, schema string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errUnreadableURL
	}
	switch mode := config.ConnConfig.DefaultQueryExecMode; mode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec:
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return nil, fmt.Errorf("default_query_exec_mode=%s corrupts text that NanoMDM stores; take cache_statement, cache_describe or describe_exec",
			strings.ReplaceAll(mode.String(), " ", "_"))
	}
	config.MaxConns = 20
	if c.MaxConns > 0 {
		config.MaxConns = c.MaxConns
	}
	config.ConnConfig.RuntimeParams["search_path"] = schema
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, unreachable(config.ConnConfig, err)
	}
	return pool, nil
}

// errUnreadableURL doesn't repeat the URL: it holds a password.
var errUnreadableURL = provision.Errorf(provision.Invalid,
	"The database URL can't be read; it looks like postgres://user:password@host:5432/name?sslmode=require.")

// unreachable says in a sentence where nobody answered, or who refused us.
func unreachable(c *pgx.ConnConfig, err error) error {
	at := net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return provision.Errorf(provision.StorageUnavailable, "PostgreSQL at %s refuses the connection: %s (%s).", at, refusal.Message, refusal.Code)
	}
	return provision.Errorf(provision.StorageUnavailable, "PostgreSQL at %s can't be reached. Start it, or mend the database URL.", at)
}

// Close closes all connections.
func (db *DB) Close() {
	_ = db.mdm.Close()
	db.mdmPool.Close()
	db.pool.Close()
}

// Ping reports whether PostgreSQL answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.Ping(ctx); err != nil {
		return translate(err, "reaching PostgreSQL")
	}
	return nil
}

// NanoMDM is the database as NanoMDM's storage needs it: database/sql with its own schema first in the search path.
func (db *DB) NanoMDM() *sql.DB { return db.mdm }

// Now is the store's clock.
func (db *DB) Now() time.Time { return db.now() }
