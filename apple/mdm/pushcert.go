package mdm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/micromdm/nanomdm/cryptoutil"

	"github.com/muster-mdm/muster/provision"
)

// PushCertificate is what entitles the server to wake the devices of its topic.
type PushCertificate struct {
	// Topic is the user id of the certificate's subject; enrollment profiles name it.
	Topic     string
	Subject   string
	NotBefore time.Time
	NotAfter  time.Time
}

// StorePushCertificate keeps a push certificate with its unencrypted key, in PEM. One of the same topic is replaced, and
// pushes use the new one at once; devices that enrolled under another topic can't be woken by it. It fails with
// [provision.Invalid] when the two don't belong together, the certificate names no topic, or its time is over.
func (s *Storage) StorePushCertificate(ctx context.Context, certPEM, keyPEM []byte) (PushCertificate, error) {
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return PushCertificate{}, provision.Errorf(provision.Invalid, "The push certificate and its key don't belong together, or are not PEM: %s.", err)
	}
	c, err := readPushCertificate(certPEM)
	if err != nil {
		return c, err
	}
	if now := time.Now(); now.After(c.NotAfter) {
		return c, provision.Errorf(provision.Invalid, "The push certificate expired on %s; renew it at identity.apple.com with the same Apple Account.", c.NotAfter.Format(time.DateOnly))
	}
	if err := s.StorePushCert(ctx, certPEM, keyPEM); err != nil {
		return c, fmt.Errorf("storing the push certificate: %w", err)
	}
	return c, nil
}

func readPushCertificate(certPEM []byte) (PushCertificate, error) {
	cert, err := cryptoutil.DecodePEMCertificate(certPEM)
	if err != nil {
		return PushCertificate{}, provision.Errorf(provision.Invalid, "The push certificate can't be read: %s.", err)
	}
	topic, err := cryptoutil.TopicFromCert(cert)
	if err != nil {
		return PushCertificate{}, provision.Errorf(provision.Invalid, "The certificate names no push topic (com.apple.mgmt…), so it is not one for MDM pushes.")
	}
	return describe(cert, topic), nil
}

func describe(cert *x509.Certificate, topic string) PushCertificate {
	return PushCertificate{Topic: topic, Subject: cert.Subject.CommonName, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}

// PushCertificates lists the stored push certificates, the newest first.
func (s *Storage) PushCertificates(ctx context.Context) ([]PushCertificate, error) {
	const list = `
SELECT cert_pem
FROM push_certs
ORDER BY updated_at DESC, topic`
	rows, err := s.db.QueryContext(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("reading the push certificates: %w", err)
	}
	defer func() { _ = rows.Close() }() // its error comes by Err
	var all []PushCertificate
	for rows.Next() {
		var certPEM []byte
		if err := rows.Scan(&certPEM); err != nil {
			return nil, fmt.Errorf("reading the push certificates: %w", err)
		}
		c, err := readPushCertificate(certPEM)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the push certificates: %w", err)
	}
	return all, nil
}

// Topic returns the topic of the newest push certificate. It fails with [provision.PushCertificateMissing].
func (s *Storage) Topic(ctx context.Context) (string, error) {
	all, err := s.PushCertificates(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", provision.Errorf(provision.PushCertificateMissing, "There is no push certificate yet, so no device could be woken; store the one from identity.apple.com first.")
	}
	return all[0].Topic, nil
}
