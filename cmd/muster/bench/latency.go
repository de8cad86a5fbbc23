package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
)

// slowly is the pause between devices in row c: five a second.
const slowly = 200 * time.Millisecond

// measureLatency is row c.
func measureLatency(ctx context.Context, s *stage, row *Row) error {
	groups := make([]*newcomers, s.repeats)
	var err error
	for i := range groups {
		if groups[i], err = s.newcomers(ctx, s.slow); err != nil {
			return err
		}
	}
	var p50, p99 []float64
	var runs []run
	for i, g := range groups {
		r, err := g.enrollSlowly(ctx)
		if err != nil {
			return err
		}
		latencies, err := g.latencies(ctx)
		if err != nil {
			return err
		}
		runs = append(runs, r)
		p50, p99 = append(p50, rehearse.Percentile(latencies, 0.5)), append(p99, rehearse.Percentile(latencies, 0.99))
		s.say(fmt.Sprintf("  run %d: p50 %.1f ms, p99 %.1f ms", i+1, p50[i], p99[i]))
	}
	row.P50, row.P99, row.MusterCPU = seriesOf(p50), seriesOf(p99), perUnit(runs)
	row.Met = row.P99.Median < row.most
	return nil
}

// enrollSlowly has a device's facts happen every now and then, and returns when all are Enrolled.
func (g *newcomers) enrollSlowly(ctx context.Context) (r run, err error) {
	defer g.fleet.Close()
	err = g.live(ctx, func(ctx context.Context) error {
		clock, err := g.stage.startClock()
		if err != nil {
			return err
		}
		tick := time.NewTicker(slowly)
		defer tick.Stop()
		err = forEach(ctx, len(g.serials), len(g.serials), func(ctx context.Context, i int) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C: // each tick is one device's
			}
			return g.bringFacts(ctx, i)
		})
		if err != nil {
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

// latencies are the times from the devices' second facts to their first commands, in milliseconds.
func (g *newcomers) latencies(ctx context.Context) ([]float64, error) {
	all, err := rehearse.Latencies(ctx, g.stage.env.DatabaseURL())
	if err != nil {
		return nil, err
	}
	var ours []float64
	for _, l := range all {
		if slices.Contains(g.serials, l.Serial) {
			ours = append(ours, float64(l.ToFirstCommand)/float64(time.Millisecond))
		}
	}
	if len(ours) != len(g.serials) {
		return nil, fmt.Errorf("the times of %d devices are known, not of all %d", len(ours), len(g.serials))
	}
	return ours, nil
}
