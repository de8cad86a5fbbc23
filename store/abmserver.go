package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// ABMChannel wakes the worker when something about Apple Business Manager servers is due.
const ABMChannel = "muster_abm"

// ABMPhase is how far the list of a server's devices is.
type ABMPhase string

// Phases.
const (
	PhaseFetch    ABMPhase = "fetch"
	PhaseConclude ABMPhase = "conclude"
	PhaseSync     ABMPhase = "sync"
)

// Healthy and Unlinked are a server's health beside the causes of [provision.BlockCause].
const (
	Unlinked = "unlinked"
	Healthy  = "ok"
)

// ABMAccount is what Apple says of the account that a server token belongs to (Account Detail).
type ABMAccount struct {
	ServerName    string `json:"server_name"`
	ServerUUID    string `json:"server_uuid"`
	AdminID       string `json:"admin_id"`
	FacilitatorID string `json:"facilitator_id,omitempty"`
	OrgName       string `json:"org_name"`
	OrgEmail      string `json:"org_email,omitempty"`
	OrgPhone      string `json:"org_phone,omitempty"`
	OrgAddress    string `json:"org_address,omitempty"`
	OrgID         string `json:"org_id,omitempty"`
	OrgIDHash     string `json:"org_id_hash,omitempty"`
	OrgType       string `json:"org_type,omitempty"` // org, or edu of Apple School Manager
	OrgVersion    string `json:"org_version,omitempty"`
}

