package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/store/keyring"
)

// Sealer seals secrets before they are stored: a keyring. place names where the secret lies, so that a sealed one can't
// be moved. Without a keyring both fail with a sentence that says how to set one.
type Sealer interface {
	Seal(plain []byte, place string) ([]byte, error)
	Open(sealed []byte, place string) ([]byte, error)
	// Primary is the id of the key that seals; "" = there is no keyring.
	Primary() string
}

// sealIfPossible leaves a secret in clear that Muster kept in clear before there were keyrings, and can't do without.
func (db *DB) sealIfPossible(plain []byte, place string) ([]byte, error) {
	if db.sealer.Primary() == "" {
		return plain, nil
	}
	return db.sealer.Seal(plain, place)
}

func (db *DB) openIfSealed(stored []byte, place string) ([]byte, error) {
	if _, sealed := keyring.KeyOf(stored); !sealed {
		return stored, nil
	}
	return db.sealer.Open(stored, place)
}

// secretColumn is a column of secrets; place makes the place of a row's secret from its key.
type secretColumn struct {
	table, key, column string
	place              func(key string) string
	// optional: it may lie in clear.
	optional bool
}

func secretColumns() []secretColumn {
	abm := func(column string) secretColumn {
		return secretColumn{table: "abm_servers", key: "name", column: column, place: func(server string) string { return placeOf(server, column) }}
	}
	return []secretColumn{
		abm("private_key"), abm("token"), abm("business_key"),
		{table: "directories", key: "name", column: "secret", place: placeOfSecret},
		{table: "authorities", key: "id::text", column: "private_key", place: func(string) string { return authorityPlace }, optional: true},
	}
}

// Secrets says how the stored secrets lie.
type Secrets struct {
	// Sealed counts those that the keyring's first key sealed, Old those that another of its keys did.
	Sealed, Old int
	// Clear names those that lie in clear.
	Clear []string
}

// Secrets looks at every stored secret. It fails as a keyring does when one can't be opened.
func (db *DB) Secrets(ctx context.Context) (Secrets, error) {
	var all Secrets
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		return db.eachSecret(ctx, tx, func(c secretColumn, key string, stored []byte) error {
			place := c.place(key)
			id, sealed := keyring.KeyOf(stored)
			switch {
			case !sealed && c.optional:
				all.Clear = append(all.Clear, place)
				return nil
			case id == db.sealer.Primary():
				all.Sealed++
			default:
				all.Old++
			}
			_, err := db.sealer.Open(stored, place)
			return err
		})
	})
	return all, translate(err, "looking at the stored secrets")
}

// Reseal seals every stored secret with the keyring's first key, those too that lie in clear, all or none. It returns how
// many it sealed; those that are so already don't count.
func (db *DB) Reseal(ctx context.Context) (resealed int, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		resealed = 0
		return db.eachSecret(ctx, tx, func(c secretColumn, key string, stored []byte) error {
			if id, sealed := keyring.KeyOf(stored); sealed && id == db.sealer.Primary() {
				return nil
			}
			place := c.place(key)
			plain := stored
			if _, sealed := keyring.KeyOf(stored); sealed || !c.optional {
				if plain, err = db.sealer.Open(stored, place); err != nil {
					return err
				}
			}
			sealed, err := db.sealer.Seal(plain, place)
			if err != nil {
				return err
			}
			resealed++
			_, err = tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET %s = $2 WHERE %s = $1", c.table, c.column, c.key), key, sealed)
			return err
		})
	})
	return resealed, translate(err, "sealing the stored secrets")
}

func (db *DB) eachSecret(ctx context.Context, tx pgx.Tx, do func(c secretColumn, key string, stored []byte) error) error {
	for _, c := range secretColumns() {
		rows, err := tx.Query(ctx, fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s IS NOT NULL ORDER BY 1 FOR UPDATE", c.key, c.column, c.table, c.column))
		if err != nil {
			return err
		}
		type secret struct {
			Key    string
			Stored []byte
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[secret])
		if err != nil {
			return err
		}
		for _, s := range all {
			if err := do(c, s.Key, s.Stored); err != nil {
				return err
			}
		}
	}
	return nil
}
