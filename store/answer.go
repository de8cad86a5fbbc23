package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Information is what a device says of itself in DeviceInformation; empty fields were not said.
type Information struct {
	Name, Model, ProductName, OSVersion, BuildVersion string
}

// Outcome tells what an answer led to.
type Outcome struct {
	Device provision.Device
	// Ignored: the answer came twice, or belongs to an enrollment that is over.
	Ignored bool
	// Queued counts the commands that follow at once.
	Queued int
}

const answerCommand = `
UPDATE device_commands
SET status = $2, detail = $3, answered_at = $4
WHERE command_uuid = $1`

// What an answer needs is read in one go, after the device was locked: each statement sees what others committed until
// then.
const lockDeviceOfCommand = `
SELECT state, coalesce(udid, ''), product_name, push_at, push_tries, poll_at
FROM devices
WHERE serial = (SELECT serial FROM device_commands WHERE command_uuid = $1)
FOR UPDATE`

const planItemsOfCommand = `
SELECT kind, name, stage, version, identifier, depends_on, group_names, position, state, attempt, polls, detail, updated_at, retries, final
FROM plan_items
WHERE (serial, epoch) = (SELECT serial, epoch FROM device_commands WHERE command_uuid = $1)
ORDER BY position`

// A query is asked again only when the last was answered, so none but the newest can be outstanding.
const otherQueriesThan = `
SELECT q.request_type, newest.status IN ('', 'NotNow') AND (newest.command_uuid <> $1 OR $2), newest.attempt
FROM device_commands answered
    CROSS JOIN (VALUES ('ProfileList', 'management_profile'), ('ManagedApplicationList', 'ManagedApplicationList'),
        ('ManagedMediaList', 'ManagedMediaList')) AS q (request_type, name)
    CROSS JOIN LATERAL (
        SELECT c.command_uuid, c.attempt, c.status
        FROM device_commands c
        WHERE c.serial = answered.serial AND c.epoch = answered.epoch AND c.request_type = q.request_type
            AND c.kind = 'builtin' AND c.name = q.name AND c.version = 0
        ORDER BY c.attempt DESC
        LIMIT 1
    ) AS newest
WHERE answered.command_uuid = $1`

const othersLeft = `
SELECT count(*)
FROM device_commands
WHERE (serial, epoch) = (SELECT serial, epoch FROM device_commands WHERE command_uuid = $1)
    AND status IN ('', 'NotNow') AND command_uuid <> $1`

// Answer takes a device's answer to a command into its plan: it updates the items, queues what follows, and records a
// Settled fact when the verdict may change what is done next. A final answer takes the command out of NanoMDM's tables. An answer
// that comes twice, or late from an earlier epoch, changes nothing. It fails with [provision.UnknownCommand]. info may be
// nil.
func (db *DB) Answer(ctx context.Context, commandUUID string, answer provision.Answer, info *Information) (Outcome, error) {
	var out Outcome
	var err error
	out.Device, err = db.transact(ctx, "taking an answer", func(c *Change) error {
		var err error
		out.Ignored, out.Queued, err = c.answer(ctx, commandUUID, answer, info)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, nil
}

// A command that was answered for good is of no use to NanoMDM, whose queue becomes the slower the more of them it holds.
// Queue and results go with it.
const closeCommand = `
DELETE FROM nanomdm.commands
WHERE command_uuid = $1`

// answered is what is known when an answer comes.
type answered struct {
	sent SentCommand
	plan plan
	// left counts the device's other commands that are outstanding.
	left int
}

func (c *Change) answer(ctx context.Context, commandUUID string, answer provision.Answer, info *Information) (ignored bool, queued int, err error) {
	a, err := c.lockForAnswer(ctx, commandUUID, answer)
	if err != nil {
		return false, 0, err
	}
	if a.sent.Answered() {
		return true, 0, nil
	}
	c.later.Queue(answerCommand, commandUUID, answer.Status, answer.Detail, c.now)
	if answer.Status.Final() {
		c.later.Queue(closeCommand, commandUUID)
	}
	if a.sent.Epoch != c.Device.Activation.Epoch || !c.Device.Active() || c.Device.Over() {
		return true, 0, nil
	}
	if info != nil {
		c.queueInformation(*info)
	}
	answer.Command = a.sent.Command
	c.renewalAnswered(answer.Command, answer.Status)
	provision.Take(a.plan.items, answer, c.now)
	if err := c.setupAnswered(ctx, answer); err != nil {
		return false, 0, err
	}
	if err := c.deprovisionAnswered(ctx, answer); err != nil || !c.Device.Active() {
		return false, 0, err
	}
	if queued, err = c.advance(ctx, &a.plan); err != nil {
		return false, 0, err
	}
	if !answer.Status.Final() {
		a.left++
	}
	c.pushAfterAnswer(answer, a.left+queued)
	return false, queued, nil
}

func (c *Change) lockForAnswer(ctx context.Context, commandUUID string, answer provision.Answer) (*answered, error) {
	a := &answered{}
	batch := &pgx.Batch{}
	batch.Queue(lockDeviceOfCommand, commandUUID).QueryRow(c.locked)
	batch.Queue(sentCommand, commandUUID).QueryRow(func(row pgx.Row) error { return row.Scan(a.sent.columns()...) })
	batch.Queue(othersLeft, commandUUID).QueryRow(func(row pgx.Row) error { return row.Scan(&a.left) })
	batch.Queue(planItemsOfCommand, commandUUID).Query(a.plan.collect)
	batch.Queue(otherQueriesThan, commandUUID, !answer.Status.Final()).Query(a.plan.collectQueries)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, a.sent.found(err, commandUUID)
	}
	return a, nil
}

// pushAfterAnswer leaves a connected device the time to fetch the rest, and wakes one that said NotNow later. Only a final
// answer is worth as many pushes as before.
func (c *Change) pushAfterAnswer(answer provision.Answer, left int) {
	switch {
	case left == 0:
		c.pushIn(-1)
	case answer.Status == provision.AnswerNotNow:
		c.pushBusy()
	default:
		c.pushIn(c.db.timing.Connected)
	}
}

const saveInformation = `
UPDATE devices
SET name = coalesce(nullif(@name, ''), name),
    model = coalesce(nullif(@model, ''), model),
    product_name = coalesce(nullif(@product_name, ''), product_name),
    os_version = coalesce(nullif(@os_version, ''), os_version),
    build_version = coalesce(nullif(@build_version, ''), build_version)
WHERE serial = @serial`

// queueInformation has written with the device what it says of itself.
func (c *Change) queueInformation(i Information) {
	c.later.Queue(saveInformation, pgx.NamedArgs{
		"serial": c.Device.Serial, "name": i.Name, "model": i.Model, "product_name": i.ProductName,
		"os_version": i.OSVersion, "build_version": i.BuildVersion,
	})
}
