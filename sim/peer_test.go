package sim_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kitlog "github.com/go-kit/kit/log"
	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/cryptoutil"
	mdmhttp "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push/nanopush"
	pushsvc "github.com/micromdm/nanomdm/push/service"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/inmem"
	scepserver "github.com/micromdm/scep/v2/server"
	"github.com/smallstep/scep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

const (
	topic     = "com.apple.mgmt.External.6c3f1b0a-7f0a-4a52-9d5c-3b1f6e0a0001"
	challenge = "open sesame"
	deadline  = 20 * time.Second
)

type dict = map[string]any

var quick = sim.Span{Min: time.Millisecond, Max: 20 * time.Millisecond}

// peer is an MDM server that is not ours: nanomdm's core, micromdm's SCEP server, nanopush as the push client.
type peer struct {
	t      *testing.T
	store  *inmem.InMem
	apns   *sim.APNs
	push   *pushsvc.PushService
	server *httptest.Server
	serial atomic.Int64
	ca     *x509.Certificate
	caKey  *rsa.PrivateKey
	// unwatched lets traffic pass that breaks the schema on purpose.
	unwatched atomic.Bool
	// renewing: an Authenticate is that of a renewed identity. NanoMDM would clear the queue, and its in-memory store would then
	// refuse for ever the answer to the command that renewed it.
	renewing atomic.Bool

	queue sync.Mutex // the in-memory queue loses commands when it is written to from two sides

	mu        sync.Mutex
	checkins  []string
	answers   map[string][]*mdm.CommandResults
	ranges    atomic.Int32 // requests for a part of a book
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

func newPeer(t *testing.T) *peer { return startPeer(t, false) }

func startPeer(t *testing.T, secure bool) *peer {
	t.Helper()
	p := &peer{t: t, store: inmem.New(), answers: map[string][]*mdm.CommandResults{}}
	apns, err := sim.StartAPNs(t.Context(), sim.APNsConfig{Seed: 1})
	require.NoError(t, err)
	p.apns = apns
	t.Cleanup(func() { require.NoError(t, apns.Close()) })
	p.makeCA()
	handler := p.handler()
	if watcher, ok := schemaflag.Watch(t); ok {
		watched, plain := watcher.Handler(handler), handler
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if p.unwatched.Load() {
				plain.ServeHTTP(w, r)
				return
			}
			watched.ServeHTTP(w, r)
		})
	}
	p.server = httptest.NewUnstartedServer(handler)
	if secure {
		p.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(p.server.Close)
	p.setUpPush()
	return p
}

func (p *peer) makeCA() {
	var err error
	p.caKey, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(p.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Peer CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.caKey.Public(), p.caKey)
	require.NoError(p.t, err)
	p.ca, err = x509.ParseCertificate(der)
	require.NoError(p.t, err)
}

func (p *peer) handler() http.Handler {
	var logger log.Logger = log.NopLogger
	mux := http.NewServeMux()
	svc, err := scepserver.NewService(p.ca, p.caKey, scepserver.StaticChallengeMiddleware(challenge, scepserver.SignCSRAdapter(scepserver.CSRSignerFunc(p.sign))))
	require.NoError(p.t, err)
	mux.Handle("/scep", scepserver.MakeHTTPHandler(scepserver.MakeServerEndpoints(svc), svc, kitlog.NewNopLogger()))
	core := certauth.New(&recording{CheckinAndCommandService: nanomdm.New(p.store), peer: p}, p.store)
	var h http.Handler = mdmhttp.CheckinAndCommandHandler(core, logger)
	h = mdmhttp.CertVerifyMiddleware(h, verifier{p.ca}, logger)
	h = mdmhttp.CertExtractTLSMiddleware(h, logger)
	h = mdmhttp.CertExtractMdmSignatureMiddleware(h, mdmhttp.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature))
	mux.Handle("/mdm", h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		intercept := p.intercept
		p.mu.Unlock()
		if intercept != nil && intercept(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type verifier struct{ ca *x509.Certificate }

func (v verifier) Verify(_ context.Context, cert *x509.Certificate) error {
	if cert == nil {
		return errors.New("no certificate")
	}
	return cert.CheckSignatureFrom(v.ca)
}

func (p *peer) sign(m *scep.CSRReqMessage) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + p.serial.Add(1)), Subject: m.CSR.Subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, m.CSR.PublicKey, p.caKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// recording keeps what passes between the certificate check and the core.
type recording struct {
	service.CheckinAndCommandService
	peer *peer
}

func (r *recording) note(checkin string) {
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	r.peer.checkins = append(r.peer.checkins, checkin)
}

func (r *recording) Authenticate(q *mdm.Request, m *mdm.Authenticate) error {
	r.note("Authenticate")
	if r.peer.renewing.Load() {
		return nil
	}
	return r.CheckinAndCommandService.Authenticate(q, m)
}

func (r *recording) TokenUpdate(q *mdm.Request, m *mdm.TokenUpdate) error {
	r.note("TokenUpdate")
	return r.CheckinAndCommandService.TokenUpdate(q, m)
}

func (r *recording) CheckOut(q *mdm.Request, m *mdm.CheckOut) error {
	r.note("CheckOut")
	return r.CheckinAndCommandService.CheckOut(q, m)
}

func (r *recording) CommandAndReportResults(q *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	r.peer.queue.Lock()
	defer r.peer.queue.Unlock()
	told := m
	if m.CommandUUID != "" && slices.ContainsFunc(r.peer.answersTo(m.CommandUUID), isSettled) {
		// The in-memory queue loses what is queued when a command is answered twice, so it hears the first answer only.
		told = &mdm.CommandResults{Enrollment: m.Enrollment, Status: "Idle"}
	}
	next, err := r.CheckinAndCommandService.CommandAndReportResults(q, told)
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	r.peer.answers[m.CommandUUID] = append(r.peer.answers[m.CommandUUID], m)
	return next, err
}

func isSettled(a *mdm.CommandResults) bool { return a.Status != "NotNow" }

func (p *peer) setUpPush() {
	cert, key, err := p.apns.IssuePushCertificate(topic)
	require.NoError(p.t, err)
	require.NoError(p.t, p.store.StorePushCert(context.Background(), cert, key))
	factory := nanopush.NewFactory(nanopush.WithNewClient(func(pair *tls.Certificate) (*http.Client, error) {
		return pushClient(p.t, p.apns, pair), nil
	}))
	var logger log.Logger = log.NopLogger
	p.push = pushsvc.New(p.store, p.store, factory, logger)
}

// pushClient trusts the virtual service and finds it behind every host name, Apple's among them.
func pushClient(t *testing.T, apns *sim.APNs, pair *tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(apns.CACertPEM()))
	config := &tls.Config{RootCAs: roots}
	if pair != nil {
		config.Certificates = []tls.Certificate{*pair}
	}
	address, err := url.Parse(apns.URL())
	require.NoError(t, err)
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address.Host)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
