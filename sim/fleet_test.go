package sim_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

func TestSerials(t *testing.T) {
	all := sim.Serials(5, 2000)
	require.Equal(t, all[:10], sim.Serials(5, 10))
	require.NotEqual(t, all[:10], sim.Serials(6, 10))
	seen, lengths := map[string]bool{}, map[int]int{}
	for _, s := range all {
		require.False(t, seen[s])
		require.Equal(t, strings.ToUpper(s), s)
		seen[s] = true
		lengths[len(s)]++
	}
	require.InDelta(t, 1000, lengths[10], 5)
	require.Equal(t, 2000, lengths[10]+lengths[12])
}

func TestKeyPool(t *testing.T) {
	pool := sim.NewKeyPool(1024, 0)
	require.NoError(t, pool.Fill(t.Context(), 3))
	seen := map[string]bool{}
	for range 4 {
		key, err := pool.Get()
		require.NoError(t, err)
		seen[key.N.String()] = true
	}
	require.Len(t, seen, 4)

	shared, distinct := sim.NewKeyPool(1024, 2), sync.Map{}
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			if key, err := shared.Get(); err == nil {
				distinct.Store(key.N.String(), true)
			}
		})
	}
	users.Wait()
	n := 0
	distinct.Range(func(any, any) bool { n++; return true })
	require.Equal(t, 2, n)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, pool.Fill(ended, 9), context.Canceled)
	require.Error(t, sim.NewKeyPool(100, 0).Fill(t.Context(), 1))
}

func TestFleetEnrolsUnderFaults(t *testing.T) {
	p := newPeer(t)
	keys := sim.NewKeyPool(1024, 4)
	require.NoError(t, keys.Fill(t.Context(), 4))
	fleet, err := sim.NewFleet(sim.FleetConfig{
		Size: 24, Seed: 9, Exchanges: 8,
		Device: sim.Config{APNs: p.apns, Keys: keys, Backoff: quick, Faults: sim.Faults{
			LoseRequest: 0.1, LoseAnswer: 0.1, RepeatAnswer: 0.1, DuplicateTokenUpdate: 0.2,
			Install: sim.Span{Max: 5 * time.Millisecond},
		}},
		Vary: func(i int, c *sim.Config) { c.DeviceName = fmt.Sprintf("Device %d", i) },
	})
	require.NoError(t, err)
	t.Cleanup(fleet.Close)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { fleet.Run(ctx); close(ran) }()
	t.Cleanup(func() { cancel(); <-ran })

	enrolments := make(chan error, 24)
	for _, d := range fleet.Devices() {
		go func() { enrolments <- d.Enroll(ctx, p.profile()) }()
	}
	for range fleet.Devices() {
		require.NoError(t, <-enrolments)
	}
	for i, d := range fleet.Devices() {
		require.Same(t, d, fleet.Device(d.Serial()))
		p.enqueue(d, uuid(i), "InstallProfile", dict{"Payload": configuration("test.wifi")})
		p.enqueue(d, uuid(100+i), "InstallApplication", dict{"Identifier": "org.example.app"})
		p.wake(d)
	}
	for i, d := range fleet.Devices() {
		p.settled(uuid(100 + i))
		eventually(t, "app", func() bool { return d.Snapshot().App("org.example.app") == "Managed" })
		require.True(t, d.Snapshot().HasProfile("test.wifi"))
		require.Zero(t, sim.SentTwice(d.Log()))
		require.Equal(t, fmt.Sprintf("Device %d", i), d.Snapshot().Name)
	}
}

func TestIdleFleetIsCheap(t *testing.T) {
	fleet, err := sim.NewFleet(sim.FleetConfig{Size: 5000, Seed: 1})
	require.NoError(t, err)
	require.Len(t, fleet.Devices(), 5000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fleet.Run(ctx)
	fleet.Close()
	_, err = sim.NewFleet(sim.FleetConfig{Serials: []string{" "}})
	require.Error(t, err)
}
