package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// PeopleFilter narrows a list of people; zero fields don't.
type PeopleFilter struct {
	// Query is part of a name or an e-mail address.
	Query      string
	Technician *bool
	// AfterName and AfterID are those of the last person of the page before.
	AfterName, AfterID string
	Limit              int
}

const people = `
SELECT id, name, domain, email, technician
FROM people
WHERE (lower(name), id) > (lower(@after_name), @after_id)
    AND (@query = '' OR name ILIKE @pattern OR email ILIKE @pattern)
    AND (@technician::boolean IS NULL OR technician = @technician)
ORDER BY lower(name), id
LIMIT @limit`

// People lists people by name.
func (db *DB) People(ctx context.Context, f PeopleFilter) ([]provision.Person, error) {
	rows, err := db.pool.Query(ctx, people, pgx.NamedArgs{
		"after_name": f.AfterName, "after_id": f.AfterID, "query": f.Query, "pattern": pattern(f.Query),
		"technician": f.Technician, "limit": f.Limit,
	})
	if err != nil {
		return nil, translate(err, "listing people")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[provision.Person])
	return list, translate(err, "listing people")
}

const person = `
SELECT id, name, domain, email, technician
FROM people
WHERE id = $1`

// Person returns a person by id. It fails with [provision.NotFound].
func (db *DB) Person(ctx context.Context, id string) (provision.Person, error) {
	rows, err := db.pool.Query(ctx, person, id)
	if err != nil {
		return provision.Person{}, translate(err, "reading a person")
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[provision.Person])
	if errors.Is(err, pgx.ErrNoRows) {
		return p, noPerson(id)
	}
	return p, translate(err, "reading a person")
}

func noPerson(id string) error {
	return provision.Errorf(provision.NotFound, "Nobody has the id %q.", id)
}

const createPerson = `
INSERT INTO people (id, name, domain, email, technician, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)`

// CreatePerson makes a person known under a new id. It fails with [provision.AlreadyExists] when the domain has the
// name, in whatever letter case.
func (db *DB) CreatePerson(ctx context.Context, p provision.Person) (provision.Person, error) {
	p.ID = newID("per")
	_, err := db.pool.Exec(ctx, createPerson, p.ID, p.Name, p.Domain, p.Email, p.Technician, db.now())
	return p, translate(err, "creating a person")
}

const updatePerson = `
UPDATE people
SET name = $2,
    domain = $3,
    email = $4,
    technician = $5,
    updated_at = $6
WHERE id = $1`

// UpdatePerson replaces what is known of a person. It fails with [provision.NotFound] and [provision.AlreadyExists].
func (db *DB) UpdatePerson(ctx context.Context, p provision.Person) (provision.Person, error) {
	tag, err := db.pool.Exec(ctx, updatePerson, p.ID, p.Name, p.Domain, p.Email, p.Technician, db.now())
	if err != nil {
		return p, translate(err, "editing a person")
	}
	if tag.RowsAffected() == 0 {
		return p, noPerson(p.ID)
	}
	return p, nil
}

const findPerson = `
SELECT id, name, domain, email, technician
FROM people
WHERE lower(domain) = lower($1) AND lower(name) = lower($2)`

// account finds a person by domain and name; nil when there is none.
func account(ctx context.Context, tx pgx.Tx, domain, name string) (*provision.Person, error) {
	rows, err := tx.Query(ctx, findPerson, domain, name)
	if err != nil {
		return nil, fmt.Errorf("reading a person: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[provision.Person])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a person: %w", err)
	}
	return &p, nil
}

// Two may make the same person known at once; both get the same id.
const upsertPerson = `
INSERT INTO people (id, name, domain, email, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (lower(domain), lower(name)) DO UPDATE
SET email = EXCLUDED.email,
    updated_at = EXCLUDED.updated_at
RETURNING id`

// user makes a person known, or their address current, and returns their id.
func (db *DB) user(ctx context.Context, tx pgx.Tx, p provision.Person) (string, error) {
	known, err := account(ctx, tx, p.Domain, p.Name)
	if err != nil {
		return "", err
	}
	if known != nil && known.Email == p.Email {
		return known.ID, nil // no lock on a row that many assignments share
	}
	var id string
	err = tx.QueryRow(ctx, upsertPerson, newID("per"), p.Name, p.Domain, p.Email, db.now()).Scan(&id)
	if err != nil {
		return "", fmt.Errorf("making a person known: %w", err)
	}
	return id, nil
}
