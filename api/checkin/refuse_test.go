package checkin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/checkin"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
)

// foreign makes a certificate that looks like ours in everything but who signed it.
func (p *phone) foreign() *x509.Certificate {
	p.e.t.Helper()
	other, err := identity.LoadAuthority(p.e.t.Context(), &shelf{}, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(p.e.t, err)
	der, err := other.Issue(p.serial, p.key.Public())
	require.NoError(p.e.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(p.e.t, err)
	return cert
}

func (p *phone) selfSigned() *x509.Certificate {
	p.e.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: p.serial},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	require.NoError(p.e.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(p.e.t, err)
	return cert
}

// issuedUnrecorded is signed by our authority, but not by way of a challenge.
func (p *phone) issuedUnrecorded() *x509.Certificate {
	p.e.t.Helper()
	der, err := p.e.authority.Issue(p.serial, p.key.Public())
	require.NoError(p.e.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(p.e.t, err)
	return cert
}

// Each spoils a good check-in of an enrolled device.
var impostors = map[string]func(p, other *phone) *http.Request{
	"no certificate": func(p, _ *phone) *http.Request {
		r := p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
		r.Header.Del("Mdm-Signature")
		return r
	},
	"signature of another message": func(p, _ *phone) *http.Request {
		r := p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
		r.Header.Set("Mdm-Signature", p.sign([]byte("something else")))
		return r
	},
	"signature that is none": func(p, _ *phone) *http.Request {
		r := p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
		r.Header.Set("Mdm-Signature", base64.StdEncoding.EncodeToString([]byte("0\x03\x02\x01\x01")))
		return r
	},
	"signature not in base64": func(p, _ *phone) *http.Request {
		r := p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
		r.Header.Set("Mdm-Signature", "%%%")
		return r
	},
	"foreign authority": func(p, _ *phone) *http.Request {
		p.cert = p.foreign()
		return p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
	},
	"self-signed": func(p, _ *phone) *http.Request {
		p.cert = p.selfSigned()
		return p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
	},
	"not in the ledger": func(p, _ *phone) *http.Request {
		p.cert = p.issuedUnrecorded()
		return p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
	},
	"another device's certificate": func(p, other *phone) *http.Request {
		p.cert = other.cert
		return p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
	},
	"new certificate before Authenticate": func(p, _ *phone) *http.Request {
		p.cert = p.identity()
		return p.request(checkinMedia, marshal(p.e.t, p.say("TokenUpdate", dict{"Token": []byte{7}, "PushMagic": "stolen"})))
	},
	"Authenticate with another serial": func(p, other *phone) *http.Request {
		return p.request(checkinMedia, marshal(p.e.t, p.say("Authenticate", dict{"SerialNumber": other.serial})))
	},
	"answer for another device": func(p, other *phone) *http.Request {
		return p.request(answerMedia, marshal(p.e.t, dict{"UDID": other.udid, "Status": "Idle"}))
	},
	"token for another device": func(p, other *phone) *http.Request {
		return p.request(checkinMedia, marshal(p.e.t, dict{"MessageType": "TokenUpdate", "UDID": other.udid, "Topic": topic, "Token": []byte{6}, "PushMagic": "stolen"}))
	},
	"header of a proxy that isn't trusted": func(p, _ *phone) *http.Request {
		r := p.request(checkinMedia, marshal(p.e.t, p.say("CheckOut", nil)))
		r.Header.Del("Mdm-Signature")
		r.Header.Set("X-Client-Cert", rfc9440(p.cert))
		return r
	},
}

func TestImpostorsAreRefusedAndChangeNothing(t *testing.T) {
	e := start(t, func(c *checkin.Config) {
		c.ClientHeader, c.TrustedProxies = "X-Client-Cert", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	victim, other := e.enrolled(serial), e.enrolled("C07Q853LG9RX")
	for name, spoil := range impostors {
		t.Run(name, func(t *testing.T) {
			p := *victim
			r := spoil(&p, other)
			before := e.counted()
			require.Equal(t, "400 identity_refused", p.send(r).code())
			require.Equal(t, before, e.counted())
		})
	}
}

// untouched is a body that nobody may read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the message was read")
	return 0, io.EOF
}

// Whoever shows no certificate that counts can't have the server keep megabytes for them.
func TestMessagesOfStrangersAreNotRead(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	stranger := *p
	stranger.cert = p.foreign()
	for name, signature := range map[string]string{"no certificate": "", "no signature": "%%%", "foreign authority": stranger.sign(nil)} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPut, "/mdm", untouched{t})
			r.Header.Set("Content-Type", answerMedia)
			r.Header.Set("Mdm-Signature", signature)
			w := httptest.NewRecorder()
			e.server.Config.Handler.ServeHTTP(w, r)
			require.Equal(t, 400, w.Code)
			require.Contains(t, w.Body.String(), "identity_refused")
		})
	}
}

