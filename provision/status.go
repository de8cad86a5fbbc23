package provision

import (
	"fmt"
	"strings"
	"time"
)

// Status is what a device's facts amount to. It is always derived, never set.
type Status string

// Statuses. [StatusAwaiting] is shown by its labels: see [Device.Labels].
const (
	StatusAwaiting        Status = "Awaiting"
	StatusProvisioning    Status = "Provisioning"
	StatusEnrolled        Status = "Enrolled"
	StatusUnassignPending Status = "Unassign Pending"
	StatusUnassigned      Status = "Unassigned"
	StatusUnmanaged       Status = "Unmanaged"
	StatusReleased        Status = "Released"
)

// The two labels of R2–R4, spelled as people see them.
const (
	AwaitingActivation = "Awaiting Device Activation"
	AwaitingAssignment = "Awaiting User Assignment"
)

// Management says whether an MDM profile is on the device (R11–R13).
type Management string

// Management states.
const (
	Staged    Management = "staged"
	Managed   Management = "managed"
	Unmanaged Management = "unmanaged"
)

// Status derives the device's status.
func (d Device) Status() Status {
	switch {
	case d.Released.set():
		return StatusReleased
	case d.Activation.State == Ended:
		return StatusUnmanaged
	case d.ABM.State == ABMUnassigned && d.Active():
		return StatusUnassignPending
	case d.ABM.State == ABMUnassigned:
		return StatusUnassigned
	case !d.Active() || !d.Assignment.Complete():
		return StatusAwaiting
	case d.Enrolled.set() && d.Enrolled.Plan == d.Plan.By && d.PlanCurrent():
		return StatusEnrolled
	}
	return StatusProvisioning
}

// Awaiting lists which of the two facts are missing (R2–R4); empty once both came or the question no longer arises.
func (d Device) Awaiting() []string {
	if d.Status() != StatusAwaiting {
		return nil
	}
	var labels []string
	if !d.Active() {
		labels = append(labels, AwaitingActivation)
	}
	if !d.Assignment.Complete() {
		labels = append(labels, AwaitingAssignment)
	}
	return labels
}

// Labels are what a person sees as the status: one label, or two while both facts are missing.
func (d Device) Labels() []string {
	if awaiting := d.Awaiting(); len(awaiting) > 0 {
		return awaiting
	}
	return []string{string(d.Status())}
}

// Management derives staged, managed or unmanaged.
func (d Device) Management() Management {
	switch d.Activation.State {
	case Active:
		return Managed
	case Ended:
		return Unmanaged
	case NeverEnrolled, Opened:
	}
	return Staged
}

// BlockedBy names what keeps the device from going on although nothing it waits for is missing: on_hold,
// abm_conflict or stuck; "" when nothing does.
func (d Device) BlockedBy() string {
	switch {
	case d.Released.set():
		return ""
	case d.OnHold:
		return "on_hold"
	case d.ABM.State == ABMConflict:
		return "abm_conflict"
	case d.stuckNow():
		return "stuck"
	}
	return ""
}

// stuckNow reports whether the last word on the current plan is that it can't go on alone.
func (d Device) stuckNow() bool {
	return d.Stuck.set() && (d.Stuck.Plan == d.Plan.By || d.Stuck.Plan == 0) && d.Stuck.By > max(d.Wanted(), d.Plan.By) &&
		d.Status() == StatusProvisioning
}

// Wait is one thing a device waits for.
type Wait struct {
	// For is a sentence; Since when it has been so; Who can end it.
	For   string    `json:"for"`
	Since time.Time `json:"since"`
	Who   string    `json:"who"`
	// Until is when Muster acts by itself, if it will.
	Until *time.Time `json:"until,omitempty"`
}

