package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

var (
	setupDone  = provision.Verdict{Total: 1, SetupLeft: true}
	configured = provision.Command{Type: provision.DeviceConfigured, Item: provision.ItemKey{Kind: provision.BuiltinItem, Name: provision.SetupRelease}, Attempt: 1}
)

// leaving is an assigned device with all items verified that was told to leave Setup Assistant by fact 6.
func leaving() provision.Device {
	return device(assigned(1, someone()), inEpoch(1, fact(2, provision.Authenticated)), activated(3, 1, true), provisioning(4, 1, setupDone),
		inEpoch(1, fact(6, provision.SetupReleased)))
}

// take folds what an answer to DeviceConfigured amounts to.
func take(d provision.Device, id int64, with ...func(*provision.Answer)) (provision.Device, provision.Fact) {
	f, news := d.SetupAnswer(answer(configured, with...))
	if !news {
		return d, provision.Fact{}
	}
	f.ID, f.At = id, at(int(id))
	return provision.Fold(d, f), f
}

func TestADeviceIsEnrolledOnlyOnceItLeftSetup(t *testing.T) {
	d := leaving()
	require.True(t, d.SetupLeft())
	require.False(t, d.InSetup())
	require.False(t, d.MayEnroll())
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Until: at(19), Epoch: 1}, provision.Next(d, policy(), at(7)), "it may have to be asked again")
	require.Contains(t, d.Explain(policy(), at(7))[0].For, "has not left Setup Assistant")

	d, f := take(d, 7)
	require.Equal(t, provision.SetupFinished, f.Kind)
	require.False(t, d.Delivers(f), "the Settled that follows tells it")
	v := d.Judge(nil)
	require.True(t, d.Matters(v))
	require.True(t, d.Delivers(settled(0, 4, v)))
	d = provision.FoldAll(d, settled(8, 4, v))
	require.Equal(t, provision.ConcludeEnrolled, provision.Next(d, policy(), at(9)).Do)
	again, f := take(d, 9, refused("not in Setup Assistant"))
	require.Zero(t, f, "that it refuses another one is no news")
	require.Equal(t, d, again)
}

func TestThatAllIsThereIsRecordedButDecidesNothingBeforeSetupIsLeft(t *testing.T) {
	d := device(assigned(1, someone()), activated(3, 1, true), provisioning(4, 1, provision.Verdict{Total: 1, RequiredLeft: 1, SetupLeft: true}),
		inEpoch(1, fact(6, provision.SetupReleased)))
	v := provision.Verdict{Total: 1, SetupLeft: true}
	require.True(t, d.Matters(v))
	require.False(t, d.Delivers(settled(0, 4, v)))
	d = provision.Fold(d, settled(7, 4, v))
	require.False(t, d.Matters(v))
	v.SetupLeft = false
	require.True(t, d.Delivers(settled(0, 4, v)))
}

func TestARefusalToLeaveSetupIsTriedAgainAndThenStuck(t *testing.T) {
	d, minutes := leaving(), func(n int) time.Duration { return time.Duration(n) * minute }
	require.Zero(t, d.SetupRetryAt(minutes))
	_, f := take(d, 7, notNow)
	require.Zero(t, f)
	for try := 1; try < provision.MostSetupTries; try++ {
		d, f = take(d, int64(6+try), refused("no"))
		require.Equal(t, provision.Fact{ID: int64(6 + try), Kind: provision.SetupRefused, Epoch: 1, At: at(6 + try), Round: try, Reason: "no", Source: provision.FromDevice}, f)
		require.False(t, d.Delivers(f))
		require.Equal(t, at(6+try+try), d.SetupRetryAt(minutes))
		require.Empty(t, d.BlockedBy())
	}
	d, f = take(d, 20, refused("never"))
	require.True(t, d.Delivers(f), "the workflow has to show it")
	require.Zero(t, d.SetupRetryAt(minutes))
	require.Equal(t, "stuck", d.BlockedBy())
	wait := d.Explain(policy(), at(21))[0]
	require.Equal(t, "The device refuses to leave Setup Assistant: never.", wait.For)
	require.Contains(t, wait.Who, "release-from-setup")
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Epoch: 1}, provision.Next(d, policy(), at(2000)), "nothing goes on by itself")

	d = provision.FoldAll(d, inEpoch(1, fact(30, provision.ReleaseFromSetup)))
	require.True(t, d.SetupAskedFor())
	require.Equal(t, provision.LeaveSetup, provision.Next(d, policy(), at(30)).Do)
	d = provision.FoldAll(d, inEpoch(1, fact(31, provision.SetupReleased)))
	require.False(t, d.SetupAskedFor())
	require.Empty(t, d.BlockedBy())
	_, f = take(d, 32, refused("no"))
	require.Equal(t, 1, f.Round, "counted anew")
	d, f = take(d, 33)
	require.Equal(t, provision.SetupFinished, f.Kind)
	require.False(t, d.SetupLeft())
}