func TestReleasedAndRevokedDevicesAreRefused(t *testing.T) {
	e := start(t, nil)
	p, other := e.enrolled(serial), e.enrolled("C07Q853LG9RX")
	e.register(serial, provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	_, err := e.db.Carry(t.Context(), serial, provision.Step{Do: provision.ConcludeReleased})
	require.NoError(t, err)
	_, err = e.sql.Exec(t.Context(), `UPDATE identities SET revoked_at = now() WHERE serial = $1`, other.serial)
	require.NoError(t, err)
	before := e.counted()
	require.Equal(t, "400 device_released", p.authenticate().code())
	require.Equal(t, "400 device_released", p.checkOut().code())
	a, _ := p.answer(dict{"UDID": p.udid, "Status": "Idle"})
	require.Equal(t, "400 device_released", a.code())
	require.Equal(t, "400 identity_refused", other.tokenUpdate().code())
	require.Equal(t, before, e.counted())
}

func TestCertificateExpiresUnlessThereIsGrace(t *testing.T) {
	expired := time.Now().Add(identity.DefaultValidity + 24*time.Hour)
	e := start(t, func(c *checkin.Config) { c.Now = func() time.Time { return expired } })
	p := e.phone(serial)
	require.Equal(t, "400 identity_refused", p.authenticate().code())

	e = start(t, func(c *checkin.Config) {
		c.Now, c.ExpiredGrace = func() time.Time { return expired }, 30*24*time.Hour
	})
	require.Equal(t, 200, e.phone(serial).authenticate().status)
}

func rfc9440(cert *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(cert.Raw) + ":"
}

func TestCertificateMayComeByProxyOrTLS(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	e := start(t, func(c *checkin.Config) { c.ClientHeader, c.TrustedProxies = "X-Client-Cert", loopback })
	p := e.phone(serial)
	unsigned := func(kind string, more dict) *http.Request {
		r := p.request(checkinMedia, marshal(t, p.say(kind, more)))
		r.Header.Del("Mdm-Signature")
		return r
	}
	r := unsigned("Authenticate", dict{"SerialNumber": p.serial})
	r.Header.Set("X-Client-Cert", rfc9440(p.cert))
	require.Equal(t, 200, p.send(r).status, "RFC 9440")
	r = unsigned("Authenticate", dict{"SerialNumber": p.serial})
	r.Header.Set("X-Client-Cert", url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))))
	require.Equal(t, 200, p.send(r).status, "escaped PEM")
	r = unsigned("Authenticate", dict{"SerialNumber": p.serial})
	r.Header.Set("X-Client-Cert", ":bm90IG9uZQ==:")
	require.Equal(t, "400 identity_refused", p.send(r).code())
	r = unsigned("Authenticate", dict{"SerialNumber": p.serial})
	r.Header.Set("X-Client-Cert", rfc9440(p.cert))
	r.Header.Add("X-Client-Cert", rfc9440(e.phone("C07Q853LG9RX").cert))
	require.Equal(t, "400 identity_refused", p.send(r).code(), "the proxy adds to what the caller sent")
	r = p.request(checkinMedia, marshal(t, p.say("CheckOut", nil)))
	r.Header.Set("Mdm-Signature", p.sign([]byte("else")))
	r.Header.Set("X-Client-Cert", rfc9440(p.cert))
	require.Equal(t, "400 identity_refused", p.send(r).code(), "a wrong signature is not mended by a right header")

	resp, err := p.withTLS().Do(unsigned("TokenUpdate", dict{"Token": []byte{1}, "PushMagic": "m"}))
	require.Equal(t, 200, read(t, resp, err).status, "TLS")
	require.Equal(t, provision.Managed, e.device(serial).Management())
}

