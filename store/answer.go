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

const commandsLeft = `
SELECT count(*)
FROM device_commands
WHERE serial = $1 AND epoch = $2 AND status IN ('', 'NotNow')`

// Answer takes a device's answer to a command into its plan: it updates the items, queues what follows, and records a
// Settled fact when the verdict may change what is done next. An answer that comes twice, or late from an earlier epoch,
// changes nothing. info may be nil.
func (db *DB) Answer(ctx context.Context, commandUUID string, answer provision.Answer, info *Information) (Outcome, error) {
	sent, err := db.SentCommand(ctx, commandUUID)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	out.Device, err = db.Update(ctx, sent.Serial, func(ctx context.Context, c *Change) error {
		var err error
		out.Ignored, out.Queued, err = c.answer(ctx, commandUUID, answer, info)
		return err
	})
	return out, err
}

func (c *Change) answer(ctx context.Context, commandUUID string, answer provision.Answer, info *Information) (ignored bool, queued int, err error) {
	// Read again under the device's lock: another answer may have been taken meanwhile.
	var sent SentCommand
	if err := sent.found(c.tx.QueryRow(ctx, sentCommand, commandUUID).Scan(sent.columns()...), commandUUID); err != nil {
		return false, 0, err
	}
	if sent.Answered() {
		return true, 0, nil
	}
	if _, err := c.tx.Exec(ctx, answerCommand, commandUUID, answer.Status, answer.Detail, c.now); err != nil {
		return false, 0, err
	}
	if sent.Epoch != c.Device.Activation.Epoch || !c.Device.Active() {
		return true, 0, nil
	}
	if info != nil {
		if err := c.saveInformation(ctx, *info); err != nil {
			return false, 0, err
		}
	}
	answer.Command = sent.Command
	p, err := c.loadPlan(ctx)
	if err != nil {
		return false, 0, err
	}
	provision.Take(p.items, answer, c.now)
	if queued, err = c.advance(ctx, p); err != nil {
		return false, 0, err
	}
	if err := c.settle(ctx, p); err != nil {
		return false, 0, err
	}
	return false, queued, c.pushAfterAnswer(ctx, answer)
}

// settle records a Settled fact if the plan's verdict matters.
func (c *Change) settle(ctx context.Context, p *plan) error {
	verdict := provision.Judge(p.items)
	if !c.Device.PlanCurrent() || !c.Device.Matters(verdict) {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{
		Kind: provision.Settled, Epoch: c.Device.Activation.Epoch, Plan: c.Device.Plan.By, Verdict: &verdict,
		Source: provision.FromDevice,
	})
	return err
}

// pushAfterAnswer leaves a connected device the time to fetch the rest, and wakes one that said NotNow later.
func (c *Change) pushAfterAnswer(ctx context.Context, answer provision.Answer) error {
	var left int
	if err := c.tx.QueryRow(ctx, commandsLeft, c.Device.Serial, c.Device.Activation.Epoch).Scan(&left); err != nil {
		return err
	}
	switch {
	case left == 0:
		c.pushIn(-1)
	case answer.Status == provision.AnswerNotNow:
		c.pushIn(c.db.timing.NotNow)
	default:
		c.pushIn(c.db.timing.Connected)
	}
	return nil
}

const saveInformation = `
UPDATE devices
SET name = coalesce(nullif(@name, ''), name),
    model = coalesce(nullif(@model, ''), model),
    product_name = coalesce(nullif(@product_name, ''), product_name),
    os_version = coalesce(nullif(@os_version, ''), os_version),
    build_version = coalesce(nullif(@build_version, ''), build_version)
WHERE serial = @serial`

func (c *Change) saveInformation(ctx context.Context, i Information) error {
	_, err := c.tx.Exec(ctx, saveInformation, pgx.NamedArgs{
		"serial": c.Device.Serial, "name": i.Name, "model": i.Model, "product_name": i.ProductName,
		"os_version": i.OSVersion, "build_version": i.BuildVersion,
	})
	return err
}
