package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// abmMeters shows the servers as they were last looked at; a server that is no more leaves no series behind.
type abmMeters struct {
	expires, synced, devices, duties, throttled, healthy *prometheus.Desc

	mu      sync.Mutex
	servers []store.ABMServer
	counts  map[string]map[provision.ABMVerb]int
}

func newABMMeters() *abmMeters {
	server := []string{"server"}
	return &abmMeters{
		expires: prometheus.NewDesc("muster_abm_token_expires_timestamp_seconds", "When the server token of an Apple Business Manager server ends.", server, nil),
		synced:  prometheus.NewDesc("muster_abm_last_sync_timestamp_seconds", "When a server's devices were listed last.", server, nil),
		devices: prometheus.NewDesc("muster_abm_devices", "Devices that a server lists.", server, nil),
		duties:  prometheus.NewDesc("muster_abm_duties", "Devices for which Apple is to be asked for something.", []string{"server", "verb"}, nil),
		throttled: prometheus.NewDesc("muster_abm_throttled_total",
			"How often Apple asked for a pause.", server, nil),
		healthy: prometheus.NewDesc("muster_abm_healthy", "1 while a server can be used, 0 while it is blocked.", server, nil),
	}
}

func (m *abmMeters) set(servers []store.ABMServer, counts map[string]map[provision.ABMVerb]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers, m.counts = servers, counts
}

// Describe implements [prometheus.Collector].
func (m *abmMeters) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.expires, m.synced, m.devices, m.duties, m.throttled, m.healthy} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *abmMeters) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	at := func(d *prometheus.Desc, when *time.Time, server string) {
		if when != nil {
			gauge(d, float64(when.Unix()), server)
		}
	}
	for _, s := range m.servers {
		if s.Health == store.Unlinked {
			continue
		}
		at(m.expires, s.TokenExpiresAt, s.Name)
		at(m.synced, s.SyncedAt, s.Name)
		gauge(m.devices, float64(s.Devices), s.Name)
		to <- prometheus.MustNewConstMetric(m.throttled, prometheus.CounterValue, float64(s.Throttled), s.Name)
		healthy := 0.0
		if s.Health == store.Healthy {
			healthy = 1
		}
		gauge(m.healthy, healthy, s.Name)
		for _, verb := range []provision.ABMVerb{provision.AssignProfile, provision.UnassignDevice, provision.ReleaseDevice} {
			gauge(m.duties, float64(m.counts[s.Name][verb]), s.Name, string(verb))
		}
	}
}
