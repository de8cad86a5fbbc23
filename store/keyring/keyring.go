// Package keyring keeps secrets secret in the database: what it seals can be opened only with one of its keys, and only
// at the place that it was sealed for.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/muster-mdm/muster/provision"
)

const (
	keyBytes   = 32 // AES-256
	nonceBytes = 12
	tagBytes   = 16
	maxID      = 32
)

// Keyring is a set of keys, each with an id. The first key seals, all of them open, so that a key is replaced by putting
// a new one before it, sealing everything again, and taking the old one out. It is safe for concurrent use. A nil
// Keyring is none at all: everything fails with [provision.KeyringMissing].
type Keyring struct {
	primary string
	keys    map[string]cipher.AEAD
}

// Primary is the id of the key that seals; "" when there is no keyring.
func (k *Keyring) Primary() string {
	if k == nil {
		return ""
	}
	return k.primary
}

// Seal encrypts a secret for a place, such as "abm_servers/school/token". The place isn't in what it returns, but has to
// be given again to open it: what is copied to another place can't be opened there.
func (k *Keyring) Seal(plain []byte, place string) ([]byte, error) {
	if k == nil {
		return nil, missing()
	}
	sealed := header(k.primary)
	aad := additional(sealed, place)
	nonce := make([]byte, nonceBytes)
	_, _ = rand.Read(nonce) // never fails, by its contract
	sealed = append(sealed, nonce...)
	return k.keys[k.primary].Seal(sealed, nonce, plain, aad), nil
}

// Open decrypts what Seal made for the same place. It fails with [provision.KeyringMissing] without a keyring,
// [provision.KeyringKeyUnknown] when the keyring lacks the key, and [provision.SecretUnreadable] when what is given was
// not sealed, was changed, or was sealed for another place.
func (k *Keyring) Open(sealed []byte, place string) ([]byte, error) {
	if k == nil {
		return nil, missing()
	}
	id, ok := KeyOf(sealed)
	if !ok {
		return nil, provision.Errorf(provision.SecretUnreadable, "What is stored at %s isn't a sealed secret, or only a part of one. Enter the secret anew, or restore it from a backup.", place)
	}
	aead := k.keys[id]
	if aead == nil {
		return nil, provision.Errorf(provision.KeyringKeyUnknown, "What is stored at %s was sealed with the key %q, which isn't in the keyring. Add that key to the keyring again, behind the first one.", place, id)
	}
	head := header(id)
	nonce, content := sealed[len(head):len(head)+nonceBytes], sealed[len(head)+nonceBytes:]
	plain, err := aead.Open(nil, nonce, content, additional(head, place))
	if err != nil {
		return nil, provision.Errorf(provision.SecretUnreadable, "What is stored at %s can't be opened with the key %q: it was changed, it was moved there from elsewhere, or the key of that name is another one now. Enter the secret anew, or restore it from a backup.", place, id)
	}
	return plain, nil
}

func missing() error {
	return provision.Errorf(provision.KeyringMissing, "There is no keyring, so secrets can be neither stored nor read. Set MUSTER_KEYRING to a key first, and keep a copy of it apart from the database.")
}

// mark begins everything sealed; its last byte is the version of the format: mark, length of the key's id, id, nonce,
// ciphertext with its tag.
const mark = "mstr\x01"

func header(id string) []byte {
	b := make([]byte, 0, len(mark)+1+len(id)+nonceBytes)
	b = append(b, mark...)
	b = append(b, byte(len(id)))
	return append(b, id...)
}

// additional is what is authenticated beside the secret. The header says how long it is, so that no other header and
// place read the same.
func additional(header []byte, place string) []byte {
	return append(header[:len(header):len(header)], place...)
}

// KeyOf tells which key sealed something; false when it wasn't sealed by a keyring.
func KeyOf(sealed []byte) (id string, ok bool) {
	if len(sealed) <= len(mark) || string(sealed[:len(mark)]) != mark {
		return "", false
	}
	rest := sealed[len(mark)+1:]
	n := int(sealed[len(mark)])
	if len(rest) < n+nonceBytes+tagBytes {
		return "", false
	}
	id = string(rest[:n])
	return id, isID(id)
}

func isID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making the cipher of a key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making the cipher of a key: %w", err)
	}
	return aead, nil
}
