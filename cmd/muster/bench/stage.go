package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

// sizes say how much is measured.
type sizes struct {
	enrolling int // devices in a run of row a
	talking   int // devices in a run of row b that have commands to answer
	silent    int // devices of row b that have none
	slow      int // devices in a run of row c
	relayed   int // devices in a run of row d, of two facts each
	validated int // rows of the file of row e
	applied   int // rows of the file of row f
	listed    int // devices of the organisation of row g
	page      int // how many of them come at once
	warmup    int // devices, or facts, before the runs
}

var (
	full = sizes{enrolling: 200, talking: 100, silent: 200, slow: 100, relayed: 1000, validated: 1_000_000, applied: 100_000, listed: 100_000, page: 1000, warmup: 20}
	tiny = sizes{enrolling: 3, talking: 2, silent: 2, slow: 2, relayed: 4, validated: 50, applied: 20, listed: 2000, page: 100, warmup: 1}
)

const (
	// patience bounds what devices and facts in a run may take together.
	patience = 5 * time.Minute
	// lookEvery is the pause between looks for a run's end; when it was is read afterwards.
	lookEvery = 100 * time.Millisecond
	// hands is how many devices do something at once: many enough to keep two cores busy, few enough not to queue for long.
	hands = 32
	// callers is how many signal Temporal at once: as many as the relay has.
	callers = 8
)

// stage is where everything is measured: the servers, muster's processes, and the devices' keys and serial numbers.
type stage struct {
	sizes
	repeats  int
	env      *environment.Environment
	customer *rehearse.Customer
	temporal client.Client
	pool     *pgxpool.Pool
	keys     *sim.KeyPool
	say      func(string)

	serials int               // how many are given away
	bare    *devstack.Program // the bare side's own process, while it runs
	lists   *devstack.Program // what works in the worker's place in row g, while it runs
}

// variables are the settings of the measured muster: the product's own, but that one customer may ask as much as they like,
// and an app that is there after milliseconds is asked after soon.
var variables = map[string]string{
	"MUSTER_RATE_PER_SECOND": "100000", "MUSTER_RATE_BURST": "100000", "MUSTER_POLL_FIRST": "500ms",
	"MUSTER_SETUP_HOLD": "30m", "MUSTER_RETRY_AFTER": "1m,5m", "MUSTER_NUDGE_AFTER": "15m,1h",
	"MUSTER_REPUSH_FIRST": "1m", "MUSTER_REPUSH_MOST": "6h",
}

func openStage(ctx context.Context, o options, say func(string)) (*stage, error) {
	s := &stage{sizes: full, repeats: o.repeats, say: say}
	if o.quick {
		s.sizes = tiny
	}
	// Keys may be shared: certificates are what tells devices apart, and making keys isn't what is measured.
	const bits, distinct = 2048, 16
	s.keys = sim.NewKeyPool(bits, distinct)
	if err := s.keys.Fill(ctx, min(distinct, s.enrolling)); err != nil {
		return nil, err
	}
	cfg := environment.Config{Private: true, Durable: o.durable, Variables: variables, Progress: say}
	say("Starting PostgreSQL, Temporal and muster …")
	var err error
	if s.env, err = environment.Start(ctx, cfg); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *stage) connect(ctx context.Context) error {
	var err error
	if s.customer, err = rehearse.NewCustomer(s.env.URL(), s.env.Token()); err != nil {
		return err
	}
	if s.temporal, err = s.env.Dial(ctx); err != nil {
		return err
	}
	if s.pool, err = pgxpool.New(ctx, s.env.DatabaseURL()); err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	return s.furnish(ctx)
}

// Close ends everything.
func (s *stage) Close() error {
	if s.pool != nil {
		s.pool.Close()
	}
	if s.temporal != nil {
		s.temporal.Close()
	}
	return s.env.Close()
}

// watch gives a context that ends when one of muster's processes crashes.
func (s *stage) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case err := <-s.env.Crashed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (s *stage) pids() map[string]int {
	pids := map[string]int{"temporal": s.env.Temporal().Pid(), postgresql: s.env.Postgres().Pid(), "load": os.Getpid()}
	worker := s.env.Worker()
	if s.lists != nil {
		worker = s.lists
	}
	for name, p := range map[string]*devstack.Program{"api": s.env.API(), "worker": worker, "bare": s.bare} {
		if p != nil && runs(p) {
			pids[name] = p.Pid()
		}
	}
	return pids
}

func runs(p *devstack.Program) bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// newSerials gives serial numbers that nobody else has.
func (s *stage) newSerials(n int) []string {
	const seed = 2
	from := s.serials
	s.serials += n
	return sim.Serials(seed, s.serials)[from:]
}

// openStore opens the store of a database of the environment's.
func (s *stage) openStore(ctx context.Context, url string) (*store.DB, error) {
	ring, err := keyring.Parse(s.env.Keyring())
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{URL: url}, store.WithSealer(ring))
}

// forEach does the work for each of n, so many at once.
func forEach(ctx context.Context, n, atOnce int, work func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return work(ctx, i)
		})
	}
	return group.Wait()
}

// preparing is how many devices are prepared at once, outside of what is measured.
func preparing() int { return 2 * runtime.GOMAXPROCS(0) }

// await looks until all of want are there.
func await(ctx context.Context, what string, want int, count func(context.Context) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		n, err := count(ctx)
		if err != nil {
			return fmt.Errorf("counting %s: %w", what, err)
		}
		if n >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %s: %w", n, want, what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
