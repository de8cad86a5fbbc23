package signals

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ABMPlan is how often a server's devices are listed.
type ABMPlan struct {
	Server string
	Every  time.Duration
	Paused bool
}

const (
	// planForm counts changes of how schedules are made, so that those of an older release are brought up to date.
	planForm = 1
	// mostJitter spreads the syncs of many servers.
	mostJitter = 30 * time.Second
	// catchupWindow is how old a sync that was missed may be to be caught up with: the next one makes up for all.
	catchupWindow = time.Minute
)

// notes say whose schedule it is and what it was made from, so that nothing is updated needlessly.
func (a *ABM) notes(p ABMPlan) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %s", planForm, p.Server, p.Every, a.taskQueue))
	return "Kept by Muster; pause the server there. " + hex.EncodeToString(sum[:6])
}

// Plan has a server synced by a schedule, which is made, changed, paused or resumed if it isn't as planned.
func (a *ABM) Plan(ctx context.Context, p ABMPlan) error {
	is, err := a.temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(p.Server),
	})
	switch {
	case isNotFound(err):
		return a.createPlan(ctx, p)
	case err != nil:
		return fmt.Errorf("looking at the schedule of ABM server %s: %w", p.Server, err)
	}
	state := is.GetSchedule().GetState()
	if state.GetNotes() == a.notes(p) && state.GetPaused() == p.Paused {
		return nil
	}
	wanted, err := a.schedule(p)
	if err != nil {
		return err
	}
	_, err = a.temporal.WorkflowService().UpdateSchedule(ctx, &workflowservice.UpdateScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(p.Server), Schedule: wanted, RequestId: rand.Text(),
	})
	if err != nil {
		return fmt.Errorf("changing the schedule of ABM server %s: %w", p.Server, err)
	}
	return nil
}

func (a *ABM) createPlan(ctx context.Context, p ABMPlan) error {
	wanted, err := a.schedule(p)
	if err != nil {
		return err
	}
	_, err = a.temporal.WorkflowService().CreateSchedule(ctx, &workflowservice.CreateScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(p.Server), Schedule: wanted, RequestId: rand.Text(),
	})
	var already *serviceerror.WorkflowExecutionAlreadyStarted // another worker was faster
	if err != nil && !errors.As(err, &already) {
		return fmt.Errorf("making the schedule of ABM server %s: %w", p.Server, err)
	}
	return nil
}

func (a *ABM) schedule(p ABMPlan) (*schedule.Schedule, error) {
	convert := converter.GetDefaultDataConverter()
	input, err := convert.ToPayloads(ABMStart{Server: p.Server})
	if err != nil {
		return nil, fmt.Errorf("writing the input of a sync: %w", err)
	}
	server, err := convert.ToPayload(p.Server)
	if err != nil {
		return nil, fmt.Errorf("writing a search attribute: %w", err)
	}
	server.Metadata["type"] = []byte(enums.INDEXED_VALUE_TYPE_KEYWORD.String())
	summary, err := convert.ToPayload("Sync of ABM server " + p.Server)
	if err != nil {
		return nil, fmt.Errorf("writing a summary: %w", err)
	}
	return &schedule.Schedule{
		Spec: &schedule.ScheduleSpec{
			Interval: []*schedule.IntervalSpec{{Interval: durationpb.New(p.Every)}},
			Jitter:   durationpb.New(min(p.Every/10, mostJitter)),
		},
		Action: &schedule.ScheduleAction{Action: &schedule.ScheduleAction_StartWorkflow{StartWorkflow: &workflow.NewWorkflowExecutionInfo{
			WorkflowId: ABMSyncID(p.Server), WorkflowType: &common.WorkflowType{Name: ABMSyncType},
			TaskQueue: &taskqueue.TaskQueue{Name: a.taskQueue}, Input: input,
			SearchAttributes: &common.SearchAttributes{IndexedFields: map[string]*common.Payload{AttributeServer.GetName(): server}},
			UserMetadata:     &sdk.UserMetadata{Summary: summary},
		}}},
		Policies: &schedule.SchedulePolicies{
			// One that takes longer than the interval goes on; the next makes up for what was skipped.
			OverlapPolicy: enums.SCHEDULE_OVERLAP_POLICY_SKIP,
			CatchupWindow: durationpb.New(catchupWindow),
		},
		State: &schedule.ScheduleState{Notes: a.notes(p), Paused: p.Paused},
	}, nil
}

// SyncNow has a server synced at once. If it is being synced already, it is synced again afterwards: what is wished now may
// have been passed already.
func (a *ABM) SyncNow(ctx context.Context, server string) error {
	_, err := a.temporal.WorkflowService().PatchSchedule(ctx, &workflowservice.PatchScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(server), RequestId: rand.Text(),
		Patch: &schedule.SchedulePatch{TriggerImmediately: &schedule.TriggerImmediatelyRequest{
			OverlapPolicy: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
		}},
	})
	if err != nil {
		return fmt.Errorf("having ABM server %s synced: %w", server, err)
	}
	return nil
}

// newestSync is the id of a server's sync that runs, or was the last to begin; "" = none lately.
func (a *ABM) newestSync(ctx context.Context, server string) (string, error) {
	is, err := a.temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(server),
	})
	if isNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking at the schedule of ABM server %s: %w", server, err)
	}
	for _, running := range is.GetInfo().GetRunningWorkflows() {
		return running.GetWorkflowId(), nil
	}
	recent := is.GetInfo().GetRecentActions()
	if len(recent) == 0 {
		return "", nil
	}
	return recent[len(recent)-1].GetStartWorkflowResult().GetWorkflowId(), nil
}

// Planned lists the servers that have a schedule on this task queue.
func (a *ABM) Planned(ctx context.Context) ([]string, error) {
	var servers []string
	for page := []byte(nil); ; {
		list, err := a.temporal.WorkflowService().ListSchedules(ctx, &workflowservice.ListSchedulesRequest{
			Namespace: a.namespace, MaximumPageSize: 100, NextPageToken: page,
		})
		if err != nil {
			return nil, fmt.Errorf("listing schedules: %w", err)
		}
		for _, s := range list.GetSchedules() {
			server, named := strings.CutPrefix(s.GetScheduleId(), abmSyncPrefix)
			if !named {
				continue
			}
			ours, err := a.onOurQueue(ctx, server)
			if err != nil {
				return nil, err
			}
			if ours {
				servers = append(servers, server)
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return servers, nil
		}
	}
}

// onOurQueue tells our schedules from those of another Muster in the same namespace.
func (a *ABM) onOurQueue(ctx context.Context, server string) (bool, error) {
	is, err := a.temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(server),
	})
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the schedule of ABM server %s: %w", server, err)
	}
	return is.GetSchedule().GetAction().GetStartWorkflow().GetTaskQueue().GetName() == a.taskQueue, nil
}

// Unplan ends the syncs of a server that is no more.
func (a *ABM) Unplan(ctx context.Context, server string) error {
	_, err := a.temporal.WorkflowService().DeleteSchedule(ctx, &workflowservice.DeleteScheduleRequest{
		Namespace: a.namespace, ScheduleId: ABMSyncID(server),
	})
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("deleting the schedule of ABM server %s: %w", server, err)
	}
	return nil
}
