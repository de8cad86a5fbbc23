package store

import (
	"context"
	"fmt"
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

// The results are looked up line by line: of all ways this is the only one that is never slow.
const operationRows = `
SELECT p.last_line, r.line, coalesce(r.serial, ''), coalesce(r.verdict::text, ''), coalesce(r.standing, ''), coalesce(r.problems, '[]'),
    r.record, coalesce(r.wanted, ''), coalesce(r.outcome, ''), coalesce(r.code, ''), coalesce(r.detail, ''), coalesce(r.undo, ''),
    coalesce(r.undo_detail, '')
FROM (%s) AS p
    LEFT JOIN LATERAL (
        SELECT r.*, d.*
        FROM unnest(p.lines, p.serials, p.verdicts, p.standings, p.problems, p.records, p.wanted)
                AS r (line, serial, verdict, standing, problems, record, wanted)
            LEFT JOIN LATERAL (
                SELECT outcome, code, detail, undo, undo_detail
                FROM operation_results
                WHERE operation = @operation AND line = r.line
                LIMIT 1
            ) AS d ON true
        WHERE r.line > @after%s
    ) AS r ON true
ORDER BY p.last_line, r.line
LIMIT @limit`

// verdictOf is the verdict of which pages have the first letter.
func verdictOf(letter string) string {
	for _, v := range []string{VerdictOK, VerdictNotice, VerdictError} {
		if letterOf(v) == letter {
			return v
		}
	}
	return letter
}

func scanOperationRow(row pgx.CollectableRow) (r OperationRow, end, line *int64, err error) {
	var verdict, wanted string
	var record *string
	err = row.Scan(&end, &line, &r.Serial, &verdict, &r.Standing, &r.Problems, &record, &wanted, &r.Outcome, &r.Code, &r.Detail, &r.Undo,
		&r.UndoDetail)
	if line != nil {
		r.Line = *line
	}
	r.Verdict = verdictOf(verdict)
	r.want(wanted)
	if record != nil {
		r.Record = strings.Split(*record, string(cellSeparator))
	}
	return r, end, line, err
}

// pages are the conditions on pages outside of which no row is found.
func (f RowFilter) pages() string {
	if f.Verdict == VerdictError {
		return ` AND problems IS NOT NULL`
	}
	return ""
}

func (f RowFilter) conditions() string {
	where := ""
	add := func(given bool, condition string) {
		if given {
			where += " AND " + condition
		}
	}
	add(f.Verdict != "", `r.verdict = @verdict`)
	add(f.Outcome == "pending", `d.outcome IS NULL AND r.verdict <> 'e'`)
	add(f.Outcome != "" && f.Outcome != "pending", `d.outcome = @outcome`)
	add(f.Undo != "", `d.undo = @undo`)
	add(f.Code != "", `(d.code = @code OR r.standing = @code OR r.problems @> jsonb_build_array(jsonb_build_object('code', @code::text)))`)
	return where
}

// OperationRows lists the rows of an operation by line.
func (db *DB) OperationRows(ctx context.Context, o Operation, f RowFilter) ([]OperationRow, error) {
	query := fmt.Sprintf(operationRows, nextPages+f.pages()+inOrder, f.conditions())
	list, err := walkPages(ctx, db.pool, pageWalk{query: query, after: f.After, limit: f.Limit, args: pgx.NamedArgs{
		"operation": o.number, "verdict": letterOf(f.Verdict), "outcome": f.Outcome, "undo": f.Undo, "code": f.Code,
	}}, scanOperationRow)
	return list, translate(err, "listing rows")
}

// pageOfRows is how many rows are in memory while all are walked.
const pageOfRows = pageRows

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
