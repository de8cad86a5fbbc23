package store

import (
	"context"
	"time"
)

// ABMOrigin is how a device came into the organisation, by the Business API.
type ABMOrigin struct {
	Serial string
	// Source is Apple's word, such as MANUALLY_ADDED for Apple Configurator.
	Source string
	// AddedAt may be zero.
	AddedAt time.Time
}

const noteOrigins = `
UPDATE abm_devices a
SET source = o.source,
    added_at = o.added_at
FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS o (serial, source, added_at)
WHERE a.server = $1 AND a.serial = o.serial AND (a.source, a.added_at) IS DISTINCT FROM (o.source, o.added_at)`

// NoteABMOrigins keeps how devices came into the organisation, of those that the server lists or listed.
func (db *DB) NoteABMOrigins(ctx context.Context, server string, origins []ABMOrigin) error {
	serials, sources, added := make([]string, len(origins)), make([]string, len(origins)), make([]*time.Time, len(origins))
	for i, o := range origins {
		serials[i], sources[i], added[i] = o.Serial, o.Source, orNever(o.AddedAt)
	}
	_, err := db.pool.Exec(ctx, noteOrigins, server, serials, sources, added)
	return translate(err, "noting how devices came to ABM server "+server)
}

const noteABM = `
UPDATE abm_servers
SET sync_note = $2
WHERE name = $1 AND sync_note <> $2`

// NoteABM keeps what was odd about a server's last sync, for people; "" takes it back.
func (db *DB) NoteABM(ctx context.Context, server, note string) error {
	_, err := db.pool.Exec(ctx, noteABM, server, clipped(note))
	return translate(err, "noting what was odd with ABM server "+server)
}
