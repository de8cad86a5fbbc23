package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// DeviceProfile is what Apple tells a device that is switched on (Apple: Profile of the device assignment API). Fields
// are Apple's, by Apple's names. Each change of them counts Content up.
type DeviceProfile struct {
	Name           string
	Description    string
	ActivationMode string
	Fields         json.RawMessage
	Content        int
	Version        int64
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

const deviceProfiles = `
SELECT name, description, activation_mode, fields, content, version, created_at, updated_at
FROM device_profiles
WHERE `

// DeviceProfiles lists device profiles by name.
func (db *DB) DeviceProfiles(ctx context.Context, p Page) ([]DeviceProfile, error) {
	rows, err := db.pool.Query(ctx, deviceProfiles+`name > $1 ORDER BY name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing device profiles")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DeviceProfile])
	return list, translate(err, "listing device profiles")
}

// DeviceProfile returns a device profile. It fails with [provision.NotFound].
func (db *DB) DeviceProfile(ctx context.Context, name string) (DeviceProfile, error) {
	p, err := readDeviceProfile(ctx, db.pool, name)
	return p, translate(err, "reading a device profile")
}

func readDeviceProfile(ctx context.Context, q querier, name string) (DeviceProfile, error) {
	rows, err := q.Query(ctx, deviceProfiles+`name = $1`, name)
	if err != nil {
		return DeviceProfile{}, err
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[DeviceProfile])
	if errors.Is(err, pgx.ErrNoRows) {
		return p, provision.Errorf(provision.NotFound, "Device profile %.100q does not exist.", name)
	}
	return p, err
}

const saveDeviceProfile = `
INSERT INTO device_profiles (name, description, activation_mode, fields, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (name) DO UPDATE
SET description = EXCLUDED.description,
    content = device_profiles.content + CASE
        WHEN device_profiles.fields = EXCLUDED.fields AND device_profiles.activation_mode = EXCLUDED.activation_mode THEN 0
        ELSE 1
    END,
    activation_mode = EXCLUDED.activation_mode,
    fields = EXCLUDED.fields,
    version = device_profiles.version + 1,
    updated_at = EXCLUDED.updated_at`

// PutDeviceProfile creates or changes a device profile. Devices that have it get the new content assigned.
func (db *DB) PutDeviceProfile(ctx context.Context, p DeviceProfile, edit Edit) (saved DeviceProfile, created bool, err error) {
	err = db.editProfiles(ctx, "saving a device profile", edit.DryRun, func(ctx context.Context, tx pgx.Tx) error {
		was, err := readDeviceProfile(ctx, tx, p.Name)
		created = provision.CodeOf(err) == provision.NotFound
		if err != nil && !created {
			return err
		}
		if err := edit.If.Check(was.Version); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, saveDeviceProfile, p.Name, p.Description, p.ActivationMode, p.Fields, db.now()); err != nil {
			return err
		}
		saved, err = readDeviceProfile(ctx, tx, p.Name)
		return err
	})
	return saved, created, err
}

// DeleteDeviceProfile deletes a device profile. It fails with [provision.InUse] while a server, a group or a device has it.
func (db *DB) DeleteDeviceProfile(ctx context.Context, name string, condition Condition) error {
	return db.editProfiles(ctx, "deleting a device profile", nil, func(ctx context.Context, tx pgx.Tx) error {
		p, err := readDeviceProfile(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := condition.Check(p.Version); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM device_profiles WHERE name = $1`, name)
		return err
	})
}

// editProfiles runs a transaction and has the worker look for what has to be assigned anew. Edits take turns with those
// of the catalog.
func (db *DB) editProfiles(ctx context.Context, doing string, dry *DryRun, edit func(context.Context, pgx.Tx) error) error {
	err := edited(ctx, db.pool, dry, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, catalogLock); err != nil {
			return err
		}
		return editAndTell(ctx, tx, edit)
	})
	return translate(err, doing)
}

const setDeviceProfile = `
UPDATE devices
SET device_profile = nullif($2, '')
WHERE serial = $1 AND device_profile IS DISTINCT FROM nullif($2, '')`

// SetDeviceProfile has one device set up by another profile than its groups' or its server's; "" takes that back. By says who
// wants that; it is recorded when it is news. It fails with [provision.DeviceNotFound], [provision.NotFound] and the field when
// there is no such profile, and as [provision.Device.CheckChange] does.
func (db *DB) SetDeviceProfile(ctx context.Context, serial, profile string, by provision.Fact) error {
	_, err := db.transact(ctx, "setting the device profile of "+serial, func(c *Change) error {
		// Edits of profiles take turns with those of the catalog.
		if _, err := c.tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, catalogLock); err != nil {
			return err
		}
		if err := c.lock(ctx, serial, false); err != nil {
			return err
		}
		if err := c.Device.CheckChange(); err != nil {
			return err
		}
		if err := profileNamed(ctx, c.tx, profile, "name"); err != nil {
			return err
		}
		tag, err := c.tx.Exec(ctx, setDeviceProfile, serial, profile)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		by.Kind, by.ABM = provision.DeviceProfileChosen, &provision.ABMFact{Profile: profile}
		if _, err := c.Record(ctx, by); err != nil {
			return err
		}
		// Somebody stands by, and the comparison of all may take its time.
		if _, err := sweepProfiles(ctx, c.tx, c.Device.ABM.Server, []string{serial}, c.now); err != nil {
			return err
		}
		_, err = c.tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel)
		return err
	})
	return err
}

