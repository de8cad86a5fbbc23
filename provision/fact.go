package provision

import "time"

// Kind names a fact. For facts that reach the workflow it is the Temporal signal's name, so it is never renamed.
type Kind string

// Facts from outside. Delivered ones reach the device's workflow as signals.
const (
	// Registered: made known by hand, by API or with Apple Configurator.
	Registered Kind = "registered"
	// ABMSeen: listed by an Apple Business Manager server.
	ABMSeen Kind = "abm_seen"
	// ABMGone: no longer listed by its Apple Business Manager server.
	ABMGone Kind = "abm_gone"
	// Authenticated: an Authenticate check-in opened a new epoch. Activation waits for the TokenUpdate (R6).
	Authenticated Kind = "authenticated"
	// Activated: the first TokenUpdate of an epoch.
	Activated Kind = "activated"
	// CheckedOut: the MDM profile was removed and the device said so.
	CheckedOut Kind = "checked_out"
	// Assigned: user or technician, and groups, were given.
	Assigned Kind = "assigned"
	// Unassigned: user and groups were taken away; the device stays managed.
	Unassigned Kind = "unassigned"
	// Settled: the items of the current plan came to a verdict that may change what is done next.
	Settled Kind = "settled"
	// CatalogChanged: a group of this device, or something in it, was edited.
	CatalogChanged Kind = "catalog_changed"
	// SetupFinished: the device acknowledged DeviceConfigured.
	SetupFinished Kind = "setup_finished"
	// SetupRefused: the device refused DeviceConfigured.
	SetupRefused Kind = "setup_refused"
	// CheckedIn: the device talked to us after Apple Business Manager took it off its server (R55).
	CheckedIn Kind = "checked_in"
	// ABMAnswered: Apple said what became of something that it was asked for: see [ABMVerb].
	ABMAnswered Kind = "abm_answered"
	// SignInHeld: somebody signed in on a device that is reserved for somebody else (R53).
	SignInHeld Kind = "sign_in_held"
	// DeprovisionRefused: the device refused what would deprovision it.
	DeprovisionRefused Kind = "deprovision_refused"
	// ABMBlocked: the Apple Business Manager server that the device waits for stopped working, or works again.
	ABMBlocked Kind = "abm_blocked"
	// Withdrawn: the serial number was a mistake, or only an import that was taken back made it known. It ends a life that
	// nobody but people knew of: see [Device.Withdrawn].
	Withdrawn Kind = "withdrawn"
	// IdentityRenewed: the device goes on with a new certificate, in the enrollment that it has.
	IdentityRenewed Kind = "identity_renewed"
)

// Requests by operators. They are facts too: that somebody asked.
const (
	ReleaseRequest   Kind = "release"
	HoldRequest      Kind = "hold"
	ResumeRequest    Kind = "resume"
	RetryItem        Kind = "retry_item"
	ExtendHold       Kind = "extend_hold"
	ReleaseFromSetup Kind = "release_from_setup"
	// CancelRelease takes a release back that was not carried out yet.
	CancelRelease Kind = "cancel_release"
	// UnassignFromMDM asks for the device to be taken off this MDM server in Apple Business Manager (R54).
	UnassignFromMDM Kind = "unassign_from_mdm"
	// Deprovision ends the device's management (R56): Reason says why, Choice how.
	Deprovision Kind = "deprovision"
	// DeviceProfileChosen: the device shall be set up by the device profile that ABM names, "" = by its groups' or its server's.
	// It is for the audit only, and never delivered.
	DeviceProfileChosen Kind = "device_profile_chosen"
	// SignInReviewed: an operator, or the time that passed, decided for whom the device was reserved.
	SignInReviewed Kind = "sign_in_reviewed"
)

// Decisions of the workflow: recorded, never delivered.
const (
	Provisioning  Kind = "provisioning"
	SetupReleased Kind = "setup_released"
	Enrolled      Kind = "enrolled"
	Stuck         Kind = "stuck"
	Nudged        Kind = "nudged"
	Released      Kind = "released"
	// ABMAsked: something is to be asked of Apple for this device.
	ABMAsked Kind = "abm_asked"
	// DeprovisionSent: the command was queued that deprovisions the device.
	DeprovisionSent Kind = "deprovision_sent"
	// Reminded: that the device is due back, or overdue, was noted for those who listen.
	Reminded Kind = "reminded"
)

