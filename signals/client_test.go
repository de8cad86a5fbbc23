package signals_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
)

func TestWorkflowIDs(t *testing.T) {
	require.Equal(t, "device/C07Q853LG9RM", signals.WorkflowID("c07q853lg9rm"))
	require.Equal(t, "C07Q853LG9RM", signals.SerialOf(signals.WorkflowID("C07Q853LG9RM")))
	require.Empty(t, signals.SerialOf("abmsync/1"))
}

func TestSearchAttributesAreThoseOfTestNamespaces(t *testing.T) {
	types := map[string]string{}
	for name, kind := range signals.SearchAttributes() {
		types[name] = kind.String()
	}
	require.Equal(t, stacktest.SearchAttributes, types)
}

func TestOnlyABeginningBegins(t *testing.T) {
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	s := signals.New(c, "nobody")
	for i, kind := range provision.Signals() {
		d := provision.Delivery{Serial: serial(i), Fact: provision.Fact{ID: 1, Kind: kind}}
		require.NoError(t, s.Deliver(t.Context(), d), "a fact that has nowhere to go counts as delivered")
		_, err := c.DescribeWorkflow(t.Context(), signals.WorkflowID(d.Serial), "")
		if kind.Begins() {
			require.NoError(t, err, kind)
			continue
		}
		var notFound *serviceerror.NotFound
		require.ErrorAs(t, err, &notFound, kind)
	}
}

// Nothing that was recorded before its release, and is delivered late, begins a device's life anew.
func TestLateFactDoesNotReviveAReleasedDevice(t *testing.T) {
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	o.record(serial(0), provision.Interactive, assigned("late"))
	_, err := o.db.Update(t.Context(), serial(0), func(ctx context.Context, ch *store.Change) error {
		if _, err := ch.Record(ctx, provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}); err != nil {
			return err
		}
		_, err := ch.Record(ctx, provision.Fact{Kind: provision.Released, Reason: "end_of_life"})
		return err
	})
	require.NoError(t, err)
	o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody")})
	eventually(t, 10*time.Second, "both facts delivered", func() bool { return o.undelivered() == 0 })
	_, err = c.DescribeWorkflow(t.Context(), signals.WorkflowID(serial(0)), "")
	var notFound *serviceerror.NotFound
	require.ErrorAs(t, err, &notFound)
}

func TestQuestionsToNobody(t *testing.T) {
	hostPort, namespace := stacktest.Temporal(t)
	s := signals.New(dial(t, hostPort, namespace), "nobody")
	_, err := s.Status(t.Context(), serial(1))
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))

	gone := signals.New(dial(t, "127.0.0.1:1", namespace), "nobody")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = gone.Explain(ctx, serial(1))
	require.Equal(t, provision.WorkflowUnavailable, provision.CodeOf(err))
}

// A hold that came while a device was only registered found no workflow; the one that begins later must know of it.
func TestWorkflowBeginsWithWhatCameBefore(t *testing.T) {
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody")})
	o.record(serial(0), provision.Interactive, provision.Fact{Kind: provision.Registered})
	o.record(serial(0), provision.Interactive, provision.Fact{Kind: provision.HoldRequest, Reason: "waits for a display"})
	eventually(t, 10*time.Second, "the hold counts as delivered", func() bool { return o.undelivered() == 0 })
	o.record(serial(0), provision.Interactive, assigned("x"))
	eventually(t, 10*time.Second, "the assignment is delivered", func() bool { return o.undelivered() == 0 })

	history := c.GetWorkflowHistory(t.Context(), signals.WorkflowID(serial(0)), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	first, err := history.Next()
	require.NoError(t, err)
	var start signals.Start
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &start))
	require.True(t, start.Device.OnHold)
	require.Equal(t, "waits for a display", start.Device.HoldReason)
}
