package cms_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/cms"
)

func signed(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	message, err := pkcs7.NewSignedData([]byte("hello"))
	require.NoError(t, err)
	message.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(t, message.AddSigner(cert, key, pkcs7.SignerInfoConfig{}))
	raw, err := message.Finish()
	require.NoError(t, err)
	return raw
}

// indefinite writes the outer two levels as streaming encoders do, Apple's among them.
func indefinite(t testing.TB, der []byte) []byte {
	t.Helper()
	require.Equal(t, []byte{0x30, 0x82}, der[:2])
	oid := der[4:15]
	inner := der[15+4:]
	return bytes.Join([][]byte{{0x30, 0x80}, oid, {0xa0, 0x80}, inner, {0, 0, 0, 0}}, nil)
}

func TestParseReadsDERAndBER(t *testing.T) {
	der := signed(t)
	for name, raw := range map[string][]byte{"DER": der, "BER": indefinite(t, der)} {
		message, err := cms.Parse(raw)
		require.NoError(t, err, name)
		require.NoError(t, message.Verify(), name)
		require.Equal(t, "hello", string(message.Content), name)
	}
}

func TestParseRefusesWhatIsNotNested(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":               nil,
		"no length":             {0x30},
		"length cut off":        {0x30, 0x82},
		"length of five bytes":  {0x30, 0x85, 1, 1, 1, 1, 1},
		"leading zero":          {0x30, 0x81, 0x00},
		"longer than it is":     {0x30, 0x05, 0x02, 0x01},
		"child outgrows parent": {0x30, 0x02, 0x30, 0x04, 0x02, 0x02, 0x01, 0x01},
		"tag of two bytes":      {0x3f, 0x81, 0x01, 0x00},
		"primitive without end": {0x04, 0x80, 0x00, 0x00},
		"no end mark":           {0x30, 0x80, 0x02, 0x01, 0x01},
		"nothing of no length":  {0x30, 0x80, 0x00, 0x00},
		"too deep":              bytes.Repeat([]byte{0x30, 0x80}, 1000),
		"read for ever":         append(bytes.Repeat([]byte{0x30, 0x06, 0x30, 0x02}, 4000), bytes.Repeat([]byte{4, 0}, 8)...),
	} {
		_, err := cms.Parse(raw)
		require.Error(t, err, name)
	}
}

func TestParseRefusesKeysThatTakeSecondsToVerify(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	huge := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 100_000), E: 65537}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, huge, key)
	require.NoError(t, err)
	raw, err := pkcs7.DegenerateCertificate(der)
	require.NoError(t, err)
	_, err = cms.Parse(raw)
	require.ErrorContains(t, err, "100001 bits")
}

func TestSafelyReturnsPanics(t *testing.T) {
	require.ErrorContains(t, cms.Safely(func() error { panic("index out of range") }), "index out of range")
	own := errors.New("own")
	require.ErrorIs(t, cms.Safely(func() error { return own }), own)
}

func FuzzParse(f *testing.F) {
	der := signed(f)
	f.Add(der)
	f.Add(indefinite(f, der))
	f.Add([]byte("0\x82"))
	f.Add(append(bytes.Repeat([]byte{0x30, 0x06, 0x30, 0x02}, 60), bytes.Repeat([]byte{4, 0}, 8)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		begun := time.Now()
		message, err := cms.Parse(raw)
		if err == nil && message == nil {
			t.Fatal("neither message nor error")
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Fatalf("reading %d bytes took %s", len(raw), took)
		}
	})
}