var delivered = map[Kind]bool{
	ABMSeen: true, ABMGone: true, Activated: true, CheckedOut: true, Assigned: true, Unassigned: true, Settled: true,
	CatalogChanged: true, ReleaseRequest: true, HoldRequest: true, ResumeRequest: true, RetryItem: true, ExtendHold: true,
	ReleaseFromSetup: true, CancelRelease: true, UnassignFromMDM: true, CheckedIn: true, ABMBlocked: true,
	SignInHeld: true, SignInReviewed: true, Deprovision: true, DeprovisionRefused: true, Withdrawn: true,
}

// Signals lists the kinds that reach workflows, sorted as documented.
func Signals() []Kind {
	return []Kind{
		ABMSeen, ABMGone, Activated, Authenticated, CheckedOut, Assigned, Unassigned, Settled, CatalogChanged,
		ReleaseRequest, HoldRequest, ResumeRequest, RetryItem, ExtendHold, ReleaseFromSetup, SetupFinished, SetupRefused,
		CancelRelease, UnassignFromMDM, CheckedIn, ABMAnswered, ABMBlocked,
		SignInHeld, SignInReviewed, Deprovision, DeprovisionRefused, Withdrawn,
	}
}

// Begins reports whether a fact of this kind may start a device's workflow. Any other starts one only where one was lost:
// see [Device.Began].
func (k Kind) Begins() bool { return k == ABMSeen || k == Assigned || k == Activated }

// InEpoch reports whether a fact of this kind is about one enrollment, so that one that names none means the current.
func (k Kind) InEpoch() bool {
	return k == CheckedOut || k == ExtendHold || k == ReleaseFromSetup || k == Deprovision
}

// Priority orders deliveries among devices: lower first.
type Priority int

// Priorities. A person who waits comes before a sync and what is done to a few devices at once, those before a bulk change.
const (
	Interactive Priority = 0
	Sync        Priority = 1
	Bulk        Priority = 2
)

// Source says how a fact came in.
type Source string

// Sources of facts.
const (
	FromAPI      Source = "api"
	FromConsole  Source = "console"
	FromCSV      Source = "csv"
	FromSignIn   Source = "enrollment_sign_in"
	FromDevice   Source = "device"
	FromABM      Source = "abm"
	FromWorkflow Source = "workflow"
	FromOperator Source = "temporal_signal"
	FromCLI      Source = "cli"
)

// Fact is something that happened to one device. Its JSON is the payload of Temporal signals and part of workflow
// histories: fields are added, never renamed.
type Fact struct {
	// ID is the row in device_events, rising per device. 0 = not recorded yet (an operator's hand-made signal).
	ID   int64 `json:"id"`
	Kind Kind  `json:"kind"`
	// Epoch is the enrollment that the fact belongs to; 0 where enrollments don't matter.
	Epoch  int       `json:"epoch,omitempty"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor,omitempty"`
	Source Source    `json:"source,omitempty"`
	// Reason is the operator's or the rule's, for releases, holds and stuck devices.
	Reason string `json:"reason,omitempty"`

	Assignment *Assignment `json:"assignment,omitempty"`
	ABM        *ABMFact    `json:"abm,omitempty"`
	// AwaitingConfiguration of an Activated: the device waits in Setup Assistant for DeviceConfigured.
	AwaitingConfiguration bool `json:"awaiting_configuration,omitempty"`
	// Plan is the id of the Provisioning fact that a Settled, Enrolled, Stuck or Nudged is about.
	Plan int64 `json:"plan,omitempty"`
	// For is the newest fact that a Provisioning took into account: see [Device.Wanted].
	For int64 `json:"for,omitempty"`
	// Round counts the tries of one plan, or the refusals of DeviceConfigured, from 1.
	Round   int      `json:"round,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`
	// Until is a new deadline (ExtendHold), the one whose passing led to a Stuck, when to nudge or to ask Apple again at the
	// earliest, or when a SignInHeld is decided without an operator.
	Until *time.Time `json:"until,omitempty"`
	// Operation is the import, or the operation on many devices, that the fact is part of; Line the row there, from 1.
	Operation string `json:"operation,omitempty"`
	Line      int64  `json:"line,omitempty"`
	// Choice is how a SignInHeld is decided when nobody does, or how a Deprovision is carried out.
	Choice string `json:"choice,omitempty"`
}

