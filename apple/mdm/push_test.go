package mdm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	nanomdm "github.com/micromdm/nanomdm/mdm"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

const topic = "com.apple.mgmt.External.6c3f1b0a-7f0a-4a52-9d5c-3b1f6e0a0001"

// enrolled stores a device with a push token, as a TokenUpdate does.
func enrolled(t *testing.T, s *mdm.Storage, udid string, token []byte) {
	t.Helper()
	r := nanomdm.NewRequestWithContext(t.Context(), nil)
	r.EnrollID = &nanomdm.EnrollID{Type: nanomdm.Device, ID: udid}
	e := nanomdm.Enrollment{UDID: udid}
	require.NoError(t, s.StoreAuthenticate(r, &nanomdm.Authenticate{Enrollment: e, Raw: []byte("<?xml?>")}))
	require.NoError(t, s.StoreTokenUpdate(r, &nanomdm.TokenUpdate{
		Enrollment: e, Push: nanomdm.Push{Topic: topic, PushMagic: "magic", Token: token}, Raw: []byte("<?xml?>"),
	}))
}

func startAPNs(t *testing.T) *sim.APNs {
	t.Helper()
	apns, err := sim.StartAPNs(t.Context(), sim.APNsConfig{Seed: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, apns.Close()) })
	return apns
}

func issue(t *testing.T, apns *sim.APNs) (certPEM, keyPEM []byte) {
	t.Helper()
	certPEM, keyPEM, err := apns.IssuePushCertificate(topic)
	require.NoError(t, err)
	return certPEM, keyPEM
}

func newPusher(t *testing.T, s *mdm.Storage, url string, caPEM []byte) *mdm.Pusher {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(caPEM))
	p, err := mdm.NewPusher(s, mdm.PushConfig{BaseURL: url, Roots: roots, Timeout: 10 * time.Second}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return p
}

// within fails the test instead of hanging it.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPushTellsWhyItFails(t *testing.T) {
	s, apns := newStorage(t), startAPNs(t)
	enrolled(t, s, "UNKNOWN-TOKEN", make([]byte, 32))
	enrolled(t, s, "BAD-TOKEN", []byte{1, 2, 3})
	p := newPusher(t, s, apns.URL(), apns.CACertPEM())

	err := p.Push(within(t), "UNKNOWN-TOKEN")
	require.ErrorIs(t, err, mdm.ErrCertificate, "there is none yet")
	require.Equal(t, provision.PushCertificateMissing, provision.CodeOf(err))

	certPEM, keyPEM := issue(t, apns)
	_, err = s.StorePushCertificate(t.Context(), certPEM, keyPEM)
	require.NoError(t, err)
	require.ErrorIs(t, p.Push(within(t), "NOBODY"), mdm.ErrNoToken)
	for _, udid := range []string{"UNKNOWN-TOKEN", "BAD-TOKEN"} {
		err = p.Push(within(t), udid)
		require.ErrorIs(t, err, mdm.ErrTokenDead)
		var refused *mdm.PushError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "BadDeviceToken", refused.Reason)
	}
}

// apple is a push service that answers as the test says.
func apple(t *testing.T, s *mdm.Storage, answer http.HandlerFunc) *mdm.Pusher {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	certPEM, keyPEM := issue(t, startAPNs(t))
	_, err := s.StorePushCertificate(t.Context(), certPEM, keyPEM)
	require.NoError(t, err)
	return newPusher(t, s, server.URL, encode("CERTIFICATE", server.Certificate().Raw))
}

func TestPushSendsWhatAppleWants(t *testing.T) {
	s := newStorage(t)
	enrolled(t, s, "UDID-1", []byte{0xab, 0xcd})
	var path, body, expires, protocol string
	p := apple(t, s, func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		path, body, expires, protocol = r.Method+" "+r.URL.Path, string(raw), r.Header.Get("apns-expiration"), r.Proto
	})
	require.NoError(t, p.Push(within(t), "UDID-1"))
	require.Equal(t, "POST /3/device/abcd", path)
	require.JSONEq(t, `{"mdm":"magic"}`, body)
	require.NotEmpty(t, expires)
	require.Equal(t, "HTTP/2.0", protocol)
}

