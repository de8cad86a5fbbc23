package identity

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Foreign is another authority that devices get their certificates from, by a SCEP service of its own. It names the device's
// serial number as the common name, because it was asked to: see [Profile].
type Foreign struct {
	anchors *x509.CertPool
	certs   []*x509.Certificate
}

// LoadForeign returns the authority whose certificates, intermediates among them, are in the PEM text.
func LoadForeign(text []byte) (*Foreign, error) {
	certs, err := parsePEM(text)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of the external authority: %w", err)
	}
	f := &Foreign{anchors: x509.NewCertPool(), certs: certs}
	for _, c := range certs {
		f.anchors.AddCert(c)
	}
	return f, nil
}

// Certificates are those of the authority.
func (f *Foreign) Certificates() []*x509.Certificate { return f.certs }

// Verify reports an error unless the authority issued the certificate, for a client. It doesn't look at the time, but the
// authority must have been valid when it issued.
func (f *Foreign) Verify(cert *x509.Certificate) error {
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: f.anchors, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: cert.NotBefore,
	})
	if err == nil && cert.IsCA {
		err = errors.New("it is an authority's, not a client's")
	}
	if err != nil {
		return fmt.Errorf("the certificate was not issued by the external authority: %w", err)
	}
	return nil
}

// renewalUnit tells in a certificate of another authority, which takes over what the device asks for, that it renews an
// enrollment.
const renewalUnit = "Renewal of enrollment "

// RenewalOf returns the enrollment that a certificate of another authority was asked for to renew; 0 = none, or the authority
// left it out.
func RenewalOf(cert *x509.Certificate) int {
	for _, unit := range cert.Subject.OrganizationalUnit {
		number, ok := strings.CutPrefix(unit, renewalUnit)
		if n, err := strconv.Atoi(number); ok && err == nil && n > 0 {
			return n
		}
	}
	return 0
}

// parsePEM reads all certificates of a text; what else is in it doesn't count.
func parsePEM(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is none in PEM form")
	}
	return certs, nil
}
