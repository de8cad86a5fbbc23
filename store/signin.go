package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// SignInChange takes a sign-in on a device that is locked: who it was, and by what policy.
type SignInChange func(ctx context.Context, c *Change, s provision.SignedIn, p provision.SignInPolicy) error

const signInPolicy = `
SELECT coalesce(s.auto_assign_users, false), coalesce(s.sign_in_conflict, ''), coalesce(s.sign_in_hold, '0'),
    coalesce(s.sign_in_hold_choice, '')
FROM devices d
    LEFT JOIN abm_servers s ON s.name = d.server
WHERE d.serial = $1`

// SignIn finds out who signed in on a device, making them known if the device's server assigns users by signing in, locks the
// device and runs change, in one transaction. It fails with [provision.DeviceNotFound].
func (db *DB) SignIn(ctx context.Context, serial string, w Wish, change SignInChange) (provision.Device, error) {
	return db.transact(ctx, "signing in on device "+serial, func(c *Change) error {
		var p provision.SignInPolicy
		err := c.tx.QueryRow(ctx, signInPolicy, serial).Scan(&p.AutoAssign, &p.Conflict, &p.Hold, &p.HoldChoice)
		if errors.Is(err, pgx.ErrNoRows) {
			return notKnown(serial)
		}
		if err != nil {
			return fmt.Errorf("reading what to do with sign-ins: %w", err)
		}
		var s provision.SignedIn
		if p.AutoAssign {
			// The groups are locked before the device, as catalog edits do.
			if s, err = db.signedIn(ctx, c.tx, w); err != nil {
				return err
			}
		}
		if err := c.lock(ctx, serial, false); err != nil {
			return err
		}
		return change(ctx, c, s, p.WithDefaults())
	})
}

// Whoever wrote no domain into a file meant an account of the directory all the same; the address tells which.
const samePeople = `
SELECT id
FROM people
WHERE domain = $1 AND lower(email) = lower($2) AND id <> $3`

func (db *DB) signedIn(ctx context.Context, tx pgx.Tx, w Wish) (provision.SignedIn, error) {
	a, err := db.resolve(ctx, tx, w)
	s := provision.SignedIn{Assignment: a}
	if err != nil {
		return s, err
	}
	rows, err := tx.Query(ctx, samePeople, provision.DefaultDomain, w.User.Email, a.UserID)
	if err != nil {
		return s, fmt.Errorf("looking for other records of a person: %w", err)
	}
	if s.SameAs, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return s, fmt.Errorf("looking for other records of a person: %w", err)
	}
	return s, nil
}

// AddChallenge is [DB.AddChallenge] as a part of the change.
func (c *Change) AddChallenge(ctx context.Context, serial string, challenge [sha256.Size]byte, valid time.Duration) error {
	batch := &pgx.Batch{}
	queueChallenge(batch, serial, challenge, c.now, valid)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("keeping an enrollment challenge: %w", err)
	}
	return nil
}
