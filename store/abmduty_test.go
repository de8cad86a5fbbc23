package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// asked has a device's workflow ask Apple for something that an operator wants.
func (f *fleet) asked(serial string, verb provision.ABMVerb) provision.Device {
	f.t.Helper()
	request := provision.Fact{Kind: provision.UnassignFromMDM}
	if verb == provision.ReleaseDevice {
		request = provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}
	}
	f.record(serial, request)
	step := provision.Next(f.device(serial), policy(), f.Now())
	require.Equal(f.t, provision.Step{Do: provision.AskABM, Verb: verb, Reason: request.Reason, Epoch: step.Epoch}, step)
	d := f.carry(serial, step)
	require.Equal(f.t, d, f.carry(serial, step), "twice is once")
	return d
}

func TestDutiesAreClaimedKindByKind(t *testing.T) {
	f := newFleet(t)
	f.linked(school, "home")
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	all := serials(4)
	f.fetched(school, all...)
	require.NoError(t, f.SetDeviceProfile(t.Context(), all[3], "kiosk", provision.Fact{Actor: "tok", Source: provision.FromAPI}))
	f.asked(all[0], provision.UnassignDevice)
	next, err := f.NextABMDuties(t.Context())
	require.NoError(t, err)
	require.Len(t, next, 1)
	require.False(t, next[school].After(f.Now()))

	list, err := f.ClaimABMDuties(t.Context(), school, 3)
	require.NoError(t, err)
	require.Len(t, list, 3)
	for _, d := range list {
		require.Equal(t, provision.AssignProfile, d.Verb, "that kind waits the longest")
		require.Equal(t, "kiosk/1", d.Profile+"/1")
	}
	require.Len(t, f.claim(school), 1, "the fourth of the kind")
	unassign := f.claim(school)
	require.Equal(t, provision.UnassignDevice, unassign[0].Verb)
	require.Empty(t, f.claim(school), "all are taken")
	require.Empty(t, f.claim("home"))
	f.clock.pass(5 * time.Minute)
	require.Len(t, f.claim(school), 4, "their worker died; an activity of its own is of another kind")

	require.NoError(t, f.NoteABMActivity(t.Context(), unassign, "activity-1", time.Minute))
	f.clock.pass(2 * time.Minute)
	polled := f.claim(school)
	require.Equal(t, "activity-1", polled[0].Activity)
	require.NoError(t, f.PostponeABMDuties(t.Context(), polled, time.Hour))
	require.Empty(t, f.claim(school))
	duties, err := f.ABMDutiesOf(t.Context(), all[0])
	require.NoError(t, err)
	require.Equal(t, []provision.ABMVerb{provision.AssignProfile, provision.UnassignDevice}, []provision.ABMVerb{duties[0].Verb, duties[1].Verb})
	require.NoError(t, f.NoteABMActivity(t.Context(), nil, "x", 0))
	require.NoError(t, f.PostponeABMDuties(t.Context(), nil, 0))
}

func TestNextDutyKeepsThrottlesAndWaitsForHealth(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	f.fetched(school, serials(1)...)
	require.NoError(t, f.ABMThrottled(t.Context(), school, time.Minute))
	next, err := f.NextABMDuties(t.Context())
	require.NoError(t, err)
	require.Equal(t, *f.abmServer(school).ThrottledUntil, next[school])
	f.fails(provision.BlockedTerms, "x")
	next, err = f.NextABMDuties(t.Context())
	require.NoError(t, err)
	require.Empty(t, next)
	f.clock.pass(time.Hour)
	next, err = f.NextABMDuties(t.Context())
	require.NoError(t, err)
	require.Len(t, next, 1, "a look an hour")
}

func TestAnswersBecomeFacts(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	f.fetched(school, serials(2)...)
	require.NoError(t, f.SyncBegun(t.Context(), school, f.Now()))
	require.Equal(t, 2, f.answer(school, provision.ABMRetrying, "FAILED", time.Minute))
	d := f.device("C0000000")
	require.Equal(t, provision.ABMRetrying, d.ABMProfile.Outcome)
	require.Equal(t, "FAILED", d.ABMProfile.Result)
	require.WithinDuration(t, f.Now().Add(time.Minute), *d.ABMProfile.Until, time.Second)
	require.Equal(t, []string{"C0000000 assign_profile kiosk/1 tries 1", "C0000001 assign_profile kiosk/1 tries 1"}, f.owed())
	require.Zero(t, f.answer(school, provision.ABMDone, "SUCCESS", 0), "not before its time")
	f.clock.pass(2 * time.Minute)
	list := f.claim(school)
	f.profile("kiosk", "Sales") // meanwhile
	f.sweep(school)
	require.NoError(t, f.AnswerABMDuties(t.Context(), []store.ABMAnswer{{Duty: list[0], Outcome: provision.ABMDone, Result: "SUCCESS", UUID: "U1"}}))
	require.Equal(t, []string{"C0000000 assign_profile kiosk/2 tries 0", "C0000001 assign_profile kiosk/2 tries 0"}, f.owed(), "the new content is still owed")
	require.Equal(t, 1, f.count(`abm_devices WHERE profile_uuid = 'U1' AND profile_status = 'assigned'`), "and so Apple has it")
	f.answer(school, provision.ABMDone, "SUCCESS", 0)
	require.Empty(t, f.owed())
	require.Equal(t, "done", string(f.device("C0000001").ABMProfile.Outcome))
	require.Nil(t, f.abmServer(school).SyncWantedAt, "Apple's list says nothing new of that")
	require.NoError(t, f.AnswerABMDuties(t.Context(), nil))
}

