package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/sim"
)

// newcomers are virtual devices that have their identity and their enrollment profile, but have not checked in yet.
type newcomers struct {
	stage   *stage
	serials []string
	fleet   *sim.Fleet
}

// newcomers prepares n devices: made known, profile downloaded, certificate got by SCEP.
func (s *stage) newcomers(ctx context.Context, n int) (*newcomers, error) {
	g := &newcomers{stage: s, serials: s.newSerials(n)}
	var err error
	g.fleet, err = sim.NewFleet(sim.FleetConfig{
		Serials: g.serials,
		Device:  sim.Config{APNs: s.env.Push(), Keys: s.keys, Catalog: map[string]string{manifestURL: appID}},
	})
	if err != nil {
		return nil, err
	}
	return g, forEach(ctx, n, preparing(), func(ctx context.Context, i int) error {
		serial := g.serials[i]
		if err := s.customer.Register(ctx, serial); err != nil {
			return err
		}
		profile, err := s.customer.EnrollmentProfile(ctx, serial)
		if err != nil {
			return err
		}
		if err := g.fleet.Device(serial).Prepare(ctx, profile); err != nil {
			return fmt.Errorf("preparing device %s: %w", serial, err)
		}
		return nil
	})
}

// live runs the devices' connect loops while work is done.
func (g *newcomers) live(ctx context.Context, work func(context.Context) error) error {
	running, stop := context.WithCancel(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { g.fleet.Run(running) })
	defer loops.Wait()
	defer stop()
	return work(ctx)
}

// bringFacts has both facts of the i-th device happen: of each second device the assignment first.
func (g *newcomers) bringFacts(ctx context.Context, i int) error {
	serial := g.serials[i]
	device := g.fleet.Device(serial)
	assign := func() error {
		return g.stage.customer.Assign(ctx, serial, rehearse.Assignment{User: "ANDREW", Groups: []string{smallGroup}})
	}
	activate := func() error {
		if err := device.Authenticate(ctx); err != nil {
			return err
		}
		return device.TokenUpdate(ctx)
	}
	first, second := assign, activate
	if i%2 == 1 {
		first, second = second, first
	}
	if err := first(); err != nil {
		return err
	}
	return second()
}

const enrolledCount = `
SELECT count(*)
FROM devices
WHERE serial = ANY ($1) AND status = 'Enrolled'`

const lastEnrolled = `
SELECT max(created_at)
FROM device_events
WHERE serial = ANY ($1) AND kind = 'enrolled'`

// awaitEnrolled returns when the last of the devices became Enrolled.
func (s *stage) awaitEnrolled(ctx context.Context, serials []string) (last time.Time, err error) {
	err = await(ctx, "devices are Enrolled", len(serials), func(ctx context.Context) (n int, err error) {
		err = s.pool.QueryRow(ctx, enrolledCount, serials).Scan(&n)
		return n, err
	})
	if err != nil {
		return last, err
	}
	if err := s.pool.QueryRow(ctx, lastEnrolled, serials).Scan(&last); err != nil {
		return last, fmt.Errorf("reading when devices became Enrolled: %w", err)
	}
	return last, nil
}

// enroll takes all from their first fact to Enrolled.
func (g *newcomers) enroll(ctx context.Context) (r run, err error) {
	defer g.fleet.Close()
	err = g.live(ctx, func(ctx context.Context) error {
		clock, err := g.stage.startClock()
		if err != nil {
			return err
		}
		if err := forEach(ctx, len(g.serials), hands, g.bringFacts); err != nil {
			return err
		}
		last, err := g.stage.awaitEnrolled(ctx, g.serials)
		if err != nil {
			return err
		}
		r, err = clock.stop(len(g.serials), last)
		return err
	})
	return r, err
}

// measureEnrolling is row a.
func measureEnrolling(ctx context.Context, s *stage, row *Row) error {
	warm, err := s.newcomers(ctx, s.warmup)
	if err != nil {
		return err
	}
	groups := make([]*newcomers, s.repeats)
	for i := range groups {
		if groups[i], err = s.newcomers(ctx, s.enrolling); err != nil {
			return err
		}
	}
	bare, err := s.startBareWorker()
	if err != nil {
		return err
	}
	defer bare.stop()
	if _, err := warm.enroll(ctx); err != nil {
		return err
	}
	if _, err := bare.work(ctx, s.warmup); err != nil {
		return err
	}
	ours, theirs, err := s.takeTurns(ctx,
		func(ctx context.Context, n int) (run, error) { return groups[n].enroll(ctx) },
		func(ctx context.Context, _ int) (run, error) { return bare.work(ctx, s.enrolling) })
	if err != nil {
		return err
	}
	row.pair(ours, theirs)
	return nil
}
