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

// WithRenewal has devices get a new certificate so long before theirs ends, but not before half of its life is over;
// 0 = never, which is the default.
func WithRenewal(before time.Duration) Option { return func(db *DB) { db.renewBefore = before } }

// Devices that enrolled on the same day don't all renew on the same day: a tenth of the time is for spreading them.
const renewalTime = `
i.not_after - l.lead + l.lead / 10 * ((hashtext(d.serial) & 1023)::float8 / 1024)`

const renewalLead = `
LATERAL (SELECT least(@before::interval, (i.not_after - i.issued_at) / 2) AS lead) l`

// A renewal that was asked for is under way until the device comes with the new certificate.
const planRenewals = `
UPDATE devices d
SET renew_at = CASE WHEN @before::interval > interval '0' THEN` + renewalTime + ` END
FROM identities i,` + renewalLead + `
WHERE i.sha256 = d.identity AND d.management = 'managed' AND d.status <> 'Released' AND d.renew_tries = 0
    AND d.renew_at IS DISTINCT FROM CASE WHEN @before::interval > interval '0' THEN` + renewalTime + ` END`

// PlanRenewals works out anew when devices renew, because the setting was changed, and returns for how many that changed.
func (db *DB) PlanRenewals(ctx context.Context) (int64, error) {
	tag, err := db.pool.Exec(ctx, planRenewals, pgx.NamedArgs{"before": db.renewBefore})
	return tag.RowsAffected(), translate(err, "planning renewals")
}

// A certificate that is older than the one in use doesn't come back into use.
const useIdentity = `
UPDATE devices d
SET identity = i.sha256,
    renew_tries = 0,
    renew_at = CASE WHEN @before::interval > interval '0' THEN` + renewalTime + ` END
FROM identities i,` + renewalLead + `
WHERE d.serial = @serial AND i.sha256 = @hash AND i.serial = d.serial AND i.revoked_at IS NULL
    AND (@anew OR i.issued_at > coalesce((SELECT u.issued_at FROM identities u WHERE u.sha256 = d.identity), '-infinity'))`

// UseIdentity notes the certificate by which the device enrolls, and when it is to be renewed.
func (c *Change) UseIdentity(ctx context.Context, hash string) error {
	_, err := c.useIdentity(ctx, hash, true)
	return err
}

