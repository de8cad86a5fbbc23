package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// ABMTask is what the next page of a server's list is asked for with.
type ABMTask struct {
	Server     string
	Phase      ABMPhase
	Cursor     string // "" = from the beginning
	Generation int64
	// Paused: nothing is to be asked.
	Paused bool
}

const abmTask = `
SELECT name, phase, cursor, generation, paused
FROM abm_servers
WHERE name = $1`

const beginFetch = `
UPDATE abm_servers
SET phase = 'fetch',
    cursor = '',
    generation = generation + 1,
    full_started_at = $2,
    full_listed = 0
WHERE name = $1 AND phase = 'sync' AND (full_done_at IS NULL OR full_done_at + full_every <= $2)`

// NextABMTask returns what to ask Apple for next, and begins a full fetch when one is due. It fails with
// [provision.NotFound].
func (db *DB) NextABMTask(ctx context.Context, server string) (ABMTask, error) {
	var t ABMTask
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, beginFetch, server, db.now()); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, abmTask, server).Scan(&t.Server, &t.Phase, &t.Cursor, &t.Generation, &t.Paused)
		if err == pgx.ErrNoRows { //nolint:errorlint // QueryRow returns it bare
			return noABMServer(server)
		}
		return err
	})
	return t, translate(err, "reading what to ask ABM server "+server+" for")
}

const restartFetch = `
UPDATE abm_servers
SET phase = 'fetch',
    cursor = '',
    generation = generation + 1,
    full_started_at = $3,
    full_listed = 0,
    sync_note = $4
WHERE name = $1 AND generation = $2`

// RestartABMFetch has all devices listed anew because Apple no longer takes the cursor of a task. Repeating it, or a task
// that is out of date, changes nothing.
func (db *DB) RestartABMFetch(ctx context.Context, t ABMTask, why string) error {
	_, err := db.pool.Exec(ctx, restartFetch, t.Server, t.Generation, db.now(), why)
	return translate(err, "beginning a full fetch of ABM server "+t.Server)
}

// ABMRecord is a device as a server lists it. Zero times are absent.
type ABMRecord struct {
	Serial, Model, Description, Color, AssetTag, Family, OS string
	AssignedBy, ProfileUUID, ProfileStatus                  string
	AssignedAt, ProfileAssignedAt, ProfilePushedAt          time.Time
	// OpType and OpDate are of a sync's record: added, modified, deleted.
	OpType string
	OpDate time.Time
}

const opDeleted = "deleted"

// ABMPage is a page as Apple answered it to a task.
type ABMPage struct {
	Task    ABMTask
	Next    string // cursor
	More    bool
	Records []ABMRecord
}

// ABMTaken says what a page led to.
type ABMTaken struct {
	// Outdated: another page was taken meanwhile, and nothing of this one was.
	Outdated bool
	// New, Gone and Stale count devices: listed for the first time or again, no longer listed, and older than what is known.
	New, Gone, Stale int
	// Odd are serial numbers of a form that no device has; they are passed over.
	Odd []string
	// Next is what to ask for next.
	Next ABMTask
}

const lockTask = abmTask + `
FOR NO KEY UPDATE`

const saveCursor = `
UPDATE abm_servers
SET phase = $2,
    cursor = $3,
    full_listed = CASE WHEN phase = 'fetch' THEN full_listed + $4 ELSE full_listed END,
    full_started_at = CASE WHEN phase = 'fetch' THEN coalesce(full_started_at, $5) ELSE full_started_at END,
    synced_at = CASE WHEN $2 = 'sync' THEN $5 ELSE synced_at END
WHERE name = $1`

// TakeABMPage writes a page: what was said of its devices, the facts that follow, and the cursor, in one transaction. A
// page that was taken already changes nothing, so whoever died after asking Apple may ask again.
func (db *DB) TakeABMPage(ctx context.Context, p ABMPage) (ABMTaken, error) {
	var out ABMTaken
	err := db.many(ctx, "taking a page of ABM server "+p.Task.Server, provision.Sync, func(ctx context.Context, m *Many) error {
		out = ABMTaken{}
		t := &taking{Many: m, page: p, server: p.Task.Server, taken: &out}
		return t.run(ctx)
	})
	return out, err
}

