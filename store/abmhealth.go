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

const healthOf = `
SELECT health, health_detail, failing_since, linked_at
FROM abm_servers
WHERE name = $1`

const saveHealth = `
UPDATE abm_servers
SET health = $2,
    health_since = CASE WHEN health = $2 THEN health_since ELSE $4 END,
    health_detail = $3,
    health_told = health_told AND health = $2,
    failing_since = $5
WHERE name = $1`

// standing is a server's health as it is kept.
type standing struct {
	health, detail string
	failing        *time.Time
	// linked is when its token was stored.
	linked *time.Time
}

// ABMFailed notes that a server, as it was read before, could not be used and why, in Apple's words. Being out of reach counts only
// when it lasts. What a token met that was renewed meanwhile says nothing of the new one. It reports whether the server is blocked now.
func (db *DB) ABMFailed(ctx context.Context, server ABMServer, cause provision.BlockCause, detail string) (blocked bool, err error) {
	err = db.health(ctx, server.Name, func(was standing) standing {
		if was.linked != nil && (server.LinkedAt == nil || !was.linked.Equal(*server.LinkedAt)) {
			return was
		}
		now, is := db.now(), was
		if is.failing == nil {
			is.failing = &now
		}
		blocked = true
		switch {
		case was.health == Unlinked:
			return was
		case cause == provision.BlockedUnreachable && was.health != Healthy && was.health != string(cause):
			return is // what is known to be wrong stays so until Apple answers
		case cause == provision.BlockedUnreachable && was.health == Healthy && now.Sub(*is.failing) < patience:
			blocked = false
		default:
			is.health = string(cause)
		}
		is.detail = clipped(detail)
		return is
	})
	return blocked, err
}

// ABMWorked notes that Apple answered as it should. Devices that waited for the server go on.
func (db *DB) ABMWorked(ctx context.Context, server string) error {
	was, err := readStanding(ctx, db.pool, server, "")
	if err != nil || was.health == Unlinked || was.health == Healthy && was.failing == nil {
		return translate(ignoreNoRows(err), "reading the health of ABM server "+server)
	}
	return db.health(ctx, server, func(was standing) standing {
		if was.health == Unlinked {
			return was
		}
		return standing{health: Healthy}
	})
}

func ignoreNoRows(err error) error {
	if err == pgx.ErrNoRows { //nolint:errorlint // QueryRow returns it bare
		return nil
	}
	return err
}

func readStanding(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, server, lock string,
) (s standing, err error) {
	err = q.QueryRow(ctx, healthOf+lock, server).Scan(&s.health, &s.detail, &s.failing, &s.linked)
	return s, err
}

// health judges under the server's lock.
func (db *DB) health(ctx context.Context, server string, judge func(standing) standing) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		was, err := readStanding(ctx, tx, server, " FOR UPDATE")
		if err != nil {
			return ignoreNoRows(err)
		}
		is, now := judge(was), db.now()
		if _, err := tx.Exec(ctx, saveHealth, server, is.health, is.detail, now, is.failing); err != nil || is.health == was.health {
			return err
		}
		if is.health == Healthy {
			if err := resume(ctx, tx, server, now); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel)
		return err
	})
	return translate(err, "noting the health of ABM server "+server)
}

// resume has what waited for the server go on at once.
func resume(ctx context.Context, tx pgx.Tx, server string, now time.Time) error {
	if _, err := tx.Exec(ctx, duesOfServer, server, now, dutyLease); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, wantSyncOf, []string{server}, now)
	return err
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
    throttled_until = greatest(throttled_until, $2)
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
