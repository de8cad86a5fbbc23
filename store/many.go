package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Many is a transaction on many devices whose rows are locked. It is for what one cause changes on a thousand devices: a
// page of a sync, a chunk of an import. Its cost is a handful of statements, however many devices there are.
type Many struct {
	db       *DB
	tx       pgx.Tx
	priority provision.Priority
	changes  map[string]*Change
	ids      []int64
	events   [][]any
	deliver  bool
	made     []string // the devices that this made known
}

// UpdateMany locks devices, in the order of their serial numbers, runs change and saves all, or nothing. Devices that are
// not known are made known when create is set and are left out otherwise. It may run change again, with nothing kept,
// when it lost a race against another transaction.
func (db *DB) UpdateMany(ctx context.Context, serials []string, create bool, change func(context.Context, *Many) error) error {
	return db.many(ctx, "changing devices", provision.Sync, func(ctx context.Context, m *Many) error {
		if err := m.lock(ctx, serials, create); err != nil {
			return err
		}
		return change(ctx, m)
	})
}

func (db *DB) many(ctx context.Context, doing string, priority provision.Priority, do func(context.Context, *Many) error) error {
	for try := 1; ; try++ {
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
			m := &Many{db: db, tx: tx, priority: priority, changes: map[string]*Change{}}
			if err := do(ctx, m); err != nil {
				return err
			}
			return m.save(ctx)
		})
		if err == nil || try == lostRaces || !lostRace(err) {
			return translate(err, doing)
		}
	}
}

// fewDevices is how many devices may be changed by one request and still go before what is done to thousands: somebody chose them,
// and looks what becomes of them.
const fewDevices = 100

// urgency is how urgently facts are delivered of which so many devices get one each by one request.
func urgency(devices int) provision.Priority {
	if devices <= fewDevices {
		return provision.Sync
	}
	return provision.Bulk
}

// Priority sets how urgently the facts of all devices are delivered.
func (m *Many) Priority(p provision.Priority) {
	m.priority = p
	for _, c := range m.changes {
		c.priority = p
	}
}

// Device is the change of one device; nil when it isn't locked or not known.
func (m *Many) Device(serial string) *Change { return m.changes[serial] }

// Serials lists the locked devices in order.
func (m *Many) Serials() []string { return slices.Sorted(maps.Keys(m.changes)) }

const createDevices = `
INSERT INTO devices (serial, state, status, awaiting, management, created_at, updated_at)
SELECT serial, jsonb_build_object('serial', serial), $2, $3, $4, $5, $5
FROM unnest($1::text[]) AS serial
ORDER BY serial
ON CONFLICT (serial) DO NOTHING
RETURNING serial`

const lockDevices = `
SELECT serial, state, coalesce(udid, ''), push_at, push_tries, poll_at, expected_by IS NOT NULL
FROM devices
WHERE serial = ANY ($1)
ORDER BY serial
FOR UPDATE`

func (m *Many) create(ctx context.Context, serials []string) error {
	d := provision.Device{}
	rows, err := m.tx.Query(ctx, createDevices, serials, d.Status(), d.Awaiting(), d.Management(), m.db.now())
	if err != nil {
		return fmt.Errorf("creating devices: %w", err)
	}
	made, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("creating devices: %w", err)
	}
	m.made = append(m.made, made...)
	return nil
}

func (m *Many) lock(ctx context.Context, serials []string, create bool) error {
	if create {
		if err := m.create(ctx, serials); err != nil {
			return err
		}
	}
	rows, err := m.tx.Query(ctx, lockDevices, serials)
	if err != nil {
		return fmt.Errorf("locking devices: %w", err)
	}
	var serial string
	var c Change
	_, err = pgx.ForEachRow(rows, []any{&serial, &c.Device, &c.udid, &c.was.pushAt, &c.was.pushTries, &c.was.pollAt, &c.expected}, func() error {
		c.db, c.tx, c.priority, c.many = m.db, m.tx, m.priority, m
		locked := c
		m.changes[serial] = &locked
		c = Change{}
		return nil
	})
	if err != nil {
		return fmt.Errorf("locking devices: %w", err)
	}
	now := m.db.now() // after the last lock, so that the times of facts rise with their ids
	for _, c := range m.changes {
		c.now = now
	}
	return nil
}

