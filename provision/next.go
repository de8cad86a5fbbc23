package provision

import (
	"fmt"
	"strings"
	"time"
)

// Action is what a workflow has done for a device.
type Action string

// Actions.
const (
	// WaitForFacts: nothing to do before a fact comes or Until passes.
	WaitForFacts Action = "wait"
	// Apply: reconcile what is on the device with what its groups want.
	Apply Action = "apply"
	// LeaveSetup: send DeviceConfigured.
	LeaveSetup Action = "leave_setup"
	// ConcludeEnrolled: record Enrolled.
	ConcludeEnrolled Action = "conclude_enrolled"
	// ConcludeStuck: record that an operator is needed.
	ConcludeStuck Action = "conclude_stuck"
	// Nudge: push again and ask the device anew for what is outstanding.
	Nudge Action = "nudge"
	// ConcludeReleased: forget the device and record Released, which ends the workflow.
	ConcludeReleased Action = "conclude_released"
	// AskABM: have Apple asked for Step.Verb.
	AskABM Action = "ask_abm"
	// ConcludeReview: decide on a sign-in that nobody decided on in time.
	ConcludeReview Action = "conclude_review"
	// ConcludePlanned: have an assignment for later come into force.
	ConcludePlanned Action = "conclude_planned"
	// Remind: note that the device is due back, or overdue.
	Remind Action = "remind"
	// SendDeprovision: queue the command that deprovisions the device.
	SendDeprovision Action = "send_deprovision"
)

// Step is the answer of [Next].
type Step struct {
	Do Action `json:"do"`
	// Until bounds a wait (zero = until a fact comes); of a Nudge it is when the next is due at the earliest, of a
	// ConcludeStuck the deadline that passed.
	Until time.Time `json:"until,omitzero"`
	// Reason is for people and for the recorded fact.
	Reason string `json:"reason,omitempty"`
	// Plan is the plan that a conclusion or nudge is about; Round the try that an Apply or a Nudge begins.
	Plan  int64 `json:"plan,omitempty"`
	Round int   `json:"round,omitempty"`
	// Epoch is the enrollment that the step was decided for.
	Epoch int `json:"epoch,omitempty"`
	// Verb is what an AskABM asks for.
	Verb ABMVerb `json:"verb,omitempty"`
}

// HoldPolicy says what happens when a device's time in Setup Assistant is up.
type HoldPolicy string

// Hold policies.
const (
	// HoldRelease lets the device go on whatever is missing.
	HoldRelease HoldPolicy = "release"
	// HoldReleaseRequiredOnly lets it go on unless a required item failed.
	HoldReleaseRequiredOnly HoldPolicy = "release_required_only"
	// HoldKeepAndAlert keeps it and records it as stuck.
	HoldKeepAndAlert HoldPolicy = "keep_and_alert"
)

// Policy is every time-out and limit that [Next] goes by. It is part of workflow histories: fields are added, never
// renamed.
type Policy struct {
	// SetupHold is the longest that a device waits in Setup Assistant, from its activation.
	SetupHold  time.Duration `json:"setup_hold,omitempty"`
	HoldPolicy HoldPolicy    `json:"hold_policy,omitempty"`
	// RetryAfter is the pause before each further try of failed items; when they are used up the device is stuck.
	RetryAfter []time.Duration `json:"retry_after,omitempty"`
	// NudgeAfter is the pause before each re-push of a device that doesn't answer; the last repeats for ever.
	NudgeAfter []time.Duration `json:"nudge_after,omitempty"`
	// ReleaseDelay is how long a release can be cancelled, from when it was asked for.
	ReleaseDelay time.Duration `json:"release_delay,omitempty"`
	// RemindBefore is how long before a loan ends its reminders are, the earliest first; the last is at its end.
	RemindBefore []time.Duration `json:"remind_before,omitempty"`
	// ReviewFreesSetup: SetupHold counts for a device, too, on which somebody signed in whom it isn't reserved for. Workflows
	// that began before this was so keep such a device in Setup Assistant until somebody is chosen.
	ReviewFreesSetup bool `json:"review_frees_setup,omitempty"`
}

// Next decides what to do for a device at a time. It is pure: the same device, policy and time give the same step. A
// released device has nothing left to do, nor has a withdrawn one.
func Next(d Device, p Policy, now time.Time) Step {
	step := next(d, p, now)
	step.Epoch = d.Activation.Epoch
	return step
}

func next(d Device, p Policy, now time.Time) Step {
	if d.Ended() {
		return Step{Do: WaitForFacts}
	}
	if step, decided := nextABM(d, p, now); decided {
		return step
	}
	return earlier(nextLoan(d, p, now), nextOnDevice(d, p, now))
}

// nextOnDevice decides on what concerns the device itself.
func nextOnDevice(d Device, p Policy, now time.Time) Step {
	switch {
	case d.deprovisioning():
		return nextDeprovision(d, p, now)
	case d.SetupAskedFor():
		return Step{Do: LeaveSetup, Reason: "An operator asked for it."}
	case d.InReview() && d.MayLeaveSetup() && p.ReviewFreesSetup:
		return earlier(nextSetup(d, p, now), nextReview(d, now))
	case d.InReview():
		return nextReview(d, now)
	case !d.MayAct():
		return Step{Do: WaitForFacts}
	}
	setup := nextSetup(d, p, now)
	if setup.Do != WaitForFacts {
		return setup
	}
	return earlier(setup, nextPlan(d, p, now))
}

