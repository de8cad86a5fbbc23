package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/store"
)

// oneServer is a store with one server, in which comparing profiles takes a while and goes wrong now and then.
type oneServer struct {
	abmStore
	took     time.Duration
	troubles map[int]error // by the number of the comparison, from 1, or of the telling, from -1
	compared []time.Time
	told     []time.Time
}

func (r *oneServer) TellABMHealth(context.Context) (int, error) {
	r.told = append(r.told, time.Now())
	return 0, r.troubles[-len(r.told)]
}

func (*oneServer) ABMServers(context.Context, store.Page) ([]store.ABMServer, error) {
	return []store.ABMServer{{Name: "school"}}, nil
}

func (r *oneServer) SweepProfiles(ctx context.Context, _ string) (int64, error) {
	r.compared = append(r.compared, time.Now())
	sleep(ctx, r.took, nil)
	return 0, r.troubles[len(r.compared)]
}

func TestAComparisonThatFailedIsMadeAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &oneServer{took: 100 * time.Millisecond, troubles: map[int]error{2: errors.New("deadlock detected")}}
		var out bytes.Buffer
		k := &abmKeeper{store: r, log: slog.New(slog.NewTextHandler(&out, nil)), sweep: make(chan struct{}, 1)}
		go k.keepComparing(ctx)
		<-time.After(2 * time.Minute)
		cancel()
		synctest.Wait()
		require.Greater(t, len(r.compared), 4)
		var pauses []time.Duration
		for i := range 3 {
			pauses = append(pauses, r.compared[i+1].Sub(r.compared[i])-r.took)
		}
		usual := r.took*sweepShare + abmSweepEvery
		require.Equal(t, []time.Duration{usual, troublePause, usual}, pauses, "what went wrong says nothing of how long a comparison takes")
		require.Contains(t, out.String(), "deadlock detected")
	})
}

func TestANoticeBringsAComparisonForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &oneServer{took: 100 * time.Millisecond}
		k := &abmKeeper{store: r, log: slog.New(slog.DiscardHandler), news: make(chan struct{}, 1), health: make(chan struct{}, 1), sweep: make(chan struct{}, 1)}
		go k.keepComparing(ctx)
		<-time.After(time.Second)
		k.wake()
		<-time.After(5 * time.Second)
		cancel()
		synctest.Wait()
		require.Len(t, r.compared, 2)
		require.Equal(t, r.took*(sweepShare+1), r.compared[1].Sub(r.compared[0]), "but no sooner than comparisons take their share of the time")
	})
}

// However long comparisons take, devices are told at once how their server stands: somebody may have renewed its token to go on.
func TestDevicesAreToldWhileProfilesAreCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &oneServer{took: time.Minute, troubles: map[int]error{-2: errors.New("the database is gone")}}
		var out bytes.Buffer
		k := &abmKeeper{
			store: r, log: slog.New(slog.NewTextHandler(&out, nil)),
			news: make(chan struct{}, 1), health: make(chan struct{}, 1), sweep: make(chan struct{}, 1),
		}
		began := time.Now()
		go k.keepComparing(ctx)
		go k.keepTelling(ctx)
		<-time.After(time.Second)
		k.wake()
		<-time.After(3 * time.Second)
		cancel()
		synctest.Wait()
		var at []time.Duration
		for _, then := range r.told {
			at = append(at, then.Sub(began))
		}
		require.Equal(t, []time.Duration{0, time.Second, time.Second + troublePause}, at)
		require.Len(t, r.compared, 1)
		require.Contains(t, out.String(), "the database is gone")
	})
}
