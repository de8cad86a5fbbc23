package store_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestDevicesBecomeKnownByTheirPage(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	task := f.task(school)
	require.Equal(t, store.ABMTask{Server: school, Phase: store.PhaseFetch, Generation: 1}, task)
	page := store.ABMPage{Task: task, Next: "one", More: true, Records: records("C0000001", "C0000002")}
	taken, err := f.TakeABMPage(t.Context(), page)
	require.NoError(t, err)
	require.Equal(t, store.ABMTaken{New: 2, Next: store.ABMTask{Server: school, Phase: store.PhaseFetch, Cursor: "one", Generation: 1}}, taken)
	require.Equal(t, []string{"abm_seen"}, f.kinds("C0000001"))
	require.Equal(t, "present school", f.stands("C0000001"))
	require.Equal(t, []string{provision.AwaitingActivation, provision.AwaitingAssignment}, f.device("C0000001").Labels())
	require.Equal(t, 2, f.count(`device_events WHERE deliver AND priority = 1`), "their workflows begin")
	require.Equal(t, 2, f.count(`devices WHERE model = 'iPad' AND server = 'school'`))

	again, err := f.TakeABMPage(t.Context(), page)
	require.NoError(t, err)
	require.True(t, again.Outdated, "whoever died after asking asks again")
	require.Equal(t, taken.Next, again.Next)
	require.Equal(t, 2, f.count(`device_events`))

	require.Equal(t, store.PhaseConclude, f.take(school, false, records("C0000002", "C0000003")...).Next.Phase)
	require.Zero(t, f.conclude(school))
	require.Equal(t, store.PhaseSync, f.task(school).Phase)
	s := f.abmServer(school)
	require.Equal(t, 3, s.Devices)
	require.NotNil(t, s.FullDoneAt)
	require.Zero(t, f.take(school, false).New, "a sync without news")
	require.NotNil(t, f.abmServer(school).SyncedAt)

	f.clock.pass(24 * time.Hour)
	require.Equal(t, store.ABMTask{Server: school, Phase: store.PhaseFetch, Generation: 2}, f.task(school), "a full fetch a day")
	_, err = f.NextABMTask(t.Context(), "nobody")
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
	_, err = f.TakeABMPage(t.Context(), store.ABMPage{Task: store.ABMTask{Server: "nobody"}})
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

func TestNewestWordOnADeviceWins(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, "C0000001", "C0000002")
	at := f.Now()
	taken := f.take(school, true,
		op("c0000001 ", "deleted", at), op("C0000001", "modified", at.Add(time.Second)), // reassigned within the page, in other letters
		op("C0000003", "modified", at), op("C0000003", "added", at), // called modified although it is new, and twice
		op("C0000004", "deleted", at), // came and went between two syncs
		op("no serial", "added", at), op("", "added", at),
	)
	require.Equal(t, []string{"", "no serial"}, sorted(taken.Odd))
	require.Equal(t, 1, taken.New)
	require.Zero(t, taken.Gone)
	require.Equal(t, "present school", f.stands("C0000001"))
	require.Equal(t, "present school", f.stands("C0000003"))
	_, err := f.Device(t.Context(), "C0000004")
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))

	require.Equal(t, 1, f.take(school, true, op("C0000001", "deleted", at)).Stale, "it was modified after that")
	require.Equal(t, "present school", f.stands("C0000001"))
	require.Equal(t, 1, f.take(school, true, op("C0000001", "deleted", at.Add(time.Minute))).Gone)
	require.Equal(t, "unassigned school", f.stands("C0000001"))
	require.Equal(t, provision.StatusUnassigned, f.device("C0000001").Status(), "R57: staged, at the next sync")
	require.Zero(t, f.take(school, true, op("C0000001", "deleted", at.Add(time.Hour))).Gone, "it is gone already")
	require.Equal(t, 1, f.take(school, true, op("C0000001", "modified", at.Add(2*time.Hour))).New, "it came back, by whatever name")
	require.Equal(t, "present school", f.stands("C0000001"))
	require.Equal(t, []string{"abm_seen", "abm_gone", "abm_seen"}, f.kinds("C0000001"))
	require.Equal(t, 1, f.take(school, false, store.ABMRecord{Serial: "C0000001", OpType: "deleted"}).Gone, "without a date it counts as new")
}

