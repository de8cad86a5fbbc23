package activities_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

func TestFetchThenSync(t *testing.T) {
	w := newWorld(t, sim.Config{Name: "Acme"})
	w.server(school)
	all := w.addNew(school, 20)
	last, pages := w.sync(school)
	require.Equal(t, activities.SyncResult{Phase: store.PhaseSync}, last)
	require.Equal(t, 5, pages, "three pages, the end of the fetch, and what changed meanwhile")
	w.agrees(school)
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Equal(t, "Acme", s.Account.OrgName)
	require.Equal(t, w.servers[school], s.Account.ServerUUID)

	require.NoError(t, w.org.Unassign(all[:3]...))
	require.NoError(t, w.org.Release(all[3]))
	w.addNew(school, 2)
	_, pages = w.sync(school)
	require.Equal(t, 1, pages)
	w.agrees(school)
	require.Equal(t, provision.ABMUnassigned, w.device(all[0]).ABM.State)
	require.Equal(t, provision.ABMUnassigned, w.device(all[3]).ABM.State, "nobody knows better yet")
	require.NoError(t, w.org.Move(w.servers[school], all[0]))
	w.sync(school)
	w.agrees(school)
}

// Whatever goes wrong on the way, what Apple lists is known here in the end, once.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	faults := map[string]sim.Fault{
		"slow":        {Kind: sim.FaultSlow, Share: 0.2, Seconds: 2, Times: 2},
		"error":       {Kind: sim.FaultError, Share: 0.4},
		"retry later": {Kind: sim.FaultError, Share: 0.4, Seconds: 20, Status: 503},
		"too many":    {Kind: sim.FaultTooMany, Share: 0.4, Seconds: 17},
		"garbage":     {Kind: sim.FaultGarbage, Share: 0.4},
		"truncated":   {Kind: sim.FaultTruncated, Share: 0.4},
		"reset":       {Kind: sim.FaultReset, Share: 0.4},
		"same cursor": {Kind: sim.FaultSameCursor, Share: 0.4},
		"repeat":      {Kind: sim.FaultRepeat, Share: 0.5},
		"disorder":    {Kind: sim.FaultDisorder, Share: 0.5},
	}
	for name, f := range faults {
		for _, quirks := range []sim.Quirks{{}, {ExhaustedWhenIdle: true, ReturnAsModified: true, QuotedErrors: true}} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, sim.Config{Seed: 7, Quirks: quirks})
				if name == "slow" {
					w.timeout = 500 * time.Millisecond
				}
				w.server(school)
				all := w.addNew(school, 40)
				w.org.SetFaults(f)
				w.sync(school)
				for i := range 4 {
					require.NoError(t, w.org.Unassign(all[i*5:i*5+5]...))
					if i > 1 {
						require.NoError(t, w.org.Move(w.servers[school], all[:3]...))
						require.NoError(t, w.org.Unassign(all[:3]...))
					}
					all = append(all, w.addNew(school, 3)...)
					w.sync(school)
				}
				require.NotZero(t, w.org.Counts().Faults[f.Kind])
				require.NoError(t, w.org.Move(w.servers[school], all[:4]...))
				w.sync(school)
				if f.Kind == sim.FaultSameCursor { // a run gives up for now; the next goes on
					w.org.SetFaults()
					w.sync(school)
				}
				w.agrees(school)
				s, err := w.ABMServer(t.Context(), school)
				require.NoError(t, err)
				require.Empty(t, s.Blocked())
			})
		}
	}
}

// mortal dies now and then: after Apple's answer and before it is written, or after it was written and before anybody hears
// of it.
type mortal struct {
	*store.DB
	random *rand.Rand
	deaths int
}

var errDied = errors.New("the worker died")

func (m *mortal) TakeABMPage(ctx context.Context, p store.ABMPage) (store.ABMTaken, error) {
	switch m.random.IntN(4) {
	case 0:
		m.deaths++
		return store.ABMTaken{}, errDied
	case 1:
		if _, err := m.DB.TakeABMPage(ctx, p); err != nil {
			return store.ABMTaken{}, err
		}
		m.deaths++
		return store.ABMTaken{}, errDied
	}
	return m.DB.TakeABMPage(ctx, p)
}

func (m *mortal) ConcludeABMFetch(ctx context.Context, task store.ABMTask) (store.ABMTask, int, error) {
	next, n, err := m.DB.ConcludeABMFetch(ctx, task)
	if err == nil && m.random.IntN(2) == 0 {
		m.deaths++
		return store.ABMTask{}, 0, errDied
	}
	return next, n, err
}

func TestWorkersThatDieLoseAndDoubleNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(t, sim.Config{Seed: seed})
	w.server(school)
	w.server(home)
	m := &mortal{DB: w.DB, random: random}
	w.abm.List = m
	all := append(w.addNew(school, 60), w.addNew(home, 40)...)
	for range 12 {
		w.happen(random, all)
		for _, s := range []string{school, home} {
			if random.IntN(4) == 0 {
				_, err := w.WantSync(t.Context(), s, true)
				require.NoError(t, err)
			}
			w.sync(s)
		}
	}
	w.sync(school) // once more, so that both have seen every move
	w.sync(home)
	w.agrees(school, home)
	require.Greater(t, m.deaths, 20)
}

