package sim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// Factory certifies virtual devices as Apple does its devices when it makes them, by a chain with the same weaknesses: the
// authority that certifies them has expired, hashes are SHA-1, and devices' keys have 1024 bits. It is safe for concurrent
// use.
type Factory struct {
	root, device link

	mu     sync.Mutex
	keys   []*rsa.PrivateKey
	serial int64
}

// link is an authority of the chain.
type link struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

const (
	authorityBits = 2048
	builtinBits   = 1024
	// sharedKeys is how many different keys all devices have together: making them is dear, and it is the certificate that
	// tells devices apart.
	sharedKeys = 4
)

// NewFactory makes the authorities.
func NewFactory() (*Factory, error) {
	began := time.Date(2007, 4, 16, 22, 54, 46, 0, time.UTC)
	root, err := newLink("Virtual iPhone Certification Authority", link{}, began, began.AddDate(15, 0, 0))
	if err != nil {
		return nil, err
	}
	device, err := newLink("Virtual iPhone Device CA", root, began, began.AddDate(7, 0, 0))
	if err != nil {
		return nil, err
	}
	return &Factory{root: root, device: device}, nil
}

func newLink(name string, by link, from, until time.Time) (link, error) {
	key, err := generateKey(authorityBits)
	if err != nil {
		return link{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Virtual Apple"}},
		NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SignatureAlgorithm: x509.SHA1WithRSA,
	}
	if by.cert == nil {
		by = link{template, key}
	}
	cert, err := issueAsApple(template, by, key)
	return link{cert, key}, err
}

func issueAsApple(template *x509.Certificate, by link, key *rsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("certifying %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// AnchorsPEM is the certificate of the authority that certifies devices: what a server goes by that tells them from others.
func (f *Factory) AnchorsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.device.cert.Raw})
}

// chain is what a device sends along with its signature.
func (f *Factory) chain() []*x509.Certificate {
	return []*x509.Certificate{f.device.cert, f.root.cert}
}

// builtin makes the identity that a device leaves the factory with.
func (f *Factory) builtin(udid string) (*identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.keys) < sharedKeys {
		key, err := generateKey(builtinBits)
		if err != nil {
			return nil, err
		}
		f.keys = append(f.keys, key)
	}
	f.serial++
	key, now := f.keys[int(f.serial)%len(f.keys)], time.Now()
	cert, err := issueAsApple(&x509.Certificate{
		SerialNumber: big.NewInt(f.serial), Subject: pkix.Name{CommonName: udid, OrganizationalUnit: []string{"iPhone"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		SignatureAlgorithm: x509.SHA1WithRSA,
	}, f.device, key)
	if err != nil {
		return nil, err
	}
	return &identity{key: key, cert: cert, ca: f.chain()}, nil
}
