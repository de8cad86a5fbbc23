// Package worker is the role that moves things: it runs the workflows and activities, relays facts, pushes devices and
// asks again after what is still installing.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/workflows"
)

// Pusher wakes a device by APNs. Its errors are shown to people on the device's page.
type Pusher interface {
	Push(ctx context.Context, udid string) error
}

// Config is what a worker needs to know beside its connections.
type Config struct {
	// Namespace is Temporal's, "default" when empty; TaskQueue is [signals.TaskQueue] when empty.
	Namespace string
	TaskQueue string
	// Identity names this process in Temporal's histories; the SDK's choice when empty.
	Identity string
	// Policy is given to workflows begun by this worker's relay; [workflows.DefaultPolicy] when nil. Workflows that run
	// already keep theirs.
	Policy *provision.Policy
	// Reconcile replaces the pause of ten minutes between two looks for devices whose workflow was lost.
	Reconcile time.Duration
	// Renewer has devices renew their certificates; nil = they don't.
	Renewer Renewer
	// LookForRenewals replaces the pause of a minute between two looks for devices that are to renew.
	LookForRenewals time.Duration
	// ManagementIdentifier is the payload identifier of the enrollment profile.
	ManagementIdentifier string
	// Log and Metrics may be nil.
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

const (
	// stickyCache is how many workflows stay in memory between their tasks: 21 KB each, and the SDK's default of 10,000
	// gains nothing for workflows that sleep most of their lives.
	stickyCache = 500
	// workflowPollers fetch workflow tasks. They scale by themselves because pollers of a fixed number choose between the
	// common and the sticky queue by the last backlog they saw: after a burst all may sit in a long poll of the sticky queue,
	// and tasks of the common one wait for the minute that it lasts. Scaling ones serve each queue apart.
	workflowPollers, fewestPollers, firstPollers = 8, 2, 4
	// activityPollers fetch regular activities, one per device and plan.
	activityPollers = 4
	// activitiesAtOnce bounds the transactions under way, well below the connection pool.
	activitiesAtOnce = 12
	// stopLimit is how long activities may finish when the worker stops.
	stopLimit = 10 * time.Second
	// startPause and startMost pace the attempts to start while Temporal is down.
	startPause = 500 * time.Millisecond
	startMost  = 10 * time.Second
)

// Worker is made by [New].
type Worker struct {
	temporal client.Client
	store    *store.DB
	pusher   Pusher
	config   Config
}

// New returns a worker. The client may be a lazy one: Temporal needn't be there yet.
func New(c client.Client, db *store.DB, pusher Pusher, config Config) *Worker {
	if config.Namespace == "" {
		config.Namespace = client.DefaultNamespace
	}
	if config.TaskQueue == "" {
		config.TaskQueue = signals.TaskQueue
	}
	if config.Policy == nil {
		policy := workflows.DefaultPolicy()
		config.Policy = &policy
	}
	if config.Reconcile == 0 {
		config.Reconcile = reconcileEvery
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{temporal: c, store: db, pusher: pusher, config: config}
}

// Run works until ctx ends, then finishes what is under way. While Temporal is down the rest goes on. It returns an error
// only if Temporal turns the worker away for good.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	door := signals.New(w.temporal, w.config.TaskQueue, signals.WithPolicy(*w.config.Policy))
	relay := signals.Relay{Outbox: w.store, Door: door, Log: w.config.Log, Metrics: w.config.Metrics}
	running.Go(func() { relay.Run(ctx) })
	running.Go(func() { newReconciler(w.store, door, w.config).run(ctx) })
	running.Go(func() { newDuties(w.store, w.pusher, w.config).run(ctx) })
	running.Go(func() { newRenewals(w.store, w.config).run(ctx) })
	running.Go(func() { keepPurging(ctx, w.store, w.config.Log) })
	fatal := w.runTemporal(ctx, cancel)
	cancel(fatal)
	running.Wait()
	return fatal
}

// runTemporal returns nil when ctx ends and the error that made the SDK give up otherwise.
func (w *Worker) runTemporal(ctx context.Context, cancel context.CancelCauseFunc) error {
	var mu sync.Mutex
	var fatal error
	onFatal := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fatal = fmt.Errorf("working for Temporal: %w", err)
		cancel(fatal)
	}
	running := w.start(ctx, onFatal)
	if running == nil {
		return nil
	}
	<-ctx.Done()
	running.Stop()
	mu.Lock()
	defer mu.Unlock()
	return fatal
}

// start tries until the worker runs; nil when ctx ends before. A worker that didn't start can't be started again.
func (w *Worker) start(ctx context.Context, onFatal func(error)) worker.Worker {
	wait := startPause
	for logged := false; ; logged = true {
		err := EnsureSearchAttributes(ctx, w.temporal, w.config.Namespace)
		if err == nil {
			running := w.assemble(onFatal)
			if err = running.Start(); err == nil {
				w.config.Log.InfoContext(ctx, "worker started", "task_queue", w.config.TaskQueue, "namespace", w.config.Namespace)
				return running
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if !logged {
			w.config.Log.WarnContext(ctx, "worker waits for temporal", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, startMost)
	}
}

// setCache is called once: the sticky cache belongs to the process.
var setCache = sync.OnceFunc(func() { worker.SetStickyWorkflowCacheSize(stickyCache) })

func (w *Worker) assemble(onFatal func(error)) worker.Worker {
	setCache()
	t := worker.New(w.temporal, w.config.TaskQueue, worker.Options{
		Identity: w.config.Identity,
		WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
			InitialNumberOfPollers: firstPollers, MinimumNumberOfPollers: fewestPollers, MaximumNumberOfPollers: workflowPollers,
		}),
		MaxConcurrentActivityTaskPollers:   activityPollers,
		MaxConcurrentActivityExecutionSize: activitiesAtOnce,
		// Local activities are single transactions, too; the pool bounds them together with everything else.
		MaxConcurrentLocalActivityExecutionSize: activitiesAtOnce,
		WorkerStopTimeout:                       stopLimit,
		OnFatalError:                            onFatal,
		// No session, no Nexus, and pages are short: nothing else polls.
		DisableRegistrationAliasing: true,
	})
	Register(t, w.store, w.config.ManagementIdentifier)
	return t
}

// Registry is what workflows and activities are registered with: a worker, or a test's environment.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Keeper is the part of the store that activities work on.
type Keeper interface {
	activities.Planner
	activities.Keeper
}

// Register registers every workflow and activity.
func Register(r Registry, keeper Keeper, managementIdentifier string) {
	r.RegisterWorkflowWithOptions(workflows.Device, workflow.RegisterOptions{Name: signals.WorkflowType})
	r.RegisterActivityWithOptions(&activities.MDM{Planner: keeper, ManagementIdentifier: managementIdentifier}, activity.RegisterOptions{})
	r.RegisterActivityWithOptions(&activities.Records{Keeper: keeper}, activity.RegisterOptions{})
}
