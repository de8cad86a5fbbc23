package signals_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
)

// BenchmarkRelay delivers facts that begin workflows from PostgreSQL to Temporal; BenchmarkSignalWithStart does the same
// signals by eight callers and nothing else. Run them several times in turn and compare medians.
func BenchmarkRelay(b *testing.B) {
	o := newOutbox(b)
	hostPort, namespace := stacktest.Temporal(b)
	c := dial(b, hostPort, namespace)
	for i := range b.N {
		o.record(serial(i), provision.Sync, assigned("x"))
	}
	b.ResetTimer()
	stop := o.run(signals.Relay{Outbox: o.db, Door: signals.New(c, "nobody")})
	eventually(b, 10*time.Minute, "all facts delivered", func() bool { return o.undelivered() == 0 })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "facts/s")
	b.StopTimer()
	stop()
}

// BenchmarkSignalWithStart is what the relay is measured against.
func BenchmarkSignalWithStart(b *testing.B) {
	hostPort, namespace := stacktest.Temporal(b)
	s := signals.New(dial(b, hostPort, namespace), "nobody")
	b.ResetTimer()
	work := make(chan int)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := range work {
				d := provision.Delivery{Serial: fmt.Sprintf("G4K%07d", i), Fact: assigned("x")}
				d.Fact.ID = int64(i + 1)
				if err := s.Deliver(b.Context(), d); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range b.N {
		work <- i
	}
	close(work)
	callers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "facts/s")
	require.False(b, b.Failed())
}
