package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Verdicts on rows, spelled as in api/bulk.
const (
	VerdictOK     = "ok"
	VerdictNotice = "notice"
	VerdictError  = "error"
)

// ImportRow is a row of a file, or a device of a list, with what is thought of it so far.
type ImportRow struct {
	Line     int64
	Serial   string
	Verdict  string
	Problems []RowProblem
	// Record holds the cells as they stand in the file.
	Record  []string
	User    provision.Person
	Groups  []string
	OwnedBy string
	Reason  string
	// Standing is the code of a notice that many rows have, and that says all by itself.
	Standing string
	// Said is the same for rows that say the same.
	Said int64
}

// size is how much text its cells have, in bytes.
func (r ImportRow) size() int {
	n := 0
	for _, cell := range r.Record {
		n += len(cell)
	}
	return n
}

// cellSeparator stands between the cells of a record; no program writes it in one.
const cellSeparator = '\x1F'

// want reads what shall be done, a line each: none of it can have a line break.
func (r *ImportRow) want(text string) {
	if text == "" {
		return
	}
	lines := strings.Split(text, "\n")
	r.User.Name, r.User.Domain, r.User.Email, r.OwnedBy, r.Reason = lines[0], lines[1], lines[2], lines[3], lines[4]
	r.Groups = lines[5:]
}

const beginImport = `
INSERT INTO operations (id, kind, import, state, request, actor, source, file_name, due_at, created_at)
VALUES ($1, $2, true, 'uploading', $3, $4, $5, $6, $7, $8)
RETURNING number`

// Upload is a file that is being uploaded.
type Upload struct {
	ID     string
	number int64
	kind   string
}

// NewImport is a file that shall be uploaded.
type NewImport struct {
	// Kind is [OpAssign] or [OpUnassign].
	Kind     string
	Request  OperationRequest
	Actor    string
	Source   provision.Source
	FileName string
}

// Uploaded is a file all of whose rows are kept.
type Uploaded struct {
	File  ImportFile
	Count Counted
	// Suspects are the serial numbers that rows may share; nil = any.
	Suspects []string
	// Force takes a file that was uploaded before.
	Force bool
}

// uploadLease is after what time without a row an upload counts as broken off, because its process died.
const uploadLease = 10 * time.Minute

// BeginImport makes room for a file.
func (db *DB) BeginImport(ctx context.Context, n NewImport) (Upload, error) {
	u, now := Upload{ID: newID("imp"), kind: n.Kind}, db.now()
	err := db.pool.QueryRow(ctx, beginImport, u.ID, n.Kind, asJSON(n.Request), n.Actor, n.Source, n.FileName, now.Add(uploadLease), now).Scan(&u.number)
	return u, translate(err, "beginning an import")
}

const prolongUpload = `
UPDATE operations
SET due_at = $2
WHERE id = $1 AND state = 'uploading'`

// AppendRows keeps further rows of a file that is being uploaded.
func (db *DB) AppendRows(ctx context.Context, u Upload, rows []ImportRow) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if err := copyRows(ctx, tx, u.number, rows); err != nil {
			return err
		}
		// Last, because whoever changes the operation keeps all others who bring rows waiting.
		tag, err := tx.Exec(ctx, prolongUpload, u.ID, db.now().Add(uploadLease))
		if err == nil && tag.RowsAffected() == 0 {
			err = provision.Errorf(OperationState, "The upload took too long and was given up.")
		}
		return err
	})
	return translate(err, "keeping rows of an import")
}

// Counted counts rows by verdict and by code.
type Counted struct {
	Total, OK, Noticed, Wrong int64
	Codes                     map[string]int64
}

// Add counts rows.
func (c *Counted) Add(rows []ImportRow) {
	if c.Codes == nil {
		c.Codes = map[string]int64{}
	}
	standing, alike := "", int64(0) // rows of the same standing follow each other, mostly
	for i := range rows {
		r := &rows[i]
		c.verdict(r.Verdict)
		if r.Standing != standing {
			c.code(standing, alike)
			standing, alike = r.Standing, 0
		}
		alike++
		for i, p := range r.Problems {
			if !slices.ContainsFunc(r.Problems[:i], func(q RowProblem) bool { return q.Code == p.Code }) {
				c.code(p.Code, 1)
			}
		}
	}
	c.code(standing, alike)
}

