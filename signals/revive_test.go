package signals_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
)

// started is what the newest run of a device's workflow began with.
func started(t *testing.T, c client.Client, serial string) signals.Start {
	t.Helper()
	history := c.GetWorkflowHistory(context.Background(), signals.WorkflowID(serial), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	first, err := history.Next()
	require.NoError(t, err)
	var start signals.Start
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &start))
	return start
}

// delivered waits until the relay has nothing left to do.
func (o *outbox) delivered() {
	o.t.Helper()
	eventually(o.t, 10*time.Second, "all facts delivered", func() bool { return o.undelivered() == 0 })
}

// A workflow that an operator terminated, or that an emptied or older Temporal doesn't know, begins anew with the next
// fact of whatever kind, with what is stored and the policy of now.
func TestFactBeginsALostWorkflowAnew(t *testing.T) {
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	policy := provision.Policy{SetupHold: time.Hour, HoldPolicy: provision.HoldRelease}
	o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody", signals.WithPolicy(policy))})
	for i, f := range []provision.Fact{
		{Kind: provision.HoldRequest, Reason: "repair"},
		{Kind: provision.ReleaseRequest, Reason: "end_of_life"},
		{Kind: provision.Settled, Plan: 1, Verdict: &provision.Verdict{Total: 1, RequiredLeft: 1, Failed: []string{"app/maps"}}},
		{Kind: provision.RetryItem},
	} {
		o.record(serial(i), provision.Interactive, assigned("sales"))
		o.delivered()
		require.False(t, started(t, c, serial(i)).Resumed, "nothing was lost before")
		require.NoError(t, c.TerminateWorkflow(t.Context(), signals.WorkflowID(serial(i)), "", "by an operator"))
		id := o.record(serial(i), provision.Interactive, f)
		o.delivered()
		require.Equal(t, []int64{id}, signalled(t, c, serial(i)), "%s came to the new run", f.Kind)
		start := started(t, c, serial(i))
		require.True(t, start.Resumed)
		require.Equal(t, policy, start.Policy)
		require.Equal(t, []string{"sales"}, start.Device.Assignment.Groups)
	}
}

// A withdrawn serial number has no workflow, whatever of it is still on the way; assigned again it gets one, with nothing of before.
func TestWithdrawnDeviceGetsNoWorkflowBeforeItLivesAgain(t *testing.T) {
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	o.record(serial(0), provision.Interactive, assigned("sales"))
	o.record(serial(0), provision.Interactive, provision.Fact{Kind: provision.HoldRequest, Reason: "a case"})
	o.record(serial(0), provision.Interactive, provision.Fact{Kind: provision.Withdrawn})
	o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody")})
	o.delivered()
	_, err := c.DescribeWorkflow(t.Context(), signals.WorkflowID(serial(0)), "")
	var notFound *serviceerror.NotFound
	require.ErrorAs(t, err, &notFound)

	id := o.record(serial(0), provision.Interactive, assigned("drivers"))
	o.delivered()
	require.Equal(t, []int64{id}, signalled(t, c, serial(0)))
	start := started(t, c, serial(0))
	require.False(t, start.Resumed, "nothing was lost")
	require.False(t, start.Device.OnHold)
	require.Equal(t, []string{"drivers"}, start.Device.Assignment.Groups)
}

// Over is decisive whatever came before, and a device for which no workflow ever began gets none.
func TestFactWithNowhereToGoBeginsNothing(t *testing.T) {
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	o.record(serial(0), provision.Interactive, assigned("sales"))
	_, err := o.db.Update(t.Context(), serial(0), func(ctx context.Context, ch *store.Change) error {
		for _, f := range []provision.Fact{
			{Kind: provision.ReleaseRequest, Reason: "end_of_life"},
			{Kind: provision.Released, Reason: "end_of_life"},
			{Kind: provision.HoldRequest, Reason: "late"},
			{Kind: provision.CheckedOut, Epoch: 1},
		} {
			if _, err := ch.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	o.record(serial(1), provision.Interactive, provision.Fact{Kind: provision.Registered})
	o.record(serial(1), provision.Interactive, provision.Fact{Kind: provision.HoldRequest, Reason: "waits for a display"})
	o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody")})
	o.delivered()
	for i := range 2 {
		_, err := c.DescribeWorkflow(t.Context(), signals.WorkflowID(serial(i)), "")
		var notFound *serviceerror.NotFound
		require.ErrorAs(t, err, &notFound)
	}
}
