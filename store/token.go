package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Role is what a token may do; each role may do what those before it may.
type Role string

// Roles, from least to most.
const (
	Viewer     Role = "viewer"
	Technician Role = "technician"
	Admin      Role = "admin"
)

var rank = map[Role]int{Viewer: 1, Technician: 2, Admin: 3}

// Includes reports whether the role may do what least may; an unknown role may nothing, and nobody may what asks for an
// unknown role.
func (r Role) Includes(least Role) bool { return rank[least] > 0 && rank[r] >= rank[least] }

// Token is an access token to the API, without its secret.
type Token struct {
	ID   string
	Name string
	// Prefix is what the secret begins with.
	Prefix     string
	Role       Role
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	RevokedAt  *time.Time
}

const (
	secretStart = "mst_"
	// prefixLength keeps 36 of the 256 random bits readable, enough to tell tokens apart.
	prefixLength = len(secretStart) + 6
)

// secretLength is that of every secret: the start and 32 bytes in base64.
var secretLength = len(secretStart) + base64.RawURLEncoding.EncodedLen(32)

func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails (Go 1.24)
	return secretStart + base64.RawURLEncoding.EncodeToString(raw)
}

//nolint:gosec // SQL, no credential
const createToken = `
INSERT INTO api_tokens (id, name, prefix, sha256, role, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)`

// CreateToken makes a token and returns it with its secret, which is stored nowhere. expires nil means never. It fails
// with [provision.Invalid] and the field.
func (db *DB) CreateToken(ctx context.Context, name string, role Role, expires *time.Time) (Token, string, error) {
	t := Token{ID: newID("tok"), Name: strings.TrimSpace(name), Role: role, CreatedAt: db.now(), ExpiresAt: expires}
	switch {
	case t.Name == "":
		return t, "", provision.Errorf(provision.Invalid, "The token has no name; give one.").At("name")
	case rank[role] == 0:
		return t, "", provision.Errorf(provision.Invalid, "%q is no role; take viewer, technician or admin.", string(role)).At("role")
	case expires != nil && !expires.After(t.CreatedAt):
		return t, "", provision.Errorf(provision.Invalid, "The token would be expired already.").At("expires_at")
	}
	secret := newSecret()
	t.Prefix = secret[:prefixLength]
	hash := sha256.Sum256([]byte(secret))
	_, err := db.pool.Exec(ctx, createToken, t.ID, t.Name, t.Prefix, hash[:], t.Role, t.CreatedAt, t.ExpiresAt)
	return t, secret, translate(err, "creating a token")
}

//nolint:gosec // SQL, no credential
const tokens = `
SELECT id, name, prefix, role, created_at, expires_at, last_used_at, revoked_at
FROM api_tokens
WHERE `

// Tokens lists tokens, the oldest first; after is the last one of the page before.
func (db *DB) Tokens(ctx context.Context, after Token, limit int) ([]Token, error) {
	rows, err := db.pool.Query(ctx, tokens+`(created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT $3`, after.CreatedAt, after.ID, limit)
	if err != nil {
		return nil, translate(err, "listing tokens")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Token])
	return list, translate(err, "listing tokens")
}

//nolint:gosec // SQL, no credential
const tokenUsed = `
UPDATE api_tokens
SET last_used_at = $2
WHERE id = $1`

// TokenOf returns the token with this secret if it may be used now. It fails with [provision.NotFound] alike for secrets
// that are unknown, expired or revoked. When it was last used is noted to the minute.
func (db *DB) TokenOf(ctx context.Context, secret string) (Token, error) {
	refused := provision.Errorf(provision.NotFound, "The token is unknown, expired or revoked.")
	if len(secret) != secretLength || !strings.HasPrefix(secret, secretStart) {
		return Token{}, refused
	}
	hash := sha256.Sum256([]byte(secret))
	rows, err := db.pool.Query(ctx, tokens+`sha256 = $1`, hash[:])
	if err != nil {
		return Token{}, translate(err, "reading a token")
	}
	t, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Token])
	now := db.now()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Token{}, refused
	case err != nil:
		return Token{}, translate(err, "reading a token")
	case t.RevokedAt != nil || t.ExpiresAt != nil && !t.ExpiresAt.After(now):
		return Token{}, refused
	}
	if t.LastUsedAt == nil || now.Sub(*t.LastUsedAt) >= time.Minute {
		if _, err := db.pool.Exec(ctx, tokenUsed, t.ID, now); err != nil {
			return Token{}, translate(err, "noting a token's use")
		}
	}
	return t, nil
}

//nolint:gosec // SQL, no credential
const revokeToken = `
UPDATE api_tokens
SET revoked_at = coalesce(revoked_at, $2)
WHERE id = $1`

// RevokeToken makes a token worthless from now on; revoking twice does no harm. It fails with [provision.NotFound].
func (db *DB) RevokeToken(ctx context.Context, id string) error {
	tag, err := db.pool.Exec(ctx, revokeToken, id, db.now())
	if err != nil {
		return translate(err, "revoking a token")
	}
	if tag.RowsAffected() == 0 {
		return provision.Errorf(provision.NotFound, "No token has the id %.100q.", id)
	}
	return nil
}
