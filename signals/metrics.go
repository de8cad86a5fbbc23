package signals

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meters are the relay's metrics.
type meters struct {
	delivered, refused, unmarked prometheus.Counter
	lag                          prometheus.Histogram
	undelivered, oldest          prometheus.Gauge
}

// newMeters registers the metrics, or takes those that a former relay of this process registered.
func newMeters(r prometheus.Registerer) *meters {
	return &meters{
		delivered: register(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_relay_delivered_total", Help: "Facts delivered to workflows, repetitions included.",
		})),
		refused: register(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_relay_refused_total", Help: "Deliveries that Temporal refused for good; the fact's row says why.",
		})),
		unmarked: register(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_relay_unmarked_total", Help: "Claimed facts whose result PostgreSQL didn't take; they are delivered again.",
		})),
		lag: register(r, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_relay_lag_seconds", Help: "From recording a fact to its delivery.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		})),
		undelivered: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "muster_relay_undelivered", Help: "Facts that wait for delivery.",
		})),
		oldest: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "muster_relay_oldest_seconds", Help: "Age of the oldest fact that waits for delivery.",
		})),
	}
}

func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &already) {
		if former, ok := already.ExistingCollector.(C); ok {
			return former
		}
	}
	return c
}

func (m *meters) backlog(count int64, oldest time.Time) {
	m.undelivered.Set(float64(count))
	if count == 0 {
		m.oldest.Set(0)
		return
	}
	m.oldest.Set(time.Since(oldest).Seconds())
}
