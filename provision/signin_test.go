package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// andrew signs in, whom people know from a file as u-file, too.
func andrew(groups ...string) provision.SignedIn {
	return provision.SignedIn{
		Assignment: provision.Assignment{UserID: "u-andrew", Groups: groups, OwnedBy: provision.Corporate, Requirement: provision.RequireUser},
		SameAs:     []string{"u-file"},
	}
}

func given(id int64, a provision.Assignment) provision.Device {
	return provision.FoldAll(provision.Device{Serial: "C07Q853LG9RM"}, provision.Fact{ID: id, Kind: provision.Assigned, Assignment: &a})
}

func policyOf(c provision.ReviewChoice) provision.SignInPolicy {
	return provision.SignInPolicy{AutoAssign: true, Conflict: c, Hold: time.Hour, HoldChoice: provision.TakeSignedIn}
}

func TestSignInOnADeviceThatIsForNobodyYet(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	_, some := provision.Device{}.SignInFact(andrew("drivers"), provision.SignInPolicy{}, now)
	require.False(t, some, "the policy is off")

	f, some := provision.Device{}.SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
	require.True(t, some)
	require.Equal(t, provision.Assigned, f.Kind)
	require.Equal(t, andrew("drivers").Assignment, *f.Assignment)

	back := now.Add(24 * time.Hour)
	reserved := provision.Assignment{Groups: []string{"kiosks", "drivers"}, OwnedBy: provision.Personal, ReturnBy: &back}
	f, some = given(3, reserved).SignInFact(andrew("drivers", "staff"), policyOf(provision.HoldForReview), now)
	require.True(t, some)
	require.Equal(t, provision.Assignment{
		UserID: "u-andrew", Groups: []string{"kiosks", "drivers", "staff"}, OwnedBy: provision.Personal, Requirement: provision.RequireUser, ReturnBy: &back,
	}, *f.Assignment, "groups that were reserved stay")
	require.Equal(t, []string{"kiosks", "drivers"}, reserved.Groups)
}

func TestSignInOfWhomTheDeviceIsReservedFor(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	for name, reserved := range map[string]provision.Assignment{
		"by the account":         {UserID: "u-andrew", Groups: []string{"drivers"}},
		"by the address":         {UserID: "u-file", Groups: []string{"drivers"}},
		"as its technician":      {TechnicianID: "u-andrew", Groups: []string{"drivers"}},
		"without groups at home": {UserID: "u-andrew", Groups: []string{"drivers", "more"}},
	} {
		d := given(3, reserved)
		_, some := d.SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
		require.False(t, some, name)

		f, some := d.SignInFact(andrew("staff"), policyOf(provision.HoldForReview), now)
		require.True(t, some, name)
		require.Equal(t, reserved.UserID, f.Assignment.UserID, name)
		require.Equal(t, reserved.TechnicianID, f.Assignment.TechnicianID, name)
		require.Equal(t, append(reserved.Groups, "staff"), f.Assignment.Groups, name)

		held := provision.Fold(d, provision.Fact{ID: 4, Kind: provision.SignInHeld, Assignment: &provision.Assignment{UserID: "u-bob"}})
		f, some = held.SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
		require.True(t, some, name)
		f.ID = 5
		require.False(t, provision.Fold(held, f).InReview(), "%s: who came after all ends the review", name)
	}
}

func TestSignInOfSomebodyElse(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	d := given(3, provision.Assignment{UserID: "u-bob", Groups: []string{"kiosks"}, OwnedBy: provision.Personal})

	kept, some := d.SignInFact(andrew("drivers"), policyOf(provision.KeepReserved), now)
	require.True(t, some, "it is noted")
	require.False(t, d.Delivers(kept), "it decides nothing")
	kept.ID = 4
	require.Equal(t, d.Assignment, provision.Fold(d, kept).Assignment)
	require.Equal(t, "u-andrew", kept.Assignment.UserID)

	taken, some := d.SignInFact(andrew("drivers"), policyOf(provision.TakeSignedIn), now)
	require.True(t, some)
	require.Equal(t, provision.Assigned, taken.Kind)
	require.Equal(t, "u-andrew", taken.Assignment.UserID)
	require.Equal(t, []string{"drivers"}, taken.Assignment.Groups, "what was reserved was for somebody else")
	require.Equal(t, provision.Personal, taken.Assignment.OwnedBy, "whose property the device is stays")

	held, some := d.SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
	require.True(t, some)
	require.Equal(t, now.Add(time.Hour), *held.Until)
	require.Equal(t, string(provision.TakeSignedIn), held.Choice)
	held.ID = 4
	d = provision.Fold(d, held)
	require.True(t, d.InReview())
	require.True(t, d.Delivers(provision.Fact{Kind: provision.SignInReviewed}), "now it decides")
	_, some = d.SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
	require.False(t, some, "the same sign-in again")
	carol := provision.SignedIn{Assignment: provision.Assignment{UserID: "u-carol"}}
	again, some := d.SignInFact(carol, policyOf(provision.HoldForReview), now)
	require.True(t, some)
	require.Equal(t, "u-carol", again.Assignment.UserID)
}

func TestSignInBeforeAnAssignmentForLater(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	monday := now.Add(72 * time.Hour)
	later := func(user string) provision.Device {
		return given(3, provision.Assignment{UserID: user, Groups: []string{"kiosks"}, EffectiveAt: &monday})
	}
	f, some := later("u-andrew").SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
	require.True(t, some)
	require.Nil(t, f.Assignment.EffectiveAt, "it comes into force at once")
	require.Equal(t, []string{"kiosks", "drivers"}, f.Assignment.Groups)

	f, some = later("u-bob").SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
	require.True(t, some)
	require.Equal(t, provision.SignInHeld, f.Kind)

	d := provision.Fold(given(3, provision.Assignment{UserID: "u-andrew"}), provision.Fact{
		ID: 4, Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "u-bob", EffectiveAt: &monday},
	})
	_, some = d.SignInFact(andrew("drivers"), policyOf(provision.HoldForReview), now)
	require.False(t, some, "a new assignment would end the one for later")
}

func TestSignInIsForTheEnrollmentThatFollows(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	policy := policyOf(provision.HoldForReview)
	d := after(active, fact(20, provision.Assigned))
	d = provision.Fold(d, provision.Fact{ID: 21, Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "u-bob", Groups: []string{"kiosks"}}})
	require.True(t, d.AssignedBefore())
	_, some := d.ChangingHands().SignInFact(andrew("drivers"), policy, now)
	require.True(t, some)

	f, some := d.ChangingHands().SignInFact(andrew("drivers"), policy, now)
	require.True(t, some)
	require.Equal(t, provision.Assigned, f.Kind, "whoever had the device before has no claim to it")
	require.Equal(t, []string{"drivers"}, f.Assignment.Groups)
	f.ID = 22
	signedIn := provision.Fold(d, f)
	require.False(t, signedIn.AssignedBefore(), "the next Authenticate doesn't take it away")
	_, some = signedIn.ChangingHands().SignInFact(andrew("drivers"), policy, now)
	require.False(t, some, "the answer was lost")

	next := provision.FoldAll(signedIn, inEpoch(2, fact(23, provision.Authenticated)), inEpoch(2, fact(24, provision.Activated)))
	require.True(t, next.AssignedBefore(), "the one after that does")
}
