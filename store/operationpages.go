package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// nextPages are the pages behind a line; further conditions may follow, and then inOrder.
const nextPages = `
    SELECT last_line, lines, serials, verdicts, standings, problems, wanted, records
    FROM operation_pages
    WHERE operation = @operation AND last_line > @after`

const inOrder = `
    ORDER BY last_line
    LIMIT @pages`

// pageWalk looks for rows of an operation from page to page. Its query selects from the pages behind the line @after, at
// most @pages of them, the last line of each page, and from them up to @limit rows by line; a page without such a row
// gives one whose line is NULL.
type pageWalk struct {
	query string
	args  pgx.NamedArgs
	after int64
	limit int
	// most is the text after which it ends before the limit, in bytes; 0 = never.
	most int
}

// mostPages bounds what PostgreSQL takes apart at a time when rows are rare that are looked for.
const mostPages = 24

// walkPages returns up to as many rows as shall be found, fewer only when there are no more. PostgreSQL could find them by a
// single statement, but whether it stops at the last one or takes all pages apart first would be for its planner to say.
func walkPages[T interface{ size() int }](ctx context.Context, on querier, w pageWalk, scan func(pgx.CollectableRow) (found T, end, line *int64, err error)) ([]T, error) {
	var list []T
	text := 0
	for pages := max(1, w.limit/pageRows); len(list) < w.limit && (w.most == 0 || text < w.most); pages = min(2*pages, mostPages) { // at first as many as do when nothing is left out
		w.args["after"], w.args["pages"], w.args["limit"] = w.after, pages, w.limit-len(list)
		rows, err := on.Query(ctx, w.query, w.args)
		if err != nil {
			return nil, err
		}
		before := w.after
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (none struct{}, err error) {
			found, end, line, err := scan(row)
			switch {
			case err != nil:
			case line == nil:
				w.after = *end
			default:
				w.after = *line
				list = append(list, found)
				text += found.size()
			}
			return none, err
		})
		if err != nil || w.after == before {
			return list, err
		}
	}
	return list, nil
}
