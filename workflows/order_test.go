package workflows_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/workflows"
)

const device = "C07Q853LG9RM"

// began is when the tests' clock starts.
var began = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func shortPolicy() provision.Policy {
	return provision.Policy{
		SetupHold: 30 * time.Minute, HoldPolicy: provision.HoldRelease, RetryAfter: []time.Duration{time.Minute, 5 * time.Minute},
		NudgeAfter: []time.Duration{15 * time.Minute, time.Hour},
	}
}

type fataller interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
}

func quiet() log.Logger {
	return log.NewStructuredLogger(slog.New(slog.DiscardHandler))
}

// stage is a workflow in Temporal's test environment with its world.
type stage struct {
	env *testsuite.TestWorkflowEnvironment
	*world
	// delays are drawn for every delivery; twice says whether it comes a second time.
	delay func() time.Duration
	twice func() bool
}

func newStage() *stage {
	suite := testsuite.WorkflowTestSuite{}
	suite.SetLogger(quiet())
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(began)
	env.SetTestTimeout(20 * time.Second)
	w := newWorld(device, env.Now)
	s := &stage{env: env, world: w, delay: func() time.Duration { return 0 }, twice: func() bool { return false }}
	env.RegisterWorkflowWithOptions(workflows.Device, workflow.RegisterOptions{Name: signals.WorkflowType})
	env.RegisterActivityWithOptions(&activities.MDM{Planner: w}, activity.RegisterOptions{})
	env.RegisterActivityWithOptions(&activities.Records{Keeper: w}, activity.RegisterOptions{})
	w.send = func(f provision.Fact) {
		s.after(s.delay(), func() { s.signal(f) })
		if s.twice() {
			s.after(s.delay(), func() { s.signal(f) })
		}
	}
	w.answer = func(plan int64, verdicts []provision.Verdict) {
		at := time.Duration(0)
		for _, v := range verdicts {
			at += time.Second + s.delay()
			s.after(at, func() { w.settle(plan, v) })
		}
	}
	return s
}

func (s *stage) after(d time.Duration, do func()) { s.env.RegisterDelayedCallback(do, d) }

func (s *stage) signal(f provision.Fact) {
	if !s.env.IsWorkflowCompleted() {
		s.env.SignalWorkflow(string(f.Kind), f)
	}
}

func (s *stage) run(p provision.Policy) {
	s.env.ExecuteWorkflow(workflows.Device, workflows.DeviceState{Start: signals.Start{Device: provision.Device{Serial: device}, Policy: p}})
}

func (s *stage) status(t fataller) signals.Status {
	t.Helper()
	value, err := s.env.QueryWorkflow(signals.QueryStatus)
	if err != nil {
		t.Fatalf("query: %v", err)
	}
	var status signals.Status
	if err := value.Get(&status); err != nil {
		t.Fatalf("query: %v", err)
	}
	return status
}

// choices are what may happen; as a list, so that rapid can show and shrink it.
func choices() []happening {
	assigned := func(a provision.Assignment) provision.Fact {
		return provision.Fact{Kind: provision.Assigned, Assignment: &a}
	}
	abm := func(k provision.Kind, s provision.ABMState) provision.Fact {
		return provision.Fact{Kind: k, ABM: &provision.ABMFact{Server: "school", State: s}}
	}
	until := began.Add(3 * time.Hour)
	return []happening{
		{name: "assigned", Fact: assigned(provision.Assignment{UserID: "p1", Groups: []string{"sales"}})},
		{name: "assigned otherwise", Fact: assigned(provision.Assignment{UserID: "p1", Groups: []string{"sales", "drivers"}})},
		{name: "assigned by hand", Fact: assigned(provision.Assignment{TechnicianID: "p2"}), byHand: true},
		{name: "assigned to nobody", Fact: assigned(provision.Assignment{Groups: []string{"sales"}})},
		{name: "unassigned", Fact: provision.Fact{Kind: provision.Unassigned}},
		{name: "activated", Fact: provision.Fact{Kind: provision.Activated}},
		{name: "activated in setup", Fact: provision.Fact{Kind: provision.Activated, AwaitingConfiguration: true}},
		{name: "authenticated", Fact: provision.Fact{Kind: provision.Authenticated}},
		{name: "checked out", Fact: provision.Fact{Kind: provision.CheckedOut}},
		{name: "catalog changed", Fact: provision.Fact{Kind: provision.CatalogChanged}},
		{name: "retry", Fact: provision.Fact{Kind: provision.RetryItem}},
		{name: "hold", Fact: provision.Fact{Kind: provision.HoldRequest, Reason: "repair"}},
		{name: "hold by hand", Fact: provision.Fact{Kind: provision.HoldRequest, Reason: "repair"}, byHand: true},
		{name: "resume", Fact: provision.Fact{Kind: provision.ResumeRequest}},
		{name: "release from setup", Fact: provision.Fact{Kind: provision.ReleaseFromSetup}},
		{name: "extend hold", Fact: provision.Fact{Kind: provision.ExtendHold, Until: &until}},
		{name: "in ABM", Fact: abm(provision.ABMSeen, provision.ABMPresent)},
		{name: "gone from ABM", Fact: abm(provision.ABMGone, provision.ABMUnassigned)},
		{name: "in two ABMs", Fact: abm(provision.ABMSeen, provision.ABMConflict)},
	}
}

// happening is a fact of outside and when it happens.
type happening struct {
	name string
	at   time.Duration
	provision.Fact
	byHand bool
}

// String is what rapid prints.
func (h happening) String() string { return fmt.Sprintf("%s at %s", h.name, h.at) }

