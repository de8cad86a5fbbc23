// Package rehearse lets virtual devices live their lives with a throw-away Muster and compares how they end with a model
// written from the requirements.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
	"github.com/muster-mdm/muster/sim"
)

// Config says what is rehearsed.
type Config struct {
	Lives []Life
	Seed  uint64
	// Keys are the devices' RSA keys; nil: each device makes its own.
	Keys *sim.KeyPool
	// Timeout bounds the lives, and the time after them until all is as modelled.
	Timeout time.Duration
	// Progress is told now and then how far the devices are; nil is silence.
	Progress func(Progress)
}

// Progress is how far a rehearsal is.
type Progress struct {
	Devices, Alive, AsModelled, Enrolled int
	Elapsed                              time.Duration
}

// Rehearsal is one run. Its methods are safe for concurrent use.
type Rehearsal struct {
	cfg      Config
	env      *environment.Environment
	catalog  catalog
	customer *Customer
	fleet    *sim.Fleet
	server   string // at Apple
	begun    time.Time

	mu      sync.Mutex
	signed  map[string]bool  // by serial, who enrolled by signing in
	over    map[string]error // by serial, how each life that is over went
	right   map[string]bool
	elapsed time.Duration
}

// Run rehearses in an environment that nobody else has used, and reports. The error says why there is no report; that
// devices ended wrong is no error.
func Run(ctx context.Context, env *environment.Environment, cfg Config) (Report, error) {
	customer, err := NewCustomer(env.URL(), env.Token())
	if err != nil {
		return Report{}, err
	}
	r := &Rehearsal{cfg: cfg, env: env, catalog: rehearsalCatalog(), customer: customer, signed: map[string]bool{}, over: map[string]error{}, right: map[string]bool{}}
	if err := customer.furnish(ctx, r.catalog); err != nil {
		return Report{}, err
	}
	if err := r.connect(ctx); err != nil {
		return Report{}, err
	}
	if err := r.link(ctx); err != nil {
		return Report{}, err
	}
	if r.fleet, err = r.newFleet(); err != nil {
		return Report{}, err
	}
	defer r.fleet.Close()
	running, stop := context.WithCancel(ctx)
	var devices sync.WaitGroup
	devices.Go(func() { r.fleet.Run(running) })
	defer devices.Wait()
	defer stop()
	r.begun = time.Now()
	if err := r.live(ctx); err != nil {
		return Report{}, err
	}
	r.elapsed = time.Since(r.begun)
	return r.report(ctx)
}

func (r *Rehearsal) newFleet() (*sim.Fleet, error) {
	serials := make([]string, len(r.cfg.Lives))
	for i, l := range r.cfg.Lives {
		serials[i] = l.Serial
	}
	return sim.NewFleet(sim.FleetConfig{
		Seed: r.cfg.Seed, Serials: serials,
		Device: sim.Config{APNs: r.env.Push(), Factory: r.env.Factory(), Keys: r.cfg.Keys, KeyBits: 2048, Catalog: r.catalog.sources()},
		Vary: func(i int, c *sim.Config) {
			l := r.cfg.Lives[i]
			c.AutomatedEnrollment, c.Await, c.Faults, c.Person = l.Awaits, l.Awaits, l.Faults, r.credentials(l)
			if len(l.Refuses) > 0 {
				c.Faults.Refuse = map[string]int{}
			}
			for _, identifier := range l.Refuses {
				c.Faults.Refuse[identifier] = -1
			}
		},
	})
}

// live runs all lives and returns when every device is as modelled, or time is up. A crash of muster's ends it at once.
func (r *Rehearsal) live(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.Timeout, errTimeUp)
	defer cancel()
	var lives sync.WaitGroup
	defer lives.Wait()
	defer cancel()
	for _, l := range r.cfg.Lives {
		lives.Go(func() {
			err := r.carryOut(ctx, l)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.over[l.Serial] = err
		})
	}
	err := r.watch(ctx)
	if errors.Is(context.Cause(ctx), errTimeUp) {
		return nil // the report tells which devices didn't make it
	}
	return err
}

var errTimeUp = errors.New("the rehearsal's time is up")

const lookEvery = 500 * time.Millisecond

// watch looks at all devices until all lives are over and all devices as modelled, twice in a row: what passes through the
// right state on its way to a wrong one must not count.
func (r *Rehearsal) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for calm := 0; calm < 3; {
		select {
		case err := <-r.env.Crashed():
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		done, err := r.look(ctx)
		switch {
		case err != nil:
			return err
		case done:
			calm++
		default:
			calm = 0
		}
	}
	return nil
}

// look compares all devices with the model and tells the progress.
func (r *Rehearsal) look(ctx context.Context) (done bool, err error) {
	seen, err := r.customer.Devices(ctx)
	if err != nil {
		return false, err
	}
	p := Progress{Devices: len(r.cfg.Lives), Elapsed: time.Since(r.begun)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.cfg.Lives {
		d, known := seen[l.Serial]
		want := Model(r.catalog, l, l.Events)
		r.right[l.Serial] = known && len(differences(want, d, r.fleet.Device(l.Serial).Snapshot())) == 0
		_, over := r.over[l.Serial]
		if r.right[l.Serial] && over {
			p.AsModelled++
		}
		if !over {
			p.Alive++
		}
		if string(d.Status) == statusEnrolled {
			p.Enrolled++
		}
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(p)
	}
	return p.AsModelled == p.Devices, nil
}

// carryOut lets one device live. Its error says which event could not be carried out.
func (r *Rehearsal) carryOut(ctx context.Context, l Life) error {
	p := &performer{rehearsal: r, life: l, device: r.fleet.Device(l.Serial)}
	for i, e := range l.Events {
		if err := p.perform(ctx, e, l.Events[:i]); err != nil {
			return fmt.Errorf("event %d, %s: %w", i+1, e.Do, err)
		}
	}
	return nil
}
