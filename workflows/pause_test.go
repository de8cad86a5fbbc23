package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
)

// A nudge says by the clock when the next may be, so it never looks the same twice; while it fails it is paced like every
// other step, and goes on afterwards.
func TestFailingNudgeIsPaced(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		most int
	}{
		// Two tries by the workflow; the store's own outage is tried again a few times within each.
		"database down": {errors.New("the database is down"), 2 * 8},
		"refused":       {provision.Errorf(provision.Invalid, "The plan is broken."), 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			s.answer = func(int64, []provision.Verdict) {} // a silent device
			s.enroll(0, false)
			policy := shortPolicy()
			policy.NudgeAfter = []time.Duration{time.Hour}
			nudges := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.calls[string(provision.Nudge)] }
			s.after(time.Hour-time.Minute, func() { s.mu.Lock(); s.broken = c.err; s.mu.Unlock() })
			var told signals.Status
			s.after(time.Hour+2*failurePause-time.Second, func() {
				told = s.status(t)
				require.LessOrEqual(t, nudges(), c.most)
				require.GreaterOrEqual(t, nudges(), 2)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.broken = nil
			})
			var end signals.Status
			s.endAt(t, time.Hour+3*failurePause, &end)
			s.run(policy)
			require.Contains(t, told.Notice, "nudge did not succeed")
			require.Equal(t, 1, s.row.Nudges, "it went on")
			require.Empty(t, end.Notice)
		})
	}
}

// failurePause is as the workflow has it.
const failurePause = 5 * time.Minute
