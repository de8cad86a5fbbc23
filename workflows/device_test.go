package workflows_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/workflows"
)

func assignedTo(groups ...string) provision.Fact {
	return provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "p1", Groups: groups}}
}

// enroll has the device assigned and activated.
func (s *stage) enroll(at time.Duration, awaiting bool) {
	s.after(at, func() { s.happens(happening{Fact: assignedTo("sales")}) })
	s.after(at, func() {
		s.happens(happening{Fact: provision.Fact{Kind: provision.Activated, AwaitingConfiguration: awaiting}})
	})
}

// endAt asks for the status at a time and ends the workflow.
func (s *stage) endAt(t *testing.T, at time.Duration, status *signals.Status) {
	s.after(at, func() {
		*status = s.status(t)
		s.env.CancelWorkflow()
	})
}

func TestUnreadableSignalBreaksNothing(t *testing.T) {
	s := newStage()
	s.after(0, func() { s.env.SignalWorkflow("assigned", "not a fact") })
	s.after(0, func() { s.env.SignalWorkflow("hold", []int{1, 2}) })
	var told signals.Status
	s.after(time.Second, func() { told = s.status(t) })
	s.enroll(time.Minute, false)
	var end signals.Status
	s.endAt(t, time.Hour, &end)
	s.run(shortPolicy())
	require.Contains(t, told.Notice, "could not be read")
	require.Equal(t, provision.StatusEnrolled, end.Status)
	require.Empty(t, end.Notice, "mended by what went well since")
}

func TestSignalsByHand(t *testing.T) {
	for name, c := range map[string]struct {
		signal provision.Fact
		notice string
		check  func(*testing.T, provision.Device)
	}{
		"unknown group":  {assignedTo("sales", "nobody"), `Group "nobody" does not exist`, isNotAssigned},
		"bad group name": {assignedTo("sa/les"), "separates names", isNotAssigned},
		"nothing given":  {provision.Fact{Kind: provision.Assigned}, "names neither a user", isNotAssigned},
		"a device's own": {provision.Fact{Kind: provision.Activated, Epoch: 1}, "can't be signalled by hand", func(t *testing.T, d provision.Device) {
			require.False(t, d.Active())
		}},
		"release without a reason": {provision.Fact{Kind: provision.ReleaseRequest, Reason: "bored"}, "end_of_life", func(t *testing.T, d provision.Device) {
			require.False(t, d.Leaving())
		}},
		"extension without a time": {provision.Fact{Kind: provision.ExtendHold}, "give until", func(*testing.T, provision.Device) {}},
		"assignment": {assignedTo("sales"), "", func(t *testing.T, d provision.Device) {
			require.Equal(t, []string{"sales"}, d.Assignment.Groups)
		}},
		"hold": {provision.Fact{Kind: provision.HoldRequest, Reason: "repair"}, "", func(t *testing.T, d provision.Device) {
			require.True(t, d.OnHold)
			require.Equal(t, "repair", d.HoldReason)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			s.after(0, func() { s.signal(c.signal) })
			var end signals.Status
			s.endAt(t, time.Minute, &end)
			s.run(shortPolicy())
			require.Contains(t, end.Notice, c.notice)
			require.Equal(t, c.notice == "", end.Notice == "", end.Notice)
			c.check(t, s.row)
			for _, f := range s.history {
				require.Equal(t, provision.FromOperator, f.Source)
			}
		})
	}
}

func isNotAssigned(t *testing.T, d provision.Device) { require.Nil(t, d.Assignment) }

func TestSignalByHandWithoutPayload(t *testing.T) {
	s := newStage()
	s.after(0, func() { s.signal(provision.Fact{Kind: provision.HoldRequest, Reason: "repair"}) })
	s.after(time.Minute, func() { s.env.SignalWorkflow("resume", nil) })
	var end signals.Status
	s.endAt(t, time.Hour, &end)
	s.run(shortPolicy())
	require.False(t, s.row.OnHold)
	require.Empty(t, end.BlockedBy)
}

// While a step fails it is neither repeated in a hot loop nor given up, and a release comes to its turn.
func TestFailingStepIsPaced(t *testing.T) {
	s := newStage()
	s.broken = provision.Errorf(provision.Invalid, "The profile is broken.")
	s.enroll(0, false)
	var told signals.Status
	s.after(time.Hour, func() { told = s.status(t) })
	s.after(time.Hour+time.Second, func() {
		require.LessOrEqual(t, s.calls["apply"], 1+12)
		require.GreaterOrEqual(t, s.calls["apply"], 10)
		before := s.calls["apply"]
		s.happen(provision.Fact{Kind: provision.CatalogChanged})
		s.after(time.Second, func() { require.Greater(t, s.calls["apply"], before, "a fact ends the pause") })
	})
	s.after(2*time.Hour, func() { s.mu.Lock(); s.broken = nil; s.mu.Unlock() })
	var end signals.Status
	s.endAt(t, 3*time.Hour, &end)
	s.run(shortPolicy())
	require.Contains(t, told.Notice, "The profile is broken.")
	require.Equal(t, provision.StatusProvisioning, told.Status)
	require.Equal(t, provision.StatusEnrolled, end.Status)
	require.Empty(t, end.Notice)
}

