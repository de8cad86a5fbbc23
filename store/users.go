package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// accountKey is a person's domain and name, letter case aside.
type accountKey struct{ domain, name string }

func accountOf(p provision.Person) accountKey {
	return accountKey{strings.ToLower(p.Domain), strings.ToLower(p.Name)}
}

const findPeople = `
SELECT w.n, p.id, p.email
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (domain, name, n)
    JOIN people p ON lower(p.domain) = lower(w.domain) AND lower(p.name) = lower(w.name)`

const upsertPeople = `
INSERT INTO people (id, name, domain, email, created_at, updated_at)
SELECT DISTINCT ON (lower(domain), lower(name)) id, name, domain, email, $5::timestamptz, $5::timestamptz
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w (id, name, domain, email)
ORDER BY lower(domain), lower(name)
ON CONFLICT (lower(domain), lower(name)) DO UPDATE
SET email = EXCLUDED.email,
    updated_at = EXCLUDED.updated_at`

// users makes people known, or their addresses current, and returns their ids; of several that are one, the last counts.
func (db *DB) users(ctx context.Context, tx pgx.Tx, wanted []provision.Person) (map[accountKey]string, error) {
	last := map[accountKey]provision.Person{}
	for _, p := range wanted {
		last[accountOf(p)] = p
	}
	people := make([]provision.Person, 0, len(last))
	for _, p := range last {
		people = append(people, p)
	}
	ids, news, err := findAll(ctx, tx, people)
	if err != nil || len(news) == 0 {
		return ids, err
	}
	var columns [4][]string
	for _, p := range news {
		for i, value := range []string{newID("per"), p.Name, p.Domain, p.Email} {
			columns[i] = append(columns[i], value)
		}
	}
	if _, err := tx.Exec(ctx, upsertPeople, columns[0], columns[1], columns[2], columns[3], db.now()); err != nil {
		return nil, fmt.Errorf("making people known: %w", err)
	}
	made, _, err := findAll(ctx, tx, news)
	for key, id := range made {
		ids[key] = id
	}
	return ids, err
}

// findAll returns the ids of people, and those who aren't known or have another address.
func findAll(ctx context.Context, tx pgx.Tx, people []provision.Person) (ids map[accountKey]string, news []provision.Person, err error) {
	domains, names := make([]string, len(people)), make([]string, len(people))
	for i, p := range people {
		domains[i], names[i] = p.Domain, p.Name
	}
	rows, err := tx.Query(ctx, findPeople, domains, names)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the people: %w", err)
	}
	ids = make(map[accountKey]string, len(people))
	current := make([]bool, len(people))
	var n int
	var id, email string
	_, err = pgx.ForEachRow(rows, []any{&n, &id, &email}, func() error {
		ids[accountOf(people[n-1])] = id
		current[n-1] = email == people[n-1].Email // then no lock on a row that many assignments share
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the people: %w", err)
	}
	for i, p := range people {
		if !current[i] {
			news = append(news, p)
		}
	}
	return ids, news, nil
}

// PersonEntry is a person as a file names them.
type PersonEntry struct {
	Name, Domain, Email string
	// Technician is nil when the file doesn't say; then it stays as it is.
	Technician *bool
}

const savePeople = `
INSERT INTO people (id, name, domain, email, technician, created_at, updated_at)
SELECT DISTINCT ON (lower(w.domain), lower(w.name)) w.id, w.name, w.domain, w.email, coalesce(w.technician, p.technician, false), $6::timestamptz,
    $6::timestamptz
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[]) WITH ORDINALITY AS w (id, name, domain, email, technician, n)
    LEFT JOIN people p ON lower(p.domain) = lower(w.domain) AND lower(p.name) = lower(w.name)
ORDER BY lower(w.domain), lower(w.name), w.n DESC
ON CONFLICT (lower(domain), lower(name)) DO UPDATE
SET email = EXCLUDED.email,
    technician = EXCLUDED.technician,
    updated_at = EXCLUDED.updated_at`

// SavePeople makes people known, or changes what is known of them; of several that are one, the last counts.
func (db *DB) SavePeople(ctx context.Context, people []PersonEntry) error {
	var columns [4][]string
	technicians := make([]*bool, len(people))
	for i, p := range people {
		technicians[i] = p.Technician
		for n, value := range []string{newID("per"), p.Name, p.Domain, p.Email} {
			columns[n] = append(columns[n], value)
		}
	}
	_, err := db.pool.Exec(ctx, savePeople, columns[0], columns[1], columns[2], columns[3], technicians, db.now())
	return translate(err, "importing people")
}