func TestWhatADeviceSaysOfSetupMattersInItsEpochOnly(t *testing.T) {
	d, _ := take(leaving(), 7, refused("no"))
	d = provision.FoldAll(d, inEpoch(2, fact(8, provision.Authenticated)), activated(9, 2, true))
	require.True(t, d.SetupLeft())
	require.True(t, d.InSetup())
	require.Zero(t, d.SetupRetryAt(func(int) time.Duration { return minute }))
	_, f := take(d, 10, refused("no"))
	require.Equal(t, 1, f.Round)
	d, _ = take(d, 11)
	require.False(t, d.SetupLeft())
	require.False(t, device(activated(1, 1, false)).SetupLeft(), "it never was there")
}

func TestAStuckDeviceThatLeavesSetupAfterAllIsToldToItsWorkflow(t *testing.T) {
	d := leaving()
	for id := range int64(provision.MostSetupTries) {
		d, _ = take(d, 7+id, refused("no"))
	}
	require.True(t, d.Delivers(inEpoch(1, fact(0, provision.SetupFinished))))
	unassigned := provision.FoldAll(d, fact(40, provision.Unassigned))
	require.Equal(t, "stuck", unassigned.BlockedBy())
	require.Len(t, unassigned.Explain(policy(), at(41)), 2)
}

// Whoever decides may be off for hours, and nobody stays in Setup Assistant that long.
func TestTheTimeInSetupAssistantEndsWhileASignInIsInReview(t *testing.T) {
	signedIn, end := fact(2, provision.SignInHeld), at(8*60)
	signedIn.Assignment, signedIn.Until, signedIn.Choice = &provision.Assignment{UserID: "u2"}, &end, string(provision.TakeSignedIn)
	d := device(assigned(1, someone()), signedIn, activated(3, 1, true))
	require.Equal(t, "sign_in_review", d.BlockedBy())
	p := policy()
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Until: end, Epoch: 1}, provision.Next(d, p, at(40)), "workflows that began before")

	p.ReviewFreesSetup = true
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Until: at(33), Epoch: 1}, provision.Next(d, p, at(4)))
	require.Equal(t, provision.LeaveSetup, provision.Next(d, p, at(33)).Do)
	held := provision.FoldAll(d, fact(4, provision.HoldRequest))
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Until: end, Epoch: 1}, provision.Next(held, p, at(40)), "an operator keeps it")

	d = provision.FoldAll(d, inEpoch(1, fact(33, provision.SetupReleased)))
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Until: end, Epoch: 1}, provision.Next(d, p, at(34)))
	require.Equal(t, provision.ConcludeReview, provision.Next(d, p, end).Do)
	p.HoldPolicy = provision.HoldKeepAndAlert
	d = device(assigned(1, someone()), signedIn, activated(3, 1, true))
	require.Equal(t, provision.ConcludeStuck, provision.Next(d, p, at(33)).Do)
}
