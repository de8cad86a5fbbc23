package store

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// OperationRow is a row with what became of it.
type OperationRow struct {
	ImportRow
	// Outcome is "" while the row wasn't done; of a row in error it always is.
	Outcome    string
	Code       string
	Detail     string
	Undo       string
	UndoDetail string
}

// RowFilter narrows a list of rows; zero fields don't.
type RowFilter struct {
	Verdict string
	// Outcome is one of a row's, or "pending".
	Outcome string
	Undo    string
	Code    string
	// After is the line behind which the list begins.
	After int64
	Limit int
}

const operationRows = `
SELECT r.line, r.serial, r.verdict, r.standing, coalesce(r.problems, '[]'), r.record, coalesce(r.wanted, ''), coalesce(d.outcome, ''), coalesce(d.code, ''), coalesce(d.detail, ''), coalesce(d.undo, ''),
    coalesce(d.undo_detail, '')
FROM operation_rows r
    LEFT JOIN operation_results d ON d.operation = r.operation AND d.line = r.line
WHERE r.operation = @operation AND r.line > @after`

func scanOperationRow(row pgx.CollectableRow) (OperationRow, error) {
	var r OperationRow
	var wanted string
	var record *string
	err := row.Scan(&r.Line, &r.Serial, &r.Verdict, &r.Standing, &r.Problems, &record, &wanted, &r.Outcome, &r.Code, &r.Detail, &r.Undo,
		&r.UndoDetail)
	r.want(wanted)
	if record != nil {
		r.Record = strings.Split(*record, cellSeparator)
	}
	return r, err
}

func (f RowFilter) conditions() string {
	where := ""
	add := func(given bool, condition string) {
		if given {
			where += " AND " + condition
		}
	}
	// PostgreSQL uses the index of rows with problems only for conditions that imply its own.
	add(f.Verdict == VerdictError, `r.problems IS NOT NULL`)
	add(f.Verdict != "", `r.verdict = @verdict`)
	add(f.Outcome == "pending", `d.outcome IS NULL AND r.verdict <> 'error'`)
	add(f.Outcome != "" && f.Outcome != "pending", `d.outcome = @outcome`)
	add(f.Undo != "", `d.undo = @undo`)
	add(f.Code != "", `(d.code = @code OR r.standing = @code OR r.problems @> jsonb_build_array(jsonb_build_object('code', @code::text)))`)
	return where
}

// OperationRows lists the rows of an operation by line.
func (db *DB) OperationRows(ctx context.Context, o Operation, f RowFilter) ([]OperationRow, error) {
	rows, err := db.pool.Query(ctx, operationRows+f.conditions()+` ORDER BY r.line LIMIT @limit`, pgx.NamedArgs{
		"operation": o.number, "after": f.After, "verdict": f.Verdict, "outcome": f.Outcome, "undo": f.Undo, "code": f.Code, "limit": f.Limit,
	})
	if err != nil {
		return nil, translate(err, "listing rows")
	}
	list, err := pgx.CollectRows(rows, scanOperationRow)
	return list, translate(err, "listing rows")
}

// pageOfRows is how many rows are in memory while all are walked.
const pageOfRows = 500

// EachRow calls take for every row of an operation, by line.
func (db *DB) EachRow(ctx context.Context, o Operation, take func(OperationRow) error) error {
	for after := int64(0); ; {
		list, err := db.OperationRows(ctx, o, RowFilter{After: after, Limit: pageOfRows})
		if err != nil || len(list) == 0 {
			return err
		}
		for _, r := range list {
			if err := take(r); err != nil {
				return err
			}
		}
		after = list[len(list)-1].Line
	}
}
