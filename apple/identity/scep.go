package identity

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"

	"github.com/muster-mdm/muster/apple/cms"
	"github.com/muster-mdm/muster/provision"
)

// capabilities are those of RFC 8894 that every device of today understands. Renewal is not among them: a new identity
// comes with a new profile.
const capabilities = "POSTPKIOperation\nSHA-256\nAES\nSCEPStandard\n"

// maxRequest bounds a SCEP message; a request for an 8192-bit key has some 8 KiB.
const maxRequest = 64 << 10

func init() {
	// The library encrypts answers by DES unless told otherwise, for the whole process; we announce AES.
	pkcs7.ContentEncryptionAlgorithm = pkcs7.EncryptionAlgorithmAES128CBC
}

// SCEP is the service that issues identities, as one http.Handler for its address.
type SCEP struct {
	authority *Authority
	ledger    Ledger
	log       *slog.Logger
}

// NewSCEP returns the service of an authority.
func NewSCEP(a *Authority, l Ledger, log *slog.Logger) *SCEP {
	return &SCEP{authority: a, ledger: l, log: log}
}

// ServeHTTP answers GetCACaps, GetCACert and PKIOperation (RFC 8894, 4).
func (s *SCEP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "SCEP uses GET and POST.", http.StatusMethodNotAllowed)
		return
	}
	switch operation := r.URL.Query().Get("operation"); operation {
	case "GetCACaps":
		s.answer(w, r, "text/plain", []byte(capabilities))
	case "GetCACert":
		s.answer(w, r, "application/x-x509-ca-cert", s.authority.cert.Raw)
	case "PKIOperation":
		s.operate(w, r)
	default:
		http.Error(w, "The operation is none of GetCACaps, GetCACert, PKIOperation.", http.StatusBadRequest)
	}
}

func (s *SCEP) answer(w http.ResponseWriter, r *http.Request, media string, body []byte) {
	w.Header().Set("Content-Type", media)
	if _, err := w.Write(body); err != nil {
		s.log.DebugContext(r.Context(), "scep answer lost", "error", err)
	}
}

func (s *SCEP) operate(w http.ResponseWriter, r *http.Request) {
	body, err := message(w, r)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, "The message is larger than 64 KiB.", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "The message can't be read.", http.StatusBadRequest)
		return
	}
	request, err := open(body, s.authority)
	if err != nil {
		// Why a message can't be opened stays ours: told apart, decryption errors would betray what others sent.
		s.log.WarnContext(r.Context(), "scep message refused", "remote", r.RemoteAddr, "error", err)
		http.Error(w, "The message is not a SCEP request for this authority.", http.StatusBadRequest)
		return
	}
	reply, err := s.reply(r, request)
	if err != nil {
		// Not a SCEP failure, which would end the enrollment: the device may try again.
		s.log.ErrorContext(r.Context(), "scep request failed", "remote", r.RemoteAddr, "error", err)
		http.Error(w, "The certificate can't be issued now; try again shortly.", http.StatusServiceUnavailable)
		return
	}
	s.answer(w, r, "application/x-pki-message", reply.Raw)
}

func message(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Method == http.MethodPost {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	}
	text := r.URL.Query().Get("message")
	if len(text) > base64.StdEncoding.EncodedLen(maxRequest) {
		return nil, &http.MaxBytesError{Limit: maxRequest}
	}
	// Some clients escape twice, others not at all.
	if unescaped, err := url.PathUnescape(text); err == nil {
		text = unescaped
	}
	return base64.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", "+"))
}

func open(body []byte, a *Authority) (*scep.PKIMessage, error) {
	if err := checkForm(body); err != nil {
		return nil, err
	}
	var request *scep.PKIMessage
	err := cms.Safely(func() (err error) {
		if request, err = scep.ParsePKIMessage(body); err != nil {
			return fmt.Errorf("reading the message: %w", err)
		}
		if request.MessageType != scep.PKCSReq {
			return errors.New("the message is not a PKCSReq")
		}
		if err := request.DecryptPKIEnvelope(a.cert, a.key); err != nil {
			return fmt.Errorf("opening the envelope: %w", err)
		}
		return nil
	})
	return request, err
}

// checkForm makes sure of the message and of the one inside it, which the library reads by itself and trusts.
func checkForm(body []byte) error {
	outer, err := cms.Parse(body)
	if err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	if _, err := cms.Parse(outer.Content); err != nil {
		return fmt.Errorf("reading the envelope: %w", err)
	}
	return nil
}

// reply issues the certificate, or says no in SCEP's terms. An error means that neither was possible.
func (s *SCEP) reply(r *http.Request, request *scep.PKIMessage) (*scep.PKIMessage, error) {
	cert, err := s.issue(r.Context(), request.CSRReqMessage)
	if err == nil {
		return request.Success(s.authority.cert, s.authority.key, cert)
	}
	code := provision.CodeOf(err)
	info, final := failures[code]
	if !final {
		return nil, err
	}
	s.log.WarnContext(r.Context(), "identity refused", "code", string(code), "reason", err.Error(), "remote", r.RemoteAddr)
	return request.Fail(s.authority.cert, s.authority.key, info)
}

const (
	codeSignature provision.Code = "csr_signature_invalid"
	codeKey       provision.Code = "csr_key_invalid"
)

// failures maps errors to SCEP's failInfo (RFC 8894, 3.2.1.4.5).
var failures = map[provision.Code]scep.FailInfo{
	provision.ChallengeRefused: scep.BadRequest,
	codeSignature:              scep.BadMessageCheck,
	codeKey:                    scep.BadAlg,
}

func (s *SCEP) issue(ctx context.Context, request *scep.CSRReqMessage) (*x509.Certificate, error) {
	csr := request.CSR
	key, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minKeyBits || key.N.BitLen() > maxKeyBits {
		return nil, provision.Errorf(codeKey, "The key is not an RSA key of %d to %d bits.", minKeyBits, maxKeyBits)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, provision.Errorf(codeSignature, "The request is not signed by the key that it names.")
	}
	der, err := s.ledger.Redeem(ctx, sha256.Sum256([]byte(request.ChallengePassword)), sha256.Sum256(csr.RawSubjectPublicKeyInfo),
		func(serial string) ([]byte, error) { return s.authority.Issue(serial, key) })
	if err != nil {
		return nil, fmt.Errorf("redeeming a challenge: %w", err)
	}
	return x509.ParseCertificate(der)
}
