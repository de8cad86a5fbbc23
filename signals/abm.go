package signals

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/provision"
)

// Names of the workflows of Apple Business Manager's servers, as Temporal and its operators know them. They are part of
// histories: never renamed.
const (
	ABMSyncType   = "ABMSync"
	ABMDutiesType = "ABMDuties"
	// ABMDue wakes an ABMDuties: something became due.
	ABMDue = "due"
)

const (
	abmSyncPrefix   = "abm-sync/"
	abmDutiesPrefix = "abm-duties/"
)

// ABMSyncID is the id of the schedule that has a server's devices listed. Temporal adds the time to it for the ids of the
// workflows that the schedule starts, one at a time.
func ABMSyncID(server string) string { return abmSyncPrefix + server }

// ABMDutiesID is the id of the workflow that asks Apple for what is owed to a server's devices.
func ABMDutiesID(server string) string { return abmDutiesPrefix + server }

// ABMStart is the input of the first run of either.
type ABMStart struct {
	Server string `json:"server"`
}

// ABMSyncStatus is the answer of an ABMSync to the query status. The numbers are those of this sync.
type ABMSyncStatus struct {
	Server string `json:"server"`
	// Stage: list, settle, organisation or done.
	Stage      string `json:"stage"`
	Pages      int    `json:"pages"`
	Devices    int    `json:"devices"`
	New        int    `json:"new,omitempty"`
	Gone       int    `json:"gone,omitempty"`
	Missing    int    `json:"missing,omitempty"`
	Released   int    `json:"released,omitempty"`
	Unassigned int    `json:"unassigned,omitempty"`
	// Waits is until when Apple asked to be left alone.
	Waits string `json:"waits,omitempty"`
	// Notice is why it ends early.
	Notice string `json:"notice,omitempty"`
}

// ABMDutiesStatus is the answer of an ABMDuties to the query status. The numbers are those since it began.
type ABMDutiesStatus struct {
	Server string `json:"server"`
	Asked  int    `json:"asked"`
	Done   int    `json:"done"`
	Waits  string `json:"waits,omitempty"`
	Notice string `json:"notice,omitempty"`
}

// ABM is the door to the workflows of Apple Business Manager's servers. It is safe for concurrent use.
type ABM struct {
	temporal  client.Client
	namespace string
	taskQueue string
}

// NewABM returns a door. Workflows that it begins run on the task queue.
func NewABM(c client.Client, namespace, taskQueue string) *ABM {
	return &ABM{temporal: c, namespace: namespace, taskQueue: taskQueue}
}

// DutiesDue has a server's duties looked at: it begins their workflow, or wakes the one that runs.
func (a *ABM) DutiesDue(ctx context.Context, server string) error {
	options := client.StartWorkflowOptions{
		ID:        ABMDutiesID(server),
		TaskQueue: a.taskQueue,
		// It ends whenever nothing is due soon, and begins again when something is.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// One at a time asks for a server, or devices would be asked for twice.
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes:    temporal.NewSearchAttributes(AttributeServer.ValueSet(server)),
		StaticSummary:            "What Apple is asked for devices of ABM server " + server,
	}
	_, err := a.temporal.SignalWithStartWorkflow(ctx, ABMDutiesID(server), ABMDue, nil, options, ABMDutiesType, ABMStart{Server: server})
	if err != nil {
		return fmt.Errorf("having the duties of ABM server %s looked at: %w", server, err)
	}
	return nil
}

// SyncStatus asks how far a server's newest sync is. It fails with [provision.NotFound] when there was none lately, and
// with [provision.WorkflowUnavailable] when it can't be asked.
func (a *ABM) SyncStatus(ctx context.Context, server string) (ABMSyncStatus, error) {
	var s ABMSyncStatus
	id, err := a.newestSync(ctx, server)
	switch {
	case err != nil:
		return s, err
	case id == "":
		return s, provision.Errorf(provision.NotFound, "ABM server %.64q was not synced lately.", server)
	}
	err = a.query(ctx, id, &s)
	return s, err
}

// DutiesStatus asks what is being asked of Apple for a server. It fails like [ABM.SyncStatus].
func (a *ABM) DutiesStatus(ctx context.Context, server string) (ABMDutiesStatus, error) {
	var s ABMDutiesStatus
	err := a.query(ctx, ABMDutiesID(server), &s)
	return s, err
}

func (a *ABM) query(ctx context.Context, id string, answer any) error {
	value, err := a.temporal.QueryWorkflow(ctx, id, "", QueryStatus)
	if isNotFound(err) {
		return provision.Errorf(provision.NotFound, "No workflow %s is there.", id)
	}
	if err != nil {
		return fmt.Errorf("asking workflow %s for its status: %w", id,
			errors.Join(provision.Errorf(provision.WorkflowUnavailable, "The workflow can't be asked now; try again shortly."), err))
	}
	if err := value.Get(answer); err != nil {
		return fmt.Errorf("reading the status of workflow %s: %w", id, err)
	}
	return nil
}

// ABMServerOf returns the server in an id of one of its workflows or schedules, "" when it is none.
func ABMServerOf(id string) string {
	if server, ok := strings.CutPrefix(id, abmSyncPrefix); ok {
		return server
	}
	server, ok := strings.CutPrefix(id, abmDutiesPrefix)
	if !ok {
		return ""
	}
	return server
}
