package abm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// credentials are an MDM server's token, in the names of Apple's token file.
type credentials struct {
	ConsumerKey    string    `json:"consumer_key"`
	ConsumerSecret string    `json:"consumer_secret"`
	AccessToken    string    `json:"access_token"`
	AccessSecret   string    `json:"access_secret"`
	Expires        time.Time `json:"access_token_expiry"`
	Revoked        bool      `json:"-"`
}

// ErrNotACertificate refuses an upload that holds no certificate with an RSA key.
var ErrNotACertificate = errors.New("not a PEM certificate with an RSA key")

// IssueToken is the portal's "upload the public key, download the token": the server's new token as a .p7m file that the
// certificate's key opens. It makes the former token worthless; the consumer key stays the server's own.
func (o *Organization) IssueToken(serverID string, certificatePEM []byte) ([]byte, error) {
	certificate, err := rsaCertificate(certificatePEM)
	if err != nil {
		return nil, err
	}
	var token credentials
	err = o.with(serverID, func(s *server) {
		if s.Token.AccessToken != "" {
			s.Replaced = append(s.Replaced, s.Token.AccessToken)
		}
		s.Token = credentials{
			ConsumerKey: s.Token.ConsumerKey, ConsumerSecret: "CS_" + secret(20),
			AccessToken: "AT_" + secret(40), AccessSecret: "AS_" + secret(20),
			Expires: o.now().Add(o.cfg.Lifetime.Token).Truncate(time.Second),
		}
		setDefault(&s.Token.ConsumerKey, "CK_"+secret(48))
		s.Sessions++
		s.Updated = o.now()
		token = s.Token
	})
	if err != nil {
		return nil, err
	}
	return wrapToken(token, certificate)
}

// RevokeToken makes the server's token worthless before its time.
func (o *Organization) RevokeToken(serverID string) error {
	return o.with(serverID, func(s *server) {
		s.Token.Revoked = true
		s.Sessions++
	})
}

// ExpireToken brings the end of the server's token forward to now.
func (o *Organization) ExpireToken(serverID string) error {
	return o.with(serverID, func(s *server) { s.Token.Expires = o.now() })
}

// RenewConsumer gives the server another consumer key with its next token, as deleting and creating it anew would.
func (o *Organization) RenewConsumer(serverID string) error {
	return o.with(serverID, func(s *server) { s.Token.ConsumerKey = "" })
}

func secret(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails, by its contract
	return hex.EncodeToString(b)
}

func rsaCertificate(certificatePEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certificatePEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, ErrNotACertificate
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotACertificate, err)
	}
	if _, ok := certificate.PublicKey.(*rsa.PublicKey); !ok {
		return nil, ErrNotACertificate
	}
	return certificate, nil
}

const (
	tokenHeader = "Content-Type: application/pkcs7-mime; name=\"smime.p7m\"; smime-type=enveloped-data\r\n" +
		"Content-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=\"smime.p7m\"\r\n" +
		"Content-Description: S/MIME Encrypted Message\r\n\r\n"
	messageHeader = "Content-Type: text/plain;charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
)

// wrapToken builds the file as Apple does: JSON between message marks, in a MIME part, enveloped, in S/MIME.
func wrapToken(token credentials, to *x509.Certificate) ([]byte, error) {
	content, err := json.Marshal(token) //nolint:gosec // the file is the token; it is encrypted below
	if err != nil {
		return nil, fmt.Errorf("writing the token: %w", err)
	}
	message := messageHeader + "-----BEGIN MESSAGE-----\r\n" + string(content) + "\r\n-----END MESSAGE-----\r\n"
	enveloped, err := envelop([]byte(message), to)
	if err != nil {
		return nil, fmt.Errorf("encrypting the token: %w", err)
	}
	return append([]byte(tokenHeader), foldBase64(enveloped)...), nil
}
