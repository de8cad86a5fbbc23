package provision

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
	StatusDeprovisioned   Status = "Deprovisioned"
	// StatusReleased: by us, or by Apple Business Manager while no management profile is on the device. Only the first is for
	// good: see [Device.Over].
	StatusReleased Status = "Released"
	// StatusWithdrawn is that of a serial number that was taken back: see [Device.Withdrawn].
	StatusWithdrawn Status = "Withdrawn"
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
	case d.Withdrawn():
		return StatusWithdrawn
	case d.Deprovisioned():
		return StatusDeprovisioned
	case d.Activation.State == Ended && d.ABM.State != ABMReleased:
		return StatusUnmanaged
	case d.AwaitsCheckIn():
		return StatusUnassignPending
	case d.ABM.State == ABMReleased && !d.Active():
		return StatusReleased
	case d.OffABM():
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
	if d.Deprovisioned() {
		return Unmanaged
	}
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
// abm_conflict, sign_in_review, a [BlockCause] of its Apple Business Manager server, or stuck; "" when nothing does.
func (d Device) BlockedBy() string {
	switch {
	case d.Ended():
		return ""
	case d.OnHold:
		return "on_hold"
	case d.ABM.State == ABMConflict:
		return "abm_conflict"
	case d.InReview():
		return "sign_in_review"
	case d.blockedByABM():
		return string(d.ABMBlock.Cause)
	case d.stuckNow(), d.setupStuck() && d.underWay():
		return "stuck"
	}
	return ""
}

func (d Device) blockedByABM() bool {
	return d.ABMBlock.Cause != "" && d.ABMBlock.Server == d.ABM.Server && d.WaitsForABM()
}

// stuckNow reports whether the last word on the current plan is that it can't go on alone.
func (d Device) stuckNow() bool {
	s := d.Stuck
	if !s.set() || s.Epoch != d.Activation.Epoch || s.By < max(d.Wanted(), d.Plan.By) || s.Plan != 0 && s.Plan != d.Plan.By {
		return false
	}
	if s.Until != nil && (!d.InSetup() || d.SetupExtendsIn == s.Epoch && d.SetupExtended.By > s.By) {
		return false // it was about the time in Setup Assistant, and that is over or has begun anew
	}
	return d.underWay()
}

// underWay reports whether something is still to come before the enrolled device is Enrolled.
func (d Device) underWay() bool {
	status := d.Status()
	return status == StatusProvisioning || status == StatusAwaiting && d.Active()
}
