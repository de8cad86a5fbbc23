package identity

import (
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"
)

// AuthorityStore keeps the authority's certificate and its PKCS #8 key, both DER.
type AuthorityStore interface {
	// Authority returns what is kept; if nothing is, it keeps what create makes. Of several processes that ask at the
	// same time one creates, and all get the same.
	Authority(ctx context.Context, create func() (certificate, key []byte, err error)) (certificate, key []byte, err error)
}

// AuthorityConfig holds the choices made when the authority is created, and for what it issues. Zero values mean the
// defaults.
type AuthorityConfig struct {
	// Organization is the authority's name in certificates; default "Muster".
	Organization string
	// KeyBits is the size of its RSA key; default 3072. SCEP needs RSA.
	KeyBits int
	// Lifetime of the authority; default 15 years.
	Lifetime time.Duration
	// Validity of the certificates it issues, but never beyond the authority's own end; default [DefaultValidity].
	Validity time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// DefaultValidity of a device's certificate. Together with a renewal a year before its end it means that a device may be
// switched off for a year at least and still be let in. A shorter life would buy little: whether a certificate counts is looked
// up for every message, so one is revoked at once. With a much longer one, what renews them would be used too rarely to be
// relied on.
const DefaultValidity = 2 * 365 * 24 * time.Hour

func (c AuthorityConfig) complete() AuthorityConfig {
	const day = 24 * time.Hour
	if c.Organization == "" {
		c.Organization = "Muster"
	}
	if c.KeyBits == 0 {
		c.KeyBits = 3072
	}
	if c.Lifetime == 0 {
		c.Lifetime = 15 * 365 * day
	}
	if c.Validity == 0 {
		c.Validity = DefaultValidity
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Authority certifies devices. Its methods are safe for concurrent use.
type Authority struct {
	config  AuthorityConfig
	cert    *x509.Certificate
	key     *rsa.PrivateKey
	roots   *x509.CertPool
	ours    sync.Map // hashes of certificates that were found to be ours
	oursLen atomic.Int64
}

// LoadAuthority returns the authority that the store keeps, creating it the first time.
func LoadAuthority(ctx context.Context, s AuthorityStore, c AuthorityConfig) (*Authority, error) {
	c = c.complete()
	if c.KeyBits < minKeyBits {
		return nil, fmt.Errorf("creating the certificate authority: %d bits are too few for its key", c.KeyBits)
	}
	der, keyDER, err := s.Authority(ctx, c.create)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok || !rsaKey.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("reading the authority's key: it is not the RSA key of its certificate")
	}
	a := &Authority{config: c, cert: cert, key: rsaKey, roots: x509.NewCertPool()}
	a.roots.AddCert(cert)
	return a, nil
}

// Secret derives a key for another purpose from the authority's own, so that every process has it and none has to be kept.
func (a *Authority) Secret(purpose string) ([]byte, error) {
	secret, err := hkdf.Key(sha256.New, x509.MarshalPKCS1PrivateKey(a.key), nil, "muster "+purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of %s: %w", purpose, err)
	}
	return secret, nil
}

func (c AuthorityConfig) create() (certificate, key []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, c.KeyBits)
	if err != nil {
		return nil, nil, fmt.Errorf("making the authority's key: %w", err)
	}
	now := c.Now()
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: c.Organization + " Device Identities", Organization: []string{c.Organization}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(c.Lifetime),
		// SCEP has requests encrypted for, and answers signed by, the same key (RFC 8894, 2.3).
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the authority's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("writing the authority's key: %w", err)
	}
	return der, keyDER, nil
}

const (
	minKeyBits = 2048
	maxKeyBits = 8192
	// Clocks of devices that were just switched on may be behind.
	backdate = 24 * time.Hour
)

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Issue certifies a device's key, as DER, with the serial number as common name. What else the device asked for in its
// request doesn't count.
func (a *Authority) Issue(serial string, key crypto.PublicKey) ([]byte, error) {
	now := a.config.Now()
	expires := now.Add(a.config.Validity)
	if expires.After(a.cert.NotAfter) {
		expires = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber:          serialNumber(),
		Subject:               pkix.Name{CommonName: serial},
		NotBefore:             now.Add(-backdate),
		NotAfter:              expires,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("certifying device %s: %w", serial, err)
	}
	return der, nil
}

// serialNumber is random and positive, within the 20 bytes of RFC 5280.
func serialNumber() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// maxOurs bounds the memory for certificates already checked; a fleet of that size costs a few megabytes.
const maxOurs = 1 << 16

// Verify reports an error unless the authority issued the certificate, for a client. It doesn't look at the time.
func (a *Authority) Verify(cert *x509.Certificate) error {
	hash := sha256.Sum256(cert.Raw)
	if _, known := a.ours.Load(hash); known {
		return nil
	}
	_, err := cert.Verify(x509.VerifyOptions{
		Roots:       a.roots,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		CurrentTime: cert.NotAfter,
	})
	if err != nil {
		return fmt.Errorf("the certificate was not issued here: %w", err)
	}
	if cert.IsCA {
		return errors.New("the certificate is an authority's, not a client's")
	}
	if a.oursLen.Add(1) > maxOurs {
		a.ours.Clear()
		a.oursLen.Store(1)
	}
	a.ours.Store(hash, struct{}{})
	return nil
}
