package signals

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
)

const (
	firstBackoff = 100 * time.Millisecond
	// lastBackoff bounds how long after its return Temporal is noticed to be back.
	lastBackoff = 5 * time.Second
)

// health remembers whether something we depend on works, paces the attempts while it doesn't, and logs each change once.
type health struct {
	log  *slog.Logger
	what string

	mu    sync.Mutex
	fails int
	until time.Time
}

func newHealth(log *slog.Logger, what string) *health { return &health{log: log, what: what} }

func (h *health) good(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails > 0 {
		h.log.InfoContext(ctx, "relay goes on", "after", h.what)
	}
	h.fails, h.until = 0, time.Time{}
}

func (h *health) bad(ctx context.Context, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails == 0 {
		h.log.WarnContext(ctx, "relay waits, facts are kept", "for", h.what, "error", err)
	}
	h.fails++
	most := lastBackoff
	if h.fails < 10 {
		most = min(lastBackoff, firstBackoff<<h.fails)
	}
	// Jitter over the upper half, so that many relays don't come back in step.
	h.until = time.Now().Add(most/2 + rand.N(most/2))
}

func (h *health) down() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fails > 0
}

// wait sits out the back-off and reports whether ctx still lives.
func (h *health) wait(ctx context.Context) bool {
	h.mu.Lock()
	left := time.Until(h.until)
	h.mu.Unlock()
	if left <= 0 {
		return ctx.Err() == nil
	}
	return pause(ctx, left)
}

// isRefusal reports whether Temporal would refuse the same signal again. Everything else passes, or concerns all alike.
func isRefusal(err error) bool {
	var invalid *serviceerror.InvalidArgument
	var precondition *serviceerror.FailedPrecondition
	var tooMuch *serviceerror.DataLoss
	return errors.As(err, &invalid) || errors.As(err, &precondition) || errors.As(err, &tooMuch)
}
