package workflows_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/workflows"
)

const server = "school"

// oracle is Apple Business Manager as a script: each activity gives its answers one after the other. It stands under the
// names of the real one's activities.
type oracle struct {
	mu        sync.Mutex
	pages     []activities.SyncResult
	settled   []activities.SettleResult
	read      []activities.OrganisationResult
	rounds    []activities.DutyResult
	asked     []activities.SyncInput
	skipped   []int
	cursors   []string
	times     []time.Time
	failure   error
	afterwork func(round int)
}

func next[T any](a *oracle, script *[]T, note func()) (out T, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	note()
	a.times = append(a.times, time.Now())
	if len(*script) == 0 {
		return out, a.failure
	}
	out, *script = (*script)[0], (*script)[1:]
	return out, nil
}

func (a *oracle) SyncPage(_ context.Context, in activities.SyncInput) (activities.SyncResult, error) {
	return next(a, &a.pages, func() { a.asked = append(a.asked, in) })
}

func (a *oracle) SettleGone(_ context.Context, in activities.SettleInput) (activities.SettleResult, error) {
	return next(a, &a.settled, func() { a.skipped = append(a.skipped, in.Skip) })
}

func (a *oracle) ReadOrganisation(_ context.Context, in activities.OrganisationInput) (activities.OrganisationResult, error) {
	return next(a, &a.read, func() { a.cursors = append(a.cursors, in.Cursor) })
}

func (a *oracle) RunDuties(context.Context, activities.DutyInput) (activities.DutyResult, error) {
	out, err := next(a, &a.rounds, func() {})
	a.mu.Lock()
	afterwork, done := a.afterwork, len(a.times)
	a.mu.Unlock()
	if afterwork != nil {
		afterwork(done)
	}
	if !out.Next.IsZero() { // scripts count from the beginning of time
		out.Next = time.Now().Add(out.Next.Sub(time.Time{}))
	}
	return out, err
}

// appleStage is a real Temporal server with the workflows of servers, and the script.
type appleStage struct {
	*oracle
	t      *testing.T
	client client.Client
	door   *signals.ABM
}

