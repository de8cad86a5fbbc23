package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func (f *fleet) fails(cause provision.BlockCause, detail string) (blocked bool) {
	f.t.Helper()
	blocked, err := f.ABMFailed(f.t.Context(), f.abmServer(school), cause, detail)
	require.NoError(f.t, err)
	return blocked
}

func (f *fleet) works() {
	f.t.Helper()
	require.NoError(f.t, f.ABMWorked(f.t.Context(), school))
}

func (f *fleet) tell() int {
	f.t.Helper()
	n, err := f.TellABMHealth(f.t.Context())
	require.NoError(f.t, err)
	return n
}

func TestShortOutagesAreNoNews(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	require.False(t, f.fails(provision.BlockedUnreachable, "503"))
	s := f.abmServer(school)
	require.Equal(t, [2]string{store.Healthy, "503"}, [2]string{s.Health, s.HealthDetail})
	f.clock.pass(9 * time.Minute)
	require.False(t, f.fails(provision.BlockedUnreachable, "503"))
	f.clock.pass(2 * time.Minute)
	require.True(t, f.fails(provision.BlockedUnreachable, "504"))
	require.True(t, f.fails(provision.BlockedUnreachable, "505"))
	s = f.abmServer(school)
	require.Equal(t, provision.BlockedUnreachable, s.Blocked())
	require.Equal(t, "505", s.HealthDetail)
	f.works()
	require.Equal(t, store.Healthy, f.abmServer(school).Health)
	require.False(t, f.fails(provision.BlockedUnreachable, "503"), "patience begins anew")

	require.True(t, f.fails(provision.BlockedTerms, strings.Repeat("é", 600)))
	require.Len(t, []rune(f.abmServer(school).HealthDetail), 500)
	require.True(t, f.fails(provision.BlockedUnreachable, "503"))
	s = f.abmServer(school)
	require.Equal(t, provision.BlockedTerms, s.Blocked(), "what is known to be wrong stays so")
	require.Contains(t, s.HealthDetail, "é", "in the words that it was said in")
	since := s.HealthSince
	require.True(t, f.fails(provision.BlockedTerms, "again"))
	require.Equal(t, since, f.abmServer(school).HealthSince)
	require.True(t, f.fails(provision.BlockedTokenRejected, "revoked"))
	require.Equal(t, provision.BlockedTokenRejected, f.abmServer(school).Blocked())
}

func TestUnlinkedServerHasNoHealth(t *testing.T) {
	f := newFleet(t)
	f.server(school, "")
	require.True(t, f.fails(provision.BlockedTerms, "x"))
	f.works()
	require.Equal(t, store.Unlinked, f.abmServer(school).Health)
	_, err := f.ABMFailed(t.Context(), store.ABMServer{Name: "nobody"}, provision.BlockedTerms, "x")
	require.NoError(t, err)
	require.NoError(t, f.ABMWorked(t.Context(), "nobody"))
}

// Whoever asks Apple while the token is renewed comes back with the old one's end; that must not end the new one.
func TestWhatAnOldTokenMetSaysNothingOfTheNewOne(t *testing.T) {
	f := newFleet(t)
	f.server(school, "")
	unlinked := f.abmServer(school)
	f.linked(school)
	before := f.abmServer(school)
	f.clock.pass(time.Second)
	_, err := f.LinkABM(t.Context(), school, false, token("CK_"+school, f.Now().Add(365*24*time.Hour)))
	require.NoError(t, err)
	for _, was := range []store.ABMServer{before, unlinked} {
		blocked, err := f.ABMFailed(t.Context(), was, provision.BlockedTokenExpired, "TOKEN_EXPIRED")
		require.NoError(t, err)
		require.False(t, blocked)
		is := f.abmServer(school)
		require.Equal(t, []any{store.Healthy, ""}, []any{is.Health, is.HealthDetail})
		require.Nil(t, is.FailingSince)
	}
	require.True(t, f.fails(provision.BlockedTokenExpired, "TOKEN_EXPIRED"), "the new one can end, too")
}

// Those that wait for the server learn it, and when it works again; the others have nothing to learn.
func TestDevicesThatWaitAreTold(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	all := serials(4)
	f.fetched(school, all...)
	f.boot(all[1], "U1", false)                                                // enrolled
	f.record(all[2], provision.Fact{Kind: provision.HoldRequest, Reason: "x"}) // held, and waits all the same
	f.record(all[3], provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	f.carry(all[3], provision.Step{Do: provision.AskABM, Verb: provision.ReleaseDevice})
	f.answer(school, provision.ABMDone, "", 0)
	f.carry(all[3], provision.Step{Do: provision.ConcludeReleased, Reason: "end_of_life"})
	require.True(t, f.device(all[3]).Over())
	require.Zero(t, f.tell(), "linking told nobody: none was blocked")
	f.fails(provision.BlockedTerms, "T_C_NOT_SIGNED")
	require.Equal(t, 2, f.tell())
	require.Zero(t, f.tell())
	require.Equal(t, "abm_terms", f.device(all[0]).BlockedBy())
	require.Empty(t, f.device(all[1]).BlockedBy())
	require.Equal(t, "on_hold", f.device(all[2]).BlockedBy())
	require.Equal(t, 2, f.count(`device_events WHERE kind = 'abm_blocked' AND deliver`), "their workflows learn it")
	f.fails(provision.BlockedTokenExpired, "token_expired")
	require.Equal(t, 2, f.tell())
	require.Equal(t, "abm_token_expired", f.device(all[0]).BlockedBy())
	f.works()
	require.Equal(t, 2, f.tell())
	require.Empty(t, f.device(all[0]).BlockedBy())
}

func TestRecoveryHasEverythingGoOn(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	f.fetched(school, serials(3)...)
	list := f.claim(school)
	require.Len(t, list, 3)
	throttled := []store.ABMAnswer{{Duty: list[0], Outcome: provision.ABMRetrying, Result: "THROTTLED", Again: time.Hour}}
	require.NoError(t, f.AnswerABMDuties(t.Context(), throttled))
	require.NoError(t, f.PostponeABMDuties(t.Context(), list[1:2], time.Hour))
	require.NoError(t, f.SyncBegun(t.Context(), school, f.Now()))
	f.fails(provision.BlockedTerms, "T_C_NOT_SIGNED")
	f.works()
	require.NotNil(t, f.abmServer(school).SyncWantedAt)
	due := f.claim(school)
	require.Len(t, due, 1, "neither the throttled one nor the one that is being asked")
	require.Equal(t, list[1].Serial, due[0].Serial)
}

func TestThrottleIsKeptByAll(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	require.NoError(t, f.ABMThrottled(t.Context(), school, time.Hour))
	until := f.abmServer(school).ThrottledUntil
	require.NoError(t, f.ABMThrottled(t.Context(), school, time.Minute))
	s := f.abmServer(school)
	require.Equal(t, int64(2), s.Throttled)
	require.Equal(t, until, s.ThrottledUntil, "the longer one counts")
}
