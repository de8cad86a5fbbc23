package provision

import "time"

// ReviewChoice is what shall be of an assignment by signing in when the device is reserved for somebody else (R53).
type ReviewChoice string

// Choices.
const (
	// KeepReserved: the device stays for whom it was reserved.
	KeepReserved ReviewChoice = "keep_reserved"
	// TakeSignedIn: the device is for who signed in.
	TakeSignedIn ReviewChoice = "take_signed_in"
	// HoldForReview: an operator decides.
	HoldForReview ReviewChoice = "hold_for_review"
)

// Review is a sign-in on a device that is reserved for somebody else, for an operator to decide on.
type Review struct {
	Mark
	// SignedIn is the assignment of who signed in.
	SignedIn *Assignment `json:"signed_in,omitempty"`
	// Until is when it is decided without an operator, and Choice how.
	Until  *time.Time   `json:"until,omitempty"`
	Choice ReviewChoice `json:"choice,omitempty"`
}

func (d *Device) foldReview(f Fact) {
	switch {
	case f.Kind == SignInReviewed:
		d.Reviewed.newer(f)
	case d.Review.newer(f):
		d.Review.SignedIn, d.Review.Until, d.Review.Choice = f.Assignment, f.Until, ReviewChoice(f.Choice)
	}
}

// InReview reports whether somebody signed in on the device who isn't whom it is reserved for, and nobody has decided yet.
// Whoever assigns the device anew decides, too.
func (d Device) InReview() bool {
	return d.Review.By > max(d.Reviewed.By, d.AssignmentMark.By) && !d.Over()
}

// nextReview waits for an operator and then does what the policy says.
func nextReview(d Device, now time.Time) Step {
	if d.Review.Until == nil {
		return Step{Do: WaitForFacts}
	}
	if now.Before(*d.Review.Until) {
		return Step{Do: WaitForFacts, Until: *d.Review.Until}
	}
	return Step{Do: ConcludeReview, Plan: d.Review.By, Reason: "Nobody decided in time."}
}

// ReviewFact is the fact by which a review ends: a new assignment, or that all stays as it was.
func (d Device) ReviewFact(c ReviewChoice) Fact {
	if c == TakeSignedIn {
		return Fact{Kind: Assigned, Assignment: d.Review.SignedIn, Source: FromSignIn}
	}
	return Fact{Kind: SignInReviewed, Choice: string(KeepReserved)}
}

func (d Device) explainReview(now time.Time) Wait {
	return Wait{
		For:   "Somebody signed in on the device who isn't whom it is reserved for; one of the two must be chosen.",
		Since: d.Review.At, Who: "a technician, with review", Until: coming(d.Review.Until, now),
	}
}
