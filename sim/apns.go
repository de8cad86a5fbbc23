package sim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Span is a range of durations; both ends belong to it. A zero Max means Min.
type Span struct{ Min, Max time.Duration }

// PushFaults is what goes wrong between the push service and its devices.
type PushFaults struct {
	Drop    float64 // share of the accepted pushes that never arrive
	Latency Span    // how long an accepted push is under way
}

// APNsConfig describes a virtual push service; its zero value is one without faults on a free loopback port.
type APNsConfig struct {
	Addr   string // host:port to listen on; empty means 127.0.0.1:0
	Seed   uint64 // decides which pushes the faults strike
	Faults PushFaults
	// AuthorityCertPEM and AuthorityKeyPEM continue with an earlier authority (see APNs.Authority),
	// so that push certificates outlive the process. Both empty means a new one.
	AuthorityCertPEM, AuthorityKeyPEM []byte
}

// APNsCounts counts the pushes since the start. Received is Accepted and Rejected together.
type APNsCounts struct {
	Received, Accepted, Rejected int
	Dropped                      int // accepted, lost by a fault
	Stored                       int // accepted for a device that was offline; a later one replaces an earlier
	Delivered                    int // handed to a device
}

// APNs is a virtual push service: the provider API's HTTP/2 endpoint POST /3/device/{token}, for MDM pushes only.
type APNs struct {
	authority *authority
	server    *http.Server
	url       string
	seed      uint64
	served    chan error
	detach    func() bool // from the context that ends the service

	mu      sync.Mutex
	closed  bool
	faults  PushFaults
	devices map[string]*registration // by token in lower-case hex
	timers  map[*time.Timer]bool
	counts  APNsCounts
}

// StartAPNs starts a push service; it ends when ctx does, or by Close.
func StartAPNs(ctx context.Context, cfg APNsConfig) (*APNs, error) {
	authority, err := chooseAuthority(cfg)
	if err != nil {
		return nil, err
	}
	cert, err := authority.serverCertificate()
	if err != nil {
		return nil, err
	}
	addr := cfg.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for pushes: %w", err)
	}
	a := &APNs{
		authority: authority,
		url:       "https://" + listener.Addr().String(),
		seed:      cfg.Seed,
		served:    make(chan error, 1),
		faults:    cfg.Faults,
		devices:   map[string]*registration{},
		timers:    map[*time.Timer]bool{},
	}
	a.server = a.newServer(cert)
	go func() { a.served <- a.server.ServeTLS(listener, "", "") }()
	a.detach = context.AfterFunc(ctx, func() { _ = a.shut() }) // nobody is left to hear of an error
	return a, nil
}

func chooseAuthority(cfg APNsConfig) (*authority, error) {
	if len(cfg.AuthorityCertPEM) == 0 && len(cfg.AuthorityKeyPEM) == 0 {
		return newAuthority()
	}
	return readAuthority(cfg.AuthorityCertPEM, cfg.AuthorityKeyPEM)
}

func (a *APNs) newServer(cert tls.Certificate) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true) // Apple speaks nothing older
	return &http.Server{
		Handler:           http.HandlerFunc(a.serve),
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{cert},
			MinVersion:   tls.VersionTLS12,
			// A foreign certificate is answered with a reason, as Apple does, instead of a broken handshake.
			ClientAuth: tls.RequestClientCert,
		},
	}
}

// URL is the base address, such as https://127.0.0.1:40123.
func (a *APNs) URL() string { return a.url }

// CACertPEM is the certificate that a client must trust to talk to the service.
func (a *APNs) CACertPEM() []byte { return encodePEM("CERTIFICATE", a.authority.cert.Raw) }

// Authority returns certificate and key of the authority, for APNsConfig of a later run.
func (a *APNs) Authority() (certPEM, keyPEM []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.authority.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding authority key: %w", err)
	}
	return a.CACertPEM(), encodePEM("PRIVATE KEY", der), nil
}

// IssuePushCertificate makes a push certificate and its RSA key for a topic, which must begin with com.apple.mgmt.
func (a *APNs) IssuePushCertificate(topic string) (certPEM, keyPEM []byte, err error) {
	return a.authority.pushCertificate(topic)
}

// Counts returns the counters as they are now.
func (a *APNs) Counts() APNsCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts
}

// SetFaults replaces the faults for the pushes to come.
func (a *APNs) SetFaults(f PushFaults) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = f
}

// Close stops the service at once; pushes still under way are lost. A second call does nothing.
func (a *APNs) Close() error {
	a.detach()
	return a.shut()
}

func (a *APNs) shut() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	for timer := range a.timers {
		timer.Stop()
	}
	a.mu.Unlock()
	if err := a.server.Close(); err != nil {
		return fmt.Errorf("closing push service: %w", err)
	}
	if err := <-a.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving pushes: %w", err)
	}
	return nil
}
