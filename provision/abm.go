package provision

import (
	"fmt"
	"time"
)

// ABMFact is what an Apple Business Manager server said of a device, or was asked for it.
type ABMFact struct {
	Server string   `json:"server"`
	State  ABMState `json:"state"`
	// Other is the server that still claims the device, of a conflict.
	Other string `json:"other,omitempty"`

	// Verb is what Apple is asked for (ABMAsked, ABMAnswered); Outcome and Result are of the answer, Result in Apple's own
	// words. Fact.Until is when it is asked again.
	Verb    ABMVerb    `json:"verb,omitempty"`
	Outcome ABMOutcome `json:"outcome,omitempty"`
	Result  string     `json:"result,omitempty"`
	// Profile is the device profile that an AssignProfile is about.
	Profile string `json:"profile,omitempty"`
	// Cause is why the server doesn't work, of an ABMBlocked; "" = it works again.
	Cause BlockCause `json:"cause,omitempty"`
}

// ABMState is how Apple Business Manager stands to a device.
type ABMState string

// States on the ABM axis.
const (
	ABMUnknown    ABMState = ""
	ABMPresent    ABMState = "present"
	ABMUnassigned ABMState = "unassigned"
	ABMReleased   ABMState = "released"
	// ABMMissing: no longer listed, and not known yet why.
	ABMMissing ABMState = "missing"
	// ABMConflict: listed by a server while another one lists it, too.
	ABMConflict ABMState = "conflict"
)

// ABMVerb is something that Apple is asked to do with a device.
type ABMVerb string

// What Apple is asked for.
const (
	AssignProfile  ABMVerb = "assign_profile"
	UnassignDevice ABMVerb = "unassign"
	ReleaseDevice  ABMVerb = "release"
)

// ABMOutcome is what became of it.
type ABMOutcome string

// Outcomes.
const (
	// ABMDone: Apple did it.
	ABMDone ABMOutcome = "done"
	// ABMRetrying: Apple did not; it is asked again.
	ABMRetrying ABMOutcome = "retrying"
	// ABMGuided: no API does it for this server; a person must, in Apple's portal, and the next sync confirms it.
	ABMGuided ABMOutcome = "guided"
)

// BlockCause is why an Apple Business Manager server can't be used. It is the blocked_by of the devices that wait for it.
type BlockCause string

// Causes.
const (
	BlockedTokenExpired  BlockCause = "abm_token_expired" //nolint:gosec // a cause, not a credential
	BlockedTokenRejected BlockCause = "abm_token_rejected"
	BlockedTerms         BlockCause = "abm_terms"
	BlockedAccess        BlockCause = "abm_access"
	BlockedUnreachable   BlockCause = "abm_unreachable"
)

// blockSentences say what is wrong and who can mend it.
var blockSentences = map[BlockCause][2]string{
	BlockedTokenExpired:  {"The server token of Apple Business Manager server %q has expired", "an administrator: renew the server token"},
	BlockedTokenRejected: {"Apple rejects the server token of Apple Business Manager server %q", "an administrator: renew the server token"},
	BlockedTerms:         {"The terms and conditions of Apple Business Manager must be signed before server %q works again", "an administrator of Apple Business Manager: sign in there and accept the terms"},
	BlockedAccess:        {"Apple denies Apple Business Manager server %q what it asks for", "an administrator of Apple Business Manager: check the server's access"},
	BlockedUnreachable:   {"Apple can't be reached for Apple Business Manager server %q", "Muster, when Apple answers again"},
}

// Explain says in a sentence what is wrong with a server that can't be used, and who can mend it.
func (c BlockCause) Explain(server string) (what, who string) {
	b, known := blockSentences[c]
	if !known {
		b = [2]string{"Apple Business Manager server %q does not work", whoABM}
	}
	return fmt.Sprintf(b[0], server) + ".", b[1]
}

