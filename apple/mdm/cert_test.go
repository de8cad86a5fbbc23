package mdm_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// selfSigned makes a certificate that is not from Apple, with its key.
func selfSigned(t *testing.T, expires time.Time, userID string) [2][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: expires,
	}
	if userID != "" {
		oid := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
		template.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oid, Value: userID}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return [2][]byte{encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)}
}
