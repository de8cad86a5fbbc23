package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
)

// alarm is a running timer.
type alarm struct {
	at     time.Time
	future workflow.Future
	cancel workflow.CancelFunc
}

// wait returns when a fact came or the time is up; a zero until waits for a fact only.
func (d *device) wait(ctx workflow.Context, until time.Time) error {
	d.setAlarm(ctx, until)
	seen := d.facts
	err := workflow.Await(ctx, func() bool {
		return d.facts != seen || d.alarm != nil && d.alarm.future.IsReady()
	})
	if d.alarm != nil && d.alarm.future.IsReady() {
		d.alarm = nil
	}
	return err
}

// setAlarm keeps a timer that rings in time or early: ringing early costs no more than to set another one, and most
// deadlines only ever move on.
func (d *device) setAlarm(ctx workflow.Context, until time.Time) {
	if d.alarm != nil && !until.IsZero() && !d.alarm.at.After(until) {
		return
	}
	if d.alarm != nil {
		d.alarm.cancel()
		d.alarm = nil
	}
	if until.IsZero() {
		return
	}
	timed, cancel := workflow.WithCancel(ctx)
	options := workflow.TimerOptions{Summary: d.alarmSummary(until)}
	d.alarm = &alarm{at: until, cancel: cancel, future: workflow.NewTimerWithOptions(timed, max(until.Sub(workflow.Now(ctx)), time.Millisecond), options)}
}

func (d *device) alarmSummary(until time.Time) string {
	switch {
	case d.Resumed:
		return "Look again where the device stands"
	case until.Equal(d.PausedUntil) && d.Paused.Do != "":
		return "Take up again: " + string(d.Paused.Do)
	case d.Device.InSetup() && until.Equal(d.Device.Deadline(d.Policy)):
		return "End of the time in Setup Assistant"
	case len(d.Device.Verdict().Failed) > 0:
		return "Try failed items again"
	case d.Device.Status() == provision.StatusProvisioning:
		return "Ask a silent device again"
	}
	return "Look again"
}
