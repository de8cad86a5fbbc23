package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// A device is claimed by locking its oldest undelivered fact: whoever wants another fact of it meets that lock, so its
// facts keep their order among several relays. Devices come in the order of their most urgent fact. A device whose oldest
// fact waits for another try is passed over; one whose oldest fact was refused is not.
const claimDevices = `
SELECT due.serial
FROM device_events due
    CROSS JOIN LATERAL (
        SELECT id
        FROM device_events
        WHERE serial = due.serial AND deliver AND delivered_at IS NULL
        ORDER BY id
        LIMIT 1
    ) oldest
    JOIN device_events head ON head.id = oldest.id
WHERE due.deliver AND due.delivered_at IS NULL AND (due.retry_at IS NULL OR due.retry_at <= $2)
    AND head.delivered_at IS NULL AND (head.retry_at IS NULL OR head.retry_at <= $2 OR head.refused <> '')
ORDER BY due.priority, due.id
LIMIT $1
FOR UPDATE OF head SKIP LOCKED`

// After a bulk change PostgreSQL's statistics are old, and it would sort the whole backlog for every claim: a second each
// instead of some milliseconds.
const claimInIndexOrder = `SET LOCAL enable_sort = off`

// MaxClaim is the most facts of one device that are claimed at once.
const MaxClaim = 64

const claimedFacts = `
SELECT e.id, e.payload, e.priority, d.serial, d.state
FROM unnest($1::text[]) WITH ORDINALITY AS claimed (serial, turn)
    JOIN devices d USING (serial)
    CROSS JOIN LATERAL (
        SELECT id, payload, priority
        FROM device_events
        WHERE serial = d.serial AND deliver AND delivered_at IS NULL AND (retry_at IS NULL OR retry_at <= $2)
        ORDER BY id
        LIMIT $3
    ) e
ORDER BY claimed.turn, e.id`

// ClaimFacts locks the devices with the most urgent undelivered facts, calls deliver with the facts of each in their
// order, and marks what it reports. limit bounds how many facts are looked at to find devices. Without a due fact deliver
// isn't called. It returns how many facts were claimed.
//
// The claim is a transaction that stays open meanwhile: if its process dies, PostgreSQL frees the devices at once, where
// a lease would have to run out, and nothing is written but the result. It locks no row that anybody else writes. Facts
// that were delivered and not marked are delivered again. deliver must end soon after ctx; what it reports is marked even
// so.
func (db *DB) ClaimFacts(ctx context.Context, limit int, deliver func(context.Context, [][]provision.Delivery) provision.Receipt) (int, error) {
	claimed := 0
	err := db.claim(ctx, func(tx pgx.Tx) error {
		devices, err := db.claimDevices(ctx, tx, limit)
		if err != nil || len(devices) == 0 {
			return err
		}
		for _, facts := range devices {
			claimed += len(facts)
		}
		return db.mark(context.WithoutCancel(ctx), tx, deliver(ctx, devices))
	})
	return claimed, translate(err, "relaying facts")
}

// claim is pgx.BeginFunc but for its end, which a cancelled ctx must not undo: what was delivered shall be marked.
func (db *DB) claim(ctx context.Context, work func(pgx.Tx) error) error {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return err
	}
	end := context.WithoutCancel(ctx)
	defer func() { _ = tx.Rollback(end) }() // a no-op after Commit
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit(end)
}

func (db *DB) claimDevices(ctx context.Context, tx pgx.Tx, limit int) ([][]provision.Delivery, error) {
	var serials []string
	batch := &pgx.Batch{}
	batch.Queue(claimInIndexOrder)
	batch.Queue(claimDevices, limit, db.now()).Query(func(rows pgx.Rows) (err error) {
		serials, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil || len(serials) == 0 {
		return nil, err
	}
	rows, err := tx.Query(ctx, claimedFacts, once(serials), db.now(), MaxClaim)
	if err != nil {
		return nil, err
	}
	var devices [][]provision.Delivery
	var id int64
	var d provision.Delivery
	_, err = pgx.ForEachRow(rows, []any{&id, &d.Fact, &d.Priority, &d.Serial, &d.Device}, func() error {
		d.Fact.ID, d.Over = id, d.Device.Ended()
		if n := len(devices); n > 0 && devices[n-1][0].Serial == d.Serial {
			devices[n-1] = append(devices[n-1], d)
		} else {
			devices = append(devices, []provision.Delivery{d})
		}
		d = provision.Delivery{} // JSON leaves absent fields as they were
		return nil
	})
	return devices, err
}

// once drops repetitions and keeps the order.
func once(serials []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(serials, func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}

const markDelivered = `
UPDATE device_events
SET delivered_at = $2, retry_at = NULL, refused = ''
WHERE id = ANY ($1)`

// The pause doubles from a second: up to ten for what broke down, up to an hour for what was refused.
const markPostponed = `
UPDATE device_events e
SET tries = least(tries + 1, 20),
    refused = p.refused,
    retry_at = $3::timestamptz + least(
        interval '1 second' * power(2, least(e.tries, 20)),
        CASE WHEN p.refused = '' THEN interval '10 seconds' ELSE interval '1 hour' END)
FROM unnest($1::bigint[], $2::text[]) AS p (id, refused)
WHERE e.id = p.id`

func (db *DB) mark(ctx context.Context, tx pgx.Tx, r provision.Receipt) error {
	batch := &pgx.Batch{}
	now := db.now()
	if len(r.Delivered) > 0 {
		batch.Queue(markDelivered, r.Delivered, now)
	}
	var ids []int64
	var why []string
	for _, id := range r.Later {
		ids, why = append(ids, id), append(why, "")
	}
	for id, text := range r.Refused {
		if text == "" {
			text = "refused without a reason"
		}
		ids, why = append(ids, id), append(why, text)
	}
	if len(ids) > 0 {
		batch.Queue(markPostponed, ids, why, now)
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("marking facts: %w", err)
	}
	return nil
}

const undelivered = `
SELECT count(*), min(created_at)
FROM device_events
WHERE deliver AND delivered_at IS NULL`

// Undelivered counts the facts that wait for the relay; oldest is zero when there is none.
func (db *DB) Undelivered(ctx context.Context) (count int64, oldest time.Time, err error) {
	var first *time.Time
	if err := db.pool.QueryRow(ctx, undelivered).Scan(&count, &first); err != nil {
		return 0, time.Time{}, translate(err, "counting undelivered facts")
	}
	if first != nil {
		oldest = *first
	}
	return count, oldest, nil
}

// ListenFacts calls wake once it listens and after each commit that recorded facts to deliver. It returns when the
// connection breaks, or with ctx's error.
func (db *DB) ListenFacts(ctx context.Context, wake func()) error {
	return db.listen(ctx, FactsChannel, wake)
}

// ListenDuties is [DB.ListenFacts] for wishes to push or ask a device.
func (db *DB) ListenDuties(ctx context.Context, wake func()) error {
	return db.listen(ctx, PushChannel, wake)
}

// listen takes a connection out of the pool for good: one that listens must not serve anybody else.
func (db *DB) listen(ctx context.Context, channel string, wake func()) error {
	pooled, err := db.pool.Acquire(ctx)
	if err != nil {
		return translate(err, "listening to PostgreSQL")
	}
	conn := pooled.Hijack()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return translate(err, "listening to PostgreSQL")
	}
	for {
		wake()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return errors.Join(ctx.Err(), translate(err, "listening to PostgreSQL"))
		}
	}
}
