package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// reviewed decides on a sign-in as its policy says, because nobody did.
func (c *Change) reviewed(ctx context.Context, step provision.Step) error {
	d := c.Device
	if !d.InReview() || d.Review.By != step.Plan || d.Review.Until == nil {
		return nil
	}
	fact := d.ReviewFact(d.Review.Choice)
	fact.Reason = step.Reason
	if fact.Source == "" {
		fact.Source = provision.FromWorkflow
	}
	_, err := c.RecordLate(ctx, fact)
	return err
}

const groupsThere = `
SELECT name
FROM groups
WHERE name = ANY ($1)
ORDER BY array_position($1, name)`

// RecordLate is [Change.Record] for an assignment that was meant earlier than it comes into force: groups that were deleted since
// are left out. Groups are locked before devices, and this device is locked already; so who deletes one in this very moment isn't
// waited for.
func (c *Change) RecordLate(ctx context.Context, f provision.Fact) (provision.Fact, error) {
	if f.Assignment != nil && len(f.Assignment.Groups) > 0 {
		rows, err := c.tx.Query(ctx, groupsThere, f.Assignment.Groups)
		if err != nil {
			return f, fmt.Errorf("reading the groups: %w", err)
		}
		a := *f.Assignment
		if a.Groups, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return f, fmt.Errorf("reading the groups: %w", err)
		}
		f.Assignment = &a
	}
	return c.Record(ctx, f)
}

// inForce makes an assignment for later the device's own.
func (c *Change) inForce(ctx context.Context, step provision.Step) error {
	d := c.Device
	if d.Planned == nil || d.PlannedMark.By != step.Plan || d.Leaving() {
		return nil
	}
	_, err := c.RecordLate(ctx, d.PlannedFact())
	return err
}

// remind notes that a loan ends, or has ended.
func (c *Change) remind(ctx context.Context, step provision.Step) error {
	d := c.Device
	if d.AssignmentMark.By != step.Plan || d.Assignment == nil || d.Assignment.ReturnBy == nil || d.Reminded.Plan == step.Plan && d.Reminders >= step.Round {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{
		Kind: provision.Reminded, Plan: step.Plan, Round: step.Round, Reason: step.Reason, Until: d.Assignment.ReturnBy, Source: provision.FromWorkflow,
	})
	return err
}

const newestDeprovision = `
SELECT attempt
FROM device_commands
WHERE serial = $1 AND epoch = $2 AND kind = 'builtin' AND name = 'deprovision'
ORDER BY attempt DESC
LIMIT 1`

// sendDeprovision takes back all that is queued for the device and queues what ends its management.
func (c *Change) sendDeprovision(ctx context.Context, step provision.Step) error {
	d := c.Device
	sent := d.DeprovisionSent
	again := sent.Epoch == d.Activation.Epoch && sent.By > max(d.Deprovision.By, d.DeprovisionRefused.By)
	if !d.Deprovisioned() || !d.Active() || again {
		return nil
	}
	if err := c.VoidCommands(ctx); err != nil {
		return err
	}
	var attempt int
	err := c.tx.QueryRow(ctx, newestDeprovision, d.Serial, d.Activation.Epoch).Scan(&attempt)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("reading what was sent to deprovision the device: %w", err)
	}
	_, err = c.Record(ctx, provision.Fact{Kind: provision.DeprovisionSent, Epoch: d.Activation.Epoch, Reason: step.Reason, Source: provision.FromWorkflow})
	if err != nil {
		return err
	}
	if _, err := c.queueCommands(ctx, []provision.Command{d.DeprovisionCommand(c.db.profile, attempt+1)}); err != nil {
		return err
	}
	c.pushIn(0)
	return nil
}

// deprovisionAnswered records what an answer to that command amounts to. A device that carried it out gets nothing more
// and is nobody's any more.
func (c *Change) deprovisionAnswered(ctx context.Context, answer provision.Answer) error {
	fact, news := c.Device.DeprovisionAnswer(answer)
	if !news {
		return nil
	}
	if _, err := c.Record(ctx, fact); err != nil || fact.Kind != provision.CheckedOut {
		return err
	}
	if _, err := c.tx.Exec(ctx, revokeIdentities, c.Device.Serial, c.now); err != nil {
		return fmt.Errorf("revoking the device's certificates: %w", err)
	}
	c.pushIn(-1)
	c.pollAt(time.Time{})
	return nil
}
