package sim

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// keptIdentity is an identity on disk, its private key in clear: it opens nothing but a virtual device.
type keptIdentity struct {
	Key         []byte // PKCS #8
	Certificate []byte
	Authorities [][]byte
}

func (id *identity) keep() (keptIdentity, error) {
	key, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		return keptIdentity{}, fmt.Errorf("encoding its identity's key: %w", err)
	}
	kept := keptIdentity{Key: key, Certificate: id.cert.Raw}
	for _, ca := range id.ca {
		kept.Authorities = append(kept.Authorities, ca.Raw)
	}
	return kept, nil
}

func (k keptIdentity) recall() (*identity, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, fmt.Errorf("reading its identity's key: %w", err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading its identity's key: it is a %T", parsed)
	}
	cert, err := x509.ParseCertificate(k.Certificate)
	if err != nil {
		return nil, fmt.Errorf("reading its identity's certificate: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("its identity's certificate belongs to another key")
	}
	id := &identity{key: key, cert: cert}
	for _, der := range k.Authorities {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading its authority's certificate: %w", err)
		}
		id.ca = append(id.ca, ca)
	}
	return id, nil
}
