package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// DuePush is a device to wake by APNs.
type DuePush struct {
	Serial string
	// UDID is its enrollment id in NanoMDM.
	UDID string
	// Try counts the pushes since the wish, from 1.
	Try int
}

// The next push is set in the same statement, so that a worker that dies before pushing only delays it. The wish ends
// when nothing is outstanding, and when the device isn't managed any more.
const claimPushes = `
WITH due AS (
    SELECT serial
    FROM devices
    WHERE push_at <= $1
    ORDER BY push_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
), judged AS (
    SELECT d.serial,
        d.udid IS NOT NULL AND (d.management = 'managed' OR d.status = 'Deprovisioned') AND NOT d.state ? 'released' AND EXISTS (
            SELECT
            FROM device_commands c
            WHERE c.serial = d.serial AND c.epoch = d.epoch AND c.status IN ('', 'NotNow')
        ) AS wanted
    FROM devices d
        JOIN due USING (serial)
)
UPDATE devices d
SET push_tries = CASE WHEN wanted THEN d.push_tries + 1 ELSE 0 END,
    push_at = CASE WHEN wanted THEN $1::timestamptz + interval '1 second' * ($3::float8[])[least(d.push_tries + 1, $4)] END
FROM judged j
WHERE j.serial = d.serial
RETURNING d.serial, coalesce(d.udid, ''), d.push_tries, j.wanted`

// repushSteps is how many steps of the re-push back-off PostgreSQL is told; the last one repeats.
const repushSteps = 24

// DuePushes claims devices that are to be pushed now, the longest due first, and sets when to push them again if they
// stay silent. Several workers may ask at once. It also ends the wishes of up to limit devices that need no push any more;
// claimed counts both, so fewer than limit means that no more are due.
func (db *DB) DuePushes(ctx context.Context, limit int) (due []DuePush, claimed int, err error) {
	pauses := make([]float64, repushSteps)
	for i := range pauses {
		pauses[i] = db.timing.Repush(i + 1).Seconds()
	}
	rows, err := db.pool.Query(ctx, claimPushes, db.now(), limit, pauses, repushSteps)
	if err != nil {
		return nil, 0, translate(err, "claiming pushes")
	}
	var p DuePush
	var wanted bool
	_, err = pgx.ForEachRow(rows, []any{&p.Serial, &p.UDID, &p.Try, &wanted}, func() error {
		claimed++
		if wanted {
			due = append(due, p)
		}
		return nil
	})
	return due, claimed, translate(err, "claiming pushes")
}

const notePush = `
UPDATE devices
SET push_error = left($2, 500)
WHERE serial = $1 AND push_error <> left($2, 500)`

// A wish that nobody pushed for yet is newer than this push: the device has sent a new token meanwhile.
const noteDeadToken = `
UPDATE devices
SET push_error = left($2, 500),
    push_at = CASE WHEN push_tries = 0 THEN push_at END,
    push_tries = 0
WHERE serial = $1`

// deadToken is a failure after which pushing again is useless until the device sends a new token.
type deadToken interface{ TokenDead() bool }

// Pushed notes why a push failed, for people to see, or that the last one went well (nil). When the failure says by a
// method TokenDead() bool that the push token is dead, the wish ends: see [DB.TokenRenewed].
func (db *DB) Pushed(ctx context.Context, serial string, failure error) error {
	note, text := notePush, ""
	if failure != nil {
		text = failure.Error()
	}
	if dead := deadToken(nil); errors.As(failure, &dead) && dead.TokenDead() {
		note = noteDeadToken
	}
	_, err := db.pool.Exec(ctx, note, serial, text)
	return translate(err, "noting a push")
}

const wishAgain = `
UPDATE devices d
SET push_at = $2,
    push_tries = 0,
    push_error = ''
WHERE serial = $1 AND (push_at IS NULL OR push_tries > 0)
    AND EXISTS (
        SELECT
        FROM device_commands c
        WHERE c.serial = d.serial AND c.epoch = d.epoch AND c.status IN ('', 'NotNow')
    )`

// TokenRenewed has a device pushed that sent a push token again, if commands wait for it: pushes to the old one went
// astray. A device that waits in Setup Assistant says so with every token, so awaiting false tells that it has left, even
// if its answer to DeviceConfigured was lost.
func (db *DB) TokenRenewed(ctx context.Context, serial string, awaiting bool) error {
	d, err := db.Device(ctx, serial)
	if err != nil {
		return err
	}
	if !awaiting && d.SetupLeft() && !d.InSetup() {
		if err := db.leftSetup(ctx, serial); err != nil {
			return err
		}
	}
	_, err = db.pool.Exec(ctx, wishAgain, serial, db.now())
	return translate(err, "wishing a push")
}

const claimPolls = `
UPDATE devices
SET poll_at = $1::timestamptz + $3::interval
WHERE serial IN (
    SELECT serial
    FROM devices
    WHERE poll_at <= $1
    ORDER BY poll_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING serial`

// pollLease is when a poll comes up again whose worker died or failed; a good one sets its own next time.
const pollLease = time.Minute

// DuePolls claims devices that are to be asked again now whether their apps are installed. Several workers may ask at once.
func (db *DB) DuePolls(ctx context.Context, limit int) ([]string, error) {
	rows, err := db.pool.Query(ctx, claimPolls, db.now(), limit, pollLease)
	if err != nil {
		return nil, translate(err, "claiming polls")
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return serials, translate(err, "claiming polls")
}

// Poll goes on with a device's plan: it queues what is due, above all the question after installing apps, and has the
// device pushed. Repeated or concurrent calls ask once.
func (db *DB) Poll(ctx context.Context, serial string) error {
	_, err := db.Update(ctx, serial, func(ctx context.Context, c *Change) error {
		if !c.Device.Active() || c.Device.Over() {
			c.pollAt(time.Time{})
			return nil
		}
		p, err := c.loadPlan(ctx)
		if err != nil {
			return err
		}
		sent, err := c.advance(ctx, p)
		if err != nil {
			return fmt.Errorf("asking device %s again: %w", serial, err)
		}
		if sent > 0 {
			c.pushIn(0)
		}
		return nil
	})
	return err
}

const nextDuty = `
SELECT least((SELECT min(push_at) FROM devices), (SELECT min(poll_at) FROM devices))`

// NextDuty is when the next push or poll is due; zero when none is wished.
func (db *DB) NextDuty(ctx context.Context) (time.Time, error) {
	var at *time.Time
	if err := db.pool.QueryRow(ctx, nextDuty).Scan(&at); err != nil {
		return time.Time{}, translate(err, "reading the next duty")
	}
	if at == nil {
		return time.Time{}, nil
	}
	return *at, nil
}