func (c *Counted) verdict(v string) {
	c.Total++
	switch v {
	case VerdictOK:
		c.OK++
	case VerdictNotice:
		c.Noticed++
	case VerdictError:
		c.Wrong++
	}
}

func (c *Counted) code(code string, n int64) {
	if code != "" {
		c.Codes[code] += n
	}
}

const endImport = `
UPDATE operations
SET state = 'checking',
    total = @total,
    ok = @ok,
    noticed = @noticed,
    wrong = @wrong,
    codes = @codes,
    suspects = @suspects,
    file_size = @size,
    file_sha256 = @sha256,
    header = @header,
    delimiter = @delimiter,
    bom = @bom,
    notices = @notices,
    due_at = @now
WHERE id = @id AND state = 'uploading'`

const sameFile = `
SELECT id, state, created_at
FROM operations
WHERE file_sha256 = $1 AND kind = $2 AND state NOT IN ('cancelled', 'undone', 'failed')
ORDER BY created_at
LIMIT 1`

// EndImport completes an upload, whose rows are checked against each other next. It fails with [ImportDuplicate] when the
// same file was uploaded before and neither cancelled nor undone, unless [Uploaded.Force] is set.
func (db *DB) EndImport(ctx context.Context, to Upload, u Uploaded) (Operation, error) {
	f, c := u.File, u.Count
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		// Of two uploads of one file at the same time, the second must see the first.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))`, f.SHA256); err != nil {
			return err
		}
		var former, state string
		var at time.Time
		err := tx.QueryRow(ctx, sameFile, f.SHA256, to.kind).Scan(&former, &state, &at)
		switch {
		case err == nil && !u.Force:
			return provision.Errorf(ImportDuplicate, "The same file was uploaded on %s as %s, which is %s. Use that one, or force this one.", at.UTC().Format("2006-01-02 15:04 MST"), former, state)
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		codes := []byte("{}")
		if len(c.Codes) > 0 {
			codes = asJSON(c.Codes)
		}
		notices := bytes.TrimSpace(asJSON(f.Notices))
		if len(notices) == 0 {
			notices = []byte("[]")
		}
		_, err = tx.Exec(ctx, endImport, pgx.NamedArgs{
			"id": to.ID, "total": c.Total, "ok": c.OK, "noticed": c.Noticed, "wrong": c.Wrong, "codes": codes, "suspects": u.Suspects, "size": f.Size, "sha256": f.SHA256, "header": notNil(f.Header), "delimiter": f.Delimiter, "bom": f.BOM,
			"notices": notices, "now": db.now(),
		})
		if err != nil {
			return err
		}
		return wakeOperations(ctx, tx)
	})
	if err != nil {
		return Operation{}, translate(err, "completing an import")
	}
	return db.Operation(ctx, to.ID)
}

const dropRows = `
DELETE FROM operation_pages
WHERE operation = $1`

const dropOperation = `
DELETE FROM operations
WHERE number = $1`

// DropImport forgets an upload that came to nothing.
func (db *DB) DropImport(ctx context.Context, u Upload) error {
	return translate(pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return dropAll(ctx, tx, u.number) }), "dropping an import")
}

func dropAll(ctx context.Context, tx pgx.Tx, number int64) error {
	for _, statement := range []string{dropRows, `DELETE FROM operation_results WHERE operation = $1`, dropOperation} {
		if _, err := tx.Exec(ctx, statement, number); err != nil {
			return err
		}
	}
	return nil
}

// Standing is what is known of a device that a row names.
type Standing struct {
	provision.Device
	// User is whom it is assigned to.
	User *provision.Person
}

const standings = `
SELECT d.state, u.id, u.name, u.domain, u.email, u.technician
FROM devices d
    LEFT JOIN people u ON u.id = d.user_id
WHERE d.serial = ANY ($1)`

