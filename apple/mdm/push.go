package mdm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/push/nanopush"
	"github.com/micromdm/nanomdm/push/service"

	"github.com/muster-mdm/muster/provision"
)

// Errors of [Pusher.Push] that decide what happens next; test with errors.Is.
var (
	// ErrTokenDead: Apple knows the push token no more; the device has to send a new one. Pushing again is useless.
	ErrTokenDead = errors.New("the push token is dead")
	// ErrNoToken: the device never sent a push token.
	ErrNoToken = errors.New("the device has no push token")
	// ErrCertificate: the push certificate is missing, expired or refused; an administrator has to renew it.
	ErrCertificate = errors.New("the push certificate is not accepted")
)

// PushError is a refusal by Apple's push service. It unwraps to [ErrTokenDead] or [ErrCertificate] where one fits.
type PushError struct {
	// Reason is Apple's word, such as Unregistered.
	Reason string
	// Since is when the token died, if Apple said so.
	Since time.Time
}

// Error names Apple's reason.
func (e *PushError) Error() string { return "the push service refused: " + e.Reason }

// TokenDead reports whether pushing again is useless until the device sends a new token.
func (e *PushError) TokenDead() bool { return errors.Is(e, ErrTokenDead) }

// Unwrap returns what the reason amounts to, or nil.
func (e *PushError) Unwrap() error {
	switch e.Reason {
	case "Unregistered", "BadDeviceToken", "ExpiredToken":
		return ErrTokenDead
	case "BadCertificate", "BadCertificateEnvironment", "Forbidden", "MissingProviderToken", "DeviceTokenNotForTopic",
		"TopicDisallowed", "BadTopic":
		return ErrCertificate
	}
	return nil
}

// PushConfig says how to reach Apple's push service; its zero value is Apple's production.
type PushConfig struct {
	// BaseURL replaces https://api.push.apple.com.
	BaseURL string
	// Roots are trusted instead of the system's.
	Roots *x509.CertPool
	// Timeout of one push; 0 = 30 s.
	Timeout time.Duration
	// KeepFor is how long Apple keeps a push for a device that is offline; 0 = a week.
	KeepFor time.Duration
}

// Pusher wakes devices. Its methods are safe for concurrent use.
type Pusher struct {
	service *service.PushService
}

// NewPusher returns a pusher that reads tokens and certificates from the storage, and notices renewed ones.
func NewPusher(s *Storage, c PushConfig, l *slog.Logger) (*Pusher, error) {
	var base *url.URL
	if c.BaseURL != "" {
		var err error
		if base, err = url.Parse(c.BaseURL); err != nil || base.Scheme != "https" || base.Host == "" {
			return nil, fmt.Errorf("the address of the push service, %q, is not an https one", c.BaseURL)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.KeepFor == 0 {
		c.KeepFor = 7 * 24 * time.Hour
	}
	factory := nanopush.NewFactory(
		nanopush.WithNewClient(func(cert *tls.Certificate) (*http.Client, error) { return c.client(cert, base), nil }),
		nanopush.WithExpiration(c.KeepFor))
	return &Pusher{service: service.New(s, s, factory, Logger(l))}, nil
}

func (c PushConfig) client(cert *tls.Certificate, base *url.URL) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		Protocols:       protocols,
		IdleConnTimeout: time.Hour, // Apple asks to keep connections open
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{*cert}, RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		// A connection that a firewall forgot would swallow every push until its time-out.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
	}
	return &http.Client{Transport: redirect{transport, base}, Timeout: c.Timeout}
}

// redirect sends what nanopush addresses to Apple, a constant there, to another server.
type redirect struct {
	next http.RoundTripper
	base *url.URL
}

// RoundTrip sends the request, to the other server if there is one.
func (t redirect) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.base == nil {
		return t.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = t.base.Scheme, t.base.Host, ""
	return t.next.RoundTrip(r)
}

// Push wakes the device enrolled under an id. An error may be one of [ErrTokenDead], [ErrNoToken], [ErrCertificate]; any
// other may pass.
func (p *Pusher) Push(ctx context.Context, udid string) (err error) {
	defer func() {
		// nanopush dereferences a response that isn't there when Apple closes the connection.
		if r := recover(); r != nil {
			err = fmt.Errorf("pushing to %s: the connection broke: %v", udid, r)
		}
	}()
	// One id a call: nanopush starts a goroutine for each of several, and maps answers by token, which may collide.
	responses, err := p.service.Push(ctx, []string{udid})
	if err != nil {
		return fmt.Errorf("pushing to %s: %w", udid, certificateProblem(err))
	}
	response := responses[udid]
	if response == nil {
		return fmt.Errorf("pushing to %s: no answer", udid)
	}
	if response.Err != nil {
		return fmt.Errorf("pushing to %s: %w", udid, meaning(response))
	}
	return nil
}

func certificateProblem(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: %w", ErrCertificate, provision.Errorf(provision.PushCertificateMissing, "There is no push certificate for the topic that the device enrolled with."))
	}
	return err
}

func meaning(r *push.Response) error {
	var refused *nanopush.JSONPushError
	switch {
	case errors.Is(r.Err, service.ErrIdNotFound):
		return ErrNoToken
	case errors.As(r.Err, &refused) && refused.Reason != "":
		e := &PushError{Reason: refused.Reason}
		if refused.Timestamp > 0 {
			e.Since = time.UnixMilli(refused.Timestamp)
		}
		return e
	case refusedByTLS(r.Err):
		return fmt.Errorf("%w: %w", ErrCertificate, r.Err)
	}
	return r.Err
}

// refusedByTLS: the other side ended the handshake over our certificate, as Apple does when it expired or was revoked.
// crypto/tls keeps the alert's number to itself, but all that are about certificates say so.
func refusedByTLS(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error" && strings.Contains(remote.Err.Error(), "certificate")
}
