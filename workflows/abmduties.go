package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/signals"
)

// ABMDutiesState is all that a run of [ABMDuties] knows, and hands to the next. It is part of histories: fields are added,
// never renamed.
type ABMDutiesState struct {
	signals.ABMStart
	// So sums up what was asked over all runs.
	So signals.ABMDutiesStatus `json:"so,omitzero"`
	// MaxRounds bounds the rounds of a run; 0 = the default.
	MaxRounds int `json:"max_rounds,omitempty"`
}

// ABMDuties asks Apple for what is owed to the devices of one Apple Business Manager server, up to a thousand at a time,
// until nothing is due soon. The worker begins it again when something is, and wakes it when something new is due.
func ABMDuties(ctx workflow.Context, s ABMDutiesState) error {
	r := &abmDuties{ABMDutiesState: s}
	if err := r.begin(ctx); err != nil {
		return err
	}
	limit := s.MaxRounds
	if limit == 0 {
		limit = dutyRounds
	}
	for range limit {
		r.drain()
		r.describe(ctx)
		out, err := r.run(ctx)
		if err != nil {
			return err
		}
		again, err := r.rest(ctx, out)
		if err != nil || !again {
			return err
		}
	}
	r.drain()
	return workflow.NewContinueAsNewError(ctx, ABMDuties, r.ABMDutiesState)
}

// abmDuties is a run of [ABMDuties].
type abmDuties struct {
	ABMDutiesState
	due workflow.ReceiveChannel
}

func (r *abmDuties) begin(ctx workflow.Context) error {
	if r.Server == "" { // begun by hand
		r.Server = signals.ABMServerOf(workflow.GetInfo(ctx).WorkflowExecution.ID)
	}
	r.So.Server = r.Server
	r.due = workflow.GetSignalChannelWithOptions(ctx, signals.ABMDue, workflow.SignalChannelOptions{Description: "Something became due."})
	if err := showServer(ctx, r.Server); err != nil {
		return err
	}
	return answerStatus(ctx, "What Apple was asked for.", func() (signals.ABMDutiesStatus, error) { return r.So, nil })
}

// drain takes the wakings that came so far: what follows looks at everything.
func (r *abmDuties) drain() {
	for r.due.ReceiveAsync(nil) {
	}
}

func (r *abmDuties) run(ctx workflow.Context) (activities.DutyResult, error) {
	var out activities.DutyResult
	options := askOptions("Ask Apple for what is due")
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), apple.RunDuties, activities.DutyInput{Server: r.Server}).Get(ctx, &out)
	if err != nil {
		return out, err
	}
	r.So.Asked, r.So.Done, r.So.Notice = r.So.Asked+out.Asked, r.So.Done+out.Done, haltSentence(out.ABMHalt)
	return out, nil
}

// rest waits until there is something to do again; false when that isn't soon.
func (r *abmDuties) rest(ctx workflow.Context, out activities.DutyResult) (again bool, err error) {
	now := workflow.Now(ctx)
	switch {
	case out.Wait > 0:
		r.So.Waits = stamp(now.Add(out.Wait))
		r.describe(ctx)
		err := leaveAlone(ctx, out.Wait)
		r.So.Waits = ""
		return true, err
	case out.More:
		return true, nil
	case out.Next.IsZero() || out.Next.Sub(now) > dutyNear:
		return r.due.Len() > 0, nil
	}
	r.So.Waits = stamp(out.Next)
	r.describe(ctx)
	err = r.awaitDue(ctx, max(out.Next.Sub(now), time.Millisecond))
	r.So.Waits = ""
	return true, err
}

// awaitDue returns when the time is up, or something new is due.
func (r *abmDuties) awaitDue(ctx workflow.Context, pause time.Duration) error {
	timed, cancel := workflow.WithCancel(ctx)
	timer := workflow.NewTimerWithOptions(timed, pause, workflow.TimerOptions{Summary: "The next is due"})
	err := workflow.Await(ctx, func() bool { return timer.IsReady() || r.due.Len() > 0 })
	cancel()
	return err
}

func (r *abmDuties) describe(ctx workflow.Context) {
	text := fmt.Sprintf("**What Apple is asked for ABM server %s**\n\n- asked for %s, done for %d", r.Server, counted(r.So.Asked, "device"), r.So.Done)
	workflow.SetCurrentDetails(ctx, withRemarks(text, r.So.Waits, r.So.Notice))
}