// nextSetup minds the hold in Setup Assistant, which must end whatever happens.
func nextSetup(d Device, p Policy, now time.Time) Step {
	if !d.InSetup() {
		return Step{Do: WaitForFacts}
	}
	if d.Assignment.Complete() && d.PlanCurrent() && d.Verdict().BeforeReleaseLeft == 0 {
		return Step{Do: LeaveSetup, Plan: d.Plan.By, Reason: "Everything that must precede is on the device."}
	}
	deadline := d.Deadline(p)
	if now.Before(deadline) {
		return Step{Do: WaitForFacts, Until: deadline}
	}
	switch {
	case !d.keptInSetup(p, deadline):
		return Step{Do: LeaveSetup, Reason: "The time in Setup Assistant is up."}
	case d.alerted(deadline) || d.stuckNow():
		return Step{Do: WaitForFacts}
	}
	return Step{Do: ConcludeStuck, Plan: d.Plan.By, Until: deadline, Reason: setupReason(d)}
}

// keptInSetup: the policy keeps the device although its time is up. A failed item keeps it while it is tried again, too.
func (d Device) keptInSetup(p Policy, deadline time.Time) bool {
	switch p.HoldPolicy {
	case HoldKeepAndAlert:
		return true
	case HoldReleaseRequiredOnly:
		v := d.Verdict()
		return len(v.Failed) > 0 || d.PlanCurrent() && d.Plan.Round > 1 && v.RequiredLeft > 0 || d.alerted(deadline)
	case HoldRelease:
	}
	return false
}

// alerted: that this deadline passed with the device kept was recorded. It compares deadlines, not times of records,
// because the clocks of the workflow and of the store may differ.
func (d Device) alerted(deadline time.Time) bool {
	a := d.SetupAlert
	return a.Until != nil && a.Epoch == d.Activation.Epoch && a.Until.Equal(deadline)
}

func setupReason(d Device) string {
	const text = "The time in Setup Assistant is up and the policy keeps the device there"
	if failed := d.Verdict().Failed; len(failed) > 0 {
		return text + "; failed: " + strings.Join(failed, ", ")
	}
	return text
}

// Deadline is when the device's time in Setup Assistant is up.
func (d Device) Deadline(p Policy) time.Time {
	if d.SetupDeadline != nil && d.SetupExtendsIn == d.Activation.Epoch {
		return *d.SetupDeadline
	}
	return d.Activation.Activated.At.Add(p.SetupHold)
}

func nextPlan(d Device, p Policy, now time.Time) Step {
	applied := d.Plan.set() && d.Plan.Epoch == d.Activation.Epoch
	switch {
	case !d.Assignment.Complete() && !applied, d.stuckUnplanned():
		return Step{Do: WaitForFacts}
	case !d.PlanCurrent():
		return Step{Do: Apply, Round: 1}
	}
	v := d.Verdict()
	concluded := d.Enrolled.set() && d.Enrolled.Plan == d.Plan.By
	switch {
	case !concluded && d.MayEnroll():
		return Step{Do: ConcludeEnrolled, Plan: d.Plan.By}
	case len(v.Failed) > 0:
		return nextRetry(d, p, now)
	case v.RequiredLeft == 0 && v.RemovalsLeft == 0 && (!v.SetupLeft || d.InSetup() || d.setupStuck()):
		return Step{Do: WaitForFacts}
	}
	return nextNudge(d, p, now)
}

// stuckUnplanned: ApplyGroups could make no plan at all (a conflict between groups); nothing but a change of what is
// wanted helps.
func (d Device) stuckUnplanned() bool {
	return d.Stuck.set() && d.Stuck.Plan == 0 && d.Stuck.Until == nil && d.Stuck.Epoch == d.Activation.Epoch && d.Stuck.By > d.Wanted()
}

func nextRetry(d Device, p Policy, now time.Time) Step {
	v := d.Verdict()
	done := max(d.Plan.Round, 1)
	if done > len(p.RetryAfter) {
		if d.Stuck.set() && d.Stuck.Plan == d.Plan.By && d.Stuck.Until == nil {
			return Step{Do: WaitForFacts}
		}
		return Step{Do: ConcludeStuck, Plan: d.Plan.By, Reason: fmt.Sprintf("%s failed, tried %s", strings.Join(v.Failed, ", "), times(done))}
	}
	due := d.VerdictAt().Add(p.RetryAfter[done-1])
	if now.Before(due) {
		return Step{Do: WaitForFacts, Until: due}
	}
	return Step{Do: Apply, Plan: d.Plan.By, Round: done + 1, Reason: "Failed items are tried again."}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func nextNudge(d Device, p Policy, now time.Time) Step {
	if len(p.NudgeAfter) == 0 {
		return Step{Do: WaitForFacts}
	}
	pause := func(nudges int) time.Duration { return p.NudgeAfter[min(nudges, len(p.NudgeAfter)-1)] }
	count, due := 0, d.VerdictAt().Add(pause(0))
	if n := d.Nudged; n.set() && n.Plan == d.Plan.By {
		count = d.Nudges
		due = d.VerdictAt().Add(pause(count))
		if again := n.At.Add(pause(count)); again.After(due) {
			due = again
		}
		if n.Until != nil && n.Until.After(due) {
			due = *n.Until
		}
	}
	if now.Before(due) {
		return Step{Do: WaitForFacts, Until: due}
	}
	// The next time is said by the clock that will look at it; the clock that dates facts may be behind.
	return Step{Do: Nudge, Plan: d.Plan.By, Round: count + 1, Until: now.Add(pause(count + 1))}
}

// earlier joins a step, above all a wait, with another one that comes after it.
func earlier(wait, other Step) Step {
	if wait.Do != WaitForFacts {
		return wait
	}
	if other.Do != WaitForFacts {
		return other
	}
	if wait.Until.IsZero() || !other.Until.IsZero() && other.Until.Before(wait.Until) {
		return other
	}
	return wait
}
