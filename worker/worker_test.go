package worker_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/worker"
)

// cost is what a device's way to Enrolled took in Temporal.
type cost struct{ events, signals, activities int }

func costOf(t *testing.T, c client.Client, serial string) (sum cost) {
	t.Helper()
	events := c.GetWorkflowHistory(context.Background(), signals.WorkflowID(serial), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		sum.events++
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			sum.signals++
		case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			sum.activities++
		default:
		}
	}
	return sum
}

func median(of []int) int {
	slices.Sort(of)
	return of[len(of)/2]
}

// Devices assigned before, after or while they are activated, some held in Setup Assistant, all become Enrolled, at the
// price that the design allows.
func TestFromFirstFactToEnrolledAtTheDesignsPrice(t *testing.T) {
	f := newFleet(t)
	c, namespace := dial(t)
	f.run(c, worker.Config{Namespace: namespace})
	const n = 24
	for i := range n {
		switch awaiting := i%4 == 3; i % 3 {
		case 0:
			f.assign(serial(i), "sales", "drivers")
			f.activate(serial(i), awaiting)
		case 1:
			f.activate(serial(i), awaiting)
			f.assign(serial(i), "sales")
		case 2:
			f.record(serial(i), provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "abm", State: provision.ABMPresent}})
			f.assign(serial(i), "drivers")
			f.activate(serial(i), awaiting)
		}
	}
	f.eventually("all devices Enrolled", f.enrolled(n))
	var events, signalled, activities []int
	for i := range n {
		f.eventually("the workflow knows it", func() bool {
			s, err := signals.New(c, "").Status(t.Context(), serial(i))
			return err == nil && s.Status == provision.StatusEnrolled
		})
		cost := costOf(t, c, serial(i))
		events, signalled, activities = append(events, cost.events), append(signalled, cost.signals), append(activities, cost.activities)
	}
	t.Logf("history events %v, signals %v, activities %v", events, signalled, activities)
	require.LessOrEqual(t, median(events), 35)
	require.LessOrEqual(t, median(signalled), 4)
	require.Equal(t, 1, median(activities))

	desc, err := c.DescribeWorkflow(t.Context(), signals.WorkflowID(serial(0)), "")
	require.NoError(t, err)
	status, _ := desc.TypedSearchAttributes.GetKeyword(signals.AttributeStatus)
	require.Equal(t, "Enrolled", status)
	groups, _ := desc.TypedSearchAttributes.GetKeywordList(signals.AttributeGroups)
	require.Equal(t, []string{"sales", "drivers"}, groups)
	epoch, _ := desc.TypedSearchAttributes.GetInt64(signals.AttributeEpoch)
	require.Equal(t, int64(1), epoch)
	require.False(t, desc.TypedSearchAttributes.ContainsKey(signals.AttributeAwaiting), "awaiting nothing any more")

	var left int
	require.NoError(t, f.pool.QueryRow(t.Context(), `SELECT count(*) FROM device_events WHERE deliver AND delivered_at IS NULL`).Scan(&left))
	require.Zero(t, left, "undelivered facts")
}
