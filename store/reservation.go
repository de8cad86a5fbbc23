package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Reservation is a device that somebody is waiting for: it is assigned, but no Apple Business Manager server lists it, and
// it never enrolled (R43).
type Reservation struct {
	DeviceRow
	// ReservedAt is when it was assigned.
	ReservedAt time.Time
}

// ReservationFilter narrows a list of reservations; zero fields don't.
type ReservationFilter struct {
	Overdue bool
	After   string
	Limit   int
}

const isReserved = `d.epoch = 0 AND d.server = '' AND d.status = 'Awaiting' AND (d.state ? 'assignment' OR d.state ? 'planned')`

const listReservations = `
SELECT d.serial
FROM devices d
WHERE ` + isReserved + ` AND d.serial > $1 AND (NOT $2 OR d.expected_by <= $3)
ORDER BY d.serial
LIMIT $4`

// Reservations lists reservations by serial number.
func (db *DB) Reservations(ctx context.Context, f ReservationFilter) ([]Reservation, error) {
	rows, err := db.pool.Query(ctx, listReservations, f.After, f.Overdue, db.now(), f.Limit)
	if err != nil {
		return nil, translate(err, "listing reservations")
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, translate(err, "listing reservations")
	}
	rows, err = db.pool.Query(ctx, devices+`d.serial = ANY ($1) ORDER BY d.serial`, serials)
	if err != nil {
		return nil, translate(err, "listing reservations")
	}
	shown, err := pgx.CollectRows(rows, scanDevice)
	list := make([]Reservation, len(shown))
	for i, d := range shown {
		list[i] = Reservation{DeviceRow: d, ReservedAt: d.PlannedMark.At}
	}
	return list, translate(err, "listing reservations")
}

const alertReservations = `
UPDATE devices d
SET expected_alerted = true
WHERE d.serial IN (
    SELECT d.serial
    FROM devices d
    WHERE ` + isReserved + ` AND d.expected_by <= $1 AND NOT d.expected_alerted
    ORDER BY d.serial
    LIMIT 1000
    FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING d.serial, d.expected_by`

const countOverdue = `
SELECT count(*)
FROM devices d
WHERE ` + isReserved + ` AND d.expected_by <= $1`

// OverdueReservations counts the devices that should have come, and returns those that nobody was told of yet.
func (db *DB) OverdueReservations(ctx context.Context) (total int64, news map[string]time.Time, err error) {
	rows, err := db.pool.Query(ctx, alertReservations, db.now())
	if err != nil {
		return 0, nil, translate(err, "looking for overdue devices")
	}
	news = map[string]time.Time{}
	var serial string
	var by time.Time
	if _, err = pgx.ForEachRow(rows, []any{&serial, &by}, func() error { news[serial] = by; return nil }); err != nil {
		return 0, nil, translate(err, "looking for overdue devices")
	}
	err = db.pool.QueryRow(ctx, countOverdue, db.now()).Scan(&total)
	return total, news, translate(err, "counting overdue devices")
}
