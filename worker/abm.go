package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
)

// abmStore says how the servers of Apple Business Manager stand.
type abmStore interface {
	Now() time.Time
	ABMServers(ctx context.Context, p store.Page) ([]store.ABMServer, error)
	ABMFailed(ctx context.Context, server store.ABMServer, cause provision.BlockCause, detail string) (blocked bool, err error)
	SyncBegun(ctx context.Context, name string, wanted time.Time) error
	NextABMDuties(ctx context.Context) (map[string]time.Time, error)
	CountABMDuties(ctx context.Context) (map[string]map[provision.ABMVerb]int, error)
	TellABMHealth(ctx context.Context) (told int, err error)
	SweepProfiles(ctx context.Context, server string) (int64, error)
	ForgetDefinitionsElsewhere(ctx context.Context, address string) (int64, error)
}

// abmDoor begins the servers' workflows: signals.ABM.
type abmDoor interface {
	Plan(ctx context.Context, p signals.ABMPlan) error
	Planned(ctx context.Context) ([]string, error)
	Unplan(ctx context.Context, server string) error
	SyncNow(ctx context.Context, server string) error
	DutiesDue(ctx context.Context, server string) error
}

const (
	// abmPoll finds what nobody was notified of: duties that come up again, tokens that end.
	abmPoll = 5 * time.Second
	// abmSweepEvery is how often it is compared which profiles devices should have with what Apple says; assignments and groups
	// change that without a notice.
	abmSweepEvery = 30 * time.Second
	// sweepShare bounds sweeps to one part in so many of the time, however large the fleet.
	sweepShare = 20
	// abmPlansEvery is how often all schedules are compared with the servers, whoever changed them.
	abmPlansEvery = 10 * time.Minute
	// abmCallLimit bounds one call to Temporal.
	abmCallLimit = 20 * time.Second
	// abmPage is how many servers are read at a time.
	abmPage = 100
)

// abmKeeper has each server of Apple Business Manager synced by a schedule, its duties done, and its devices told how it
// stands. Every worker has one: all that it does may be done by several at once. While Temporal is down only the
// workflows wait; what is wished and due stays in the database.
type abmKeeper struct {
	store  abmStore
	listen func(ctx context.Context, wake func()) error
	door   abmDoor
	log    *slog.Logger
	meters *abmMeters
	// address is where devices enroll; "" = this process doesn't know.
	address string

	// news, health and sweep wake the three loops.
	news, health, sweep chan struct{}
	// plans are those that were made since all were compared, at plansAt.
	plans   map[string]signals.ABMPlan
	plansAt time.Time
	// warned is the day on which each server's ending token was warned of.
	warned map[string]string
}

func newABMKeeper(db *store.DB, door abmDoor, c Config) *abmKeeper {
	return &abmKeeper{
		store: db, listen: db.ListenABM, door: door, log: c.Log, meters: registered(c.Metrics, newABMMeters()), address: c.ABM.Addresses.Enroll,
		news: make(chan struct{}, 1), health: make(chan struct{}, 1), sweep: make(chan struct{}, 1),
		plans: map[string]signals.ABMPlan{}, warned: map[string]string{},
	}
}

func (k *abmKeeper) wake() {
	nudge(k.news)
	nudge(k.health)
	nudge(k.sweep)
}

func nudge(news chan<- struct{}) {
	select {
	case news <- struct{}{}:
	default:
	}
}

func (k *abmKeeper) run(ctx context.Context) {
	var busy sync.WaitGroup
	defer busy.Wait()
	busy.Go(func() { k.keepListening(ctx) })
	busy.Go(func() { k.keepTelling(ctx) })
	busy.Go(func() { k.keepComparing(ctx) })
	k.move(ctx)
	for healthy := true; ctx.Err() == nil; {
		next, err := k.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) != healthy {
			healthy = err == nil
			if healthy {
				k.log.InfoContext(ctx, "syncs and duties of apple business manager go on")
			} else {
				k.log.WarnContext(ctx, "syncs and duties of apple business manager wait", "error", err)
			}
		}
		if err != nil {
			sleep(ctx, abmPoll/2+rand.N(abmPoll), nil)
			continue
		}
		sleep(ctx, next, k.news)
	}
}

// move has device profiles defined anew if Muster's address has changed since they were: Apple would send devices to the old
// one.
func (k *abmKeeper) move(ctx context.Context) {
	for k.address != "" && ctx.Err() == nil {
		n, err := k.store.ForgetDefinitionsElsewhere(ctx, k.address)
		if err == nil {
			if n > 0 {
				k.log.InfoContext(ctx, "device profiles are defined anew for another address", "url", k.address, "profiles", n)
				nudge(k.sweep)
			}
			return
		}
		k.log.WarnContext(ctx, "device profiles not compared with the address", "error", err)
		sleep(ctx, abmPoll, nil)
	}
}

