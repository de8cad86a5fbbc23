package signals

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/provision"
)

// Outbox is where recorded facts wait for the relay.
type Outbox interface {
	// ClaimFacts takes the devices with the most urgent facts for nobody else to take, calls deliver with each one's facts
	// in their order, and marks what it reports. It returns how many facts it took.
	ClaimFacts(ctx context.Context, limit int, deliver func(context.Context, [][]provision.Delivery) provision.Receipt) (int, error)
	// ListenFacts calls wake when it begins to listen and whenever facts may have come, until ctx ends or it breaks.
	ListenFacts(ctx context.Context, wake func()) error
	// Undelivered counts the facts that wait, and says when the oldest was recorded.
	Undelivered(ctx context.Context) (count int64, oldest time.Time, err error)
}

// Door is where the facts go: [Client].
type Door interface {
	Deliver(ctx context.Context, d provision.Delivery) error
}

const (
	// callers is the most signals under way: with more, Temporal's SignalWithStart gets slower, not faster.
	callers = 8
	// claims is how many batches may be open: the next one is read while the former is delivered and a third is marked.
	// Each holds a database connection.
	claims = 3
	// claimSize keeps every caller busy for a few rounds, and is small enough for an urgent fact to come to its turn soon.
	claimSize = 32
	// bulkSize is that of a claim after one that held facts of a bulk change. There may be a hundred thousand more, each of
	// which begins a workflow; a person's fact waits for all that are claimed already, and shall be there within a second.
	bulkSize = 4
	// callLimit bounds one signal. Temporal answers in milliseconds; what takes this long is down.
	callLimit = 5 * time.Second
	// claimLimit is when a claim with much to deliver is given back, so that no transaction stays open for long.
	claimLimit = 10 * time.Second
	// pollEvery finds facts whose notification was lost, and postponed ones.
	pollEvery = time.Second
	// gaugeEvery is how often the backlog is counted.
	gaugeEvery = 10 * time.Second
)

// Relay delivers recorded facts to devices' workflows: at least once, each device's in their order, among devices the
// urgent ones first. Any number of relays may run; one may die at any point.
type Relay struct {
	Outbox Outbox
	Door   Door
	// Log and Metrics may be nil.
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Poll replaces the default of one second.
	Poll time.Duration
}

// Run delivers until ctx ends; calls under way are finished and marked. Failures of Temporal or PostgreSQL are waited out.
func (r Relay) Run(ctx context.Context) {
	run := newRun(r)
	var callersDone, claimersDone sync.WaitGroup
	for range callers {
		callersDone.Go(run.call)
	}
	for range claims {
		claimersDone.Go(func() { run.claim(ctx) })
	}
	claimersDone.Go(func() { run.listen(ctx) })
	claimersDone.Go(func() { run.gauge(ctx) })
	claimersDone.Wait()
	close(run.jobs)
	callersDone.Wait()
}

func newRun(r Relay) *run {
	n := &run{
		Relay: r, meters: newMeters(r.Metrics), jobs: make(chan job), turn: make(chan struct{}, 1), news: make(chan struct{}, 1),
	}
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	if n.Poll == 0 {
		n.Poll = pollEvery
	}
	n.temporal, n.database = newHealth(n.Log, "temporal"), newHealth(n.Log, "database")
	n.turn <- struct{}{}
	return n
}

// run is a Relay while it runs.
type run struct {
	Relay
	meters *meters
	jobs   chan job
	// turn is held by the one claimer that waits for facts or claims them.
	turn chan struct{}
	// news is filled when there may be facts to claim.
	news               chan struct{}
	temporal, database *health
	// bulk: the last claim held facts of a bulk change.
	bulk atomic.Bool
}

func (r *run) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// claim takes turns with the other claimers: the turn is passed on as soon as the claim is made, so that the next batch
// is read while this one is delivered. While Temporal is down it is kept until the end: one probe at a time.
func (r *run) claim(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.turn:
		}
		pass := sync.OnceFunc(func() { r.turn <- struct{}{} })
		if r.await(ctx) {
			r.claimOnce(ctx, pass)
		}
		pass()
	}
}

// await waits for facts, and for the end of a back-off; it reports whether to go on.
func (r *run) await(ctx context.Context) bool {
	if !r.temporal.wait(ctx) || !r.database.wait(ctx) {
		return false
	}
	poll := time.NewTimer(r.Poll)
	defer poll.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.news:
	case <-poll.C:
	}
	return true
}

func (r *run) claimOnce(ctx context.Context, pass func()) {
	limit := claimSize
	if r.bulk.Load() {
		limit = bulkSize
	}
	if r.temporal.down() {
		limit, pass = callers, func() {}
	}
	claimed, err := r.Outbox.ClaimFacts(ctx, limit, func(ctx context.Context, devices [][]provision.Delivery) provision.Receipt {
		if count(devices) >= limit {
			r.wake() // there may be more
		}
		r.bulk.Store(holdsBulk(devices))
		pass()
		return r.deliver(ctx, devices)
	})
	switch {
	case err == nil:
		r.database.good(ctx)
	case ctx.Err() == nil:
		r.database.bad(ctx, err)
		r.wake()
	}
	if err != nil && claimed > 0 {
		r.meters.unmarked.Add(float64(claimed))
	}
}

func holdsBulk(devices [][]provision.Delivery) bool {
	for _, facts := range devices {
		for _, d := range facts {
			if d.Priority == provision.Bulk {
				return true
			}
		}
	}
	return false
}

func count(devices [][]provision.Delivery) int {
	n := 0
	for _, facts := range devices {
		n += len(facts)
	}
	return n
}

// listen keeps listening for news; the poll covers the gaps.
func (r *run) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.Outbox.ListenFacts(ctx, r.wake)
		if ctx.Err() != nil {
			return
		}
		r.Log.DebugContext(ctx, "listening for facts broke off", "error", err)
		pause(ctx, r.Poll)
	}
}

func (r *run) gauge(ctx context.Context) {
	for {
		count, oldest, err := r.Outbox.Undelivered(ctx)
		if err == nil {
			r.meters.backlog(count, oldest)
		}
		if !pause(ctx, gaugeEvery) {
			return
		}
	}
}

// pause reports whether ctx still lives after it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
