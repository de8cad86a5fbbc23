package dep_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim/abm"
)

func requireCode(t testing.TB, err error, code provision.Code, sentence string) {
	t.Helper()
	require.Equal(t, code, provision.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, sentence)
}

// download is a token file as the portal gives it, and the message in it, in DER.
func (p *portal) download() (file, der []byte) {
	p.t.Helper()
	file, err := p.IssueToken(p.server.ID, oneKeyPair().certificate)
	require.NoError(p.t, err)
	_, body, found := strings.Cut(string(file), "\r\n\r\n")
	require.True(p.t, found)
	der, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\r\n", ""))
	require.NoError(p.t, err)
	return file, der
}

func TestKeyPairIsForTokensOnly(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	certificatePEM, keyDER, err := dep.NewKeyPair("  Äpfel "+strings.Repeat("ü", 100), now)
	require.NoError(t, err)
	block, rest := pem.Decode(certificatePEM)
	require.Empty(t, rest)
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.Equal(t, "Äpfel "+strings.Repeat("ü", 58), certificate.Subject.CommonName)
	require.Equal(t, x509.KeyUsageKeyEncipherment|x509.KeyUsageDigitalSignature, certificate.KeyUsage)
	require.False(t, certificate.IsCA)
	require.True(t, certificate.NotBefore.Before(now))
	require.True(t, certificate.NotAfter.After(now.AddDate(9, 0, 0)))
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	require.NoError(t, err)
	require.True(t, key.(*rsa.PrivateKey).PublicKey.Equal(certificate.PublicKey))

	other, _, err := dep.NewKeyPair("\xff", now)
	require.NoError(t, err)
	block, _ = pem.Decode(other)
	second, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.Equal(t, "Muster", second.Subject.CommonName)
	require.NotEqual(t, certificate.SerialNumber, second.SerialNumber)
}

func TestTokenOpensInWhateverFormItComes(t *testing.T) {
	p := open(t, abm.Config{})
	file, der := p.download()
	want, err := dep.OpenToken(file, oneKeyPair().certificate, oneKeyPair().key)
	require.NoError(t, err)
	require.WithinRange(t, want.Expiry, p.Now().AddDate(0, 11, 0), p.Now().AddDate(1, 0, 2))
	require.True(t, strings.HasPrefix(want.ConsumerKey, "CK_") && strings.HasPrefix(want.AccessSecret, "AS_"))

	bare := base64.StdEncoding.EncodeToString(der)
	for what, form := range map[string][]byte{
		"line feeds only":       bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")),
		"carriage returns only": bytes.ReplaceAll(file, []byte("\r\n"), []byte("\r")),
		"byte order mark":       append([]byte("\xef\xbb\xbf"), file...),
		"blanks around":         []byte("\n\n  " + string(file) + "\n\n"),
		"lower-case header":     bytes.Replace(file, []byte("Content-Type:"), []byte("content-type :"), 1),
		"MIME version first":    append([]byte("MIME-Version: 1.0\r\n"), file...),
		"DER":                   der,
		"DER, and a line end":   append(bytes.Clone(der), '\n'),
		"BER, in pieces":        pieces(t, der),
		"BER, in S/MIME":        []byte("MIME-Version: 1.0\n\n" + base64.StdEncoding.EncodeToString(pieces(t, der))),
		"base64":                []byte(bare),
		"base64, unpadded":      []byte(strings.TrimRight(bare, "=")),
		"PKCS7":                 pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: der}),
		"CMS":                   pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: der}),
	} {
		got, err := dep.OpenToken(form, oneKeyPair().certificate, oneKeyPair().key)
		require.NoError(t, err, what)
		require.Equal(t, want, got, what)
	}
}

