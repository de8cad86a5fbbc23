package identity

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// undated makes certificates valid at any time.
func undated(certs []*x509.Certificate) {
	for _, c := range certs {
		c.NotBefore, c.NotAfter = time.Time{}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
}

// longestChain is more than Apple's, which are three certificates below the root.
const longestChain = 5

// verifySigner makes sure that a device's certificate goes back to an anchor. [x509.Certificate.Verify] can't: Apple's iPhone
// Device CA has expired and is signed by SHA-1, as are the certificates that it issues, by keys of 1024 bits. What makes that
// bearable is that the anchors are named by the operator and that nobody is let in by this signature alone.
func (m *Machines) verifySigner(leaf *x509.Certificate, sent []*x509.Certificate) error {
	switch {
	case m.insecure:
		return nil
	case leaf.IsCA:
		return errors.New("it is an authority's, not a device's")
	case len(leaf.UnhandledCriticalExtensions) > 0:
		return errors.New("it has a critical extension that isn't known")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("it is not for signatures")
	}
	for depth := range longestChain {
		if i := slices.IndexFunc(m.anchors, func(a *x509.Certificate) bool { return issued(a, leaf) }); i >= 0 {
			return nil
		}
		i := slices.IndexFunc(sent, func(c *x509.Certificate) bool { return mayIssue(c, depth) && issued(c, leaf) })
		if i < 0 {
			break
		}
		leaf = sent[i]
	}
	return errors.New("it doesn't go back to a trust anchor")
}

// mayIssue reports whether a certificate that came with the message is an authority's, with so many others below it.
func mayIssue(c *x509.Certificate, below int) bool {
	return c.IsCA && c.BasicConstraintsValid && (c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0) &&
		len(c.UnhandledCriticalExtensions) == 0 && (c.MaxPathLen < 0 || c.MaxPathLen == 0 && !c.MaxPathLenZero || below <= c.MaxPathLen)
}

// issued reports whether one certificate signed another. [x509.Certificate.CheckSignatureFrom] would refuse SHA-1.
func issued(authority, cert *x509.Certificate) bool {
	return slices.Equal(authority.RawSubject, cert.RawIssuer) &&
		authority.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}
