package identity_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
)

func pemOf(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

func TestForeignAuthorityKnowsItsOwnOnly(t *testing.T) {
	var nobody *signer
	root := nobody.issue(t, both(authority, named("Zylker CA")))
	middle := root.issue(t, both(authority, named("Zylker devices")))
	f, err := identity.LoadForeign(append([]byte("comment\n"), pemOf(root.cert, middle.cert)...))
	require.NoError(t, err)
	require.NoError(t, f.Verify(root.issue(t, named(serial)).cert))
	require.NoError(t, f.Verify(middle.issue(t, named(serial)).cert), "the device doesn't send what is in between")
	ended := root.issue(t, both(named(serial), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	require.NoError(t, f.Verify(ended.cert), "whether it is still valid is asked elsewhere")

	server := root.issue(t, both(named(serial), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	require.Error(t, f.Verify(server.cert))
	require.Error(t, f.Verify(middle.cert), "an authority is no client")
	require.Error(t, f.Verify(nobody.issue(t, both(authority, named("Zylker CA"))).issue(t, named(serial)).cert))
	der, err := newAuthority(t).Issue(serial, key(t).Public())
	require.NoError(t, err)
	ours, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Error(t, f.Verify(ours))
}

func TestRenewalIsTakenDownInTheCertificate(t *testing.T) {
	p := profile()
	p.Renews = 3
	raw, err := p.Encode()
	require.NoError(t, err)
	subject := decode(t, raw)["PayloadContent"].([]any)[0].(dict)["PayloadContent"].(dict)["Subject"]
	require.Equal(t, []any{[]any{[]any{"CN", serial}}, []any{[]any{"OU", "Renewal of enrollment 3"}}}, subject)

	for unit, want := range map[string]int{
		"Renewal of enrollment 3": 3, "Renewal of enrollment 0": 0, "Renewal of enrollment -1": 0, "Renewal of enrollment x": 0, "Zylker": 0,
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serial, OrganizationalUnit: []string{"Devices", unit}}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key(t).Public(), key(t))
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		require.Equal(t, want, identity.RenewalOf(cert), unit)
	}
}

func TestSignerIsLoadedWithItsChain(t *testing.T) {
	var nobody *signer
	root := nobody.issue(t, both(authority, named("root")))
	middle := root.issue(t, both(authority, named("middle")))
	leaf := middle.issue(t, named("mdm.example.com"))
	keyDER, err := x509.MarshalPKCS8PrivateKey(leaf.key)
	require.NoError(t, err)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	s, err := identity.LoadSigner(pemOf(leaf.cert, middle.cert), keyPEM)
	require.NoError(t, err)
	require.True(t, s.Certificate.Equal(leaf.cert))
	require.Len(t, s.Chain, 1)
	p := profile()
	p.Signer = s
	raw, err := p.Encode()
	require.NoError(t, err)
	require.NotContains(t, string(raw[:5]), "<?xml")

	_, err = identity.LoadSigner(pemOf(middle.cert), keyPEM)
	require.Error(t, err, "the key of another certificate")
	_, err = identity.LoadSigner(pemOf(leaf.cert, root.cert), keyPEM)
	require.Error(t, err, "a chain with a gap")
}
