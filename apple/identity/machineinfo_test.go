package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

// factory makes devices with a chain like Apple's: expired, SHA-1, keys of 1024 bits.
var factory = sync.OnceValues(sim.NewFactory)

func virtual(t testing.TB, change ...func(*sim.Config)) *sim.Device {
	t.Helper()
	f, err := factory()
	require.NoError(t, err)
	c := sim.Config{Serial: serial, ProductName: "iPad13,4", Factory: f}
	for _, change := range change {
		change(&c)
	}
	d, err := sim.NewDevice(c)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

func machines(t testing.TB) *identity.Machines {
	t.Helper()
	f, err := factory()
	require.NoError(t, err)
	m, err := identity.NewMachines(f.AnchorsPEM())
	require.NoError(t, err)
	return m
}

func TestMachineInfoOfADevice(t *testing.T) {
	d := virtual(t)
	message, err := d.MachineInfo()
	require.NoError(t, err)
	want := identity.MachineInfo{
		Serial: serial, UDID: d.UDID(), Product: "iPad13,4", OSVersion: "18.1", BuildVersion: "22B83", SupplementalBuildVersion: "22B83",
		SoftwareUpdateDeviceID: "iPad13_4", Language: "en", CanUpdate: true,
	}
	got, err := machines(t).Open(message)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = machines(t).OpenHeader(" " + base64.StdEncoding.EncodeToString(message))
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.False(t, machines(t).Insecure())
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err))
	require.ErrorContains(t, err, why)
}

// signer is somebody who isn't a device of Apple's, or a device that isn't as it should be.
type signer struct {
	t     *testing.T
	cert  *x509.Certificate
	key   crypto.Signer
	chain []*x509.Certificate
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

// issue has a signer issue a certificate for another; without one the other issues it for himself.
func (s *signer) issue(t *testing.T, change func(*x509.Certificate)) *signer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Virtual iPhone Device CA", Organization: []string{"Virtual Apple"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	child := &signer{t: t, key: ecKey(t)}
	by, with := template, child.key
	if s != nil {
		by, with, child.chain = s.cert, s.key, append([]*x509.Certificate{s.cert}, s.chain...)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, child.key.Public(), with)
	require.NoError(t, err)
	child.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return child
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
}

func named(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: name} }
}

func both(changes ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, change := range changes {
			change(c)
		}
	}
}

func (s *signer) sign(body any) []byte {
	s.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		var err error
		raw, err = plist.Marshal(body)
		require.NoError(s.t, err)
	}
	signed, err := pkcs7.NewSignedData(raw)
	require.NoError(s.t, err)
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(s.t, signed.AddSigner(s.cert, s.key, pkcs7.SignerInfoConfig{}))
	for _, c := range s.chain {
		signed.AddCertificate(c)
	}
	der, err := signed.Finish()
	require.NoError(s.t, err)
	return der
}

func (s *signer) anchor() *identity.Machines {
	s.t.Helper()
	m, err := identity.NewMachines(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
	require.NoError(s.t, err)
	return m
}

var said = map[string]any{"SERIAL": serial, "UDID": "U", "PRODUCT": "iPhone1,1", "VERSION": "1A1"}

func TestForgedMachineInfo(t *testing.T) {
	m := machines(t)
	var nobody *signer
	impostor := nobody.issue(t, authority) // of the same name as the anchor
	refusedBy := func(s *signer, why string) {
		t.Helper()
		_, err := m.Open(s.sign(said))
		refused(t, err, why)
	}
	refusedBy(nobody.issue(t, nil), "trust anchor")
	refusedBy(impostor.issue(t, named("device")), "trust anchor")
	refusedBy(impostor, "authority's")

	// One whose certificate is the device's, but who signs by another key.
	message, err := virtual(t).MachineInfo()
	require.NoError(t, err)
	genuine, err := pkcs7.Parse(message)
	require.NoError(t, err)
	refusedBy(&signer{t: t, cert: genuine.GetOnlySigner(), key: key(t)}, "verifying the signature")

	altered := bytes.Replace(message, []byte(serial), []byte("C07Q853LG9RX"), 1)
	require.NotEqual(t, message, altered)
	_, err = m.Open(altered)
	refused(t, err, "verifying the signature")
	for name, raw := range map[string][]byte{
		"nothing": nil, "no CMS": []byte("<?xml"), "half": message[:len(message)/2], "no signer": degenerate(t, message),
	} {
		_, err = m.Open(raw)
		require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err), name)
	}
	_, err = m.OpenHeader("%%%")
	refused(t, err, "base64")
	_, err = m.OpenHeader(strings.Repeat("A", 33<<10))
	refused(t, err, "base64")
}

