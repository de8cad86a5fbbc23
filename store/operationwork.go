package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// chunk is how many rows are done in one transaction: few enough that a person who assigns one of their devices waits
// for less than a second, many enough that a transaction's own cost is lost in theirs.
const chunk = 1000

// The row's lock is the claim: it goes with the worker that holds it.
const claimOperation = operationsWhere + `due_at <= $1 AND NOT paused AND state IN ('uploading', 'checking', 'applying', 'undoing')
ORDER BY due_at
LIMIT 1
FOR UPDATE SKIP LOCKED`

// WorkOn does the next piece of the operation that waits the longest, in one transaction: what was done and how far it is
// are kept together, so however often this is interrupted, each row is done once. It returns the operation's id, "" when
// nothing is due, also with an error. Several workers may call it at once.
func (db *DB) WorkOn(ctx context.Context) (id string, err error) {
	var failed *rowError
	err = db.many(ctx, "working on an operation", provision.Bulk, func(ctx context.Context, m *Many) error {
		o, err := m.claim(ctx)
		if err != nil || o.ID == "" {
			id = ""
			return err
		}
		id = o.ID
		m.Priority(urgency(int(o.Total)))
		return m.workOn(ctx, o)
	})
	if errors.As(err, &failed) {
		return id, db.takeAllBack(ctx, id, failed)
	}
	return id, err
}

func (m *Many) claim(ctx context.Context) (Operation, error) {
	rows, err := m.tx.Query(ctx, claimOperation, m.db.now())
	if err != nil {
		return Operation{}, err
	}
	list, err := pgx.CollectRows(rows, scanOperation)
	if err != nil || len(list) == 0 {
		return Operation{}, err
	}
	return list[0], nil
}

func (m *Many) workOn(ctx context.Context, o Operation) error {
	switch o.State {
	case OpUploading:
		return dropAll(ctx, m.tx, o.number) // who uploaded it is gone
	case OpChecking:
		return m.checkRows(ctx, o)
	case OpUndoing:
		return m.undoChunk(ctx, o)
	}
	return m.applyChunk(ctx, o)
}

// rowError ends an operation of which all or nothing was to be applied.
type rowError struct{ OperationFailure }

func (e *rowError) Error() string { return e.Detail }

func (db *DB) takeAllBack(ctx context.Context, id string, why *rowError) error {
	_, err := db.changeOperation(ctx, id, "taking an import back", func(tx pgx.Tx, o Operation) error {
		if o.State != OpApplying {
			return nil
		}
		return db.takeBack(ctx, tx, id, o.applier(), &why.OperationFailure)
	})
	return err
}

const stumble = `
UPDATE operations
SET tries = tries + 1,
    due_at = $2::timestamptz + least(tries + 1, 60) * interval '1 second'
WHERE id = $1`

// Stumbled puts an operation off that could not be worked on, so that it doesn't keep the others waiting.
func (db *DB) Stumbled(ctx context.Context, id string) error {
	_, err := db.pool.Exec(ctx, stumble, id, db.now())
	return translate(err, "putting an operation off")
}

const nextOperation = `
SELECT min(due_at)
FROM operations
WHERE NOT paused AND state IN ('uploading', 'checking', 'applying', 'undoing')`

// NextOperation is when the next operation is due; zero when none is.
func (db *DB) NextOperation(ctx context.Context) (time.Time, error) {
	var at *time.Time
	if err := db.pool.QueryRow(ctx, nextOperation).Scan(&at); err != nil || at == nil {
		return time.Time{}, translate(err, "reading the next operation")
	}
	return *at, nil
}

// Of most files the upload knows which serial numbers may be there more than once: those rows are compared.
const amongSuspects = `
WITH named AS (
    SELECT p.last_line, r.line, r.said, r.serial, r.verdict, r.standing
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.lines, p.said, p.serials, p.verdicts, p.standings) AS r (line, said, serial, verdict, standing)
    WHERE p.operation = $1 AND r.serial IN (SELECT unnest($2::text[]))
), `

// Otherwise those are found first that are: even then most files name most devices once.
const amongAll = `
WITH twice AS (
    SELECT r.serial
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.serials) AS r (serial)
    WHERE p.operation = $1 AND r.serial <> ''
    GROUP BY r.serial
    HAVING count(*) > 1
), named AS (
    SELECT p.last_line, r.line, r.said, r.serial, r.verdict, r.standing
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.lines, p.said, p.serials, p.verdicts, p.standings) AS r (line, said, serial, verdict, standing)
        JOIN twice USING (serial)
    WHERE p.operation = $1
), `

