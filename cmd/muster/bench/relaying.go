package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
)

// nobodysQueue has no worker: what a workflow does about a fact isn't the relay's.
const nobodysQueue = "bench-nobody"

// relaying is a database of its own, so that the running worker's relay has no part in it.
type relaying struct {
	stage *stage
	db    *store.DB
	door  *signals.Client
}

// measureRelay is row d.
func measureRelay(ctx context.Context, s *stage, row *Row) error {
	const database = "bench_relay"
	if err := s.env.Postgres().CreateDatabase(ctx, database, ""); err != nil {
		return err
	}
	url := s.env.Postgres().URL(database)
	if _, err := store.Migrate(ctx, url); err != nil {
		return err
	}
	db, err := s.openStore(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	r := &relaying{stage: s, db: db, door: signals.New(s.temporal, nobodysQueue)}
	for _, half := range []func(context.Context, int) (run, error){r.relay, r.signal} {
		if _, err := half(ctx, s.warmup); err != nil {
			return err
		}
	}
	ours, theirs, err := s.takeTurns(ctx,
		func(ctx context.Context, _ int) (run, error) { return r.relay(ctx, s.relayed) },
		func(ctx context.Context, _ int) (run, error) { return r.signal(ctx, s.relayed) })
	if err != nil {
		return err
	}
	row.pair(ours, theirs)
	return nil
}

// factsEach is how many facts each device has.
const factsEach = 2

// record records an assignment and an activation of each device.
func (r *relaying) record(ctx context.Context, serials []string) error {
	return forEach(ctx, len(serials), preparing(), func(ctx context.Context, i int) error {
		_, err := r.db.UpdateOrCreate(ctx, serials[i], func(ctx context.Context, c *store.Change) error {
			for _, f := range facts() {
				if _, err := c.Record(ctx, f); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	})
}

// facts are those of one device; only the last two are signalled.
func facts() []provision.Fact {
	return []provision.Fact{
		{Kind: provision.Authenticated, Epoch: 1, Source: provision.FromDevice},
		{
			Kind: provision.Assigned, Actor: "token:bench", Source: provision.FromAPI,
			Assignment: &provision.Assignment{Groups: []string{smallGroup}, OwnedBy: provision.Corporate, Requirement: provision.RequireUser},
		},
		{Kind: provision.Activated, Epoch: 1, Source: provision.FromDevice},
	}
}

// relay has the relay deliver recorded facts.
func (r *relaying) relay(ctx context.Context, devices int) (run, error) {
	if err := r.record(ctx, r.stage.newSerials(devices)); err != nil {
		return run{}, err
	}
	waiting, _, err := r.db.Undelivered(ctx)
	if err != nil {
		return run{}, err
	}
	if want := int64(devices * factsEach); waiting != want {
		return run{}, fmt.Errorf("%d facts wait for the relay, not %d", waiting, want)
	}
	clock, err := r.stage.startClock()
	if err != nil {
		return run{}, err
	}
	door := &countingDoor{Client: r.door, left: devices * factsEach, over: make(chan struct{})}
	relaying, stop := context.WithCancel(ctx)
	defer stop()
	var relay sync.WaitGroup
	relay.Go(func() { signals.Relay{Outbox: r.db, Door: door}.Run(relaying) })
	select {
	case <-door.over:
	case <-ctx.Done():
		return run{}, context.Cause(ctx)
	case <-time.After(patience):
		return run{}, errors.New("the relay did not deliver all facts in time")
	}
	stop() // ends when all is marked
	relay.Wait()
	result, err := clock.stop(devices*factsEach, time.Now())
	if err != nil {
		return run{}, err
	}
	if waiting, _, err = r.db.Undelivered(ctx); err == nil && waiting != 0 {
		err = fmt.Errorf("%d facts were delivered and not marked", waiting)
	}
	return result, err
}

// countingDoor tells when all facts went through it.
type countingDoor struct {
	*signals.Client
	mu   sync.Mutex
	left int
	over chan struct{}
}

// Deliver counts what it passes on.
func (d *countingDoor) Deliver(ctx context.Context, delivery provision.Delivery) error {
	if err := d.Client.Deliver(ctx, delivery); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left--; d.left == 0 {
		close(d.over)
	}
	return nil
}

// signal makes the same signals by as many callers as the relay has, each device's in their order.
func (r *relaying) signal(ctx context.Context, devices int) (run, error) {
	serials := r.stage.newSerials(devices)
	clock, err := r.stage.startClock()
	if err != nil {
		return run{}, err
	}
	err = forEach(ctx, devices, callers, func(ctx context.Context, i int) error {
		for n, f := range facts()[1:] {
			f.ID, f.At = int64(n+1), time.Now()
			if err := r.door.Deliver(ctx, provision.Delivery{Serial: serials[i], Fact: f}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return run{}, err
	}
	return clock.stop(devices*factsEach, time.Now())
}