// happen moves devices about in the portal.
func (w *world) happen(random *rand.Rand, all []string) {
	w.t.Helper()
	for range 10 {
		serial := all[random.IntN(len(all))]
		var err error
		switch random.IntN(3) {
		case 0:
			err = w.org.Unassign(serial)
		case 1:
			err = w.org.Move(w.servers[school], serial)
		case 2:
			err = w.org.Move(w.servers[home], serial)
		}
		require.NoError(w.t, err)
	}
}

func TestCursorThatAppleForgotBeginsAnew(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.addNew(school, 10)
	w.sync(school)
	w.pass(8 * 24 * time.Hour)
	_, err := w.sql.Exec(t.Context(), `UPDATE abm_servers SET full_done_at = $1`, w.clock.now()) // so that no full fetch is due
	require.NoError(t, err)
	w.addNew(school, 1)
	first := insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school})
	require.Equal(t, activities.SyncResult{Phase: store.PhaseSync, More: true, Restarts: 1}, first)
	w.sync(school)
	w.agrees(school)
}

func TestListThatNeverEndsIsGivenUpForNow(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.addNew(school, 20)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultSameCursor, Share: 1})
	last, pages := w.sync(school)
	require.Equal(t, 3, last.Restarts)
	require.Less(t, pages, 20)
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Contains(t, s.SyncNote, "again and again")
	w.org.SetFaults()
	w.sync(school)
	w.agrees(school)
}

// doomed is a store in which the server is deleted while Apple is asked.
type doomed struct{ *store.DB }

func (d doomed) TakeABMPage(ctx context.Context, p store.ABMPage) (store.ABMTaken, error) {
	if err := d.DeleteABMServer(ctx, p.Task.Server, store.Condition{}); err != nil {
		return store.ABMTaken{}, err
	}
	return d.DB.TakeABMPage(ctx, p)
}

func TestServerThatIsDeletedWhileAppleIsAsked(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.addNew(school, 1)
	w.abm.List = doomed{w.DB}
	last, _ := w.sync(school)
	require.Equal(t, activities.ABMDeleted, last.Idle)
	require.Zero(t, w.count(`devices`))
}

func TestServersThatAreNotToBeAsked(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.addNew(school, 1)
	asked := func() int { return len(w.org.Counts().Requests) }
	_, err := w.PauseABM(t.Context(), school, true)
	require.NoError(t, err)
	require.Equal(t, activities.ABMPaused, insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school, First: true}).Idle)
	require.Equal(t, activities.ABMDeleted, insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: "nobody"}).Idle)
	require.Equal(t, activities.ABMDeleted, insist[activities.DutyResult](w, w.abm.RunDuties, activities.DutyInput{Server: "nobody"}).Idle)
	_, _, err = w.PutABMServer(t.Context(), store.ABMServerInput{Name: "new", SyncEvery: time.Minute, FullEvery: time.Hour}, store.Condition{},
		func() (certificate, key []byte, err error) { return []byte("c"), []byte("k"), nil })
	require.NoError(t, err)
	require.Equal(t, activities.ABMUnlinked, insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: "new", First: true}).Idle)
	require.Equal(t, activities.ABMUnlinked, insist[activities.DutyResult](w, w.abm.RunDuties, activities.DutyInput{Server: "new"}).Idle)
	require.Zero(t, asked())
}

// A pause that Apple asks for is kept by everything that asks for the server, to the second.
func TestThrottleIsKeptByAll(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.addNew(school, 1)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 1, Seconds: 40, Times: 1, Path: "/server"})
	out := insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school})
	require.Equal(t, 40*time.Second, out.Wait)
	require.True(t, out.More)
	w.pass(30 * time.Second)
	again := insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school, First: true})
	require.InDelta(t, 10, again.Wait.Seconds(), 1)
	require.InDelta(t, 10, insist[activities.DutyResult](w, w.abm.RunDuties, activities.DutyInput{Server: school}).Wait.Seconds(), 1)
	require.InDelta(t, 10, insist[activities.SettleResult](w, w.abm.SettleGone, activities.SettleInput{Server: school}).Wait.Seconds(), 1)
	require.InDelta(t, 10, insist[activities.OrganisationResult](w, w.abm.ReadOrganisation, activities.OrganisationInput{Server: school}).Wait.Seconds(), 1)
	w.pass(again.Wait)
	w.sync(school)
	w.agrees(school)
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Equal(t, int64(1), s.Throttled)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 1, Seconds: 5, Times: 1, Path: "/account"})
	require.Equal(t, 5*time.Second, insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school, First: true}).Wait)
}

func TestOutagesAreRetriedAndNoted(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultError, Share: 1, Seconds: 90})
	_, err := perform[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, string(fault.Unreachable), app.Type())
	require.Equal(t, 90*time.Second, app.NextRetryDelay())
	require.False(t, app.NonRetryable())
	require.NotContains(t, err.Error(), "127.0.0.1")
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Empty(t, s.Blocked(), "short outages are no news")
	require.NotNil(t, s.FailingSince)
	w.pass(11 * time.Minute)
	_, err = perform[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school})
	require.Error(t, err)
	s, err = w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Equal(t, provision.BlockedUnreachable, s.Blocked())
	w.org.SetFaults()
	w.sync(school)
	s, err = w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Equal(t, store.Healthy, s.Health)
}
