package provision

import (
	"slices"
	"time"
)

// SignInPolicy says what a server's devices do with whoever signs in on them during setup. The zero policy lets people sign
// in and changes nothing by it.
type SignInPolicy struct {
	// AutoAssign: the device is for whoever signs in on it (R47).
	AutoAssign bool
	// Conflict is what happens when the device is reserved for somebody else (R53).
	Conflict ReviewChoice
	// Hold is how long an operator has to decide under [HoldForReview], and HoldChoice what is decided when nobody does.
	Hold       time.Duration
	HoldChoice ReviewChoice
}

// DefaultSignInHold gives operators a working day to decide.
const DefaultSignInHold = 8 * time.Hour

// WithDefaults holds conflicts for review, for [DefaultSignInHold], after which the reservation stays.
func (p SignInPolicy) WithDefaults() SignInPolicy {
	if p.Conflict == "" {
		p.Conflict = HoldForReview
	}
	if p.Hold == 0 {
		p.Hold = DefaultSignInHold
	}
	if p.HoldChoice == "" {
		p.HoldChoice = KeepReserved
	}
	return p
}

// SignedIn is who signed in on a device, with what the directory brings them.
type SignedIn struct {
	Assignment
	// SameAs are ids of other records of the same human.
	SameAs []string
}

// SignInFact is what a sign-in comes to by a policy; false when it changes nothing and nothing is to be noted. Groups that
// were reserved stay for whom they were reserved, and what the directory brings comes on top; what it brings no more is not
// taken away, because nobody can tell it from what people gave.
func (d Device) SignInFact(s SignedIn, p SignInPolicy, now time.Time) (Fact, bool) {
	if !p.AutoAssign {
		return Fact{}, false
	}
	reserved := d.reservation()
	switch {
	case reserved == nil || reserved.UserID == "" && reserved.TechnicianID == "":
		return d.signInAssigned(s.joining(reserved)), true
	case s.is(*reserved):
		return d.signInAgain(s, *reserved)
	}
	return d.signInConflict(s, *reserved, p, now)
}

// reservation is who the device is for, now or, if nobody has it now, later.
func (d Device) reservation() *Assignment {
	if d.Assignment != nil {
		return d.Assignment
	}
	return d.Planned
}

func (s SignedIn) is(a Assignment) bool {
	for _, id := range []string{a.UserID, a.TechnicianID} {
		if id != "" && (id == s.UserID || slices.Contains(s.SameAs, id)) {
			return true
		}
	}
	return false
}

// joining is the assignment of who signed in on a device that was reserved for no person, or for them.
func (s SignedIn) joining(reserved *Assignment) Assignment {
	a := s.Assignment
	if reserved == nil {
		return a
	}
	a.OwnedBy, a.ReturnBy = reserved.OwnedBy, reserved.ReturnBy
	if reserved.UserID != "" || reserved.TechnicianID != "" {
		a.UserID, a.TechnicianID = reserved.UserID, reserved.TechnicianID
	}
	a.Groups = slices.Clone(reserved.Groups)
	for _, g := range s.Groups {
		if !slices.Contains(a.Groups, g) {
			a.Groups = append(a.Groups, g)
		}
	}
	return a
}

// signInAgain: whom the device is reserved for. A new assignment would end one for later, so then nothing is added.
func (d Device) signInAgain(s SignedIn, reserved Assignment) (Fact, bool) {
	joined := s.joining(&reserved)
	switch {
	case d.Assignment == nil:
		return d.signInAssigned(joined), true
	case d.Planned == nil && len(joined.Groups) > len(reserved.Groups):
		return d.signInAssigned(joined), true
	case d.InReview():
		return d.ReviewFact(KeepReserved), true
	}
	return Fact{}, false
}

func (d Device) signInConflict(s SignedIn, reserved Assignment, p SignInPolicy, now time.Time) (Fact, bool) {
	a := s.Assignment
	a.OwnedBy = reserved.OwnedBy
	switch p.Conflict {
	case KeepReserved:
		return Fact{Kind: SignInReviewed, Assignment: &a, Choice: string(KeepReserved)}, true
	case TakeSignedIn:
		return d.signInAssigned(a), true
	case HoldForReview:
	}
	if d.InReview() && d.Review.SignedIn != nil && d.Review.SignedIn.UserID == a.UserID {
		return Fact{}, false // a sign-in whose answer was lost comes again
	}
	until := now.Add(p.Hold)
	return Fact{Kind: SignInHeld, Assignment: &a, Until: &until, Choice: string(p.HoldChoice)}, true
}

// signInAssigned is for the enrollment that follows: people sign in on devices that are being set up.
func (d Device) signInAssigned(a Assignment) Fact {
	return Fact{Kind: Assigned, Assignment: &a, Epoch: d.NextEpoch()}
}

// ChangingHands is the device as one that enrolls anew and doesn't keep its assignment: what it was assigned to before counts no more.
func (d Device) ChangingHands() Device {
	if d.AssignedBefore() {
		d.Assignment, d.AssignedFor, d.Planned = nil, 0, nil
	}
	return d
}
