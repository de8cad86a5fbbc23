package serve_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/cli"
	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/store"
)

// asMuster makes this test program behave as muster, so that tests can kill a part of it. It doesn't begin with MUSTER_, which
// settings do.
const asMuster = "SERVE_AS_MUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(asMuster) != "" {
		os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(stacktest.Runner{M: directorytest.Runner{M: m}}.Run())
}

const serial = "C07Q853LG9RM"

// site is where a service keeps its files.
type site struct {
	t      *testing.T
	dir    string
	db     *store.DB
	log    bytes.Buffer
	logs   sync.Mutex
	roots  *x509.CertPool
	apns   *sim.APNs
	url    string
	fabric *sim.Factory
}

func (s *site) Write(p []byte) (int, error) {
	s.logs.Lock()
	defer s.logs.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.logs.Lock()
	defer s.logs.Unlock()
	return s.log.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.url = stacktest.Database(t, "muster", func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})
	var err error
	s.db, err = store.Open(t.Context(), store.Config{URL: s.url, MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(s.db.Close)
	_, err = s.db.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Registered})
		return err
	})
	require.NoError(t, err)
	s.fabric, err = sim.NewFactory()
	require.NoError(t, err)
	s.apns, err = sim.StartAPNs(t.Context(), sim.APNsConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.apns.Close()) })
	cert, key, err := s.apns.IssuePushCertificate("com.apple.mgmt.test")
	require.NoError(t, err)
	s.file("push.pem", cert)
	s.file("push.key", key)
	s.file("apns.pem", s.apns.CACertPEM())
	s.file("anchors.pem", s.fabric.AnchorsPEM())
	return s
}

func (s *site) file(name string, content []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, content, 0o600))
	return path
}

