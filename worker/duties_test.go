package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/worker"
)

// withoutTemporal is a client to a server that isn't there: the duties must do without.
func withoutTemporal(t *testing.T) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestDevicesArePushedAndAskedWhileTemporalIsDown(t *testing.T) {
	f := newFleet(t)
	f.installing[serial(0)] = 4
	f.deaf[serial(1)] = 2
	metrics := prometheus.NewRegistry()
	f.run(withoutTemporal(t), worker.Config{Metrics: metrics})
	f.plan(serial(0))
	f.plan(serial(1))
	f.eventually("apps that take time are asked after", f.verified(serial(0)))
	f.eventually("a push that was lost is repeated", f.verified(serial(1)))
	require.GreaterOrEqual(t, f.pushes(serial(1)), 3)
	f.eventually("the wishes end", func() bool {
		return f.text(`SELECT count(*)::text FROM devices WHERE push_at IS NOT NULL OR poll_at IS NOT NULL`) == "0"
	})
	families, err := metrics.Gather()
	require.NoError(t, err)
	pushes := 0.0
	for _, family := range families {
		if family.GetName() == "muster_pushes_total" {
			pushes = family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.GreaterOrEqual(t, pushes, 4.0)
}

func TestFailedPushIsShownAndTriedAgain(t *testing.T) {
	f := newFleet(t)
	f.fail = errors.New("the push token is Unregistered")
	f.run(withoutTemporal(t), worker.Config{})
	f.plan(serial(0))
	f.eventually("the reason on the device's row", func() bool {
		return f.text(`SELECT push_error FROM devices`) == "the push token is Unregistered" && f.pushes(serial(0)) > 1
	})
	f.mu.Lock()
	f.fail = nil
	f.mu.Unlock()
	f.eventually("the device to be reached", f.verified(serial(0)))
	f.eventually("the reason to be gone", func() bool { return f.text(`SELECT push_error FROM devices`) == "" })
}

func TestOneBadPushHoldsUpNoOther(t *testing.T) {
	f := newFleet(t)
	hang := make(chan struct{})
	f.before = func(s string) {
		switch s {
		case serial(0):
			<-hang
		case serial(1):
			panic("a fault of a library")
		}
	}
	stop := f.run(withoutTemporal(t), worker.Config{})
	for i := range 6 {
		f.plan(serial(i))
	}
	for i := 2; i < 6; i++ {
		f.eventually("the others", f.verified(serial(i)))
	}
	f.eventually("the panic on the device's row", func() bool {
		return f.text(`SELECT push_error FROM devices WHERE serial = $1`, serial(1)) == "pushing: panic: a fault of a library"
	})
	close(hang)
	stop()
}

func TestNobodyIsPushedForNothing(t *testing.T) {
	f := newFleet(t)
	f.plan(serial(0)) // checked out meanwhile
	f.record(serial(0), provision.Fact{Kind: provision.CheckedOut, Epoch: 1})
	f.plan(serial(1)) // everything answered
	f.exec(`UPDATE device_commands SET status = 'Acknowledged' WHERE serial = $1`, serial(1))
	f.exec(`UPDATE devices SET push_at = now()`)
	due, claimed, err := f.db.DuePushes(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due)
	require.Equal(t, 2, claimed)
	require.Equal(t, "0", f.text(`SELECT count(*)::text FROM devices WHERE push_at IS NOT NULL`))
}

// Workers share the duties: each is claimed by one, and comes up again if that one dies.
func TestDutiesAreClaimedOnceAndNotLost(t *testing.T) {
	f := newFleet(t)
	const n = 40
	for i := range n {
		f.plan(serial(i))
	}
	f.exec(`UPDATE devices SET poll_at = now()`)
	var mu sync.Mutex
	pushes, polls := map[string]int{}, map[string]int{}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 5 {
				due, _, err := f.db.DuePushes(context.Background(), 7)
				if err != nil {
					t.Error(err)
				}
				asks, err := f.db.DuePolls(context.Background(), 7)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, p := range due {
					pushes[p.Serial]++
				}
				for _, s := range asks {
					polls[s]++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	require.Len(t, polls, n)
	for i := range n {
		require.Equal(t, 1, polls[serial(i)])
	}
	require.Len(t, pushes, n)
	// All the workers are dead: the pushes come up again, later each time, and the polls too.
	at, err := f.db.NextDuty(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, fastTiming().Repush(1)+time.Second)
	f.eventually("the second push", func() bool {
		due, _, err := f.db.DuePushes(t.Context(), n)
		require.NoError(t, err)
		for _, p := range due {
			pushes[p.Serial]++
			require.Greater(t, p.Try, 1)
		}
		return len(due) == 0 && pushes[serial(0)] > 1
	})
	require.Equal(t, "0", f.text(`SELECT count(*)::text FROM devices WHERE poll_at IS NULL`))
}

func TestPollOfADeviceThatLeft(t *testing.T) {
	f := newFleet(t)
	f.plan(serial(0))
	f.record(serial(0), provision.Fact{Kind: provision.CheckedOut, Epoch: 1})
	f.exec(`UPDATE devices SET poll_at = now()`)
	require.NoError(t, f.db.Poll(t.Context(), serial(0)))
	require.Equal(t, "0", f.text(`SELECT count(*)::text FROM devices WHERE poll_at IS NOT NULL`))
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(f.db.Poll(t.Context(), serial(1))))
}

func TestSignalByHandIsRecordedOnce(t *testing.T) {
	f := newFleet(t)
	f.record(serial(0), provision.Fact{Kind: provision.Registered})
	assigned := func(a provision.Assignment) provision.Fact {
		return provision.Fact{Kind: provision.Assigned, Assignment: &a, Source: provision.FromOperator}
	}
	for _, c := range []struct {
		fact provision.Fact
		code provision.Code
	}{
		{assigned(provision.Assignment{Groups: []string{"sales", "nobody"}}), provision.GroupNotFound},
		{assigned(provision.Assignment{UserID: "p9"}), provision.NotFound},
		{assigned(provision.Assignment{TechnicianID: "p1"}), provision.TechnicianNotFound},
	} {
		_, err := f.db.RecordByHand(t.Context(), serial(0), "run/0", c.fact)
		require.Equal(t, c.code, provision.CodeOf(err))
	}
	d, err := f.db.RecordByHand(t.Context(), serial(0), "run/1", assigned(provision.Assignment{UserID: "p1", Groups: []string{"SALES"}}))
	require.NoError(t, err)
	require.Equal(t, []string{"sales"}, d.Assignment.Groups)
	f.assign(serial(0), "drivers")
	d, err = f.db.RecordByHand(t.Context(), serial(0), "run/1", assigned(provision.Assignment{UserID: "p1", Groups: []string{"sales"}}))
	require.NoError(t, err)
	require.Equal(t, []string{"drivers"}, d.Assignment.Groups, "the retry doesn't override what came since")
	require.Equal(t, "3", f.text(`SELECT count(*)::text FROM device_events`))
	require.Equal(t, "1", f.text(`SELECT count(*)::text FROM device_events WHERE deliver`), "the workflow has its own signal")
	_, err = f.db.RecordByHand(t.Context(), serial(1), "run/1", provision.Fact{Kind: provision.Unassigned})
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
}

var _ worker.Keeper = (*store.DB)(nil)
