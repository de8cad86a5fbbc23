package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/worker"
)

// renewer counts who was to renew.
type renewer struct {
	mu    sync.Mutex
	asked map[string]int
	fail  map[string]int // serial → times still to fail
	held  map[string]bool
}

func (r *renewer) Renew(_ context.Context, serial string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[serial]++
	if r.fail[serial] > 0 {
		r.fail[serial]--
		return false, errors.New("no push certificate")
	}
	return !r.held[serial], nil
}

func (r *renewer) times(serial string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[serial]
}

func (f *fleet) managed(n int) {
	f.t.Helper()
	for i := range n {
		f.record(serial(i), provision.Fact{Kind: provision.Authenticated, Epoch: 1}, provision.Fact{Kind: provision.Activated, Epoch: 1})
	}
}

func TestDevicesRenewWhileTemporalIsDown(t *testing.T) {
	f := newFleet(t)
	const n = 100 // more than are claimed in one go
	f.managed(n)
	f.exec(`UPDATE devices SET renew_at = now() - interval '1 minute'`)
	f.exec(`UPDATE devices SET renew_at = now() + interval '1 hour' WHERE serial = $1`, serial(n-1))
	r := &renewer{asked: map[string]int{}, fail: map[string]int{serial(1): 1}, held: map[string]bool{serial(2): true}}
	metrics := prometheus.NewRegistry()
	f.run(withoutTemporal(t), worker.Config{Renewer: r, LookForRenewals: 20 * time.Millisecond, Metrics: metrics})
	f.run(withoutTemporal(t), worker.Config{Renewer: r, LookForRenewals: 20 * time.Millisecond, Metrics: metrics})
	f.eventually("all that are due to renew", func() bool {
		for i := range n - 1 {
			if r.times(serial(i)) == 0 {
				return false
			}
		}
		return true
	})
	for i := range n - 1 {
		require.Equal(t, 1, r.times(serial(i)), "one of the workers asks, and looks again in an hour")
	}
	require.Zero(t, r.times(serial(n-1)))
	f.exec(`UPDATE devices SET renew_at = now() WHERE serial IN ($1, $2)`, serial(1), serial(n-1))
	f.eventually("those that come up", func() bool { return r.times(serial(1)) == 2 && r.times(serial(n-1)) == 1 })
	f.eventually("metrics", func() bool {
		got := map[string]float64{}
		families, err := metrics.Gather()
		require.NoError(t, err)
		for _, family := range families {
			if family.GetName() == "muster_identity_renewals_total" {
				for _, m := range family.GetMetric() {
					got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		return got["sent"] == n-1 && got["failed"] == 1 && got["waiting"] == 1
	})
}

func TestWorkerPlansRenewalsAtItsStart(t *testing.T) {
	f := newFleet(t)
	f.managed(1)
	hash := "0000000000000000000000000000000000000000000000000000000000000001"
	f.exec(`INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after) VALUES ($1, $2, 1, 'x', now(), now() + interval '2 years')`, hash, serial(0))
	f.exec(`UPDATE devices SET identity = $1, renew_at = now() + interval '1 day'`, hash)
	f.run(withoutTemporal(t), worker.Config{Renewer: &renewer{}, LookForRenewals: time.Hour})
	f.eventually("the plan", func() bool { return f.text(`SELECT count(*)::text FROM devices WHERE renew_at IS NULL`) == "1" })
}

func TestWorkerWithoutARenewerLeavesRenewalsAlone(t *testing.T) {
	f := newFleet(t)
	f.managed(1)
	f.exec(`UPDATE devices SET renew_at = now()`)
	stop := f.run(withoutTemporal(t), worker.Config{})
	f.plan(serial(1))
	f.eventually("other duties", f.verified(serial(1)))
	stop()
	require.Equal(t, "1", f.text(`SELECT count(*)::text FROM devices WHERE renew_at IS NOT NULL`))
}
