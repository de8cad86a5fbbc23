package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/muster-mdm/muster/provision"
)

const dropChallenges = `
DELETE FROM enrollment_challenges
WHERE serial = $1 AND used_at IS NULL AND expires_at < $2`

const addChallenge = `
INSERT INTO enrollment_challenges (sha256, serial, created_at, expires_at)
VALUES ($1, $2, $3, $4)`

// AddChallenge keeps the hash of a new enrollment challenge and forgets the device's expired ones.
func (db *DB) AddChallenge(ctx context.Context, serial string, challenge [sha256.Size]byte, valid time.Duration) error {
	now := db.now()
	batch := &pgx.Batch{}
	batch.Queue(dropChallenges, serial, now)
	batch.Queue(addChallenge, challenge[:], serial, now, now.Add(valid))
	return translate(db.pool.SendBatch(ctx, batch).Close(), "keeping an enrollment challenge")
}

// The device is locked, too, so that its release can't overlook a certificate that is being issued; and before the
// challenge, as a device that enrolls does.
const lockDeviceOfChallenge = `
SELECT d.serial
FROM devices d
WHERE d.serial = (SELECT c.serial FROM enrollment_challenges c WHERE c.sha256 = $1)
FOR UPDATE`

const lockChallenge = `
SELECT c.serial, c.expires_at, c.key_sha256, coalesce(c.renews, 0), i.certificate, i.revoked_at IS NOT NULL, d.state ? 'released',
    c.renews IS NOT NULL AND (c.renews <> d.epoch OR d.management <> 'managed')
FROM enrollment_challenges c
    JOIN devices d ON d.serial = c.serial
    LEFT JOIN identities i ON i.sha256 = c.identity
WHERE c.sha256 = $1
FOR UPDATE OF c`

const keepIdentity = `
INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after, renews)
VALUES ($1, $2, $3, $4, $5, $6, nullif($7, 0))
ON CONFLICT DO NOTHING`

const useChallenge = `
UPDATE enrollment_challenges
SET used_at = $2, key_sha256 = $3, identity = $4
WHERE sha256 = $1`

// challenge is a row of enrollment_challenges with what was issued for it.
type challenge struct {
	serial      string
	expires     time.Time
	key         []byte
	renews      int
	certificate []byte
	revoked     bool
	over        bool
	stale       bool // the enrollment that it renews is over
}

// Redeem uses up the challenge with a hash and records the certificate that issue makes for its device, in one
// transaction. The same challenge with the same key gives the same certificate again. It fails with
// [provision.ChallengeRefused] for any other challenge that is unknown, used or expired, and when the device was released.
func (db *DB) Redeem(ctx context.Context, hash, key [sha256.Size]byte, issue func(serial string) (certificate []byte, err error)) ([]byte, error) {
	var certificate []byte
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		c, err := lockedChallenge(ctx, tx, hash)
		if err != nil {
			return err
		}
		now := db.now()
		if err := c.check(key, now); err != nil {
			return err
		}
		if c.certificate != nil {
			certificate = c.certificate
			return nil
		}
		if certificate, err = issue(c.serial); err != nil {
			return err
		}
		return keep(ctx, tx, c, issued{hash: hash, key: key, certificate: certificate, at: now})
	})
	if err != nil {
		return nil, translate(err, "redeeming an enrollment challenge")
	}
	return certificate, nil
}

func lockedChallenge(ctx context.Context, tx pgx.Tx, hash [sha256.Size]byte) (challenge, error) {
	var c challenge
	batch := &pgx.Batch{}
	batch.Queue(lockDeviceOfChallenge, hash[:])
	batch.Queue(lockChallenge, hash[:]).QueryRow(func(row pgx.Row) error {
		return row.Scan(&c.serial, &c.expires, &c.key, &c.renews, &c.certificate, &c.revoked, &c.over, &c.stale)
	})
	err := tx.SendBatch(ctx, batch).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return c, provision.Errorf(provision.ChallengeRefused, "The challenge is unknown. Get a new enrollment profile.")
	}
	return c, err
}

func (c challenge) check(key [sha256.Size]byte, now time.Time) error {
	used := c.key != nil
	switch {
	case c.over:
		return provision.Errorf(provision.ChallengeRefused, "Device %s was released.", c.serial)
	case c.stale:
		return provision.Errorf(provision.ChallengeRefused, "The challenge renews an enrollment of device %s that is over. Get a new enrollment profile.", c.serial)
	case used && !bytes.Equal(c.key, key[:]):
		return provision.Errorf(provision.ChallengeRefused, "The challenge of device %s was used already, with another key. Get a new enrollment profile.", c.serial)
	case used && c.revoked:
		return provision.Errorf(provision.ChallengeRefused, "The certificate that was issued for this challenge to device %s was revoked. Get a new enrollment profile.", c.serial)
	case !used && !now.Before(c.expires):
		return provision.Errorf(provision.ChallengeRefused, "The challenge of device %s expired on %s. Get a new enrollment profile.", c.serial, c.expires.Format(time.RFC3339))
	}
	return nil
}

// issued is a certificate with the challenge and the key it was issued for.
type issued struct {
	hash, key   [sha256.Size]byte
	certificate []byte
	at          time.Time
}

func keep(ctx context.Context, tx pgx.Tx, c challenge, i issued) error {
	cert, err := x509.ParseCertificate(i.certificate)
	if err != nil {
		return fmt.Errorf("reading the certificate issued: %w", err)
	}
	id := IdentityHash(i.certificate)
	batch := &pgx.Batch{}
	batch.Queue(keepIdentity, id, c.serial, number(cert), i.certificate, i.at, cert.NotAfter, c.renews)
	batch.Queue(useChallenge, i.hash[:], i.at, i.key[:], id)
	return tx.SendBatch(ctx, batch).Close()
}

func number(cert *x509.Certificate) pgtype.Numeric {
	return pgtype.Numeric{Int: cert.SerialNumber, Valid: true}
}

const expireChallenges = `
UPDATE enrollment_challenges
SET expires_at = @now
WHERE serial = @serial AND used_at IS NULL AND expires_at > @now
    AND (NOT @repeated OR created_at < (SELECT issued_at FROM identities WHERE sha256 = @identity))`

// ExpireChallenges ends the device's unused challenges when it enrolls by the certificate with the hash: whoever
// installed a profile fetched earlier would get a newer certificate, and end the enrollment by it. If the device repeats
// its Authenticate, only those made before its certificate end: a profile fetched meanwhile is meant to renew.
func (c *Change) ExpireChallenges(ctx context.Context, hash string, repeated bool) error {
	_, err := c.tx.Exec(ctx, expireChallenges, pgx.NamedArgs{
		"serial": c.Device.Serial, "identity": hash, "repeated": repeated, "now": c.now,
	})
	if err != nil {
		return fmt.Errorf("ending unused challenges: %w", err)
	}
	return nil
}
