package signals_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/logtest"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
)

// forgetful dies, now and then, between delivering a claim and marking it.
type forgetful struct {
	signals.Outbox
	mu     sync.Mutex
	random *rand.Rand
}

func (f *forgetful) ClaimFacts(ctx context.Context, limit int, deliver func(context.Context, [][]provision.Delivery) provision.Receipt) (int, error) {
	return f.Outbox.ClaimFacts(ctx, limit, func(ctx context.Context, devices [][]provision.Delivery) provision.Receipt {
		receipt := deliver(ctx, devices)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.random.IntN(3) == 0 {
			return provision.Receipt{}
		}
		return receipt
	})
}

// Three relays, stopped, cut off from PostgreSQL and robbed of their marks at random, deliver every fact, and each
// device's in their order.
func TestOrderPerDeviceWhateverDies(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	const devices, facts = 30, 8
	want := map[string][]int64{}
	for i := range devices * facts {
		s := serial(i % devices)
		want[s] = append(want[s], o.record(s, provision.Priority(random.IntN(3)), assigned(fmt.Sprint(i))))
	}

	start := func() func() {
		return o.run(signals.Relay{
			Outbox: &forgetful{Outbox: o.open(), random: rand.New(rand.NewPCG(random.Uint64(), 2))},
			Door:   signals.New(c, "nobody"), Poll: 20 * time.Millisecond,
		})
	}
	relays := []func(){start(), start(), start()}
	eventually(t, time.Minute, "all facts delivered", func() bool {
		switch random.IntN(40) {
		case 0:
			i := random.IntN(len(relays))
			relays[i]()
			relays[i] = start()
		case 1:
			_, err := o.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`)
			require.NoError(t, err)
		}
		return o.undelivered() == 0
	})
	for s, ids := range want {
		require.Equal(t, ids, firsts(signalled(t, c, s)), "facts of %s", s)
	}
}

func TestOutageOfTemporalIsWaitedOut(t *testing.T) {
	bin, err := devstack.FindTemporal(t.Context(), "../.bin", devstack.FindOptions{})
	require.NoError(t, err)
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalConfig{Bin: bin, ThrowAway: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	o := newOutbox(t)
	c := dial(t, server.HostPort(), server.Namespace())
	var lines logtest.Log
	metrics := prometheus.NewRegistry()
	o.run(signals.Relay{
		Outbox: o.db, Door: signals.New(c, "nobody"), Log: slog.New(slog.NewTextHandler(&lines, nil)), Metrics: metrics,
	})
	o.record(serial(0), provision.Interactive, assigned("before"))
	eventually(t, 10*time.Second, "delivery before the outage", func() bool { return o.undelivered() == 0 })

	server.Kill()
	want := map[string][]int64{}
	for i := range 20 {
		for range 2 {
			want[serial(1+i)] = append(want[serial(1+i)], o.record(serial(1+i), provision.Interactive, assigned("during")))
		}
	}
	eventually(t, 20*time.Second, "the relay to notice", func() bool { return strings.Contains(lines.String(), "relay waits") })
	require.Equal(t, int64(40), o.undelivered())
	require.NoError(t, server.Start(t.Context()))
	eventually(t, time.Minute, "delivery after the outage", func() bool { return o.undelivered() == 0 })
	for s, ids := range want {
		require.Equal(t, ids, firsts(signalled(t, c, s)))
	}
	require.Equal(t, 1, strings.Count(lines.String(), "relay waits"), lines.String())
	require.Equal(t, 1, strings.Count(lines.String(), "relay goes on"), lines.String())
	families, err := metrics.Gather()
	require.NoError(t, err)
	measured := map[string]float64{}
	for _, f := range families {
		measured[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	require.GreaterOrEqual(t, measured["muster_relay_delivered_total"], 41.0)
	require.Contains(t, measured, "muster_relay_lag_seconds")
	require.Contains(t, measured, "muster_relay_undelivered")
}

func TestUrgentDevicesComeFirst(t *testing.T) {
	o := newOutbox(t)
	for i := range 150 {
		o.record(serial(i), provision.Bulk, assigned("bulk"))
	}
	for i := range 5 {
		o.record(serial(200+i), provision.Sync, assigned("sync"))
	}
	o.record(serial(300), provision.Interactive, assigned("person"))
	behind := serial(77) // an urgent fact behind one of a bulk change
	o.record(behind, provision.Interactive, assigned("person"))

	d := &crowd{full: make(chan struct{})}
	o.run(signals.Relay{Outbox: o.db, Door: d})
	eventually(t, 20*time.Second, "all delivered", func() bool { return o.undelivered() == 0 })
	first := []string{serial(300), behind, serial(200), serial(201), serial(202), serial(203), serial(204), serial(0)}
	require.ElementsMatch(t, first, d.inside[:8])
	require.Len(t, d.inside, 157)
}

// crowd lets nobody out before eight are inside, so that it is known whose turn came first.
type crowd struct {
	mu     sync.Mutex
	inside []string
	full   chan struct{}
}

// Deliver implements signals.Door.
func (c *crowd) Deliver(_ context.Context, d provision.Delivery) error {
	c.mu.Lock()
	c.inside = append(c.inside, d.Serial)
	if len(c.inside) == 8 {
		close(c.full)
	}
	c.mu.Unlock()
	<-c.full
	return nil
}

func TestNewFactIsDeliveredAtOnce(t *testing.T) {
	o := newOutbox(t)
	d := &door{}
	o.run(signals.Relay{Outbox: o.db, Door: d, Poll: time.Hour}) // only a notification can wake it
	for i := range 20 {
		o.record(serial(i), provision.Interactive, assigned("x"))
		eventually(t, 5*time.Second, "delivery", func() bool { return len(d.serials()) == i+1 })
	}
}

func TestRefusedFactHoldsUpNobody(t *testing.T) {
	o := newOutbox(t)
	poison := o.record(serial(0), provision.Interactive, assigned("poison"))
	d := &door{deliver: func(d provision.Delivery) error {
		if d.Fact.ID == poison {
			return fmt.Errorf("signalling: %w", serviceerror.NewInvalidArgument("blob too large"))
		}
		return nil
	}}
	for i := 1; i < 50; i++ {
		o.record(serial(i), provision.Bulk, assigned("fine"))
	}
	after := o.record(serial(0), provision.Interactive, assigned("after"))
	o.run(signals.Relay{Outbox: o.db, Door: d, Poll: 10 * time.Millisecond})
	eventually(t, 10*time.Second, "all but the poison", func() bool { return o.undelivered() == 1 })
	var why string
	var left, tries int64
	require.NoError(t, o.pool.QueryRow(t.Context(), `SELECT id, refused, tries FROM device_events WHERE deliver AND delivered_at IS NULL`).Scan(&left, &why, &tries))
	require.Equal(t, poison, left)
	require.Contains(t, why, "blob too large")
	require.Contains(t, d.serials(), serial(0), "fact %d goes past it", after)
	require.LessOrEqual(t, d.tries(serial(0)), 1+4, "the poison is tried ever more rarely")
}

func TestTemporalsOwnRefusalHoldsUpNobody(t *testing.T) {
	o := newOutbox(t)
	hostPort, namespace := stacktest.Temporal(t)
	c := dial(t, hostPort, namespace)
	huge := assigned("x")
	huge.Reason = strings.Repeat("too large for a signal ", 110_000)
	o.record(serial(0), provision.Interactive, huge)
	o.record(serial(1), provision.Bulk, assigned("fine"))
	o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody")})
	eventually(t, 20*time.Second, "the other device's delivery", func() bool { return o.undelivered() == 1 })
	require.Len(t, signalled(t, c, serial(1)), 1)
	eventually(t, 10*time.Second, "the reason on the fact's row", func() bool {
		var why string
		require.NoError(t, o.pool.QueryRow(t.Context(), `SELECT refused FROM device_events WHERE serial = $1`, serial(0)).Scan(&why))
		return why != ""
	})
}

// One workflow that can't be reached is not an outage, and neither loses its order.
func TestOneBrokenDeviceIsTriedApart(t *testing.T) {
	o := newOutbox(t)
	broken := true
	var once sync.Once
	mended := make(chan struct{})
	d := &door{deliver: func(d provision.Delivery) error {
		select {
		case <-mended:
			broken = false
		default:
		}
		if d.Serial == serial(0) && broken {
			return errors.New("that shard is busy")
		}
		return nil
	}}
	first := o.record(serial(0), provision.Interactive, assigned("first"))
	second := o.record(serial(0), provision.Interactive, assigned("second"))
	for i := 1; i < 100; i++ {
		o.record(serial(i), provision.Bulk, assigned("fine"))
	}
	o.run(signals.Relay{Outbox: o.db, Door: d, Poll: 10 * time.Millisecond})
	eventually(t, 20*time.Second, "all others", func() bool { return o.undelivered() == 2 })
	once.Do(func() { close(mended) })
	eventually(t, 20*time.Second, "the mended one", func() bool { return o.undelivered() == 0 })
	var ids []int64
	for _, delivery := range d.delivered {
		if delivery.Serial == serial(0) {
			ids = append(ids, delivery.Fact.ID)
		}
	}
	require.Equal(t, []int64{first, second}, ids)
}

func TestStopFinishesAndMarksWhatIsUnderWay(t *testing.T) {
	o := newOutbox(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	d := &door{deliver: func(provision.Delivery) error {
		close(entered)
		<-leave
		return nil
	}}
	o.record(serial(0), provision.Interactive, assigned("x"))
	stop := o.run(signals.Relay{Outbox: o.db, Door: d})
	<-entered
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(leave)
	<-stopped
	require.Zero(t, o.undelivered())
}
