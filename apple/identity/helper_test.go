package identity_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
)

const serial = "C07Q853LG9RM"

// newKey makes keys once: they are slow.
var newKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func key(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := newKey()
	require.NoError(t, err)
	return k
}

// shelf keeps the authority in memory, for the whole test process.
type shelf struct {
	mu        sync.Mutex
	cert, key []byte
}

func (s *shelf) Authority(_ context.Context, create func() ([]byte, []byte, error)) (certDER, keyDER []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert == nil {
		if s.cert, s.key, err = create(); err != nil {
			return nil, nil, err
		}
	}
	return s.cert, s.key, nil
}

var common shelf

func newAuthority(t testing.TB) *identity.Authority {
	t.Helper()
	a, err := identity.LoadAuthority(t.Context(), &common, identity.AuthorityConfig{KeyBits: 2048, Organization: "Zylker"})
	require.NoError(t, err)
	return a
}

// ledger knows one challenge at a time.
type ledger struct {
	challenge identity.ChallengeHash
	serial    string
	err       error
	redeemed  int
}

func (l *ledger) AddChallenge(_ context.Context, serial string, c identity.ChallengeHash, _ time.Duration) error {
	l.challenge, l.serial = c, serial
	return l.err
}

func (l *ledger) Redeem(_ context.Context, c identity.ChallengeHash, _ identity.KeyHash, issue func(string) ([]byte, error)) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	if c != l.challenge {
		return nil, provision.Errorf(provision.ChallengeRefused, "The challenge is unknown.")
	}
	l.redeemed++
	return issue(l.serial)
}

// client asks a SCEP service as a device does.
type client struct {
	t         testing.TB
	server    *httptest.Server
	ca        *x509.Certificate
	key       crypto.Signer
	challenge string
	kind      scep.MessageType
	get       bool
}

func newClient(t testing.TB, a *identity.Authority, l identity.Ledger) *client {
	t.Helper()
	server := httptest.NewServer(identity.NewSCEP(a, l, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return &client{t: t, server: server, ca: a.Certificate(), key: key(t), kind: scep.PKCSReq}
}

// message writes the request, signed by a certificate that the device makes for it.
func (c *client) message() []byte {
	c.t.Helper()
	der, err := x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{Subject: pkix.Name{CommonName: "whoever I like to be"}},
		ChallengePassword:  c.challenge,
	}, c.key)
	require.NoError(c.t, err)
	csr, err := x509.ParseCertificateRequest(der)
	require.NoError(c.t, err)
	return c.wrap(csr)
}

func (c *client) wrap(csr *x509.CertificateRequest) []byte {
	c.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key(c.t).Public(), key(c.t))
	require.NoError(c.t, err)
	self, err := x509.ParseCertificate(der)
	require.NoError(c.t, err)
	m, err := scep.NewCSRRequest(csr, &scep.PKIMessage{
		MessageType: c.kind, Recipients: []*x509.Certificate{c.ca}, SignerKey: key(c.t), SignerCert: self,
	})
	require.NoError(c.t, err)
	return m.Raw
}

func (c *client) do(method, operation, message string, body []byte) (int, []byte) {
	c.t.Helper()
	query := url.Values{"operation": {operation}}
	if message != "" {
		query.Set("message", message)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL+"?"+query.Encode(), bytes.NewReader(body))
	require.NoError(c.t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp.StatusCode, answer
}

// enroll sends a request and returns the answer in SCEP's terms.
func (c *client) enroll() *scep.PKIMessage {
	c.t.Helper()
	return c.send(c.message())
}

func (c *client) send(request []byte) *scep.PKIMessage {
	c.t.Helper()
	var status int
	var answer []byte
	if c.get {
		status, answer = c.do(http.MethodGet, "PKIOperation", base64.StdEncoding.EncodeToString(request), nil)
	} else {
		status, answer = c.do(http.MethodPost, "PKIOperation", "", request)
	}
	require.Equal(c.t, http.StatusOK, status, string(answer))
	m, err := scep.ParsePKIMessage(answer, scep.WithCACerts([]*x509.Certificate{c.ca}))
	require.NoError(c.t, err)
	return m
}

func (c *client) certificate(m *scep.PKIMessage) *x509.Certificate {
	c.t.Helper()
	require.Equal(c.t, scep.SUCCESS, m.PKIStatus)
	// The answer is for the certificate that signed the request, of which issuer and number count.
	recipient := &x509.Certificate{SerialNumber: big.NewInt(1), RawIssuer: []byte{0x30, 0x00}}
	require.NoError(c.t, m.DecryptPKIEnvelope(recipient, key(c.t)))
	return m.Certificate
}
