package throttle

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEachCallerHasABucket(t *testing.T) {
	l := New(1e-3, 2)
	require.Zero(t, l.Wait("a"))
	require.Zero(t, l.Wait("a"))
	wait := l.Wait("a")
	require.InDelta(t, 1000, wait.Seconds(), 1)
	require.InDelta(t, wait.Seconds(), l.Wait("a").Seconds(), 1, "who is refused loses nothing")
	require.Zero(t, l.Wait("b"))
	require.Equal(t, "1000", Seconds(999_100*time.Millisecond))
}

func TestMemoryIsBounded(t *testing.T) {
	idle := New(1e9, 1)
	busy := New(1e-6, 1)
	for i := range 3 * mostBuckets {
		require.Zero(t, busy.Wait(strconv.Itoa(i)))
		idle.Wait(strconv.Itoa(i))
	}
	require.LessOrEqual(t, len(idle.bucket), mostBuckets)
	require.LessOrEqual(t, len(busy.bucket), mostBuckets)
}

func TestManyAtOnceGetNoMoreThanTheBurst(t *testing.T) {
	l := New(1e-6, 10)
	var passed atomic.Int64
	var together sync.WaitGroup
	for range 50 {
		together.Go(func() {
			if l.Wait("a") == 0 {
				passed.Add(1)
			}
		})
	}
	together.Wait()
	require.Equal(t, int64(10), passed.Load())
}
