package workflows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/workflows"
)

// Recorded histories are those of released code: never record over one, but add a new one beside it.
var record = flag.Bool("record", false, "write the histories of this run to testdata, where none of that name is there")

// live is a workflow on a real server with a world.
type live struct {
	*world
	t      *testing.T
	client client.Client
	door   *signals.Client
	work   sync.WaitGroup
	worker worker.Worker
}

func hastyPolicy() provision.Policy {
	return provision.Policy{
		SetupHold: 300 * time.Millisecond, HoldPolicy: provision.HoldRelease, RetryAfter: []time.Duration{100 * time.Millisecond},
		NudgeAfter: []time.Duration{time.Hour},
	}
}

func newLive(t *testing.T) *live {
	t.Helper()
	hostPort, namespace := stacktest.Temporal(t)
	c, err := client.DialContext(t.Context(), client.Options{HostPort: hostPort, Namespace: namespace, Identity: "recorder", Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	l := &live{
		world: newWorld(device, time.Now), t: t, client: c,
		door: signals.New(c, signals.TaskQueue, signals.WithPolicy(hastyPolicy())),
	}
	l.startWorker()
	t.Cleanup(func() { l.work.Wait(); l.worker.Stop() })
	l.send = func(f provision.Fact) { // under the world's lock, so facts keep their order
		if err := l.door.Deliver(context.Background(), provision.Delivery{Serial: device, Fact: f, Over: l.row.Ended(), Device: l.row}); err != nil {
			t.Errorf("delivering %s: %v", f.Kind, err)
		}
	}
	l.answer = func(plan int64, verdicts []provision.Verdict) {
		l.work.Go(func() {
			for _, v := range verdicts {
				l.settle(plan, v)
			}
		})
	}
	return l
}

func (l *live) startWorker() {
	l.t.Helper()
	w := worker.New(l.client, signals.TaskQueue, worker.Options{Identity: "recorder"})
	w.RegisterWorkflowWithOptions(workflows.Device, workflow.RegisterOptions{Name: signals.WorkflowType})
	w.RegisterActivityWithOptions(&activities.MDM{Planner: l.world}, activity.RegisterOptions{})
	w.RegisterActivityWithOptions(&activities.Records{Keeper: l.world}, activity.RegisterOptions{})
	require.NoError(l.t, w.Start())
	l.worker = w
}

// deliver gives the workflow a fact that isn't recorded, as an operator does.
func (l *live) deliver(f provision.Fact) {
	if err := l.door.Deliver(context.Background(), provision.Delivery{Serial: device, Fact: f}); err != nil {
		l.t.Errorf("delivering %s: %v", f.Kind, err)
	}
}

func (l *live) activate(epoch int, awaiting bool) {
	l.happen(provision.Fact{Kind: provision.Authenticated, Epoch: epoch})
	l.happen(provision.Fact{Kind: provision.Activated, Epoch: epoch, AwaitingConfiguration: awaiting})
}

func (l *live) until(what string, ok func(signals.Status) bool) {
	l.t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		s, err := l.door.Status(context.Background(), device)
		if err == nil && ok(s) {
			return
		}
		select {
		case <-deadline:
			l.t.Fatalf("not in time: %s; %+v, %v", what, s, err)
		case <-tick.C:
		}
	}
}

func (l *live) plan() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.row.Plan.By
}

func (l *live) enrolled() {
	l.t.Helper()
	l.until("Enrolled", func(s signals.Status) bool { return s.Status == provision.StatusEnrolled })
}

func (l *live) begun() {
	l.t.Helper()
	l.until("begun", func(s signals.Status) bool { return s.Status == provision.StatusAwaiting })
}

