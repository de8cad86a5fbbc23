package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestWhatAFullFetchDoesNotListIsMissing(t *testing.T) {
	f := newFleet(t)
	f.linked(school, "home")
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	all := serials(2500)
	require.Zero(t, f.fetched(school, all...))
	require.Equal(t, 2500, f.abmServer(school).Waiting)
	_, err := f.WantSync(t.Context(), school, true)
	require.NoError(t, err)
	f.take(school, true, records(all[:1300]...)[:1000]...)
	f.take(school, false, records(all[1000:1300]...)...)
	task := f.task(school)
	require.Equal(t, store.PhaseConclude, task.Phase)
	next, missing, err := f.ConcludeABMFetch(t.Context(), task)
	require.NoError(t, err)
	require.Equal(t, 1000, missing, "a thousand in a transaction")
	require.Equal(t, store.PhaseConclude, next.Phase)
	require.Equal(t, 200, f.conclude(school))
	require.Zero(t, f.conclude(school))
	next, missing, err = f.ConcludeABMFetch(t.Context(), task)
	require.NoError(t, err)
	require.Zero(t, missing, "a late one changes nothing")
	require.Equal(t, store.PhaseSync, next.Phase)
	require.Equal(t, "missing school", f.stands(all[2400]))
	require.Equal(t, "present school", f.stands(all[1299]))
	require.Equal(t, 1200, f.count(`device_events WHERE kind = 'abm_gone'`))
	require.Equal(t, 1300, f.abmServer(school).Waiting, "nothing is asked for devices that are gone")

	f.fetched("home", all[2400])
	require.Equal(t, "present home", f.stands(all[2400]), "it was moved")
}

// An empty answer must not take a fleet apart.
func TestUnbelievablyShortFetchIsDoubtedOnce(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	all := serials(120)
	f.fetched(school, all...)
	require.Zero(t, f.fetched(school), "nothing is concluded")
	s := f.abmServer(school)
	require.Contains(t, s.SyncNote, "listed only 0 of 120 devices")
	require.Equal(t, 120, s.Devices)
	require.Equal(t, store.PhaseSync, f.task(school).Phase)
	f.clock.pass(61 * time.Minute)
	require.Equal(t, store.PhaseFetch, f.task(school).Phase, "the next one comes within the hour")
	require.Equal(t, 120, f.fetched(school), "and is believed")
	require.Empty(t, f.abmServer(school).SyncNote)
	f.fetched(school, all...)
	require.Equal(t, 49, f.fetched(school, all[49:]...), "fewer than fifty are believed at once")
}

func TestSettlingWhatAnAbsenceMeans(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	all := serials(5)
	f.fetched(school, all...)
	f.take(school, false, op(all[0], "deleted", f.Now()))
	f.clock.pass(time.Hour)
	f.fetched(school, all[4])
	before := f.Now().Add(-30 * time.Minute)
	gone, err := f.UnsettledABM(t.Context(), school, before, 0, 10)
	require.NoError(t, err)
	require.Equal(t, all[:1], gone, "those gone for long enough")
	gone, err = f.UnsettledABM(t.Context(), school, f.Now(), 1, 2)
	require.NoError(t, err)
	require.Equal(t, all[1:3], gone, "the longest first, and one skipped")

	f.take(school, false, op(all[1], "added", f.Now())) // meanwhile
	require.NoError(t, f.SettleABM(t.Context(), school, map[string]provision.ABMState{
		all[0]: provision.ABMReleased, all[1]: provision.ABMReleased, all[2]: provision.ABMReleased, all[3]: provision.ABMUnassigned,
		"C9999999": provision.ABMReleased,
	}))
	for i, want := range []string{"released", "present", "released", "unassigned", "present"} {
		require.Equal(t, want+" school", f.stands(all[i]))
	}
	require.Equal(t, provision.StatusReleased, f.device(all[0]).Status())
	require.False(t, f.device(all[0]).Over(), "it may be bought back")
	gone, err = f.UnsettledABM(t.Context(), school, f.Now(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, gone)
	require.Equal(t, []string{"abm_seen", "abm_gone", "abm_gone"}, f.kinds(all[0]))
	require.NoError(t, f.SettleABM(t.Context(), school, map[string]provision.ABMState{all[3]: provision.ABMUnassigned}))
	require.Equal(t, []string{"abm_seen", "abm_gone", "abm_gone"}, f.kinds(all[3]), "twice is once")
}

func TestForgettingAServersDevices(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	all := serials(1500)
	f.fetched(school, all...)
	err := f.DeleteABMServer(t.Context(), school, store.Condition{})
	require.Equal(t, provision.InUse, provision.CodeOf(err))
	left, err := f.ForgetABMDevices(t.Context(), school)
	require.NoError(t, err)
	require.Equal(t, 500, left)
	left, err = f.ForgetABMDevices(t.Context(), school)
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, "unassigned school", f.stands(all[1499]))
	require.Equal(t, 1500, f.count(`devices WHERE status = 'Unassigned'`))
	require.NoError(t, f.DeleteABMServer(t.Context(), school, store.Condition{}))
	require.Zero(t, f.count(`abm_devices`))
	_, err = f.ForgetABMDevices(t.Context(), school)
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

func TestOriginsOfDevices(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, serials(2)...)
	at := f.Now()
	require.NoError(t, f.NoteABMOrigins(t.Context(), school, []store.ABMOrigin{
		{Serial: "C0000000", Source: "MANUALLY_ADDED", AddedAt: at}, {Serial: "C0000001", Source: "APPLE"}, {Serial: "C0000009", Source: "APPLE"},
	}))
	require.Equal(t, 1, f.count(`abm_devices WHERE source = 'MANUALLY_ADDED' AND added_at = $1`, at))
	require.Equal(t, 1, f.count(`abm_devices WHERE source = 'APPLE' AND added_at IS NULL`))
	require.NoError(t, f.NoteABMOrigins(t.Context(), school, nil))
	require.NoError(t, f.NoteABM(t.Context(), school, "The API account can't be used."))
	require.Equal(t, "The API account can't be used.", f.abmServer(school).SyncNote)
}