// degenerate is a message with certificates and no signature.
func degenerate(t *testing.T, message []byte) []byte {
	t.Helper()
	signed, err := pkcs7.Parse(message)
	require.NoError(t, err)
	der, err := pkcs7.DegenerateCertificate(signed.Certificates[0].Raw)
	require.NoError(t, err)
	return der
}

func TestChainsOfDevices(t *testing.T) {
	long := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(1, 0) }
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root"), long))
	middle := root.issue(t, both(authority, named("middle"), long))
	for name, tt := range map[string]struct {
		device *signer
		ok     bool
	}{
		"by the anchor itself": {root.issue(t, both(named("device"), long)), true},
		"by one in between":    {middle.issue(t, both(named("device"), long)), true},
		"by one who may not":   {root.issue(t, named("no authority")).issue(t, named("device")), false},
		"by one who must not":  {root.issue(t, both(named("other"), authority, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })).issue(t, named("device")), false},
		"too long a path":      {root.issue(t, both(named("last"), authority, func(c *x509.Certificate) { c.MaxPathLenZero = true })).issue(t, both(named("one too many"), authority)).issue(t, named("device")), false},
		"not for signatures":   {middle.issue(t, both(named("device"), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), false},
		"an extension unheard of": {middle.issue(t, both(named("device"), func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		})), false},
	} {
		_, err := root.anchor().Open(tt.device.sign(said))
		if tt.ok {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err), name)
	}
	device := middle.issue(t, named("device"))
	_, err := middle.anchor().Open(device.sign(said))
	require.NoError(t, err, "the anchor needn't be a root")
	device.chain = nil
	_, err = root.anchor().Open(device.sign(said))
	refused(t, err, "trust anchor")

	deep := root
	for range 5 {
		deep = deep.issue(t, both(authority, named(rand.Text())))
	}
	_, err = root.anchor().Open(deep.issue(t, named("device")).sign(said))
	refused(t, err, "trust anchor")
}

func TestMachineInfoThatWasKept(t *testing.T) {
	message, err := virtual(t).MachineInfo()
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		later time.Duration
		ok    bool
	}{"at once": {0, true}, "clocks differ": {-23 * time.Hour, true}, "next day": {25 * time.Hour, false}, "from the future": {-25 * time.Hour, false}} {
		_, err := machines(t).At(func() time.Time { return time.Now().Add(tt.later) }).Open(message)
		if tt.ok {
			require.NoError(t, err, name)
			continue
		}
		refused(t, err, "was signed at")
	}
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root")))
	device := root.issue(t, named("device"))
	raw, err := plist.Marshal(said)
	require.NoError(t, err)
	signed, err := pkcs7.NewSignedData(raw)
	require.NoError(t, err)
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(t, signed.SignWithoutAttr(device.cert, device.key, pkcs7.SignerInfoConfig{}))
	timeless, err := signed.Finish()
	require.NoError(t, err)
	_, err = root.anchor().Open(timeless)
	require.NoError(t, err, "a message needn't say when it was signed")
}

