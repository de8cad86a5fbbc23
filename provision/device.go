package provision

import "time"

// Mark is the fact that moved an axis last: its id and time. The zero Mark means never.
type Mark struct {
	By int64     `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
}

func (m Mark) set() bool { return m.By != 0 }

// ActivationState orders what an epoch goes through; a later state never goes back.
type ActivationState int

// States of an epoch.
const (
	NeverEnrolled ActivationState = iota
	// Opened: Authenticate came, TokenUpdate did not.
	Opened
	// Active: enrolled into MDM.
	Active
	// Ended: checked out.
	Ended
)

// Activation is the device's newest enrollment. Epoch counts enrollments from 1; 0 means that there was none.
type Activation struct {
	Epoch     int             `json:"epoch,omitempty"`
	State     ActivationState `json:"state,omitempty"`
	Opened    Mark            `json:"opened,omitzero"`
	Activated Mark            `json:"activated,omitzero"`
	Ended     Mark            `json:"ended,omitzero"`
	// Awaiting: the device said at activation that it waits in Setup Assistant.
	Awaiting bool `json:"awaiting,omitempty"`
}

// Plan is what the last ApplyGroups set out to do. Its identity is the id of its Provisioning fact, Mark.By.
type Plan struct {
	Mark
	Epoch int `json:"epoch,omitempty"`
	// For is the newest fact that the plan took into account.
	For   int64 `json:"for,omitempty"`
	Round int   `json:"round,omitempty"`
	// Begin is the verdict at the start.
	Begin Verdict `json:"begin,omitzero"`
}

// About is a conclusion about one plan.
type About struct {
	Mark
	Plan   int64  `json:"plan,omitempty"`
	Epoch  int    `json:"epoch,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Until is the deadline whose passing led to the conclusion, if one did; of a nudge, when the next may be.
	Until *time.Time `json:"until,omitempty"`
}

// Device is everything known of one device, folded from facts. It is part of workflow histories and of the devices
// table: fields are added, never renamed.
type Device struct {
	Serial string `json:"serial"`
	Known  Mark   `json:"known,omitzero"`
	// Registered is the newest time that somebody made the device known by hand, Withdrawal that somebody took its serial
	// number back: see [Device.Withdrawn].
	Registered Mark       `json:"registered,omitzero"`
	Withdrawal Mark       `json:"withdrawal,omitzero"`
	ABM        ABMFact    `json:"abm,omitzero"`
	ABMMark    Mark       `json:"abm_mark,omitzero"`
	Activation Activation `json:"activation,omitzero"`

	Assignment     *Assignment `json:"assignment,omitempty"`
	AssignmentMark Mark        `json:"assignment_mark,omitzero"`
	// AssignedFor is the enrollment that the assignment was made for by signing in; 0 = by other means.
	AssignedFor int `json:"assigned_for,omitempty"`
	// Planned is an assignment for later; PlannedMark the newest word on any assignment.
	Planned     *Assignment `json:"planned,omitempty"`
	PlannedMark Mark        `json:"planned_mark,omitzero"`
	// Reminded is about the assignment whose id is Plan; Reminders counts.
	Reminded  About  `json:"reminded,omitzero"`
	Reminders int    `json:"reminders,omitempty"`
	Review    Review `json:"review,omitzero"`
	Reviewed  Mark   `json:"reviewed,omitzero"`
	Catalog   Mark   `json:"catalog,omitzero"`
	Retry     Mark   `json:"retry,omitzero"`

	Plan        Plan    `json:"plan,omitzero"`
	Settled     About   `json:"settled,omitzero"`
	LastVerdict Verdict `json:"verdict,omitzero"`
	Enrolled    About   `json:"enrolled,omitzero"`
	Stuck       About   `json:"stuck,omitzero"`
	Nudged      About   `json:"nudged,omitzero"`
	Nudges      int     `json:"nudges,omitempty"`

	// SetupReleased: DeviceConfigured was sent in epoch SetupEpoch.
	SetupReleased Mark `json:"setup_released,omitzero"`
	SetupEpoch    int  `json:"setup_epoch,omitempty"`
	// SetupDone: the device acknowledged it in epoch SetupDoneIn.
	SetupDone   Mark `json:"setup_done,omitzero"`
	SetupDoneIn int  `json:"setup_done_in,omitempty"`
	// SetupRefused is the newest refusal, the SetupTries-th in a row.
	SetupRefused   About      `json:"setup_refused,omitzero"`
	SetupTries     int        `json:"setup_tries,omitempty"`
	SetupAsked     Mark       `json:"setup_asked,omitzero"`
	SetupAskedIn   int        `json:"setup_asked_in,omitempty"`
	SetupDeadline  *time.Time `json:"setup_deadline,omitempty"`
	SetupExtended  Mark       `json:"setup_extended,omitzero"`
	SetupExtendsIn int        `json:"setup_extends_in,omitempty"`
	// SetupAlert is the newest Stuck that a deadline in Setup Assistant led to.
	SetupAlert About `json:"setup_alert,omitzero"`

	OnHold     bool   `json:"on_hold,omitempty"`
	HoldReason string `json:"hold_reason,omitempty"`
	HoldMark   Mark   `json:"hold_mark,omitzero"`

	ReleaseAsked     Mark   `json:"release_asked,omitzero"`
	ReleaseReason    string `json:"release_reason,omitempty"`
	ReleaseCancelled Mark   `json:"release_cancelled,omitzero"`
	Released         Mark   `json:"released,omitzero"`

	// Deprovision is the newest wish to end the device's management, of the enrollment Epoch; DeprovisionBy says how.
	Deprovision         About  `json:"deprovision,omitzero"`
	DeprovisionBy       string `json:"deprovision_by,omitempty"`
	DeprovisionSent     About  `json:"deprovision_sent,omitzero"`
	DeprovisionRefused  About  `json:"deprovision_refused,omitzero"`
	DeprovisionRefusals int    `json:"deprovision_refusals,omitempty"`

	// CheckedIn is when the device was last heard of that was off its server: see [Device.AwaitsCheckIn].
	CheckedIn     Mark `json:"checked_in,omitzero"`
	UnassignAsked Mark `json:"unassign_asked,omitzero"`
	// What Apple was asked for.
	ABMProfile  ABMRequest `json:"abm_profile,omitzero"`
	ABMUnassign ABMRequest `json:"abm_unassign,omitzero"`
	ABMRelease  ABMRequest `json:"abm_release,omitzero"`
	ABMBlock    Block      `json:"abm_block,omitzero"`
}

