package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

const undeliveredOf = `
SELECT head.created_at, head.refused <> '', head.retry_at IS NOT NULL AND head.refused = '', urgent.priority, urgent.id
FROM (
        SELECT created_at, refused, retry_at
        FROM device_events
        WHERE serial = $1 AND deliver AND delivered_at IS NULL
        ORDER BY id
        LIMIT 1
    ) AS head
    CROSS JOIN (
        SELECT priority, id
        FROM device_events
        WHERE serial = $1 AND deliver AND delivered_at IS NULL
        ORDER BY priority, id
        LIMIT 1
    ) AS urgent`

// A device's most urgent fact takes the others along, so what goes before that one goes before all.
const factsAhead = `
SELECT count(*)
FROM (
    SELECT
    FROM device_events
    WHERE deliver AND delivered_at IS NULL AND (priority, id) < ($1, $2) AND serial <> $3
    LIMIT $4
) AS ahead`

// UndeliveredOf says what of a device hasn't reached its workflow. What goes before is counted only once that has taken
// [provision.DeliveryTakes].
func (db *DB) UndeliveredOf(ctx context.Context, serial string) (provision.Undelivered, error) {
	var u provision.Undelivered
	var priority provision.Priority
	var id int64
	err := db.pool.QueryRow(ctx, undeliveredOf, serial).Scan(&u.Since, &u.Refused, &u.Failed, &priority, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return u, nil
	}
	if err != nil || db.now().Sub(u.Since) < provision.DeliveryTakes {
		return u, translate(err, "reading what is undelivered of device "+serial)
	}
	err = db.pool.QueryRow(ctx, factsAhead, priority, id, serial, provision.MostAhead).Scan(&u.Ahead)
	return u, translate(err, "counting what is delivered before")
}