// ABMRequest is how far something is that Apple was asked for.
type ABMRequest struct {
	Asked    Mark       `json:"asked,omitzero"`
	Answered Mark       `json:"answered,omitzero"`
	Outcome  ABMOutcome `json:"outcome,omitempty"`
	Result   string     `json:"result,omitempty"`
	Profile  string     `json:"profile,omitempty"`
	// Until is when Apple is asked again, of ABMRetrying.
	Until *time.Time `json:"until,omitempty"`
}

// pending reports whether it was asked after a request and not done since.
func (r ABMRequest) pending(since Mark) bool {
	return r.Asked.By > since.By && (r.Answered.By < r.Asked.By || r.Outcome != ABMDone)
}

// guided reports whether the newest answer leaves it to a person; an outcome of before it was asked again says nothing.
func (r ABMRequest) guided() bool { return r.Outcome == ABMGuided && r.Answered.By > r.Asked.By }

// Block is what keeps the device's Apple Business Manager server from working.
type Block struct {
	Mark
	Server string     `json:"server,omitempty"`
	Cause  BlockCause `json:"cause,omitempty"`
}

func (d *Device) foldABM(f Fact) {
	said := ABMFact{}
	if f.ABM != nil {
		said = *f.ABM
	}
	switch f.Kind {
	case ABMSeen, ABMGone:
		if d.ABMMark.newer(f) {
			d.ABM = said
		}
	case CheckedIn:
		d.CheckedIn.newer(f)
	case UnassignFromMDM:
		d.UnassignAsked.newer(f)
	case CancelRelease:
		d.ReleaseCancelled.newer(f)
	case ABMBlocked:
		if d.ABMBlock.newer(f) {
			d.ABMBlock.Server, d.ABMBlock.Cause = said.Server, said.Cause
		}
	case ABMAsked, ABMAnswered:
		d.foldABMRequest(f, said)
	}
}

func (d *Device) foldABMRequest(f Fact, said ABMFact) {
	r := d.request(said.Verb)
	switch {
	case r == nil:
	case f.Kind == ABMAsked:
		r.Asked.newer(f)
	case r.Answered.newer(f):
		r.Outcome, r.Result, r.Profile, r.Until = said.Outcome, said.Result, said.Profile, f.Until
	}
}

func (d *Device) request(verb ABMVerb) *ABMRequest {
	switch verb {
	case AssignProfile:
		return &d.ABMProfile
	case UnassignDevice:
		return &d.ABMUnassign
	case ReleaseDevice:
		return &d.ABMRelease
	}
	return nil
}

// Over reports whether the device was released by us: nothing more happens to it.
func (d Device) Over() bool { return d.Released.set() }

// ReleasePending reports whether the device's release was asked for, not cancelled since, and not carried out yet.
func (d Device) ReleasePending() bool {
	return !d.Released.set() && d.ReleaseAsked.By > d.ReleaseCancelled.By
}

// ReleaseBegun reports whether the release is being carried out at Apple, so that it can't be cancelled any more.
func (d Device) ReleaseBegun() bool {
	return d.ReleasePending() && d.ABMRelease.Asked.By > d.ReleaseAsked.By && !d.ABMRelease.guided()
}

// CheckChange says why nothing may be changed about the device: it was released ([DeviceReleased]), or is to be
// ([ReleasePending]), or it was withdrawn and nobody knows it any more ([DeviceNotFound]).
func (d Device) CheckChange() error {
	if d.Withdrawn() {
		return Errorf(DeviceNotFound, "Device %s is not known here any more: it was withdrawn on %s. Assign or register it to have it known again.", d.Serial, d.Withdrawal.At.UTC().Format("2006-01-02 15:04 MST"))
	}
	return d.CheckAssign()
}

// CheckAssign is [Device.CheckChange] for what makes a device known as well: a withdrawn one is like any other that nobody knows.
func (d Device) CheckAssign() error {
	switch {
	case d.Over():
		return Errorf(DeviceReleased, "Device %s was released; that can't be undone.", d.Serial)
	case d.ReleasePending():
		return Errorf(ReleasePending, "The release of device %s was asked for, so nothing else can be asked of it. Cancel the release first (cancel-release), while it can be.", d.Serial)
	}
	return nil
}

