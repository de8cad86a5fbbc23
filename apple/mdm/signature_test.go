package mdm_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
)

// signed returns a body's signature by a certificate that expires at a time.
func signed(t testing.TB, body []byte, expires time.Time, signers int) (string, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	message, err := pkcs7.NewSignedData(body)
	require.NoError(t, err)
	message.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	var cert *x509.Certificate
	for i := range signers {
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), NotBefore: expires.Add(-time.Hour), NotAfter: expires}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		cert, err = x509.ParseCertificate(der)
		require.NoError(t, err)
		require.NoError(t, message.AddSigner(cert, key, pkcs7.SignerInfoConfig{}))
	}
	message.Detach()
	der, err := message.Finish()
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(der), cert
}

// verify reads a header, and verifies it.
func verify(header string, body []byte, slack time.Duration) (*x509.Certificate, error) {
	s, err := mdm.ReadSignature(header)
	if err != nil {
		return nil, err
	}
	return s.Signer(), s.Verify(body, slack)
}

func TestSignatureTellsWhoSigned(t *testing.T) {
	header, want := signed(t, []byte("body"), time.Now().Add(time.Minute), 1)
	got, err := verify(header, []byte("body"), 0)
	require.NoError(t, err)
	require.True(t, want.Equal(got))
	require.Equal(t, want.NotAfter, got.NotAfter)
	_, err = verify(header, []byte("bodY"), 0)
	require.Error(t, err)
	_, err = verify("", []byte("body"), 0)
	require.Error(t, err)
}

func TestSignatureWantsOneSigner(t *testing.T) {
	header, _ := signed(t, []byte("body"), time.Now().Add(time.Minute), 2)
	_, err := verify(header, []byte("body"), 0)
	require.ErrorContains(t, err, "more than one")
}

func TestSignatureBearsWrongClocks(t *testing.T) {
	header, want := signed(t, []byte("body"), time.Now().Add(-time.Hour), 1)
	_, err := verify(header, []byte("body"), time.Minute)
	require.Error(t, err, "signed after the certificate expired")
	got, err := verify(header, []byte("body"), 2*time.Hour)
	require.NoError(t, err)
	require.Equal(t, want.NotAfter, got.NotAfter, "which stays as it is")
}

func FuzzSignature(f *testing.F) {
	header, _ := signed(f, []byte("body"), time.Now().Add(time.Hour), 1)
	der, err := base64.StdEncoding.DecodeString(header)
	require.NoError(f, err)
	f.Add(der, []byte("body"))
	f.Fuzz(func(t *testing.T, der, body []byte) {
		cert, err := verify(base64.StdEncoding.EncodeToString(der), body, 0)
		if err == nil && (cert == nil || string(body) != "body") {
			t.Fatalf("accepted for %q", body)
		}
	})
}
