package provision

import (
	"fmt"
	"time"
)

// foldAssignment minds assignments for now and for later: the newest word of either kind counts, and one for now ends one
// for later that was made before.
func (d *Device) foldAssignment(f Fact) {
	if f.Kind == Assigned && f.Assignment != nil && f.Assignment.EffectiveAt != nil {
		if d.PlannedMark.newer(f) {
			d.Planned = f.Assignment
		}
		return
	}
	if d.PlannedMark.newer(f) {
		d.Planned = nil
	}
	if d.AssignmentMark.newer(f) {
		d.Assignment, d.AssignedFor = nil, 0
		if f.Kind == Assigned {
			d.Assignment, d.AssignedFor = f.Assignment, f.Epoch
		}
	}
}

// PlannedFact is the fact by which an assignment for later comes into force.
func (d Device) PlannedFact() Fact {
	a := *d.Planned
	a.EffectiveAt = nil
	return Fact{Kind: Assigned, Assignment: &a, Source: FromWorkflow, For: d.PlannedMark.By}
}

// nextLoan waits for an assignment to come into force and for a loan to end.
func nextLoan(d Device, p Policy, now time.Time) Step {
	wait := Step{Do: WaitForFacts}
	if d.Planned != nil {
		if wait.Until = *d.Planned.EffectiveAt; !now.Before(wait.Until) {
			return Step{Do: ConcludePlanned, Plan: d.PlannedMark.By}
		}
	}
	round, at := d.nextReminder(p)
	switch {
	case at.IsZero():
	case now.Before(at):
		wait = earlier(wait, Step{Do: WaitForFacts, Until: at})
	default:
		return Step{Do: Remind, Plan: d.AssignmentMark.By, Round: round, Reason: reminderOf(d, p, round)}
	}
	return wait
}

// nextReminder is the next reminder of the device's return, counted from 1, and its time; zero when there is none left.
// Of several that are due, the last counts.
func (d Device) nextReminder(p Policy) (round int, at time.Time) {
	if d.Assignment == nil || d.Assignment.ReturnBy == nil || d.Over() {
		return 0, time.Time{}
	}
	done := 0
	if d.Reminded.Plan == d.AssignmentMark.By {
		done = d.Reminders
	}
	if done > len(p.RemindBefore) {
		return 0, time.Time{}
	}
	round = done + 1
	if round > len(p.RemindBefore) {
		return round, *d.Assignment.ReturnBy
	}
	return round, d.Assignment.ReturnBy.Add(-p.RemindBefore[round-1])
}

func reminderOf(d Device, p Policy, round int) string {
	at := d.Assignment.ReturnBy.UTC().Format("2006-01-02 15:04 MST")
	if round > len(p.RemindBefore) {
		return fmt.Sprintf("The device was due back on %s.", at)
	}
	return fmt.Sprintf("The device is due back on %s.", at)
}

// Overdue reports whether the device should have been returned.
func (d Device) Overdue(now time.Time) bool {
	return d.Assignment != nil && d.Assignment.ReturnBy != nil && !d.Over() && !now.Before(*d.Assignment.ReturnBy)
}

// explainLoan names what is to come of the assignment.
func (d Device) explainLoan(now time.Time) []Wait {
	var waits []Wait
	if d.Planned != nil {
		at := *d.Planned.EffectiveAt
		waits = append(waits, Wait{For: "An assignment for later is kept and comes into force by itself.", Since: d.PlannedMark.At, Who: whoMuster, Until: coming(&at, now)})
	}
	if d.Overdue(now) {
		waits = append(waits, Wait{
			For:   fmt.Sprintf("The device was due back on %s.", d.Assignment.ReturnBy.UTC().Format("2006-01-02 15:04 MST")),
			Since: *d.Assignment.ReturnBy, Who: "the person who has the device; a technician, with unassign",
		})
	}
	return waits
}
