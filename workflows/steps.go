package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
)

// Only their methods' names are used.
var (
	mdm     *activities.MDM
	records *activities.Records
)

// do has a step carried out. A step that fails is told to the operator and taken again later; only cancellation ends the
// workflow.
func (d *device) do(ctx workflow.Context, step provision.Step) error {
	if step.Do == provision.WaitForFacts || d.ended() {
		return nil
	}
	d.since = nil
	var future workflow.Future
	if step.Do == provision.Apply {
		d.publish(ctx)
		future = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, applyOptions(applySummary(d.Device, step))), mdm.ApplyGroups,
			activities.ApplyInput{Serial: d.Device.Serial, After: d.Device.Plan.By, Round: step.Round})
	} else {
		future = workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, recordOptions(carrySummary(step))), records.Carry,
			d.Device.Serial, step)
	}
	var row provision.Device
	err := future.Get(ctx, &row)
	if temporal.IsCanceledError(err) {
		return err
	}
	d.conclude(ctx, step, row, err)
	return nil
}

// conclude takes over the device as the store sees it and keeps a step from being repeated at once that led to nothing.
func (d *device) conclude(ctx workflow.Context, step provision.Step, row provision.Device, err error) {
	d.Paused, d.Notice = provision.Step{}, ""
	now := workflow.Now(ctx)
	if err != nil {
		d.Paused, d.PausedUntil = step, now.Add(failurePause)
		d.Notice = fmt.Sprintf("%s did not succeed and is tried again: %s", step.Do, sentenceOf(err))
		workflow.GetLogger(ctx).Warn("step failed", "step", step.Do, "error", err)
		return
	}
	d.takeOver(ctx, row)
	if same(provision.Next(d.Device, d.Policy, now), step) {
		d.Paused, d.PausedUntil = step, now.Add(samePause)
	}
}

// look has the store say where the device stands, once, if an earlier workflow of it was lost. Until that succeeds
// nothing is done: the device may have been released.
func (d *device) look(ctx workflow.Context) error {
	if !d.Resumed || workflow.Now(ctx).Before(d.LookAfter) {
		return nil
	}
	d.since = nil
	options := recordOptions("Begin anew by what is stored")
	var row provision.Device
	err := workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, options), records.Look, d.Device.Serial).Get(ctx, &row)
	if temporal.IsCanceledError(err) {
		return err
	}
	if err != nil {
		d.LookAfter = workflow.Now(ctx).Add(failurePause)
		d.Notice = "The device's workflow began anew and waits to learn where the device stands: " + sentenceOf(err)
		workflow.GetLogger(ctx).Warn("device not looked up", "error", err)
		return nil
	}
	d.Resumed, d.LookAfter, d.Notice = false, time.Time{}, ""
	d.takeOver(ctx, row)
	return nil
}

// takeOver replaces the device by the row, which holds every fact recorded until the transaction. Facts that came since
// the step began may be newer than that, so they are folded again; the fold doesn't mind those that the row holds already.
func (d *device) takeOver(ctx workflow.Context, row provision.Device) {
	d.Device = provision.FoldAll(row, d.since...)
	d.since = nil
	d.describe(ctx)
}

// recordByHand has an operator's own facts recorded. One that is refused is told to the operator and dropped; one that
// couldn't be recorded is kept for another try.
func (d *device) recordByHand(ctx workflow.Context) error {
	if len(d.Unrecorded) > 0 && !workflow.Now(ctx).Before(d.RecordAfter) {
		d.Notice = "" // of earlier signals; what follows is about these
	}
	for len(d.Unrecorded) > 0 && !workflow.Now(ctx).Before(d.RecordAfter) {
		f := d.Unrecorded[0]
		d.since = nil
		options := recordOptions(fmt.Sprintf("%s, signalled by hand", f.Kind))
		key := fmt.Sprintf("%s/%d", workflow.GetInfo(ctx).FirstRunID, d.ByHand)
		var row provision.Device
		err := workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, options), records.Record, d.Device.Serial, key, f).Get(ctx, &row)
		if temporal.IsCanceledError(err) {
			return err
		}
		if err != nil {
			d.Notice = fmt.Sprintf("The signal %s was not recorded: %s", f.Kind, sentenceOf(err))
			workflow.GetLogger(ctx).Warn("signal by hand not recorded", "kind", f.Kind, "error", err)
		}
		if err != nil && !refused(err) {
			d.RecordAfter = workflow.Now(ctx).Add(failurePause)
			return nil
		}
		d.Unrecorded, d.RecordAfter, d.ByHand = d.Unrecorded[1:], time.Time{}, d.ByHand+1
		if err == nil {
			d.takeOver(ctx, row)
		}
	}
	return nil
}

// refused reports whether the rules say no, so that to try again is of no use.
func refused(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}

// sentenceOf is what people are told of an activity's error: the rules' own sentence, or that something is out of order.
func sentenceOf(err error) string {
	var app *temporal.ApplicationError
	if refused(err) && errors.As(err, &app) {
		return app.Message()
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return "it took too long."
	}
	return "the store or the device's plan is out of order; the worker's log says more."
}
