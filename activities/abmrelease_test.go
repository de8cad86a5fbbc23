package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

// asks has the workflows of devices ask Apple for something that an operator wants.
func (w *world) asks(verb provision.ABMVerb, serials ...string) {
	w.t.Helper()
	request := provision.Fact{Kind: provision.UnassignFromMDM}
	if verb == provision.ReleaseDevice {
		request = provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}
	}
	for _, s := range serials {
		w.record(s, request)
		_, err := w.Carry(w.t.Context(), s, provision.Step{Do: provision.AskABM, Verb: verb, Reason: request.Reason})
		require.NoError(w.t, err)
	}
}

// request is what became of what was asked for a device.
func (w *world) request(verb provision.ABMVerb, serial string) provision.ABMRequest {
	w.t.Helper()
	if verb == provision.ReleaseDevice {
		return w.device(serial).ABMRelease
	}
	return w.device(serial).ABMUnassign
}

// played has duties done until the time is up, looking after activities as often as it is due.
func (w *world) played(server string, time time.Duration) (done int) {
	w.t.Helper()
	for until := w.Now().Add(time); ; {
		n, last := w.duties(server)
		done += n
		if last.Next.IsZero() || last.Next.After(until) {
			return done
		}
		w.pass(max(0, last.Next.Sub(w.Now())))
	}
}

func TestUnassignByTheBusinessAPI(t *testing.T) {
	w := newWorld(t, sim.Config{Lifetime: sim.Lifetimes{Activity: 40 * time.Second}})
	w.server(school)
	w.business(school, false)
	all := w.addNew(school, 5)
	w.sync(school)
	w.asks(provision.UnassignDevice, all[:3]...)
	first := insist[activities.DutyResult](w, w.abm.RunDuties, activities.DutyInput{Server: school})
	require.Equal(t, activities.DutyResult{Verb: provision.UnassignDevice, Asked: 3, More: true}, first)
	require.Len(t, w.org.Running(), 1)
	_, last := w.duties(school)
	require.WithinDuration(t, w.Now().Add(15*time.Second), last.Next, 5*time.Second)
	require.Equal(t, 3, w.played(school, time.Minute))
	require.Equal(t, 1, w.org.Counts().Requests["POST /v1/orgDeviceActivities"])
	require.Equal(t, "COMPLETED_WITH_SUCCESS", w.request(provision.UnassignDevice, all[0]).Result)
	require.Equal(t, provision.ABMPresent, w.device(all[0]).ABM.State, "R57: at the next sync")
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.NotNil(t, s.SyncWantedAt)
	w.sync(school)
	w.agrees(school)
	require.Equal(t, provision.StatusUnassigned, w.device(all[0]).Status())
}

func TestReleaseByTheBusinessAPI(t *testing.T) {
	for _, quirks := range []sim.Quirks{{}, {SilentRelease: true}} {
		w := newWorld(t, sim.Config{Quirks: quirks, Lifetime: sim.Lifetimes{Activity: 20 * time.Second}})
		w.server(school)
		w.business(school, false)
		all := w.addNew(school, 3)
		w.sync(school)
		w.asks(provision.ReleaseDevice, all[0])
		require.Equal(t, 1, w.played(school, time.Minute))
		require.Equal(t, provision.ABMReleased, w.device(all[0]).ABM.State)
		step := provision.Next(w.device(all[0]), provision.Policy{}, w.Now())
		require.Equal(t, provision.ConcludeReleased, step.Do)
		_, err := w.Carry(t.Context(), all[0], step)
		require.NoError(t, err)
		w.sync(school)
		w.agrees(school)
		require.True(t, w.device(all[0]).Over())
	}
}

// What an activity couldn't do, or nobody knows whether it did, is asked for again, in Apple's words meanwhile; what is gone
// already is done.
func TestActivitiesThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		fault  sim.Fault
		result string
	}{
		"failed":  {sim.Fault{Kind: sim.FaultActivityFailed, Share: 1, Times: 1}, "FAILED"},
		"stopped": {sim.Fault{Kind: sim.FaultActivityStopped, Share: 1, Times: 1}, "STOPPED"},
	} {
		for _, verb := range []provision.ABMVerb{provision.UnassignDevice, provision.ReleaseDevice} {
			t.Run(name+" "+string(verb), func(t *testing.T) {
				w := newWorld(t, sim.Config{Lifetime: sim.Lifetimes{Activity: 10 * time.Second}})
				w.server(school)
				w.business(school, false)
				all := w.addNew(school, 3)
				w.sync(school)
				w.asks(verb, all[:2]...)
				w.org.SetFaults(c.fault)
				require.Zero(t, w.played(school, 30*time.Second))
				r := w.request(verb, all[0])
				require.Equal(t, provision.ABMRetrying, r.Outcome)
				require.Equal(t, c.result, r.Result)
				require.NoError(t, w.org.Release(all[1])) // by hand meanwhile, and no sync yet
				require.Equal(t, 2, w.played(school, 5*time.Minute))
				w.sync(school)
				w.agrees(school)
				require.Equal(t, provision.ABMDone, w.request(verb, all[1]).Outcome)
				require.Zero(t, w.count(`abm_duties`))
			})
		}
	}
}

