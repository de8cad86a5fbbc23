package worker_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/worker"
	"github.com/muster-mdm/muster/workflows"
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

// Workers are stopped, started and cut off from PostgreSQL while devices enroll: all end Enrolled, and nothing was sent
// twice.
func TestWorkersComeAndGo(t *testing.T) {
	f := newFleet(t)
	c, namespace := dial(t)
	config := worker.Config{Namespace: namespace}
	const n = 30
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	stops := []func(){f.run(c, config), f.run(c, config)}
	for i := range n {
		f.assign(serial(i), "sales")
		f.activate(serial(i), i%2 == 0)
		if i%5 == 4 {
			which := random.IntN(2)
			stops[which]()
			stops[which] = f.run(c, config)
		}
		if i%7 == 6 {
			f.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND state = 'idle in transaction' AND query LIKE '%WITH ORDINALITY%'`) // a relay with its claim
		}
	}
	f.eventually("all devices Enrolled", f.enrolled(n))
	require.Equal(t, "0", f.text(`SELECT count(*)::text FROM device_commands WHERE request_type LIKE 'Install%' AND attempt > 1`))
	require.Equal(t, "0", f.text(`SELECT count(*)::text FROM (
		SELECT serial FROM device_events WHERE kind = 'enrolled' GROUP BY serial HAVING count(*) > 1) twice`))
}

// Temporal is down when the worker starts and knows no search attributes when it comes: the worker waits, makes them, and
// delivers what was recorded meanwhile.
func TestWorkerWaitsForTemporal(t *testing.T) {
	bin, err := devstack.FindTemporal(t.Context(), "../.bin", devstack.FindOptions{})
	require.NoError(t, err)
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalConfig{Bin: bin, ThrowAway: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	server.Kill()
	f := newFleet(t)
	metrics := prometheus.NewRegistry()
	c, err := client.NewLazyClient(client.Options{HostPort: server.HostPort(), Logger: quiet(), MetricsHandler: worker.NewMetricsHandler(metrics)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	f.run(c, worker.Config{})
	f.assign(serial(0), "sales")
	f.activate(serial(0), true)
	require.NoError(t, server.Start(t.Context()))
	f.eventually("the device Enrolled", f.enrolled(1))

	require.NoError(t, worker.EnsureSearchAttributes(t.Context(), c, "default"), "a second time does nothing")
	families, err := metrics.Gather()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, family := range families {
		names[family.GetName()] = true
	}
	for _, name := range []string{
		"muster_sdk_request_total", "muster_sdk_workflow_task_execution_latency_seconds", "muster_sdk_worker_task_slots_available",
	} {
		require.True(t, names[name], "%s among %v", name, names)
	}
}

func TestRetryReassignAndRelease(t *testing.T) {
	f := newFleet(t)
	c, namespace := dial(t)
	policy := workflows.DefaultPolicy()
	policy.RetryAfter = []time.Duration{100 * time.Millisecond, 100 * time.Millisecond}
	policy.ReleaseDelay = 100 * time.Millisecond
	f.refuse["mail"] = 2
	f.run(c, worker.Config{Namespace: namespace, Policy: &policy})
	f.assign(serial(0), "sales")
	f.activate(serial(0), true)
	f.eventually("Enrolled after two failures", f.enrolled(1))
	require.Equal(t, "3", f.text(`SELECT attempt::text FROM plan_items WHERE name = 'mail'`))

	f.assign(serial(0), "drivers")
	f.eventually("the app of the former group to be removed", func() bool {
		return f.text(`SELECT coalesce((SELECT state FROM plan_items WHERE name = 'mail'), 'removed')`) == "removed"
	})
	f.eventually("Enrolled with the new group", f.enrolled(1))

	f.record(serial(0), provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	require.NoError(t, c.GetWorkflow(t.Context(), signals.WorkflowID(serial(0)), "").Get(t.Context(), nil))
	require.Equal(t, "Released", f.text(`SELECT status FROM devices`))
	desc, err := c.DescribeWorkflow(t.Context(), signals.WorkflowID(serial(0)), "")
	require.NoError(t, err)
	status, _ := desc.TypedSearchAttributes.GetKeyword(signals.AttributeStatus)
	require.Equal(t, "Released", status)
}

func TestSearchAttributeOfAnotherTypeIsNamed(t *testing.T) {
	bin, err := devstack.FindTemporal(t.Context(), "../.bin", devstack.FindOptions{})
	require.NoError(t, err)
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalConfig{
		Bin: bin, ThrowAway: true, SearchAttributes: map[string]string{"MusterStatus": "Int"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	c, err := client.DialContext(t.Context(), client.Options{HostPort: server.HostPort(), Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.ErrorContains(t, worker.EnsureSearchAttributes(t.Context(), c, "default"), "MusterStatus")
}
