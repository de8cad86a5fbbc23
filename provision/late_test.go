package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func later(id int64, at time.Time, a *provision.Assignment) provision.Fact {
	planned := *a
	planned.EffectiveAt = &at
	return assigned(id, &planned)
}

func TestAssignmentForLater(t *testing.T) {
	d := device(activated(1, 1, false), later(2, at(60), someone("g")))
	require.Nil(t, d.Assignment)
	require.Equal(t, []string{provision.AwaitingAssignment}, d.Labels())
	require.Equal(t, at(60), provision.Next(d, policy(), at(3)).Until)
	waits := d.Explain(policy(), at(3))
	require.Contains(t, waits[0].For, "comes into force by itself")

	step := provision.Next(d, policy(), at(60))
	require.Equal(t, provision.ConcludePlanned, step.Do)
	require.Equal(t, int64(2), step.Plan)
	fact := d.PlannedFact()
	fact.ID, fact.At = 3, at(60)
	in := provision.Fold(d, fact)
	require.Equal(t, someone("g"), in.Assignment)
	require.Nil(t, in.Planned)
	require.Equal(t, provision.Apply, provision.Next(in, policy(), at(61)).Do)

	for name, f := range map[string]provision.Fact{"assigned now": assigned(3, someone("h")), "unassigned": fact3(provision.Unassigned)} {
		require.Nil(t, provision.Fold(d, f).Planned, name)
	}
	both := device(activated(1, 1, false), assigned(2, someone("g")), later(3, at(60), someone("h")))
	require.Equal(t, someone("g"), both.Assignment, "the one for now stays until then")
}

func fact3(kind provision.Kind) provision.Fact { return fact(3, kind) }

func loaned() provision.Policy {
	p := policy()
	p.RemindBefore = []time.Duration{20 * minute, 5 * minute}
	return p
}

func TestLoanReminders(t *testing.T) {
	back := at(60)
	a := someone("g")
	a.ReturnBy = &back
	d := device(assigned(1, a))
	for round, due := range []time.Time{at(40), at(55), at(60)} {
		wait := provision.Next(d, loaned(), due.Add(-time.Second))
		require.Equal(t, due, wait.Until, "reminder %d", round+1)
		step := provision.Next(d, loaned(), due)
		require.Equal(t, provision.Remind, step.Do)
		require.Equal(t, round+1, step.Round)
		require.Contains(t, step.Reason, "2026-03-01 13:00 UTC")
		reminded := about(step.Plan, fact(int64(10+round), provision.Reminded))
		reminded.Round = step.Round
		d = provision.Fold(d, reminded)
	}
	require.Equal(t, provision.WaitForFacts, provision.Next(d, loaned(), at(600)).Do, "it is said once")
	require.True(t, d.Overdue(at(60)))
	require.Contains(t, d.Explain(loaned(), at(61))[0].For, "was due back")
	require.False(t, provision.Fold(d, fact(20, provision.Unassigned)).Overdue(at(61)))
}

func signInHeld(id int64, until time.Time, choice provision.ReviewChoice) provision.Fact {
	f := fact(id, provision.SignInHeld)
	f.Assignment, f.Until, f.Choice = &provision.Assignment{UserID: "u2"}, &until, string(choice)
	return f
}

// R53: nothing goes on before somebody decides, or the time for it is up.
func TestSignInByAnother(t *testing.T) {
	d := device(assigned(1, someone("g")), signInHeld(2, at(30), provision.KeepReserved), activated(3, 1, true))
	require.True(t, d.InReview())
	require.Equal(t, "sign_in_review", d.BlockedBy())
	require.False(t, d.MayAct())
	require.Equal(t, at(30), provision.Next(d, policy(), at(4)).Until)
	require.Contains(t, d.Explain(policy(), at(4))[0].For, "one of the two must be chosen")
	require.Equal(t, provision.ConcludeReview, provision.Next(d, policy(), at(30)).Do)

	for name, f := range map[string]provision.Fact{
		"kept by an operator": fact(4, provision.SignInReviewed), "assigned anew": assigned(4, someone("h")), "unassigned": fact(4, provision.Unassigned),
	} {
		after := provision.Fold(d, f)
		require.False(t, after.InReview(), name)
		require.True(t, after.MayAct(), name)
	}
	taken := d.ReviewFact(provision.TakeSignedIn)
	taken.ID, taken.At = 4, at(30)
	require.Equal(t, "u2", provision.Fold(d, taken).Assignment.UserID)
	kept := d.ReviewFact(provision.KeepReserved)
	kept.ID, kept.At = 4, at(30)
	require.Equal(t, "u1", provision.Fold(d, kept).Assignment.UserID)
}

func deprovision(id int64, way string) provision.Fact {
	f := because(provision.ForRepair, inEpoch(1, fact(id, provision.Deprovision)))
	f.Choice = way
	return f
}

// R56, R66: unmanaged at once, and until it enrolls anew.
func TestDeprovision(t *testing.T) {
	d := after(enrolled, deprovision(8, provision.Erase))
	require.Equal(t, provision.StatusDeprovisioned, d.Status())
	require.Equal(t, provision.Unmanaged, d.Management())
	require.False(t, d.MayAct())
	require.Equal(t, provision.SendDeprovision, provision.Next(d, policy(), at(9)).Do)
	require.Equal(t, provision.EraseDevice, d.DeprovisionCommand(mdmProfile, 1).Type)

	sent := provision.Fold(d, inEpoch(1, fact(9, provision.DeprovisionSent)))
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Epoch: 1}, provision.Next(sent, policy(), at(10)))
	require.Contains(t, sent.Explain(policy(), at(10))[0].For, "must be switched on")

	answer := provision.Answer{Command: sent.DeprovisionCommand(mdmProfile, 1), Status: provision.AnswerError, Detail: "no"}
	refused, news := sent.DeprovisionAnswer(answer)
	require.True(t, news)
	refused.ID, refused.At = 10, at(10)
	again := provision.Fold(sent, refused)
	require.Equal(t, at(25), provision.Next(again, policy(), at(11)).Until)
	require.Equal(t, provision.SendDeprovision, provision.Next(again, policy(), at(25)).Do)

	answer.Status = provision.AnswerAcknowledged
	gone, news := sent.DeprovisionAnswer(answer)
	require.True(t, news)
	gone.ID, gone.At = 11, at(11)
	over := provision.Fold(sent, gone)
	require.Equal(t, provision.StatusDeprovisioned, over.Status())
	_, news = over.DeprovisionAnswer(answer)
	require.False(t, news)
	require.Equal(t, provision.WaitForFacts, provision.Next(over, policy(), at(12)).Do)

	back := provision.FoldAll(over, inEpoch(2, fact(12, provision.Authenticated)), activated(13, 2, false))
	require.Equal(t, provision.StatusProvisioning, back.Status(), "it enrolled anew, for whom it was")

	removal := after(enrolled, deprovision(8, provision.RemoveManagement)).DeprovisionCommand(mdmProfile, 1)
	require.Equal(t, provision.RemoveProfile, removal.Type)
	require.Equal(t, mdmProfile, removal.Identifier)
	require.Equal(t, provision.DeprovisionInvalid, provision.CodeOf(provision.CheckDeprovision("boredom", provision.Erase)))
	require.Equal(t, provision.DeprovisionInvalid, provision.CodeOf(provision.CheckDeprovision(provision.Retire, "hammer")))
}