// idsAtOnce is how many ids of facts are drawn with one statement.
const idsAtOnce = 500

const drawIDs = `
SELECT nextval(pg_get_serial_sequence('device_events', 'id'))
FROM generate_series(1, $1)`

// id draws the id of a fact. It is drawn under the lock of the fact's device, so a device's ids rise in the order of its
// facts here, too.
func (m *Many) id(ctx context.Context) (int64, error) {
	if len(m.ids) == 0 {
		rows, err := m.tx.Query(ctx, drawIDs, idsAtOnce)
		if err != nil {
			return 0, err
		}
		if m.ids, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
			return 0, err
		}
	}
	id := m.ids[0]
	m.ids = m.ids[1:]
	return id, nil
}

// append has a fact written with all others.
func (m *Many) append(ctx context.Context, c *Change, f provision.Fact, payload []byte, deliver bool) (int64, error) {
	id, err := m.id(ctx)
	if err != nil {
		return 0, err
	}
	m.events = append(m.events, []any{
		id, c.Device.Serial, f.Epoch, string(f.Kind), payload, f.Actor, string(f.Source), int16(c.priority), c.now, deliver,
	})
	m.deliver = m.deliver || deliver
	return id, nil
}

var eventColumns = []string{"id", "serial", "epoch", "kind", "payload", "actor", "source", "priority", "created_at", "deliver"}

const saveDevices = `
UPDATE devices d
SET state = f.state,
    status = f.status,
    awaiting = f.awaiting,
    management = f.management,
    blocked_by = f.blocked_by,
    server = f.server,
    group_names = f.group_names,
    user_id = f.user_id,
    technician_id = f.technician_id,
    epoch = f.epoch,
    version = d.version + 1,
    updated_at = $2
FROM jsonb_to_recordset($1) AS f (serial text, state jsonb, status text, awaiting text[], management text, blocked_by text,
    server text, group_names text[], user_id text, technician_id text, epoch integer)
WHERE d.serial = f.serial`

// save writes what the changes recorded. It may be called in between, for statements that build on it.
func (m *Many) save(ctx context.Context) error {
	if len(m.events) > 0 {
		if _, err := m.tx.CopyFrom(ctx, pgx.Identifier{"device_events"}, eventColumns, pgx.CopyFromRows(m.events)); err != nil {
			return fmt.Errorf("recording facts: %w", err)
		}
	}
	batch := &pgx.Batch{}
	if err := m.queueDevices(batch); err != nil {
		return err
	}
	push := false
	for _, serial := range m.Serials() {
		c := m.changes[serial]
		push = push || c.push != nil && !c.push.After(c.now)
		if c.pushed || c.polled {
			c.queueDuties()
		}
		if c.unexpected && c.expected {
			c.later.Queue(setExpected, serial, nil)
		}
		batch.QueuedQueries = append(batch.QueuedQueries, c.later.QueuedQueries...)
	}
	if m.deliver {
		batch.Queue(`SELECT pg_notify($1, '')`, FactsChannel)
	}
	if push {
		batch.Queue(`SELECT pg_notify($1, '')`, PushChannel)
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := m.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("saving devices: %w", err)
	}
	m.saved()
	return nil
}

// saved forgets what was written, so that nothing is written again.
func (m *Many) saved() {
	m.events, m.deliver = nil, false
	for _, c := range m.changes {
		c.facts, c.later, c.pushed, c.polled, c.push = 0, pgx.Batch{}, false, false, nil
		c.unexpected = false
	}
}

func (m *Many) queueDevices(batch *pgx.Batch) error {
	var rows []pgx.NamedArgs
	for _, serial := range m.Serials() {
		if c := m.changes[serial]; c.facts > 0 {
			rows = append(rows, c.columns())
		}
	}
	if len(rows) == 0 {
		return nil
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("writing devices: %w", err)
	}
	batch.Queue(saveDevices, raw, m.db.now())
	return nil
}