func (k *abmKeeper) keepListening(ctx context.Context) {
	for ctx.Err() == nil {
		if err := k.listen(ctx, k.wake); ctx.Err() == nil {
			k.log.DebugContext(ctx, "listening for apple business manager broke off", "error", err)
			sleep(ctx, abmPoll, nil)
		}
	}
}

// look does what is due and returns when to look again.
func (k *abmKeeper) look(ctx context.Context) (time.Duration, error) {
	servers, err := k.servers(ctx)
	if err != nil {
		return 0, err
	}
	if err := k.watchTokens(ctx, servers); err != nil {
		return 0, err
	}
	counts, err := k.store.CountABMDuties(ctx)
	if err != nil {
		return 0, err
	}
	k.meters.set(servers, counts)
	if len(servers) == 0 && len(k.plans) == 0 && !k.plansAt.IsZero() {
		return abmPoll, nil
	}
	if err := k.plan(ctx, servers); err != nil {
		return 0, err
	}
	if err := k.beginSyncs(ctx, servers); err != nil {
		return 0, err
	}
	return k.beginDuties(ctx)
}

func (k *abmKeeper) servers(ctx context.Context) ([]store.ABMServer, error) {
	var all []store.ABMServer
	for after := ""; ; {
		page, err := k.store.ABMServers(ctx, store.Page{After: after, Limit: abmPage})
		all = append(all, page...)
		if err != nil || len(page) < abmPage {
			return all, err
		}
		after = page[len(page)-1].Name
	}
}

// plan brings the schedules in line with the servers. Between two comparisons of all it minds those that were changed here.
func (k *abmKeeper) plan(ctx context.Context, servers []store.ABMServer) error {
	ctx, cancel := context.WithTimeout(ctx, abmCallLimit)
	defer cancel()
	all := time.Since(k.plansAt) > abmPlansEvery
	if all {
		clear(k.plans)
	}
	wanted := map[string]bool{}
	for _, s := range servers {
		if s.Health == store.Unlinked {
			continue
		}
		wanted[s.Name] = true
		p := signals.ABMPlan{Server: s.Name, Every: s.SyncEvery, Paused: s.Paused}
		if k.plans[s.Name] == p {
			continue
		}
		if err := k.door.Plan(ctx, p); err != nil {
			return err
		}
		k.plans[s.Name] = p
	}
	if !all && len(wanted) == len(k.plans) {
		return nil
	}
	if err := k.unplan(ctx, wanted); err != nil {
		return err
	}
	k.plansAt = time.Now()
	return nil
}

func (k *abmKeeper) unplan(ctx context.Context, wanted map[string]bool) error {
	planned, err := k.door.Planned(ctx)
	if err != nil {
		return err
	}
	for _, server := range planned {
		if wanted[server] {
			continue
		}
		if err := k.door.Unplan(ctx, server); err != nil {
			return err
		}
		k.log.InfoContext(ctx, "syncs ended", "server", server)
	}
	for server := range k.plans {
		if !wanted[server] {
			delete(k.plans, server)
		}
	}
	return nil
}

// beginSyncs has those servers synced for which it is wished. The wish is taken back only when Temporal has it; one that
// was made again since stays.
func (k *abmKeeper) beginSyncs(ctx context.Context, servers []store.ABMServer) error {
	ctx, cancel := context.WithTimeout(ctx, abmCallLimit)
	defer cancel()
	for _, s := range servers {
		if s.SyncWantedAt == nil || s.Paused || s.Health == store.Unlinked {
			continue
		}
		if err := k.door.SyncNow(ctx, s.Name); err != nil {
			return err
		}
		if err := k.store.SyncBegun(ctx, s.Name, *s.SyncWantedAt); err != nil {
			return err
		}
	}
	return nil
}

// beginDuties has duties done that are due and returns when the next are.
func (k *abmKeeper) beginDuties(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, abmCallLimit)
	defer cancel()
	next, err := k.store.NextABMDuties(ctx)
	if err != nil {
		return 0, err
	}
	pause, now := abmPoll, k.store.Now()
	for server, at := range next {
		if left := at.Sub(now); left > 0 {
			pause = min(pause, max(left, lookEvery))
			continue
		}
		if err := k.door.DutiesDue(ctx, server); err != nil {
			return 0, err
		}
	}
	return pause, nil
}
