package mdm

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/smallstep/pkcs7"

	"github.com/muster-mdm/muster/apple/cms"
)

// maxSignature bounds the header; with a chain of certificates one has some 10 KiB.
const maxSignature = 64 << 10

// Signature is an Mdm-Signature header: a detached CMS signature over the body of a message, in base64.
type Signature struct {
	signed *pkcs7.PKCS7
	signer *x509.Certificate
}

// ReadSignature reads a header without the message that it belongs to. Nothing of it is verified.
func ReadSignature(header string) (*Signature, error) {
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
	signer := signed.GetOnlySigner()
	if signer == nil {
		return nil, errors.New("reading the signature: it has no signer")
	}
	// Verifying changes the dates of the parsed copies; these stay as they are.
	cert, err := x509.ParseCertificate(signer.Raw)
	if err != nil {
		return nil, fmt.Errorf("reading the signer's certificate: %w", err)
	}
	return &Signature{signed: signed, signer: cert}, nil
}

// Signer is the certificate that is said to have signed. Who issued it, and whether it did sign, others must find out.
func (s *Signature) Signer() *x509.Certificate { return s.signer }

// Verify makes sure that the signer signed the body. The signing time may lie up to slack outside the certificate's validity:
// clocks of fresh devices are wrong, and an expired identity may be let in for a while.
func (s *Signature) Verify(body []byte, slack time.Duration) error {
	s.signed.Content = body
	// The check of the signing time has no other handle than the parsed copies' dates.
	for _, c := range s.signed.Certificates {
		c.NotBefore, c.NotAfter = c.NotBefore.Add(-slack), c.NotAfter.Add(slack)
	}
	if err := cms.Safely(s.signed.Verify); err != nil {
		return fmt.Errorf("verifying the signature: %w", err)
	}
	return nil
}

// CertificateRefused reports whether [Authorized] refused a certificate for not belonging to the enrollment.
func CertificateRefused(err error) bool {
	return errors.Is(err, certauth.ErrNoCertAssoc) || errors.Is(err, certauth.ErrNoCertReuse) || errors.Is(err, certauth.ErrMissingCert)
}

// CertificateHash is how NanoMDM and the store name a certificate: the SHA-256 of its DER in lower-case hex.
func CertificateHash(cert *x509.Certificate) string { return certauth.HashCert(cert) }
