package signals

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/provision"
)

// Client delivers facts to devices' workflows and asks them. It is safe for concurrent use.
type Client struct {
	temporal  client.Client
	taskQueue string
	policy    provision.Policy
}

// Option changes how a [Client] works.
type Option func(*Client)

// WithPolicy sets the policy that workflows begun by this client live by. Without it they take their own default.
func WithPolicy(p provision.Policy) Option { return func(c *Client) { c.policy = p } }

// New returns a client. Workflows that it begins run on the task queue.
func New(c client.Client, taskQueue string, options ...Option) *Client {
	n := &Client{temporal: c, taskQueue: taskQueue}
	for _, o := range options {
		o(n)
	}
	return n
}

// Deliver gives a fact to its device's workflow, which it begins if a fact of this kind may. Where no workflow is there
// although one should be, because it was terminated or Temporal lost it, any fact begins it anew. Otherwise the device
// was released or never began: the fact has nowhere to go and counts as delivered.
func (c *Client) Deliver(ctx context.Context, d provision.Delivery) error {
	if d.Fact.Kind.Begins() && !d.Over {
		return c.begin(ctx, d, Start{Device: stored(d), Policy: c.policy})
	}
	err := c.temporal.SignalWorkflow(ctx, WorkflowID(d.Serial), "", string(d.Fact.Kind), d.Fact)
	switch {
	case err == nil:
		return nil
	case !isNotFound(err):
		return fmt.Errorf("signalling %s to device %s: %w", d.Fact.Kind, d.Serial, err)
	case d.Over || !d.Device.Began():
		return nil
	}
	return c.begin(ctx, d, Start{Device: stored(d), Policy: c.policy, Resumed: true})
}

func (c *Client) begin(ctx context.Context, d provision.Delivery, start Start) error {
	_, err := c.temporal.SignalWithStartWorkflow(ctx, WorkflowID(d.Serial), string(d.Fact.Kind), d.Fact,
		c.startOptions(d.Serial), WorkflowType, start)
	if err != nil {
		return fmt.Errorf("signalling %s to device %s: %w", d.Fact.Kind, d.Serial, err)
	}
	return nil
}

// Resume begins the workflow of a device anew by what is stored of it; one that runs is left alone.
func (c *Client) Resume(ctx context.Context, device provision.Device) error {
	_, err := c.temporal.ExecuteWorkflow(ctx, c.startOptions(device.Serial), WorkflowType,
		Start{Device: device, Policy: c.policy, Resumed: true})
	if err != nil {
		return fmt.Errorf("beginning the workflow of device %s anew: %w", device.Serial, err)
	}
	return nil
}

// Running returns which of the devices have a running workflow, as far as Temporal's search knows: it may be some seconds
// behind.
func (c *Client) Running(ctx context.Context, serials []string) (map[string]bool, error) {
	ids := make([]string, len(serials))
	for i, serial := range serials {
		ids[i] = "'" + WorkflowID(serial) + "'"
	}
	running := map[string]bool{}
	var page []byte
	for len(ids) > 0 {
		found, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query:         "ExecutionStatus = 'Running' AND WorkflowId IN (" + strings.Join(ids, ", ") + ")",
			NextPageToken: page,
		})
		if err != nil {
			return nil, fmt.Errorf("listing running workflows: %w", err)
		}
		for _, w := range found.GetExecutions() {
			running[SerialOf(w.GetExecution().GetWorkflowId())] = true
		}
		if page = found.GetNextPageToken(); len(page) == 0 {
			break
		}
	}
	return running, nil
}

func (c *Client) startOptions(serial string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:        WorkflowID(serial),
		TaskQueue: c.taskQueue,
		// A workflow that an operator cancelled or terminated must be able to begin again with the next such fact. That a
		// released device isn't revived is seen to by Over, which outlives Temporal's retention of closed workflows.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// There is one workflow per device: a running one gets the signal and is never replaced.
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "Device " + serial,
	}
}

// isNotFound tells a workflow that is not there, or ended, from a namespace that isn't.
func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}

// Status asks a device's workflow where the device stands. It fails with [provision.DeviceNotFound] when none is there
// and with [provision.WorkflowUnavailable] when it can't be asked.
func (c *Client) Status(ctx context.Context, serial string) (Status, error) {
	var s Status
	err := c.query(ctx, serial, QueryStatus, &s)
	return s, err
}

// Explain asks a device's workflow what the device waits for. It fails like [Client.Status].
func (c *Client) Explain(ctx context.Context, serial string) (Explanation, error) {
	var e Explanation
	err := c.query(ctx, serial, QueryExplain, &e)
	return e, err
}

func (c *Client) query(ctx context.Context, serial, name string, answer any) error {
	value, err := c.temporal.QueryWorkflow(ctx, WorkflowID(serial), "", name)
	if isNotFound(err) {
		return provision.Errorf(provision.DeviceNotFound, "No workflow is there for device %s.", serial)
	}
	if err != nil {
		return fmt.Errorf("asking device %s for its %s: %w", serial, name,
			errors.Join(provision.Errorf(provision.WorkflowUnavailable, "The device's workflow can't be asked now; try again shortly."), err))
	}
	if err := value.Get(answer); err != nil {
		return fmt.Errorf("reading the %s of device %s: %w", name, serial, err)
	}
	return nil
}

// stored is what a workflow begins with: the device as stored, or the bare serial number.
func stored(d provision.Delivery) provision.Device {
	if d.Device.Serial == "" {
		return provision.Device{Serial: d.Serial}
	}
	return d.Device
}
