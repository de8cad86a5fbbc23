package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// The bare workflow is what Temporal itself costs for a device: two signals and one regular activity.
const (
	bareType     = "BareDevice"
	bareActivity = "BareApply"
	bareQueue    = "bench-bare"
	bareSignal   = "fact"
)

// bareFact is as large as a device's fact.
type bareFact struct {
	ID     int64     `json:"id"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Groups []string  `json:"groups"`
}

// bareDevice awaits two facts, has one thing done and ends.
func bareDevice(ctx workflow.Context, serial string) error {
	facts := workflow.GetSignalChannel(ctx, bareSignal)
	for range 2 {
		var f bareFact
		facts.Receive(ctx, &f)
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
	return workflow.ExecuteActivity(ctx, bareActivity, serial).Get(ctx, nil)
}

func bareApply(_ context.Context, serial string) (string, error) { return serial, nil }

// bareWorkerCommand is the bare workflow's worker, in a process of its own.
func bareWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bare-worker", Hidden: true, Args: cobra.NoArgs, Short: "Works on the bare workflow.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return workOn(cmd.Context(), bareQueue, func(w worker.Worker) {
				w.RegisterWorkflowWithOptions(bareDevice, workflow.RegisterOptions{Name: bareType})
				w.RegisterActivityWithOptions(bareApply, activity.RegisterOptions{Name: bareActivity})
			})
		},
	}
}

// workOn works for a task queue until ctx ends, tuned as muster's worker.
func workOn(ctx context.Context, queue string, register func(worker.Worker)) error {
	c, err := client.DialContext(ctx, client.Options{
		HostPort: os.Getenv("MUSTER_TEMPORAL_ADDRESS"), Namespace: os.Getenv("MUSTER_TEMPORAL_NAMESPACE"),
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return fmt.Errorf("connecting to Temporal: %w", err)
	}
	defer c.Close()
	worker.SetStickyWorkflowCacheSize(500)
	w := worker.New(c, queue, worker.Options{
		WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
			InitialNumberOfPollers: 4, MinimumNumberOfPollers: 2, MaximumNumberOfPollers: 8,
		}),
		MaxConcurrentActivityTaskPollers: 4, MaxConcurrentActivityExecutionSize: 12,
		DisableRegistrationAliasing: true,
	})
	register(w)
	stop := make(chan any)
	context.AfterFunc(ctx, func() { close(stop) })
	return w.Run(stop)
}

// bareWorker is that process, and what it has done.
type bareWorker struct {
	stage *stage
	begun int
}

func (s *stage) startBareWorker() (*bareWorker, error) {
	p, err := s.env.Start("bare worker", nil, "bench", "bare-worker")
	if err != nil {
		return nil, err
	}
	s.bare = p
	return &bareWorker{stage: s}, nil
}

func (b *bareWorker) stop() {
	_ = b.stage.bare.Stop() // what it worked on is over
	b.stage.bare = nil
}

// work takes n devices' workflows from their first signal to their end.
func (b *bareWorker) work(ctx context.Context, n int) (run, error) {
	first := b.begun
	b.begun += n
	begun := time.Now()
	clock, err := b.stage.startClock()
	if err != nil {
		return run{}, err
	}
	err = forEach(ctx, n, callers, func(ctx context.Context, i int) error { return b.signalTwice(ctx, fmt.Sprintf("BARE%07d", first+i)) })
	if err != nil {
		return run{}, err
	}
	last, err := b.awaitEnd(ctx, n, begun)
	if err != nil {
		return run{}, err
	}
	return clock.stop(n, last)
}

func (b *bareWorker) signalTwice(ctx context.Context, serial string) error {
	options := client.StartWorkflowOptions{ID: "bare/" + serial, TaskQueue: bareQueue}
	for i, kind := range []string{"assigned", "activated"} {
		fact := bareFact{ID: int64(i + 1), Kind: kind, At: time.Now(), Actor: "token:bench", Groups: []string{smallGroup}}
		if _, err := b.stage.temporal.SignalWithStartWorkflow(ctx, options.ID, bareSignal, fact, options, bareType, serial); err != nil {
			return fmt.Errorf("signalling the bare workflow: %w", err)
		}
	}
	return nil
}

// awaitEnd returns when the last of the workflows that began since then ended.
func (b *bareWorker) awaitEnd(ctx context.Context, n int, since time.Time) (last time.Time, err error) {
	query := fmt.Sprintf("WorkflowType = %q AND ExecutionStatus = 'Completed' AND StartTime >= %q", bareType, since.Format(time.RFC3339Nano))
	err = await(ctx, "bare workflows have ended", n, func(ctx context.Context) (int, error) {
		r, err := b.stage.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		return int(r.GetCount()), err
	})
	var page []byte
	for err == nil {
		var r *workflowservice.ListWorkflowExecutionsResponse
		r, err = b.stage.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, NextPageToken: page})
		for _, e := range r.GetExecutions() {
			if end := e.GetCloseTime().AsTime(); end.After(last) {
				last = end
			}
		}
		if page = r.GetNextPageToken(); len(page) == 0 {
			break
		}
	}
	if err != nil {
		return last, fmt.Errorf("waiting for bare workflows: %w", err)
	}
	return last, nil
}
