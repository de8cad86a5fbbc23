package provision_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func abmSaid(f provision.Fact, said provision.ABMFact) provision.Fact { f.ABM = &said; return f }

func gone(id int64, state provision.ABMState) provision.Fact {
	return abmSaid(fact(id, provision.ABMGone), provision.ABMFact{Server: "main", State: state})
}

func abmAsked(id int64, verb provision.ABMVerb) provision.Fact {
	return abmSaid(fact(id, provision.ABMAsked), provision.ABMFact{Server: "main", Verb: verb})
}

func abmAnswered(id int64, verb provision.ABMVerb, outcome provision.ABMOutcome, result string) provision.Fact {
	return abmSaid(fact(id, provision.ABMAnswered), provision.ABMFact{Server: "main", Verb: verb, Outcome: outcome, Result: result, Profile: "standard"})
}

func blocked(id int64, cause provision.BlockCause) provision.Fact {
	return abmSaid(fact(id, provision.ABMBlocked), provision.ABMFact{Server: "main", Cause: cause})
}

// R55, R57: a staged device is Unassigned with the sync that says so; a managed one when it is heard of again.
func TestUnassignedInABM(t *testing.T) {
	staged := device(abm(1, provision.ABMPresent), gone(2, provision.ABMUnassigned))
	require.Equal(t, provision.StatusUnassigned, staged.Status())
	require.False(t, staged.AwaitsCheckIn())

	managed := after(enrolled, abm(8, provision.ABMPresent), gone(9, provision.ABMUnassigned))
	require.Equal(t, provision.StatusUnassignPending, managed.Status())
	require.True(t, managed.AwaitsCheckIn())
	require.Equal(t, provision.Managed, managed.Management())

	heard := provision.Fold(managed, fact(10, provision.CheckedIn))
	require.Equal(t, provision.StatusUnassigned, heard.Status())
	require.Equal(t, provision.Managed, heard.Management(), "it stays managed until it is deprovisioned")
	require.False(t, heard.AwaitsCheckIn())
	require.NotNil(t, heard.Assignment, "R62: it keeps what it was for")

	back := provision.Fold(heard, abm(11, provision.ABMPresent))
	require.Equal(t, provision.StatusEnrolled, back.Status())
	again := provision.Fold(back, gone(12, provision.ABMUnassigned))
	require.Equal(t, provision.StatusUnassignPending, again.Status(), "an earlier check-in doesn't count")
}

func TestReleasedInABM(t *testing.T) {
	staged := device(abm(1, provision.ABMPresent), assigned(2, someone()), gone(3, provision.ABMReleased))
	require.Equal(t, provision.StatusReleased, staged.Status())
	require.False(t, staged.Over(), "Apple can list it again")
	require.Equal(t, provision.StatusAwaiting, provision.Fold(staged, abm(4, provision.ABMPresent)).Status())

	managed := after(enrolled, gone(9, provision.ABMReleased))
	require.Equal(t, provision.StatusUnassignPending, managed.Status())
	require.Equal(t, provision.StatusReleased, provision.Fold(managed, inEpoch(1, fact(10, provision.CheckedOut))).Status())
}

func delayed() provision.Policy {
	p := policy()
	p.ReleaseDelay = 15 * minute
	return p
}

