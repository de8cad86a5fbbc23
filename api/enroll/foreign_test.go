package enroll_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	kitlog "github.com/go-kit/kit/log"
	scepserver "github.com/micromdm/scep/v2/server"
	"github.com/smallstep/scep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

// registry is a SCEP service that isn't ours, with a static challenge.
type registry struct {
	t      *testing.T
	ca     *x509.Certificate
	key    *rsa.PrivateKey
	server *httptest.Server
	issued atomic.Int64
	// plain leaves out all but the common name.
	plain atomic.Bool
}

const staticChallenge = "open sesame"

func newRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{t: t}
	var err error
	r.key, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Zylker CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, r.key.Public(), r.key)
	require.NoError(t, err)
	r.ca, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	service, err := scepserver.NewService(r.ca, r.key, scepserver.StaticChallengeMiddleware(staticChallenge, scepserver.SignCSRAdapter(scepserver.CSRSignerFunc(r.sign))))
	require.NoError(t, err)
	r.server = httptest.NewServer(scepserver.MakeHTTPHandler(scepserver.MakeServerEndpoints(service), service, kitlog.NewNopLogger()))
	t.Cleanup(r.server.Close)
	return r
}

func (r *registry) sign(m *scep.CSRReqMessage) (*x509.Certificate, error) {
	subject := m.CSR.Subject
	if r.plain.Load() {
		subject = pkix.Name{CommonName: subject.CommonName}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + r.issued.Add(1)), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, r.ca, m.CSR.PublicKey, r.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// used is a house whose devices get their certificates there.
func (r *registry) used(c *choices) {
	f, err := identity.LoadForeign(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.ca.Raw}))
	require.NoError(r.t, err)
	c.foreign, c.enroller.SCEPURL, c.enroller.StaticChallenge = f, r.server.URL+"/scep", staticChallenge
}

func TestDevicesEnrollAndRenewByAnExternalAuthority(t *testing.T) {
	for name, tt := range map[string]struct {
		device func(*sim.Config)
		plain  bool
	}{
		"the device authenticates": {func(*sim.Config) {}, false}, "the device just goes on": {silently, false},
		"the authority leaves out that it renews": {silently, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			r.plain.Store(tt.plain)
			h := build(t, r.used)
			d := h.enrolled(serial, tt.device)
			require.Equal(t, provision.Managed, h.device(serial).Management())
			require.Equal(t, "0", h.text(`SELECT count(*)::text FROM enrollment_challenges`))
			old := signing(h, d)
			h.renew(d)
			require.Equal(t, 1, h.device(serial).Activation.Epoch)
			require.Equal(t, "400 identity_refused", h.say(old, answerMedia, idle(d)).code())
			h.renew(d)
			require.Equal(t, "2", h.text(`SELECT count(*)::text FROM device_events WHERE kind = 'identity_renewed'`))

			d.Reset()
			require.NoError(t, d.PowerOn(t.Context(), h))
			require.Equal(t, 2, h.device(serial).Activation.Epoch)
			require.NoError(t, d.CheckOut(t.Context()))
			require.Equal(t, provision.StatusUnmanaged, h.device(serial).Status())
			require.Equal(t, "0", h.text(`SELECT count(*)::text FROM identities WHERE revoked_at IS NULL`))
		})
	}
}

// An authority that leaves out what a device asks for can't be told from one that has the device enroll anew: then everything is
// applied anew, which is dear but right.
func TestAuthenticateWithAPlainCertificateOpensAnEpoch(t *testing.T) {
	r := newRegistry(t)
	h := build(t, r.used)
	d := h.enrolled(serial)
	r.plain.Store(true)
	_, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	require.NoError(t, h.pusher.Push(t.Context(), d.UDID()))
	h.eventually("second enrollment", func() bool { return h.device(serial).Activation.Epoch == 2 && h.device(serial).Active() })
}

func TestCertificatesOfAnExternalAuthorityAreHeldAgainstTheDevice(t *testing.T) {
	r := newRegistry(t)
	h := build(t, r.used)
	d := h.enrolled(serial)
	h.register("C07Q853LG9RX")
	other := h.virtual("C07Q853LG9RX")
	require.NoError(t, other.PowerOn(t.Context(), h))

	authenticate := func(d *sim.Device, serial string) dict {
		return dict{"MessageType": "Authenticate", "UDID": d.UDID(), "Topic": topic, "SerialNumber": serial}
	}
	unasked := h.virtual(serial) // the same device with another certificate, that nobody asked it to get
	message, err := h.enroller.EnrollmentProfile(t.Context(), serial)
	require.NoError(t, err)
	require.NoError(t, unasked.Prepare(t.Context(), message))
	stranger := h.virtual("C07Q853LG9RY")
	h.register("C07Q853LG9RY")
	message, err = h.enroller.EnrollmentProfile(t.Context(), "C07Q853LG9RY")
	require.NoError(t, err)
	require.NoError(t, stranger.Prepare(t.Context(), message))
	h.exec(`DELETE FROM device_events WHERE serial = 'C07Q853LG9RY'`)
	h.exec(`DELETE FROM devices WHERE serial = 'C07Q853LG9RY'`)

	for name, say := range map[string]func() reply{
		"another device's":       func() reply { return h.say(signing(h, other), checkinMedia, authenticate(d, serial)) },
		"of an unknown device":   func() reply { return h.say(signing(h, stranger), checkinMedia, authenticate(stranger, "")) },
		"that wasn't asked for":  func() reply { return h.say(signing(h, unasked), answerMedia, idle(d)) },
		"for another identifier": func() reply { return h.say(signing(h, d), answerMedia, idle(other)) },
	} {
		before := h.counted()
		require.Equal(t, "400 identity_refused", say().code(), name)
		require.Equal(t, before, h.counted(), name)
	}

	without := build(t)
	without.register(serial)
	require.Equal(t, "400 identity_refused", without.say(signing(h, d), checkinMedia, authenticate(d, serial)).code(), "a server that has no such authority")
}
