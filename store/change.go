package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Channels of LISTEN and NOTIFY.
const (
	// FactsChannel wakes the relay.
	FactsChannel = "muster_facts"
	// PushChannel wakes the pusher.
	PushChannel = "muster_push"
)

// Change is a transaction on one device whose row is locked. Nothing of it is visible before it ends well.
type Change struct {
	// Device is as folded so far, with the facts recorded in this change.
	Device provision.Device

	db       *DB
	tx       pgx.Tx
	many     *Many // that this is a part of, if it is
	now      time.Time
	udid     string
	product  string // such as iPad13,1; "" = not known
	expected bool   // by a day, to be there; known of a part of many only
	// unexpected: nobody waits for it any more, by a fact of this change.
	unexpected bool
	facts      int
	deliver    bool
	priority   provision.Priority
	later      pgx.Batch // what is written with the device, in one go
	was        duties    // as they stood when the device was locked
	push       *time.Time
	pushed     bool // push was decided in this change
	tries      int  // how many pushes the wish counts already
	poll       *time.Time
	polled     bool
}

// duties are what the worker owes a device.
type duties struct {
	pushAt    *time.Time
	pushTries int
	pollAt    *time.Time
}

// Update locks a device, runs change and saves the device with the facts that change recorded. It fails with
// [provision.DeviceNotFound]; an error of change undoes everything.
func (db *DB) Update(ctx context.Context, serial string, change func(context.Context, *Change) error) (provision.Device, error) {
	return db.update(ctx, serial, false, change)
}

// UpdateOrCreate is [DB.Update] that makes the device known when it isn't.
func (db *DB) UpdateOrCreate(ctx context.Context, serial string, change func(context.Context, *Change) error) (provision.Device, error) {
	return db.update(ctx, serial, true, change)
}

func (db *DB) update(ctx context.Context, serial string, create bool, change func(context.Context, *Change) error) (provision.Device, error) {
	return db.transact(ctx, "changing device "+serial, func(c *Change) error {
		if err := c.lock(ctx, serial, create); err != nil {
			return err
		}
		return change(ctx, c)
	})
}

// lostRaces bounds how often a transaction is run again that lost against another one.
const lostRaces = 5

// transact runs a change, which locks the device, and saves it. A change that two devices contend for (they exchange
// their UDIDs) may deadlock; the loser runs again.
func (db *DB) transact(ctx context.Context, doing string, change func(*Change) error) (provision.Device, error) {
	for try := 1; ; try++ {
		c := &Change{db: db}
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
			c.tx = tx
			if err := change(c); err != nil {
				return err
			}
			return c.save(ctx)
		})
		if err == nil {
			return c.Device, nil
		}
		if try == lostRaces || !lostRace(err) {
			return provision.Device{}, translate(err, doing)
		}
	}
}

const lockDevice = `
SELECT state, coalesce(udid, ''), product_name, push_at, push_tries, poll_at
FROM devices
WHERE serial = $1
FOR UPDATE`

const createDevice = `
INSERT INTO devices (serial, state, status, awaiting, management, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)
ON CONFLICT (serial) DO NOTHING`

func (c *Change) lock(ctx context.Context, serial string, create bool) error {
	err := c.locked(c.tx.QueryRow(ctx, lockDevice, serial))
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if !create {
		return notKnown(serial)
	}
	c.now = c.db.now()
	d := provision.Device{Serial: serial}
	if _, err := c.tx.Exec(ctx, createDevice, serial, d, d.Status(), d.Awaiting(), d.Management(), c.now); err != nil {
		return fmt.Errorf("creating the device: %w", err)
	}
	return c.locked(c.tx.QueryRow(ctx, lockDevice, serial))
}

// locked reads the row just locked. The change is dated only now, so that the times of a device's facts rise with their
// ids however long others held the lock.
func (c *Change) locked(row pgx.Row) error {
	err := row.Scan(&c.Device, &c.udid, &c.product, &c.was.pushAt, &c.was.pushTries, &c.was.pollAt)
	c.now = c.db.now()
	return err
}

func notKnown(serial string) error {
	return provision.Errorf(provision.DeviceNotFound, "Device %s is not known here. Check the serial number, or register the device first.", serial)
}

const appendEvent = `
INSERT INTO device_events (serial, epoch, kind, payload, actor, source, priority, created_at, deliver)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id`

// Priority sets how urgently the facts recorded from here on are delivered; [provision.Interactive] is the default.
func (c *Change) Priority(p provision.Priority) { c.priority = p }

// Record appends a fact, folds it into the device and returns it with its id and time. Whether it is delivered to the
// workflow follows from its kind.
func (c *Change) Record(ctx context.Context, f provision.Fact) (provision.Fact, error) {
	return c.record(ctx, f, c.Device.Delivers(f))
}

// RecordDelivered is [Change.Record] for a fact that the workflow has from elsewhere: an operator's own signal.
func (c *Change) RecordDelivered(ctx context.Context, f provision.Fact) (provision.Fact, error) {
	return c.record(ctx, f, false)
}

