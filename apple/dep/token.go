package dep

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/muster-mdm/muster/apple/cms"
	"github.com/muster-mdm/muster/provision"
)

// Token lets a server ask the device assignment API, for a year from its download; a newer download replaces it. As JSON
// it has the names of Apple's own file. Printing one shows no secrets.
type Token struct {
	ConsumerKey    string    `json:"consumer_key"` // of the server at Apple; the same in all of its tokens
	ConsumerSecret string    `json:"consumer_secret"`
	AccessToken    string    `json:"access_token"`
	AccessSecret   string    `json:"access_secret"`
	Expiry         time.Time `json:"access_token_expiry"`
}

// String names the token by its end, which is all that may be seen of it.
func (t Token) String() string { return "server token until " + t.Expiry.Format(time.DateOnly) }

// GoString is String.
func (t Token) GoString() string { return t.String() }

// LogValue keeps the secrets out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// complete looks at what was decrypted, so it can be strict: the words of a header, printable and without blanks.
func (t Token) complete() bool {
	for _, part := range []string{t.ConsumerKey, t.ConsumerSecret, t.AccessToken, t.AccessSecret} {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return !t.Expiry.IsZero()
}

const (
	keyBits  = 2048
	backdate = 24 * time.Hour // clocks differ
	// The portal asks for the certificate again only when it is to be another one, so that it should outlast renewals.
	certificateLife = 10 * 365 * 24 * time.Hour
	maxCommonName   = 64 // RFC 5280, ub-common-name
)

// NewKeyPair makes the certificate that is uploaded to Apple's portal, and its key, in PKCS #8. Tokens downloaded
// afterwards are encrypted for it.
func NewKeyPair(organization string, now time.Time) (certificatePEM, keyDER []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, nil, fmt.Errorf("making the key for server tokens: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: commonName(organization)},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the certificate for server tokens: %w", err)
	}
	keyDER, err = x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("writing the key for server tokens: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyDER, nil
}

func commonName(organization string) string {
	name := []rune(strings.TrimSpace(strings.ToValidUTF8(organization, "")))
	if len(name) == 0 {
		return "Muster"
	}
	return string(name[:min(len(name), maxCommonName)])
}

// serialNumber is random: a token names its certificate by it, so that another server's is told apart.
func serialNumber() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// OpenToken reads a server token out of the file that Apple's portal gave for the certificate, whatever a browser or a
// mail program made of its outermost form. It fails with [provision.ABMTokenForeignKey] when the file is for another
// certificate, and [provision.ABMTokenInvalid] when it is anything else. It doesn't look at the token's expiry.
func OpenToken(p7m, certificatePEM, keyDER []byte) (Token, error) {
	certificate, key, err := readKeyPair(certificatePEM, keyDER)
	if err != nil {
		return Token{}, err
	}
	ber, err := unwrap(p7m)
	if err != nil {
		return Token{}, err
	}
	message, err := cms.Parse(ber)
	if err != nil {
		return Token{}, damaged()
	}
	content, err := decrypt(message, certificate, key)
	if err != nil {
		return Token{}, err
	}
	var t Token
	if err := json.Unmarshal(payload(content), &t); err != nil || !t.complete() {
		return Token{}, invalid("The file was encrypted for this server, but there is no server token in it")
	}
	return t, nil
}

func readKeyPair(certificatePEM, keyDER []byte) (*x509.Certificate, *rsa.PrivateKey, error) {
	block, _ := pem.Decode(certificatePEM)
	if block == nil {
		return nil, nil, errors.New("reading the certificate for server tokens: it is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the certificate for server tokens: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key for server tokens: %w", err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil, errors.New("reading the key for server tokens: it is not the RSA key of its certificate")
	}
	return certificate, key, nil
}

func decrypt(message *pkcs7.PKCS7, certificate *x509.Certificate, key *rsa.PrivateKey) (content []byte, err error) {
	err = cms.Safely(func() (err error) {
		content, err = message.Decrypt(certificate, key)
		return err
	})
	switch {
	case err == nil:
		return content, nil
	case errors.Is(err, pkcs7.ErrNotEncryptedContent):
		return nil, invalid("The file is signed or holds certificates, but nothing in it is encrypted for this server")
	case strings.Contains(err.Error(), "no enveloped recipient"): // the library has no value for it
		return nil, provision.Errorf(provision.ABMTokenForeignKey, "The server token was made for another certificate than this server's. Upload this server's certificate in Apple Business Manager to the same device management service, download the token there again, and upload that.")
	}
	// One answer for all that can be wrong inside: which step failed would help to open what isn't one's own.
	return nil, damaged()
}

// payload is the token within what was encrypted: a MIME part with the JSON between two marks.
func payload(content []byte) []byte {
	if _, after, ok := bytes.Cut(content, []byte("-----BEGIN MESSAGE-----")); ok {
		content, _, _ = bytes.Cut(after, []byte("-----END MESSAGE-----"))
	}
	begin, end := bytes.IndexByte(content, '{'), bytes.LastIndexByte(content, '}')
	if begin < 0 || end < begin {
		return nil
	}
	return content[begin : end+1]
}
