package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Renewer has a device get a new certificate, and reports whether it was sent what it takes.
type Renewer interface {
	Renew(ctx context.Context, serial string) (sent bool, err error)
}

// renewalBook says which devices are to renew.
type renewalBook interface {
	PlanRenewals(ctx context.Context) (int64, error)
	DueRenewals(ctx context.Context, limit int) (due []string, claimed int, err error)
}

const (
	// renewalsEvery is how often a worker looks for renewals; they are due for months.
	renewalsEvery = time.Minute
	// planEvery is how often the plan is made anew, for devices that were restored or enrolled under an older version.
	planEvery = 24 * time.Hour
	// renewalsAtOnce bounds the transactions, each of which signs a profile.
	renewalsAtOnce = 4
	// renewalsClaimed bounds what a worker takes in one go, and loses for an hour if it dies.
	renewalsClaimed = 64
)

// renewals has devices renew their certificates in time. Several workers share the work.
type renewals struct {
	book    renewalBook
	renewer Renewer
	every   time.Duration
	log     *slog.Logger
	meter   *prometheus.CounterVec
}

func newRenewals(book renewalBook, c Config) *renewals {
	every := c.LookForRenewals
	if every == 0 {
		every = renewalsEvery
	}
	return &renewals{
		book: book, renewer: c.Renewer, every: every, log: c.Log,
		meter: registered(c.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_identity_renewals_total", Help: "Renewals of devices' certificates that were begun, by how that went.",
		}, []string{"outcome"})),
	}
}

func (r *renewals) run(ctx context.Context) {
	if r.renewer == nil {
		return
	}
	planned := time.Time{}
	for ctx.Err() == nil {
		if time.Since(planned) >= planEvery && r.plan(ctx) {
			planned = time.Now()
		}
		for r.look(ctx) == renewalsClaimed && ctx.Err() == nil {
			continue // there may be more
		}
		sleep(ctx, r.every, nil)
	}
}

func (r *renewals) plan(ctx context.Context) bool {
	changed, err := r.book.PlanRenewals(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		r.log.WarnContext(ctx, "renewals not planned", "error", err)
	case changed > 0:
		r.log.InfoContext(ctx, "renewals planned", "devices", changed)
	}
	return err == nil
}

// look begins what is due and returns how many devices it claimed.
func (r *renewals) look(ctx context.Context) int {
	due, claimed, err := r.book.DueRenewals(ctx, renewalsClaimed)
	if err != nil {
		if ctx.Err() == nil {
			r.log.WarnContext(ctx, "renewals wait for the database", "error", err)
		}
		return 0
	}
	var together sync.WaitGroup
	hands := make(chan struct{}, renewalsAtOnce)
	for _, serial := range due {
		hands <- struct{}{}
		together.Go(func() {
			defer func() { <-hands }()
			r.renew(ctx, serial)
		})
	}
	together.Wait()
	return claimed
}

func (r *renewals) renew(ctx context.Context, serial string) {
	sent, err := r.renewer.Renew(ctx, serial)
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		r.meter.WithLabelValues("failed").Inc()
		r.log.WarnContext(ctx, "identity not renewed", "serial", serial, "error", err)
	case sent:
		r.meter.WithLabelValues("sent").Inc()
		r.log.InfoContext(ctx, "identity renewal sent", "serial", serial)
	default: // on hold, or asked before and silent since
		r.meter.WithLabelValues("waiting").Inc()
	}
}
