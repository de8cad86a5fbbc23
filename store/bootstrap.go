package store

import (
	"context"
	"crypto/sha256"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// NewSecret makes the secret of a token: mst_ and 256 random bits.
func NewSecret() string { return newSecret() }

//nolint:gosec // SQL, no credential
const keepToken = `
INSERT INTO api_tokens (id, name, prefix, sha256, role, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (sha256) DO NOTHING`

// KeepToken makes a token of a secret that the operator chose, so that a service can be used from its first start. Doing
// it again changes nothing; a revoked one stays revoked. It fails with [provision.Invalid] for what is no secret of ours.
func (db *DB) KeepToken(ctx context.Context, name string, role Role, secret string) error {
	if len(secret) != secretLength || !strings.HasPrefix(secret, secretStart) {
		return provision.Errorf(provision.Invalid, "The bootstrap token must be %q followed by %d characters of base64url; muster token secret makes one.",
			secretStart, secretLength-len(secretStart))
	}
	hash := sha256.Sum256([]byte(secret))
	_, err := db.pool.Exec(ctx, keepToken, newID("tok"), name, secret[:prefixLength], hash[:], role, db.now())
	return translate(err, "keeping the bootstrap token")
}
