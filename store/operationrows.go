package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
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
	// Outcome is one of a row's, or "pending". A row in error is refused from the beginning.
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
	var record pgtype.Text
	err = row.Scan(&end, &line, &r.Serial, &verdict, &r.Standing, &r.Problems, &record, &wanted, &r.Outcome, &r.Code, &r.Detail, &r.Undo,
		&r.UndoDetail)
	if line != nil {
		r.Line = *line
	}
	r.Verdict = verdictOf(verdict)
	r.want(wanted)
	r.cells(record)
	return r, end, line, err
}

// nextResult is the line of the next result, which there is none of before a row was done.
const nextResult = `last_line >= (
        SELECT line
        FROM operation_results
        WHERE operation = @operation AND line > @after AND (@outcome IN ('', 'pending') OR outcome = @outcome) AND (@undo = '' OR undo = @undo)
        ORDER BY line
        LIMIT 1)`

// cells reads a row's cells.
func (r *ImportRow) cells(record pgtype.Text) {
	if record.Valid {
		r.Record = strings.Split(record.String, string(cellSeparator))
	}
}

// pages are the conditions on pages outside of which no row is found.
func (f RowFilter) pages() string {
	conditions := ""
	if f.Verdict == VerdictError {
		conditions += ` AND problems IS NOT NULL`
	}
	switch {
	case f.Outcome == RowRefused && f.Undo == "":
		conditions += ` AND (problems IS NOT NULL OR ` + nextResult + `)`
	case f.Undo != "" || f.Outcome != "" && f.Outcome != "pending":
		conditions += ` AND ` + nextResult
	}
	return conditions
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
	add(f.Outcome == RowRefused, `(d.outcome = @outcome OR d.outcome IS NULL AND r.verdict = 'e')`)
	add(f.Outcome != "" && f.Outcome != "pending" && f.Outcome != RowRefused, `d.outcome = @outcome`)
	add(f.Undo != "", `d.undo = @undo`)
	add(f.Code != "", `(d.code = @code OR r.standing = @code OR r.problems @> jsonb_build_array(jsonb_build_object('code', @code::text)))`)
	return where
}

// mostRowText is after how many bytes of cells a list of rows ends before its limit: a row may have a megabyte.
const mostRowText = 8 << 20

// Heavy reports whether a list of [DB.OperationRows] may have ended before its limit because of its size.
func Heavy(list []OperationRow) bool {
	text := 0
	for _, r := range list {
		text += r.size()
	}
	return text >= mostRowText
}

// OperationRows lists the rows of an operation by line. There are fewer than the limit only when there are no more, or the list
// is [Heavy].
func (db *DB) OperationRows(ctx context.Context, o Operation, f RowFilter) ([]OperationRow, error) {
	query := fmt.Sprintf(operationRows, nextPages+f.pages()+inOrder, f.conditions())
	list, err := walkPages(ctx, db.pool, pageWalk{query: query, after: f.After, limit: f.Limit, most: mostRowText, args: pgx.NamedArgs{
		"operation": o.number, "verdict": letterOf(f.Verdict), "outcome": f.Outcome, "undo": f.Undo, "code": f.Code,
	}}, scanOperationRow)
	return list, translate(err, "listing rows")
}

// EachRow calls take for every row of an operation, by line. No more than a page of them is in memory.
func (db *DB) EachRow(ctx context.Context, o Operation, take func(OperationRow) error) error {
	for after := int64(0); ; {
		page, err := db.page(ctx, o, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := take(r); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Line
	}
}

const wholePage = `
SELECT lines, serials, array_to_string(verdicts, ''), standings, problems::text[], records, wanted
FROM operation_pages
WHERE operation = $1 AND last_line > $2
ORDER BY last_line
LIMIT 1`

const resultsOfPage = `
SELECT line, outcome, code, detail, undo, undo_detail
FROM operation_results
WHERE operation = $1 AND line BETWEEN $2 AND $3
ORDER BY line`

// page reads the rows of the page behind another one that ends with a line. A page that is read whole is taken apart here: that costs
// half of what it does PostgreSQL.
func (db *DB) page(ctx context.Context, o Operation, after int64) ([]OperationRow, error) {
	var lines []int64
	var serials []string
	var verdicts string
	var standings, problems, records, wanted []pgtype.Text
	err := db.pool.QueryRow(ctx, wholePage, o.number, after).Scan(&lines, &serials, &verdicts, &standings, &problems, &records, &wanted)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, translate(err, "reading rows")
	}
	page := make([]OperationRow, len(lines))
	for i := range page {
		r := &page[i]
		r.Line, r.Serial, r.Verdict, r.Standing = lines[i], serials[i], verdictOf(verdicts[i:i+1]), standings[i].String
		r.want(wanted[i].String)
		r.cells(records[i])
		if len(problems) > 0 && problems[i].Valid {
			if err := json.Unmarshal([]byte(problems[i].String), &r.Problems); err != nil {
				return nil, fmt.Errorf("reading the problems of line %d: %w", r.Line, err)
			}
		}
	}
	return page, translate(db.resultsInto(ctx, o, page), "reading rows")
}

// resultsInto adds to the rows of a page what became of them.
func (db *DB) resultsInto(ctx context.Context, o Operation, page []OperationRow) error {
	rows, err := db.pool.Query(ctx, resultsOfPage, o.number, page[0].Line, page[len(page)-1].Line)
	if err != nil {
		return err
	}
	var of int64
	var is OperationRow
	_, err = pgx.ForEachRow(rows, []any{&of, &is.Outcome, &is.Code, &is.Detail, &is.Undo, &is.UndoDetail}, func() error {
		for page[0].Line < of {
			page = page[1:]
		}
		if r := &page[0]; r.Line == of {
			r.Outcome, r.Code, r.Detail, r.Undo, r.UndoDetail = is.Outcome, is.Code, is.Detail, is.Undo, is.UndoDetail
		}
		return nil
	})
	return err
}
