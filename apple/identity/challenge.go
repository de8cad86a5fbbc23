package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"
)

// ChallengeHash is all that is kept of a challenge.
type ChallengeHash = [sha256.Size]byte

// KeyHash is the SHA-256 of a public key's SubjectPublicKeyInfo.
type KeyHash = [sha256.Size]byte

// Ledger keeps challenges and what was issued for them.
type Ledger interface {
	// AddChallenge keeps a new challenge of a device.
	AddChallenge(ctx context.Context, serial string, challenge ChallengeHash, valid time.Duration) error
	// Redeem uses a challenge up and records the certificate that issue makes for the device, in one transaction. The same
	// challenge with the same key gives the same certificate again. It fails with provision.ChallengeRefused.
	Redeem(ctx context.Context, challenge ChallengeHash, key KeyHash, issue func(serial string) (certificate []byte, err error)) (certificate []byte, err error)
}

// DefaultChallengeValidity lets a profile wait for a day until the device installs it.
const DefaultChallengeValidity = 24 * time.Hour

// NewChallenge makes a challenge for one certificate of a device. It is known to nobody else: only its hash is kept.
func NewChallenge(ctx context.Context, l Ledger, serial string, valid time.Duration) (string, error) {
	if valid == 0 {
		valid = DefaultChallengeValidity
	}
	challenge, hash := DrawChallenge()
	if err := l.AddChallenge(ctx, serial, hash, valid); err != nil {
		return "", fmt.Errorf("making a challenge for %s: %w", serial, err)
	}
	return challenge, nil
}

// DrawChallenge makes up a challenge that nobody can guess. The caller keeps its hash.
func DrawChallenge() (challenge string, hash ChallengeHash) {
	challenge = rand.Text()
	return challenge, sha256.Sum256([]byte(challenge))
}
