package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

const (
	// concludeAtOnce is how many devices are marked in a transaction that a full fetch did not list.
	concludeAtOnce = 1000
	// A full fetch that misses more than half of at least this many devices isn't believed before a second one says the same:
	// an empty answer must not take a fleet apart.
	believable = 50
)

const unlisted = `
SELECT serial
FROM abm_devices
WHERE server = $1 AND listed AND generation < $2
ORDER BY serial
LIMIT $3`

const countUnlisted = `
SELECT count(*) FILTER (WHERE generation < $2), count(*)
FROM abm_devices
WHERE server = $1 AND listed`

const markMissing = `
UPDATE abm_devices a
SET listed = false,
    gone_at = $3,
    profile_uuid = '',
    profile_status = '',
    settled = false
FROM unnest($2::text[]) AS gone (serial)
WHERE a.server = $1 AND a.serial = gone.serial`

const voidDutiesOf = `
DELETE FROM abm_duties t
USING unnest($2::text[]) AS gone (serial)
WHERE t.server = $1 AND t.serial = gone.serial`

const fetchDone = `
UPDATE abm_servers
SET phase = 'sync',
    full_done_at = $2,
    full_doubted = false,
    sync_note = ''
WHERE name = $1`

const fetchDoubted = `
UPDATE abm_servers
SET phase = 'sync',
    full_done_at = $3::timestamptz - full_every + least(full_every, interval '1 hour'),
    full_doubted = true,
    sync_note = $2
WHERE name = $1`

// ConcludeABMFetch goes on with the end of a full fetch: up to a thousand devices that it did not list are missing from
// now on. It returns the next task; the phase is [PhaseConclude] until all are marked.
func (db *DB) ConcludeABMFetch(ctx context.Context, task ABMTask) (next ABMTask, missing int, err error) {
	err = db.many(ctx, "concluding a full fetch of ABM server "+task.Server, provision.Sync, func(ctx context.Context, m *Many) error {
		missing = 0
		var doubted bool
		var now ABMTask
		if err := m.tx.QueryRow(ctx, lockTask, task.Server).Scan(&now.Server, &now.Phase, &now.Cursor, &now.Generation, &now.Paused); err != nil {
			return err
		}
		next = now
		if now.Phase != PhaseConclude || now.Generation != task.Generation {
			return nil
		}
		if err := m.tx.QueryRow(ctx, `SELECT full_doubted FROM abm_servers WHERE name = $1`, task.Server).Scan(&doubted); err != nil {
			return err
		}
		if !doubted {
			done, err := m.doubt(ctx, now)
			if err != nil || done {
				next.Phase = PhaseSync
				return err
			}
		}
		missing, err = m.conclude(ctx, now)
		if err == nil && missing < concludeAtOnce {
			next.Phase = PhaseSync
			_, err = m.tx.Exec(ctx, fetchDone, task.Server, db.now())
		}
		return err
	})
	return next, missing, err
}

// doubt keeps a fetch that lists far fewer devices than there were from being believed at once.
func (m *Many) doubt(ctx context.Context, task ABMTask) (doubted bool, err error) {
	var gone, all int
	if err := m.tx.QueryRow(ctx, countUnlisted, task.Server, task.Generation).Scan(&gone, &all); err != nil {
		return false, err
	}
	if gone < believable || 2*gone <= all {
		return false, nil
	}
	note := fmt.Sprintf("The last full fetch listed only %d of %d devices, which is hard to believe; nothing was concluded from it. If the next one, within the hour, says the same, the others count as missing.", all-gone, all)
	_, err = m.tx.Exec(ctx, fetchDoubted, task.Server, note, m.db.now())
	return true, err
}

