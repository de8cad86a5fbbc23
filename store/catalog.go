package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Condition is what must hold of a thing's version for an edit to be made; the zero Condition always holds.
type Condition struct {
	// Given: Versions or Any count.
	Given    bool
	Versions []int64
	// Any: the thing must exist, in whatever version.
	Any bool
	// Absent: the thing must not exist.
	Absent bool
}

// Check fails with [provision.VersionConflict] when the condition does not hold of a thing with this version; 0 = there
// is none.
func (c Condition) Check(version int64) error {
	if c.Absent && version != 0 {
		return provision.Errorf(provision.VersionConflict, "It exists already, and the request was to create only.")
	}
	if !c.Given || c.Any && version != 0 {
		return nil
	}
	for _, v := range c.Versions {
		if v == version && version != 0 {
			return nil
		}
	}
	if version == 0 {
		return provision.Errorf(provision.VersionConflict, "It does not exist any more, and the request was to change what is there.")
	}
	return provision.Errorf(provision.VersionConflict, "Somebody else changed it meanwhile: it is at version %d. Read it again and repeat the change.", version)
}

// Edit is how the catalog is edited.
type Edit struct {
	If Condition
	// DryRun says that the edit is to be tried only.
	DryRun *DryRun
	// By is the fact that devices get when something of theirs changes; its kind and time are set.
	By provision.Fact
}

// affectedAtOnce bounds the devices whose states are in memory at a time.
const affectedAtOnce = 1000

// catalogLock orders edits of groups, configurations, apps and documents, so that none misses what another is just adding. It is
// taken before any row: first this, then groups by name, then devices by serial number.
const catalogLock = 0x6d757374 // any number nobody else takes

type catalogEdit struct {
	Edit
	db   *DB
	tx   pgx.Tx
	now  time.Time
	told int // devices
}

// editCatalog runs an edit in a transaction. It may deadlock with two devices that exchange their UDIDs; if it loses, it
// runs again.
func (db *DB) editCatalog(ctx context.Context, doing string, edit Edit, do func(context.Context, *catalogEdit) error) error {
	for try := 1; ; try++ {
		err := edited(ctx, db.pool, edit.DryRun, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, catalogLock); err != nil {
				return err
			}
			return do(ctx, &catalogEdit{Edit: edit, db: db, tx: tx, now: db.now()})
		})
		if err == nil || try == lostRaces || !lostRace(err) {
			return translate(err, doing)
		}
	}
}

const lockGroups = `
SELECT name
FROM groups
WHERE name = ANY ($1)
ORDER BY name
FOR UPDATE`

const lockAffected = `
SELECT state
FROM devices
WHERE group_names && $1 AND status <> 'Released' AND serial > $2
ORDER BY serial
LIMIT $3
FOR UPDATE`

const appendToAll = `
INSERT INTO device_events (serial, epoch, kind, payload, actor, source, priority, created_at, deliver)
SELECT serial, 0, @kind, @payload, @actor, @source, @priority, @now, true
FROM unnest(@serials::text[]) AS serial
RETURNING serial, id`

const saveFolded = `
UPDATE devices d
SET state = f.state,
    status = f.status,
    awaiting = f.awaiting,
    blocked_by = f.blocked_by,
    version = d.version + 1,
    updated_at = $2
FROM jsonb_to_recordset($1) AS f (serial text, state jsonb, status text, awaiting text[], blocked_by text)
WHERE d.serial = f.serial`

// changed tells every device of the groups that its catalog changed. An assignment locks its groups before its device
// (see [DB.Assign]), so each device is either told here or assigned to the groups as they are after the edit.
func (e *catalogEdit) changed(ctx context.Context, groups []string) error {
	if len(groups) == 0 || e.DryRun != nil {
		return nil
	}
	if _, err := e.tx.Exec(ctx, lockGroups, groups); err != nil {
		return fmt.Errorf("locking the groups: %w", err)
	}
	told := false
	for after := ""; ; {
		devices, err := e.affected(ctx, groups, after)
		if err != nil {
			return err
		}
		if len(devices) == 0 {
			break
		}
		if err := e.tell(ctx, devices); err != nil {
			return err
		}
		after, told = devices[len(devices)-1].Serial, true
	}
	if !told {
		return nil
	}
	_, err := e.tx.Exec(ctx, `SELECT pg_notify($1, '')`, FactsChannel)
	return err
}

func (e *catalogEdit) affected(ctx context.Context, groups []string, after string) ([]provision.Device, error) {
	rows, err := e.tx.Query(ctx, lockAffected, groups, after, affectedAtOnce)
	if err != nil {
		return nil, fmt.Errorf("locking the devices: %w", err)
	}
	devices, err := pgx.CollectRows(rows, pgx.RowTo[provision.Device])
	if err != nil {
		return nil, fmt.Errorf("locking the devices: %w", err)
	}
	return devices, nil
}

type folded struct {
	Serial    string           `json:"serial"`
	State     provision.Device `json:"state"`
	Status    provision.Status `json:"status"`
	Awaiting  []string         `json:"awaiting"`
	BlockedBy string           `json:"blocked_by"`
}

// tell appends the fact for devices that are locked, folds it and saves them. The fact is dated after the lock, so that
// the times of a device's facts rise with their ids.
func (e *catalogEdit) tell(ctx context.Context, devices []provision.Device) error {
	f := e.By
	f.Kind, f.At, f.ID = provision.CatalogChanged, e.db.now(), 0
	e.told += len(devices)
	ids, err := e.append(ctx, f, devices)
	if err != nil {
		return err
	}
	rows := make([]folded, len(devices))
	for i, d := range devices {
		f.ID = ids[d.Serial]
		d = provision.Fold(d, f)
		rows[i] = folded{d.Serial, d, d.Status(), notNil(d.Awaiting()), d.BlockedBy()}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("writing devices: %w", err)
	}
	if _, err := e.tx.Exec(ctx, saveFolded, raw, f.At); err != nil {
		return fmt.Errorf("saving the devices: %w", err)
	}
	return nil
}

func (e *catalogEdit) append(ctx context.Context, f provision.Fact, devices []provision.Device) (map[string]int64, error) {
	serials := make([]string, len(devices))
	for i, d := range devices {
		serials[i] = d.Serial
	}
	payload, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("writing a fact: %w", err)
	}
	rows, err := e.tx.Query(ctx, appendToAll, pgx.NamedArgs{
		"kind": f.Kind, "payload": payload, "actor": f.Actor, "source": f.Source, "priority": urgency(e.told), "now": f.At,
		"serials": serials,
	})
	if err != nil {
		return nil, fmt.Errorf("recording the facts: %w", err)
	}
	ids := make(map[string]int64, len(devices))
	var serial string
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&serial, &id}, func() error {
		ids[serial] = id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recording the facts: %w", err)
	}
	return ids, nil
}

// Page bounds a list: the entries after a key, at most Limit of them.
type Page struct {
	After string
	Limit int
}

// newID returns an id that nobody can guess or meet twice; kind begins it, so that people can tell what it names.
func newID(kind string) string { return kind + "_" + strings.ToLower(rand.Text()) }

// pattern makes text a LIKE pattern that finds it anywhere.
func pattern(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text) + "%"
}