func (c *Change) useIdentity(ctx context.Context, hash string, anew bool) (used bool, err error) {
	tag, err := c.tx.Exec(ctx, useIdentity, pgx.NamedArgs{"serial": c.Device.Serial, "hash": hash, "anew": anew, "before": c.db.renewBefore})
	if err != nil {
		return false, fmt.Errorf("noting the certificate in use: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

const associate = `
INSERT INTO nanomdm.cert_auth_associations (id, sha256)
VALUES ($1, $2)
ON CONFLICT DO NOTHING`

// RenewIdentity has the device go on with a newer certificate that was issued to renew its enrollment, and reports whether
// that is news. Those before it end as soon as the device has said that the renewal is done: one that fails half-way may
// fall back on them.
func (c *Change) RenewIdentity(ctx context.Context, hash string) (bool, error) {
	news, err := c.useIdentity(ctx, hash, false)
	if err != nil || !news {
		return false, err
	}
	if _, err := c.tx.Exec(ctx, associate, c.udid, hash); err != nil {
		return false, fmt.Errorf("associating the certificate: %w", err)
	}
	_, outstanding, err := c.newestRenewal(ctx)
	if err != nil || outstanding {
		return true, err
	}
	_, err = c.tx.Exec(ctx, endPredecessors, c.Device.Serial, c.now)
	return true, err
}

const endPredecessors = `
UPDATE identities i
SET revoked_at = $2
FROM devices d
    JOIN identities u ON u.sha256 = d.identity
WHERE d.serial = $1 AND i.serial = d.serial AND i.revoked_at IS NULL AND i.issued_at < u.issued_at`

// renewalAnswered ends the certificates before the one in use, once the device is done with renewing.
func (c *Change) renewalAnswered(cmd provision.Command, status provision.AnswerStatus) {
	if cmd.Item == renewalItem && status == provision.AnswerAcknowledged {
		c.later.Queue(endPredecessors, c.Device.Serial, c.now)
	}
}

const claimRenewals = `
WITH due AS (
    SELECT serial
    FROM devices
    WHERE renew_at <= $1
    ORDER BY renew_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE devices d
SET renew_tries = CASE WHEN d.management = 'managed' THEN d.renew_tries + 1 ELSE 0 END,
    renew_at = CASE WHEN d.management = 'managed' THEN $1::timestamptz + interval '1 second' * ($3::float8[])[least(d.renew_tries + 1, $4)] END
FROM due
WHERE due.serial = d.serial
RETURNING d.serial, d.management = 'managed'`

// renewPauses are when a renewal is looked after again that isn't done yet; the last repeats.
var renewPauses = []float64{time.Hour.Seconds(), (4 * time.Hour).Seconds(), (24 * time.Hour).Seconds()}

// DueRenewals claims devices whose certificate is to be renewed now, the longest due first. Several workers may ask at
// once; what a worker that died had claimed comes up again.
func (db *DB) DueRenewals(ctx context.Context, limit int) (due []string, claimed int, err error) {
	rows, err := db.pool.Query(ctx, claimRenewals, db.now(), limit, renewPauses, len(renewPauses))
	if err != nil {
		return nil, 0, translate(err, "claiming renewals")
	}
	var serial string
	var managed bool
	_, err = pgx.ForEachRow(rows, []any{&serial, &managed}, func() error {
		claimed++
		if managed {
			due = append(due, serial)
		}
		return nil
	})
	return due, claimed, translate(err, "claiming renewals")
}

// Renewal is an enrollment profile by which a device gets a new certificate.
type Renewal struct {
	Profile []byte
	// Challenge is the hash of the one in the profile; nil when another authority issues the certificate.
	Challenge *[sha256.Size]byte
}

var renewalItem = provision.ItemKey{Kind: provision.BuiltinItem, Name: provision.IdentityRenewal}

// Renew has a device get a new certificate: it queues the installation of the profile that compose returns, for the device's
// enrollment, and reports whether it did. A device that has yet to answer to such a profile is only pushed, as long as that
// profile is good. Repeated or concurrent calls ask once.
func (db *DB) Renew(ctx context.Context, serial string, compose func(epoch int) (Renewal, error)) (bool, error) {
	sent := false
	_, err := db.Update(ctx, serial, func(ctx context.Context, c *Change) error {
		sent = false
		if !c.Device.MayAct() || c.udid == "" {
			return nil
		}
		attempt, outstanding, err := c.newestRenewal(ctx)
		if err != nil {
			return err
		}
		c.pushIn(0)
		if outstanding {
			return nil
		}
		r, err := compose(c.Device.Activation.Epoch)
		if err != nil {
			return err
		}
		sent = true
		return c.sendRenewal(attempt+1, r)
	})
	return sent && err == nil, err
}

// One that the device can't use any more, because its challenge expired, is as good as answered.
const newestRenewal = `
SELECT c.attempt, c.status IN ('', 'NotNow') AND NOT coalesce((
        SELECT h.used_at IS NULL AND h.expires_at <= $3
        FROM enrollment_challenges h
        WHERE h.serial = c.serial AND h.renews = c.epoch
        ORDER BY h.created_at DESC
        LIMIT 1
    ), false)
FROM device_commands c
WHERE c.serial = $1 AND c.epoch = $2 AND c.request_type = 'InstallProfile' AND c.kind = 'builtin' AND c.name = 'identity_renewal'
    AND c.version = 0
ORDER BY c.attempt DESC
LIMIT 1`

func (c *Change) newestRenewal(ctx context.Context) (attempt int, outstanding bool, err error) {
	err = c.tx.QueryRow(ctx, newestRenewal, c.Device.Serial, c.Device.Activation.Epoch, c.now).Scan(&attempt, &outstanding)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, false, fmt.Errorf("reading what was sent to renew the certificate: %w", err)
	}
	return attempt, outstanding, nil
}

// The device can fetch the profile as long as it has a certificate, so the challenge in it is good that long.
const addRenewalChallenge = `
INSERT INTO enrollment_challenges (sha256, serial, created_at, expires_at, renews)
SELECT $1, d.serial, $3, greatest(i.not_after, $3::timestamptz + $4::interval), $5
FROM devices d
    LEFT JOIN identities i ON i.sha256 = d.identity
WHERE d.serial = $2`

// leastRenewal is how long a challenge is good for a device whose certificate ends or has ended.
const leastRenewal = 24 * time.Hour

const supersedeRenewals = `
WITH stale AS (
    UPDATE device_commands
    SET status = 'Superseded', answered_at = $4
    WHERE serial = $1 AND epoch = $2 AND status IN ('', 'NotNow') AND kind = 'builtin' AND name = 'identity_renewal'
    RETURNING command_uuid
)
UPDATE nanomdm.enrollment_queue q
SET active = false
FROM stale
WHERE q.id = $3 AND q.command_uuid = stale.command_uuid`

func (c *Change) sendRenewal(attempt int, r Renewal) error {
	d := c.Device
	cmd := provision.Command{Type: provision.InstallProfile, Item: renewalItem, Attempt: attempt}
	order := provision.Order{UUID: CommandUUID(d.Serial, d.Activation.Epoch, cmd), Command: cmd, Payload: r.Profile}
	raw, err := c.db.encode(order)
	if err != nil {
		return fmt.Errorf("writing the command to renew: %w", err)
	}
	c.later.Queue(supersedeRenewals, d.Serial, d.Activation.Epoch, c.udid, c.now)
	if r.Challenge != nil {
		c.later.Queue(addRenewalChallenge, r.Challenge[:], d.Serial, c.now, leastRenewal, d.Activation.Epoch)
	}
	c.queueCommand(order, raw, 0)
	return nil
}
