package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/smallstep/scep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
)

func TestSCEPCertifiesTheDeviceOfTheChallenge(t *testing.T) {
	for name, get := range map[string]bool{"POST": false, "GET": true} {
		t.Run(name, func(t *testing.T) {
			a, l := newAuthority(t), &ledger{}
			c := newClient(t, a, l)
			c.get = get
			var err error
			c.challenge, err = identity.NewChallenge(t.Context(), l, serial, 0)
			require.NoError(t, err)
			cert := c.certificate(c.enroll())
			require.Equal(t, serial, cert.Subject.CommonName, "not what the device called itself")
			require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
			require.True(t, key(t).PublicKey.Equal(cert.PublicKey))
			require.False(t, cert.IsCA)
			require.NoError(t, a.Verify(cert))
			require.NoError(t, a.Verify(cert), "remembered")
		})
	}
}

func TestSCEPRefusesInItsOwnTerms(t *testing.T) {
	small, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		change func(*client)
		want   scep.FailInfo
	}{
		"no challenge":      {func(c *client) { c.challenge = "" }, scep.BadRequest},
		"unknown challenge": {func(c *client) { c.challenge = "guessed" }, scep.BadRequest},
		"not RSA":           {func(c *client) { c.key = small }, scep.BadAlg},
		"weak key":          {func(c *client) { c.key = weak(t) }, scep.BadAlg},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{}
			c := newClient(t, newAuthority(t), l)
			c.challenge, err = identity.NewChallenge(t.Context(), l, serial, 0)
			require.NoError(t, err)
			tt.change(c)
			m := c.enroll()
			require.Equal(t, scep.FAILURE, m.PKIStatus)
			require.Equal(t, tt.want, m.FailInfo)
			require.Zero(t, l.redeemed)
		})
	}
}

func weak(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	return k
}

func TestSCEPRefusesARequestSignedByAnotherKey(t *testing.T) {
	l := &ledger{}
	c := newClient(t, newAuthority(t), l)
	der := append([]byte(nil), csrOf(t, c)...)
	der[len(der)-1] ^= 1 // the signature's last byte
	csr, err := x509.ParseCertificateRequest(der)
	require.NoError(t, err)
	m := c.send(c.wrap(csr))
	require.Equal(t, scep.FAILURE, m.PKIStatus)
	require.Equal(t, scep.BadMessageCheck, m.FailInfo)
}

func csrOf(t *testing.T, c *client) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, c.key)
	require.NoError(t, err)
	return der
}

func TestSCEPDoesNotEndAnEnrollmentOverAnOutage(t *testing.T) {
	l := &ledger{err: errors.New("the database is away, and its password is hunter2")}
	c := newClient(t, newAuthority(t), l)
	c.challenge = "any"
	status, body := c.do(http.MethodPost, "PKIOperation", "", c.message())
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotContains(t, string(body), "hunter2")
}

func TestSCEPSpeaksRFC8894(t *testing.T) {
	a := newAuthority(t)
	c := newClient(t, a, &ledger{})
	status, body := c.do(http.MethodGet, "GetCACaps", "", nil)
	require.Equal(t, http.StatusOK, status)
	for _, capability := range []string{"POSTPKIOperation", "SHA-256", "AES", "SCEPStandard"} {
		require.Contains(t, strings.Split(string(body), "\n"), capability)
	}
	status, body = c.do(http.MethodGet, "GetCACert", "Zylker", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, a.Certificate().Raw, body)

	for name, got := range map[string][2]int{
		"unknown operation": {first(c.do(http.MethodGet, "GetNextCACert", "", nil)), http.StatusBadRequest},
		"no operation":      {first(c.do(http.MethodGet, "", "", nil)), http.StatusBadRequest},
		"wrong method":      {first(c.do(http.MethodPut, "GetCACaps", "", nil)), http.StatusMethodNotAllowed},
		"not a message":     {first(c.do(http.MethodPost, "PKIOperation", "", []byte("hello"))), http.StatusBadRequest},
		"not base64":        {first(c.do(http.MethodGet, "PKIOperation", "%%%", nil)), http.StatusBadRequest},
		"too large":         {first(c.do(http.MethodPost, "PKIOperation", "", make([]byte, 65<<10))), http.StatusRequestEntityTooLarge},
	} {
		require.Equal(t, got[1], got[0], name)
	}
}

func TestSCEPTakesNothingMeantForAnotherAuthority(t *testing.T) {
	c := newClient(t, newAuthority(t), &ledger{})
	other, err := identity.LoadAuthority(t.Context(), &shelf{}, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(t, err)
	c.ca = other.Certificate()
	status, _ := c.do(http.MethodPost, "PKIOperation", "", c.message())
	require.Equal(t, http.StatusBadRequest, status)
}

func TestSCEPIssuesNothingForARenewal(t *testing.T) {
	c := newClient(t, newAuthority(t), &ledger{})
	c.kind = scep.RenewalReq
	status, _ := c.do(http.MethodPost, "PKIOperation", "", c.message())
	require.Equal(t, http.StatusBadRequest, status)
}

func TestSCEPAnswersAreEncryptedByWhatIsAnnounced(t *testing.T) {
	l := &ledger{}
	c := newClient(t, newAuthority(t), l)
	var err error
	c.challenge, err = identity.NewChallenge(t.Context(), l, serial, 0)
	require.NoError(t, err)
	_, answer := c.do(http.MethodPost, "PKIOperation", "", c.message())
	aes128CBC := []byte{0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02}
	require.True(t, bytes.Contains(answer, aes128CBC))
}

func first(status int, _ []byte) int { return status }