// taking is a page on its way into the store.
type taking struct {
	*Many
	page    ABMPage
	server  string
	taken   *ABMTaken
	records []ABMRecord
	known   map[string]knownDevice
	others  map[string][]string
	// What is to be written: devices that are listed, that are gone, and whose model is told.
	listed, gone, models []ABMRecord
}

// knownDevice is what a server said of a device so far.
type knownDevice struct {
	listed bool
	opDate time.Time
}

func (t *taking) run(ctx context.Context) error {
	var now ABMTask
	if err := t.tx.QueryRow(ctx, lockTask, t.server).Scan(&now.Server, &now.Phase, &now.Cursor, &now.Generation, &now.Paused); err != nil {
		if err == pgx.ErrNoRows { //nolint:errorlint // QueryRow returns it bare
			return noABMServer(t.server)
		}
		return err
	}
	asked := t.page.Task
	if now.Phase != asked.Phase || now.Cursor != asked.Cursor || now.Generation != asked.Generation {
		t.taken.Outdated, t.taken.Next = true, now
		return nil
	}
	t.records, t.taken.Odd = newestRecords(t.page.Records)
	if err := t.lockAll(ctx); err != nil {
		return err
	}
	if err := t.readKnown(ctx); err != nil {
		return err
	}
	for _, r := range t.records {
		if err := t.take(ctx, r); err != nil {
			return err
		}
	}
	t.taken.Next = t.following(now)
	if err := t.save(ctx); err != nil {
		return err
	}
	if err := t.write(ctx); err != nil {
		return err
	}
	return t.finish(ctx)
}

// following is what to ask for after the page.
func (t *taking) following(now ABMTask) ABMTask {
	now.Cursor = t.page.Next
	if now.Phase == PhaseFetch && !t.page.More {
		now.Phase = PhaseConclude
	}
	return now
}

func (t *taking) finish(ctx context.Context) error {
	next, now := t.taken.Next, t.db.now()
	phase := next.Phase
	if _, err := t.tx.Exec(ctx, saveCursor, t.server, phase, next.Cursor, len(t.records), now); err != nil {
		return fmt.Errorf("keeping the cursor: %w", err)
	}
	if len(t.records) == 0 {
		return nil
	}
	owed, err := sweepProfiles(ctx, t.tx, t.server, t.Serials(), now)
	if err == nil && owed > 0 {
		_, err = t.tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel)
	}
	return err
}

// newestRecords leaves out all but the newest word on each device, and serial numbers that can't be any.
func newestRecords(records []ABMRecord) (newest []ABMRecord, odd []string) {
	at := map[string]int{}
	for _, r := range records {
		serial, err := provision.ParseSerial(r.Serial)
		if err != nil {
			odd = append(odd, r.Serial)
			continue
		}
		r.Serial = serial
		i, twice := at[serial]
		switch {
		case !twice:
			at[serial] = len(newest)
			newest = append(newest, r)
		case !r.OpDate.Before(newest[i].OpDate):
			newest[i] = r
		}
	}
	slices.SortFunc(newest, func(a, b ABMRecord) int { return strings.Compare(a.Serial, b.Serial) })
	return newest, odd
}

// lockAll locks the page's devices, before it is read what other servers say of them, and makes those known that are listed.
func (t *taking) lockAll(ctx context.Context) error {
	var listed, deleted []string
	for _, r := range t.records {
		if r.OpType == opDeleted {
			deleted = append(deleted, r.Serial)
		} else {
			listed = append(listed, r.Serial)
		}
	}
	if err := t.create(ctx, listed); err != nil {
		return err
	}
	return t.lock(ctx, append(listed, deleted...), false)
}