func sorted(list []string) []string {
	if len(list) == 2 && list[1] < list[0] {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

// What is listed now is so, whatever a clock said before.
func TestFullFetchIsNeverStale(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, "C0000001")
	f.take(school, false, op("C0000001", "modified", f.Now().Add(time.Hour)))
	_, err := f.WantSync(t.Context(), school, true)
	require.NoError(t, err)
	dated := records("C0000001")
	dated[0].OpDate = f.Now()
	require.Zero(t, f.take(school, false, dated...).Stale)
	require.Zero(t, f.conclude(school))
	require.Equal(t, "present school", f.stands("C0000001"))
}

func TestPageOfAFetchThatWasBegunAnewIsDropped(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	begun := f.task(school)
	require.NoError(t, f.RestartABMFetch(t.Context(), begun, "Apple forgot the cursor."))
	require.NoError(t, f.RestartABMFetch(t.Context(), begun, "twice is once"))
	require.Equal(t, int64(2), f.task(school).Generation)
	require.Equal(t, "Apple forgot the cursor.", f.abmServer(school).SyncNote)
	taken, err := f.TakeABMPage(t.Context(), store.ABMPage{Task: begun, Next: "late", Records: records("C0000001")})
	require.NoError(t, err)
	require.True(t, taken.Outdated)
	_, err = f.WantSync(t.Context(), school, true)
	require.NoError(t, err)
	require.Equal(t, int64(3), f.task(school).Generation)
	require.Zero(t, f.count(`devices`))
}

func TestDeviceThatMovesBetweenServers(t *testing.T) {
	f := newFleet(t)
	f.linked(school, "home")
	f.fetched(school, "C0000001", "C0000002")
	f.fetched("home")
	for _, s := range []string{school, "home"} {
		require.NoError(t, f.SyncBegun(t.Context(), s, f.Now()))
	}

	f.take("home", false, op("C0000001", "added", f.Now()))
	require.Equal(t, "conflict home school", f.stands("C0000001"), "both list it for some minutes")
	require.Equal(t, "abm_conflict", f.device("C0000001").BlockedBy())
	require.NotNil(t, f.abmServer(school).SyncWantedAt, "the other is asked soon")
	require.Nil(t, f.abmServer("home").SyncWantedAt)
	f.take(school, false, op("C0000001", "modified", f.Now()))
	require.Equal(t, "conflict home school", f.stands("C0000001"), "no news")
	f.take(school, false, op("C0000001", "deleted", f.Now()))
	require.Equal(t, "present home", f.stands("C0000001"), "R64: it is that one's now")
	require.Equal(t, []string{"abm_seen", "abm_seen", "abm_seen"}, f.kinds("C0000001"))

	f.take(school, false, op("C0000002", "deleted", f.Now())) // and in the other order
	f.take("home", false, op("C0000002", "added", f.Now()))
	require.Equal(t, "present home", f.stands("C0000002"))
}

// Records in any order and any number of times, on two servers at once, end in what the servers list last.
func TestAnyOrderOfPagesEndsInWhatIsListed(t *testing.T) {
	f := newFleet(t)
	servers := []string{"home", school}
	f.linked(servers...)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	all := serials(12)
	listed := map[string]map[string]bool{"home": {}, school: {}}
	for _, s := range servers {
		f.fetched(s)
	}
	at := f.Now()
	for range 60 {
		batches := map[string][]store.ABMRecord{}
		for _, s := range servers {
			batches[s] = someOps(random, all, listed[s], &at)
		}
		var busy sync.WaitGroup
		for _, s := range servers {
			task := f.task(s)
			busy.Go(func() {
				for range 2 { // the second time nothing happens
					if _, err := f.TakeABMPage(context.Background(), store.ABMPage{Task: task, Next: task.Cursor + "x", Records: batches[s]}); err != nil {
						t.Errorf("taking a page of %s: %v", s, err)
					}
				}
			})
		}
		busy.Wait()
	}
	for _, serial := range all {
		home, at := listed["home"][serial], listed[school][serial]
		if _, err := f.Device(t.Context(), serial); err != nil {
			require.False(t, home || at, "%s is listed and not known", serial)
			continue
		}
		d := f.device(serial)
		switch {
		case home && at:
			require.Equal(t, provision.ABMConflict, d.ABM.State, serial)
		case home:
			require.Equal(t, "present home", f.stands(serial))
		case at:
			require.Equal(t, "present school", f.stands(serial))
		default:
			require.Equal(t, provision.ABMUnassigned, d.ABM.State, serial)
		}
	}
	require.Equal(t, 60*2, f.pagesTaken(servers), "each page once")
}

// pagesTaken counts by the cursors, which grow by a letter for each.
func (f *fleet) pagesTaken(servers []string) (n int) {
	for _, s := range servers {
		for _, c := range f.task(s).Cursor {
			if c == 'x' {
				n++
			}
		}
	}
	return n
}

// someOps draws what happens to devices at a server, and notes what it lists then.
func someOps(random *rand.Rand, all []string, listed map[string]bool, at *time.Time) []store.ABMRecord {
	var list []store.ABMRecord
	for range random.IntN(8) {
		serial := all[random.IntN(len(all))]
		*at = at.Add(time.Second)
		what := []string{"added", "modified", "deleted"}[random.IntN(3)]
		listed[serial] = what != "deleted"
		list = append(list, op(serial, what, *at))
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}
