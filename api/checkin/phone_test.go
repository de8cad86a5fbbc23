package checkin_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"
)

const (
	checkinMedia = "application/x-apple-aspen-mdm-checkin"
	answerMedia  = "application/x-apple-aspen-mdm"
)

var newKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// phone is a device in the hands of the test: it says what it is told, right or wrong.
type phone struct {
	e            *env
	serial, udid string
	key          *rsa.PrivateKey
	cert         *x509.Certificate
}

// phone registers a device and gives it an identity.
func (e *env) phone(serial string) *phone {
	e.t.Helper()
	e.register(serial)
	key, err := newKey()
	require.NoError(e.t, err)
	p := &phone{e: e, serial: serial, udid: "UDID-" + serial, key: key}
	p.cert = p.identity()
	return p
}

// identity gets a certificate as SCEP would.
func (p *phone) identity() *x509.Certificate {
	p.e.t.Helper()
	challenge := sha256.Sum256([]byte(rand.Text()))
	require.NoError(p.e.t, p.e.db.AddChallenge(p.e.t.Context(), p.serial, challenge, time.Hour))
	der, err := p.e.db.Redeem(p.e.t.Context(), challenge, sha256.Sum256([]byte("key")), func(serial string) ([]byte, error) {
		return p.e.authority.Issue(serial, p.key.Public())
	})
	require.NoError(p.e.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(p.e.t, err)
	return cert
}

// enrolled is a phone that went through Authenticate and TokenUpdate.
func (e *env) enrolled(serial string) *phone {
	e.t.Helper()
	p := e.phone(serial)
	require.Equal(e.t, 200, p.authenticate().status)
	require.Equal(e.t, 200, p.tokenUpdate().status)
	return p
}

// provisioned is an enrolled phone whose plan has been made.
func (e *env) provisioned(serial string) *phone {
	e.t.Helper()
	p := e.enrolled(serial)
	e.bring(serial)
	e.apply(serial)
	return p
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := plist.Marshal(v)
	require.NoError(t, err)
	return raw
}

// sign makes the Mdm-Signature header.
func (p *phone) sign(body []byte) string {
	p.e.t.Helper()
	signed, err := pkcs7.NewSignedData(body)
	require.NoError(p.e.t, err)
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(p.e.t, signed.AddSigner(p.cert, p.key, pkcs7.SignerInfoConfig{}))
	signed.Detach()
	der, err := signed.Finish()
	require.NoError(p.e.t, err)
	return base64.StdEncoding.EncodeToString(der)
}

// request is a message before it is sent, for tests that spoil it.
func (p *phone) request(media string, body []byte) *http.Request {
	p.e.t.Helper()
	r, err := http.NewRequestWithContext(p.e.t.Context(), http.MethodPut, p.e.server.URL+"/mdm", bytes.NewReader(body))
	require.NoError(p.e.t, err)
	r.Header.Set("Content-Type", media)
	r.Header.Set("Mdm-Signature", p.sign(body))
	return r
}

func (p *phone) send(r *http.Request) answer {
	p.e.t.Helper()
	resp, err := p.e.server.Client().Do(r)
	return read(p.e.t, resp, err)
}

func (p *phone) checkin(d dict) answer {
	p.e.t.Helper()
	return p.send(p.request(checkinMedia, marshal(p.e.t, d)))
}

func (p *phone) say(kind string, more dict) dict {
	d := dict{"MessageType": kind, "UDID": p.udid, "Topic": topic}
	for k, v := range more {
		d[k] = v
	}
	return d
}

func (p *phone) authenticate() answer {
	p.e.t.Helper()
	return p.checkin(p.say("Authenticate", dict{"SerialNumber": p.serial, "OSVersion": "18.1", "BuildVersion": "22B83", "ProductName": "iPhone14,5"}))
}

func (p *phone) tokenUpdate() answer {
	p.e.t.Helper()
	return p.checkin(p.say("TokenUpdate", dict{"Token": []byte{1, 2}, "PushMagic": "magic", "AwaitingConfiguration": true}))
}

func (p *phone) checkOut() answer {
	p.e.t.Helper()
	return p.checkin(p.say("CheckOut", nil))
}

// answer reports to the server URL and returns what it said, and the command that came with it.
func (p *phone) answer(d dict) (answer, command) {
	p.e.t.Helper()
	a := p.send(p.request(answerMedia, marshal(p.e.t, d)))
	var c command
	if a.status == http.StatusOK && len(a.body) > 0 {
		require.NoError(p.e.t, plist.Unmarshal(a.body, &c))
	}
	return a, c
}

// command is what the server wants done.
type command struct {
	CommandUUID string
	Command     struct{ RequestType string }
}

func (p *phone) idle() command {
	p.e.t.Helper()
	a, c := p.answer(dict{"UDID": p.udid, "Status": "Idle"})
	require.Equal(p.e.t, 200, a.status, string(a.body))
	return c
}

// report answers a command with a status and returns the next one.
func (p *phone) report(uuid, status string) command {
	p.e.t.Helper()
	a, c := p.answer(p.reported(uuid, status))
	require.Equal(p.e.t, 200, a.status, string(a.body))
	return c
}

func (p *phone) reported(uuid, status string) dict {
	d := dict{"UDID": p.udid, "CommandUUID": uuid, "Status": status}
	if status == "Error" {
		d["ErrorChain"] = []any{dict{"ErrorCode": 4001, "ErrorDomain": "MCInstallationErrorDomain", "LocalizedDescription": "No.", "USEnglishDescription": "No."}}
	}
	return d
}

// withTLS returns a client that shows the phone's certificate when it connects.
func (p *phone) withTLS() *http.Client {
	transport := p.e.server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}}
	p.e.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