func newAppleStage(t *testing.T) *appleStage {
	t.Helper()
	hostPort, namespace := stacktest.Temporal(t)
	c, err := client.DialContext(t.Context(), client.Options{HostPort: hostPort, Namespace: namespace, Identity: "recorder", Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	s := &appleStage{oracle: &oracle{}, t: t, client: c, door: signals.NewABM(c, namespace, signals.TaskQueue)}
	w := worker.New(c, signals.TaskQueue, worker.Options{Identity: "recorder"})
	w.RegisterWorkflowWithOptions(workflows.ABMSync, workflow.RegisterOptions{Name: signals.ABMSyncType})
	w.RegisterWorkflowWithOptions(workflows.ABMDuties, workflow.RegisterOptions{Name: signals.ABMDutiesType})
	w.RegisterActivityWithOptions(s.oracle, activity.RegisterOptions{})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return s
}

// sync runs a sync to its end.
func (s *appleStage) sync(state workflows.ABMSyncState) error {
	s.t.Helper()
	state.Server = server
	run, err := s.client.ExecuteWorkflow(context.Background(), s.options(signals.ABMSyncID(server)), signals.ABMSyncType, state)
	require.NoError(s.t, err)
	return run.Get(context.Background(), nil)
}

func (s *appleStage) options(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: id, TaskQueue: signals.TaskQueue, TypedSearchAttributes: temporal.NewSearchAttributes(signals.AttributeServer.ValueSet(server)),
	}
}

func (s *appleStage) query(id string, answer any) {
	s.t.Helper()
	value, err := s.client.QueryWorkflow(context.Background(), id, "", signals.QueryStatus)
	require.NoError(s.t, err)
	require.NoError(s.t, value.Get(answer))
}

func (s *appleStage) dutiesEnd() {
	s.t.Helper()
	require.NoError(s.t, s.client.GetWorkflow(context.Background(), signals.ABMDutiesID(server), "").Get(context.Background(), nil))
}

var errPassing = temporal.NewNonRetryableApplicationError("Apple can't be reached.", "unreachable", nil)

func after(d time.Duration) time.Time { return time.Time{}.Add(d) }

// abmScenarios are the lives whose histories are kept, by the id of their workflow.
var abmScenarios = map[string]struct {
	id   string
	live func(*appleStage)
}{
	"abm_sync_full": {signals.ABMSyncID(server), func(s *appleStage) {
		s.pages = []activities.SyncResult{
			{Phase: store.PhaseFetch, More: true, Devices: 10, New: 10},
			{Phase: store.PhaseFetch, More: true, Devices: 4, New: 4},
			{Phase: store.PhaseConclude, More: true, Missing: 3, Full: true},
			{Phase: store.PhaseSync, Devices: 1, Gone: 1},
		}
		s.settled = []activities.SettleResult{{More: true, Skip: 2, Released: 1}, {Unassigned: 1}}
		s.read = []activities.OrganisationResult{{More: true, Cursor: "c1", Devices: 1000}, {Devices: 7}}
		require.NoError(s.t, s.sync(workflows.ABMSyncState{}))
		require.Equal(s.t, []int{0, 2}, s.skipped)
		require.Equal(s.t, []string{"", "c1"}, s.cursors)
		require.Equal(s.t, activities.SyncInput{Server: server, First: true}, s.asked[0])
		require.Equal(s.t, activities.SyncInput{Server: server}, s.asked[1])
		var status signals.ABMSyncStatus
		s.query(signals.ABMSyncID(server), &status)
		require.Equal(s.t, signals.ABMSyncStatus{
			Server: server, Stage: "done", Pages: 4, Devices: 15, New: 14, Gone: 1, Missing: 3, Released: 1, Unassigned: 1,
		}, status)
	}},
	"abm_sync_throttled": {signals.ABMSyncID(server), func(s *appleStage) {
		wait := activities.ABMHalt{Wait: 300 * time.Millisecond}
		s.pages = []activities.SyncResult{{ABMHalt: wait, More: true}, {Phase: store.PhaseSync, More: true, Same: 2, Restarts: 1}, {Phase: store.PhaseSync, Full: true}}
		s.settled = []activities.SettleResult{{ABMHalt: wait, More: true, Skip: 5}, {}}
		s.read = []activities.OrganisationResult{{ABMHalt: wait, More: true, Cursor: "c"}, {}}
		require.NoError(s.t, s.sync(workflows.ABMSyncState{}))
		for _, i := range []int{0, 3, 5} {
			require.GreaterOrEqual(s.t, s.times[i+1].Sub(s.times[i]), wait.Wait, "not a moment earlier")
		}
		require.Equal(s.t, activities.SyncInput{Server: server, Same: 2, Restarts: 1}, s.asked[2])
		require.Equal(s.t, []int{0, 5}, s.skipped)
		require.Equal(s.t, []string{"", "c"}, s.cursors)
	}},
	"abm_sync_blocked": {signals.ABMSyncID(server), func(s *appleStage) {
		s.pages = []activities.SyncResult{{ABMHalt: activities.ABMHalt{Blocked: provision.BlockedTerms}}}
		s.settled = []activities.SettleResult{{}}
		require.NoError(s.t, s.sync(workflows.ABMSyncState{}))
		var status signals.ABMSyncStatus
		s.query(signals.ABMSyncID(server), &status)
		require.Contains(s.t, status.Notice, "must be signed")
	}},
	"abm_sync_out_of_reach": {signals.ABMSyncID(server), func(s *appleStage) {
		s.pages, s.failure = []activities.SyncResult{{Phase: store.PhaseFetch, More: true}}, errPassing
		require.NoError(s.t, s.sync(workflows.ABMSyncState{}), "the next one goes on")
		var status signals.ABMSyncStatus
		s.query(signals.ABMSyncID(server), &status)
		require.Equal(s.t, "done", status.Stage)
		require.Contains(s.t, status.Notice, "out of reach")
		require.Empty(s.t, s.skipped)
	}},
	"abm_sync_continue_as_new": {signals.ABMSyncID(server), func(s *appleStage) {
		for range 7 {
			s.pages = append(s.pages, activities.SyncResult{Phase: store.PhaseFetch, More: true, Devices: 10})
		}
		s.pages = append(s.pages, activities.SyncResult{Phase: store.PhaseSync, Full: true})
		s.settled, s.read = []activities.SettleResult{{}}, []activities.OrganisationResult{{}}
		require.NoError(s.t, s.sync(workflows.ABMSyncState{MaxPages: 4}))
		first := 0
		for _, in := range s.asked {
			if in.First {
				first++
			}
		}
		require.Equal(s.t, 1, first, "a run that goes on is not a new sync")
		var status signals.ABMSyncStatus
		s.query(signals.ABMSyncID(server), &status)
		require.Equal(s.t, [2]int{8, 70}, [2]int{status.Pages, status.Devices})
	}},
	"abm_duties": {signals.ABMDutiesID(server), func(s *appleStage) {
		wait := activities.ABMHalt{Wait: 300 * time.Millisecond}
		s.rounds = []activities.DutyResult{
			{Verb: provision.AssignProfile, Asked: 1000, Done: 990, More: true},
			{ABMHalt: wait, More: true},
			{Verb: provision.AssignProfile, Asked: 5, Done: 5, More: true},
			{Next: after(200 * time.Millisecond)},
			{Verb: provision.AssignProfile, Asked: 10, Done: 10, More: true},
			{Next: after(time.Hour)},
		}
		require.NoError(s.t, s.door.DutiesDue(context.Background(), server))
		s.dutiesEnd()
		require.GreaterOrEqual(s.t, s.times[2].Sub(s.times[1]), wait.Wait)
		status, err := s.door.DutiesStatus(context.Background(), server)
		require.NoError(s.t, err)
		require.Equal(s.t, signals.ABMDutiesStatus{Server: server, Asked: 1015, Done: 1005}, status)
	}},
	"abm_duties_woken": {signals.ABMDutiesID(server), func(s *appleStage) {
		s.rounds = []activities.DutyResult{{Next: after(time.Minute)}, {Verb: provision.ReleaseDevice, Asked: 1, Done: 1, More: true}, {}}
		require.NoError(s.t, s.door.DutiesDue(context.Background(), server))
		require.Eventually(s.t, func() bool {
			status, err := s.door.DutiesStatus(context.Background(), server)
			return err == nil && status.Waits != ""
		}, 20*time.Second, 10*time.Millisecond)
		require.NoError(s.t, s.door.DutiesDue(context.Background(), server)) // long before the minute is over
		s.dutiesEnd()
		require.Less(s.t, s.times[1].Sub(s.times[0]), 30*time.Second)
	}},
	"abm_duties_continue_as_new": {signals.ABMDutiesID(server), func(s *appleStage) {
		for range 7 {
			s.rounds = append(s.rounds, activities.DutyResult{Verb: provision.AssignProfile, Asked: 2, Done: 1, More: true})
		}
		s.afterwork = func(int) { // a waking that comes while a run ends is no loss
			if err := s.door.DutiesDue(context.Background(), server); err != nil {
				s.t.Errorf("waking: %v", err)
			}
		}
		s.rounds = append(s.rounds, activities.DutyResult{ABMHalt: activities.ABMHalt{Blocked: provision.BlockedAccess}})
		_, err := s.client.ExecuteWorkflow(context.Background(), s.options(signals.ABMDutiesID(server)), signals.ABMDutiesType,
			workflows.ABMDutiesState{ABMStart: signals.ABMStart{Server: server}, MaxRounds: 3})
		require.NoError(s.t, err)
		require.Eventually(s.t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.rounds) == 0 {
				s.afterwork = nil
			}
			return len(s.rounds) == 0
		}, 20*time.Second, 10*time.Millisecond)
		s.dutiesEnd()
	}},
}