// Standings returns what is known of devices, by serial number; unknown ones are missing.
func (db *DB) Standings(ctx context.Context, serials []string) (map[string]Standing, error) {
	rows, err := db.pool.Query(ctx, standings, serials)
	if err != nil {
		return nil, translate(err, "reading devices")
	}
	known := map[string]Standing{}
	var d provision.Device
	var u nullPerson
	_, err = pgx.ForEachRow(rows, []any{&d, &u.id, &u.name, &u.domain, &u.email, &u.technician}, func() error {
		known[d.Serial] = Standing{Device: d, User: u.person()}
		d = provision.Device{}
		return nil
	})
	return known, translate(err, "reading devices")
}

const rowStandings = `
SELECT d.serial, d.state -> 'assignment', d.state -> 'planned', coalesce((d.state #>> '{released,by}')::bigint, 0),
    coalesce((d.state #>> '{release_asked,by}')::bigint, 0), coalesce((d.state #>> '{release_cancelled,by}')::bigint, 0),
    u.id, u.name, u.domain, u.email, u.technician
FROM devices d
    LEFT JOIN people u ON u.id = d.user_id
WHERE d.serial = ANY ($1) AND d.status <> 'Withdrawn' AND d.state ? 'known'`

// RowStandings is [DB.Standings] with no more of a device than a row of a file is judged by: its assignments, and whether it was
// released or is to be. Reading and decoding the rest is most of what a row about a known device would cost. Devices that
// are unknown ([provision.Device.Unknown]) are missing.
func (db *DB) RowStandings(ctx context.Context, serials []string) (map[string]Standing, error) {
	rows, err := db.pool.Query(ctx, rowStandings, serials)
	if err != nil {
		return nil, translate(err, "reading devices")
	}
	known := make(map[string]Standing, len(serials))
	var d provision.Device
	var u nullPerson
	to := []any{
		&d.Serial, &d.Assignment, &d.Planned, &d.Released.By, &d.ReleaseAsked.By, &d.ReleaseCancelled.By, &u.id, &u.name, &u.domain, &u.email, &u.technician,
	}
	_, err = pgx.ForEachRow(rows, to, func() error {
		known[d.Serial] = Standing{Device: d, User: u.person()}
		d = provision.Device{}
		return nil
	})
	return known, translate(err, "reading devices")
}

const estimateDevices = `
SELECT greatest(reltuples, 0)::bigint + 10000
FROM pg_class
WHERE oid = 'devices'::regclass`

// EachSerial says about how many devices there are, and calls take with the serial number of each.
func (db *DB) EachSerial(ctx context.Context, about func(int64), take func(string)) error {
	var n int64
	if err := db.pool.QueryRow(ctx, estimateDevices).Scan(&n); err != nil {
		return translate(err, "counting devices")
	}
	about(n)
	rows, err := db.pool.Query(ctx, `SELECT serial FROM devices`)
	if err != nil {
		return translate(err, "reading serial numbers")
	}
	var serial string
	_, err = pgx.ForEachRow(rows, []any{&serial}, func() error { take(serial); return nil })
	return translate(err, "reading serial numbers")
}

// GroupNames lists the names of all groups.
func (db *DB) GroupNames(ctx context.Context) ([]string, error) {
	rows, err := db.pool.Query(ctx, `SELECT name FROM groups`)
	if err != nil {
		return nil, translate(err, "listing the groups")
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, translate(err, "listing the groups")
}

const matchingSerials = `
SELECT d.serial
FROM devices d
    LEFT JOIN people u ON u.id = d.user_id
WHERE `

// Serials lists the serial numbers of the devices that a filter finds.
func (db *DB) Serials(ctx context.Context, f DeviceFilter) ([]string, error) {
	rows, err := db.pool.Query(ctx, matchingSerials+f.conditions()+` ORDER BY d.serial LIMIT @limit`, f.args())
	if err != nil {
		return nil, translate(err, "listing devices")
	}
	serials, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return serials, translate(err, "listing devices")
}
