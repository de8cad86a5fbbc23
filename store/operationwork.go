package store

import (
	"context"
	"errors"
	"fmt"
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
		return db.takeBack(ctx, tx, id, why.OperationFailure)
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

// Most files name each device once, so those that are named again are found first, and only they are compared. What is found
// goes into the pages that it is about.
const judgeRepeated = `
WITH twice AS (
    SELECT r.serial
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.serials) AS r (serial)
    WHERE p.operation = $1 AND r.serial <> '' AND ($2::text[] IS NULL OR r.serial = ANY ($2))
    GROUP BY r.serial
    HAVING count(*) > 1
), named AS (
    SELECT p.last_line, r.serial, r.line, r.said, first_value(r.line) OVER w AS first_line, first_value(r.said) OVER w AS first_said
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.lines, p.said, p.serials) AS r (line, said, serial)
        JOIN twice USING (serial)
    WHERE p.operation = $1
    WINDOW w AS (PARTITION BY r.serial ORDER BY r.line)
), compared AS (
    SELECT *, min(line) FILTER (WHERE said <> first_said) OVER (PARTITION BY serial) AS other
    FROM named
), judged AS (
    SELECT last_line, line, other IS NOT NULL AS contradicted, CASE
        WHEN other IS NOT NULL THEN jsonb_build_object('column', 'Serial Number', 'code', 'serial_conflict', 'severity', 'error', 'detail',
            format('Line %s says something else of %s; leave one of the two.', CASE WHEN said <> first_said THEN first_line ELSE other END, serial))
        ELSE jsonb_build_object('column', 'Serial Number', 'code', 'serial_repeated', 'severity', 'notice', 'detail',
            format('Line %s says the same of %s.', first_line, serial)) END AS problem
    FROM compared
    WHERE other IS NOT NULL OR line <> first_line
), changed AS (
    SELECT p.last_line,
        array_agg(CASE WHEN j.contradicted THEN 'e' WHEN j.line IS NOT NULL AND r.verdict = 'o' THEN 'n' ELSE r.verdict END ORDER BY r.line) AS verdicts,
        array_agg(CASE WHEN j.line IS NULL THEN r.problems ELSE coalesce(r.problems, '[]') || jsonb_build_array(j.problem) END ORDER BY r.line) AS problems
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.lines, p.verdicts, p.problems) AS r (line, verdict, problems)
        LEFT JOIN judged j ON j.line = r.line
    WHERE p.operation = $1 AND p.last_line IN (SELECT last_line FROM judged)
    GROUP BY p.last_line
)
UPDATE operation_pages p
SET verdicts = c.verdicts,
    problems = c.problems
FROM changed c
WHERE p.operation = $1 AND p.last_line = c.last_line`

const countVerdicts = `
SELECT count(*) FILTER (WHERE r.verdict = 'o'), count(*) FILTER (WHERE r.verdict = 'n'), count(*) FILTER (WHERE r.verdict = 'e')
FROM operation_pages p
    CROSS JOIN LATERAL unnest(p.verdicts) AS r (verdict)
WHERE p.operation = $1`

const countCodes = `
SELECT coalesce(jsonb_object_agg(code, n), '{}')
FROM (
    SELECT q ->> 'code' AS code, count(DISTINCT r.line) AS n
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.lines, p.problems) AS r (line, problems)
        CROSS JOIN LATERAL jsonb_array_elements(r.problems) AS q
    WHERE p.operation = $1 AND p.problems IS NOT NULL
    GROUP BY q ->> 'code'
    UNION ALL
    SELECT r.standing, count(*)
    FROM operation_pages p
        CROSS JOIN LATERAL unnest(p.standings) AS r (standing)
    WHERE p.operation = $1 AND r.standing IS NOT NULL
    GROUP BY r.standing
) AS counted`

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

func codesOf(o Operation) []byte {
	if len(o.Codes) == 0 {
		return []byte("{}")
	}
	return asJSON(o.Codes)
}

// checkRows holds the rows of a file against each other and counts the verdicts.
func (m *Many) checkRows(ctx context.Context, o Operation) error {
	suspects, none, err := m.suspects(ctx, o)
	if err != nil {
		return err
	}
	if none {
		_, err := m.tx.Exec(ctx, rowsChecked, o.ID, o.OK, o.Noticed, o.Wrong, codesOf(o))
		return err
	}
	// The rows came a moment ago, and a plan that takes them for few compares each with each.
	prepare := []string{`SET LOCAL work_mem = '64MB'`, `SET LOCAL enable_nestloop = off`}
	if suspects == nil {
		prepare = append(prepare, `ANALYZE operation_pages`)
	}
	for _, statement := range prepare {
		if _, err := m.tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	tag, err := m.tx.Exec(ctx, judgeRepeated, o.number, suspects)
	if err != nil {
		return fmt.Errorf("comparing the rows: %w", err)
	}
	if tag.RowsAffected() == 0 {
		_, err := m.tx.Exec(ctx, rowsChecked, o.ID, o.OK, o.Noticed, o.Wrong, codesOf(o))
		return err // the counts of the upload hold
	}
	var ok, noticed, wrong int64
	if err := m.tx.QueryRow(ctx, countVerdicts, o.number).Scan(&ok, &noticed, &wrong); err != nil {
		return fmt.Errorf("counting the verdicts: %w", err)
	}
	var codes map[string]int64
	if err := m.tx.QueryRow(ctx, countCodes, o.number).Scan(&codes); err != nil {
		return fmt.Errorf("counting the codes: %w", err)
	}
	_, err = m.tx.Exec(ctx, rowsChecked, o.ID, ok, noticed, wrong, asJSON(codes))
	return err
}
