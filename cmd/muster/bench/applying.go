package bench

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
)

const (
	// leastApplied is the rate, per second, at which 100,000 rows take a minute.
	leastApplied = 100_000.0 / 60
	// between is the pause between the single assignments that are made meanwhile.
	between = 500 * time.Millisecond
)

// measureApplying is row f.
func measureApplying(ctx context.Context, s *stage, row *Row) error {
	var rates, p50, p99 []float64
	var runs []run
	for n := range s.repeats {
		i, err := s.prepareImport(ctx, s.applied)
		if err != nil {
			return err
		}
		r, latencies, err := i.apply(ctx)
		i.close()
		if err != nil {
			return err
		}
		runs, rates = append(runs, r), append(rates, r.rate())
		p50, p99 = append(p50, rehearse.Percentile(latencies, 0.5)), append(p99, rehearse.Percentile(latencies, 0.99))
		s.say(fmt.Sprintf("  run %d: %.1f/s, single assignments p50 %.1f ms, p99 %.1f ms", n+1, r.rate(), p50[n], p99[n]))
	}
	row.Muster, row.P50, row.P99, row.MusterCPU = seriesOf(rates), seriesOf(p50), seriesOf(p99), perUnit(runs)
	row.Met = row.Muster.Median >= leastApplied && row.P99.Median < row.most
	return nil
}

// apply applies the file while single assignments are made, and returns how long each of these took to its workflow, in
// milliseconds.
func (i *importing) apply(ctx context.Context) (run, []float64, error) {
	o, err := i.upload(ctx)
	if err != nil {
		return run{}, nil, err
	}
	clock, err := i.stage.startClock()
	if err != nil {
		return run{}, nil, err
	}
	o, err = operationOf(i.api.ApplyAssignmentImport(ctx, o.Id, nil, client.ApplyInput{Mode: client.ValidRows})) //nolint:bodyclose // operationOf closes it
	if err != nil {
		return run{}, nil, err
	}
	// Far more than there is time for.
	serials := i.stage.newSerials(1000)
	single, stop := context.WithCancel(ctx)
	defer stop()
	assigned := make(chan assignedSerials, 1)
	go func() { assigned <- i.assignSingly(single, serials) }()
	o, err = i.until(ctx, o, client.OperationDone)
	stop()
	meanwhile := <-assigned
	if err == nil {
		err = meanwhile.err
	}
	if err != nil {
		return run{}, nil, err
	}
	r, err := clock.stop(i.rows, *o.FinishedAt)
	if err != nil {
		return run{}, nil, err
	}
	if o.Progress.Changed != int64(i.rows) {
		return run{}, nil, fmt.Errorf("%d of %d rows were applied", o.Progress.Changed, i.rows)
	}
	latencies, err := i.delivered(ctx, meanwhile.serials)
	return r, latencies, err
}

type assignedSerials struct {
	serials []string
	err     error
}

// assignSingly assigns one of the devices after the other until ctx ends.
func (i *importing) assignSingly(ctx context.Context, serials []string) (out assignedSerials) {
	tick := time.NewTicker(between)
	defer tick.Stop()
	groups := []string{secondGroup}
	for _, serial := range serials {
		res, err := i.api.AssignDevice(ctx, serial, nil, client.AssignmentInput{Groups: &groups})
		if ctx.Err() != nil && len(out.serials) > 0 {
			return out
		}
		if err != nil {
			return assignedSerials{err: fmt.Errorf("assigning a device: %w", err)}
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return assignedSerials{err: fmt.Errorf("assigning a device: muster answered %s", res.Status)}
		}
		out.serials = append(out.serials, serial)
		select {
		case <-ctx.Done():
			return out
		case <-tick.C:
		}
	}
	return out
}

const deliveryTimes = `
SELECT extract(epoch FROM delivered_at - created_at)::float8 * 1000
FROM device_events
WHERE serial = ANY ($1) AND kind = 'assigned' AND delivered_at IS NOT NULL`

// delivered are the times from the assignments to their delivery.
func (i *importing) delivered(ctx context.Context, serials []string) ([]float64, error) {
	var times []float64
	err := await(ctx, "single assignments delivered", len(serials), func(ctx context.Context) (int, error) {
		rows, err := i.stage.pool.Query(ctx, deliveryTimes, serials)
		if err != nil {
			return 0, err
		}
		times, err = pgx.CollectRows(rows, pgx.RowTo[float64])
		return len(times), err
	})
	return times, err
}
