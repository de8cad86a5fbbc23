package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/micromdm/nanomdm/storage/pgsql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero = pending
}

// Migrate brings the schema of the database at url up to date and returns what it applied. Several may run at once: one
// works, the others wait.
func Migrate(ctx context.Context, url string) ([]Migration, error) {
	return withProvider(url, func(p *goose.Provider) ([]Migration, error) {
		results, err := p.Up(ctx)
		if err != nil {
			return nil, fmt.Errorf("migrating the database: %w", err)
		}
		var applied []Migration
		for _, r := range results {
			applied = append(applied, Migration{Version: r.Source.Version, Name: name(r.Source), AppliedAt: time.Now()})
		}
		return applied, nil
	})
}

// MigrationStatus lists all migrations, applied and pending.
func MigrationStatus(ctx context.Context, url string) ([]Migration, error) {
	return withProvider(url, func(p *goose.Provider) ([]Migration, error) {
		statuses, err := p.Status(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the migrations' status: %w", err)
		}
		var all []Migration
		for _, s := range statuses {
			all = append(all, Migration{Version: s.Source.Version, Name: name(s.Source), AppliedAt: s.AppliedAt})
		}
		return all, nil
	})
}

func withProvider(url string, do func(*goose.Provider) ([]Migration, error)) ([]Migration, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // each second, ten minutes long
	if err != nil {
		return nil, fmt.Errorf("preparing the migration lock: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading the embedded migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(goose.NewGoMigration(1, &goose.GoFunc{RunTx: createNanoMDM}, &goose.GoFunc{RunTx: dropNanoMDM})))
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	return do(p)
}

// name is the file's without its ending; the one that is written in Go has no file.
func name(s *goose.Source) string {
	if s.Path == "" {
		return "00001_nanomdm"
	}
	return strings.TrimSuffix(path.Base(s.Path), ".sql")
}

// createNanoMDM gives NanoMDM's tables a schema of their own, because their names (devices, users, commands) are the
// obvious ones, and the indexes that its queries lack.
func createNanoMDM(ctx context.Context, tx *sql.Tx) error {
	for _, statement := range []string{
		`CREATE SCHEMA nanomdm`,
		`SET LOCAL search_path TO nanomdm`,
		pgsql.Schema,
		`CREATE INDEX cert_auth_associations_sha256 ON cert_auth_associations (sha256)`,
		`CREATE INDEX command_results_command_uuid ON command_results (command_uuid)`,
		`CREATE INDEX enrollment_queue_command_uuid ON enrollment_queue (command_uuid)`,
		`SET LOCAL search_path TO public`,
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("creating NanoMDM's schema: %w", err)
		}
	}
	return nil
}

func dropNanoMDM(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `DROP SCHEMA nanomdm CASCADE`); err != nil {
		return fmt.Errorf("dropping NanoMDM's schema: %w", err)
	}
	return nil
}
