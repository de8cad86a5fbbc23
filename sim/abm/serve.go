package abm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Handler serves both of Apple's APIs, the token endpoint and, under /admin/, the portal. Their paths don't meet, so that
// one address stands for mdmenrollment.apple.com, account.apple.com and api-business.apple.com alike.
func (o *Organization) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", o.troubled(o.businessAPI()))
	mux.Handle("/auth/", o.troubled(o.tokenAPI()))
	mux.Handle("/admin/", http.NewCrossOriginProtection().Handler(o.admin()))
	mux.Handle("GET "+downloadPath+"{seal}/{name}", o.troubled(http.HandlerFunc(o.download)))
	mux.Handle("/", o.troubled(o.assignmentAPI()))
	return mux
}

// Listener is an organisation that listens.
type Listener struct {
	URL string // without a slash at its end

	server  *http.Server
	done    chan error
	hangUp  context.CancelFunc
	working sync.WaitGroup
}

// Listen serves the organisation at the address until Close; "127.0.0.1:0" takes a free port.
func (o *Organization) Listen(ctx context.Context, address string) (*Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for the virtual Apple Business Manager: %w", err)
	}
	callers, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	l := &Listener{URL: "http://" + listener.Addr().String(), done: make(chan error, 1), hangUp: hangUp}
	handler := o.Handler()
	l.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return callers },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.working.Add(1)
			defer l.working.Done()
			handler.ServeHTTP(w, r)
		}),
	}
	go func() { l.done <- l.server.Serve(listener) }()
	return l, nil
}

// Close ends all connections and waits until nothing is served any more. It may be called once.
func (l *Listener) Close() error {
	l.hangUp()
	err := l.server.Close()
	served := <-l.done
	l.working.Wait()
	if !errors.Is(served, http.ErrServerClosed) {
		return errors.Join(err, served)
	}
	return err
}
