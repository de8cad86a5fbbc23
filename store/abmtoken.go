package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

const abmKeyPair = `
SELECT certificate, private_key
FROM abm_servers
WHERE name = $1
FOR UPDATE`

//nolint:gosec // a statement, not a credential
const storeToken = `
UPDATE abm_servers
SET token = $2,
    consumer_key = $3,
    token_expires_at = $4,
    linked_at = $5,
    account = CASE WHEN consumer_key = $3 THEN account END,
    health = 'ok',
    health_since = $5,
    health_detail = '',
    health_told = false,
    failing_since = NULL,
    throttled_until = NULL,
    sync_wanted_at = $5,
    version = version + 1,
    updated_at = $5
WHERE name = $1`

// Another account has another list, so nothing of the former cursor counts.
const startOver = `
UPDATE abm_servers
SET phase = 'fetch',
    cursor = '',
    generation = generation + 1,
    full_started_at = NULL,
    full_listed = 0
WHERE name = $1`

// What was put off because the server could not be used goes on at once. What is being asked just now (its lease is shorter
// than any such pause) isn't asked a second time, and what Apple throttled keeps Apple's time.
const duesOfServer = `
UPDATE abm_duties
SET due_at = $2
WHERE server = $1 AND due_at > $2::timestamptz + $3::interval AND activity = '' AND result <> 'THROTTLED'`

// ABMToken is a server token ready to be stored: Secret is the whole of it.
type ABMToken struct {
	ConsumerKey string
	ExpiresAt   time.Time
	Secret      json.RawMessage
}

// LinkABM stores a server token. open gets the server's certificate and private key and opens the file that Apple gave.
// A token of another account (consumer key) than the last is refused with [provision.InUse] unless force is set; all
// devices are listed anew then. What waited for a working token goes on at once.
func (db *DB) LinkABM(ctx context.Context, name string, force bool, open func(certificate, key []byte) (ABMToken, error)) (ABMServer, error) {
	var saved ABMServer
	err := db.editABMServer(ctx, "linking ABM server "+name, func(ctx context.Context, tx pgx.Tx) error {
		was, err := readABMServer(ctx, tx, name, "FOR UPDATE")
		if err != nil {
			return err
		}
		certificate, key, err := db.abmKeys(ctx, tx, name)
		if err != nil {
			return err
		}
		token, err := open(certificate, key)
		if err != nil {
			return err
		}
		another := was.ConsumerKey != "" && was.ConsumerKey != token.ConsumerKey
		if another && !force {
			return provision.Errorf(ABMTokenOther, "The token belongs to another MDM server at Apple than the one before (consumer key %s instead of %s). To move ABM server %q to it, upload the token again with force.",
				brief(token.ConsumerKey), brief(was.ConsumerKey), name)
		}
		if err := db.storeToken(ctx, tx, name, token, another); err != nil {
			return err
		}
		saved, err = readABMServer(ctx, tx, name, "")
		return err
	})
	return saved, err
}

// ABMTokenOther is the code of a token that belongs to another account than the one before.
const ABMTokenOther provision.Code = "abm_token_other_account" //nolint:gosec // a code, not a credential

// brief shows enough of a consumer key to tell it from another.
func brief(key string) string {
	const most = 12
	if len(key) <= most {
		return key
	}
	return key[:most] + "…"
}

func (db *DB) storeToken(ctx context.Context, tx pgx.Tx, name string, t ABMToken, another bool) error {
	sealed, err := db.sealer.Seal(t.Secret, placeOf(name, "token"))
	if err != nil {
		return err
	}
	now := db.now()
	if _, err := tx.Exec(ctx, storeToken, name, sealed, t.ConsumerKey, t.ExpiresAt, now); err != nil {
		return err
	}
	if another {
		if _, err := tx.Exec(ctx, startOver, name); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, duesOfServer, name, now, dutyLease)
	return err
}

