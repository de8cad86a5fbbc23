package devstack

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// call is something that Muster or its worker asks of a server.
type call struct {
	name string
	do   func(context.Context) error
}

// describeNamespace spends nearly all its time in a query, so it is the one that a cancellation hits most surely.
func describeNamespace(c client.Client, namespace string) call {
	return call{"describing the namespace", func(ctx context.Context) error {
		_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		return err
	}}
}

func pollForActivity(c client.Client, namespace string) call {
	return call{"polling", func(ctx context.Context) error {
		_, err := c.WorkflowService().PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{
			Namespace: namespace, TaskQueue: &taskqueue.TaskQueue{Name: "nobody"}, Identity: "test",
		})
		return err
	}}
}

// ordinaryCalls are answered at once by a server that is well.
func ordinaryCalls(c client.Client, namespace string) []call {
	options := client.StartWorkflowOptions{ID: "device/A", TaskQueue: "nobody"}
	return []call{
		describeNamespace(c, namespace),
		{"starting a workflow", func(ctx context.Context) error {
			_, err := c.ExecuteWorkflow(ctx, options, "Device")
			return err
		}},
		{"signalling", func(ctx context.Context) error {
			_, err := c.SignalWithStartWorkflow(ctx, options.ID, "assigned", nil, options, "Device")
			return err
		}},
		{"describing a workflow", func(ctx context.Context) error {
			_, err := c.DescribeWorkflowExecution(ctx, options.ID, "")
			return err
		}},
		{"listing workflows", func(ctx context.Context) error {
			_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = 'Device'"})
			return err
		}},
	}
}

// cancelMidway makes about a thousand calls, eight at a time, and gives each of them up after at most some milliseconds, which is when
// most of them are being worked on. Most callers keep to one call. A slow machine makes fewer calls instead of taking longer.
func cancelMidway(ctx context.Context, favourite call, others []call, seed uint64) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var group sync.WaitGroup
	for caller := range uint64(8) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, caller))
			for made := 0; made < 150 && ctx.Err() == nil; made++ {
				chosen := favourite
				if caller%4 == 0 {
					chosen = others[random.IntN(len(others))]
				}
				ctx, cancel := context.WithTimeout(ctx, time.Duration(random.Int64N(int64(3*time.Millisecond))))
				_ = chosen.do(ctx) // nearly all end by their deadlines, as they should
				cancel()
			}
		})
	}
	group.Wait()
}

// A worker that stops gives up dozens of calls, and so does every test that ends. The SQLite that Temporal's CLI asks for itself
// answers "interrupted" for ever once that happens in the middle of a query.
func TestTemporalStaysWellWhenCallsAreCancelledMidway(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	s := startTemporal(t, TemporalConfig{ThrowAway: true})
	c := dial(t, s)
	favourite, answered := describeNamespace(c, s.Namespace()), ordinaryCalls(c, s.Namespace())
	for round := range uint64(10) {
		cancelMidway(t.Context(), favourite, append(answered, pollForActivity(c, s.Namespace())), seed+round)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		for _, call := range answered {
			require.NoError(t, poll(ctx, s.latest(), call.do), "%s after round %d of seed %d", call.name, round, seed)
		}
		cancel()
	}
}
