package rehearse

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/muster-mdm/muster/signals"
)

// Cost is what a device's workflow cost Temporal from its start to its first Enrolled.
type Cost struct {
	Signals, Activities, Events int
}

// costOf reads a device's history; ok is false when its workflow never became Enrolled.
func costOf(ctx context.Context, c client.Client, serial string) (cost Cost, ok bool, err error) {
	run, err := firstRun(ctx, c, serial)
	if err != nil || run == "" {
		return Cost{}, false, err
	}
	for run != "" {
		events := c.GetWorkflowHistory(ctx, signals.WorkflowID(serial), run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		run = ""
		for events.HasNext() {
			e, err := events.Next()
			if err != nil {
				return Cost{}, false, fmt.Errorf("reading the history of %s: %w", serial, err)
			}
			cost.add(e)
			if becomesEnrolled(e) {
				return cost, true, nil
			}
			run = e.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
		}
	}
	return Cost{}, false, nil
}

// firstRun is the run with which a device's workflow began, before any continue-as-new; "" when there is none.
func firstRun(ctx context.Context, c client.Client, serial string) (string, error) {
	d, err := c.DescribeWorkflowExecution(ctx, signals.WorkflowID(serial), "")
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("finding the workflow of %s: %w", serial, err)
	}
	return d.GetWorkflowExecutionInfo().GetFirstRunId(), nil
}

func (c *Cost) add(e *history.HistoryEvent) {
	c.Events++
	switch e.GetEventType() {
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		c.Signals++
	case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		c.Activities++
	}
}

// becomesEnrolled: the workflow tells its status by a search attribute with every transition.
func becomesEnrolled(e *history.HistoryEvent) bool {
	fields := e.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
	payload, told := fields[signals.AttributeStatus.GetName()]
	if !told {
		return false
	}
	var status string
	return converter.GetDefaultDataConverter().FromPayload(payload, &status) == nil && status == statusEnrolled
}