func TestUnassignIsConfirmedBySync(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, serials(2)...)
	require.NoError(t, f.SyncBegun(t.Context(), school, f.Now()))
	require.True(t, f.asked("C0000000", provision.UnassignDevice).UnassignWanted())
	f.answer(school, provision.ABMRetrying, "FORBIDDEN", 5*time.Minute)
	require.Nil(t, f.abmServer(school).SyncWantedAt)
	f.clock.pass(6 * time.Minute)
	f.answer(school, provision.ABMDone, "COMPLETED_WITH_SUCCESS", 0)
	require.NotNil(t, f.abmServer(school).SyncWantedAt)
	require.Equal(t, "present school", f.stands("C0000000"), "R57: at the next sync")
	f.take(school, false, op("C0000000", "deleted", f.Now()))
	require.Equal(t, "unassigned school", f.stands("C0000000"))
	require.Equal(t, []string{"abm_seen", "unassign_from_mdm", "abm_asked", "abm_answered", "abm_answered", "abm_gone"}, f.kinds("C0000000"))

	f.asked("C0000001", provision.UnassignDevice)
	f.answer(school, provision.ABMGuided, "", 0)
	require.Empty(t, f.owed())
	require.Equal(t, provision.ABMGuided, f.device("C0000001").ABMUnassign.Outcome)
}

func TestReleaseAtAppleEndsTheDevice(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	f.fetched(school, serials(1)...)
	f.boot("C0000000", "U1", false)
	f.asked("C0000000", provision.ReleaseDevice)
	require.Equal(t, []string{"C0000000 release /0 tries 0"}, f.owed(), "it needs no profile any more")
	f.sweep(school)
	require.Len(t, f.owed(), 1)
	f.answer(school, provision.ABMDone, "SUCCESS", 0)
	require.Equal(t, "released school", f.stands("C0000000"))
	require.Zero(t, f.abmServer(school).Devices)
	step := provision.Next(f.device("C0000000"), policy(), f.Now())
	require.Equal(t, provision.ConcludeReleased, step.Do)
	require.True(t, f.carry("C0000000", step).Over())
	f.take(school, false, op("C0000000", "added", f.Now()))
	require.True(t, f.device("C0000000").Over(), "what is listed again begins nothing by itself")
}

func TestAskingByAServerThatCannotBeUsed(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, serials(2)...)
	f.boot("C0000000", "U1", false)
	f.fails(provision.BlockedTokenExpired, "token_expired")
	f.tell()
	require.Empty(t, f.device("C0000000").BlockedBy())
	require.Equal(t, "abm_token_expired", f.asked("C0000000", provision.UnassignDevice).BlockedBy(), "it says so at once")
	require.Equal(t, "abm_token_expired", f.asked("C0000001", provision.UnassignDevice).BlockedBy())

	f.record("C0000009", provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "portal", State: provision.ABMPresent}})
	require.Equal(t, provision.ABMGuided, f.asked("C0000009", provision.UnassignDevice).ABMUnassign.Outcome, "listed by hand: a person must do it")
	require.Len(t, f.owed(), 2)
}

func TestCancelledReleaseIsNotAsked(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, serials(1)...)
	f.record("C0000000", provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}, provision.Fact{Kind: provision.CancelRelease})
	f.carry("C0000000", provision.Step{Do: provision.AskABM, Verb: provision.ReleaseDevice})
	require.Empty(t, f.owed())
	require.Equal(t, []string{"abm_seen", "release", "cancel_release"}, f.kinds("C0000000"))
}

func TestDutiesThatFailDoNotKeepNewOnesWaiting(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	f.fetched(school, serials(3)...)
	f.answer(school, provision.ABMRetrying, "FAILED", time.Minute)
	f.take(school, false, op("C0000007", "added", f.Now()))
	f.clock.pass(2 * time.Minute)
	list, err := f.ClaimABMDuties(t.Context(), school, 1)
	require.NoError(t, err)
	require.Equal(t, "C0000007", list[0].Serial, "it is due the longest")
	require.False(t, slices.ContainsFunc(list, func(d store.ABMDuty) bool { return d.Tries > 0 }))
}

// Whoever mends a server while its duties are being put off has them go on at once.
func TestDutiesOfABlockedServer(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	f.fetched(school, serials(2)...)
	list := f.claim(school)
	f.fails(provision.BlockedTerms, "x")
	require.NoError(t, f.BlockABMDuties(t.Context(), list, time.Hour))
	require.Empty(t, f.claim(school))
	f.works()
	list = f.claim(school)
	require.Len(t, list, 2, "they go on when it is mended")
	f.fails(provision.BlockedTerms, "x")
	f.works() // before they are put off
	require.NoError(t, f.BlockABMDuties(t.Context(), list, time.Hour))
	require.Len(t, f.claim(school), 2, "it is mended already")
	require.NoError(t, f.BlockABMDuties(t.Context(), nil, time.Hour))
}
