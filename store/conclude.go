package store

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-mdm/muster/provision"
)

// Carry carries out a step of [provision.Next] that is one short transaction: a conclusion, a nudge, the way out of
// Setup Assistant. It checks again, under the device's lock, that the step still applies, and may be repeated. It returns
// the device as it stands then.
func (db *DB) Carry(ctx context.Context, serial string, step provision.Step) (provision.Device, error) {
	return db.Update(ctx, serial, func(ctx context.Context, c *Change) error {
		if !c.stillApplies(step) {
			return nil
		}
		switch step.Do {
		case provision.ConcludeEnrolled:
			return c.enrolled(ctx, step)
		case provision.ConcludeStuck:
			return c.stuckAt(ctx, step)
		case provision.Nudge:
			return c.nudge(ctx, step)
		case provision.LeaveSetup:
			return c.leaveSetup(ctx, step)
		case provision.ConcludeReleased:
			return c.released(ctx, step)
		case provision.AskABM:
			return c.askABM(ctx, step)
		case provision.ConcludeReview:
			return c.reviewed(ctx, step)
		case provision.ConcludePlanned:
			return c.inForce(ctx, step)
		case provision.Remind:
			return c.remind(ctx, step)
		case provision.SendDeprovision:
			return c.sendDeprovision(ctx, step)
		case provision.WaitForFacts, provision.Apply:
		}
		return fmt.Errorf("step %q is not one transaction", step.Do)
	})
}

// stillApplies: a step that was decided for another enrollment, or before somebody held the device, is not carried out.
func (c *Change) stillApplies(step provision.Step) bool {
	d := c.Device
	switch {
	case d.Ended():
		return false
	case step.Do == provision.ConcludeReleased:
		return d.ReleasePending() && d.ABM.State != provision.ABMPresent
	case step.Do == provision.AskABM, step.Do == provision.ConcludeReview, step.Do == provision.ConcludePlanned,
		step.Do == provision.Remind, step.Do == provision.SendDeprovision:
		return true // they say themselves whether they are still wanted
	case step.Epoch != 0 && step.Epoch != d.Activation.Epoch || d.Leaving():
		return false
	}
	return d.MayAct() || step.Do == provision.LeaveSetup && (d.SetupAskedFor() || d.MayLeaveSetup()) ||
		step.Do == provision.ConcludeStuck && d.MayLeaveSetup() ||
		step.Do == provision.WaitForFacts || step.Do == provision.Apply // which Carry refuses by name
}

func (c *Change) enrolled(ctx context.Context, step provision.Step) error {
	d := c.Device
	if !d.MayEnroll() || d.Plan.By != step.Plan || d.Status() == provision.StatusEnrolled {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{Kind: provision.Enrolled, Epoch: d.Activation.Epoch, Plan: step.Plan, Source: provision.FromWorkflow})
	return err
}

func (c *Change) stuck(ctx context.Context, plan int64, reason string) error {
	d := c.Device
	if d.BlockedBy() == "stuck" && d.Stuck.Plan == plan && d.Stuck.Reason == reason {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{Kind: provision.Stuck, Epoch: d.Activation.Epoch, Plan: plan, Reason: reason, Source: provision.FromWorkflow})
	return err
}

func (c *Change) stuckAt(ctx context.Context, step provision.Step) error {
	d := c.Device
	if d.Plan.By != step.Plan {
		return nil
	}
	if step.Until.IsZero() {
		return c.stuck(ctx, step.Plan, step.Reason)
	}
	if a := d.SetupAlert; !d.InSetup() || a.Epoch == d.Activation.Epoch && a.Until != nil && a.Until.Equal(step.Until) {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{
		Kind: provision.Stuck, Epoch: d.Activation.Epoch, Plan: step.Plan, Reason: step.Reason, Until: &step.Until,
		Source: provision.FromWorkflow,
	})
	return err
}

func (c *Change) nudge(ctx context.Context, step provision.Step) error {
	d := c.Device
	if d.Plan.By != step.Plan || d.Nudged.Plan == step.Plan && d.Nudges >= step.Round {
		return nil
	}
	nudged := provision.Fact{Kind: provision.Nudged, Epoch: d.Activation.Epoch, Plan: step.Plan, Round: step.Round, Source: provision.FromWorkflow}
	if !step.Until.IsZero() {
		nudged.Until = &step.Until
	}
	if _, err := c.Record(ctx, nudged); err != nil {
		return err
	}
	p, err := c.loadPlan(ctx)
	if err != nil {
		return err
	}
	provision.Renew(p.items)
	if _, err := c.advance(ctx, p); err != nil {
		return err
	}
	c.pushIn(0)
	return nil
}

const clearQueue = `
UPDATE nanomdm.enrollment_queue
SET active = false
WHERE id = $1 AND active`

// released ends everything: no command goes out any more and the device's certificate is worth nothing.
func (c *Change) released(ctx context.Context, step provision.Step) error {
	_, err := c.Record(ctx, provision.Fact{Kind: provision.Released, Reason: step.Reason, Source: provision.FromWorkflow})
	if err != nil {
		return err
	}
	if err := c.RevokeIdentities(ctx); err != nil {
		return err
	}
	if _, err := c.tx.Exec(ctx, clearQueue, c.udid); err != nil {
		return fmt.Errorf("clearing the device's queue: %w", err)
	}
	c.later.Queue(voidAllDuties, c.Device.Serial)
	c.pushIn(-1)
	c.pollAt(time.Time{})
	return nil
}

const voidAllDuties = `
DELETE FROM abm_duties
WHERE serial = $1`
