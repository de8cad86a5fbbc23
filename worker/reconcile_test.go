package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/worker"
)

func runOf(t *testing.T, c client.Client, serial string) (run string, status enums.WorkflowExecutionStatus) {
	t.Helper()
	desc, err := c.DescribeWorkflow(context.Background(), signals.WorkflowID(serial), "")
	require.NoError(t, err)
	return desc.WorkflowExecution.RunID, desc.Status
}

func terminate(t *testing.T, c client.Client, serial string) {
	t.Helper()
	require.NoError(t, c.TerminateWorkflow(t.Context(), signals.WorkflowID(serial), "", "by an operator"))
}

// A release is carried out although the workflow was terminated before or after it was asked for.
func TestReleaseOfADeviceWhoseWorkflowWasTerminated(t *testing.T) {
	f := newFleet(t)
	c, namespace := dial(t)
	f.run(c, worker.Config{Namespace: namespace})
	f.assign(serial(0), "sales")
	f.activate(serial(0), false)
	f.eventually("Enrolled", f.enrolled(1))
	terminate(t, c, serial(0))
	f.record(serial(0), provision.Fact{Kind: provision.HoldRequest, Reason: "leaves the house"})
	f.eventually("the hold to be known", func() bool {
		s, err := signals.New(c, "").Status(t.Context(), serial(0))
		return err == nil && s.BlockedBy == "on_hold" && s.Plan != 0
	})
	terminate(t, c, serial(0))
	f.record(serial(0), provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	f.eventually("Released", func() bool { return f.text(`SELECT status FROM devices`) == "Released" })
	require.NoError(t, c.GetWorkflow(t.Context(), signals.WorkflowID(serial(0)), "").Get(t.Context(), nil))
	require.Equal(t, "1", f.text(`SELECT count(*)::text FROM device_events WHERE kind = 'released'`))
}

// Devices to which nothing happens get their lost workflow back, too; those that have one, had none, or are released or withdrawn
// are left alone.
func TestLostWorkflowsAreBegunAnew(t *testing.T) {
	f := newFleet(t)
	c, namespace := dial(t)
	stop := f.run(c, worker.Config{Namespace: namespace})
	for i := range 3 {
		f.assign(serial(i), "sales")
		f.activate(serial(i), false)
	}
	f.eventually("Enrolled", f.enrolled(3))
	f.record(serial(2), provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	require.NoError(t, c.GetWorkflow(t.Context(), signals.WorkflowID(serial(2)), "").Get(t.Context(), nil))
	f.record(serial(3), provision.Fact{Kind: provision.Registered})
	f.record(serial(3), provision.Fact{Kind: provision.HoldRequest, Reason: "waits for a display"})
	f.assign(serial(4), "sales")
	f.eventually("a workflow that may end", func() bool {
		_, err := signals.New(c, "").Status(t.Context(), serial(4))
		return err == nil
	})
	f.record(serial(4), provision.Fact{Kind: provision.Withdrawn})
	require.NoError(t, c.GetWorkflow(t.Context(), signals.WorkflowID(serial(4)), "").Get(t.Context(), nil))
	stop()
	lost, _ := runOf(t, c, serial(0))
	kept, _ := runOf(t, c, serial(1))
	released, _ := runOf(t, c, serial(2))
	withdrawn, _ := runOf(t, c, serial(4))
	terminate(t, c, serial(0))

	f.run(c, worker.Config{Namespace: namespace, Reconcile: 300 * time.Millisecond})
	f.eventually("the lost workflow to run and to know the device", func() bool {
		s, err := signals.New(c, "").Status(t.Context(), serial(0))
		run, status := runOf(t, c, serial(0))
		return err == nil && s.Status == provision.StatusEnrolled && run != lost && status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	})
	run, _ := runOf(t, c, serial(1))
	require.Equal(t, kept, run)
	run, _ = runOf(t, c, serial(2))
	require.Equal(t, released, run)
	run, _ = runOf(t, c, serial(4))
	require.Equal(t, withdrawn, run)
	_, err := c.DescribeWorkflow(t.Context(), signals.WorkflowID(serial(3)), "")
	var notFound *serviceerror.NotFound
	require.ErrorAs(t, err, &notFound)
	require.Equal(t, "3", f.text(`SELECT count(*)::text FROM device_events WHERE kind = 'provisioning'`), "nothing was planned anew")
}
