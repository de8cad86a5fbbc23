package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/workflows"
)

// hold has somebody sign in at a time on the device, which is p1's; the time to decide on it is a working day.
func (s *stage) hold(at time.Duration, choice provision.ReviewChoice) (until time.Time) {
	until = began.Add(at + provision.DefaultSignInHold)
	s.after(at, func() {
		s.happen(provision.Fact{
			Kind: provision.SignInHeld, Assignment: &provision.Assignment{UserID: "p2", Groups: []string{"drivers"}}, Until: &until, Choice: string(choice),
		})
	})
	return until
}

// reviews are the decisions that were recorded after the sign-in.
func (s *stage) reviews() []provision.Fact {
	var facts []provision.Fact
	held := false
	for _, f := range s.history {
		held = held || f.Kind == provision.SignInHeld
		if held && (f.Kind == provision.SignInReviewed || f.Kind == provision.Assigned) {
			facts = append(facts, f)
		}
	}
	return facts
}

// R53: the workflow waits for a technician, by one timer, and decides as the policy says when it is up.
func TestHeldSignInEndsByItsTimer(t *testing.T) {
	for choice, user := range map[provision.ReviewChoice]string{provision.KeepReserved: "p1", provision.TakeSignedIn: "p2"} {
		t.Run(string(choice), func(t *testing.T) {
			s := newStage()
			lost := true
			s.flaky = func() bool { // the first decision's answer is lost
				f := s.history[len(s.history)-1]
				if !lost || f.Reason != "Nobody decided in time." {
					return false
				}
				lost = false
				return true
			}
			long := 0
			s.env.SetOnTimerScheduledListener(func(_ string, d time.Duration) {
				if d > shortPolicy().NudgeAfter[1] {
					long++
				}
			})
			s.after(0, func() { s.happen(assignedTo("sales")) })
			until := s.hold(time.Minute, choice)
			s.after(2*time.Minute, func() {
				s.happens(happening{Fact: provision.Fact{Kind: provision.Activated, AwaitingConfiguration: true}})
			})
			var told, end signals.Status
			s.after(7*time.Hour, func() { told = s.status(t) })
			s.endAt(t, 9*time.Hour, &end)
			s.run(shortPolicy())

			require.Equal(t, "sign_in_review", told.BlockedBy)
			require.Contains(t, told.Waits[0].For, "one of the two must be chosen")
			require.Equal(t, until, told.Waits[0].Until.UTC())
			require.Zero(t, told.Plan, "nothing is sent before")
			require.Equal(t, 1, long, "timers for the decision")

			require.Equal(t, provision.StatusEnrolled, end.Status)
			require.Empty(t, end.BlockedBy)
			require.False(t, lost, "an answer was lost")
			decided := s.reviews()
			require.Len(t, decided, 1, "and decided once all the same")
			require.Equal(t, until, decided[0].At)
			require.Equal(t, user, s.row.Assignment.UserID)
			require.Greater(t, s.calls[string(provision.ConcludeReview)], 1)
		})
	}
}

// A device doesn't stay in Setup Assistant as long as that: it is let out when its time there is up, and gets its groups when
// somebody was chosen.
func TestHeldSignInLeavesSetupAssistant(t *testing.T) {
	s := newStage()
	s.after(0, func() { s.happen(assignedTo("sales")) })
	until := s.hold(time.Minute, provision.TakeSignedIn)
	s.after(2*time.Minute, func() {
		s.happens(happening{Fact: provision.Fact{Kind: provision.Activated, AwaitingConfiguration: true}})
	})
	var end signals.Status
	s.endAt(t, 9*time.Hour, &end)
	p := shortPolicy()
	p.ReviewFreesSetup = true
	s.run(p)
	require.Equal(t, began.Add(2*time.Minute+p.SetupHold), s.row.SetupReleased.At)
	require.Equal(t, provision.StatusEnrolled, end.Status)
	decided := s.reviews()
	require.Len(t, decided, 1)
	require.Equal(t, until, decided[0].At)
	for _, f := range s.history {
		require.False(t, f.Kind == provision.Provisioning && f.At.Before(until), "nothing is sent before")
	}
}

// A technician decides: before the time, in its very moment from either side, or at once.
func TestHeldSignInIsDecidedOnce(t *testing.T) {
	const at = time.Minute
	for name, before := range map[string]time.Duration{
		"at once": 7*time.Hour + 59*time.Minute, "a second before": time.Second, "a nanosecond before": 1, "in that moment": 0, "a nanosecond after": -1, "a second after": -time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			s.enroll(0, true)
			s.hold(at, provision.KeepReserved)
			refused := false
			s.after(at+provision.DefaultSignInHold-before, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				facts, err := s.row.AskReview(provision.TakeSignedIn) // under the device's lock, as the API does
				if refused = err != nil; refused {
					require.Equal(t, provision.NotInReview, provision.CodeOf(err))
					return
				}
				s.record(facts[0])
			})
			var end signals.Status
			s.endAt(t, 10*time.Hour, &end)
			s.run(shortPolicy())
			decided := s.reviews()
			require.Len(t, decided, 1)
			require.Equal(t, provision.StatusEnrolled, end.Status)
			if refused {
				require.Less(t, before, time.Second, "the time isn't up")
				require.Equal(t, "p1", s.row.Assignment.UserID)
				require.Equal(t, "Nobody decided in time.", decided[0].Reason)
			} else {
				require.Greater(t, before, -time.Second, "the time was up")
				require.Equal(t, "p2", s.row.Assignment.UserID)
				require.Empty(t, decided[0].Reason)
			}
		})
	}
}

// The time to decide goes on over runs: it is absolute.
func TestHeldSignInOutlivesARun(t *testing.T) {
	first := newStage()
	first.enroll(0, false)
	until := first.hold(time.Minute, provision.TakeSignedIn)
	first.after(time.Hour, func() {
		first.env.SetContinueAsNewSuggested(true)
		first.happen(provision.Fact{Kind: provision.CatalogChanged})
	})
	first.run(shortPolicy())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, first.env.GetWorkflowError(), &next)
	var state workflows.DeviceState
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &state))
	require.Empty(t, first.reviews())

	second := newStage()
	second.row, second.lastID, second.history = first.row, first.lastID, first.history
	second.env.SetStartTime(first.env.Now())
	var end signals.Status
	second.endAt(t, 9*time.Hour, &end)
	second.env.ExecuteWorkflow(workflows.Device, state)
	decided := second.reviews()
	require.Len(t, decided, 1)
	require.Equal(t, until, decided[0].At)
	require.Equal(t, "p2", second.row.Assignment.UserID)
	require.Equal(t, provision.StatusEnrolled, end.Status)
}
