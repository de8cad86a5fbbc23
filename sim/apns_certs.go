package sim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// oidUserID is the subject attribute in which a push certificate names its topic (RFC 4519, section 2.39).
var oidUserID = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}

const certificateLife = 365 * 24 * time.Hour

// authority signs the push service's own certificate and the push certificates of its customers.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating authority key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Virtual Apple CA"},
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		NotAfter:              time.Now().Add(10 * certificateLife),
	}
	cert, err := certify(template, key.Public(), &authority{cert: template, key: key})
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, nil
}

func readAuthority(certPEM, keyPEM []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("reading authority: its key can't sign")
	}
	return &authority{cert: cert, key: key}, nil
}

// certify fills in what all certificates have in common, and has the issuer sign.
func certify(template *x509.Certificate, public crypto.PublicKey, issuer *authority) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("choosing certificate number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(certificateLife)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, public, issuer.key)
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

func (a *authority) serverCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("generating server key: %w", err)
	}
	cert, err := certify(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost", "api.push.apple.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public(), a)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

func (a *authority) pushCertificate(topic string) (certPEM, keyPEM []byte, err error) {
	if !strings.HasPrefix(topic, "com.apple.mgmt.") {
		return nil, nil, fmt.Errorf("issuing push certificate: topic %q does not begin with com.apple.mgmt", topic)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("generating push key: %w", err)
	}
	cert, err := certify(&x509.Certificate{
		Subject: pkix.Name{
			CommonName: "APSP:" + strings.TrimPrefix(topic, "com.apple.mgmt."),
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidUserID, Value: topic}},
		},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public(), a)
	if err != nil {
		return nil, nil, err
	}
	return encodePEM("CERTIFICATE", cert.Raw), encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), nil
}

// topicOf returns the topic of a client certificate, and false when the authority didn't issue it or its time is over.
func (a *authority) topicOf(cert *x509.Certificate) (string, bool) {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := cert.Verify(options); err != nil {
		return "", false
	}
	for _, name := range cert.Subject.Names {
		if topic, ok := name.Value.(string); ok && name.Type.Equal(oidUserID) {
			return topic, true
		}
	}
	return "", true
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