// ABMServer is an MDM server of Apple Business Manager or Apple School Manager that Muster is linked with, or will be.
type ABMServer struct {
	Name           string
	Description    string
	DefaultProfile string // device profile; "" = none
	SyncEvery      time.Duration
	FullEvery      time.Duration
	Paused         bool
	provision.SignInPolicy

	// CertificatePEM is what is uploaded at Apple for the next server token.
	CertificatePEM []byte
	ConsumerKey    string
	TokenExpiresAt *time.Time
	LinkedAt       *time.Time
	Account        *ABMAccount
	// BusinessClient and BusinessKey are the ids of the Business API account and its key; "" = none.
	BusinessClient string
	BusinessKey    string

	Phase         ABMPhase
	FullStartedAt *time.Time
	FullDoneAt    *time.Time
	SyncedAt      *time.Time
	// SyncNote says what was odd about the last sync.
	SyncNote     string
	SyncWantedAt *time.Time

	// Health is [Unlinked], [Healthy] or a [provision.BlockCause]; Detail is Apple's own word.
	Health         string
	HealthSince    time.Time
	HealthDetail   string
	FailingSince   *time.Time
	Throttled      int64
	ThrottledUntil *time.Time

	// Devices counts those that the server lists; Waiting counts what Apple is still to be asked for.
	Devices, Waiting int

	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Blocked is why the server can't be used; "" when it can, or isn't linked yet.
func (s ABMServer) Blocked() provision.BlockCause {
	if s.Health == Unlinked || s.Health == Healthy {
		return ""
	}
	return provision.BlockCause(s.Health)
}

const abmServers = `
SELECT s.name, s.description, coalesce(s.default_profile, ''), s.sync_every, s.full_every, s.paused,
    s.auto_assign_users, s.sign_in_conflict, s.sign_in_hold, s.sign_in_hold_choice,
    s.certificate, s.consumer_key, s.token_expires_at, s.linked_at, s.account, s.business_client, s.business_key_id,
    s.phase, s.full_started_at, s.full_done_at, s.synced_at, s.sync_note, s.sync_wanted_at,
    s.health, s.health_since, s.health_detail, s.failing_since, s.throttled, s.throttled_until,
    (SELECT count(*) FROM abm_devices a WHERE a.server = s.name AND a.listed),
    (SELECT count(*) FROM abm_duties t WHERE t.server = s.name),
    s.version, s.created_at, s.updated_at
FROM abm_servers s
WHERE `

// ABMServers lists servers by name.
func (db *DB) ABMServers(ctx context.Context, p Page) ([]ABMServer, error) {
	rows, err := db.pool.Query(ctx, abmServers+`s.name > $1 ORDER BY s.name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing ABM servers")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ABMServer])
	return list, translate(err, "listing ABM servers")
}

// ABMServer returns a server. It fails with [provision.NotFound].
func (db *DB) ABMServer(ctx context.Context, name string) (ABMServer, error) {
	s, err := readABMServer(ctx, db.pool, name, "")
	return s, translate(err, "reading ABM server "+name)
}

func readABMServer(ctx context.Context, q querier, name, lock string) (ABMServer, error) {
	rows, err := q.Query(ctx, abmServers+`s.name = $1 `+lock, name)
	if err != nil {
		return ABMServer{}, err
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[ABMServer])
	if errors.Is(err, pgx.ErrNoRows) {
		return s, noABMServer(name)
	}
	return s, err
}

func noABMServer(name string) error {
	return provision.Errorf(provision.NotFound, "No Apple Business Manager server %.64q is set up here.", name)
}

// ABMServerInput is what people decide about a server.
type ABMServerInput struct {
	Name           string
	Description    string
	DefaultProfile string
	SyncEvery      time.Duration
	FullEvery      time.Duration
	// SignInPolicy has its defaults filled in.
	provision.SignInPolicy
}

const createABMServer = `
INSERT INTO abm_servers (name, description, default_profile, sync_every, full_every, auto_assign_users, sign_in_conflict,
    sign_in_hold, sign_in_hold_choice, certificate, private_key, health_since, created_at, updated_at)
VALUES (@name, @description, nullif(@default_profile, ''), @sync_every, @full_every, @auto_assign_users, @sign_in_conflict,
    @sign_in_hold, @sign_in_hold_choice, @certificate, @private_key, @now, @now, @now)`

const updateABMServer = `
UPDATE abm_servers
SET description = @description,
    default_profile = nullif(@default_profile, ''),
    sync_every = @sync_every,
    full_every = @full_every,
    auto_assign_users = @auto_assign_users,
    sign_in_conflict = @sign_in_conflict,
    sign_in_hold = @sign_in_hold,
    sign_in_hold_choice = @sign_in_hold_choice,
    version = version + 1,
    updated_at = @now
WHERE name = @name`

func (in ABMServerInput) columns(now time.Time) pgx.NamedArgs {
	p := in.WithDefaults()
	return pgx.NamedArgs{
		"name": in.Name, "description": in.Description, "default_profile": in.DefaultProfile, "sync_every": in.SyncEvery,
		"full_every": in.FullEvery, "auto_assign_users": p.AutoAssign, "sign_in_conflict": p.Conflict, "sign_in_hold": p.Hold,
		"sign_in_hold_choice": p.HoldChoice, "now": now,
	}
}

// PutABMServer creates a server, with the key pair that makeKeys returns (certificate PEM, private key), or changes one. It
// fails with [provision.NotFound] and the field when there is no such default profile.
func (db *DB) PutABMServer(ctx context.Context, in ABMServerInput, condition Condition, makeKeys func() (certificate, key []byte, err error)) (saved ABMServer, created bool, err error) {
	err = db.editABMServer(ctx, "saving ABM server "+in.Name, func(ctx context.Context, tx pgx.Tx) error {
		was, err := readABMServer(ctx, tx, in.Name, "FOR UPDATE")
		created = provision.CodeOf(err) == provision.NotFound
		if err != nil && !created {
			return err
		}
		if err := condition.Check(was.Version); err != nil {
			return err
		}
		if err := profileNamed(ctx, tx, in.DefaultProfile, "default_profile"); err != nil {
			return err
		}
		if created {
			err = db.createABMServer(ctx, tx, in, makeKeys)
		} else {
			_, err = tx.Exec(ctx, updateABMServer, in.columns(db.now()))
		}
		if err != nil {
			return err
		}
		saved, err = readABMServer(ctx, tx, in.Name, "")
		return err
	})
	return saved, created, err
}

func (db *DB) createABMServer(ctx context.Context, tx pgx.Tx, in ABMServerInput, makeKeys func() (certificate, key []byte, err error)) error {
	certificate, key, err := makeKeys()
	if err != nil {
		return err
	}
	sealed, err := db.sealer.Seal(key, placeOf(in.Name, "private_key"))
	if err != nil {
		return err
	}
	columns := in.columns(db.now())
	columns["certificate"], columns["private_key"] = certificate, sealed
	_, err = tx.Exec(ctx, createABMServer, columns)
	return err
}

// editABMServer runs a transaction and wakes the worker.
func (db *DB) editABMServer(ctx context.Context, doing string, edit func(context.Context, pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return editAndTell(ctx, tx, edit) })
	return translate(err, doing)
}

// editAndTell has the worker look what is to be asked of Apple after an edit.
func editAndTell(ctx context.Context, tx pgx.Tx, edit func(context.Context, pgx.Tx) error) error {
	if err := edit(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel)
	return err
}

const devicesOfServer = `
SELECT count(*)
FROM abm_devices
WHERE server = $1 AND listed`

// DeleteABMServer forgets a server and what it said. It fails with [provision.InUse] while it lists devices.
func (db *DB) DeleteABMServer(ctx context.Context, name string, condition Condition) error {
	return db.editABMServer(ctx, "deleting ABM server "+name, func(ctx context.Context, tx pgx.Tx) error {
		s, err := readABMServer(ctx, tx, name, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := condition.Check(s.Version); err != nil {
			return err
		}
		var devices int
		if err := tx.QueryRow(ctx, devicesOfServer, name).Scan(&devices); err != nil {
			return err
		}
		if devices > 0 {
			return provision.Errorf(provision.InUse, "ABM server %q still lists %d devices. Assign them to another server in Apple Business Manager and let it sync, or forget them first.", name, devices)
		}
		_, err = tx.Exec(ctx, `DELETE FROM abm_servers WHERE name = $1`, name)
		return err
	})
}

const pauseABMServer = `
UPDATE abm_servers
SET paused = $2,
    version = version + 1,
    updated_at = $3
WHERE name = $1 AND paused <> $2`

// PauseABM stops or resumes the syncs of a server; what is asked of Apple for devices goes on.
func (db *DB) PauseABM(ctx context.Context, name string, paused bool) (ABMServer, error) {
	return db.changeABM(ctx, "pausing ABM server "+name, name, pauseABMServer, name, paused, db.now())
}

const wantSync = `
UPDATE abm_servers
SET sync_wanted_at = $2
WHERE name = $1`

const wantFetch = `
UPDATE abm_servers
SET sync_wanted_at = $2,
    phase = 'fetch',
    cursor = '',
    generation = generation + 1,
    full_started_at = NULL,
    full_listed = 0
WHERE name = $1`

// WantSync has a server synced now; full has all its devices listed anew.
func (db *DB) WantSync(ctx context.Context, name string, full bool) (ABMServer, error) {
	statement := wantSync
	if full {
		statement = wantFetch
	}
	return db.changeABM(ctx, "asking for a sync of ABM server "+name, name, statement, name, db.now())
}

func (db *DB) changeABM(ctx context.Context, doing, name, statement string, args ...any) (ABMServer, error) {
	var s ABMServer
	err := db.editABMServer(ctx, doing, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement, args...); err != nil {
			return err
		}
		var err error
		s, err = readABMServer(ctx, tx, name, "")
		return err
	})
	return s, err
}

const clearSyncWanted = `
UPDATE abm_servers
SET sync_wanted_at = NULL
WHERE name = $1 AND sync_wanted_at <= $2`

// SyncBegun takes back the wish for a sync, unless it was wished again since it was read.
func (db *DB) SyncBegun(ctx context.Context, name string, wanted time.Time) error {
	_, err := db.pool.Exec(ctx, clearSyncWanted, name, wanted)
	return translate(err, "noting a sync of ABM server "+name)
}

func placeOf(server, column string) string { return fmt.Sprintf("abm_servers/%s/%s", server, column) }
