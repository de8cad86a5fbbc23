package signals

import (
	"context"
	"sync"
	"time"

	"github.com/muster-mdm/muster/provision"
)

// deliver hands a claim's devices to the callers and waits for them.
func (r *run) deliver(ctx context.Context, devices [][]provision.Delivery) provision.Receipt {
	ctx, cancel := context.WithTimeout(ctx, claimLimit)
	defer cancel()
	b := &batch{refused: map[int64]string{}, stop: make(chan struct{})}
	var done sync.WaitGroup
hand:
	for _, facts := range devices {
		done.Add(1)
		select {
		case r.jobs <- job{ctx: ctx, facts: facts, batch: b, done: &done}:
		case <-b.stop:
			done.Done()
			break hand
		case <-ctx.Done():
			done.Done()
			break hand
		}
	}
	done.Wait()
	return r.conclude(ctx, b)
}

// conclude tells an outage, when nothing gets through, from a fact that alone doesn't.
func (r *run) conclude(ctx context.Context, b *batch) provision.Receipt {
	r.meters.refused.Add(float64(len(b.refused)))
	switch {
	case len(b.delivered)+len(b.refused) > 0:
		r.temporal.good(ctx)
	case len(b.broken) > 0:
		r.temporal.bad(ctx, b.failure)
	}
	if b.stopped {
		r.wake() // not all was tried
	}
	// Also in an outage: the next probe shall try other facts, lest one that never gets through looks like an outage.
	return provision.Receipt{Delivered: b.delivered, Later: b.broken, Refused: b.refused}
}

// job is one device's facts.
type job struct {
	ctx   context.Context
	facts []provision.Delivery
	batch *batch
	done  *sync.WaitGroup
}

// batch gathers what became of a claim.
type batch struct {
	mu        sync.Mutex
	delivered []int64
	broken    []int64
	refused   map[int64]string
	failure   error
	// stop is closed at the first failure that may be an outage: nothing more is begun.
	stop    chan struct{}
	stopped bool
}

func (b *batch) note(id int64, err error) (goOn bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.delivered = append(b.delivered, id)
		return true
	case isRefusal(err):
		b.refused[id] = err.Error()
		return true
	}
	b.broken, b.failure = append(b.broken, id), err
	if !b.stopped {
		b.stopped = true
		close(b.stop)
	}
	return false
}

func (r *run) call() {
	for j := range r.jobs {
		r.sequence(j)
		j.done.Done()
	}
}

// sequence delivers one device's facts one after the other. A call under way is finished although ctx ends: what reached
// the workflow should be marked.
func (r *run) sequence(j job) {
	for _, d := range j.facts {
		select {
		case <-j.batch.stop:
			return
		case <-j.ctx.Done():
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), callLimit)
		err := r.Door.Deliver(ctx, d)
		cancel()
		if err == nil {
			r.meters.delivered.Inc()
			r.meters.lag.Observe(time.Since(d.Fact.At).Seconds())
		} else if isRefusal(err) {
			r.Log.ErrorContext(j.ctx, "temporal refused a fact", "serial", d.Serial, "fact", d.Fact.ID, "kind", d.Fact.Kind, "error", err)
		}
		if !j.batch.note(d.Fact.ID, err) {
			return
		}
	}
}
