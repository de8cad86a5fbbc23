package store

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

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
	// Current: the device proved itself by this certificate last. Renews is the enrollment that it was issued to renew; 0 =
	// it opens one.
	Current bool
	Renews  int
	// Foreign is the certificate itself while it isn't kept here: another authority issued it.
	Foreign *x509.Certificate
	// Epoch is the device's newest enrollment; Management says whether that is opened (staged), active or over.
	Epoch      int
	Management provision.Management
	Released   bool
	// Enrollments are the ids that NanoMDM associates with the certificate.
	Enrollments []string
}

// Opened reports whether the device authenticated and did not send its push token yet.
func (i Identity) Opened() bool { return i.Epoch > 0 && i.Management == provision.Staged }

// RenewsNow reports whether the certificate was issued to go on with the enrollment that the device has.
func (i Identity) RenewsNow() bool {
	return i.Renews > 0 && i.Renews == i.Epoch && i.Management == provision.Managed
}

// NanoMDM keeps hashes as char(64), which must not be compared as text, or its index is of no use.
const identity = `
SELECT i.sha256, i.serial, i.not_after, i.revoked_at IS NOT NULL, coalesce(d.udid, ''), coalesce(d.identity = i.sha256, false),
    coalesce(i.renews, 0), d.epoch, d.management,
    d.state ? 'released', ARRAY(SELECT a.id FROM nanomdm.cert_auth_associations a WHERE a.sha256 = $1::char(64))
FROM identities i
    JOIN devices d ON d.serial = i.serial
WHERE i.sha256 = $1`

// Identity finds a certificate by its hash. It fails with [provision.IdentityRefused] when it was not issued here.
func (db *DB) Identity(ctx context.Context, hash string) (Identity, error) {
	var i Identity
	err := db.pool.QueryRow(ctx, identity, hash).Scan(&i.Hash, &i.Serial, &i.NotAfter, &i.Revoked, &i.UDID, &i.Current,
		&i.Renews, &i.Epoch, &i.Management, &i.Released, &i.Enrollments)
	if errors.Is(err, pgx.ErrNoRows) {
		return i, provision.Errorf(provision.IdentityRefused, "The certificate was not issued to any device here.")
	}
	return i, translate(err, "reading an identity")
}

const enrolledUnder = `
SELECT serial
FROM devices
WHERE udid = $1 AND management = 'managed' AND status <> 'Released'`

// EnrolledUnder returns the serial number of the device that is managed under a UDID now; "" = none is.
func (db *DB) EnrolledUnder(ctx context.Context, udid string) (string, error) {
	var serial string
	err := db.pool.QueryRow(ctx, enrolledUnder, udid).Scan(&serial)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return serial, translate(err, "looking for the device enrolled under a UDID")
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

const revokeIdentities = `
UPDATE identities
SET revoked_at = $2
WHERE serial = $1 AND revoked_at IS NULL`

const stopRenewing = `
UPDATE devices
SET renew_at = NULL,
    renew_tries = 0
WHERE serial = $1`

// RevokeIdentities ends every certificate of the device: whoever still has one isn't the device any more that they were
// issued to. It enrolls anew by a profile that was made for that.
func (c *Change) RevokeIdentities(ctx context.Context) error {
	batch := &pgx.Batch{}
	batch.Queue(revokeIdentities, c.Device.Serial, c.now)
	batch.Queue(stopRenewing, c.Device.Serial)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("revoking the device's certificates: %w", err)
	}
	return nil
}

// Ending are devices whose certificates end.
type Ending struct {
	Devices int
	// First is the device whose certificate ends first, at At.
	First string
	At    time.Time
}

const endingIdentities = `
WITH newest AS (
    SELECT i.serial, max(i.not_after) AS not_after
    FROM identities i
        JOIN devices d ON d.serial = i.serial
    WHERE i.revoked_at IS NULL AND d.management = 'managed' AND d.status <> 'Released'
    GROUP BY i.serial
    HAVING max(i.not_after) < $1)
SELECT serial, not_after, count(*) OVER ()
FROM newest
ORDER BY not_after, serial
LIMIT 1`

// IdentitiesEnding tells which enrolled devices have no certificate that lasts until a time; one that ended already
// counts, too.
func (db *DB) IdentitiesEnding(ctx context.Context, before time.Time) (Ending, error) {
	var e Ending
	err := db.pool.QueryRow(ctx, endingIdentities, before).Scan(&e.First, &e.At, &e.Devices)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, nil
	}
	return e, translate(err, "looking for certificates that end")
}
