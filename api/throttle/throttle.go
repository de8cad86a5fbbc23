// Package throttle slows down callers who ask too often.
package throttle

import (
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Throttle holds a token bucket for each caller who asked lately. It is safe for concurrent use.
type Throttle struct {
	mu     sync.Mutex
	rate   rate.Limit
	burst  int
	bucket map[string]*rate.Limiter
}

// New returns a throttle that lets every caller ask so many times a second, and so many times at once.
func New(perSecond float64, burst int) *Throttle {
	return &Throttle{rate: rate.Limit(perSecond), burst: burst, bucket: map[string]*rate.Limiter{}}
}

// mostBuckets bounds the memory. Full buckets are as good as none; if so many aren't, all callers begin anew.
const mostBuckets = 10_000

// Wait is how long the caller must wait; 0 = it may go on.
func (t *Throttle) Wait(caller string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	b := t.bucket[caller]
	if b == nil {
		if len(t.bucket) >= mostBuckets {
			t.forgetIdle(now)
		}
		b = rate.NewLimiter(t.rate, t.burst)
		t.bucket[caller] = b
	}
	r := b.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (t *Throttle) forgetIdle(now time.Time) {
	for caller, b := range t.bucket {
		if b.TokensAt(now) >= float64(t.burst) {
			delete(t.bucket, caller)
		}
	}
	if len(t.bucket) >= mostBuckets {
		clear(t.bucket)
	}
}

// Seconds writes a pause as the header Retry-After has it.
func Seconds(wait time.Duration) string { return strconv.Itoa(int(math.Ceil(wait.Seconds()))) }
