package abm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// Account is an API account of the organisation, with the private key that Apple's portal gives once. Printing one shows
// no secrets.
type Account struct {
	ClientID      string `json:"client_id"`
	KeyID         string `json:"key_id"`
	PrivateKeyPEM []byte `json:"private_key_pem"`
}

// String names the account by its client id.
func (a Account) String() string { return "API account " + a.ClientID }

// GoString is String.
func (a Account) GoString() string { return a.String() }

// LogValue keeps the key out of logs.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

const (
	businessPrefix = "BUSINESSAPI."
	schoolPrefix   = "SCHOOLAPI."
)

// CheckAccount says what is wrong with an account as it was entered, without asking Apple. It fails with
// [provision.ABMAccountInvalid] and the field at fault.
func CheckAccount(a Account) error {
	_, err := a.check()
	return err
}

// check returns the key as NanoAXM reads it: SEC 1, whatever the portal's file calls it.
func (a Account) check() (key []byte, err error) {
	switch {
	case !strings.HasPrefix(a.ClientID, businessPrefix) && !strings.HasPrefix(a.ClientID, schoolPrefix):
		return nil, unusable("client_id", "The client id begins with "+businessPrefix+" or "+schoolPrefix+"; copy it from the API account's page in Apple Business Manager.")
	case !printable(a.ClientID):
		return nil, unusable("client_id", "The client id has blanks or other characters that don't belong into it.")
	case a.KeyID == "" || !printable(a.KeyID):
		return nil, unusable("key_id", "The key id is missing, or has characters that don't belong into it; copy it from the API account's page in Apple Business Manager.")
	}
	private, err := privateKey(a.PrivateKeyPEM)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, unusable("private_key", "The private key can't be used: its numbers don't fit together.")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func unusable(field, sentence string) error {
	return provision.Errorf(provision.ABMAccountInvalid, "%s", sentence).At(field)
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func privateKey(text []byte) (*ecdsa.PrivateKey, error) {
	const field = "private_key"
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil:
			return nil, unusable(field, "There is no private key in PEM; give the whole file that Apple's portal downloaded, from BEGIN to END.")
		case block.Type == "EC PARAMETERS":
			text = rest
			continue
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, unusable(field, "The private key is protected by a password; give it as Apple's portal downloaded it.")
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, unusable(field, "The file holds no private key but something else; Apple's portal downloads the private key once, when it is made.")
		}
		key, ok := parsePrivateKey(block.Bytes)
		if !ok {
			return nil, unusable(field, "The private key can't be read; it may have been cut when it was copied.")
		}
		elliptical, ok := key.(*ecdsa.PrivateKey)
		if !ok || elliptical.Curve != elliptic.P256() {
			return nil, unusable(field, "The private key is of another kind than Apple's, which are for ES256 (on the curve P-256).")
		}
		return elliptical, nil
	}
}

// parsePrivateKey doesn't trust the PEM type: Apple's portal writes "EC PRIVATE KEY" over PKCS #8.
func parsePrivateKey(der []byte) (key any, ok bool) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, true
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, true
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, true
	}
	return nil, false
}