// R63: a release can be cancelled for a while, then Apple is asked, and what Apple lists no more is forgotten.
func TestReleaseGoesThroughABM(t *testing.T) {
	asked := after(enrolled, abm(8, provision.ABMPresent), because("end_of_life", fact(9, provision.ReleaseRequest)))
	require.True(t, asked.ReleasePending())
	require.Equal(t, provision.StatusEnrolled, asked.Status(), "nothing was done yet")
	require.False(t, asked.MayAct(), "and nothing is begun any more")

	step := provision.Next(asked, delayed(), at(10))
	require.Equal(t, provision.WaitForFacts, step.Do)
	require.Equal(t, at(24), step.Until)
	step = provision.Next(asked, delayed(), at(24))
	require.Equal(t, provision.AskABM, step.Do)
	require.Equal(t, provision.ReleaseDevice, step.Verb)

	cancelled := provision.Fold(asked, fact(10, provision.CancelRelease))
	require.False(t, cancelled.ReleasePending())
	require.True(t, cancelled.MayAct())
	require.Equal(t, provision.WaitForFacts, provision.Next(cancelled, delayed(), at(60)).Do)
	anew := provision.Fold(cancelled, fact(11, provision.ReleaseRequest))
	require.Equal(t, at(26), provision.Next(anew, delayed(), at(12)).Until, "the time to cancel begins anew")

	sent := provision.Fold(asked, abmAsked(25, provision.ReleaseDevice))
	require.True(t, sent.ReleaseBegun())
	require.Equal(t, provision.Step{Do: provision.WaitForFacts, Epoch: 1}, provision.Next(sent, delayed(), at(26)))
	done := provision.FoldAll(sent, abmAnswered(26, provision.ReleaseDevice, provision.ABMDone, "COMPLETED"))
	require.Equal(t, provision.WaitForFacts, provision.Next(done, delayed(), at(27)).Do, "the device is still listed")
	for _, state := range []provision.ABMState{provision.ABMReleased, provision.ABMUnassigned, provision.ABMMissing} {
		require.Equal(t, provision.ConcludeReleased, provision.Next(provision.Fold(done, gone(28, state)), delayed(), at(29)).Do)
	}

	guided := provision.Fold(sent, abmAnswered(26, provision.ReleaseDevice, provision.ABMGuided, ""))
	require.False(t, guided.ReleaseBegun(), "nothing was done at Apple, so it can still be cancelled")
	second := provision.FoldAll(guided, fact(27, provision.CancelRelease), fact(28, provision.ReleaseRequest), abmAsked(60, provision.ReleaseDevice))
	require.True(t, second.ReleaseBegun(), "how the first request ended says nothing of the second")

	unlisted := after(enrolled, because("end_of_life", fact(8, provision.ReleaseRequest)))
	require.Equal(t, provision.ConcludeReleased, provision.Next(unlisted, delayed(), at(23)).Do)
	require.Equal(t, provision.ConcludeReleased, provision.Next(unlisted, policy(), at(8)).Do, "without a delay at once")

	claimed := after(enrolled, abm(8, provision.ABMConflict), fact(9, provision.ReleaseRequest))
	require.Equal(t, provision.WaitForFacts, provision.Next(claimed, delayed(), at(60)).Do)
}

func TestUnassignIsAskedOfABMOnce(t *testing.T) {
	wanted := after(enrolled, abm(8, provision.ABMPresent), fact(9, provision.UnassignFromMDM))
	step := provision.Next(wanted, policy(), at(10))
	require.Equal(t, provision.AskABM, step.Do)
	require.Equal(t, provision.UnassignDevice, step.Verb)
	sent := provision.Fold(wanted, abmAsked(10, provision.UnassignDevice))
	require.Equal(t, provision.WaitForFacts, provision.Next(sent, policy(), at(11)).Do)
	require.True(t, sent.UnassignWanted())
	off := provision.Fold(sent, gone(12, provision.ABMUnassigned))
	require.False(t, off.UnassignWanted())
	back := provision.Fold(off, abm(13, provision.ABMPresent))
	require.False(t, back.UnassignWanted(), "the request was for that time")
	require.Equal(t, provision.StatusEnrolled, back.Status())
	require.Equal(t, provision.AskABM, provision.Next(after(enrolled, abm(8, provision.ABMPresent), fact(9, provision.HoldRequest), fact(10, provision.UnassignFromMDM)), policy(), at(11)).Do,
		"a hold is about what is sent to the device")
}

func TestBlockedByABM(t *testing.T) {
	waiting := device(abm(1, provision.ABMPresent), blocked(2, provision.BlockedTerms))
	require.Equal(t, "abm_terms", waiting.BlockedBy())
	require.Empty(t, provision.Fold(waiting, blocked(3, "")).BlockedBy())
	require.Empty(t, provision.Fold(waiting, abmAnswered(3, provision.AssignProfile, provision.ABMDone, "SUCCESS")).BlockedBy(), "it can be switched on")
	require.Empty(t, provision.Fold(waiting, abmSaid(fact(3, provision.ABMSeen), provision.ABMFact{Server: "annex", State: provision.ABMPresent})).BlockedBy(),
		"another server lists it now")

	running := after(enrolled, abm(8, provision.ABMPresent), blocked(9, provision.BlockedTokenExpired))
	require.Empty(t, running.BlockedBy(), "an Enrolled device needs nothing of Apple Business Manager")
	leaving := provision.FoldAll(running, fact(10, provision.ReleaseRequest), abmAsked(11, provision.ReleaseDevice))
	require.Equal(t, "abm_token_expired", leaving.BlockedBy())
}

