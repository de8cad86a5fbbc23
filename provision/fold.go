package provision

// Fold returns the device with the fact taken in. It is idempotent and commutes: any order of the same facts, with any
// repetition, gives the same device. Facts without an id (not recorded) change nothing.
func Fold(d Device, f Fact) Device {
	if f.ID <= 0 {
		return d
	}
	if !d.Known.set() || f.ID < d.Known.By {
		d.Known = Mark{f.ID, f.At}
	}
	switch f.Kind {
	case Authenticated, Activated, CheckedOut:
		d.foldActivation(f)
	case Assigned, Unassigned:
		d.foldAssignment(f)
	case CatalogChanged, RetryItem:
		d.foldWanted(f)
	case SignInHeld, SignInReviewed:
		d.foldReview(f)
	case Deprovision, DeprovisionSent, DeprovisionRefused:
		d.foldDeprovision(f)
	case ABMSeen, ABMGone, ABMAsked, ABMAnswered, ABMBlocked, CheckedIn, UnassignFromMDM, CancelRelease:
		d.foldABM(f)
	case Withdrawn:
		d.foldWithdrawn(f)
	case HoldRequest, ResumeRequest, ReleaseRequest, ReleaseFromSetup, ExtendHold:
		d.foldRequest(f)
	case Provisioning, Settled, Enrolled, Stuck, Nudged, Released, Reminded:
		d.foldProgress(f)
	case SetupReleased, SetupFinished, SetupRefused:
		d.foldSetup(f)
	case Registered:
		d.Registered.newer(f)
	case IdentityRenewed, DeviceProfileChosen:
	}
	return d
}

// newer moves the mark to the fact if that is the newest so far on this axis.
func (m *Mark) newer(f Fact) bool {
	if f.ID <= m.By {
		return false
	}
	*m = Mark{f.ID, f.At}
	return true
}

// newerIn is newer within enrollments: what belongs to an earlier epoch than the axis changes nothing.
func (m *Mark) newerIn(epoch *int, f Fact) bool {
	if f.Epoch < *epoch || f.Epoch == *epoch && f.ID <= m.By {
		return false
	}
	*m, *epoch = Mark{f.ID, f.At}, f.Epoch
	return true
}

// first keeps the earliest fact on this axis.
func (m *Mark) first(f Fact) bool {
	if m.set() && f.ID >= m.By {
		return false
	}
	*m = Mark{f.ID, f.At}
	return true
}

func (d *Device) foldActivation(f Fact) {
	if f.Epoch < max(d.Activation.Epoch, 1) {
		return
	}
	if f.Epoch > d.Activation.Epoch {
		d.Activation = Activation{Epoch: f.Epoch}
	}
	a := &d.Activation
	switch f.Kind {
	case Authenticated:
		a.Opened.first(f)
		a.State = max(a.State, Opened)
	case Activated:
		if a.Activated.first(f) {
			a.Awaiting = f.AwaitingConfiguration
		}
		a.State = max(a.State, Active)
	case CheckedOut:
		a.Ended.first(f)
		a.State = Ended
	}
}

func (d *Device) foldWanted(f Fact) {
	switch f.Kind {
	case CatalogChanged:
		d.Catalog.newer(f)
	case RetryItem:
		d.Retry.newer(f)
	}
}

func (d *Device) foldRequest(f Fact) {
	switch f.Kind {
	case HoldRequest, ResumeRequest:
		if d.HoldMark.newer(f) {
			d.OnHold, d.HoldReason = f.Kind == HoldRequest, f.Reason
		}
	case ReleaseRequest:
		if d.ReleaseAsked.newer(f) {
			d.ReleaseReason = f.Reason
		}
	case ReleaseFromSetup:
		d.SetupAsked.newerIn(&d.SetupAskedIn, f)
	case ExtendHold:
		if d.SetupExtended.newerIn(&d.SetupExtendsIn, f) {
			d.SetupDeadline = f.Until
		}
	}
}

func (d *Device) foldProgress(f Fact) {
	switch f.Kind {
	case Provisioning:
		if d.Plan.newerIn(&d.Plan.Epoch, f) {
			d.Plan.For, d.Plan.Round, d.Plan.Begin = f.For, f.Round, Verdict{}
			if f.Verdict != nil {
				d.Plan.Begin = *f.Verdict
			}
		}
	case Settled:
		if d.Settled.about(f) {
			d.LastVerdict = Verdict{}
			if f.Verdict != nil {
				d.LastVerdict = *f.Verdict
			}
		}
	case Enrolled:
		d.Enrolled.about(f)
	case Stuck:
		d.Stuck.within(f)
		if f.Until != nil {
			d.SetupAlert.within(f)
		}
	case Nudged:
		if d.Nudged.about(f) {
			d.Nudges = f.Round
		}
	case Reminded:
		if d.Reminded.about(f) {
			d.Reminders = f.Round
		}
	case Released:
		d.Released.first(f)
	}
}

func (d *Device) foldSetup(f Fact) {
	switch f.Kind {
	case SetupReleased:
		d.SetupReleased.newerIn(&d.SetupEpoch, f)
	case SetupFinished:
		d.SetupDone.newerIn(&d.SetupDoneIn, f)
	case SetupRefused:
		if d.SetupRefused.within(f) {
			d.SetupTries = f.Round
		}
	}
}

// about takes the newest word on the newest plan.
func (a *About) about(f Fact) bool {
	if f.Plan < a.Plan || f.Plan == a.Plan && f.ID <= a.By {
		return false
	}
	*a = aboutOf(f)
	return true
}

// within takes the newest word of the newest enrollment, whatever plan it is about.
func (a *About) within(f Fact) bool {
	if f.Epoch < a.Epoch || f.Epoch == a.Epoch && f.ID <= a.By {
		return false
	}
	*a = aboutOf(f)
	return true
}

func aboutOf(f Fact) About {
	return About{Mark: Mark{f.ID, f.At}, Plan: f.Plan, Epoch: f.Epoch, Reason: f.Reason, Until: f.Until}
}

// FoldAll folds facts in their order.
func FoldAll(d Device, facts ...Fact) Device {
	for _, f := range facts {
		d = Fold(d, f)
	}
	return d
}
