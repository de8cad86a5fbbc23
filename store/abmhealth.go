package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// patience is how long Apple may be out of reach before a server counts as blocked: shorter outages are no news.
const patience = 10 * time.Minute

const lockHealth = `
SELECT health, failing_since
FROM abm_servers
WHERE name = $1
FOR UPDATE`

const saveHealth = `
UPDATE abm_servers
SET health = $2,
    health_since = CASE WHEN health = $2 THEN health_since ELSE $4 END,
    health_detail = $3,
    health_told = health_told AND health = $2,
    failing_since = $5
WHERE name = $1`

// ABMFailed notes that a server could not be used and why, in Apple's words. Being out of reach counts only when it lasts.
// It reports whether the server is blocked now.
func (db *DB) ABMFailed(ctx context.Context, server string, cause provision.BlockCause, detail string) (blocked bool, err error) {
	err = db.health(ctx, server, func(health string, failing *time.Time) (string, string, *time.Time) {
		now := db.now()
		if failing == nil {
			failing = &now
		}
		blocked = true
		switch {
		case health == Unlinked:
			return health, "", nil
		case cause == provision.BlockedUnreachable && health == Healthy && now.Sub(*failing) < patience:
			blocked = false
			return health, detail, failing
		case cause == provision.BlockedUnreachable && health != Healthy:
			return health, detail, failing // what is known to be wrong stays so until Apple answers
		}
		return string(cause), detail, failing
	})
	return blocked, err
}

// ABMWorked notes that Apple answered as it should. Devices that waited for the server go on.
func (db *DB) ABMWorked(ctx context.Context, server string) error {
	var health string
	var failing *time.Time
	err := db.pool.QueryRow(ctx, `SELECT health, failing_since FROM abm_servers WHERE name = $1`, server).Scan(&health, &failing)
	if err != nil || health == Unlinked || health == Healthy && failing == nil {
		return translate(ignoreNoRows(err), "reading the health of ABM server "+server)
	}
	return db.health(ctx, server, func(health string, _ *time.Time) (string, string, *time.Time) {
		if health == Unlinked {
			return health, "", nil
		}
		return Healthy, "", nil
	})
}

func ignoreNoRows(err error) error {
	if err == pgx.ErrNoRows { //nolint:errorlint // QueryRow returns it bare
		return nil
	}
	return err
}

// health judges under the server's lock.
func (db *DB) health(ctx context.Context, server string, judge func(health string, failing *time.Time) (string, string, *time.Time)) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var health string
		var failing *time.Time
		if err := tx.QueryRow(ctx, lockHealth, server).Scan(&health, &failing); err != nil {
			return ignoreNoRows(err)
		}
		is, detail, failing := judge(health, failing)
		now := db.now()
		if _, err := tx.Exec(ctx, saveHealth, server, is, clipped(detail), now, failing); err != nil || is == health {
			return err
		}
		if is == Healthy {
			if _, err := tx.Exec(ctx, duesOfServer, server, now); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, wantSyncOf, []string{server}, now); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel)
		return err
	})
	return translate(err, "noting the health of ABM server "+server)
}

func clipped(detail string) string {
	const most = 500
	if r := []rune(detail); len(r) > most {
		return string(r[:most])
	}
	return detail
}

const noteThrottled = `
UPDATE abm_servers
SET throttled = throttled + 1,
    throttled_until = $2
WHERE name = $1`

// ABMThrottled notes that Apple asked for a pause, which everything that asks for the server keeps.
func (db *DB) ABMThrottled(ctx context.Context, server string, pause time.Duration) error {
	_, err := db.pool.Exec(ctx, noteThrottled, server, db.now().Add(pause))
	return translate(err, "noting a throttle of ABM server "+server)
}

const untold = `
SELECT name, health
FROM abm_servers
WHERE NOT health_told
ORDER BY name`

const toldHealth = `
UPDATE abm_servers
SET health_told = true
WHERE name = $1 AND health = $2`

// TellABMHealth tells the devices that wait for servers whose health changed. It goes on where it ended when it is called
// again, and returns how many devices were told.
func (db *DB) TellABMHealth(ctx context.Context) (told int, err error) {
	rows, err := db.pool.Query(ctx, untold)
	if err != nil {
		return 0, translate(err, "reading servers whose health changed")
	}
	type server struct{ Name, Health string }
	servers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[server])
	if err != nil {
		return 0, translate(err, "reading servers whose health changed")
	}
	for _, s := range servers {
		n, err := db.tellDevices(ctx, s.Name, ABMServer{Health: s.Health}.Blocked())
		told += n
		if err != nil {
			return told, err
		}
		if _, err := db.pool.Exec(ctx, toldHealth, s.Name, s.Health); err != nil {
			return told, translate(err, "noting that devices were told")
		}
	}
	return told, nil
}

const toTell = `
SELECT serial
FROM devices
WHERE server = $1 AND serial > $2 AND coalesce(state -> 'abm_block' ->> 'cause', '') <> $3 AND NOT state ? 'released'
ORDER BY serial
LIMIT $4`

func (db *DB) tellDevices(ctx context.Context, server string, cause provision.BlockCause) (told int, err error) {
	for after := ""; ; {
		rows, err := db.pool.Query(ctx, toTell, server, after, cause, affectedAtOnce)
		if err != nil {
			return told, translate(err, "reading devices that wait for ABM server "+server)
		}
		serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(serials) == 0 {
			return told, translate(err, "reading devices that wait for ABM server "+server)
		}
		after = serials[len(serials)-1]
		n, err := db.tellSome(ctx, server, serials, cause)
		told += n
		if err != nil {
			return told, err
		}
	}
}

func (db *DB) tellSome(ctx context.Context, server string, serials []string, cause provision.BlockCause) (told int, err error) {
	err = db.many(ctx, "telling devices of ABM server "+server, provision.Bulk, func(ctx context.Context, m *Many) error {
		told = 0
		if err := m.lock(ctx, serials, false); err != nil {
			return err
		}
		for _, serial := range m.Serials() {
			c := m.Device(serial)
			if c.Device.ABMBlock.Cause == cause || cause != "" && !c.Device.WaitsForABM() {
				continue
			}
			if _, err := c.Record(ctx, blockedFact(server, cause)); err != nil {
				return fmt.Errorf("telling device %s: %w", serial, err)
			}
			told++
		}
		return nil
	})
	return told, err
}

func blockedFact(server string, cause provision.BlockCause) provision.Fact {
	return provision.Fact{Kind: provision.ABMBlocked, Source: provision.FromABM, ABM: &provision.ABMFact{Server: server, Cause: cause}}
}
