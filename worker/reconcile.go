package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const (
	// reconcileEvery is how often workers look for devices whose workflow was lost. Their next fact begins it anyway; this
	// is for those to which nothing happens, so it may be slow and must be cheap: a list here and a search there for every
	// two hundred devices.
	reconcileEvery = 10 * time.Minute
	// reconcileBatch is how many devices are compared at a time: the serial numbers stand in the text of a search.
	reconcileBatch = 200
	// reconcileLimit bounds a batch. Beginning a workflow takes some ten milliseconds.
	reconcileLimit = time.Minute
)

// register lists devices by serial number: the store.
type register interface {
	Devices(ctx context.Context, f store.DeviceFilter) ([]store.DeviceRow, error)
}

// resumer knows which workflows run, and begins lost ones anew: signals.Client.
type resumer interface {
	Running(ctx context.Context, serials []string) (map[string]bool, error)
	Resume(ctx context.Context, device provision.Device) error
}

// reconciler begins the workflows anew that should run and don't: they were terminated, or Temporal lost them. Several
// workers may do so at once, because a workflow that runs already is left alone.
type reconciler struct {
	register register
	resumer  resumer
	every    time.Duration
	log      *slog.Logger
	resumed  prometheus.Counter
}

func newReconciler(r register, s resumer, c Config) *reconciler {
	return &reconciler{
		register: r, resumer: s, every: c.Reconcile, log: c.Log,
		resumed: registered(c.Metrics, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_workflows_resumed_total", Help: "Workflows of devices that were missing and begun anew.",
		})),
	}
}

func (r *reconciler) run(ctx context.Context) {
	for {
		// Jitter over the upper half, so that workers started together take turns.
		sleep(ctx, r.every/2+rand.N(r.every/2+1), nil)
		if ctx.Err() != nil {
			return
		}
		if err := r.round(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "lost workflows not looked for", "error", err)
		}
	}
}

// round looks at every device once.
func (r *reconciler) round(ctx context.Context) error {
	for after := ""; ; {
		last, err := r.batch(ctx, after)
		if err != nil || last == "" {
			return err
		}
		after = last
	}
}

// alive are the statuses of devices whose workflow should run, if it ever began.
func alive() []string {
	return []string{
		string(provision.StatusAwaiting), string(provision.StatusProvisioning), string(provision.StatusEnrolled),
		string(provision.StatusUnassignPending), string(provision.StatusUnassigned), string(provision.StatusUnmanaged),
		string(provision.StatusDeprovisioned),
	}
}

// batch looks at the devices that follow and returns the last of them; "" when there are no more.
func (r *reconciler) batch(ctx context.Context, after string) (last string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reconcileLimit)
	defer cancel()
	rows, err := r.register.Devices(ctx, store.DeviceFilter{Statuses: alive(), After: after, Limit: reconcileBatch})
	if err != nil || len(rows) == 0 {
		return "", err
	}
	var expected []provision.Device
	var serials []string
	for _, row := range rows {
		// What changed lately has facts on their way, and Temporal's search is some seconds behind.
		if row.Began() && time.Since(row.UpdatedAt) > r.every/2 {
			expected, serials = append(expected, row.Device), append(serials, row.Serial)
		}
	}
	running, err := r.resumer.Running(ctx, serials)
	if err != nil {
		return "", err
	}
	for _, d := range expected {
		if running[d.Serial] {
			continue
		}
		if err := r.resumer.Resume(ctx, d); err != nil {
			return "", err
		}
		r.resumed.Inc()
		r.log.InfoContext(ctx, "lost workflow begun anew", "serial", d.Serial)
	}
	return rows[len(rows)-1].Serial, nil
}
