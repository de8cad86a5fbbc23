package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

// listedServer is what muster calls the server that lists the devices.
const listedServer = "bench"

// listing is what all runs of row g have in common.
type listing struct {
	stage *stage
	// faults, by kind, are those that a fetch of the organisation meets, and pauses what it waits for their sake.
	faults map[string]int
	pauses time.Duration
	begun  int // runs of muster's
}

// measureListing is row g.
func measureListing(ctx context.Context, s *stage, row *Row) error {
	l := &listing{stage: s}
	if err := l.rehearse(ctx); err != nil {
		return err
	}
	var peaks []float64
	ours, theirs, err := s.takeTurns(ctx, func(ctx context.Context, _ int) (run, error) {
		r, peak, err := l.sync(ctx)
		peaks = append(peaks, peak)
		return r, err
	}, func(ctx context.Context, _ int) (run, error) { return l.page(ctx) })
	if err != nil {
		return err
	}
	row.pair(ours, theirs)
	row.Peak = seriesOf(peaks)
	row.Met = row.Peak.Max < mostPeak
	return nil
}

// rehearse learns what goes wrong and how long is waited. It is the same in every run, since it is drawn by a seed.
func (l *listing) rehearse(ctx context.Context) error {
	o, err := openOrganisation(ctx, l.stage.listed)
	if err != nil {
		return err
	}
	defer o.close()
	if l.pauses, err = o.fetchBare(ctx, l.stage.page); err != nil {
		return err
	}
	if l.faults = o.apple.Counts().Faults; len(l.faults) == 0 {
		return fmt.Errorf("nothing went wrong in %d devices by pages of %d; the row is about what does", l.stage.listed, l.stage.page)
	}
	l.stage.say(fmt.Sprintf("  faults in each run: %v; pauses for their sake: %s", l.faults, l.pauses))
	return nil
}

// over ends a run. Both halves wait equally long, as Apple asks or until the next attempt, and those pauses are no work.
func (l *listing) over(c *clock, o *organisation, at time.Time) (run, error) {
	if met := o.apple.Counts().Faults; !maps.Equal(met, l.faults) {
		return run{}, fmt.Errorf("the faults of this run were %v, not %v, so that it can't be compared", met, l.faults)
	}
	return c.stop(l.stage.listed, at.Add(-l.pauses))
}

// page is the bare half.
func (l *listing) page(ctx context.Context) (run, error) {
	o, err := openOrganisation(ctx, l.stage.listed)
	if err != nil {
		return run{}, err
	}
	defer o.close()
	clock, err := l.stage.startClock()
	if err != nil {
		return run{}, err
	}
	if _, err := o.fetchBare(ctx, l.stage.page); err != nil {
		return run{}, err
	}
	return l.over(clock, o, time.Now())
}

// sync has muster's workflow list everything into a database of its own, whose facts no relay makes workflows of, and tells
// the most memory that its process took.
func (l *listing) sync(ctx context.Context) (r run, peakMiB float64, err error) {
	o, err := openOrganisation(ctx, l.stage.listed)
	if err != nil {
		return run{}, 0, err
	}
	defer o.close()
	l.begun++
	name := fmt.Sprintf("bench_list_%d", l.begun)
	if err := l.stage.env.Postgres().CreateDatabase(ctx, name, ""); err != nil {
		return run{}, 0, err
	}
	url, secret := l.stage.env.Postgres().URL(name), keyring.NewKey()
	if err := o.link(ctx, url, secret); err != nil {
		return run{}, 0, err
	}
	worker, err := l.startWorker(ctx, name, map[string]string{"MUSTER_DATABASE_URL": url, "MUSTER_KEYRING": secret, "MUSTER_ABM_URL": o.at.URL})
	if err != nil {
		return run{}, 0, err
	}
	defer l.stopWorker(worker)
	clock, err := l.stage.startClock()
	if err != nil {
		return run{}, 0, err
	}
	options := client.StartWorkflowOptions{ID: signals.ABMSyncID(name), TaskQueue: name, WorkflowExecutionTimeout: patience + l.pauses}
	w, err := l.stage.temporal.ExecuteWorkflow(ctx, options, signals.ABMSyncType, signals.ABMStart{Server: listedServer})
	if err == nil {
		err = w.Get(ctx, nil)
	}
	if err != nil {
		return run{}, 0, fmt.Errorf("listing by muster: %w", err)
	}
	if r, err = l.over(clock, o, time.Now()); err != nil {
		return run{}, 0, err
	}
	peakMiB = peakOf([]int{worker.Pid()})
	return r, peakMiB, o.agrees(ctx, url)
}

// startWorker returns when the process waits for work.
func (l *listing) startWorker(ctx context.Context, queue string, variables map[string]string) (*devstack.Program, error) {
	p, err := l.stage.env.Start("list worker", variables, "bench", "list-worker", "--queue", queue, "--page", strconv.Itoa(l.stage.page))
	if err != nil {
		return nil, err
	}
	l.stage.lists = p
	kinds := []enums.TaskQueueType{enums.TASK_QUEUE_TYPE_WORKFLOW, enums.TASK_QUEUE_TYPE_ACTIVITY}
	err = await(ctx, "kinds of tasks are polled for", len(kinds), func(ctx context.Context) (int, error) {
		polled := 0
		for _, kind := range kinds {
			described, err := l.stage.temporal.DescribeTaskQueue(ctx, queue, kind)
			if err != nil {
				return 0, err
			}
			polled += min(len(described.GetPollers()), 1)
		}
		return polled, p.Err()
	})
	if err != nil {
		l.stopWorker(p)
		return nil, err
	}
	return p, nil
}

func (l *listing) stopWorker(p *devstack.Program) {
	_ = p.Stop() // what it worked on is over
	l.stage.lists = nil
}

// link sets the server up in a new database and links it.
func (o *organisation) link(ctx context.Context, url, secret string) error {
	ring, err := keyring.Parse(secret)
	if err != nil {
		return err
	}
	if _, err := store.Migrate(ctx, url); err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{URL: url}, store.WithSealer(ring))
	if err != nil {
		return err
	}
	defer db.Close()
	in := store.ABMServerInput{Name: listedServer, SyncEvery: time.Hour, FullEvery: 24 * time.Hour}
	if _, _, err = db.PutABMServer(ctx, in, store.Condition{}, func() (certificate, key []byte, err error) { return o.certificate, o.key, nil }); err != nil {
		return err
	}
	_, err = db.LinkABM(ctx, listedServer, false, func(_, _ []byte) (store.ABMToken, error) {
		raw, err := json.Marshal(o.token) //nolint:gosec // the store seals it
		return store.ABMToken{ConsumerKey: o.token.ConsumerKey, ExpiresAt: o.token.Expiry, Secret: raw}, err
	})
	return err
}

const listedDevices = `
SELECT serial
FROM abm_devices
WHERE server = $1 AND listed`

const seenDevices = `
SELECT serial
FROM device_events
WHERE kind = 'abm_seen' AND payload -> 'abm' ->> 'server' = $1`

// agrees tells a device that muster missed, or took twice: each is listed once, and one fact says so.
func (o *organisation) agrees(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for what, statement := range map[string]string{"listed": listedDevices, "recorded": seenDevices} {
		rows, err := conn.Query(ctx, statement, listedServer)
		if err != nil {
			return fmt.Errorf("reading what was %s: %w", what, err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("reading what was %s: %w", what, err)
		}
		slices.Sort(got)
		if !slices.Equal(got, o.serials) {
			return fmt.Errorf("devices were missed or doubled: %d were %s, of %d", len(got), what, len(o.serials))
		}
	}
	return nil
}
