package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const (
	// deskEvery finds operations that nobody was notified of: those that stumbled, and those of a worker that died.
	deskEvery = time.Second
	// pieceLimit bounds a piece of an operation: checking a file of some million rows is the longest.
	pieceLimit = 5 * time.Minute
	// waitingEvery is how often devices are looked for that should have come.
	waitingEvery = 10 * time.Minute
)

// operationBook has the work on many devices.
type operationBook interface {
	WorkOn(ctx context.Context) (id string, err error)
	Stumbled(ctx context.Context, id string) error
	ListenOperations(ctx context.Context, wake func()) error
}

// desk works on imports and other operations on many devices, a piece at a time. Several workers share them.
type desk struct {
	book   operationBook
	log    *slog.Logger
	news   chan struct{}
	pieces *prometheus.CounterVec
}

func newDesk(b operationBook, c Config) *desk {
	return &desk{
		book: b, log: c.Log, news: make(chan struct{}, 1),
		pieces: registered(c.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_operation_chunks_total", Help: "Pieces of imports and operations by how they went.",
		}, []string{"outcome"})),
	}
}

func (d *desk) run(ctx context.Context) {
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for ctx.Err() == nil {
			if err := d.book.ListenOperations(ctx, d.wake); ctx.Err() == nil {
				d.log.DebugContext(ctx, "listening for operations broke off", "error", err)
				sleep(ctx, deskEvery, nil)
			}
		}
	}()
	for ctx.Err() == nil {
		if !d.piece(ctx) {
			sleep(ctx, deskEvery, d.news)
		}
	}
	<-listening
}

func (d *desk) wake() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// piece reports whether there was something to do.
func (d *desk) piece(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, pieceLimit)
	defer cancel()
	id, err := d.book.WorkOn(limited)
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil && id == "":
		return false
	case err == nil:
		d.pieces.WithLabelValues("done").Inc()
		return true
	}
	d.pieces.WithLabelValues("failed").Inc()
	d.log.WarnContext(ctx, "operation not worked on", "operation", id, "error", err)
	if id == "" || provision.CodeOf(err) == provision.StorageUnavailable {
		return false
	}
	if err := d.book.Stumbled(ctx, id); err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "operation not put off", "operation", id, "error", err)
	}
	return false
}

// waitingRoom tells of devices that were reserved and should have come.
type waitingRoom struct {
	db      *store.DB
	log     *slog.Logger
	overdue prometheus.Gauge
}

func newWaitingRoom(db *store.DB, c Config) *waitingRoom {
	return &waitingRoom{db: db, log: c.Log, overdue: registered(c.Metrics, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "muster_reservations_overdue", Help: "Devices that are reserved and should have come.",
	}))}
}

func (w *waitingRoom) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.look(ctx)
		sleep(ctx, waitingEvery, nil)
	}
}

func (w *waitingRoom) look(ctx context.Context) {
	total, news, err := w.db.OverdueReservations(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "overdue devices not looked for", "error", err)
		}
		return
	}
	w.overdue.Set(float64(total))
	for serial, by := range news {
		w.log.WarnContext(ctx, "reserved device is overdue", "serial", serial, "expected_by", by)
	}
}