// judgeNamed writes what rows are told of each other into the pages that they are in, and counts them by what they were. A row that
// another contradicts isn't carried out, so what would have become of its device is no longer said of it.
const judgeNamed = `first AS (
    SELECT *, first_value(line) OVER w AS first_line, first_value(said) OVER w AS first_said
    FROM named
    WINDOW w AS (PARTITION BY serial ORDER BY line)
), compared AS (
    SELECT *, min(line) FILTER (WHERE said <> first_said) OVER (PARTITION BY serial) AS other
    FROM first
), judged AS MATERIALIZED (
    SELECT last_line, line, verdict, standing, other IS NOT NULL AS contradicted, CASE
        WHEN other IS NOT NULL THEN jsonb_build_object('column', 'Serial Number', 'code', 'serial_conflict', 'severity', 'error', 'detail',
            format('Line %s says something else of %s; leave one of the two.', CASE WHEN said <> first_said THEN first_line ELSE other END, serial))
        ELSE jsonb_build_object('column', 'Serial Number', 'code', 'serial_repeated', 'severity', 'notice', 'detail',
            format('Line %s says the same of %s.', first_line, serial)) END AS problem
    FROM compared
    WHERE other IS NOT NULL OR line <> first_line
), pages AS MATERIALIZED (
    SELECT last_line, lines, verdicts, standings, problems
    FROM operation_pages
    WHERE operation = $1 AND last_line IN (SELECT last_line FROM judged)
), touched AS MATERIALIZED (
    SELECT p.last_line, r.line, r.verdict, r.standing, r.problems
    FROM pages p
        CROSS JOIN LATERAL unnest(p.lines, p.verdicts, p.standings, p.problems) AS r (line, verdict, standing, problems)
), changed AS (
    SELECT t.last_line,
        array_agg(CASE WHEN j.contradicted THEN 'e' WHEN j.line IS NOT NULL AND t.verdict = 'o' THEN 'n' ELSE t.verdict END ORDER BY t.line) AS verdicts,
        array_agg(CASE WHEN j.contradicted THEN NULL ELSE t.standing END ORDER BY t.line) AS standings,
        array_agg(CASE WHEN j.line IS NULL THEN t.problems ELSE coalesce(t.problems, '[]') || jsonb_build_array(j.problem) END ORDER BY t.line) AS problems
    FROM touched t
        LEFT JOIN judged j USING (line)
    GROUP BY t.last_line
), written AS (
    UPDATE operation_pages p
    SET verdicts = c.verdicts,
        standings = c.standings,
        problems = c.problems
    FROM changed c
    WHERE p.operation = $1 AND p.last_line = c.last_line
)
SELECT count(*) FILTER (WHERE contradicted), count(*) FILTER (WHERE NOT contradicted),
    count(*) FILTER (WHERE verdict = 'o' AND contradicted), count(*) FILTER (WHERE verdict = 'o' AND NOT contradicted),
    count(*) FILTER (WHERE verdict = 'n' AND contradicted), (
        SELECT coalesce(jsonb_object_agg(standing, rows), '{}')
        FROM (SELECT standing, count(*) AS rows FROM judged WHERE contradicted AND standing <> '' GROUP BY standing) AS void
    )
FROM judged`

const rowsChecked = `
UPDATE operations
SET state = 'ready',
    ok = $2,
    noticed = $3,
    wrong = $4,
    codes = $5,
    tries = 0
WHERE id = $1`

const suspectsOf = `
SELECT suspects
FROM operations
WHERE id = $1`

// suspects are the serial numbers that rows may share.
func (m *Many) suspects(ctx context.Context, o Operation) (serials *[]string, none bool, err error) {
	err = m.tx.QueryRow(ctx, suspectsOf, o.ID).Scan(&serials)
	return serials, serials != nil && len(*serials) == 0, err
}

// checkRows holds the rows of a file against each other and goes on counting the verdicts.
func (m *Many) checkRows(ctx context.Context, o Operation) error {
	suspects, none, err := m.suspects(ctx, o)
	if err == nil && !none {
		err = m.judgeRows(ctx, &o, suspects)
	}
	if err != nil {
		return err
	}
	codes := []byte("{}")
	if len(o.Codes) > 0 {
		codes = asJSON(o.Codes)
	}
	_, err = m.tx.Exec(ctx, rowsChecked, o.ID, o.OK, o.Noticed, o.Wrong, codes)
	return err
}

// Rows that came a moment ago are taken for few, and then planned to be compared each with each, or sorted; with plans of these
// kinds ruled out, what is left looks so dear that PostgreSQL would compile it, for longer than it runs.
const planForMany = `
SET LOCAL work_mem = '64MB';
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL jit = off`

func (m *Many) judgeRows(ctx context.Context, o *Operation, suspects *[]string) error {
	statement, args, prepare := amongSuspects+judgeNamed, []any{o.number, suspects}, planForMany
	if suspects == nil {
		statement, args, prepare = amongAll+judgeNamed, args[:1], planForMany+"; ANALYZE operation_pages"
	}
	for one := range strings.SplitSeq(prepare, ";") {
		if _, err := m.tx.Exec(ctx, one); err != nil {
			return err
		}
	}
	var conflicts, repeated, okWrong, okNoticed, noticedWrong int64
	var void map[string]int64 // standings of rows that are in error now
	if err := m.tx.QueryRow(ctx, statement, args...).Scan(&conflicts, &repeated, &okWrong, &okNoticed, &noticedWrong, &void); err != nil {
		return fmt.Errorf("comparing the rows: %w", err)
	}
	o.OK -= okWrong + okNoticed
	o.Noticed += okNoticed - noticedWrong
	o.Wrong += okWrong + noticedWrong
	if o.Codes == nil {
		o.Codes = map[string]int64{}
	}
	for code, n := range void {
		if o.Codes[code] -= n; o.Codes[code] <= 0 {
			delete(o.Codes, code)
		}
	}
	for code, n := range map[string]int64{"serial_conflict": conflicts, "serial_repeated": repeated} {
		if n > 0 {
			o.Codes[code] += n
		}
	}
	return nil
}
