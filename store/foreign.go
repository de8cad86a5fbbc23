package store

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

const foreignIdentity = `
SELECT d.serial, coalesce(d.udid, ''), d.epoch, d.management, d.state ? 'released',
    ARRAY(SELECT a.id FROM nanomdm.cert_auth_associations a WHERE a.sha256 = $2::char(64))
FROM devices d
WHERE d.serial = $1`

// ForeignIdentity is what a certificate of another authority that isn't kept yet amounts to, for the device that it names.
// renews is the enrollment that it was issued to renew; 0 = none is known. It fails with [provision.IdentityRefused] when there is no such
// device.
func (db *DB) ForeignIdentity(ctx context.Context, serial string, cert *x509.Certificate, renews int) (Identity, error) {
	i := Identity{Hash: IdentityHash(cert.Raw), NotAfter: cert.NotAfter, Renews: renews, Foreign: cert}
	err := db.pool.QueryRow(ctx, foreignIdentity, serial, i.Hash).Scan(&i.Serial, &i.UDID, &i.Epoch, &i.Management, &i.Released, &i.Enrollments)
	if errors.Is(err, pgx.ErrNoRows) {
		return i, provision.Errorf(provision.IdentityRefused, "The certificate names device %.40q, which is not known here.", serial)
	}
	return i, translate(err, "reading the device of a certificate")
}

// KeepForeignIdentity keeps a certificate of another authority, as issued now: when it really was only that authority knows.
func (c *Change) KeepForeignIdentity(ctx context.Context, cert *x509.Certificate, renews int) error {
	_, err := c.tx.Exec(ctx, keepIdentity, IdentityHash(cert.Raw), c.Device.Serial, number(cert), cert.Raw, c.now, cert.NotAfter, renews)
	if err != nil {
		return fmt.Errorf("keeping a certificate: %w", err)
	}
	return nil
}

// RenewalAsked reports whether the device was sent a profile in this enrollment by which it renews its certificate.
func (c *Change) RenewalAsked(ctx context.Context) (bool, error) {
	attempt, _, err := c.newestRenewal(ctx)
	return attempt > 0, err
}