func TestWhatAnswersOfApplesAreDelivered(t *testing.T) {
	listed := device(abm(1, provision.ABMPresent))
	profile := func(outcome provision.ABMOutcome, result string) provision.Fact {
		return abmAnswered(0, provision.AssignProfile, outcome, result)
	}
	require.False(t, listed.Delivers(profile(provision.ABMDone, "SUCCESS")), "that all goes well decides nothing")
	require.True(t, listed.Delivers(profile(provision.ABMRetrying, "FAILED")))
	failing := provision.Fold(listed, abmAnswered(2, provision.AssignProfile, provision.ABMRetrying, "FAILED"))
	require.False(t, failing.Delivers(profile(provision.ABMRetrying, "FAILED")), "known already")
	require.True(t, failing.Delivers(profile(provision.ABMRetrying, "NOT_ACCESSIBLE")))
	require.True(t, failing.Delivers(profile(provision.ABMDone, "SUCCESS")))
	require.True(t, listed.Delivers(abmAnswered(0, provision.ReleaseDevice, provision.ABMGuided, "")))
}

func TestExplainABM(t *testing.T) {
	later := at(40)
	listed := []provision.Fact{abm(1, provision.ABMPresent), assigned(2, someone())}
	failing := abmAnswered(3, provision.AssignProfile, provision.ABMRetrying, "THROTTLED")
	failing.Until = &later
	asked := append(append([]provision.Fact{}, enrolled...), abm(8, provision.ABMPresent), fact(9, provision.ReleaseRequest))
	for name, c := range map[string]struct {
		d    provision.Device
		says string
		who  string
	}{
		"profile":          {device(append(listed, failing)...), `"standard" is not assigned to the device at Apple, so it would set up unmanaged; Apple's answer: THROTTLED.`, "Muster"},
		"terms":            {device(append(listed, blocked(3, provision.BlockedTerms))...), "must be signed before server \"main\" works", "accept the terms"},
		"token":            {device(append(listed, blocked(3, provision.BlockedTokenExpired))...), "has expired", "renew the server token"},
		"missing":          {device(append(listed, gone(3, provision.ABMMissing))...), `"main" no longer lists the device`, "Muster"},
		"conflict":         {device(abmSaid(fact(1, provision.ABMSeen), provision.ABMFact{Server: "a", Other: "b", State: provision.ABMConflict})), `"a" and "b" both list`, "Apple Business Manager"},
		"released there":   {device(append(listed, gone(3, provision.ABMReleased))...), "was released in Apple Business Manager", "with release"},
		"can be cancelled": {device(asked...), "the time to cancel", "cancel-release"},
		"guided release":   {after(asked, abmAsked(10, provision.ReleaseDevice), abmAnswered(11, provision.ReleaseDevice, provision.ABMGuided, "")), "choose Release", "Apple Business Manager"},
		"release fails":    {after(asked, abmAsked(10, provision.ReleaseDevice), abmAnswered(11, provision.ReleaseDevice, provision.ABMRetrying, "STOPPED")), "asked again: STOPPED.", "Muster"},
		"release blocked":  {after(asked, abmAsked(10, provision.ReleaseDevice), blocked(11, provision.BlockedAccess)), "denies", "server's access"},
		"unassign":         {after(enrolled, abm(8, provision.ABMPresent), fact(9, provision.UnassignFromMDM)), "is being taken off", "Muster"},
		"guided unassign":  {after(enrolled, abm(8, provision.ABMPresent), fact(9, provision.UnassignFromMDM), abmAsked(10, provision.UnassignDevice), abmAnswered(11, provision.UnassignDevice, provision.ABMGuided, "")), "choose Unassign", "Apple Business Manager"},
		"unassign done":    {after(enrolled, abm(8, provision.ABMPresent), fact(9, provision.UnassignFromMDM), abmAsked(10, provision.UnassignDevice), abmAnswered(11, provision.UnassignDevice, provision.ABMDone, "")), "the next sync confirms", "Muster"},
	} {
		now := at(30)
		if name == "can be cancelled" {
			now = at(10)
		}
		waits := c.d.Explain(delayed(), now)
		found := false
		for _, w := range waits {
			require.NotEmpty(t, w.Who, name)
			found = found || strings.Contains(w.For, c.says) && strings.Contains(w.Who, c.who)
		}
		require.True(t, found, "%s: %+v", name, waits)
	}
}