func TestProxyHeaderNeedsProxiesToTrust(t *testing.T) {
	_, err := checkin.New(checkin.Parts{}, checkin.Config{ClientHeader: "X-Client-Cert"})
	require.Error(t, err)
}

// Each is a message of an enrolled device that can't be taken.
var unreadable = map[string]struct {
	media string
	body  []byte
}{
	"empty check-in":           {checkinMedia, nil},
	"no plist":                 {checkinMedia, []byte("hello")},
	"half a plist":             {checkinMedia, []byte(`<?xml version="1.0"?><plist version="1.0"><dict><key>MessageType</key>`)},
	"binary plist":             {checkinMedia, []byte("bplist00\xd1\x01\x02")},
	"not UTF-8":                {checkinMedia, []byte("<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>MessageType</key><string>CheckOut\xff</string></dict></plist>")},
	"unknown message":          {checkinMedia, text(dict{"MessageType": "Surprise", "UDID": "UDID-" + serial})},
	"no message type":          {checkinMedia, text(dict{"UDID": "UDID-" + serial})},
	"no device":                {checkinMedia, text(dict{"MessageType": "CheckOut"})},
	"endless id":               {checkinMedia, text(dict{"MessageType": "Authenticate", "UDID": strings.Repeat("U", 256)})},
	"token update without all": {checkinMedia, text(dict{"MessageType": "TokenUpdate", "UDID": "UDID-" + serial, "Topic": topic})},
	"token of great length":    {checkinMedia, text(dict{"MessageType": "TokenUpdate", "UDID": "UDID-" + serial, "Topic": topic, "PushMagic": "m", "Token": make([]byte, 200)})},
	"user who authenticates":   {checkinMedia, text(dict{"MessageType": "Authenticate", "UDID": "UDID-" + serial, "UserID": "U"})},
	"user who checks out":      {checkinMedia, text(dict{"MessageType": "CheckOut", "UDID": "UDID-" + serial, "UserID": "U"})},
	"user without a name":      {checkinMedia, text(dict{"MessageType": "TokenUpdate", "UDID": "UDID-" + serial, "UserID": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "Topic": topic, "PushMagic": "m", "Token": []byte{1}})},
	"token of no type":         {checkinMedia, text(dict{"MessageType": "GetToken", "UDID": "UDID-" + serial})},
	"empty answer":             {answerMedia, nil},
	"answer without status":    {answerMedia, text(dict{"UDID": "UDID-" + serial})},
	"answer of a wrong type":   {answerMedia, text(dict{"UDID": "UDID-" + serial, "Status": 7})},
	"answer of nobody":         {answerMedia, text(dict{"Status": "Idle"})},
}

// To read lists within lists takes half a gigabyte for one message of the size that is allowed.
func TestMessagesAreNotNestedWithoutEnd(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	nested := func(depth, size int) []byte {
		const begin, list = `<?xml version="1.0"?><plist version="1.0"><dict><key>UDID</key><string>UDID-` + serial + `</string><key>Status</key><string>Idle</string><key>More</key>`, "<array>"
		padding := strings.Repeat(" ", max(0, size-len(begin)-depth*len(list+"</array>")))
		return []byte(begin + strings.Repeat(list, depth) + padding + strings.Repeat("</array>", depth) + "</dict></plist>")
	}
	before := e.counted()
	for media, size := range map[string]int{checkinMedia: 1 << 20, answerMedia: 8 << 20} {
		a := p.send(p.request(media, nested(size/16, 0)))
		require.Equal(t, "400 checkin_malformed", a.code())
		require.Contains(t, string(a.body), "lists within lists")
	}
	require.Equal(t, before, e.counted())
	require.Equal(t, 200, p.send(p.request(answerMedia, nested(150, 80<<10))).status)
	require.Equal(t, 200, p.send(p.request(answerMedia, nested(1000, 0))).status, "one so short may")
}

