// Package workflows decides: one durable workflow per device folds facts, asks [provision.Next] what to do, has it done
// and owns every timer.
package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
)

// DeviceState is all that a run of [Device] knows, and hands to the next. It is part of histories: fields are added, never
// renamed.
type DeviceState struct {
	signals.Start
	// Unrecorded are facts that an operator signalled by hand and that are to be recorded, not before RecordAfter.
	Unrecorded  []provision.Fact `json:"unrecorded,omitempty"`
	RecordAfter time.Time        `json:"record_after,omitzero"`
	// ByHand counts those that were recorded or refused, so that each has a name of its own.
	ByHand int `json:"by_hand,omitempty"`
	// Notice is the last thing that went wrong, until a step goes well.
	Notice string `json:"notice,omitempty"`
	// Paused is a step that led to nothing; it isn't taken again before PausedUntil, unless a fact comes.
	Paused      provision.Step `json:"paused,omitzero"`
	PausedUntil time.Time      `json:"paused_until,omitzero"`
	// LookAfter is when a workflow that begins anew asks the store again, after it couldn't be asked.
	LookAfter time.Time `json:"look_after,omitzero"`
	// MaxHistory bounds the events of a run; 0 = the default.
	MaxHistory int `json:"max_history,omitempty"`
}

// Device takes one device through its life. It folds the facts that signals bring and has done what follows from them,
// until the device is released or withdrawn.
func Device(ctx workflow.Context, s DeviceState) error {
	d := newDevice(ctx, s)
	if err := d.answerQueries(ctx); err != nil {
		return err
	}
	workflow.Go(ctx, d.listen)
	for !d.over(ctx) {
		step, err := d.awaitNext(ctx)
		if err != nil {
			return err
		}
		if err := d.do(ctx, step); err != nil {
			return err
		}
		if d.tooLong(ctx) {
			return d.continueAsNew(ctx)
		}
	}
	return nil
}

// device is a run of [Device].
type device struct {
	DeviceState
	inbox []workflow.ReceiveChannel
	// facts counts what came in this run; since are those that came while a step was carried out.
	facts int
	since []provision.Fact
	alarm *alarm
	shown attributes
}

func newDevice(ctx workflow.Context, s DeviceState) *device {
	d := &device{DeviceState: s, shown: readAttributes(ctx)}
	if d.Device.Serial == "" { // begun by hand
		d.Device.Serial = signals.SerialOf(workflow.GetInfo(ctx).WorkflowExecution.ID)
	}
	if d.Policy.SetupHold == 0 && d.Policy.HoldPolicy == "" && d.Policy.RetryAfter == nil && d.Policy.NudgeAfter == nil {
		// Kept in the history, because a later release may have another default.
		policy := workflow.SideEffect(ctx, func(workflow.Context) any { return DefaultPolicy() })
		if err := policy.Get(&d.Policy); err != nil {
			workflow.GetLogger(ctx).Error("reading the default policy", "error", err)
		}
	}
	for _, kind := range provision.Signals() {
		d.inbox = append(d.inbox, workflow.GetSignalChannelWithOptions(ctx, string(kind), workflow.SignalChannelOptions{Description: meanings[kind]}))
	}
	return d
}

func (d *device) ended() bool { return d.Device.Ended() }

// over ends a run, unless a fact came meanwhile by which the device lives again: one that was withdrawn and is assigned anew.
func (d *device) over(ctx workflow.Context) bool {
	if !d.ended() {
		return false
	}
	d.publish(ctx)
	d.drain(ctx)
	return d.ended()
}

// awaitNext returns the next step, when there is one to take or the run has grown too long. Facts, timers and deadlines
// all end here.
func (d *device) awaitNext(ctx workflow.Context) (provision.Step, error) {
	for {
		d.drain(ctx)
		if err := d.look(ctx); err != nil {
			return provision.Step{}, err
		}
		if err := d.recordByHand(ctx); err != nil {
			return provision.Step{}, err
		}
		step := d.next(workflow.Now(ctx))
		if step.Do != provision.WaitForFacts || d.ended() || d.tooLong(ctx) {
			return step, nil
		}
		d.publish(ctx)
		if err := d.wait(ctx, d.recordAt(step.Until)); err != nil {
			return provision.Step{}, err
		}
	}
}

// recordAt is the time to wake at if facts by hand wait for another try.
func (d *device) recordAt(until time.Time) time.Time {
	if len(d.Unrecorded) > 0 && (until.IsZero() || d.RecordAfter.Before(until)) {
		return d.RecordAfter
	}
	return until
}

// next is [provision.Next], but waits before it repeats a step that led to nothing, and for the store's word on where a
// lost workflow's device stands.
func (d *device) next(now time.Time) provision.Step {
	if d.Resumed {
		return provision.Step{Do: provision.WaitForFacts, Until: d.LookAfter}
	}
	step := provision.Next(d.Device, d.Policy, now)
	if step.Do != provision.WaitForFacts && same(step, d.Paused) && now.Before(d.PausedUntil) {
		return provision.Step{Do: provision.WaitForFacts, Until: d.PausedUntil}
	}
	return step
}

// same reports whether two steps do the same thing. Until is left out: of a nudge it moves with the clock, so that no two
// would be the same, and what else a step's Until goes by changes only with a fact.
func same(a, b provision.Step) bool {
	a.Until, b.Until = time.Time{}, time.Time{}
	return a == b
}

func (d *device) tooLong(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	limit := d.MaxHistory
	if limit == 0 {
		limit = maxHistory
	}
	return !d.ended() && (info.GetContinueAsNewSuggested() || info.GetCurrentHistoryLength() > limit)
}

// continueAsNew begins a new run with the whole state. No signal is left behind: all channels are drained, and the
// deadlines in the state are absolute.
func (d *device) continueAsNew(ctx workflow.Context) error {
	d.drain(ctx)
	return workflow.NewContinueAsNewError(ctx, Device, d.DeviceState)
}
