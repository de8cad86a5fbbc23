package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// SignInSession is the web view of a device on which somebody is to sign in.
type SignInSession struct {
	Serial string
	// Epoch is the enrollment that the device had when the session began; the session ends with the next.
	Epoch int
	// Machine is what the device said of itself, signed.
	Machine json.RawMessage
}

const beginSession = `
INSERT INTO sign_in_sessions (sha256, serial, epoch, machine, created_at, expires_at)
VALUES (@sha256, @serial, @epoch, @machine, @now, @expires_at)`

// BeginSignIn keeps a session under the hash of its secret.
func (db *DB) BeginSignIn(ctx context.Context, secret [sha256.Size]byte, s SignInSession, valid time.Duration) error {
	now := db.now()
	_, err := db.pool.Exec(ctx, beginSession, pgx.NamedArgs{
		"sha256": secret[:], "serial": s.Serial, "epoch": s.Epoch, "machine": s.Machine, "now": now, "expires_at": now.Add(valid),
	})
	return translate(err, "beginning a sign-in on "+s.Serial)
}

const session = `
SELECT s.serial, s.epoch, s.machine
FROM sign_in_sessions s
    JOIN devices d ON d.serial = s.serial
WHERE s.sha256 = $1 AND s.expires_at > $2 AND d.epoch = s.epoch`

// SignInSession finds a session by the hash of its secret. It fails with [provision.SignInExpired] when it is over: too old,
// or its device has enrolled since.
func (db *DB) SignInSession(ctx context.Context, secret [sha256.Size]byte) (SignInSession, error) {
	rows, err := db.pool.Query(ctx, session, secret[:], db.now())
	if err != nil {
		return SignInSession{}, translate(err, "reading a sign-in")
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[SignInSession])
	if errors.Is(err, pgx.ErrNoRows) {
		return s, signInOver()
	}
	return s, translate(err, "reading a sign-in")
}

func signInOver() error {
	return provision.Errorf(provision.SignInExpired, "This sign-in is over. Go back, and begin again.")
}

const keepFlow = `
UPDATE sign_in_sessions
SET directory = $2,
    flow = $3
WHERE sha256 = $1`

// KeepSignInFlow keeps what a sign-in at a directory's own page needs when the browser comes back. A later one takes the place of
// an earlier.
func (db *DB) KeepSignInFlow(ctx context.Context, secret [sha256.Size]byte, directory string, flow json.RawMessage) error {
	_, err := db.pool.Exec(ctx, keepFlow, secret[:], directory, flow)
	return translate(err, "keeping a sign-in")
}

const takeFlow = `
UPDATE sign_in_sessions s
SET flow = NULL
FROM (
    SELECT sha256, directory, flow
    FROM sign_in_sessions
    WHERE sha256 = $1 AND flow IS NOT NULL
    FOR UPDATE
) was
WHERE s.sha256 = was.sha256
RETURNING was.directory, was.flow`

// TakeSignInFlow returns what was kept, once. It fails with [provision.SignInExpired] when there is nothing.
func (db *DB) TakeSignInFlow(ctx context.Context, secret [sha256.Size]byte) (directory string, flow json.RawMessage, err error) {
	err = db.pool.QueryRow(ctx, takeFlow, secret[:]).Scan(&directory, &flow)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, signInOver()
	}
	return directory, flow, translate(err, "reading a sign-in")
}