func (db *DB) abmKeys(ctx context.Context, q querier, name string) (certificate, key []byte, err error) {
	var sealed []byte
	row, err := q.Query(ctx, abmKeyPair, name)
	if err != nil {
		return nil, nil, err
	}
	if _, err := pgx.ForEachRow(row, []any{&certificate, &sealed}, func() error { return nil }); err != nil {
		return nil, nil, err
	}
	if certificate == nil {
		return nil, nil, noABMServer(name)
	}
	key, err = db.sealer.Open(sealed, placeOf(name, "private_key"))
	return certificate, key, err
}

const renewKeyPair = `
UPDATE abm_servers
SET certificate = $2,
    private_key = $3,
    version = version + 1,
    updated_at = $4
WHERE name = $1`

// RenewABMKeys replaces the key pair; the token that is stored stays good, the next one must be made for the new one.
func (db *DB) RenewABMKeys(ctx context.Context, name string, makeKeys func() (certificate, key []byte, err error)) (ABMServer, error) {
	certificate, key, err := makeKeys()
	if err != nil {
		return ABMServer{}, err
	}
	sealed, err := db.sealer.Seal(key, placeOf(name, "private_key"))
	if err != nil {
		return ABMServer{}, err
	}
	return db.changeABM(ctx, "renewing the keys of ABM server "+name, name, renewKeyPair, name, certificate, sealed, db.now())
}

const storeBusiness = `
UPDATE abm_servers
SET business_client = $2,
    business_key_id = $3,
    business_key = $4,
    version = version + 1,
    updated_at = $5
WHERE name = $1`

// PutABMBusiness stores the Business API account of a server; an empty client id removes it.
func (db *DB) PutABMBusiness(ctx context.Context, name, clientID, keyID string, privateKeyPEM []byte) (ABMServer, error) {
	var sealed []byte
	if clientID != "" {
		var err error
		if sealed, err = db.sealer.Seal(privateKeyPEM, placeOf(name, "business_key")); err != nil {
			return ABMServer{}, err
		}
	} else {
		keyID = ""
	}
	return db.changeABM(ctx, "saving the Business API account of ABM server "+name, name, storeBusiness, name, clientID, keyID, sealed, db.now())
}

// ABMSecrets are what is needed to talk to Apple for a server, as it was stored.
type ABMSecrets struct {
	Server ABMServer
	// Token is [ABMToken.Secret]; nil when the server isn't linked.
	Token json.RawMessage
	// BusinessKey is the PEM of the Business API's key; nil when there is no account.
	BusinessKey []byte
}

//nolint:gosec // a statement, not a credential
const abmSecrets = `
SELECT token, business_key
FROM abm_servers
WHERE name = $1`

// ABMSecrets returns a server with its secrets opened. It fails with [provision.NotFound].
func (db *DB) ABMSecrets(ctx context.Context, name string) (ABMSecrets, error) {
	s, err := db.ABMServer(ctx, name)
	if err != nil {
		return ABMSecrets{}, err
	}
	out := ABMSecrets{Server: s}
	var token, business []byte
	if err := db.pool.QueryRow(ctx, abmSecrets, name).Scan(&token, &business); err != nil {
		return out, translate(err, "reading the secrets of ABM server "+name)
	}
	if token != nil {
		if out.Token, err = db.sealer.Open(token, placeOf(name, "token")); err != nil {
			return out, fmt.Errorf("opening the token of ABM server %s: %w", name, err)
		}
	}
	if business != nil {
		if out.BusinessKey, err = db.sealer.Open(business, placeOf(name, "business_key")); err != nil {
			return out, fmt.Errorf("opening the Business API key of ABM server %s: %w", name, err)
		}
	}
	return out, nil
}

const noteAccount = `
UPDATE abm_servers
SET account = $2
WHERE name = $1 AND account IS DISTINCT FROM $2::jsonb`

// NoteABMAccount keeps what Apple said of the account.
func (db *DB) NoteABMAccount(ctx context.Context, name string, a ABMAccount) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("writing an ABM account: %w", err)
	}
	_, err = db.pool.Exec(ctx, noteAccount, name, raw)
	return translate(err, "noting the account of ABM server "+name)
}
