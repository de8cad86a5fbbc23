package sim_test

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

func TestDeviceEnrolsStepByStep(t *testing.T) {
	p := newPeer(t)
	d := p.device(func(c *sim.Config) { c.AutomatedEnrollment, c.Await = true, true })
	p.run(d)
	require.ErrorIs(t, d.Authenticate(t.Context()), sim.ErrNotEnrolled)
	require.NoError(t, d.Prepare(t.Context(), p.profile()))
	require.Empty(t, p.checkinsSeen())
	require.NoError(t, d.Authenticate(t.Context()))
	require.False(t, d.Snapshot().Enrolled)
	require.Equal(t, 1, d.Snapshot().Epoch)
	require.NoError(t, d.TokenUpdate(t.Context()))
	require.Equal(t, []string{"Authenticate", "TokenUpdate"}, p.checkinsSeen())

	s := d.Snapshot()
	require.True(t, s.Enrolled)
	require.True(t, s.AwaitingConfiguration)
	require.True(t, s.HasProfile("test.enroll"))
	require.ErrorIs(t, d.Prepare(t.Context(), p.profile()), sim.ErrEnrolled)

	p.send(d, uuid(1), "DeviceConfigured", nil)
	eventually(t, "end of the wait", func() bool { return !d.Snapshot().AwaitingConfiguration })
}

func TestDeviceUsesItsCheckInURL(t *testing.T) {
	p := newPeer(t)
	var paths []string
	p.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		paths = append(paths, r.URL.RequestURI()+" "+r.Header.Get("Content-Type"))
		return false
	})
	d := p.device()
	require.NoError(t, d.Enroll(t.Context(), p.profile(func(m, _ dict) { m["CheckInURL"] = p.server.URL + "/mdm?checkin=1" })))
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Contains(t, paths, "/mdm?checkin=1 application/x-apple-aspen-mdm-checkin")
}

func TestSignedEnrollmentProfile(t *testing.T) {
	p := newPeer(t)
	signed, err := pkcs7.NewSignedData(p.profile())
	require.NoError(t, err)
	require.NoError(t, signed.AddSigner(p.ca, p.caKey, pkcs7.SignerInfoConfig{}))
	raw, err := signed.Finish()
	require.NoError(t, err)
	d := p.device()
	require.NoError(t, d.Enroll(t.Context(), raw))
	require.True(t, d.Snapshot().Enrolled)

	raw[len(raw)-1] ^= 0xff // the signature's last byte
	require.ErrorContains(t, p.device().Enroll(t.Context(), raw), "MCProfileErrorDomain")
}

func TestClientCertificateOverTLS(t *testing.T) {
	p := startPeer(t, true)
	roots := x509.NewCertPool()
	roots.AddCert(p.server.Certificate())
	unsigned := p.profile(func(m, _ dict) { m["SignMessage"] = false })
	d := p.device(func(c *sim.Config) { c.Roots = roots })
	require.NoError(t, d.Enroll(t.Context(), unsigned))
	p.run(d)
	require.Equal(t, "Acknowledged", p.send(d, uuid(1), "SecurityInfo", nil)["Status"])

	stranger := p.device()
	require.ErrorContains(t, stranger.Enroll(t.Context(), unsigned), "certificate")
}

func TestUnsignedMessageIsRefusedByTheServer(t *testing.T) {
	p := newPeer(t)
	err := p.device().Enroll(t.Context(), p.profile(func(m, _ dict) { m["SignMessage"] = false }))
	var refused *sim.HTTPError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusBadRequest, refused.Status)
	require.Equal(t, "Authenticate", refused.Message)
}

func TestEnrollmentThatCannotBegin(t *testing.T) {
	p := newPeer(t)
	fingerprint := sha1.Sum(p.ca.Raw)
	for name, c := range map[string]struct {
		change func(mdm, scep dict)
		want   string
	}{
		"wrong challenge":   {func(_, s dict) { s["PayloadContent"].(dict)["Challenge"] = "guess" }, "no certificate"},
		"wrong fingerprint": {func(_, s dict) { s["PayloadContent"].(dict)["CAFingerprint"] = make([]byte, 20) }, "fingerprint"},
		"bad subject":       {func(_, s dict) { s["PayloadContent"].(dict)["Subject"] = []any{[]any{[]any{"X.Y", "v"}}} }, "object identifier"},
		"no such identity":  {func(m, _ dict) { m["IdentityCertificateUUID"] = "other" }, "names no SCEP payload"},
		"no topic":          {func(m, _ dict) { m["Topic"] = "" }, "lacks Topic"},
		"no SCEP server":    {func(_, s dict) { s["PayloadContent"].(dict)["URL"] = p.server.URL + "/nothing" }, "404"},
		"no MDM payload":    {func(m, _ dict) { m["PayloadType"] = "com.example" }, "no com.apple.mdm"},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.device()
			require.ErrorContains(t, d.Enroll(t.Context(), p.profile(c.change)), c.want)
			require.False(t, d.Snapshot().Enrolled)
			require.Empty(t, d.Snapshot().Profiles)
		})
	}
	require.NoError(t, p.device().Prepare(t.Context(), p.profile(func(_, s dict) { s["PayloadContent"].(dict)["CAFingerprint"] = fingerprint[:] })))
	require.Error(t, p.device().Prepare(t.Context(), []byte("no profile at all")))
}

func TestEnrollmentSitsOutAnOutage(t *testing.T) {
	p := newPeer(t)
	requests := 0
	p.setIntercept(func(w http.ResponseWriter, _ *http.Request) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		requests++
		if requests <= 2 || requests == 6 || requests == 8 { // GetCACaps twice, Authenticate, TokenUpdate
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	d := p.device()
	require.NoError(t, d.Enroll(t.Context(), p.profile()))
	require.True(t, d.Snapshot().Enrolled)
	require.Equal(t, 9, requests)

	p.setIntercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.device().Enroll(ctx, p.profile()) }()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestNewDeviceRefusesImpossibleConfig(t *testing.T) {
	_, err := sim.NewDevice(sim.Config{})
	require.ErrorContains(t, err, "serial")
	_, err = sim.NewDevice(sim.Config{Serial: "X", Await: true})
	require.ErrorContains(t, err, "automated enrollment")
	d, err := sim.NewDevice(sim.Config{Serial: " c07abc "})
	require.NoError(t, err)
	require.Equal(t, "C07ABC", d.Serial())
	require.True(t, strings.HasPrefix(d.UDID(), "00008110-"))
}
