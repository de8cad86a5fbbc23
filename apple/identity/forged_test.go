package identity_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// signature holds a message's only signature, as far as tests change it.
type signature struct {
	Version    int
	Signer     asn1.RawValue
	Digest     asn1.RawValue
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm  asn1.RawValue
	Value      []byte
}

// rebuilt is a message with its content and signature changed, and certificates in front of its own.
func rebuilt(t *testing.T, message []byte, change func(content *[]byte, s *signature), certs ...*x509.Certificate) []byte {
	t.Helper()
	parsed, err := pkcs7.Parse(message)
	require.NoError(t, err)
	outer, _ := element(t, message)
	_, rest := element(t, outer.Bytes)
	wrapped, _ := element(t, rest)
	signed, _ := element(t, wrapped.Bytes)
	parts := signed.Bytes
	var signers asn1.RawValue
	for len(parts) > 0 {
		signers, parts = element(t, parts)
	}
	var s signature
	_, err = asn1.Unmarshal(signers.Bytes, &s)
	require.NoError(t, err)
	content := parsed.Content
	change(&content, &s)
	var bag []byte
	for _, c := range append(certs, parsed.Certificates...) {
		bag = append(bag, c.Raw...)
	}
	data := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	type holder struct {
		Kind asn1.ObjectIdentifier
		Held any `asn1:"explicit,tag:0"`
	}
	raw, err := asn1.Marshal(holder{pkcs7.OIDSignedData, struct {
		Version      int
		Digests      []asn1.RawValue `asn1:"set"`
		Content      holder
		Certificates asn1.RawValue
		Signers      []signature `asn1:"set"`
	}{1, []asn1.RawValue{s.Digest}, holder{data, content}, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: bag}, []signature{s}}})
	require.NoError(t, err)
	return raw
}

// twin is a certificate of somebody else's under the names by which a message finds its signer's.
func twin(t *testing.T, genuine *x509.Certificate) *signer {
	t.Helper()
	s := &signer{t: t, key: ecKey(t)}
	template := &x509.Certificate{SerialNumber: genuine.SerialNumber, Subject: genuine.Subject, NotBefore: genuine.NotBefore, NotAfter: genuine.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{RawSubject: genuine.RawIssuer}, s.key.Public(), s.key)
	require.NoError(t, err)
	s.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return s
}

func TestTricksWithSignatures(t *testing.T) {
	message, err := virtual(t).MachineInfo()
	require.NoError(t, err)
	genuine, err := pkcs7.Parse(message)
	require.NoError(t, err)
	cert := genuine.GetOnlySigner()
	same := func(*[]byte, *signature) {}
	_, err = machines(t).Open(rebuilt(t, message, same))
	require.NoError(t, err, "the test's own hands do no harm")

	forged, err := plist.Marshal(said)
	require.NoError(t, err)
	double := twin(t, cert)
	for name, raw := range map[string][]byte{
		"another message's":    rebuilt(t, message, func(content *[]byte, _ *signature) { *content = forged }),
		"nothing is signed":    rebuilt(t, message, func(content *[]byte, _ *signature) { *content = nil }),
		"what was signed":      rebuilt(t, message, signedAttributesAsContent),
		"without what it says": rebuilt(t, message, func(_ *[]byte, s *signature) { s.Attributes = asn1.RawValue{} }),
		"twin in front":        rebuilt(t, message, same, double.cert),
		"signed by the twin":   rebuilt(t, double.sign(said), same, cert),
		"twin who signs":       double.sign(said),
	} {
		_, err := machines(t).Open(raw)
		require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err), "%s: %v", name, err)
	}
}

// signedAttributesAsContent has a signature, which is really over what the signer says of the content, be over the content itself.
func signedAttributesAsContent(content *[]byte, s *signature) {
	const set = 0x31
	*content = append([]byte{set}, s.Attributes.FullBytes[1:]...)
	s.Attributes = asn1.RawValue{}
}

func TestSeveralSignersAreOneTooMany(t *testing.T) {
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root")))
	device, stranger := root.issue(t, named("device")), nobody.issue(t, named("stranger"))
	raw, err := plist.Marshal(said)
	require.NoError(t, err)
	signed, err := pkcs7.NewSignedData(raw)
	require.NoError(t, err)
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(t, signed.AddSigner(device.cert, device.key, pkcs7.SignerInfoConfig{}))
	require.NoError(t, signed.AddSigner(stranger.cert, stranger.key, pkcs7.SignerInfoConfig{}))
	der, err := signed.Finish()
	require.NoError(t, err)
	_, err = root.anchor().Open(der)
	refused(t, err, "more than one signer")
}
