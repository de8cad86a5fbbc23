package mdm

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/micromdm/nanomdm/service/certauth"

	"github.com/muster-mdm/muster/apple/cms"
)

// maxSignature bounds the header; with a chain of certificates one has some 10 KiB.
const maxSignature = 64 << 10

// VerifySignature checks an Mdm-Signature header, a detached CMS signature over the body in base64, and returns the
// certificate that signed. It says nothing about who issued that. The signing time may lie up to slack outside the
// certificate's validity: clocks of fresh devices are wrong, and an expired identity may be let in for a while.
func VerifySignature(header string, body []byte, slack time.Duration) (*x509.Certificate, error) {
	if len(header) > maxSignature {
		return nil, errors.New("the signature is too long")
	}
	der, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return nil, fmt.Errorf("decoding the signature: %w", err)
	}
	signed, err := cms.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	signed.Content = body
	// The check of the signing time has no other handle than the parsed copies' dates; they are read anew below.
	for _, c := range signed.Certificates {
		c.NotBefore, c.NotAfter = c.NotBefore.Add(-slack), c.NotAfter.Add(slack)
	}
	if err := cms.Safely(signed.Verify); err != nil {
		return nil, fmt.Errorf("verifying the signature: %w", err)
	}
	signer := signed.GetOnlySigner()
	if signer == nil {
		return nil, errors.New("verifying the signature: it has no signer")
	}
	cert, err := x509.ParseCertificate(signer.Raw)
	if err != nil {
		return nil, fmt.Errorf("reading the signer's certificate: %w", err)
	}
	return cert, nil
}

// CertificateRefused reports whether [Authorized] refused a certificate for not belonging to the enrollment.
func CertificateRefused(err error) bool {
	return errors.Is(err, certauth.ErrNoCertAssoc) || errors.Is(err, certauth.ErrNoCertReuse) || errors.Is(err, certauth.ErrMissingCert)
}

// CertificateHash is how NanoMDM and the store name a certificate: the SHA-256 of its DER in lower-case hex.
func CertificateHash(cert *x509.Certificate) string { return certauth.HashCert(cert) }