// profileNamed fails with [provision.NotFound] and the field when an input names a device profile that does not exist.
func profileNamed(ctx context.Context, q querier, profile, field string) error {
	if profile == "" {
		return nil
	}
	_, err := readDeviceProfile(ctx, q, profile)
	var missing *provision.Error
	if errors.As(err, &missing) {
		return missing.At(field)
	}
	return err
}

// profileOfGroups is g, the first of the groups of a device d that has a profile, in the order of the assignment.
const profileOfGroups = `LEFT JOIN LATERAL (
        SELECT g.name, g.device_profile
        FROM groups g
        WHERE g.name = ANY (d.group_names) AND g.device_profile IS NOT NULL
        ORDER BY array_position(d.group_names, g.name)
        LIMIT 1
    ) g ON true`

// The device's own profile comes before that of its groups, in the order of the assignment, and that before the server's
// default. $1 is the server, and of sweepSome $2 the time and $3 the devices.
const (
	// uneven are the devices for which Apple is to be asked something else than it is already.
	uneven = sweepHead + sweepBody + `
)
SELECT w.serial
FROM wanted w
    LEFT JOIN device_profiles p ON p.name = w.profile
    LEFT JOIN device_profile_definitions f ON f.profile = p.name AND f.content = p.content AND f.server = $1
    LEFT JOIN abm_duties t ON t.serial = w.serial AND t.verb = 'assign_profile'
WHERE CASE
        WHEN w.profile IS NULL THEN t.serial IS NOT NULL
        ELSE (f.uuid IS NULL OR w.profile_uuid <> f.uuid OR w.profile_status NOT IN ('assigned', 'pushed'))
            AND (t.server, t.profile, t.content) IS DISTINCT FROM ($1, p.name, p.content)
    END
ORDER BY w.serial`
	// sweepSome makes the duties of devices whose rows are locked. A duty that is wanted already keeps its time; one for which no
	// profile is wanted any more is dropped.
	sweepSome = sweepHead + `
        JOIN unnest($3::text[]) AS page (serial) ON page.serial = a.serial` + sweepBody + sweepTail
)

const sweepHead = `
WITH wanted AS (
    SELECT a.serial, a.profile_uuid, a.profile_status, coalesce(d.device_profile, g.device_profile, s.default_profile) AS profile
    FROM abm_devices a`

const sweepBody = `
        JOIN abm_servers s ON s.name = a.server
        JOIN devices d ON d.serial = a.serial AND d.server = a.server
        ` + profileOfGroups + `
    WHERE a.server = $1 AND a.listed AND d.status <> 'Released'
        AND d.blocked_by <> 'abm_conflict'
        AND NOT EXISTS (SELECT FROM abm_duties r WHERE r.serial = a.serial AND r.verb = 'release')`

const sweepTail = `
), void AS (
    DELETE FROM abm_duties t
    USING wanted w
    WHERE t.serial = w.serial AND t.verb = 'assign_profile' AND w.profile IS NULL
)
INSERT INTO abm_duties (serial, verb, server, profile, content, due_at, created_at)
SELECT w.serial, 'assign_profile', $1, p.name, p.content, $2, $2
FROM wanted w
    JOIN device_profiles p ON p.name = w.profile
    LEFT JOIN device_profile_definitions f ON f.profile = p.name AND f.content = p.content AND f.server = $1
WHERE f.uuid IS NULL OR w.profile_uuid <> f.uuid OR w.profile_status NOT IN ('assigned', 'pushed')
ORDER BY w.serial
ON CONFLICT (serial, verb) DO UPDATE
SET server = EXCLUDED.server,
    profile = EXCLUDED.profile,
    content = EXCLUDED.content,
    due_at = EXCLUDED.due_at,
    tries = 0,
    result = '',
    answered_at = NULL,
    created_at = EXCLUDED.created_at
WHERE (abm_duties.server, abm_duties.profile, abm_duties.content) <> (EXCLUDED.server, EXCLUDED.profile, EXCLUDED.content)`

// sweepProfiles compares which profile devices of a server should have with what Apple says they have, and makes a duty of each
// difference. It returns how many duties are new. The devices must be locked: whoever changes one locks it before its duties, and
// here the duties' reference would lock it after them.
func sweepProfiles(ctx context.Context, tx pgx.Tx, server string, serials []string, now time.Time) (int64, error) {
	tag, err := tx.Exec(ctx, sweepSome, server, now, serials)
	if err != nil {
		return 0, err
	}
	return tag.RowsAffected(), nil
}

// sweepChunk is how many devices wait for each other while their duties are made.
const sweepChunk = 1000

// SweepProfiles has every device of a server get the profile that it should have. It returns how many must be asked for.
func (db *DB) SweepProfiles(ctx context.Context, server string) (int64, error) {
	doing := "comparing device profiles of ABM server " + server
	rows, err := db.pool.Query(ctx, uneven, server)
	if err != nil {
		return 0, translate(err, doing)
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, translate(err, doing)
	}
	var owed int64
	for some := range slices.Chunk(serials, sweepChunk) {
		var n int64
		// What was read may have changed until the devices are locked, so it is compared anew then.
		err := db.UpdateMany(ctx, some, false, func(ctx context.Context, m *Many) (err error) {
			n, err = sweepProfiles(ctx, m.tx, server, some, db.now())
			return err
		})
		if err != nil {
			return owed, translate(err, doing)
		}
		owed += n
	}
	return owed, nil
}