func (c *Change) record(ctx context.Context, f provision.Fact, deliver bool) (provision.Fact, error) {
	f.At, f.ID = c.now, 0
	if f.Epoch == 0 && f.Kind.InEpoch() {
		f.Epoch = c.Device.Activation.Epoch
	}
	payload, err := json.Marshal(f)
	if err != nil {
		return f, fmt.Errorf("writing a fact: %w", err)
	}
	if c.many != nil {
		f.ID, err = c.many.append(ctx, c, f, payload, deliver)
	} else {
		err = c.tx.QueryRow(ctx, appendEvent, c.Device.Serial, f.Epoch, f.Kind, payload, f.Actor, f.Source, c.priority, c.now, deliver).Scan(&f.ID)
	}
	if err != nil {
		return f, fmt.Errorf("recording %s: %w", f.Kind, err)
	}
	was := c.Device
	c.Device = provision.Fold(c.Device, f)
	if is := reserved(c.Device); is != reserved(was) {
		c.unexpected = !is // who reserves it anew says by when
	}
	if was.Active() && !was.MayAct() && c.Device.MayAct() {
		c.pollAt(c.now) // what was held back goes on
	}
	if f.Kind == provision.Withdrawn {
		c.later.Queue(forgetSaid, c.Device.Serial)
	}
	c.facts++
	c.deliver = c.deliver || deliver
	return f, nil
}

// What people said of a device that was withdrawn is not said of one that comes under its serial number later.
const forgetSaid = `
UPDATE devices
SET expected_by = NULL,
    expected_alerted = false,
    device_profile = NULL,
    name = '',
    model = ''
WHERE serial = $1`

func reserved(d provision.Device) bool { return d.Assignment != nil || d.Planned != nil }

const saveDevice = `
UPDATE devices
SET state = @state,
    status = @status,
    awaiting = @awaiting,
    management = @management,
    blocked_by = @blocked_by,
    server = @server,
    group_names = @group_names,
    user_id = @user_id,
    technician_id = @technician_id,
    epoch = @epoch,
    push_at = CASE WHEN @pushed THEN @push_at ELSE push_at END,
    push_tries = CASE WHEN @pushed THEN @push_tries ELSE push_tries END,
    poll_at = CASE WHEN @polled THEN @poll_at ELSE poll_at END,
    version = version + 1,
    updated_at = @now
WHERE serial = @serial`

const saveDuties = `
UPDATE devices
SET push_at = CASE WHEN @pushed THEN @push_at ELSE push_at END,
    push_tries = CASE WHEN @pushed THEN @push_tries ELSE push_tries END,
    poll_at = CASE WHEN @polled THEN @poll_at ELSE poll_at END
WHERE serial = @serial`

func (c *Change) save(ctx context.Context) error {
	if c.unexpected {
		c.later.Queue(setExpected, c.Device.Serial, nil)
	}
	switch {
	case c.facts > 0:
		c.later.Queue(saveDevice, c.columns())
	case c.pushed || c.polled:
		c.queueDuties()
	}
	// A notification makes its commit wait for every other that has one, so only what is due at once is notified.
	if c.deliver {
		c.later.Queue(`SELECT pg_notify($1, '')`, FactsChannel)
	}
	if c.push != nil && !c.push.After(c.now) {
		c.later.Queue(`SELECT pg_notify($1, '')`, PushChannel)
	}
	return c.flush(ctx)
}

func (c *Change) queueDuties() {
	c.later.Queue(saveDuties, pgx.NamedArgs{
		"serial": c.Device.Serial, "pushed": c.pushed, "push_at": c.push, "push_tries": c.tries, "polled": c.polled, "poll_at": c.poll,
	})
}

// flush writes what was put off; what is part of many is written with all.
func (c *Change) flush(ctx context.Context) error {
	if c.later.Len() == 0 || c.many != nil {
		return nil
	}
	batch := c.later
	c.later = pgx.Batch{}
	if err := c.tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("saving device %s: %w", c.Device.Serial, err)
	}
	return nil
}

func (c *Change) columns() pgx.NamedArgs {
	d := c.Device
	a := provision.Assignment{}
	if d.Assignment != nil {
		a = *d.Assignment
	}
	return pgx.NamedArgs{
		"serial": d.Serial, "state": d, "status": d.Status(), "awaiting": notNil(d.Awaiting()), "management": d.Management(),
		"blocked_by": d.BlockedBy(), "server": d.ABM.Server, "group_names": notNil(a.Groups), "user_id": orNull(a.UserID),
		"technician_id": orNull(a.TechnicianID), "epoch": d.Activation.Epoch, "pushed": c.pushed, "push_at": c.push,
		"push_tries": c.tries, "polled": c.polled, "poll_at": c.poll, "now": c.now,
	}
}

// Now is the time of this change.
func (c *Change) Now() time.Time { return c.now }

// pushIn has the device pushed after a pause; a negative one takes the wish back. A wish that stands already and is near
// enough stays, so that a device that answers one command after the other doesn't cost a write for each.
func (c *Change) pushIn(pause time.Duration) {
	at := c.now.Add(pause)
	was := c.was
	c.tries = 0
	switch {
	case pause < 0:
		c.pushed, c.push = was.pushAt != nil || was.pushTries > 0, nil
	case pause > 0 && was.pushAt != nil && was.pushTries == 0 && !was.pushAt.After(at) && was.pushAt.After(c.now.Add(pause/2)):
		c.pushed, c.push = false, nil
	default:
		c.pushed, c.push = true, &at
	}
}

// pushBusy has a device that answered NotNow pushed later, and the later the more often it was pushed for nothing: the
// wish goes on, it doesn't begin anew.
func (c *Change) pushBusy() {
	tries := c.was.pushTries
	c.pushIn(max(c.db.timing.NotNow, c.db.timing.Repush(tries+1)))
	c.tries = tries
}

// pollAt has the device asked again at a time; zero takes the wish back.
func (c *Change) pollAt(at time.Time) {
	c.polled, c.poll = true, nil
	if !at.IsZero() {
		at = at.Truncate(time.Microsecond) // as PostgreSQL keeps it
		c.poll = &at
	}
	if was := c.was.pollAt; was == nil && c.poll == nil || was != nil && c.poll != nil && was.Equal(*c.poll) {
		c.polled, c.poll = false, nil
	}
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