// lossy forgets an activity's id before it is noted: its worker died.
type lossy struct {
	*store.DB
	losses int
}

func (l *lossy) NoteABMActivity(ctx context.Context, duties []store.ABMDuty, activity string, look time.Duration) error {
	if l.losses > 0 {
		l.losses--
		return errDied
	}
	return l.DB.NoteABMActivity(ctx, duties, activity, look)
}

func TestActivityWhoseIdWasLost(t *testing.T) {
	for _, verb := range []provision.ABMVerb{provision.UnassignDevice, provision.ReleaseDevice} {
		for _, slow := range []time.Duration{10 * time.Second, 7 * time.Minute} {
			w := newWorld(t, sim.Config{Quirks: sim.Quirks{SilentRelease: true}, Lifetime: sim.Lifetimes{Activity: slow}})
			w.server(school)
			w.business(school, false)
			all := w.addNew(school, 2)
			w.sync(school)
			w.asks(verb, all[0])
			w.abm.Duties = &lossy{DB: w.DB, losses: 1}
			require.Equal(t, 1, w.played(school, time.Hour))
			require.Equal(t, provision.ABMDone, w.request(verb, all[0]).Outcome)
			w.sync(school)
			w.agrees(school)
		}
	}
}

func TestActivityThatAppleForgot(t *testing.T) {
	w := newWorld(t, sim.Config{Lifetime: sim.Lifetimes{Activity: time.Second}})
	w.server(school)
	w.business(school, false)
	all := w.addNew(school, 1)
	w.sync(school)
	w.asks(provision.UnassignDevice, all[0])
	duties, err := w.ABMDutiesOf(t.Context(), all[0])
	require.NoError(t, err)
	require.NoError(t, w.NoteABMActivity(t.Context(), duties, "forgotten", 0))
	w.duties(school)
	require.Contains(t, w.request(provision.UnassignDevice, all[0]).Result, "NOT_FOUND")
	require.Equal(t, 1, w.played(school, 2*time.Minute))
}

func TestBusinessAccountThatMayNot(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.business(school, true)
	all := w.addNew(school, 1)
	w.sync(school)
	w.asks(provision.UnassignDevice, all[0])
	w.duties(school)
	r := w.request(provision.UnassignDevice, all[0])
	require.Equal(t, provision.ABMRetrying, r.Outcome)
	require.Contains(t, r.Result, "FORBIDDEN_ERROR: The API account's role")
	health, _ := w.health(school)
	require.Equal(t, store.Healthy, health)
	w.business(school, false)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 1, Path: "/v1/orgDeviceActivities", Times: 1, Seconds: 70},
		sim.Fault{Kind: sim.FaultReset, Share: 1, Path: "/v1/orgDeviceActivities", Times: 1})
	require.Equal(t, 1, w.played(school, time.Hour))
	require.Zero(t, w.org.Counts().Impatient)
}

// Without an API account a person must unassign; releases go by the device assignment API where Apple allows it.
func TestWithoutABusinessAccount(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	all := w.addNew(school, 4)
	w.sync(school)
	w.asks(provision.UnassignDevice, all[0])
	w.asks(provision.ReleaseDevice, all[1])
	w.duties(school)
	require.Equal(t, provision.ABMGuided, w.request(provision.UnassignDevice, all[0]).Outcome)
	r := w.request(provision.ReleaseDevice, all[1])
	require.Equal(t, [2]string{"guided", "FAILED"}, [2]string{string(r.Outcome), r.Result})
	require.NoError(t, w.org.Unassign(all[0]))
	require.NoError(t, w.org.Release(all[1]))
	w.sync(school)
	require.Equal(t, provision.StatusUnassigned, w.device(all[0]).Status())
	require.Equal(t, provision.ConcludeReleased, provision.Next(w.device(all[1]), provision.Policy{}, w.Now()).Do)

	w.serverLike(sim.Server{Name: home, Disown: true})
	gone := w.addNew(home, 2)
	w.sync(home)
	w.asks(provision.ReleaseDevice, gone[0])
	done, _ := w.duties(home)
	require.Equal(t, 1, done)
	d, _ := w.org.Device(gone[0])
	require.True(t, d.Released)
	require.Equal(t, provision.ABMReleased, w.device(gone[0]).ABM.State)
	w.sync(home)
	w.agrees(home)
}
