package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/muster-mdm/muster/store"
)

const (
	// purgeEvery is how often what is over is deleted. A process that lives shorter leaves it to the next.
	purgeEvery = 24 * time.Hour
	// purgeFirst is when a worker purges first after its start, so that many restarts don't keep it from it.
	purgeFirst = 10 * time.Minute
	// keepFor is how long what is over stays, for people who look into what went wrong.
	keepFor = 30 * 24 * time.Hour
)

// purger deletes what is over: the store.
type purger interface {
	Now() time.Time
	Purge(ctx context.Context, before time.Time) (store.Purged, error)
}

// keepPurging purges every day. Workers that are started together take different times.
func keepPurging(ctx context.Context, p purger, log *slog.Logger) {
	for pause := purgeFirst; ; pause = purgeEvery {
		sleep(ctx, pause/2+rand.N(pause), nil)
		if ctx.Err() != nil {
			return
		}
		purge(ctx, p, log)
	}
}

func purge(ctx context.Context, p purger, log *slog.Logger) {
	gone, err := p.Purge(ctx, p.Now().Add(-keepFor))
	switch {
	case err != nil && ctx.Err() == nil:
		log.WarnContext(ctx, "purge failed", "error", err)
	case gone != store.Purged{}:
		log.InfoContext(ctx, "purged", "queries", gone.Queries, "commands", gone.Commands, "challenges", gone.Challenges, "keys", gone.Keys,
			"rows", gone.Rows, "sign_ins", gone.SignIns, "files", gone.Files)
	}
}
