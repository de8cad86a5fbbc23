package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/worker"
)

// An administrator is told of a device that should have come once, and counts it until it comes.
func TestOverdueReservationsAreToldOnceAndCounted(t *testing.T) {
	f := newFleet(t)
	record := func(serial string, fact provision.Fact, expected *time.Time) {
		_, err := f.db.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
			if expected != nil {
				c.Expect(*expected)
			}
			_, err := c.Record(ctx, fact)
			return err
		})
		require.NoError(t, err)
	}
	yesterday, tomorrow := time.Now().Add(-24*time.Hour), time.Now().Add(24*time.Hour)
	reserved := provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{}}
	record("C07Q853LG9RM", reserved, &yesterday)
	record("C07Q853LG9RN", reserved, &tomorrow)
	record("C07Q853LG9RP", reserved, nil)
	var out bytes.Buffer
	metrics := prometheus.NewRegistry()
	look := worker.WaitingRoom(f.db, worker.Config{Log: slog.New(slog.NewTextHandler(&out, nil)), Metrics: metrics})
	counted := func() float64 {
		families, err := metrics.Gather()
		require.NoError(t, err)
		require.Len(t, families, 1)
		require.Equal(t, "muster_reservations_overdue", families[0].GetName())
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	for range 3 {
		look(t.Context())
		require.InDelta(t, 1, counted(), 0)
	}
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("reserved device is overdue")), out.String())
	require.Contains(t, out.String(), "serial=C07Q853LG9RM")
	record("C07Q853LG9RM", provision.Fact{Kind: provision.Authenticated, Epoch: 1}, nil)
	look(t.Context())
	require.Zero(t, counted())
}