func (m *Many) conclude(ctx context.Context, task ABMTask) (int, error) {
	rows, err := m.tx.Query(ctx, unlisted, task.Server, task.Generation, concludeAtOnce)
	if err != nil {
		return 0, err
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(serials) == 0 {
		return 0, err
	}
	if err := m.lock(ctx, serials, false); err != nil {
		return 0, err
	}
	if _, err := m.tx.Exec(ctx, markMissing, task.Server, serials, m.db.now()); err != nil {
		return 0, err
	}
	if _, err := m.tx.Exec(ctx, voidDutiesOf, task.Server, serials); err != nil {
		return 0, err
	}
	return len(serials), m.goneFrom(ctx, task.Server, provision.ABMMissing)
}

// goneFrom records of all locked devices that the server no longer lists them.
func (m *Many) goneFrom(ctx context.Context, server string, as provision.ABMState) error {
	others, err := m.othersListing(ctx, server)
	if err != nil {
		return err
	}
	for _, serial := range m.Serials() {
		if err := m.Device(serial).abmGone(ctx, server, others[serial], as); err != nil {
			return err
		}
	}
	return nil
}

const listingElsewhere = `
SELECT a.serial, a.server
FROM unnest($1::text[]) AS gone (serial)
    JOIN abm_devices a ON a.serial = gone.serial
WHERE a.server <> $2 AND a.listed
ORDER BY a.server`

func (m *Many) othersListing(ctx context.Context, server string) (map[string][]string, error) {
	rows, err := m.tx.Query(ctx, listingElsewhere, m.Serials(), server)
	if err != nil {
		return nil, err
	}
	others := map[string][]string{}
	var serial, other string
	_, err = pgx.ForEachRow(rows, []any{&serial, &other}, func() error {
		others[serial] = append(others[serial], other)
		return nil
	})
	return others, err
}

const unsettled = `
SELECT serial
FROM abm_devices
WHERE server = $1 AND NOT settled AND gone_at <= $2
ORDER BY gone_at, serial
OFFSET $3
LIMIT $4`

// UnsettledABM lists devices that a server no longer lists and of which nobody knows yet whether they were unassigned or
// released: those gone since before, the longest first, without the first ones that are to be skipped.
func (db *DB) UnsettledABM(ctx context.Context, server string, before time.Time, skip, limit int) ([]string, error) {
	rows, err := db.pool.Query(ctx, unsettled, server, before, skip, limit)
	if err != nil {
		return nil, translate(err, "reading what is unsettled")
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return serials, translate(err, "reading what is unsettled")
}

const settleABM = `
UPDATE abm_devices a
SET settled = true
FROM unnest($2::text[]) AS gone (serial)
WHERE a.server = $1 AND a.serial = gone.serial AND NOT a.listed`

// SettleABM records what the absence of devices means: [provision.ABMUnassigned] or [provision.ABMReleased]. Devices that
// are listed again meanwhile are left alone.
func (db *DB) SettleABM(ctx context.Context, server string, meanings map[string]provision.ABMState) error {
	serials := make([]string, 0, len(meanings))
	for serial := range meanings {
		serials = append(serials, serial)
	}
	return db.many(ctx, "settling devices of ABM server "+server, provision.Sync, func(ctx context.Context, m *Many) error {
		if err := m.lock(ctx, serials, false); err != nil {
			return err
		}
		relisted, err := m.listed(ctx, server)
		if err != nil {
			return err
		}
		for _, serial := range m.Serials() {
			if relisted[serial] {
				continue
			}
			if err := m.Device(serial).settleGone(ctx, server, meanings[serial]); err != nil {
				return err
			}
		}
		_, err = m.tx.Exec(ctx, settleABM, server, serials)
		return err
	})
}

// settleGone says what the absence means of a device that is known to be gone.
func (c *Change) settleGone(ctx context.Context, server string, as provision.ABMState) error {
	is := c.Device.ABM
	if is.Server != server || is.State != provision.ABMMissing && is.State != provision.ABMUnassigned || is.State == as {
		return nil
	}
	return c.abmGone(ctx, server, nil, as)
}

const listedBy = `
SELECT a.serial
FROM unnest($1::text[]) AS page (serial)
    JOIN abm_devices a ON a.serial = page.serial
WHERE a.server = $2 AND a.listed`

func (m *Many) listed(ctx context.Context, server string) (map[string]bool, error) {
	rows, err := m.tx.Query(ctx, listedBy, m.Serials(), server)
	if err != nil {
		return nil, err
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	there := map[string]bool{}
	for _, s := range serials {
		there[s] = true
	}
	return there, err
}

// ForgetABMDevices takes a server's devices as unassigned, a thousand at a time, for an administrator who knows that the
// server is gone at Apple. It returns how many are left.
func (db *DB) ForgetABMDevices(ctx context.Context, server string) (left int, err error) {
	err = db.many(ctx, "forgetting devices of ABM server "+server, provision.Bulk, func(ctx context.Context, m *Many) error {
		var now ABMTask
		if err := m.tx.QueryRow(ctx, lockTask, server).Scan(&now.Server, &now.Phase, &now.Cursor, &now.Generation, &now.Paused); err != nil {
			if err == pgx.ErrNoRows { //nolint:errorlint // QueryRow returns it bare
				return noABMServer(server)
			}
			return err
		}
		now.Generation++ // all that are listed
		if _, err := m.conclude(ctx, now); err != nil {
			return err
		}
		for _, serial := range m.Serials() {
			if err := m.Device(serial).settleGone(ctx, server, provision.ABMUnassigned); err != nil {
				return err
			}
		}
		if _, err := m.tx.Exec(ctx, settleABM, server, m.Serials()); err != nil {
			return err
		}
		return m.tx.QueryRow(ctx, devicesOfServer, server).Scan(&left)
	})
	return left, err
}