// Assignment is who a device is for. People are named by their id in the store only: no personal data enters a workflow.
type Assignment struct {
	UserID       string   `json:"user_id,omitempty"`
	TechnicianID string   `json:"technician_id,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	OwnedBy      string   `json:"owned_by,omitempty"`
	// Requirement is the setting assignment_requirement when the assignment was made: user (default) or user_or_group.
	Requirement string `json:"requirement,omitempty"`
	// EffectiveAt is when an assignment for later comes into force; ReturnBy when a loan ends.
	EffectiveAt *time.Time `json:"effective_at,omitempty"`
	ReturnBy    *time.Time `json:"return_by,omitempty"`
}

// Owners and assignment requirements.
const (
	Corporate      = "Corporate"
	Personal       = "Personal"
	RequireUser    = "user"
	RequireUserOrG = "user_or_group"
)

// Complete reports whether the assignment is enough to finish enrollment: a user or a technician; under user_or_group a
// group will do.
func (a *Assignment) Complete() bool {
	if a == nil {
		return false
	}
	if a.UserID != "" || a.TechnicianID != "" {
		return true
	}
	return a.Requirement == RequireUserOrG && len(a.Groups) > 0
}

// Verdict sums up the items of a plan.
type Verdict struct {
	// Total counts the items wanted on the device.
	Total int `json:"total"`
	// BeforeReleaseLeft and RequiredLeft count the items not verified yet; the first are part of the second.
	BeforeReleaseLeft int `json:"before_release_left"`
	RequiredLeft      int `json:"required_left"`
	// RemovalsLeft counts what no longer belongs on the device and is still there.
	RemovalsLeft int `json:"removals_left,omitempty"`
	// Failed names the required items that failed and were not tried again yet.
	Failed []string `json:"failed,omitempty"`
	// SetupLeft: the device has not left Setup Assistant.
	SetupLeft bool `json:"setup_left,omitempty"`
}

// done reports whether nothing is left that "Enrolled" waits for.
func (v Verdict) done() bool { return v.RequiredLeft == 0 && !v.SetupLeft }

// Equal reports whether two verdicts say the same.
func (v Verdict) Equal(o Verdict) bool {
	if v.Total != o.Total || v.BeforeReleaseLeft != o.BeforeReleaseLeft || v.RequiredLeft != o.RequiredLeft ||
		v.RemovalsLeft != o.RemovalsLeft || v.SetupLeft != o.SetupLeft || len(v.Failed) != len(o.Failed) {
		return false
	}
	for i := range v.Failed {
		if v.Failed[i] != o.Failed[i] {
			return false
		}
	}
	return true
}

// Delivery is a fact on its way to its device's workflow.
type Delivery struct {
	Serial   string
	Fact     Fact
	Priority Priority
	// Over: the device was released by us or withdrawn since, so the fact must not begin a new workflow.
	Over bool
	// Device is the device as stored when the fact was claimed, for a workflow that begins with it: facts of earlier, such
	// as a hold of a device that was only registered, found no workflow to go to.
	Device Device
}

// Receipt says what became of facts that were to be delivered. A fact that it does not name is still due.
type Receipt struct {
	// Delivered are the ids of facts that reached their workflows, or have none to reach any more.
	Delivered []int64
	// Later are facts whose delivery broke down alone; their devices wait a moment.
	Later []int64
	// Refused are facts that would be refused again, with what was said. The device's later facts overtake them, which
	// does no harm because [Fold] doesn't mind the order.
	Refused map[int64]string
}