// pieces writes an enveloped message as streaming encoders do, Apple's among them: without lengths, and with the content
// in several strings.
func pieces(t testing.TB, der []byte) []byte {
	t.Helper()
	open := func(b []byte) (tag byte, inside, rest []byte) {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(b, &v)
		require.NoError(t, err)
		return b[0], v.Bytes, rest
	}
	wrap := func(tag byte, parts ...[]byte) []byte {
		return append(append([]byte{tag, 0x80}, bytes.Join(parts, nil)...), 0, 0)
	}
	_, info, _ := open(der)
	_, explicit, _ := open(info[11:]) // behind the type
	_, enveloped, _ := open(explicit)
	_, _, rest := open(enveloped) // version
	_, _, content := open(rest)   // recipients
	front := enveloped[:len(enveloped)-len(content)]
	_, encrypted, _ := open(content)
	_, _, rest = open(encrypted)
	_, _, last := open(rest)
	algorithms := encrypted[:len(encrypted)-len(last)]
	_, secret, _ := open(last)
	var strings [][]byte
	for len(secret) > 0 {
		n := min(100, len(secret))
		part, err := asn1.Marshal(secret[:n])
		require.NoError(t, err)
		strings, secret = append(strings, part), secret[n:]
	}
	return wrap(0x30, info[:11], wrap(0xa0, wrap(0x30, front, wrap(0x30, algorithms, wrap(0xa0, strings...)))))
}

func TestUploadsThatAreSomethingElse(t *testing.T) {
	p := open(t, abm.Config{})
	file, der := p.download()
	pair := oneKeyPair()
	token := p.token(p.server.ID)
	opened, err := json.Marshal(token)
	require.NoError(t, err)
	block, _ := pem.Decode(pair.certificate)
	certificates, err := pkcs7.DegenerateCertificate(block.Bytes)
	require.NoError(t, err)
	content := base64.StdEncoding.EncodeToString([]byte(`{"token":"x","expDate":"2027-01-01","orgName":"Acme"}`))
	flipped := bytes.Clone(der)
	flipped[len(flipped)-150] ^= 1
	for _, c := range []struct{ upload, says string }{
		{"", "is empty"},
		{" \r\n\t", "is empty"},
		{strings.Repeat("A", 1<<20+1), "too large"},
		{string(opened), "decrypted already"},
		{`{"name":"x"}`, "is JSON"},
		{"<html></html>", "a web page or a property list"},
		{`<?xml version="1.0"?><plist/>`, "a web page or a property list"},
		{string(pair.certificate), "is a certificate"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: pair.key})), "is a private key"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte("x")})), "isn't a server token"},
		{"-----BEGIN PKCS7-----\nAAAA", "isn't a server token"},
		{content, "a content token"},
		{"hello, world", "isn't a server token"},
		{"\x00\x01\x02", "isn't a server token"},
		{string(block.Bytes), "isn't a server token"},
		{string(certificates), "nothing in it is encrypted"},
		{string(file[:len(file)/2]), "cut off"},
		{string(file[:60]), "cut off"},
		{string(file[:len(file)-100]), "cut off"},
		{string(der[:len(der)-1]), "cut off"},
		{string(flipped[:len(flipped)-16]), "cut off"},
		{strings.Replace(string(file), "\r\n\r\n", "\r\n", 1), "cut off"},
	} {
		_, err := dep.OpenToken([]byte(c.upload), pair.certificate, pair.key)
		requireCode(t, err, provision.ABMTokenInvalid, c.says)
		require.NotContains(t, err.Error(), token.AccessSecret)
	}
	_, err = dep.OpenToken(flipped, pair.certificate, pair.key) // one bit spoils 16 bytes of the JSON
	requireCode(t, err, provision.ABMTokenInvalid, "there is no server token in it")
}

func TestTokensOfOthers(t *testing.T) {
	p := open(t, abm.Config{})
	file, _ := p.download()
	certificate, key, err := dep.NewKeyPair("Acme", time.Now())
	require.NoError(t, err)
	_, err = dep.OpenToken(file, certificate, key)
	requireCode(t, err, provision.ABMTokenForeignKey, "another certificate than this server's")
}