// CheckCancel says why a release of the device can't be taken back: it is over ([DeviceReleased]), or Apple is being asked
// ([ReleaseBegun]). Without a release there is nothing against it.
func (d Device) CheckCancel() error {
	switch {
	case d.Over():
		return d.CheckChange()
	case d.ReleaseBegun():
		return Errorf(ReleaseBegun, "Apple is being asked to release device %s, which can't be taken back any more.", d.Serial)
	}
	return nil
}

// ReleaseDue is when a pending release is carried out.
func (d Device) ReleaseDue(p Policy) time.Time { return d.ReleaseAsked.At.Add(p.ReleaseDelay) }

// UnassignWanted reports whether Apple Business Manager shall take the device off its server and hasn't yet.
func (d Device) UnassignWanted() bool {
	return !d.Over() && d.ABM.State == ABMPresent && d.UnassignAsked.By > d.ABMMark.By
}

// OffABM reports whether Apple Business Manager has taken the device off its server, and what it did: unassigned or
// released.
func (d Device) OffABM() bool { return d.ABM.State == ABMUnassigned || d.ABM.State == ABMReleased }

// AwaitsCheckIn reports whether the next word from the device changes its status: it is off its server and was not heard
// of since (R55).
func (d Device) AwaitsCheckIn() bool {
	return d.Active() && d.OffABM() && d.CheckedIn.By < d.ABMMark.By
}

// WaitsForABM reports whether something that the device waits for needs its Apple Business Manager server: the device
// profile without which it would set up unmanaged, or something that was asked for.
func (d Device) WaitsForABM() bool {
	switch {
	case d.Over() || d.ABM.State != ABMPresent && d.ABM.State != ABMMissing:
		return false
	case d.UnassignWanted(), d.ABMRelease.pending(d.ReleaseAsked) && d.ReleasePending():
		return true
	}
	return !d.Active() && d.ABMProfile.Outcome != ABMDone
}

// delivers reports whether an answer of Apple's changes what the device's workflow shows or does.
func (r ABMRequest) delivers(f Fact) bool {
	if f.ABM == nil {
		return false
	}
	if f.ABM.Verb != AssignProfile {
		return f.ABM.Outcome != r.Outcome || f.ABM.Result != r.Result || r.Asked.By > r.Answered.By
	}
	troubled := r.Outcome == ABMRetrying
	return troubled != (f.ABM.Outcome == ABMRetrying) || troubled && f.ABM.Result != r.Result
}

// nextABM decides on what an operator asked of Apple Business Manager; false when there is nothing to decide.
func nextABM(d Device, p Policy, now time.Time) (Step, bool) {
	switch {
	case d.ReleasePending():
		return nextRelease(d, p, now), true
	case d.UnassignWanted() && d.ABMUnassign.Asked.By < d.UnassignAsked.By:
		return Step{Do: AskABM, Verb: UnassignDevice}, true
	}
	return Step{}, false
}

// nextRelease waits for the time in which a release can be cancelled, then for Apple Business Manager to let the device
// go, and then forgets it (R63).
func nextRelease(d Device, p Policy, now time.Time) Step {
	switch due := d.ReleaseDue(p); {
	case now.Before(due):
		return Step{Do: WaitForFacts, Until: due}
	case d.ABM.State == ABMConflict:
		return Step{Do: WaitForFacts}
	case d.ABM.State != ABMPresent:
		return Step{Do: ConcludeReleased, Reason: d.ReleaseReason}
	case d.ABMRelease.Asked.By < d.ReleaseAsked.By:
		return Step{Do: AskABM, Verb: ReleaseDevice, Reason: d.ReleaseReason}
	}
	return Step{Do: WaitForFacts}
}
