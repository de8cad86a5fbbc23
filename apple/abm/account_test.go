package abm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/provision"
	simabm "github.com/muster-mdm/muster/sim/abm"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func keyOn(t *testing.T, curve elliptic.Curve) (sec1, pkcs8 []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	sec1, err = x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	pkcs8, err = x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return sec1, pkcs8
}

func TestKeysInWhateverFormTheyCome(t *testing.T) {
	p := open(t, simabm.Config{})
	given, _ := pem.Decode(p.account.PrivateKeyPEM)
	require.Equal(t, "EC PRIVATE KEY", given.Type, "as Apple's portal calls it, though it is PKCS #8")
	parsed, err := x509.ParsePKCS8PrivateKey(given.Bytes)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(parsed.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	for what, key := range map[string][]byte{
		"as downloaded":   p.account.PrivateKeyPEM,
		"PKCS #8":         block("PRIVATE KEY", given.Bytes),
		"SEC 1":           block("EC PRIVATE KEY", sec1),
		"with parameters": append(parameters, block("EC PRIVATE KEY", sec1)...),
		"with words":      append([]byte("Bag Attributes\n  friendlyName: x\n"), p.account.PrivateKeyPEM...),
	} {
		account := p.account
		account.PrivateKeyPEM = key
		require.NoError(t, abm.CheckAccount(account), what)
		_, err := p.clientWith(abm.Config{Account: account}).Servers(t.Context())
		require.NoError(t, err, what)
	}
}

func TestAccountsThatCannotBeUsed(t *testing.T) {
	good := open(t, simabm.Config{}).account
	sec1, _ := keyOn(t, elliptic.P256())
	_, longer := keyOn(t, elliptic.P384())
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	encrypted := &pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")}
	for _, c := range []struct {
		change func(*abm.Account)
		field  string
		says   string
	}{
		{func(a *abm.Account) { a.ClientID = "" }, "client_id", "begins with BUSINESSAPI."},
		{func(a *abm.Account) { a.ClientID = "x" }, "client_id", "begins with BUSINESSAPI."},
		{func(a *abm.Account) { a.ClientID += "\n" }, "client_id", "blanks"},
		{func(a *abm.Account) { a.KeyID = "" }, "key_id", "is missing"},
		{func(a *abm.Account) { a.KeyID = "a b" }, "key_id", "don't belong"},
		{func(a *abm.Account) { a.PrivateKeyPEM = nil }, "private_key", "no private key in PEM"},
		{func(a *abm.Account) { a.PrivateKeyPEM = sec1 }, "private_key", "no private key in PEM"},
		{func(a *abm.Account) { a.PrivateKeyPEM = a.PrivateKeyPEM[:80] }, "private_key", "no private key in PEM"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("EC PARAMETERS", []byte("x")) }, "private_key", "no private key in PEM"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("PUBLIC KEY", []byte("x")) }, "private_key", "something else"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("CERTIFICATE", []byte("x")) }, "private_key", "something else"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("ENCRYPTED PRIVATE KEY", []byte("x")) }, "private_key", "password"},
		{func(a *abm.Account) { a.PrivateKeyPEM = pem.EncodeToMemory(encrypted) }, "private_key", "password"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("EC PRIVATE KEY", sec1[:40]) }, "private_key", "can't be read"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("PRIVATE KEY", longer) }, "private_key", "P-256"},
		{func(a *abm.Account) { a.PrivateKeyPEM = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(other)) }, "private_key", "P-256"},
	} {
		account := good
		c.change(&account)
		err := abm.CheckAccount(account)
		var rule *provision.Error
		require.ErrorAs(t, err, &rule)
		require.Equal(t, provision.ABMAccountInvalid, rule.Code)
		require.Equal(t, c.field, rule.Field, "%v", err)
		require.Contains(t, rule.Message, c.says)
		_, err = abm.New(abm.Config{Account: account})
		require.Equal(t, provision.ABMAccountInvalid, provision.CodeOf(err))
	}
	_, err = abm.New(abm.Config{Account: good, School: true})
	require.ErrorContains(t, err, "belongs to the other of")
	_, err = abm.New(abm.Config{Account: good, BaseURL: "http://[::1"})
	require.ErrorContains(t, err, "address of the Apple Business API")
	_, err = abm.New(abm.Config{Account: good, TokenURL: "http://[::1"})
	require.ErrorContains(t, err, "address for access tokens")
}

func TestAccountIsSealableButNotPrintable(t *testing.T) {
	account := open(t, simabm.Config{}).account
	text, err := json.Marshal(account)
	require.NoError(t, err)
	var back abm.Account
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, account, back)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "account", account)
	for _, shown := range []string{fmt.Sprint(account), fmt.Sprintf("%+v %#v", account, account), log.String()} {
		require.NotContains(t, shown, "PRIVATE")
		require.NotContains(t, shown, account.KeyID)
		require.Contains(t, shown, account.ClientID)
	}
}

// Whatever is pasted as a key, it is taken or refused in a sentence.
func FuzzCheckAccount(f *testing.F) {
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\n\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, key []byte) {
		err := abm.CheckAccount(abm.Account{ClientID: "BUSINESSAPI.x", KeyID: "k", PrivateKeyPEM: key})
		if err != nil && provision.CodeOf(err) != provision.ABMAccountInvalid {
			t.Fatalf("%v", err)
		}
	})
}