func TestWhatIsInsideCounts(t *testing.T) {
	block, _ := pem.Decode(oneKeyPair().certificate)
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	whole := map[string]string{
		"consumer_key": "CK", "consumer_secret": "CS", "access_token": "AT", "access_secret": "AS", "access_token_expiry": "2027-01-01T00:00:00Z",
	}
	encrypt := func(content string) []byte {
		der, err := pkcs7.Encrypt([]byte(content), []*x509.Certificate{certificate})
		require.NoError(t, err)
		return der
	}
	text := func() string {
		b, err := json.Marshal(whole)
		require.NoError(t, err)
		return string(b)
	}
	for _, content := range []string{
		text(), "Content-Type: text/plain\n\n-----BEGIN MESSAGE-----\n" + text() + "\n-----END MESSAGE-----\n{}", "{} -----BEGIN MESSAGE-----" + text(),
	} {
		_, err := dep.OpenToken(encrypt(content), oneKeyPair().certificate, oneKeyPair().key)
		require.NoError(t, err)
	}
	for name, value := range whole {
		for _, bad := range []string{"", "two words", "ä"} {
			whole[name] = bad
			_, err := dep.OpenToken(encrypt(text()), oneKeyPair().certificate, oneKeyPair().key)
			requireCode(t, err, provision.ABMTokenInvalid, "there is no server token in it")
			whole[name] = value
		}
	}
	for _, content := range []string{"", "hello", "{}", "{", "}{", "null"} {
		_, err := dep.OpenToken(encrypt(content), oneKeyPair().certificate, oneKeyPair().key)
		require.Equal(t, provision.ABMTokenInvalid, provision.CodeOf(err), "%q: %v", content, err)
	}
}

func TestKeyPairsThatCannotBeUsed(t *testing.T) {
	file, _ := open(t, abm.Config{}).download()
	pair := oneKeyPair()
	_, foreign, err := dep.NewKeyPair("x", time.Now())
	require.NoError(t, err)
	for _, c := range [][2][]byte{
		{nil, pair.key},
		{[]byte("x"), pair.key},
		{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), pair.key},
		{pair.certificate, nil},
		{pair.certificate, foreign},
	} {
		_, err := dep.OpenToken(file, c[0], c[1])
		require.Equal(t, provision.Internal, provision.CodeOf(err), "it isn't the upload's fault: %v", err)
	}
}

func TestTokenIsSealableButNotPrintable(t *testing.T) {
	p := open(t, abm.Config{})
	token := p.token(p.server.ID)
	text, err := json.Marshal(token)
	require.NoError(t, err)
	var back dep.Token
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, token, back)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", token)
	for _, shown := range []string{fmt.Sprint(token), fmt.Sprintf("%+v %#v %q", token, token, []any{token}), log.String()} {
		require.NotContains(t, shown, token.ConsumerKey)
		require.NotContains(t, shown, token.AccessSecret)
		require.Contains(t, shown, token.Expiry.Format(time.DateOnly))
	}
}

// Whatever is uploaded, it is read or refused with one of the two codes, in time.
func FuzzOpenToken(f *testing.F) {
	p := open(f, abm.Config{})
	file, der := p.download()
	pair := oneKeyPair()
	for _, seed := range [][]byte{
		nil, file, der, pieces(f, der), pair.certificate, file[:len(file)/2], []byte("Content-Type: x\n\nMIIB"), []byte("0\x82"), {0x30, 0x80, 0, 0},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, upload []byte) {
		begun := time.Now()
		token, err := dep.OpenToken(upload, pair.certificate, pair.key)
		if took := time.Since(begun); took > 5*time.Second {
			t.Fatalf("reading %d bytes took %s", len(upload), took)
		}
		switch code := provision.CodeOf(err); code {
		case "":
			if token.ConsumerKey == "" {
				t.Fatal("neither token nor error")
			}
		case provision.ABMTokenInvalid, provision.ABMTokenForeignKey:
		default:
			t.Fatalf("code %s: %v", code, err)
		}
	})
}