// scenarios are the lives whose histories are kept.
var scenarios = map[string]func(*live){
	"activated_first": func(l *live) {
		l.activate(1, false)
		l.begun()
		l.happen(assignedTo("sales"))
		l.enrolled()
	},
	"assigned_first": func(l *live) {
		l.happen(assignedTo("sales", "drivers"))
		l.begun()
		l.activate(1, false)
		l.enrolled()
	},
	"retry": func(l *live) {
		l.script.Failing = 1
		l.happen(assignedTo("sales"))
		l.activate(1, false)
		l.enrolled()
	},
	"setup_hold": func(l *live) {
		l.activate(1, true)
		l.until("out of Setup Assistant", func(signals.Status) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.row.SetupReleased.By != 0
		})
		l.happen(assignedTo("sales"))
		l.enrolled()
	},
	"setup_assistant": func(l *live) {
		l.happen(assignedTo("sales"))
		l.activate(1, true)
		l.enrolled()
	},
	"reassign": func(l *live) {
		l.happen(assignedTo("sales"))
		l.activate(1, false)
		l.enrolled()
		plan := l.plan()
		l.happen(assignedTo("drivers"))
		l.until("Enrolled with the new plan", func(s signals.Status) bool { return s.Status == provision.StatusEnrolled && s.Plan > plan })
		l.happen(provision.Fact{Kind: provision.Unassigned})
		l.until("unassigned", func(s signals.Status) bool { return s.Status == provision.StatusAwaiting })
	},
	"by_hand": func(l *live) {
		l.happen(assignedTo("sales"))
		l.begun()
		for _, f := range []provision.Fact{{Kind: provision.HoldRequest, Reason: "repair"}, {Kind: provision.ResumeRequest}, assignedTo("nobody")} {
			l.deliver(f)
		}
		l.until("refused", func(s signals.Status) bool { return strings.Contains(s.Notice, "nobody") && s.BlockedBy == "" })
		l.activate(1, false)
		l.enrolled()
	},
	"release": func(l *live) {
		l.happen(assignedTo("sales"))
		l.activate(1, false)
		l.enrolled()
		l.happen(provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
		require.NoError(l.t, l.client.GetWorkflow(context.Background(), signals.WorkflowID(device), "").Get(context.Background(), nil))
	},
	"withdrawn": func(l *live) {
		l.happen(assignedTo("sales"))
		l.begun()
		l.happen(provision.Fact{Kind: provision.HoldRequest, Reason: "a case"})
		l.happen(provision.Fact{Kind: provision.Withdrawn})
		require.NoError(l.t, l.client.GetWorkflow(context.Background(), signals.WorkflowID(device), "").Get(context.Background(), nil))
	},
	"sign_in_held": func(l *live) {
		l.signsIn(2 * time.Second)
		l.enrolled()
	},
	"sign_in_reviewed": func(l *live) {
		l.signsIn(time.Hour)
		l.happen(provision.Fact{Kind: provision.SignInReviewed, Choice: string(provision.KeepReserved)})
		l.enrolled()
	},
	"resumed": func(l *live) {
		l.happen(assignedTo("sales"))
		l.begun()
		require.NoError(l.t, l.client.TerminateWorkflow(context.Background(), signals.WorkflowID(device), "", "lost"))
		l.mu.Lock()
		known := l.row
		l.mu.Unlock()
		require.NoError(l.t, l.door.Resume(context.Background(), known))
		l.begun()
		l.activate(1, false)
		l.enrolled()
	},
	"continue_as_new": func(l *live) {
		_, err := l.client.ExecuteWorkflow(context.Background(), startOptions(), signals.WorkflowType, workflows.DeviceState{
			Start: signals.Start{Device: provision.Device{Serial: device}, Policy: hastyPolicy()}, MaxHistory: 30,
		})
		require.NoError(l.t, err)
		l.happen(assignedTo("sales"))
		for range 60 { // faster than the workflow, so that some come while a run ends
			l.happen(provision.Fact{Kind: provision.HoldRequest})
			l.happen(provision.Fact{Kind: provision.ResumeRequest})
		}
		l.activate(1, false)
		l.enrolled()
	},
}

// signsIn has the device enroll by somebody whom it isn't reserved for; it is theirs when nobody decides in time.
func (l *live) signsIn(hold time.Duration) {
	l.t.Helper()
	l.happen(assignedTo("sales"))
	l.begun()
	until := time.Now().UTC().Add(hold)
	l.happen(provision.Fact{
		Kind: provision.SignInHeld, Assignment: &provision.Assignment{UserID: "p2", Groups: []string{"drivers"}}, Until: &until,
		Choice: string(provision.TakeSignedIn),
	})
	l.activate(1, true)
	l.until("in review", func(s signals.Status) bool { return s.BlockedBy == "sign_in_review" && s.Epoch == 1 })
}

