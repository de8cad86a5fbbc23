package workflows_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
)

// world is the store and the device of a workflow under test, in memory: it keeps the row as the store does and answers
// for the device. How a plan goes is a script, so that a pure model can play it, too.
type world struct {
	mu      sync.Mutex
	now     func() time.Time
	lastID  int64
	row     provision.Device
	history []provision.Fact
	// send delivers a fact to the workflow; answer has a device's answers recorded later.
	send   func(provision.Fact)
	answer func(plan int64, verdicts []provision.Verdict)
	script script
	// flaky loses the result of an activity after its work was done, as when a worker dies.
	flaky func() bool
	calls map[string]int
	// broken fails every call.
	broken error
	// keys are the signals by hand that are recorded.
	keys map[string]bool
}

// script says how plans go: the rounds up to Failing fail.
type script struct {
	Failing int
}

func (s script) begin(d provision.Device) provision.Verdict {
	if !d.Assignment.Complete() {
		return provision.Verdict{RemovalsLeft: 1}
	}
	return provision.Verdict{Total: 2, BeforeReleaseLeft: 1, RequiredLeft: 2}
}

func (s script) verdicts(d provision.Device) []provision.Verdict {
	switch {
	case !d.Assignment.Complete():
		return []provision.Verdict{{}}
	case d.Plan.Round <= s.Failing:
		return []provision.Verdict{{Total: 2, BeforeReleaseLeft: 1, RequiredLeft: 2, Failed: []string{"configuration/wifi"}}}
	}
	return []provision.Verdict{{Total: 2, RequiredLeft: 1}, {Total: 2}}
}

func newWorld(serial string, now func() time.Time) *world {
	return &world{
		now: now, row: provision.Device{Serial: serial}, send: func(provision.Fact) {}, answer: func(int64, []provision.Verdict) {},
		flaky: func() bool { return false }, calls: map[string]int{},
		keys: map[string]bool{},
	}
}

// record is store.Change.Record.
func (w *world) record(f provision.Fact) provision.Fact { return w.keep(f, w.row.Delivers(f)) }

func (w *world) keep(f provision.Fact, deliver bool) provision.Fact {
	w.lastID++
	f.ID, f.At = w.lastID, w.now().UTC()
	if f.Epoch == 0 && f.Kind.InEpoch() {
		f.Epoch = w.row.Activation.Epoch
	}
	w.row = provision.Fold(w.row, f)
	w.history = append(w.history, f)
	if deliver {
		w.send(f)
	}
	return f
}

func (w *world) happen(f provision.Fact) provision.Fact {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record(f)
}

// settle records what the device answered, as store.Change.settle does.
func (w *world) settle(plan int64, v provision.Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.row.Plan.By == plan && w.row.PlanCurrent() && w.row.Active() && !w.row.Leaving() && w.row.Matters(v) {
		w.record(provision.Fact{Kind: provision.Settled, Epoch: w.row.Activation.Epoch, Plan: plan, Verdict: &v})
	}
}

var errLost = errors.New("the worker died before it could tell")

func (w *world) enter(name string) (leave func(*provision.Device, *error)) {
	w.mu.Lock()
	w.calls[name]++
	return func(d *provision.Device, err *error) {
		defer w.mu.Unlock()
		*d = w.row
		if *err == nil && w.flaky() {
			*err = errLost
		}
	}
}

// Apply implements activities.Planner as the store does.
func (w *world) Apply(_ context.Context, _ string, after int64, round int, _ string) (d provision.Device, err error) {
	defer w.enter("apply")(&d, &err)
	if w.broken != nil {
		return d, w.broken
	}
	row := w.row
	if !row.MayAct() || row.PlanCurrent() && row.Plan.By != after {
		return d, nil
	}
	if !row.PlanCurrent() {
		round = 1
	}
	begin := w.script.begin(row)
	plan := w.record(provision.Fact{
		Kind: provision.Provisioning, Epoch: row.Activation.Epoch, For: row.Wanted(), Round: round, Verdict: &begin,
	})
	w.answer(plan.ID, w.script.verdicts(w.row))
	return d, nil
}

// Device implements activities.Keeper.
func (w *world) Device(context.Context, string) (d provision.Device, err error) {
	defer w.enter("look")(&d, &err)
	return d, w.broken
}

