package devstack

import (
	"context"
	"fmt"
	"time"
)

// Between two looks at a server that comes up.
const (
	pollEvery  = 50 * time.Millisecond
	tryAtMost  = 3 * time.Second
	readyLimit = 90 * time.Second // a cold disk, a slow machine, recovery after a crash
)

// poll repeats try until it succeeds, the process (nil: none) ends, or the context or readyLimit does.
func poll(ctx context.Context, p *process, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	var ended <-chan struct{}
	if p != nil {
		ended = p.done
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		once, done := context.WithTimeout(ctx, tryAtMost)
		err := try(once)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return p.err
		case <-ctx.Done():
			if p == nil {
				return fmt.Errorf("waiting: %w (%w)", ctx.Err(), err)
			}
			return fmt.Errorf("waiting for %s: %w (%w); the end of its log:\n%s", p.name, ctx.Err(), err, indent(p.LogTail(20)))
		case <-tick.C:
		}
	}
}