func drawHappenings(t *rapid.T) []happening {
	at := time.Duration(0)
	one := rapid.Custom(func(t *rapid.T) happening {
		h := rapid.SampledFrom(choices()).Draw(t, "")
		h.at = time.Duration(rapid.SampledFrom([]int{0, 1, 5, 60, 700, 4000}).Draw(t, "")) * time.Second
		return h
	})
	all := rapid.SliceOfN(one, 1, 12).Draw(t, "happenings, each with its pause")
	for i := range all {
		at += all[i].at
		all[i].at = at
	}
	// What holds a device is mostly lifted in the end: while it isn't, the end depends on when it came.
	end := []happening{
		{name: "resume", Fact: provision.Fact{Kind: provision.ResumeRequest}},
		{name: "in ABM", Fact: provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "school", State: provision.ABMPresent}}},
		{name: "release", Fact: provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}},
	}[:rapid.SampledFrom([]int{0, 2, 2, 2, 3}).Draw(t, "lifted, released")]
	for _, h := range end {
		at += time.Second
		h.at = at
		all = append(all, h)
	}
	return all
}

// happens records the fact as its source would: a device's own with the epoch that it opens or has.
func (s *stage) happens(h happening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := h.Fact
	row := s.row
	switch {
	case row.Over():
		return // refused before it is recorded
	case h.byHand:
		s.after(0, func() { s.signal(provision.Fact{Kind: f.Kind, Assignment: f.Assignment, Reason: f.Reason}) })
		return
	case f.Kind == provision.Authenticated:
		f.Epoch = row.NextEpoch()
	case f.Kind == provision.Activated:
		f.Epoch = row.Activation.Epoch
		if row.Activation.State != provision.Opened {
			f.Epoch = row.NextEpoch()
			s.record(provision.Fact{Kind: provision.Authenticated, Epoch: f.Epoch})
		}
	case f.Kind == provision.CheckedOut && !row.Active():
		return
	}
	s.record(f)
}

// outside are the facts that the world's steps didn't make themselves.
func (w *world) outside() []provision.Fact {
	var facts []provision.Fact
	for _, f := range w.history {
		switch f.Kind {
		case provision.Provisioning, provision.Settled, provision.Enrolled, provision.Stuck, provision.Nudged, provision.SetupReleased,
			provision.Released, provision.ABMAsked:
		default:
			if f.Actor != apple {
				facts = append(facts, f)
			}
		}
	}
	return facts
}

// newDice returns a source of chance that activities and the test may use at once.
func newDice(seed uint64) func(n int) int {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 7))
	return func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
}

// The law of order: however the facts of a device are shuffled, repeated and delayed on their way, and whatever results
// of activities are lost, the workflow ends where the pure model ends.
func TestWorkflowEndsWhereTheModelEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStage()
		policy := shortPolicy()
		policy.HoldPolicy = rapid.SampledFrom([]provision.HoldPolicy{
			provision.HoldRelease, provision.HoldRelease, provision.HoldReleaseRequiredOnly, provision.HoldKeepAndAlert,
		}).Draw(t, "hold policy")
		s.script.Failing = rapid.SampledFrom([]int{0, 0, 0, 1, 2, 99}).Draw(t, "failing rounds")
		happenings := drawHappenings(t)
		dice := newDice(rapid.Uint64().Draw(t, "seed of delays"))
		s.delay = func() time.Duration {
			return []time.Duration{0, 0, time.Millisecond, time.Second, time.Minute, 11 * time.Minute}[dice(6)]
		}
		s.twice = func() bool { return dice(3) == 0 }
		s.flaky = func() bool { return dice(6) == 0 }
		for _, h := range happenings {
			s.after(h.at, func() { s.happens(h) })
		}
		var got signals.Status
		quiet := 72 * time.Hour
		s.after(quiet, func() {
			got = s.status(t)
			s.env.CancelWorkflow()
		})
		s.run(policy)
		if !s.env.IsWorkflowCompleted() {
			t.Fatalf("the workflow hangs")
		}
		want := model(provision.Device{Serial: device}, policy, s.script, s.outside())
		if want.Over() {
			require.NoError(t, s.env.GetWorkflowError())
			require.Equal(t, provision.StatusReleased, s.row.Status())
			return
		}
		if held := want.OnHold || want.ABM.State == provision.ABMConflict; held && want.Status() == provision.StatusProvisioning {
			require.Contains(t, []provision.Status{provision.StatusProvisioning, provision.StatusEnrolled}, got.Status)
			require.Equal(t, s.row.Status(), got.Status)
			return // it may have been Enrolled before it was held
		}
		picture := func(status provision.Status, labels []string, blocked string, epoch int, management provision.Management) string {
			return fmt.Sprintf("%s %v blocked=%q epoch=%d %s", status, labels, blocked, epoch, management)
		}
		blocked := want.BlockedBy()
		if policy.HoldPolicy != provision.HoldRelease {
			blocked = s.row.BlockedBy() // an alert is outdated by a later change, so it depends on when that came
		}
		expected := picture(want.Status(), want.Labels(), blocked, want.Activation.Epoch, want.Management())
		require.Equal(t, expected, picture(s.row.Status(), s.row.Labels(), s.row.BlockedBy(), s.row.Activation.Epoch, s.row.Management()), "the row")
		if want.Activation.State == provision.Opened {
			got.Epoch = want.Activation.Epoch // a first Authenticate changes nothing yet, so the workflow isn't told
		}
		require.Equal(t, expected, picture(got.Status, got.Labels, got.BlockedBy, got.Epoch, got.Management), "the workflow")
		if got.Status != provision.StatusEnrolled {
			require.NotEmpty(t, got.Waits, "it can't say what it waits for")
		}
	})
}

func startOptions() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: signals.WorkflowID(device), TaskQueue: signals.TaskQueue}
}
