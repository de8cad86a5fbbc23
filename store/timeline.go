package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Event is a recorded fact as it is shown.
type Event struct {
	ID    int64
	Kind  provision.Kind
	Epoch int
	Actor string
	// ActorName is the token's name, or the person's, as domain\name unless the domain is MDM; empty for others.
	ActorName string
	Source    provision.Source
	At        time.Time
	// DeliveredAt is when the workflow got it; nil if it has not, or is not meant to.
	DeliveredAt *time.Time
	// Payload is the provision.Fact as JSON.
	Payload json.RawMessage
}

const timeline = `
SELECT e.id, e.kind, e.epoch, e.actor,
    coalesce(t.name, CASE p.domain WHEN 'MDM' THEN p.name ELSE p.domain || '\' || p.name END, ''),
    e.source, e.created_at, e.delivered_at, e.payload
FROM device_events e
    LEFT JOIN api_tokens t ON t.id = e.actor
    LEFT JOIN people p ON p.id = e.actor
WHERE e.serial = $1 AND ($2 = 0 OR e.id < $2)
ORDER BY e.id DESC
LIMIT $3`

// Timeline lists what happened to a device, the newest first, from before the event with that id; 0 = from the newest.
// It fails with [provision.DeviceNotFound].
func (db *DB) Timeline(ctx context.Context, serial string, before int64, limit int) ([]Event, error) {
	if _, err := db.Device(ctx, serial); err != nil {
		return nil, err
	}
	rows, err := db.pool.Query(ctx, timeline, serial, before, limit)
	if err != nil {
		return nil, translate(err, "reading the timeline")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	return list, translate(err, "reading the timeline")
}