// runs fetches the histories of all runs, the oldest first.
func (l *live) runs() []*history.History {
	l.t.Helper()
	return runsOf(l.t, l.client, signals.WorkflowID(device))
}

func runsOf(t *testing.T, c client.Client, id string) []*history.History {
	t.Helper()
	var all []*history.History
	desc, err := c.DescribeWorkflowExecution(context.Background(), id, "")
	require.NoError(t, err)
	for run := desc.GetWorkflowExecutionInfo().GetExecution().GetRunId(); run != ""; {
		h := &history.History{}
		events := c.GetWorkflowHistory(context.Background(), id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			e, err := events.Next()
			require.NoError(t, err)
			h.Events = append(h.Events, e)
		}
		all = append([]*history.History{h}, all...)
		run = h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId()
	}
	return all
}

func replayer(t *testing.T) worker.WorkflowReplayer {
	t.Helper()
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(workflows.Device, workflow.RegisterOptions{Name: signals.WorkflowType})
	r.RegisterWorkflowWithOptions(workflows.ABMSync, workflow.RegisterOptions{Name: signals.ABMSyncType})
	r.RegisterWorkflowWithOptions(workflows.ABMDuties, workflow.RegisterOptions{Name: signals.ABMDutiesType})
	return r
}

// Each life runs on a real server, within the design's price, and its fresh history replays.
func TestLivesOnARealServer(t *testing.T) {
	for name, live := range scenarios {
		t.Run(name, func(t *testing.T) {
			l := newLive(t)
			live(l)
			runs := l.runs()
			for i, h := range runs {
				if *record { // before the replay, which changes the history that it is given
					save(t, name+"_"+strconv.Itoa(i+1)+".json", h)
				}
				require.NoError(t, replayer(t).ReplayWorkflowHistory(nil, h), "run %d", i+1)
			}
			switch name {
			case "activated_first", "assigned_first", "setup_assistant":
				checkPrice(t, runs[0])
			case "continue_as_new":
				l.checkRuns(runs)
			}
		})
	}
}

func checkPrice(t *testing.T, h *history.History) {
	t.Helper()
	count := map[enums.EventType]int{}
	for _, e := range h.GetEvents() {
		count[e.GetEventType()]++
	}
	t.Logf("%d events, %d signals", len(h.GetEvents()), count[enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED])
	require.LessOrEqual(t, len(h.GetEvents()), 35)
	require.LessOrEqual(t, count[enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED], 4)
	require.Equal(t, 1, count[enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED])
	require.LessOrEqual(t, count[enums.EVENT_TYPE_TIMER_STARTED], 1)
	require.LessOrEqual(t, count[enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES], 3)
}

// A serial number that was withdrawn and is assigned again begins a new life, in which nothing of the first counts.
func TestWithdrawnDeviceBeginsAnew(t *testing.T) {
	l := newLive(t)
	scenarios["withdrawn"](l)
	first := l.runID()
	l.happen(assignedTo("drivers"))
	l.begun()
	require.NotEqual(t, first, l.runID())
	l.activate(1, false)
	l.enrolled()
	desc, err := l.client.DescribeWorkflow(t.Context(), signals.WorkflowID(device), "")
	require.NoError(t, err)
	groups, _ := desc.TypedSearchAttributes.GetKeywordList(signals.AttributeGroups)
	require.Equal(t, []string{"drivers"}, groups)
}

// When it is assigned again before the workflow comes to its turn, its life just goes on.
func TestWithdrawnAndAssignedAtOnce(t *testing.T) {
	l := newLive(t)
	l.happen(assignedTo("sales"))
	l.begun()
	first := l.runID()
	l.worker.Stop()
	l.happen(provision.Fact{Kind: provision.Withdrawn})
	l.happen(assignedTo("drivers"))
	l.startWorker()
	l.activate(1, false)
	l.enrolled()
	require.Equal(t, first, l.runID())
}

