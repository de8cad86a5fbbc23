package mdm

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"

	"github.com/micromdm/nanomdm/cryptoutil"

	"github.com/muster-mdm/muster/provision"
)

// Sealer seals the push certificates' keys before they are stored: a keyring. place names where the key lies.
type Sealer interface {
	Seal(plain []byte, place string) ([]byte, error)
	Open(sealed []byte, place string) ([]byte, error)
}

// Option changes how a [Storage] works.
type Option func(*Storage)

// WithSealer has the keys of push certificates stored sealed. Those that lie in clear can be read all the same.
func WithSealer(s Sealer) Option { return func(st *Storage) { st.sealer = s } }

// sealedType is the PEM type of a sealed key: NanoMDM's column takes nothing but PEM.
const sealedType = "MUSTER SEALED KEY"

func sealedIn(kept string) (sealed []byte, ok bool) {
	block, _ := pem.Decode([]byte(kept))
	if block == nil || block.Type != sealedType {
		return nil, false
	}
	return block.Bytes, true
}

func keyPlace(topic string) string { return "push_certs/" + topic + "/key_pem" }

func (s *Storage) sealKey(topic string, keyPEM []byte) (string, error) {
	if s.sealer == nil {
		return string(keyPEM), nil
	}
	sealed, err := s.sealer.Seal(keyPEM, keyPlace(topic))
	if err != nil {
		return "", fmt.Errorf("sealing the push certificate's key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: sealedType, Bytes: sealed})), nil
}

func (s *Storage) openKey(topic, stored string) ([]byte, error) {
	sealed, ok := sealedIn(stored)
	if !ok {
		return []byte(stored), nil
	}
	if s.sealer == nil {
		return nil, provision.Errorf(provision.KeyringMissing, "The push certificate's key is sealed, and there is no keyring. Set MUSTER_KEYRING to the one that sealed it.")
	}
	key, err := s.sealer.Open(sealed, keyPlace(topic))
	if err != nil {
		return nil, fmt.Errorf("opening the push certificate's key: %w", err)
	}
	return key, nil
}

// StorePushCert implements NanoMDM's PushCertStore.
func (s *Storage) StorePushCert(ctx context.Context, certPEM, keyPEM []byte) error {
	topic, err := cryptoutil.TopicFromPEMCert(certPEM)
	if err != nil {
		return fmt.Errorf("reading the push certificate's topic: %w", err)
	}
	kept, err := s.sealKey(topic, keyPEM)
	if err != nil {
		return err
	}
	return s.PgSQLStorage.StorePushCert(ctx, certPEM, []byte(kept))
}

// RetrievePushCert implements NanoMDM's PushCertStore.
func (s *Storage) RetrievePushCert(ctx context.Context, topic string) (cert *tls.Certificate, staleToken string, err error) {
	const read = `
SELECT cert_pem, key_pem, stale_token::text
FROM push_certs
WHERE topic = $1`
	var certPEM []byte
	var kept string
	if err := s.db.QueryRowContext(ctx, read, topic).Scan(&certPEM, &kept, &staleToken); err != nil {
		return nil, "", err
	}
	keyPEM, err := s.openKey(topic, kept)
	if err != nil {
		return nil, "", err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, "", fmt.Errorf("reading the push certificate: %w", err)
	}
	return &pair, staleToken, nil
}

// storedKey is a push certificate's key as it lies in the table.
type storedKey struct{ topic, kept string }

func (s *Storage) storedKeys(ctx context.Context) ([]storedKey, error) {
	// The oldest first: a trigger dates what is updated, and the newest certificate is the one that counts.
	rows, err := s.db.QueryContext(ctx, `SELECT topic, key_pem FROM push_certs ORDER BY updated_at, topic DESC`)
	if err != nil {
		return nil, fmt.Errorf("reading the push certificates' keys: %w", err)
	}
	defer func() { _ = rows.Close() }() // its error comes by Err
	var all []storedKey
	for rows.Next() {
		var k storedKey
		if err := rows.Scan(&k.topic, &k.kept); err != nil {
			return nil, fmt.Errorf("reading the push certificates' keys: %w", err)
		}
		all = append(all, k)
	}
	return all, rows.Err()
}

// ClearKeys counts the push certificates whose keys lie in clear. It fails as the sealer does when a sealed one can't be
// opened.
func (s *Storage) ClearKeys(ctx context.Context) (n int, err error) {
	all, err := s.storedKeys(ctx)
	for _, k := range all {
		if _, sealed := sealedIn(k.kept); !sealed {
			n++
		}
		if _, err := s.openKey(k.topic, k.kept); err != nil {
			return n, err
		}
	}
	return n, err
}

// ResealKeys seals the keys of all push certificates anew and returns how many there are.
func (s *Storage) ResealKeys(ctx context.Context) (int, error) {
	all, err := s.storedKeys(ctx)
	if err != nil {
		return 0, err
	}
	for _, k := range all {
		key, err := s.openKey(k.topic, k.kept)
		if err != nil {
			return 0, err
		}
		kept, err := s.sealKey(k.topic, key)
		if err != nil {
			return 0, err
		}
		// One that was replaced meanwhile is sealed already.
		if _, err := s.db.ExecContext(ctx, `UPDATE push_certs SET key_pem = $2 WHERE topic = $1 AND key_pem = $3`, k.topic, kept, k.kept); err != nil {
			return 0, fmt.Errorf("storing a push certificate's key: %w", err)
		}
	}
	return len(all), nil
}
