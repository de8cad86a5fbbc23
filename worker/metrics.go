package worker

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
)

// sdkLabels are the tags of the SDK's metrics that are kept. Prometheus wants the same labels on every series of a name;
// task queues that the SDK makes up for itself would make a series per process, so they aren't kept.
var sdkLabels = []string{"namespace", "operation", "workflow_type", "activity_type", "worker_type", "poller_type", "failure_reason"}

// NewMetricsHandler gives the Temporal SDK's own metrics to Prometheus as muster_sdk_…; use it as client.Options'
// MetricsHandler.
func NewMetricsHandler(r prometheus.Registerer) client.MetricsHandler {
	return &sdkMetrics{all: &sdkVectors{registerer: r, vectors: map[string]any{}}, values: make([]string, len(sdkLabels))}
}

// sdkVectors are the metrics made so far; the SDK names them as it goes.
type sdkVectors struct {
	registerer prometheus.Registerer
	mu         sync.Mutex
	vectors    map[string]any
}

type sdkMetrics struct {
	all    *sdkVectors
	values []string
}

// WithTags implements [client.MetricsHandler].
func (m *sdkMetrics) WithTags(tags map[string]string) client.MetricsHandler {
	values := append([]string(nil), m.values...)
	for i, label := range sdkLabels {
		if v, ok := tags[label]; ok {
			values[i] = v
		}
	}
	return &sdkMetrics{all: m.all, values: values}
}

// Counter implements [client.MetricsHandler].
func (m *sdkMetrics) Counter(name string) client.MetricsCounter {
	vec := vector(m.all, name, func(full string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: full + "_total", Help: "Of the Temporal SDK."}, sdkLabels)
	})
	return counter{vec.WithLabelValues(m.values...)}
}

// Gauge implements [client.MetricsHandler].
func (m *sdkMetrics) Gauge(name string) client.MetricsGauge {
	vec := vector(m.all, name, func(full string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: full, Help: "Of the Temporal SDK."}, sdkLabels)
	})
	return gauge{vec.WithLabelValues(m.values...)}
}

// Timer implements [client.MetricsHandler].
func (m *sdkMetrics) Timer(name string) client.MetricsTimer {
	vec := vector(m.all, name, func(full string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: full + "_seconds", Help: "Of the Temporal SDK.", Buckets: prometheus.ExponentialBuckets(.002, 3, 9),
		}, sdkLabels)
	})
	return timer{vec.WithLabelValues(m.values...)}
}

func vector[V prometheus.Collector](all *sdkVectors, name string, create func(full string) V) V {
	all.mu.Lock()
	defer all.mu.Unlock()
	if known, ok := all.vectors[name].(V); ok {
		return known
	}
	v := registered(all.registerer, create("muster_sdk_"+strings.ReplaceAll(strings.TrimPrefix(name, "temporal_"), "-", "_")))
	all.vectors[name] = v
	return v
}

// registered is the collector, or the one that was registered under its name before. r may be nil.
func registered[C prometheus.Collector](r prometheus.Registerer, c C) C {
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

type counter struct{ c prometheus.Counter }

// Inc implements [client.MetricsCounter].
func (c counter) Inc(n int64) { c.c.Add(float64(n)) }

type gauge struct{ g prometheus.Gauge }

// Update implements [client.MetricsGauge].
func (g gauge) Update(v float64) { g.g.Set(v) }

type timer struct{ o prometheus.Observer }

// Record implements [client.MetricsTimer].
func (t timer) Record(d time.Duration) { t.o.Observe(d.Seconds()) }