// A join with the serials, because of ANY with so many the planner makes a look at every device of the server for each.
const knownDevices = `
SELECT a.serial, a.server, a.listed, coalesce(a.op_date, 'epoch')
FROM unnest($1::text[]) AS page (serial)
    JOIN abm_devices a ON a.serial = page.serial
WHERE a.server = $2 OR a.listed`

func (t *taking) readKnown(ctx context.Context) error {
	t.known, t.others = map[string]knownDevice{}, map[string][]string{}
	rows, err := t.tx.Query(ctx, knownDevices, t.Serials(), t.server)
	if err != nil {
		return fmt.Errorf("reading what is known: %w", err)
	}
	var serial, server string
	var k knownDevice
	_, err = pgx.ForEachRow(rows, []any{&serial, &server, &k.listed, &k.opDate}, func() error {
		if server == t.server {
			t.known[serial] = k
		} else {
			t.others[serial] = append(t.others[serial], server)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what is known: %w", err)
	}
	return nil
}

// take judges one record by what is known of the device, not by its op_type alone: a device that comes back may be called
// modified.
func (t *taking) take(ctx context.Context, r ABMRecord) error {
	known, there := t.known[r.Serial]
	// What a full fetch lists is so now; only a sync tells of the past.
	if there && t.page.Task.Phase == PhaseSync && !r.OpDate.IsZero() && r.OpDate.Before(known.opDate) {
		t.taken.Stale++
		return nil
	}
	c := t.Device(r.Serial)
	if r.OpType == opDeleted {
		if !there || c == nil {
			return nil // it came and went between two syncs
		}
		if known.listed {
			t.taken.Gone++
		}
		t.gone = append(t.gone, r)
		return c.abmGone(ctx, t.server, t.others[r.Serial], provision.ABMUnassigned)
	}
	if !known.listed {
		t.taken.New++
	}
	t.listed = append(t.listed, r)
	if c.Device.Unknown() && r.Model != "" {
		t.models = append(t.models, r) // until the device says it itself
	}
	return c.abmListed(ctx, t.server, t.others[r.Serial])
}

func orNever(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

const wantSyncOf = `
UPDATE abm_servers
SET sync_wanted_at = $2
WHERE name = ANY ($1) AND sync_wanted_at IS NULL`

// abmListed records that a server lists the device, if that is news. While another one lists it, too, the device is held;
// the other is synced soon, because a device that was moved is listed by both for some minutes.
func (c *Change) abmListed(ctx context.Context, server string, others []string) error {
	said := provision.ABMFact{Server: server, State: provision.ABMPresent}
	if len(others) > 0 {
		said.State, said.Other = provision.ABMConflict, others[0]
	}
	is := c.Device.ABM
	same := is.Server == said.Server && is.Other == said.Other && is.State == said.State
	if same || said.State == provision.ABMConflict && is.State == provision.ABMConflict && is.Server == said.Other && is.Other == said.Server || c.Device.Over() {
		return nil
	}
	if said.State == provision.ABMConflict {
		c.later.Queue(wantSyncOf, others, c.now)
		c.later.Queue(`SELECT pg_notify($1, '')`, ABMChannel)
	}
	_, err := c.Record(ctx, provision.Fact{Kind: provision.ABMSeen, ABM: &said, Source: provision.FromABM})
	return err
}

// abmGone records that a server no longer lists the device. If another one does, the device is that one's now (R64).
func (c *Change) abmGone(ctx context.Context, server string, others []string, as provision.ABMState) error {
	is := c.Device.ABM
	switch {
	case c.Device.Over() || is.Server != server && is.Other != server:
		return nil
	case len(others) == 1:
		return c.abmListed(ctx, others[0], nil)
	case len(others) > 1:
		return c.abmListed(ctx, others[0], others[1:])
	case is.State == as && is.Server == server:
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{
		Kind: provision.ABMGone, ABM: &provision.ABMFact{Server: server, State: as}, Source: provision.FromABM,
	})
	return err
}
