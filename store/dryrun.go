package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// DryRun has an edit made in full and taken back at once, so that all that would refuse it does. Devices aren't told of it. nil = the
// edit is meant.
type DryRun struct {
	// Assume are things that are taken as being there, because they are to be made before.
	Assume []Assumed
}

// Kinds of things that can be assumed, beside the kinds of items.
const (
	AssumedProfile   = "device_profile"
	AssumedGroup     = "group"
	AssumedDirectory = "directory"
)

// Assumed is a thing that isn't there yet.
type Assumed struct {
	// Kind is configuration, app, document, [AssumedProfile], [AssumedGroup] or [AssumedDirectory].
	Kind, Name string
	// Identifier is what an item claims on devices, or the domain of a directory; "" = nothing that another one would.
	Identifier string
}

// errDryRun ends the transaction of a dry run that went well.
var errDryRun = errors.New("a dry run")

var assume = map[string]string{
	string(provision.ConfigurationItem): `
INSERT INTO configurations (name, content, identifier)
VALUES ($1, 1, $2)
ON CONFLICT DO NOTHING`,
	string(provision.AppItem): `
INSERT INTO apps (name, bundle_id, store_id)
VALUES ($1, $2, 1)
ON CONFLICT DO NOTHING`,
	string(provision.DocumentItem): `
INSERT INTO documents (name, identifier, content, created_at, updated_at)
VALUES ($1, $2, 1, now(), now())
ON CONFLICT DO NOTHING`,
	AssumedProfile: `
INSERT INTO device_profiles (name, activation_mode, fields, created_at, updated_at)
SELECT $1, 'by_admin', '{}', now(), now()
WHERE $2 <> ''
ON CONFLICT DO NOTHING`,
	AssumedGroup: `
INSERT INTO groups (name)
SELECT $1
WHERE $2 <> ''
ON CONFLICT DO NOTHING`,
	AssumedDirectory: `
INSERT INTO directories (name, kind, domain, settings, created_at, updated_at)
VALUES ($1, 'ldap', $2, '{}', now(), now())
ON CONFLICT DO NOTHING`,
}

// begin makes what is assumed; the end of the dry run takes it back.
func (d *DryRun) begin(ctx context.Context, tx pgx.Tx) error {
	if d == nil {
		return nil
	}
	// Before any row, as all edits do.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, catalogLock); err != nil {
		return fmt.Errorf("waiting for other edits: %w", err)
	}
	for _, a := range d.Assume {
		statement, ok := assume[a.Kind]
		if !ok {
			return provision.Errorf(provision.Invalid, "%.40q is no kind of thing that can be assumed.", a.Kind).At("assume")
		}
		identifier := a.Identifier
		if identifier == "" {
			identifier = "assumed/" + a.Kind + "/" + a.Name
		}
		if _, err := tx.Exec(ctx, statement, a.Name, identifier); err != nil {
			return fmt.Errorf("assuming %s %s: %w", a.Kind, a.Name, err)
		}
	}
	return nil
}

// end has what PostgreSQL would check at the commit checked, and takes all back.
func (d *DryRun) end(ctx context.Context, tx pgx.Tx) error {
	if d == nil {
		return nil
	}
	if _, err := tx.Exec(ctx, `SET CONSTRAINTS ALL IMMEDIATE`); err != nil {
		return fmt.Errorf("ending a dry run: %w", err)
	}
	return errDryRun
}

// edited runs an edit in a transaction, or tries it.
func edited(ctx context.Context, on beginner, dry *DryRun, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, on, func(tx pgx.Tx) error {
		if err := dry.begin(ctx, tx); err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		return dry.end(ctx, tx)
	})
	if errors.Is(err, errDryRun) {
		return nil
	}
	return err
}

type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}
