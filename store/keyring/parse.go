package keyring

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/muster-mdm/muster/provision"
)

// Parse reads a keyring from a setting: one or more keys, each an id (a–z, 0–9 and "-", 32 characters at most), a colon
// and 32 bytes in base64, separated by commas, blanks or line ends. The first key seals, all open. Its errors count the
// keys instead of quoting them: an id in the wrong place may be a key.
func Parse(text string) (*Keyring, error) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	if len(parts) == 0 {
		return nil, provision.Errorf(provision.KeyringMissing, "The keyring holds no key. Give it one in the form id:base64, of 32 random bytes.")
	}
	k := &Keyring{keys: make(map[string]cipher.AEAD, len(parts))}
	seen := make(map[string]int, len(parts))
	for i, part := range parts {
		id, key, err := parseKey(i+1, part)
		if err != nil {
			return nil, err
		}
		if k.keys[id] != nil {
			return nil, wrong(i+1, "has the same id as one before it; every key needs an id of its own")
		}
		if first, twice := seen[string(key)]; twice {
			return nil, provision.Errorf(provision.Invalid, "Keys %d and %d of the keyring are the same key under two ids; a new key has to be a new one.", first, i+1)
		}
		if k.keys[id], err = newAEAD(key); err != nil {
			return nil, err
		}
		seen[string(key)] = i + 1
		if i == 0 {
			k.primary = id
		}
	}
	return k, nil
}

func wrong(number int, what string) error {
	return provision.Errorf(provision.Invalid, "Key %d of the keyring %s.", number, what)
}

func parseKey(number int, part string) (id string, key []byte, err error) {
	id, encoded, found := strings.Cut(part, ":")
	switch {
	case !found:
		return "", nil, wrong(number, "has no id; write it as id:base64")
	case !isID(id):
		return "", nil, wrong(number, "has an id that can't be used; take up to 32 of a–z, 0–9 and -")
	}
	key, err = base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(encoded, "="))
	if err != nil {
		return "", nil, wrong(number, "isn't base64 behind its id; it may have been cut when it was copied")
	}
	if len(key) != keyBytes {
		return "", nil, provision.Errorf(provision.Invalid, "Key %d of the keyring has %d bytes; it needs exactly %d, random ones.", number, len(key), keyBytes)
	}
	return id, key, nil
}

// NewKey makes a fresh key in the form that Parse reads. Its id is the date with something random behind it, so that
// the keys of a keyring tell their age.
func NewKey() string {
	b := make([]byte, keyBytes+4)
	_, _ = rand.Read(b) // never fails, by its contract
	key, suffix := b[:keyBytes], b[keyBytes:]
	id := time.Now().UTC().Format(time.DateOnly) + "-" + hex.EncodeToString(suffix)
	return id + ":" + base64.StdEncoding.EncodeToString(key)
}
