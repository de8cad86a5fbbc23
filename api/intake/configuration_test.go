package intake_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

const wifi = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string>
<key>PayloadIdentifier</key><string>com.zylker.wifi</string>
<key>PayloadUUID</key><string>5F1B6C0E-7A0F-4C0B-8E55-0C1F0E7B9A11</string>
<key>PayloadContent</key><array><dict><key>PayloadType</key><string>com.apple.wifi.managed</string></dict></array>
</dict></plist>`

// sign wraps content as Apple Configurator does.
func sign(t testing.TB, content string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	signed, err := pkcs7.NewSignedData([]byte(content))
	require.NoError(t, err)
	require.NoError(t, signed.AddSigner(cert, key, pkcs7.SignerInfoConfig{}))
	raw, err := signed.Finish()
	require.NoError(t, err)
	return raw
}

func TestConfigurationsThatAreTaken(t *testing.T) {
	for name, raw := range map[string][]byte{
		"plain": []byte(wifi), "signed": sign(t, wifi), "with a byte order mark": []byte("\xef\xbb\xbf" + wifi), "after blanks": []byte("\n " + wifi),
	} {
		identifier, err := intake.CheckConfiguration(raw)
		require.NoError(t, err, name)
		require.Equal(t, "com.zylker.wifi", identifier, name)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	with := func(old, instead string) []byte { return []byte(strings.Replace(wifi, old, instead, 1)) }
	without := func(key string) []byte { return with(key, "Other"+key) }
	for name, c := range map[string]struct {
		raw   []byte
		field string
	}{
		"no type":             {without("PayloadType"), "PayloadType"},
		"other type":          {with(">Configuration<", ">Settings<"), "PayloadType"},
		"no identifier":       {without("PayloadIdentifier"), "PayloadIdentifier"},
		"long identifier":     {with("com.zylker.wifi", strings.Repeat("x", 256)), "PayloadIdentifier"},
		"no uuid":             {without("PayloadUUID"), "PayloadUUID"},
		"no content":          {without("PayloadContent"), "PayloadContent"},
		"content of no type":  {with("<key>PayloadType</key><string>com.apple.wifi.managed</string>", ""), "PayloadContent[0].PayloadType"},
		"enrollment":          {with("com.apple.wifi.managed", "com.apple.mdm"), "PayloadContent[0].PayloadType"},
		"signed enrollment":   {sign(t, string(with("com.apple.wifi.managed", "com.apple.mdm"))), "PayloadContent[0].PayloadType"},
		"encrypted":           {with("<key>PayloadContent</key>", "<key>EncryptedPayloadContent</key><data>AAAA</data><key>PayloadContent</key>"), "EncryptedPayloadContent"},
		"content of one kind": {with("<array>", "<string>x</string><key>x</key><array>"), ""},
		"nothing":             {nil, ""},
		"blanks":              {[]byte(" \n"), ""},
		"words":               {[]byte("not a profile"), ""},
		"half":                {[]byte(wifi[:300]), ""},
		"binary":              {[]byte("bplist00\xd1\x01\x02"), ""},
		"too deep":            {[]byte("<plist>" + strings.Repeat("<array>", 1<<19)), ""},
		"no CMS":              {[]byte("0\x82\x01\x00"), ""},
		"too deep CMS":        {bytes.Repeat([]byte{0x30, 0x80}, 1<<20), ""},
		"tampered":            {bytes.Replace(sign(t, wifi), []byte("zylker"), []byte("zylkex"), 1), ""},
		"empty signed":        {sign(t, ""), ""},
	} {
		_, err := intake.CheckConfiguration(c.raw)
		var rule *provision.Error
		require.ErrorAs(t, err, &rule, name)
		require.Equal(t, provision.ConfigurationBad, rule.Code, name)
		require.Equal(t, c.field, rule.Field, "%s: %s", name, rule.Message)
		require.NotRegexp(t, `plist:|xml\.|XML syntax|pkcs7|ber2der|asn1|[^.]$`, rule.Message, "%s: a sentence of our own", name)
	}
	_, err := intake.CheckConfiguration(make([]byte, intake.MaxConfiguration+1))
	require.Equal(t, provision.PayloadTooLarge, provision.CodeOf(err))
}

// Whatever is uploaded: it is refused with a code, or has an identifier; nothing panics or runs out of stack.
func FuzzConfiguration(f *testing.F) {
	f.Add([]byte(wifi))
	f.Add(sign(f, wifi))
	f.Add([]byte("bplist00"))
	f.Add([]byte("0\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		identifier, err := intake.CheckConfiguration(raw)
		if err == nil && strings.TrimSpace(identifier) == "" {
			t.Fatal("taken without an identifier")
		}
		if err != nil && provision.CodeOf(err) != provision.ConfigurationBad {
			t.Fatalf("refused without a code: %v", err)
		}
	})
}