func (l *live) runID() string {
	l.t.Helper()
	desc, err := l.client.DescribeWorkflowExecution(context.Background(), signals.WorkflowID(device), "")
	require.NoError(l.t, err)
	return desc.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

// checkRuns: over all runs no fact was lost, and the search attributes came along.
func (l *live) checkRuns(runs []*history.History) {
	require.Greater(l.t, len(runs), 1)
	signalled := 0
	for _, h := range runs {
		for _, e := range h.GetEvents() {
			if e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
				signalled++
			}
		}
	}
	require.GreaterOrEqual(l.t, signalled, 122)
	s, err := l.door.Status(context.Background(), device)
	require.NoError(l.t, err)
	require.Equal(l.t, l.plan(), s.Plan)
	require.Empty(l.t, s.BlockedBy, "the last of the holds was lifted")
	desc, err := l.client.DescribeWorkflow(context.Background(), signals.WorkflowID(device), "")
	require.NoError(l.t, err)
	status, _ := desc.TypedSearchAttributes.GetKeyword(signals.AttributeStatus)
	require.Equal(l.t, "Enrolled", status)
	_, onHold := desc.TypedSearchAttributes.GetKeyword(signals.AttributeBlockedBy)
	require.False(l.t, onHold)
}

func save(t *testing.T, name string, h *history.History) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if _, err := os.Stat(path); err == nil {
		return
	}
	raw, err := protojson.Marshal(h)
	require.NoError(t, err)
	var plain bytes.Buffer // protojson's blanks differ from run to run
	require.NoError(t, json.Compact(&plain, raw))
	host, err := os.Hostname() // the SDK puts it into the names of sticky queues
	require.NoError(t, err)
	clean := bytes.ReplaceAll(plain.Bytes(), []byte(`"`+host+`:`), []byte(`"recorder:`))
	require.NoError(t, os.MkdirAll("testdata", 0o750))
	require.NoError(t, os.WriteFile(path, append(clean, '\n'), 0o600))
}

// A history that the present code replays otherwise would break every device that is under way: keep the order of
// commands, or branch by workflow.GetVersion and record a new one.
func TestRecordedHistoriesReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	found := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		found[name[:strings.LastIndex(name, "_")]] = true
		t.Run(name, func(t *testing.T) {
			require.NoError(t, replayer(t).ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
	for name := range scenarios {
		require.True(t, found[name], "no history of %s: run `go test ./workflows -run Lives -record`", name)
	}
	for name := range abmScenarios {
		require.True(t, found[name], "no history of %s: run `go test ./workflows -run ABM -record`", name)
	}
}

// What the Temporal UI shows of a running device says what it waits for, and names nobody.
func TestCurrentDetails(t *testing.T) {
	l := newLive(t)
	l.happen(assignedTo("sales"))
	l.begun()
	metadata := l.metadata()
	require.Contains(t, metadata.GetCurrentDetails(), "**Awaiting Device Activation**")
	require.Contains(t, metadata.GetCurrentDetails(), "Can end it: the person who holds the device")
	require.Contains(t, metadata.GetCurrentDetails(), "nothing before something happens")
	e, err := l.door.Explain(t.Context(), device)
	require.NoError(t, err)
	require.Len(t, e.Waits, 1)
	require.Equal(t, provision.WaitForFacts, e.Next.Do)
	for _, s := range metadata.GetDefinition().GetSignalDefinitions() {
		require.NotEmpty(t, s.GetDescription(), s.GetName())
	}
	require.Len(t, metadata.GetDefinition().GetSignalDefinitions(), len(provision.Signals()))

	l.activate(1, false)
	l.enrolled()
	require.Regexp(t, `^\*\*Enrolled\*\*\n\nEnrolled since \d{4}-\d\d-\d\d \d\d:\d\d UTC\. Nothing to do\.$`, l.metadata().GetCurrentDetails())
}

func (l *live) metadata() *sdk.WorkflowMetadata {
	l.t.Helper()
	value, err := l.client.QueryWorkflow(l.t.Context(), signals.WorkflowID(device), "", "__temporal_workflow_metadata")
	require.NoError(l.t, err)
	var metadata sdk.WorkflowMetadata
	require.NoError(l.t, value.Get(&metadata))
	return &metadata
}