func TestReleaseOvertakesAFailingPlan(t *testing.T) {
	s := newStage()
	s.enroll(0, false)
	s.broken = errors.New("the encoder is out of order") // retried until the time-out
	s.after(time.Minute, func() { s.happen(provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}) })
	s.after(2*time.Minute, func() { s.mu.Lock(); s.broken = nil; s.mu.Unlock() })
	s.run(shortPolicy())
	require.True(t, s.env.IsWorkflowCompleted())
	require.NoError(t, s.env.GetWorkflowError())
	require.Equal(t, provision.StatusReleased, s.row.Status())
	require.Equal(t, 1, s.calls[string(provision.ConcludeReleased)])
}

// A row that doesn't move although it was worked on is looked at again now and then.
func TestStepWithoutEffectIsPaced(t *testing.T) {
	s := newStage()
	ahead := &stuckWorld{world: s.world}
	s.env.OnActivity("ApplyGroups", mock.Anything, mock.Anything).Return(ahead.apply)
	s.enroll(0, false)
	var end signals.Status
	s.endAt(t, time.Hour, &end)
	s.run(shortPolicy())
	require.Equal(t, provision.StatusProvisioning, end.Status)
	require.Greater(t, ahead.calls, 60)
	require.Less(t, ahead.calls, 140)
}

func TestOneTimerAndOneUpsertPerTransition(t *testing.T) {
	s := newStage()
	var timers, upserts int
	s.env.SetOnTimerScheduledListener(func(string, time.Duration) { timers++ })
	s.env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(mock.Arguments) { upserts++ }).Return(nil)
	s.after(time.Second, func() { s.happens(happening{Fact: assignedTo("sales")}) })
	s.after(time.Minute, func() { s.happens(happening{Fact: provision.Fact{Kind: provision.Activated}}) })
	var end signals.Status
	s.endAt(t, time.Hour, &end)
	s.run(shortPolicy())
	require.Equal(t, provision.StatusEnrolled, end.Status)
	require.Equal(t, 1, timers, "the nudge")
	require.Equal(t, 4, upserts, "awaiting both, awaiting activation, Provisioning, Enrolled")
}

func TestSearchAttributesFit(t *testing.T) {
	var groups []string
	for i := range 100 {
		groups = append(groups, fmt.Sprintf("<%03d> %s", i, strings.Repeat("ü&", 45)))
	}
	s := newStage()
	var sizes []int
	s.env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		list, ok := args.Get(0).(temporal.SearchAttributes).GetKeywordList(signals.AttributeGroups)
		if ok {
			raw, err := json.Marshal(list)
			require.NoError(t, err)
			sizes = append(sizes, len(raw))
		}
	}).Return(nil)
	s.after(time.Second, func() { s.happens(happening{Fact: assignedTo(groups...)}) })
	var end signals.Status
	s.endAt(t, time.Minute, &end)
	s.run(shortPolicy())
	require.Len(t, sizes, 1)
	require.LessOrEqual(t, sizes[0], 2048, "more fails the workflow task for ever")
	require.Greater(t, sizes[0], 1000)
}

// What a run hands to the next is enough: the retry comes when it was due, old facts change nothing, and what is not
// recorded yet is not lost.
func TestContinueAsNewLosesNothing(t *testing.T) {
	first := newStage()
	first.script.Failing = 1
	first.enroll(0, false)
	first.after(30*time.Second, func() {
		first.env.SetContinueAsNewSuggested(true)
		first.mu.Lock()
		defer first.mu.Unlock()
		first.broken = errors.New("the database is down")
		first.signal(provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "school", State: provision.ABMPresent}})
	})
	first.run(shortPolicy())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, first.env.GetWorkflowError(), &next)
	require.Equal(t, signals.WorkflowType, next.WorkflowType.Name)
	var state workflows.DeviceState
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &state))
	require.Equal(t, shortPolicy(), state.Policy)
	require.Len(t, state.Unrecorded, 1, "the signal by hand that couldn't be recorded")
	require.Equal(t, 1, first.calls["apply"])

	second := newStage()
	second.script = first.script
	second.row, second.lastID = first.row, first.lastID
	second.env.SetStartTime(first.env.Now())
	for _, f := range first.history { // the relay may deliver all of them again
		second.after(time.Second, func() { second.signal(f) })
	}
	var applied time.Time
	second.after(15*time.Second, func() { require.Zero(t, second.calls["apply"], "nothing is due yet") })
	answer := second.answer
	second.answer = func(plan int64, v []provision.Verdict) { applied = second.env.Now(); answer(plan, v) }
	var end signals.Status
	second.endAt(t, time.Hour, &end)
	second.env.ExecuteWorkflow(workflows.Device, state)
	require.Equal(t, provision.StatusEnrolled, end.Status)
	require.Equal(t, "school", second.row.ABM.Server)
	require.Equal(t, 1, second.calls["apply"])
	failedAt := time.Time{}
	for _, f := range first.history {
		if f.Kind == provision.Settled {
			failedAt = f.At
		}
	}
	require.WithinDuration(t, failedAt.Add(shortPolicy().RetryAfter[0]), applied, time.Second, "the deadline is absolute")
}

func TestWorkflowBegunByHand(t *testing.T) {
	s := newStage()
	s.enroll(time.Second, true)
	s.env.SetStartWorkflowOptions(startOptions())
	var end signals.Status
	s.endAt(t, time.Hour, &end)
	s.env.ExecuteWorkflow(workflows.Device, workflows.DeviceState{})
	require.Equal(t, device, end.Serial, "from the workflow's id")
	require.Equal(t, provision.StatusEnrolled, end.Status, "with the default policy")
}
