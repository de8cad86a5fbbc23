package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/workflows"
)

// resume runs a workflow that begins anew with what was known some time ago.
func (s *stage) resume(known provision.Device) {
	s.env.ExecuteWorkflow(workflows.Device, workflows.DeviceState{
		Start: signals.Start{Device: known, Policy: shortPolicy(), Resumed: true},
	})
}

func (s *stage) became(facts ...provision.Fact) {
	s.send = func(provision.Fact) {} // went to the workflow that was lost
	for _, f := range facts {
		s.happen(f)
	}
}

// However late it begins, a workflow doesn't revive a device that was released meanwhile.
func TestResumedWorkflowOfAReleasedDeviceEnds(t *testing.T) {
	s := newStage()
	s.became(assignedTo("sales"), provision.Fact{Kind: provision.Activated, Epoch: 1})
	known := s.row
	s.became(provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}, provision.Fact{Kind: provision.Released})
	facts := len(s.history)
	s.resume(known)
	require.True(t, s.env.IsWorkflowCompleted())
	require.NoError(t, s.env.GetWorkflowError())
	require.Len(t, s.history, facts, "nothing was done")
	require.Equal(t, map[string]int{"look": 1}, s.calls)
}

// While the store can't be asked nothing is done, and what came in the meantime counts.
func TestResumedWorkflowWaitsForTheStore(t *testing.T) {
	for name, broken := range map[string]error{
		"database down": errors.New("the database is down"), "refused": provision.Errorf(provision.DeviceNotFound, "No such device."),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			send := s.send
			s.became(assignedTo("sales"))
			known := s.row
			s.became(provision.Fact{Kind: provision.Activated, Epoch: 1})
			s.send, s.broken = send, broken
			s.after(time.Minute, func() { s.happen(provision.Fact{Kind: provision.CatalogChanged}) })
			var told signals.Status
			s.after(time.Hour, func() {
				told = s.status(t)
				s.mu.Lock()
				defer s.mu.Unlock()
				require.Len(t, s.calls, 1, "only looked")
				require.LessOrEqual(t, s.calls["look"], 13*8)
				require.GreaterOrEqual(t, s.calls["look"], 12)
				s.broken = nil
			})
			var end signals.Status
			s.endAt(t, 2*time.Hour, &end)
			s.resume(known)
			require.Contains(t, told.Notice, "began anew")
			require.Equal(t, provision.StatusEnrolled, end.Status)
			require.Empty(t, end.Notice)
			require.Equal(t, 1, s.calls["apply"])
		})
	}
}
