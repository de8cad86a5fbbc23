package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long answers are kept, and after what time a request without an answer counts as lost. The second must be longer
// than any request may take.
const (
	KeepAnswers  = 24 * time.Hour
	requestsLost = 2 * time.Minute
)

// IdempotencyKey names a request that its caller may repeat.
type IdempotencyKey struct {
	TokenID string
	Key     string
	// Fingerprint is a hash of everything that makes the request what it is.
	Fingerprint [sha256.Size]byte
}

// StoredAnswer is the answer to an earlier request.
type StoredAnswer struct {
	Status int
	Header map[string][]string
	Body   []byte
}

// Claim is what became of claiming an idempotency key.
type Claim struct {
	// Mine: the request is to be carried out, and then stored or forgotten.
	Mine bool
	// Reused: the key belongs to another request.
	Reused bool
	// Answer is that of the earlier request; nil while it is still under way.
	Answer *StoredAnswer
}

// Old keys are dropped as new ones come, a few more at a time than can come: no job is needed.
const dropOldKeys = `
DELETE FROM idempotency_keys
WHERE (token_id, key) IN (
    SELECT token_id, key
    FROM idempotency_keys
    WHERE created_at < $1
    ORDER BY created_at
    LIMIT 10
    FOR UPDATE SKIP LOCKED)`

const claimKey = `
INSERT INTO idempotency_keys (token_id, key, fingerprint, created_at)
VALUES (@token, @key, @fingerprint, @now)
ON CONFLICT (token_id, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint,
    status = NULL,
    header = NULL,
    body = NULL,
    created_at = EXCLUDED.created_at
WHERE idempotency_keys.created_at < @old
    OR idempotency_keys.status IS NULL AND idempotency_keys.created_at < @lost
        AND idempotency_keys.fingerprint = EXCLUDED.fingerprint`

const readKey = `
SELECT fingerprint, status, header, body
FROM idempotency_keys
WHERE token_id = $1 AND key = $2`

// ClaimKey claims an idempotency key for a request, or says what became of the request that has it. A request that was
// lost half-way, because its process died, may be claimed again after two minutes.
func (db *DB) ClaimKey(ctx context.Context, k IdempotencyKey) (Claim, error) {
	var claim Claim
	now := db.now()
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, dropOldKeys, now.Add(-KeepAnswers)); err != nil {
			return fmt.Errorf("dropping old keys: %w", err)
		}
		tag, err := tx.Exec(ctx, claimKey, pgx.NamedArgs{
			"token": k.TokenID, "key": k.Key, "fingerprint": k.Fingerprint[:], "now": now,
			"old": now.Add(-KeepAnswers), "lost": now.Add(-requestsLost),
		})
		if err != nil {
			return err
		}
		if claim.Mine = tag.RowsAffected() == 1; claim.Mine {
			return nil
		}
		return claim.read(ctx, tx, k)
	})
	return claim, translate(err, "claiming an idempotency key")
}

func (c *Claim) read(ctx context.Context, tx pgx.Tx, k IdempotencyKey) error {
	var fingerprint []byte
	var status *int
	var answer StoredAnswer
	err := tx.QueryRow(ctx, readKey, k.TokenID, k.Key).Scan(&fingerprint, &status, &answer.Header, &answer.Body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it failed this very moment and was forgotten: still under way, as far as the caller is concerned
	}
	if err != nil {
		return err
	}
	c.Reused = !bytes.Equal(fingerprint, k.Fingerprint[:])
	if status != nil && !c.Reused {
		answer.Status = *status
		c.Answer = &answer
	}
	return nil
}

const storeAnswer = `
UPDATE idempotency_keys
SET status = $3,
    header = $4,
    body = $5
WHERE token_id = $1 AND key = $2 AND fingerprint = $6 AND status IS NULL`

// StoreAnswer keeps the answer to a claimed request.
func (db *DB) StoreAnswer(ctx context.Context, k IdempotencyKey, a StoredAnswer) error {
	_, err := db.pool.Exec(ctx, storeAnswer, k.TokenID, k.Key, a.Status, a.Header, a.Body, k.Fingerprint[:])
	return translate(err, "storing an answer")
}

const forgetKey = `
DELETE FROM idempotency_keys
WHERE token_id = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL`

// ForgetKey gives a claimed key back, because the request changed nothing.
func (db *DB) ForgetKey(ctx context.Context, k IdempotencyKey) error {
	_, err := db.pool.Exec(ctx, forgetKey, k.TokenID, k.Key, k.Fingerprint[:])
	return translate(err, "giving an idempotency key back")
}
