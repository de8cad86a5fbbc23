package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// beatEvery is well below the activities' heartbeat time-out. The SDK sends as few of them as it needs.
const beatEvery = 3 * time.Second

// beating tells Temporal that the activity's worker lives, as long as the activity runs: what waits for Apple may take
// minutes, and a worker that died should be noticed in seconds. It returns what ends it.
func beating(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