func text(d dict) []byte { return marshal(&testing.T{}, d) }

func TestUnreadableMessagesAreRefusedAndChangeNothing(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	for name, tt := range unreadable {
		t.Run(name, func(t *testing.T) {
			before := e.counted()
			require.Equal(t, "400 checkin_malformed", p.send(p.request(tt.media, tt.body)).code())
			require.Equal(t, before, e.counted())
		})
	}
}

// A refusal has the form of the REST interface's problems, so that one reader of logs and traffic fits both.
func TestRefusalsAreProblemsOfTheContract(t *testing.T) {
	e := start(t, func(c *checkin.Config) { c.MaxCheckin = 4 << 10 })
	p := e.enrolled(serial)
	get := p.request(checkinMedia, nil)
	get.Method = http.MethodGet
	for name, c := range map[string]struct {
		request             *http.Request
		code, title, detail string
	}{
		"method": {get, "method_not_allowed", "Method not allowed", "Devices use PUT."},
		"size":   {p.request(checkinMedia, make([]byte, 4<<10+1)), "payload_too_large", "Too large", "The message is larger than 4 KiB."},
		"form":   {p.request(checkinMedia, []byte("junk")), "checkin_malformed", "Malformed check-in", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := p.send(c.request)
			var got api.Problem
			decoder := json.NewDecoder(bytes.NewReader(a.body))
			decoder.DisallowUnknownFields()
			require.NoError(t, decoder.Decode(&got), "%s", a.body)
			id := a.header.Get("X-Request-Id")
			require.NotEmpty(t, id)
			require.Contains(t, got.Detail, c.detail)
			require.Equal(t, api.Problem{
				Type: "https://github.com/muster-mdm/muster/blob/main/docs/troubleshooting.md#" + c.code, Title: c.title,
				Status: a.status, Detail: got.Detail, Code: c.code, Instance: "urn:muster:request:" + id, RequestId: id,
			}, got)
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	e := start(t, func(c *checkin.Config) { c.MaxCheckin, c.MaxAnswer = 4<<10, 8<<10 })
	p := e.enrolled(serial)
	before := e.counted()
	padded := func(d dict, n int) []byte {
		d["Padding"] = strings.Repeat("x", n)
		return marshal(t, d)
	}
	out := padded(p.say("CheckOut", nil), 4<<10)
	require.Equal(t, "413 payload_too_large", p.send(p.request(checkinMedia, out)).code())
	idle := padded(dict{"UDID": p.udid, "Status": "Idle"}, 8<<10)
	require.Equal(t, "413 payload_too_large", p.send(p.request(answerMedia, idle)).code())
	r := p.request(answerMedia, idle)
	r.Body, r.ContentLength = http.NoBody, -1
	r.Body = readCloser{bytes.NewReader(idle)}
	require.Equal(t, "413 payload_too_large", p.send(r).code(), "its length not announced")
	require.Equal(t, before, e.counted())
	require.Equal(t, 200, p.send(p.request(answerMedia, padded(dict{"UDID": p.udid, "Status": "Idle"}, 4<<10))).status)
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func TestOtherMethodsAreNotAllowed(t *testing.T) {
	e := start(t, nil)
	resp, err := e.server.Client().Get(e.server.URL + "/mdm")
	a := read(t, resp, err)
	require.Equal(t, 405, a.status)
	require.Equal(t, "PUT, POST", a.header.Get("Allow"))
}

func TestNoAnswerUnenrollsADevice(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	e.db.Close() // the database is away
	a, _ := p.answer(dict{"UDID": p.udid, "Status": "Idle"})
	require.GreaterOrEqual(t, a.status, 500)
	require.NotContains(t, string(a.body), "closed", "what the driver says is for the log")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.server.Client().Do(p.request(answerMedia, marshal(t, dict{"UDID": p.udid, "Status": "Idle"})).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
}
