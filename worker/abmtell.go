package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// keepTelling tells devices how their servers stand: soon after a notice, and now and then.
func (k *abmKeeper) keepTelling(ctx context.Context) {
	for ctx.Err() == nil {
		told, err := k.store.TellABMHealth(ctx)
		if told > 0 {
			k.log.InfoContext(ctx, "devices told how apple business manager stands", "devices", told)
		}
		if err != nil {
			if ctx.Err() == nil {
				k.log.WarnContext(ctx, "devices not told of apple business manager", "error", err)
			}
			sleep(ctx, troublePause, nil)
			continue
		}
		sleep(ctx, lookEvery, nil)
		sleep(ctx, abmSweepEvery, k.health)
	}
}

// keepComparing compares which profiles devices should have with what Apple says: soon after a notice, and now and then, as far as
// its share of the time allows.
func (k *abmKeeper) keepComparing(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := k.compare(ctx); err != nil {
			if ctx.Err() == nil {
				k.log.WarnContext(ctx, "device profiles not compared", "error", err)
			}
			sleep(ctx, troublePause, nil)
			continue
		}
		took := time.Since(began)
		sleep(ctx, max(took*sweepShare, lookEvery), nil)
		sleep(ctx, abmSweepEvery, k.sweep)
	}
}

func (k *abmKeeper) compare(ctx context.Context) error {
	servers, err := k.servers(ctx)
	if err != nil {
		return err
	}
	for _, s := range servers {
		owed, err := k.store.SweepProfiles(ctx, s.Name)
		if err != nil {
			return err
		}
		if owed > 0 {
			k.log.InfoContext(ctx, "device profiles to be assigned", "server", s.Name, "devices", owed)
			nudge(k.news)
		}
	}
	return nil
}

const day = 24 * time.Hour

// tokenWarning is how long before a server token ends it is warned of: whoever can renew it may be on holiday.
const tokenWarning = 30 * day

// watchTokens notes a token that ended, though nothing is asked, and warns of those that end soon, once a day.
func (k *abmKeeper) watchTokens(ctx context.Context, servers []store.ABMServer) error {
	now := k.store.Now()
	for _, s := range servers {
		if s.TokenExpiresAt == nil || s.Health == store.Unlinked {
			continue
		}
		left := s.TokenExpiresAt.Sub(now)
		if left <= 0 && s.Blocked() != provision.BlockedTokenExpired {
			detail := fmt.Sprintf("The server token ended on %s.", s.TokenExpiresAt.UTC().Format(time.DateOnly))
			if _, err := k.store.ABMFailed(ctx, s, provision.BlockedTokenExpired, detail); err != nil {
				return err
			}
		}
		today := now.UTC().Format(time.DateOnly)
		if left > tokenWarning || k.warned[s.Name] == today {
			continue
		}
		k.warned[s.Name] = today
		k.log.WarnContext(ctx, "server token of apple business manager ends", "server", s.Name, "at", s.TokenExpiresAt.UTC(), "days", max(int(left/day), 0))
	}
	return nil
}
