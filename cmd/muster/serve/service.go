// Package serve assembles Muster's rooms into a running service.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/store"
)

// maxHeaders leaves room for the longest that devices send, the signature of a message with its certificates.
const maxHeaders = 128 << 10

// stopLimit is how long requests under way may take when the service stops.
const stopLimit = 15 * time.Second

// Service is Muster in one process, in one or more roles.
type Service struct {
	settings settings.Serve
	log      *slog.Logger
	metrics  *prometheus.Registry
	db       *store.DB
	storage  *mdm.Storage
	temporal client.Client
	enroller *enroll.Enroller
	url      string
	tls      *tls.Config

	cancel context.CancelFunc
	done   chan struct{}
	err    error
	once   sync.Once
}

// Start starts the service and returns when it listens. Temporal needn't be there: what needs it waits. ctx bounds the
// start only.
func Start(ctx context.Context, s settings.Serve, log *slog.Logger) (*Service, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	svc := &Service{settings: s, log: log, metrics: newRegistry(), done: make(chan struct{})}
	if err := svc.start(ctx); err != nil {
		if svc.db != nil {
			svc.db.Close()
		}
		if store.LacksSchema(err) {
			err = fmt.Errorf("the database lacks Muster's schema, or has an older one: run muster migrate up (%w)", err)
		}
		return nil, err
	}
	return svc, nil
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func (svc *Service) start(ctx context.Context) error {
	if err := svc.openStore(ctx); err != nil {
		return err
	}
	if err := svc.dialTemporal(); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", svc.settings.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", svc.settings.Listen, err)
	}
	if err := svc.addresses(listener); err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := svc.makeEnroller(); err != nil {
		return errors.Join(err, listener.Close())
	}
	handler, err := svc.handler(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	moving, err := svc.worker()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	svc.cancel = cancel
	go svc.run(running, listener, handler, moving)
	svc.log.InfoContext(ctx, "service started", "url", svc.url, "roles", svc.settings.Roles, "version", Version())
	return nil
}

func (svc *Service) openStore(ctx context.Context) error {
	s := svc.settings
	timing := store.Timing{
		Poll: store.Backoff(s.PollFirst, s.PollMost), Repush: store.Backoff(s.RepushFirst, s.RepushMost),
		NotNow: s.NotNowPause, Connected: min(20*time.Second, 4*s.RepushFirst), RetryAfter: s.RetryAfter,
	}
	ring, err := s.Ring()
	if err != nil {
		return err
	}
	var sealed []mdm.Option
	if ring != nil {
		sealed = append(sealed, mdm.WithSealer(ring))
	}
	svc.db, err = store.Open(ctx, store.Config{URL: s.DatabaseURL, MaxConns: int32(min(s.DatabaseMaxConns, 1000))},
		store.WithEncoder(mdm.Encode), store.WithManagementIdentifier(identity.DefaultProfileIdentifier), store.WithTiming(timing), store.WithRenewal(s.IdentityRenewBefore), store.WithSealer(ring))
	if err != nil {
		return err
	}
	if svc.storage, err = mdm.NewStorage(svc.db.NanoMDM(), svc.log, sealed...); err != nil {
		return err
	}
	if s.BootstrapToken == "" {
		return nil
	}
	return svc.db.KeepToken(ctx, "bootstrap", store.Admin, s.BootstrapToken)
}

// run serves and works until the context ends or one of them fails.
func (svc *Service) run(ctx context.Context, l net.Listener, h http.Handler, moving func(context.Context) error) {
	defer close(svc.done)
	defer svc.db.Close()
	defer svc.temporal.Close()
	server := &http.Server{
		Handler: h, TLSConfig: svc.tls, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: maxHeaders,
		ErrorLog:       slog.NewLogLogger(svc.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 2)
	go func() { failed <- svc.listen(server, l) }()
	go func() { failed <- moving(ctx) }()
	running := 2
	select {
	case <-ctx.Done():
	case svc.err = <-failed:
		running--
	}
	svc.cancel()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	svc.err = errors.Join(svc.err, server.Shutdown(stopping))
	for range running {
		svc.err = errors.Join(svc.err, <-failed)
	}
	svc.log.InfoContext(stopping, "service stopped", "error", svc.err)
}

func (svc *Service) listen(server *http.Server, l net.Listener) error {
	var err error
	if svc.tls != nil {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving HTTP: %w", err)
}

// URL is the address under which the service is reached: the public one.
func (svc *Service) URL() string { return svc.url }

// Name is what supervisors call the service.
func (svc *Service) Name() string { return "muster" }

// Done is closed when the service has ended.
func (svc *Service) Done() <-chan struct{} { return svc.done }

// Err is why it ended, once [Service.Done] is closed; nil after [Service.Stop].
func (svc *Service) Err() error { return svc.err }

// Wait returns when the service or the context ends.
func (svc *Service) Wait(ctx context.Context) error {
	select {
	case <-svc.done:
		return svc.err
	case <-ctx.Done():
		return nil
	}
}

// Stop ends the service and waits for what is under way. It may be called more than once.
func (svc *Service) Stop() error {
	svc.once.Do(svc.cancel)
	<-svc.done
	return svc.err
}
