package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/muster-mdm/muster/provision"
)

// authorityLock is the advisory lock under which the certificate authority is created.
const authorityLock = 0x6d75737465724341 // "musterCA"

const authority = `
SELECT certificate, private_key
FROM authorities
ORDER BY id
LIMIT 1`

const keepAuthority = `
INSERT INTO authorities (certificate, private_key, created_at)
VALUES ($1, $2, $3)`

// Authority returns the certificate authority's certificate and key. If there is none, it keeps what create makes; of
// several callers at once, in any process, one creates and all get the same.
func (db *DB) Authority(ctx context.Context, create func() (certificate, key []byte, err error)) (certificate, key []byte, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, authority).Scan(&certificate, &key)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, authorityLock); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, authority).Scan(&certificate, &key)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if certificate, key, err = create(); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, keepAuthority, certificate, key, db.now())
		return err
	})
	if err != nil {
		return nil, nil, translate(err, "reading the certificate authority")
	}
	return certificate, key, nil
}

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

// The device is locked, too, so that its release can't overlook a certificate that is being issued.
const lockChallenge = `
SELECT c.serial, c.expires_at, c.key_sha256, i.certificate, i.revoked_at IS NOT NULL, d.status
FROM enrollment_challenges c
    JOIN devices d ON d.serial = c.serial
    LEFT JOIN identities i ON i.sha256 = c.identity
WHERE c.sha256 = $1
FOR UPDATE OF c, d`

const keepIdentity = `
INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after)
VALUES ($1, $2, $3, $4, $5, $6)`

const useChallenge = `
UPDATE enrollment_challenges
SET used_at = $2, key_sha256 = $3, identity = $4
WHERE sha256 = $1`

// challenge is a row of enrollment_challenges with what was issued for it.
type challenge struct {
	serial      string
	expires     time.Time
	key         []byte
	certificate []byte
	revoked     bool
	status      provision.Status
}

// Redeem uses up the challenge with a hash and records the certificate that issue makes for its device, in one
// transaction. The same challenge with the same key gives the same certificate again. It fails with
// [provision.ChallengeRefused] for any other challenge that is unknown, used or expired, and when the device was released.
func (db *DB) Redeem(ctx context.Context, hash, key [sha256.Size]byte, issue func(serial string) (certificate []byte, err error)) ([]byte, error) {
	var certificate []byte
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var c challenge
		err := tx.QueryRow(ctx, lockChallenge, hash[:]).Scan(&c.serial, &c.expires, &c.key, &c.certificate, &c.revoked, &c.status)
		if errors.Is(err, pgx.ErrNoRows) {
			return provision.Errorf(provision.ChallengeRefused, "The challenge is unknown. Get a new enrollment profile.")
		}
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
		return keep(ctx, tx, c.serial, issued{hash: hash, key: key, certificate: certificate, at: now})
	})
	if err != nil {
		return nil, translate(err, "redeeming an enrollment challenge")
	}
	return certificate, nil
}

func (c challenge) check(key [sha256.Size]byte, now time.Time) error {
	used := c.key != nil
	switch {
	case c.status == provision.StatusReleased:
		return provision.Errorf(provision.ChallengeRefused, "Device %s was released.", c.serial)
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

func keep(ctx context.Context, tx pgx.Tx, serial string, i issued) error {
	cert, err := x509.ParseCertificate(i.certificate)
	if err != nil {
		return fmt.Errorf("reading the certificate issued: %w", err)
	}
	id := IdentityHash(i.certificate)
	batch := &pgx.Batch{}
	batch.Queue(keepIdentity, id, serial, pgtype.Numeric{Int: cert.SerialNumber, Valid: true}, i.certificate, i.at, cert.NotAfter)
	batch.Queue(useChallenge, i.hash[:], i.at, i.key[:], id)
	return tx.SendBatch(ctx, batch).Close()
}

// IdentityHash names a certificate by its DER.
func IdentityHash(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Identity is a certificate issued to a device, with how the device stands now.
type Identity struct {
	Hash     string
	Serial   string
	NotAfter time.Time
	Revoked  bool
	// UDID is the enrollment id of the device; "" before its first Authenticate.
	UDID string
	// Epoch is the device's newest enrollment; Management says whether that is opened (staged), active or over.
	Epoch      int
	Management provision.Management
	Released   bool
	// Enrollments are the ids that NanoMDM associates with the certificate.
	Enrollments []string
}

// Opened reports whether the device authenticated and did not send its push token yet.
func (i Identity) Opened() bool { return i.Epoch > 0 && i.Management == provision.Staged }

// NanoMDM keeps hashes as char(64), which must not be compared as text, or its index is of no use.
const identity = `
SELECT i.sha256, i.serial, i.not_after, i.revoked_at IS NOT NULL, coalesce(d.udid, ''), d.epoch, d.management,
    d.status = 'Released', ARRAY(SELECT a.id FROM nanomdm.cert_auth_associations a WHERE a.sha256 = $1::char(64))
FROM identities i
    JOIN devices d ON d.serial = i.serial
WHERE i.sha256 = $1`

// Identity finds a certificate by its hash. It fails with [provision.IdentityRefused] when it was not issued here.
func (db *DB) Identity(ctx context.Context, hash string) (Identity, error) {
	var i Identity
	err := db.pool.QueryRow(ctx, identity, hash).Scan(&i.Hash, &i.Serial, &i.NotAfter, &i.Revoked, &i.UDID, &i.Epoch,
		&i.Management, &i.Released, &i.Enrollments)
	if errors.Is(err, pgx.ErrNoRows) {
		return i, provision.Errorf(provision.IdentityRefused, "The certificate was not issued to any device here.")
	}
	return i, translate(err, "reading an identity")
}

const supersedeIdentities = `
UPDATE identities
SET revoked_at = $3
WHERE serial = $1 AND revoked_at IS NULL
    AND issued_at < (SELECT issued_at FROM identities WHERE sha256 = $2)`

// SupersedeIdentities revokes the certificates that the device got before the one with the hash, so that nothing of an
// enrollment that is over speaks for it.
func (c *Change) SupersedeIdentities(ctx context.Context, hash string) error {
	if _, err := c.tx.Exec(ctx, supersedeIdentities, c.Device.Serial, hash, c.now); err != nil {
		return fmt.Errorf("revoking earlier certificates: %w", err)
	}
	return nil
}

// VoidCommands takes back what is queued for the device and the wish to push it: an enrollment that is over gets no
// command any more.
func (c *Change) VoidCommands(ctx context.Context) error {
	if _, err := c.tx.Exec(ctx, clearQueue, c.udid); err != nil {
		return fmt.Errorf("clearing the device's queue: %w", err)
	}
	c.pushIn(-1)
	c.pollAt(time.Time{})
	return nil
}
