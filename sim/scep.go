package sim

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // an algorithm that the payload may choose
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // an algorithm that the payload may choose
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"
)

const (
	scepType      = "com.apple.security.scep"
	maxSCEPAnswer = 1 << 20
)

// scepClient gets a device's identity certificate as a com.apple.security.scep payload asks for (RFC 8894).
type scepClient struct {
	http    *http.Client
	payload dict // the payload's PayloadContent
}

type identity struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
	ca   []*x509.Certificate
}

func (s *scepClient) keyBits() int {
	if bits, ok := integer(s.payload, "Keysize"); ok {
		return int(bits)
	}
	return 1024 // the payload's default
}

func (s *scepClient) enroll(ctx context.Context, key *rsa.PrivateKey) (*identity, error) {
	caps, err := s.get(ctx, "GetCACaps", text(s.payload, "Name"))
	if err != nil {
		return nil, err
	}
	ca, err := s.authorities(ctx)
	if err != nil {
		return nil, err
	}
	request, signer, err := s.request(key, ca)
	if err != nil {
		return nil, err
	}
	answer, err := s.operate(ctx, string(caps), request.Raw)
	if err != nil {
		return nil, err
	}
	cert, err := readCertificate(answer, ca, signer, key)
	if err != nil {
		return nil, err
	}
	return &identity{key: key, cert: cert, ca: ca}, nil
}

func (s *scepClient) authorities(ctx context.Context) ([]*x509.Certificate, error) {
	der, err := s.get(ctx, "GetCACert", text(s.payload, "Name"))
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificates(der)
	if err != nil { // several come in a PKCS #7 envelope
		ca, err = scep.CACerts(der)
	}
	if err != nil || len(ca) == 0 {
		return nil, fmt.Errorf("reading the SCEP server's certificates: %w", errors.Join(err, errors.New("none found")))
	}
	expected := data(s.payload, "CAFingerprint")
	if len(expected) > 0 && !bytes.Equal(expected, fingerprint(ca[0].Raw, len(expected))) {
		return nil, errors.New("the SCEP server's certificate has another fingerprint than the payload says")
	}
	return ca, nil
}

// fingerprint hashes by the algorithm that the length tells; the payload names none.
func fingerprint(der []byte, length int) []byte {
	switch length {
	case md5.Size:
		sum := md5.Sum(der) //nolint:gosec // compared with what the payload names
		return sum[:]
	case sha1.Size:
		sum := sha1.Sum(der) //nolint:gosec // compared with what the payload names
		return sum[:]
	}
	sum := sha256.Sum256(der)
	return sum[:]
}

// request signs with a certificate made for this one message, as a device without an identity must.
func (s *scepClient) request(key *rsa.PrivateKey, ca []*x509.Certificate) (*scep.PKIMessage, *x509.Certificate, error) {
	subject, err := subjectOf(s.payload)
	if err != nil {
		return nil, nil, err
	}
	template := &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{Subject: subject, SignatureAlgorithm: x509.SHA256WithRSA},
		ChallengePassword:  text(s.payload, "Challenge"),
	}
	der, err := x509util.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, nil, fmt.Errorf("making certificate request: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, fmt.Errorf("making certificate request: %w", err)
	}
	signer, err := selfSigned(key, subject)
	if err != nil {
		return nil, nil, err
	}
	message, err := scep.NewCSRRequest(csr, &scep.PKIMessage{
		MessageType: scep.PKCSReq,
		Recipients:  ca,
		SignerKey:   key,
		SignerCert:  signer,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making SCEP request: %w", err)
	}
	return message, signer, nil
}

func readCertificate(answer []byte, ca []*x509.Certificate, signer *x509.Certificate, key *rsa.PrivateKey) (*x509.Certificate, error) {
	message, err := scep.ParsePKIMessage(answer, scep.WithCACerts(ca))
	if err != nil {
		return nil, fmt.Errorf("reading SCEP answer: %w", err)
	}
	if message.CertRepMessage == nil || message.PKIStatus != scep.SUCCESS {
		reason := ""
		if message.CertRepMessage != nil {
			reason = fmt.Sprintf(": status %s, reason %s", message.PKIStatus, message.FailInfo)
		}
		return nil, errors.New("the SCEP server gave no certificate" + reason)
	}
	if err := message.DecryptPKIEnvelope(signer, key); err != nil {
		return nil, fmt.Errorf("opening SCEP answer: %w", err)
	}
	cert := message.Certificate
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the SCEP server certified another key")
	}
	return cert, nil
}

func (s *scepClient) operate(ctx context.Context, caps string, message []byte) ([]byte, error) {
	for line := range strings.SplitSeq(caps, "\n") {
		if c := strings.TrimSpace(line); strings.EqualFold(c, "POSTPKIOperation") || strings.EqualFold(c, "SCEPStandard") {
			return s.do(ctx, http.MethodPost, "PKIOperation", "", message)
		}
	}
	return s.get(ctx, "PKIOperation", base64.StdEncoding.EncodeToString(message))
}

func (s *scepClient) get(ctx context.Context, operation, message string) ([]byte, error) {
	return s.do(ctx, http.MethodGet, operation, message, nil)
}

func (s *scepClient) do(ctx context.Context, method, operation, message string, body []byte) ([]byte, error) {
	u, err := url.Parse(text(s.payload, "URL"))
	if err != nil {
		return nil, fmt.Errorf("reading SCEP address: %w", err)
	}
	query := u.Query()
	query.Set("operation", operation)
	if message != "" {
		query.Set("message", message)
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making SCEP request: %w", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-pki-message")
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the SCEP server for %s: %w", operation, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxSCEPAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", operation, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &HTTPError{Message: "SCEP " + operation, Status: resp.StatusCode, Body: beginning(answer)}
	}
	return answer, nil
}

func selfSigned(key *rsa.PrivateKey, subject pkix.Name) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing request certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

var subjectShortcuts = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11},
}

// subjectOf reads the payload's Subject: an array of relative names, each an array of pairs of OID and value.
func subjectOf(payload dict) (pkix.Name, error) {
	var name pkix.Name
	for _, relative := range list(payload, "Subject") {
		pairs, _ := relative.([]any)
		for _, p := range pairs {
			pair, _ := p.([]any)
			if len(pair) != 2 {
				return name, errors.New("reading SCEP subject: a part is not a pair of OID and value")
			}
			oid, err := subjectOID(fmt.Sprint(pair[0]))
			if err != nil {
				return name, err
			}
			name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: oid, Value: fmt.Sprint(pair[1])})
		}
	}
	return name, nil
}

func subjectOID(s string) (asn1.ObjectIdentifier, error) {
	if oid, ok := subjectShortcuts[s]; ok {
		return oid, nil
	}
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("reading SCEP subject: %q is no object identifier", s)
		}
		oid = append(oid, n)
	}
	return oid, nil
}

func beginning(body []byte) string {
	const enough = 200
	return string(body[:min(len(body), enough)])
}