// Explain says what a device that isn't Enrolled waits for, since when and who can unblock it. It is empty only for
// Enrolled and Released devices.
func (d Device) Explain(p Policy, now time.Time) []Wait {
	var waits []Wait
	if d.OnHold && !d.Released.set() {
		waits = append(waits, Wait{For: sentence("The device is on hold", d.HoldReason), Since: d.HoldMark.At, Who: "an operator, with resume"})
	}
	if d.ReleaseAsked.set() && !d.Released.set() {
		waits = append(waits, Wait{For: "The release was asked for and is being carried out.", Since: d.ReleaseAsked.At, Who: "Muster"})
	}
	switch d.Status() {
	case StatusAwaiting:
		waits = append(waits, d.explainAwaiting()...)
	case StatusProvisioning:
		waits = append(waits, d.explainProvisioning(p, now)...)
	case StatusUnmanaged:
		waits = append(waits, Wait{For: "The management profile was removed; the device must be enrolled again.", Since: d.Activation.Ended.At, Who: "the person who holds the device"})
	case StatusUnassigned, StatusUnassignPending:
		waits = append(waits, Wait{For: "The device was taken off this server in Apple Business Manager.", Since: d.ABMMark.At, Who: "an administrator of Apple Business Manager"})
	case StatusEnrolled, StatusReleased:
	}
	return waits
}

func (d Device) explainAwaiting() []Wait {
	var waits []Wait
	if !d.Active() {
		w := Wait{For: AwaitingActivation + ": the device must be switched on, reach Apple and enroll.", Since: d.Known.At, Who: "the person who holds the device"}
		if d.Activation.State == Opened {
			w = Wait{For: AwaitingActivation + ": enrollment began; the device has not sent its push token yet.", Since: d.Activation.Opened.At, Who: "the device"}
		}
		waits = append(waits, w)
	}
	if !d.Assignment.Complete() {
		since := d.Known.At
		if d.AssignmentMark.set() {
			since = d.AssignmentMark.At
		}
		text := AwaitingAssignment + ": nobody is assigned."
		if d.Assignment != nil && len(d.Assignment.Groups) > 0 {
			text = fmt.Sprintf("%s: groups %s are kept, but no user or technician is given.", AwaitingAssignment, strings.Join(d.Assignment.Groups, ", "))
		}
		waits = append(waits, Wait{For: text, Since: since, Who: "a technician, with assign"})
	}
	return waits
}

func (d Device) explainProvisioning(p Policy, now time.Time) []Wait {
	step := Next(d, p, now)
	until := func() *time.Time {
		if step.Until.IsZero() {
			return nil
		}
		return &step.Until
	}()
	v := d.Verdict()
	switch {
	case d.stuckNow():
		return []Wait{{For: sentence("Provisioning can't go on by itself", d.Stuck.Reason), Since: d.Stuck.At, Who: "an administrator: mend the item or the group, then retry"}}
	case !d.PlanCurrent():
		return []Wait{{For: "What belongs on the device is being worked out and sent.", Since: d.wantedAt(), Who: "Muster"}}
	case len(v.Failed) > 0:
		return []Wait{{For: fmt.Sprintf("Failed: %s. They are tried again.", strings.Join(v.Failed, ", ")), Since: d.VerdictAt(), Who: "Muster", Until: until}}
	case d.InSetup() && v.BeforeReleaseLeft > 0:
		return []Wait{{For: fmt.Sprintf("The device is held in Setup Assistant until %d more items are on it.", v.BeforeReleaseLeft), Since: d.Activation.Activated.At, Who: "the device", Until: until}}
	case v.RequiredLeft == 0:
		return []Wait{{For: "All required items are verified; enrollment is being concluded.", Since: d.VerdictAt(), Who: "Muster"}}
	}
	return []Wait{{For: fmt.Sprintf("%d of %d items are still to be installed and verified.", v.RequiredLeft, v.Total), Since: d.Plan.At, Who: "the device", Until: until}}
}

func (d Device) wantedAt() time.Time {
	newest := Mark{}
	for _, m := range []Mark{d.Activation.Activated, d.AssignmentMark, d.Catalog, d.Retry} {
		if m.By > newest.By {
			newest = m
		}
	}
	return newest.At
}

func sentence(text, reason string) string {
	if reason == "" {
		return text + "."
	}
	return text + ": " + strings.TrimSuffix(reason, ".") + "."
}
