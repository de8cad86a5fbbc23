package provision_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

func listed(id int64) provision.Fact {
	f := fact(id, provision.ABMSeen)
	f.ABM = &provision.ABMFact{Server: "main", State: provision.ABMPresent}
	return f
}

// What only people said of a serial number is taken back with it.
func TestWithdrawn(t *testing.T) {
	reserved := device(assigned(1, someone("g")), because("a case", fact(2, provision.HoldRequest)))
	facts, err := reserved.AskWithdraw()
	require.NoError(t, err)
	require.Equal(t, []provision.Fact{{Kind: provision.Withdrawn}}, facts)
	require.True(t, reserved.Delivers(facts[0]))
	d := provision.Fold(reserved, fact(3, provision.Withdrawn))
	require.Equal(t, provision.StatusWithdrawn, d.Status())
	require.Equal(t, []string{"Withdrawn"}, d.Labels())
	require.Nil(t, d.Assignment)
	require.Empty(t, d.BlockedBy())
	require.Empty(t, d.Explain(policy(), at(4)))
	require.Equal(t, provision.WaitForFacts, provision.Next(d, policy(), at(4)).Do)
	require.True(t, d.Unknown() && d.Ended())
	require.False(t, d.Over(), "not for good")

	facts, err = d.AskWithdraw()
	require.NoError(t, err)
	require.Empty(t, facts, "twice is once")
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(d.CheckChange()))
	for name, ask := range map[string]func() ([]provision.Fact, error){
		"unassign": d.AskUnassign, "unassign from MDM": d.AskUnassignFromMDM,
		"release":     func() ([]provision.Fact, error) { return d.AskRelease(provision.EndOfLife) },
		"deprovision": func() ([]provision.Fact, error) { return d.AskDeprovision(provision.Retire, provision.Erase) },
	} {
		_, err := ask()
		require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err), name)
	}
	facts, err = d.AskAssign(*someone("g"))
	require.NoError(t, err)
	require.Len(t, facts, 1, "as it was before, but that is over")
}

// Whatever makes a serial number known makes a withdrawn one known again, and what was said before doesn't count any more.
func TestWithdrawnDeviceLivesAgain(t *testing.T) {
	before := device(assigned(1, someone("g")), because("a case", fact(2, provision.HoldRequest)), fact(3, provision.Withdrawn))
	for name, c := range map[string]struct {
		facts  []provision.Fact
		labels []string
	}{
		"assigned":   {[]provision.Fact{assigned(4, someone("h"))}, []string{provision.AwaitingActivation}},
		"for later":  {[]provision.Fact{later(4, at(60), someone("h"))}, []string{provision.AwaitingActivation, provision.AwaitingAssignment}},
		"registered": {[]provision.Fact{fact(4, provision.Registered)}, []string{provision.AwaitingActivation, provision.AwaitingAssignment}},
		"listed":     {[]provision.Fact{listed(4)}, []string{provision.AwaitingActivation, provision.AwaitingAssignment}},
		"enrolled": {
			[]provision.Fact{inEpoch(1, fact(4, provision.Authenticated)), activated(5, 1, false)}, []string{provision.AwaitingAssignment},
		},
	} {
		d := provision.FoldAll(before, c.facts...)
		require.Equal(t, c.labels, d.Labels(), name)
		require.False(t, d.Unknown(), name)
		require.False(t, d.OnHold, name)
		require.NoError(t, d.CheckChange(), name)
		for _, w := range d.Explain(policy(), at(6)) {
			require.False(t, w.Since.Before(at(4)), "%s: it is known since then, not since its first life: %s", name, w.For)
		}
	}
	again := provision.FoldAll(before, assigned(4, someone("h")), fact(5, provision.Unassigned))
	require.Equal(t, provision.StatusAwaiting, again.Status(), "taking the user away doesn't withdraw")
	require.Equal(t, provision.StatusWithdrawn, provision.Fold(again, fact(6, provision.Withdrawn)).Status())
}

// What Apple or the device itself ever vouched for is no slip of the pen.
func TestNotWithdrawable(t *testing.T) {
	gone := fact(2, provision.ABMGone)
	gone.ABM = &provision.ABMFact{Server: "main", State: provision.ABMUnassigned}
	signedIn := assigned(1, someone("g"))
	signedIn.Epoch = 1
	for name, c := range map[string]struct {
		facts []provision.Fact
		code  provision.Code
	}{
		"listed":          {[]provision.Fact{listed(1)}, provision.NotWithdrawable},
		"listed no more":  {[]provision.Fact{listed(1), gone}, provision.NotWithdrawable},
		"began to enroll": {[]provision.Fact{inEpoch(1, fact(1, provision.Authenticated))}, provision.NotWithdrawable},
		"left":            {[]provision.Fact{activated(1, 1, false), inEpoch(1, fact(2, provision.CheckedOut))}, provision.NotWithdrawable},
		"signed in on":    {[]provision.Fact{signedIn}, provision.NotWithdrawable},
		"in review":       {[]provision.Fact{assigned(1, someone("g")), signInHeld(2, at(30), provision.KeepReserved)}, provision.NotWithdrawable},
		"to be released":  {[]provision.Fact{assigned(1, someone("g")), fact(2, provision.ReleaseRequest)}, provision.ReleasePending},
		"released":        {[]provision.Fact{assigned(1, someone("g")), fact(2, provision.Released)}, provision.DeviceReleased},
	} {
		d := device(c.facts...)
		_, err := d.AskWithdraw()
		require.Equal(t, c.code, provision.CodeOf(err), name)
		if d.ABM.State != provision.ABMUnknown || d.Activation.Epoch > 0 {
			require.False(t, provision.Fold(d, fact(9, provision.Withdrawn)).Withdrawn(), "%s: what is there is not taken for nothing", name)
		}
	}
	_, err := device(fact(1, provision.Registered)).AskWithdraw()
	require.NoError(t, err, "registered by hand, and mistyped")
	require.False(t, device(fact(1, provision.Registered)).Delivers(fact(2, provision.Withdrawn)), "no workflow began")
}

// However it got there, a withdrawn device has no step to take and nothing to wait for.
func TestWithdrawnIsTheEndOfAllSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := device(deliver(t, drawHistory(t))...)
		if !d.Withdrawn() {
			return
		}
		if step := provision.Next(d, policy(), at(10_000)); step.Do != provision.WaitForFacts || !step.Until.IsZero() {
			t.Fatalf("it has %+v to do", step)
		}
		if d.Active() || d.Assignment != nil || d.OnHold || d.ABM.State != provision.ABMUnknown {
			t.Fatalf("something of it is left: %+v", d)
		}
	})
}
