package provision

import "time"

// Codes of requests that a device doesn't fit.
const (
	// InSetup: the device is held in Setup Assistant.
	InSetup Code = "device_in_setup"
	// NotInABM: no Apple Business Manager server lists the device.
	NotInABM Code = "device_not_in_abm"
	// InConflict: two servers list it.
	InConflict Code = "abm_conflict"
	// NotInReview: nobody signed in on the device whom it isn't reserved for.
	NotInReview Code = "device_not_in_review"
	// ReviewInvalid: the choice is none.
	ReviewInvalid Code = "review_choice_invalid"
)

// Reasons for which a device may be released (R63).
const (
	EndOfLife          = "end_of_life"
	PermanentlyDamaged = "permanently_damaged"
)

// CheckRelease fails with [ReleaseReason] when the reason is none for which devices are released.
func CheckRelease(reason string) error {
	if reason != EndOfLife && reason != PermanentlyDamaged {
		return Errorf(ReleaseReason, "A device is released only for %s or %s.", EndOfLife, PermanentlyDamaged).At("reason")
	}
	return nil
}

// What follows are the rules of what operators ask of a device, for one and for many alike. Each returns the facts to
// record; none when it was asked already.

// AskAssign assigns the device. It fails with [DeviceReleased] and [ReleasePending].
func (d Device) AskAssign(a Assignment) ([]Fact, error) {
	if err := d.CheckAssign(); err != nil {
		return nil, err
	}
	if same(d.newestAssignment(), &a) {
		return nil, nil
	}
	return []Fact{{Kind: Assigned, Assignment: &a}}, nil
}

// newestAssignment is the newest word on whom the device is for, now or later; nil = for nobody.
func (d Device) newestAssignment() *Assignment {
	if d.Planned != nil {
		return d.Planned
	}
	return d.Assignment
}

func same(a, b *Assignment) bool {
	if a == nil || b == nil {
		return a == b
	}
	if len(a.Groups) != len(b.Groups) {
		return false
	}
	for i := range a.Groups {
		if a.Groups[i] != b.Groups[i] {
			return false
		}
	}
	return a.UserID == b.UserID && a.TechnicianID == b.TechnicianID && a.OwnedBy == b.OwnedBy && a.Requirement == b.Requirement &&
		sameTime(a.EffectiveAt, b.EffectiveAt) && sameTime(a.ReturnBy, b.ReturnBy)
}

// AskUnassign takes user and groups away, for now and for later. It fails with [DeviceReleased] and [ReleasePending].
func (d Device) AskUnassign() ([]Fact, error) {
	if err := d.CheckChange(); err != nil {
		return nil, err
	}
	if d.newestAssignment() == nil {
		return nil, nil
	}
	return []Fact{{Kind: Unassigned}}, nil
}

// AskUnassignFromMDM asks for the device to be taken off its MDM server (R54). It fails with [NotInABM] and [InConflict].
func (d Device) AskUnassignFromMDM() ([]Fact, error) {
	if err := d.CheckChange(); err != nil {
		return nil, err
	}
	switch {
	case d.ABM.State == ABMConflict:
		return nil, Errorf(InConflict, "Apple Business Manager servers %q and %q both list device %s; take it off the one that it doesn't belong to in Apple Business Manager.", d.ABM.Server, d.ABM.Other, d.Serial)
	case d.ABM.State != ABMPresent:
		return nil, Errorf(NotInABM, "No Apple Business Manager server lists device %s, so it can't be taken off one.", d.Serial)
	case d.UnassignWanted():
		return nil, nil
	}
	return []Fact{{Kind: UnassignFromMDM}}, nil
}

// AskRelease asks for the device to be released for good. It fails with [InSetup]: nothing is sent to a released device, so
// it would stay in Setup Assistant. A withdrawn one isn't known ([DeviceNotFound]).
func (d Device) AskRelease(reason string) ([]Fact, error) {
	switch {
	case d.Withdrawn():
		return nil, d.CheckChange()
	case d.Leaving():
		return nil, nil
	case d.InSetup():
		return nil, Errorf(InSetup, "Device %s is held in Setup Assistant; let it out first (release-from-setup), then release it.", d.Serial)
	}
	return []Fact{{Kind: ReleaseRequest, Reason: reason}}, nil
}

// AskDeprovision ends the device's management (R56). A device that is away for repair comes back to the same person; for any
// other reason it is unassigned, too. It fails with [DeviceNotManaged].
func (d Device) AskDeprovision(reason, way string) ([]Fact, error) {
	if err := d.CheckChange(); err != nil {
		return nil, err
	}
	switch {
	case d.Deprovisioned() && d.Deprovision.Reason == reason && d.DeprovisionBy == way:
		return nil, nil
	case !d.Active():
		return nil, Errorf(DeviceNotManaged, "Device %s is not enrolled into MDM, so there is no management to end.", d.Serial)
	}
	facts := []Fact{{Kind: Deprovision, Epoch: d.Activation.Epoch, Reason: reason, Choice: way}}
	if reason != ForRepair && d.newestAssignment() != nil {
		facts = append(facts, Fact{Kind: Unassigned, Reason: "The device was deprovisioned: " + reason + "."})
	}
	return facts, nil
}

// AskReview decides on a sign-in by somebody whom the device isn't reserved for (R53). It fails with [NotInReview] and
// [ReviewInvalid].
func (d Device) AskReview(c ReviewChoice) ([]Fact, error) {
	if c != KeepReserved && c != TakeSignedIn {
		return nil, Errorf(ReviewInvalid, "A sign-in is decided by %s or %s, not %.40q.", KeepReserved, TakeSignedIn, c).At("choice")
	}
	if err := d.CheckChange(); err != nil {
		return nil, err
	}
	if !d.InReview() {
		return nil, Errorf(NotInReview, "Nobody signed in on device %s whom it isn't reserved for, or that was decided already.", d.Serial)
	}
	return []Fact{d.ReviewFact(c)}, nil
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