// Carry implements activities.Keeper as the store does.
func (w *world) Carry(_ context.Context, _ string, step provision.Step) (d provision.Device, err error) {
	defer w.enter(string(step.Do))(&d, &err)
	if w.broken != nil {
		return d, w.broken
	}
	row := w.row
	if !w.stillApplies(step) {
		return d, nil
	}
	f := provision.Fact{Epoch: row.Activation.Epoch, Plan: step.Plan, Reason: step.Reason}
	switch step.Do {
	case provision.ConcludeEnrolled:
		f.Kind = provision.Enrolled
		if !row.MayEnroll() || row.Plan.By != step.Plan || row.Status() == provision.StatusEnrolled {
			return d, nil
		}
	case provision.ConcludeStuck:
		f.Kind = provision.Stuck
		if row.Plan.By != step.Plan {
			return d, nil
		}
		if !step.Until.IsZero() {
			f.Until = &step.Until
		}
	case provision.Nudge:
		f.Kind, f.Round = provision.Nudged, step.Round
		if row.Plan.By != step.Plan || row.Nudged.Plan == step.Plan && row.Nudges >= step.Round {
			return d, nil
		}
	case provision.LeaveSetup:
		f.Kind = provision.SetupReleased
		if !row.InSetup() && !row.SetupAskedFor() || step.Plan != 0 && (step.Plan != row.Plan.By || !row.PlanCurrent()) {
			return d, nil
		}
	case provision.ConcludeReleased:
		f.Kind = provision.Released
	case provision.ConcludeReview:
		if !row.InReview() || row.Review.By != step.Plan {
			return d, nil
		}
		f = row.ReviewFact(row.Review.Choice)
		f.Reason = step.Reason
	case provision.AskABM:
		w.record(provision.Fact{Kind: provision.ABMAsked, ABM: &provision.ABMFact{Server: row.ABM.Server, Verb: step.Verb}})
		f = provision.Fact{Kind: provision.ABMGone, Actor: apple, ABM: &provision.ABMFact{Server: row.ABM.Server, State: provision.ABMReleased}}
	default:
		return d, errors.New("not one transaction: " + string(step.Do))
	}
	w.record(f)
	return d, nil
}

// apple is the actor of what the world does as Apple would: it is asked, and does it at once.
const apple = "apple"

func (w *world) stillApplies(step provision.Step) bool {
	d := w.row
	switch {
	case d.Ended():
		return false
	case step.Do == provision.ConcludeReleased:
		return d.ReleasePending() && d.ABM.State != provision.ABMPresent
	case step.Do == provision.ConcludeReview:
		return true // Carry looks itself
	case step.Do == provision.AskABM:
		return step.Verb == provision.ReleaseDevice && d.ReleasePending() && d.ABM.State == provision.ABMPresent
	case step.Epoch != 0 && step.Epoch != d.Activation.Epoch || d.Leaving():
		return false
	}
	return d.MayAct() || step.Do == provision.LeaveSetup && (d.SetupAskedFor() || d.MayLeaveSetup())
}

// RecordByHand implements activities.Keeper; it knows the groups sales and drivers.
func (w *world) RecordByHand(_ context.Context, _, key string, f provision.Fact) (d provision.Device, err error) {
	defer w.enter("by hand")(&d, &err)
	if w.broken != nil {
		return d, w.broken
	}
	if f.Assignment != nil {
		for _, g := range f.Assignment.Groups {
			if g != "sales" && g != "drivers" {
				return d, provision.Errorf(provision.GroupNotFound, "Group %q does not exist; create it first.", g)
			}
		}
	}
	if w.keys[key] {
		return d, nil
	}
	w.keys[key] = true
	if w.row.Over() {
		return d, provision.Errorf(provision.DeviceReleased, "The device was released.")
	}
	w.keep(f, false)
	return d, nil
}

// model plays the facts of outside with a device and a store that answer at once, and a clock that jumps to the next
// deadline: where the workflow must end, too, whatever was late or came twice.
func model(d provision.Device, p provision.Policy, s script, outside []provision.Fact) provision.Device {
	w := newWorld(d.Serial, nil)
	now := time.Time{}
	for _, f := range outside {
		w.row = provision.Fold(w.row, f)
		w.lastID, now = max(w.lastID, f.ID), f.At
	}
	w.lastID += 1000 // what is concluded comes after all that happened
	w.now, w.script = func() time.Time { return now }, s
	var plan int64
	w.answer = func(id int64, _ []provision.Verdict) { plan = id }
	for range 1000 {
		step := provision.Next(w.row, p, now)
		switch {
		case step.Do == provision.WaitForFacts && plan != 0:
			for _, v := range s.verdicts(w.row) {
				w.settle(plan, v)
			}
			plan = 0
		case step.Do == provision.WaitForFacts && step.Until.IsZero(), w.row.Over():
			return w.row
		case step.Do == provision.WaitForFacts:
			now = step.Until
		case step.Do == provision.Apply:
			_, _ = w.Apply(context.Background(), "", w.row.Plan.By, step.Round, "")
		default:
			_, _ = w.Carry(context.Background(), "", step)
		}
	}
	panic("the model doesn't come to an end")
}

// stuckWorld applies without any effect.
type stuckWorld struct {
	*world
	calls int
}

func (s *stuckWorld) apply(context.Context, activities.ApplyInput) (provision.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return s.row, nil
}