// Delivers reports whether the fact must reach the device's workflow. An Authenticate changes a decision only when it
// ends an enrollment that was active, and the status only then or when the last one was checked out. How a device leaves
// Setup Assistant matters to the workflow when that has failed for good, and when it went well after all; otherwise the
// next Settled tells it, of which those are delivered that decide something.
func (d Device) Delivers(f Fact) bool {
	switch f.Kind {
	case Authenticated:
		return d.Activation.State == Active || d.Activation.State == Ended
	case SetupRefused:
		return f.Round >= MostSetupTries
	case SetupFinished:
		return d.setupStuck()
	case Settled:
		return f.Verdict == nil || d.decides(*f.Verdict)
	case Withdrawn:
		return d.Began() // otherwise there is no workflow that it could end
	case SignInReviewed:
		return d.InReview() // otherwise it only notes that the policy decided at once
	case ABMAnswered:
		return f.ABM != nil && d.request(f.ABM.Verb) != nil && d.request(f.ABM.Verb).delivers(f)
	}
	return delivered[f.Kind]
}

// NextEpoch is the epoch that an Authenticate opens now: a new one, or the one that is open and never became active (a
// device that repeats its Authenticate).
func (d Device) NextEpoch() int {
	if d.Activation.State == Opened {
		return d.Activation.Epoch
	}
	return d.Activation.Epoch + 1
}

// AssignedBefore reports whether the device's assignment was made for the enrollment that it has, or had last. One that was
// made after a CheckOut is for the next.
func (d Device) AssignedBefore() bool {
	switch d.Activation.State {
	case NeverEnrolled, Opened:
		return false
	case Active, Ended:
	}
	if d.AssignedFor > d.Activation.Epoch {
		return false
	}
	return d.Assignment != nil && (!d.Activation.Ended.set() || d.AssignmentMark.By < d.Activation.Ended.By)
}

// Active reports whether the device is enrolled into MDM now.
func (d Device) Active() bool { return d.Activation.State == Active }

// Wanted is the newest fact that changes what should be on the device: assignment, catalog, retry or activation.
func (d Device) Wanted() int64 {
	return max(d.Activation.Activated.By, d.AssignmentMark.By, d.Catalog.By, d.Retry.By)
}

// PlanCurrent reports whether the plan belongs to this epoch and took everything wanted into account.
func (d Device) PlanCurrent() bool {
	return d.Plan.set() && d.Plan.Epoch == d.Activation.Epoch && d.Plan.For >= d.Wanted()
}

// Verdict is the newest verdict on the plan of this epoch.
func (d Device) Verdict() Verdict {
	if d.Plan.Epoch != d.Activation.Epoch {
		return Verdict{}
	}
	if d.Settled.Plan == d.Plan.By {
		return d.LastVerdict
	}
	return d.Plan.Begin
}

// VerdictAt is when that verdict was reached.
func (d Device) VerdictAt() time.Time {
	if d.Settled.Plan == d.Plan.By && d.Settled.set() {
		return d.Settled.At
	}
	return d.Plan.At
}

// MayAct reports whether anything may be sent to the device or concluded about it now: it is enrolled into MDM, nobody
// asked for its release or deprovisioned it, and neither an operator, nor Apple Business Manager, nor a sign-in that
// somebody must decide on holds it.
func (d Device) MayAct() bool { return d.MayLeaveSetup() && !d.InReview() }

// MayLeaveSetup reports whether the device may be let out of Setup Assistant when its time there is up: a sign-in that somebody
// must decide on doesn't keep it there.
func (d Device) MayLeaveSetup() bool {
	return d.Active() && !d.Leaving() && !d.OnHold && d.ABM.State != ABMConflict && !d.Deprovisioned()
}

// Began reports whether a fact came in that begins a device's workflow: one should run until the device is released.
func (d Device) Began() bool {
	return d.ABMMark.set() || d.AssignmentMark.set() || d.Activation.Activated.set() || d.Activation.Epoch > 1
}

// Leaving reports whether the device was released or its release was asked for and not cancelled.
func (d Device) Leaving() bool { return d.Released.set() || d.ReleasePending() }

// MayEnroll reports whether every condition of "Enrolled" holds (R1, R80): active, assigned, plan current, nothing
// required left, and out of Setup Assistant.
func (d Device) MayEnroll() bool {
	return d.Active() && d.Assignment.Complete() && d.PlanCurrent() && d.Verdict().done() && !d.InSetup() &&
		!d.Released.set()
}