// Each life runs on a real server, and its fresh history replays.
func TestABMLivesOnARealServer(t *testing.T) {
	for name, c := range abmScenarios {
		t.Run(name, func(t *testing.T) {
			s := newAppleStage(t)
			c.live(s)
			for i, h := range runsOf(t, s.client, c.id) {
				if *record {
					save(t, name+"_"+strconv.Itoa(i+1)+".json", h)
				}
				require.NoError(t, replayer(t).ReplayWorkflowHistory(nil, h), "run %d", i+1)
			}
		})
	}
}

// What is wrong here, and not at Apple, fails the workflow where an operator sees it.
func TestABMWorkflowsFailForWhatIsWrongHere(t *testing.T) {
	s := newAppleStage(t)
	s.failure = temporal.NewNonRetryableApplicationError("There is no keyring.", string(provision.KeyringMissing), nil)
	err := s.sync(workflows.ABMSyncState{})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, "There is no keyring.", app.Message())
	require.NoError(t, s.door.DutiesDue(t.Context(), server))
	err = s.client.GetWorkflow(t.Context(), signals.ABMDutiesID(server), "").Get(t.Context(), nil)
	require.ErrorAs(t, err, &app)
}

// An operator may begin either by hand, with nothing but the id.
func TestABMWorkflowsBegunByHand(t *testing.T) {
	s := newAppleStage(t)
	s.pages, s.settled, s.rounds = []activities.SyncResult{{}}, []activities.SettleResult{{}}, []activities.DutyResult{{}}
	for id, kind := range map[string]string{signals.ABMSyncID(server): signals.ABMSyncType, signals.ABMDutiesID(server): signals.ABMDutiesType} {
		options := client.StartWorkflowOptions{ID: id, TaskQueue: signals.TaskQueue}
		run, err := s.client.ExecuteWorkflow(t.Context(), options, kind)
		require.NoError(t, err)
		require.NoError(t, run.Get(t.Context(), nil))
		desc, err := s.client.DescribeWorkflow(t.Context(), id, "")
		require.NoError(t, err)
		name, _ := desc.TypedSearchAttributes.GetKeyword(signals.AttributeServer)
		require.Equal(t, server, name)
	}
	require.Equal(t, server, s.asked[0].Server)
}

func TestServersOfIds(t *testing.T) {
	for id, want := range map[string]string{"abm-sync/home": "home", "abm-duties/home": "home", "device/C07Q853LG9RM": "", "": ""} {
		require.Equal(t, want, signals.ABMServerOf(id))
	}
}
