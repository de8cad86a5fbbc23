package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/store"
)

// dutyBook says which devices are to be pushed and asked.
type dutyBook interface {
	DuePushes(ctx context.Context, limit int) (due []store.DuePush, claimed int, err error)
	Pushed(ctx context.Context, serial string, failure error) error
	DuePolls(ctx context.Context, limit int) ([]string, error)
	Poll(ctx context.Context, serial string) error
	NextDuty(ctx context.Context) (time.Time, error)
}

const (
	// pushesAtOnce bounds the calls to APNs; a slow one holds up no other before so many are slow.
	pushesAtOnce = 16
	// pollsAtOnce bounds the transactions that ask devices again.
	pollsAtOnce = 4
	// pushLimit bounds one call to APNs.
	pushLimit = 15 * time.Second
	// lookEvery finds duties that nobody was notified of: the store notifies only of what is due at once.
	lookEvery = 250 * time.Millisecond
	// troublePause is the wait while PostgreSQL is down.
	troublePause = 2 * time.Second
)

// duties pushes devices and asks again after installing apps. Several workers share the work; a duty whose worker died
// comes up again by itself.
type duties struct {
	book   dutyBook
	listen func(ctx context.Context, wake func()) error
	pusher Pusher
	log    *slog.Logger
	news   chan struct{}
	busy   sync.WaitGroup
	pushes chan struct{}
	polls  chan struct{}
	meter  *prometheus.CounterVec
}

func newDuties(db *store.DB, pusher Pusher, c Config) *duties {
	return &duties{
		book: db, listen: db.ListenDuties, pusher: pusher, log: c.Log, news: make(chan struct{}, 1),
		pushes: make(chan struct{}, pushesAtOnce), polls: make(chan struct{}, pollsAtOnce),
		meter: registered(c.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_pushes_total", Help: "Pushes to devices by how they went.",
		}, []string{"outcome"})),
	}
}

func (d *duties) wake() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *duties) run(ctx context.Context) {
	d.busy.Go(func() { d.keepListening(ctx) })
	defer d.busy.Wait()
	healthy := true
	for ctx.Err() == nil {
		err := d.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) != healthy {
			healthy = err == nil
			if healthy {
				d.log.InfoContext(ctx, "duties go on")
			} else {
				d.log.WarnContext(ctx, "duties wait for the database", "error", err)
			}
		}
		if err != nil {
			sleep(ctx, troublePause, nil)
			continue
		}
		sleep(ctx, d.untilNext(ctx), d.news)
	}
}

// look begins what is due, as far as hands are free.
func (d *duties) look(ctx context.Context) error {
	if free := cap(d.pushes) - len(d.pushes); free > 0 {
		due, claimed, err := d.book.DuePushes(ctx, free)
		if err != nil {
			return err
		}
		for _, p := range due {
			d.begin(d.pushes, func() { d.push(ctx, p) })
		}
		if claimed == free {
			d.wake() // there may be more
		}
	}
	if free := cap(d.polls) - len(d.polls); free > 0 {
		serials, err := d.book.DuePolls(ctx, free)
		if err != nil {
			return err
		}
		for _, serial := range serials {
			d.begin(d.polls, func() { d.poll(ctx, serial) })
		}
		if len(serials) == free {
			d.wake()
		}
	}
	return nil
}

func (d *duties) begin(hands chan struct{}, work func()) {
	hands <- struct{}{}
	d.busy.Go(func() {
		defer func() {
			if full := len(hands) == cap(hands); full {
				defer d.wake() // somebody may have been left waiting
			}
			<-hands
		}()
		work()
	})
}

func (d *duties) push(ctx context.Context, p store.DuePush) {
	// A push under way is finished although the worker stops: it was claimed and would come up again a minute late.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushLimit)
	defer cancel()
	err := d.pushSafely(ctx, p.UDID)
	if err != nil {
		d.meter.WithLabelValues("failed").Inc()
		if p.Try == 1 {
			d.log.WarnContext(ctx, "push failed", "serial", p.Serial, "error", err)
		}
	} else {
		d.meter.WithLabelValues("sent").Inc()
	}
	noting, cancelNoting := context.WithTimeout(context.WithoutCancel(ctx), pushLimit)
	defer cancelNoting()
	if err := d.book.Pushed(noting, p.Serial, err); err != nil {
		d.log.WarnContext(ctx, "result of a push not noted", "serial", p.Serial, "error", err)
	}
}

// pushSafely keeps a panic in a library's HTTP/2 code from ending the worker.
func (d *duties) pushSafely(ctx context.Context, udid string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pushing: panic: %v", r)
		}
	}()
	return d.pusher.Push(ctx, udid)
}

func (d *duties) poll(ctx context.Context, serial string) {
	if err := d.book.Poll(ctx, serial); err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "device not asked again", "serial", serial, "error", err)
	}
}

// untilNext is how long to sleep: until the next duty is due, with a look now and then.
func (d *duties) untilNext(ctx context.Context) time.Duration {
	at, err := d.book.NextDuty(ctx)
	if err != nil || at.IsZero() {
		return lookEvery
	}
	const least = 20 * time.Millisecond // all hands may be busy, and what is due can't be begun
	return min(max(time.Until(at), least), lookEvery)
}

func (d *duties) keepListening(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.listen(ctx, d.wake); ctx.Err() == nil {
			d.log.DebugContext(ctx, "listening for duties broke off", "error", err)
			sleep(ctx, lookEvery, nil)
		}
	}
}

func sleep(ctx context.Context, pause time.Duration, news <-chan struct{}) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-news:
	}
}