func TestPushReadsRefusals(t *testing.T) {
	s := newStorage(t)
	enrolled(t, s, "UDID-1", []byte{0xab})
	var status int
	var reason map[string]any
	p := apple(t, s, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(reason)
	})
	died := time.UnixMilli(1_700_000_000_000)
	status, reason = http.StatusGone, map[string]any{"reason": "Unregistered", "timestamp": died.UnixMilli()}
	err := p.Push(within(t), "UDID-1")
	require.ErrorIs(t, err, mdm.ErrTokenDead)
	var refused *mdm.PushError
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.Since.Equal(died))

	status, reason = http.StatusForbidden, map[string]any{"reason": "BadCertificate"}
	require.ErrorIs(t, p.Push(within(t), "UDID-1"), mdm.ErrCertificate)

	status, reason = http.StatusServiceUnavailable, map[string]any{"reason": "Shutdown"}
	err = p.Push(within(t), "UDID-1")
	require.ErrorContains(t, err, "Shutdown")
	require.NotErrorIs(t, err, mdm.ErrTokenDead)
	require.NotErrorIs(t, err, mdm.ErrCertificate)

	status, reason = http.StatusInternalServerError, nil
	require.Error(t, p.Push(within(t), "UDID-1"))
}

func TestPushKnowsACertificateRefusedInTheHandshake(t *testing.T) {
	s := newStorage(t)
	enrolled(t, s, "UDID-1", []byte{0xab})
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.StartTLS()
	t.Cleanup(server.Close)
	certPEM, keyPEM := issue(t, startAPNs(t))
	_, err := s.StorePushCertificate(t.Context(), certPEM, keyPEM)
	require.NoError(t, err)
	p := newPusher(t, s, server.URL, encode("CERTIFICATE", server.Certificate().Raw))
	for try := 0; ; try++ {
		err := p.Push(within(t), "UDID-1")
		if errors.Is(err, mdm.ErrCertificate) {
			return
		}
		// The connection may break before the reason is read.
		require.Less(t, try, 20, "%v", err)
	}
}

// A service that says goodbye instead of answering must cost an error, not the process.
func TestPushSurvivesGoAway(t *testing.T) {
	s := newStorage(t)
	enrolled(t, s, "UDID-1", []byte{0xab})
	donor := httptest.NewUnstartedServer(nil)
	donor.EnableHTTP2 = true
	donor.StartTLS()
	t.Cleanup(donor.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: donor.TLS.Certificates, NextProtos: []string{"h2"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go goAway(listener)
	certPEM, keyPEM := issue(t, startAPNs(t))
	_, err = s.StorePushCertificate(t.Context(), certPEM, keyPEM)
	require.NoError(t, err)
	p := newPusher(t, s, "https://"+listener.Addr().String(), encode("CERTIFICATE", donor.Certificate().Raw))
	for range 3 {
		require.Error(t, p.Push(within(t), "UDID-1"))
	}
}

// goAway accepts connections and ends each with a GOAWAY once a request came.
func goAway(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			f := http2.NewFramer(conn, conn)
			_ = f.WriteSettings()
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := frame.(*http2.HeadersFrame); ok {
					_ = f.WriteGoAway(h.StreamID, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`))
					return
				}
			}
		}()
	}
}

func TestPushCertificateIsCheckedAndRenewed(t *testing.T) {
	s, apns := newStorage(t), startAPNs(t)
	_, err := s.Topic(t.Context())
	require.Equal(t, provision.PushCertificateMissing, provision.CodeOf(err))

	certPEM, keyPEM := issue(t, apns)
	otherCert, otherKey := issue(t, apns)
	for name, pair := range map[string][2][]byte{
		"key of another": {certPEM, otherKey},
		"no pem":         {[]byte("x"), []byte("y")},
		"no topic":       selfSigned(t, time.Now().Add(time.Hour), ""),
		"expired":        selfSigned(t, time.Now().Add(-time.Minute), topic),
	} {
		_, err := s.StorePushCertificate(t.Context(), pair[0], pair[1])
		require.Equal(t, provision.Invalid, provision.CodeOf(err), "%s: %v", name, err)
	}
	stored, err := s.StorePushCertificate(t.Context(), certPEM, keyPEM)
	require.NoError(t, err)
	require.Equal(t, topic, stored.Topic)
	require.True(t, stored.NotAfter.After(time.Now()))

	_, err = s.StorePushCertificate(t.Context(), otherCert, otherKey)
	require.NoError(t, err, "renewed")
	all, err := s.PushCertificates(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	got, err := s.Topic(t.Context())
	require.NoError(t, err)
	require.Equal(t, topic, got)
}

func TestPusherWantsHTTPS(t *testing.T) {
	_, err := mdm.NewPusher(newStorage(t), mdm.PushConfig{BaseURL: "http://127.0.0.1:1"}, nil)
	require.ErrorContains(t, err, "https")
}