// pair writes a server certificate with a key of a kind.
func (s *site) pair(name string, key any, public any) (cert, keyFile string) {
	s.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	require.NoError(s.t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(s.t, err)
	s.roots = x509.NewCertPool()
	s.roots.AddCert(parsed)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	return s.file(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		s.file(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// start starts a service without Temporal.
func (s *site) start(environ ...string) (*serve.Service, error) {
	s.t.Helper()
	var set settings.Serve
	environ = s.environ(environ...)
	require.NoError(s.t, settings.Bind(pflag.NewFlagSet("serve", pflag.ContinueOnError), &set, environ))
	service, err := serve.Start(s.t.Context(), set, slog.New(slog.NewTextHandler(s, nil)))
	if err == nil {
		s.t.Cleanup(func() { require.NoError(s.t, service.Stop()) })
	}
	return service, err
}

// environ are the settings of a service without Temporal, with changes.
func (s *site) environ(changed ...string) []string {
	return append([]string{
		"MUSTER_DATABASE_URL=" + s.url, "MUSTER_DATABASE_MAX_CONNS=4", "MUSTER_TEMPORAL_ADDRESS=127.0.0.1:1", "MUSTER_LISTEN=127.0.0.1:0",
		"MUSTER_ROLES=mdm,api", "MUSTER_APNS_URL=" + s.apns.URL(), "MUSTER_APNS_CA_FILE=" + filepath.Join(s.dir, "apns.pem"),
		"MUSTER_PUSH_CERT_FILE=" + filepath.Join(s.dir, "push.pem"), "MUSTER_PUSH_KEY_FILE=" + filepath.Join(s.dir, "push.key"),
	}, changed...)
}

func (s *site) device() *sim.Device {
	s.t.Helper()
	d, err := sim.NewDevice(sim.Config{Serial: serial, Roots: s.roots, Factory: s.fabric, KeyBits: 2048, APNs: s.apns})
	require.NoError(s.t, err)
	s.t.Cleanup(d.Close)
	return d
}

// sent tells every device the same address.
type sent string

func (s sent) Activate(string) (sim.Activation, bool) { return sim.Activation{URL: string(s)}, true }

// profile is what the service gives to the device.
func (s *site) profile(url string) []byte {
	s.t.Helper()
	message, err := s.device().MachineInfo()
	require.NoError(s.t, err)
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	defer client.CloseIdleConnections()
	if s.roots != nil {
		client.Transport.(*http.Transport).TLSClientConfig.RootCAs = s.roots
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, url+"/enroll", bytes.NewReader(message))
	require.NoError(s.t, err)
	resp, err := client.Do(r)
	require.NoError(s.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, resp.StatusCode, "%s", body)
	return body
}

func signedBy(t *testing.T, profile []byte) string {
	t.Helper()
	if bytes.HasPrefix(profile, []byte("<?xml")) {
		return ""
	}
	signed, err := pkcs7.Parse(profile)
	require.NoError(t, err)
	require.NoError(t, signed.Verify())
	return signed.GetOnlySigner().Subject.CommonName
}

func TestServiceEnrollsDevicesThatAreSwitchedOn(t *testing.T) {
	s := newSite(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, keyFile := s.pair("tls", key, key.Public())
	tls := []string{"MUSTER_TLS_CERT_FILE=" + cert, "MUSTER_TLS_KEY_FILE=" + keyFile, "MUSTER_ENROLL_ANCHORS_FILE=" + filepath.Join(s.dir, "anchors.pem")}
	roots := s.roots
	service, err := s.start(tls...)
	require.NoError(t, err)
	require.NoError(t, s.device().PowerOn(t.Context(), sent(service.URL()+"/enroll")))
	d, err := s.db.Device(t.Context(), serial)
	require.NoError(t, err)
	require.True(t, d.Active())
	require.Equal(t, "tls", signedBy(t, s.profile(service.URL())), "by the certificate of TLS unless another is set")

	sign, signKey := s.pair("sign", key, key.Public())
	s.roots = roots
	service, err = s.start(append(tls, "MUSTER_PROFILE_SIGN_CERT_FILE="+sign, "MUSTER_PROFILE_SIGN_KEY_FILE="+signKey)...)
	require.NoError(t, err)
	require.Equal(t, "sign", signedBy(t, s.profile(service.URL())))
}

func TestServiceWithoutTLSOrWithAKeyThatCannotSign(t *testing.T) {
	s := newSite(t)
	service, err := s.start("MUSTER_ENROLL_INSECURE_MACHINE_INFO=true")
	require.NoError(t, err)
	require.Empty(t, signedBy(t, s.profile(service.URL())))
	require.Contains(t, s.logged(), "INSECURE")

	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	cert, keyFile := s.pair("odd", key, public)
	service, err = s.start("MUSTER_TLS_CERT_FILE="+cert, "MUSTER_TLS_KEY_FILE="+keyFile, "MUSTER_ENROLL_ANCHORS_FILE="+filepath.Join(s.dir, "anchors.pem"))
	require.NoError(t, err)
	require.Empty(t, signedBy(t, s.profile(service.URL())))
	require.Contains(t, s.logged(), "enrollment profiles aren't signed")
}

// People's browsers and the web views of devices ask nobody for a certificate that isn't named.
func TestTLSAsksForCertificatesOfDevicesOnly(t *testing.T) {
	s := newSite(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, keyFile := s.pair("tls", key, key.Public())
	environ := []string{"MUSTER_TLS_CERT_FILE=" + cert, "MUSTER_TLS_KEY_FILE=" + keyFile, "MUSTER_ENROLL_ANCHORS_FILE=" + filepath.Join(s.dir, "anchors.pem")}
	asked := func(environ ...string) (names []string) {
		service, err := s.start(environ...)
		require.NoError(t, err)
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12, GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			names = []string{}
			for _, raw := range r.AcceptableCAs {
				var name pkix.RDNSequence
				_, err := asn1.Unmarshal(raw, &name)
				require.NoError(t, err)
				names = append(names, name.String())
			}
			return &tls.Certificate{}, nil
		}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(service.URL() + "/livez")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return names
	}
	ours := "CN=Muster Device Identities,O=Muster"
	require.Equal(t, []string{ours}, asked(environ...))
	require.Equal(t, []string{ours, "CN=tls"}, asked(append(environ, "MUSTER_SCEP_URL=https://ca.example.com", "MUSTER_SCEP_CHALLENGE=x", "MUSTER_SCEP_CA_FILE="+cert)...))
	require.Nil(t, asked(append(environ, "MUSTER_ROLES=api")...), "no device comes there")
}

func TestServiceBoundsHeaders(t *testing.T) {
	s := newSite(t)
	service, err := s.start("MUSTER_ENROLL_ANCHORS_FILE=" + filepath.Join(s.dir, "anchors.pem"))
	require.NoError(t, err)
	status := func(size int) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, service.URL()+"/livez", http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Mdm-Signature", strings.Repeat("A", size))
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, http.StatusOK, status(64<<10), "the longest signature that is read")
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, status(256<<10))
}

func TestServiceDoesNotStartWithFilesThatAreNone(t *testing.T) {
	s := newSite(t)
	junk, gone := s.file("junk", []byte("junk")), filepath.Join(s.dir, "gone")
	for _, environ := range [][]string{
		{"MUSTER_ENROLL_ANCHORS_FILE=" + junk},
		{"MUSTER_ENROLL_ANCHORS_FILE=" + gone},
		{"MUSTER_PROFILE_SIGN_CERT_FILE=" + junk, "MUSTER_PROFILE_SIGN_KEY_FILE=" + junk},
		{"MUSTER_PROFILE_SIGN_CERT_FILE=" + gone, "MUSTER_PROFILE_SIGN_KEY_FILE=" + gone},
		{"MUSTER_SCEP_URL=https://ca.example.com", "MUSTER_SCEP_CHALLENGE=x", "MUSTER_SCEP_CA_FILE=" + junk},
		{"MUSTER_SCEP_URL=https://ca.example.com", "MUSTER_SCEP_CHALLENGE=x", "MUSTER_SCEP_CA_FILE=" + gone},
	} {
		_, err := s.start(environ...)
		require.Error(t, err, "%v", environ)
	}
}

func TestProfileLeadsToTheExternalAuthority(t *testing.T) {
	s := newSite(t)
	service, err := s.start("MUSTER_ENROLL_ANCHORS_FILE="+filepath.Join(s.dir, "anchors.pem"), "MUSTER_SCEP_URL=https://ca.example.com/scep",
		"MUSTER_SCEP_CHALLENGE=open sesame", "MUSTER_SCEP_CA_FILE="+filepath.Join(s.dir, "anchors.pem"))
	require.NoError(t, err)
	profile := string(s.profile(service.URL()))
	require.Contains(t, profile, "<string>https://ca.example.com/scep</string>")
	require.Contains(t, profile, "<string>open sesame</string>")
}