func TestMachineInfoMustMakeSense(t *testing.T) {
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root")))
	device := root.issue(t, named("device"))
	for name, body := range map[string]any{
		"no property list": []byte("hello"), "an array": []any{"x"}, "no serial": map[string]any{"UDID": "U"},
		"a serial of no form": map[string]any{"SERIAL": "../../etc"}, "a serial of a wrong type": map[string]any{"SERIAL": 7},
	} {
		_, err := root.anchor().Open(device.sign(body))
		require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err), name)
	}
	got, err := root.anchor().Open(device.sign(map[string]any{"SERIAL": " c07q853lg9rm", "NEW_KEY": 1}))
	require.NoError(t, err)
	require.Equal(t, serial, got.Serial)
}

// A list that contains itself overflows the stack of whoever follows it, and ends the process.
func TestMachineInfoIsNoBinaryPropertyList(t *testing.T) {
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root")))
	device := root.issue(t, named("device"))
	const array, offset = 0xa1, 8
	itself := append([]byte("bplist00"), array, 0, offset)
	trailer := make([]byte, 32)
	trailer[6], trailer[7], trailer[15], trailer[31] = 1, 1, 1, byte(len(itself)-1) // sizes, one object, where its offset is
	_, err := root.anchor().Open(device.sign(append(itself, trailer...)))
	refused(t, err, "binary property list")
}

func TestMachineInfoIsBrief(t *testing.T) {
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root")))
	device := root.issue(t, named("device"))
	for _, key := range []string{
		"UDID", "PRODUCT", "VERSION", "OS_VERSION", "LANGUAGE", "SUPPLEMENTAL_BUILD_VERSION", "SUPPLEMENTAL_OS_VERSION_EXTRA",
		"SOFTWARE_UPDATE_DEVICE_ID", "IMEI", "MEID",
	} {
		_, err := root.anchor().Open(device.sign(map[string]any{"SERIAL": serial, key: strings.Repeat("a", 255)}))
		require.NoError(t, err, key)
		_, err = root.anchor().Open(device.sign(map[string]any{"SERIAL": serial, key: strings.Repeat("a", 256)}))
		refused(t, err, key+" is longer")
	}
}

func TestInsecureMachinesBelieveAnybodyWhoSigns(t *testing.T) {
	var nobody *signer
	m := identity.NewInsecureMachines()
	require.True(t, m.Insecure())
	got, err := m.Open(nobody.issue(t, nil).sign(said))
	require.NoError(t, err)
	require.Equal(t, serial, got.Serial)
	message, err := virtual(t).MachineInfo()
	require.NoError(t, err)
	_, err = m.Open(bytes.Replace(message, []byte(serial), []byte("C07Q853LG9RX"), 1))
	refused(t, err, "verifying the signature")
}

func TestAnchorsMustBeCertificates(t *testing.T) {
	for _, text := range []string{"", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		_, err := identity.NewMachines([]byte(text))
		require.ErrorContains(t, err, "trust anchors", text)
		_, err = identity.LoadForeign([]byte(text))
		require.ErrorContains(t, err, "external authority", text)
	}
}

// Apple's root certifies developers, too, who could sign what they like.
func TestAnchorsMustCertifyDevicesOnly(t *testing.T) {
	var nobody *signer
	for name, ok := range map[string]bool{"Apple Root CA": false, "Apple Root CA - G3": false, "Apple iPhone Device CA": true} {
		anchor := nobody.issue(t, both(authority, named(name)))
		_, err := identity.NewMachines(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: anchor.cert.Raw}))
		if ok {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "name the Apple iPhone Device CA")
	}
}

func FuzzMachineInfo(f *testing.F) {
	message, err := virtual(f).MachineInfo()
	require.NoError(f, err)
	f.Add(message)
	f.Add([]byte{0x30, 0x80})
	m := machines(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := m.Open(raw)
		if err != nil {
			require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err))
			return
		}
		require.Equal(t, serial, info.Serial, "nobody else's signature is good")
	})
}
