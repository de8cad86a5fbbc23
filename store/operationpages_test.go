package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Rows that were kept one by one, before migration 12, are the same rows afterwards, and again when it is taken back.
func TestRowsOfOlderOperationsArePutIntoPages(t *testing.T) {
	at := stacktest.Database(t, "empty", empty)
	require.NoError(t, store.MigrateTo(t.Context(), at, 11))
	sql := connect(t, at)
	_, err := sql.Exec(t.Context(), `
INSERT INTO operation_rows (operation, line, said, serial, verdict, standing, problems, wanted, record)
SELECT operation, line, line % 7 - 3, CASE WHEN line % 5 > 0 THEN 'C' || line ELSE '' END, (ARRAY['ok', 'notice', 'error'])[line % 3 + 1],
    CASE WHEN line % 4 = 0 THEN 'reservation' ELSE '' END,
    CASE WHEN line % 3 = 2 AND line > 600 THEN jsonb_build_array(jsonb_build_object('code', 'serial_invalid', 'line', line)) END,
    CASE WHEN operation = 1 THEN 'User ' || line || E'\nMDM\n\n\n\ndrivers' END, CASE WHEN operation = 1 THEN 'C' || line || E'\x1FÄ' END
FROM unnest('{1203, 500, 1}'::int[]) WITH ORDINALITY AS o (rows, operation), generate_series(1, rows) AS line`)
	require.NoError(t, err)
	all := func() []string {
		rows, err := sql.Query(t.Context(), `
SELECT concat_ws('|', operation, line, said, serial, verdict, standing, coalesce(problems::text, '-'), coalesce(wanted, '-'), coalesce(record, '-'))
FROM operation_rows
ORDER BY operation, line`)
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return list
	}
	before := all()
	require.Len(t, before, 1704)
	_, err = store.Migrate(t.Context(), at)
	require.NoError(t, err)
	require.Equal(t, before, all())
	var pages, troubled int
	require.NoError(t, sql.QueryRow(t.Context(), `SELECT count(*), count(problems) FROM operation_pages`).Scan(&pages, &troubled))
	require.Equal(t, []int{3 + 1 + 1, 2}, []int{pages, troubled})
	require.NoError(t, store.MigrateTo(t.Context(), at, 11))
	require.Equal(t, before, all())
}

// found is a row as the test expects it; everything but the outcome is in it before.
type found struct {
	store.ImportRow
	outcome, code, undo string
}

// randomRows are rows with gaps between their lines, whole pages of one verdict and mixed ones, and some that are very long.
func randomRows(r *rand.Rand, n int) []found {
	list := make([]found, n)
	line, verdict := int64(1), store.VerdictOK
	for i := range list {
		line += 1 + r.Int64N(3)
		if r.IntN(300) == 0 || i > n/2 && r.IntN(2) == 0 {
			verdict = []string{store.VerdictOK, store.VerdictNotice, store.VerdictError}[r.IntN(3)]
		}
		row := store.ImportRow{
			Line: line, Serial: deviceAt(i), Verdict: verdict, User: personAt(i), Groups: []string{"g", fmt.Sprint("h", i)}, OwnedBy: provision.Corporate,
			Record: []string{deviceAt(i), "", "Zoë\x1Fé"},
		}
		if r.IntN(9) == 0 {
			row.User.Name = "Zoë\nÅ" // no file has it, since its cells are checked
		}
		if r.IntN(1000) == 0 {
			row.Record[1] = strings.Repeat("long ", 60_000)
		}
		switch verdict {
		case store.VerdictError:
			row.Problems = []store.RowProblem{{Code: fmt.Sprint("code_", r.IntN(3)), Severity: store.VerdictError, Detail: "It is \"wrong\"."}}
		case store.VerdictNotice:
			row.Standing = "reservation"
		}
		list[i] = found{ImportRow: row}
		if row.Verdict != store.VerdictError && r.IntN(3) > 0 {
			list[i].outcome = []string{store.RowChanged, store.RowUnchanged, store.RowRefused}[min(2, r.IntN(40))]
			if list[i].outcome == store.RowRefused {
				list[i].code = "code_1"
			} else if r.IntN(100) == 0 {
				list[i].undo = "conflict"
			}
		}
	}
	return list
}

func (f found) passes(w store.RowFilter) bool {
	code := w.Code == "" || f.code == w.Code || f.Standing == w.Code ||
		slices.ContainsFunc(f.Problems, func(p store.RowProblem) bool { return p.Code == w.Code })
	is := f.outcome
	if is == "" {
		is = "pending"
		if f.Verdict == store.VerdictError {
			is = store.RowRefused
		}
	}
	outcome := w.Outcome == "" || is == w.Outcome
	return f.Line > w.After && (w.Verdict == "" || f.Verdict == w.Verdict) && outcome && (w.Undo == "" || f.undo == w.Undo) && code
}

// However rows lie in pages, those are listed that a filter means, and no others.
func TestRowsAreFoundInTheirPages(t *testing.T) {
	t.Run("large pages", func(t *testing.T) { requireFound(t, 4000, 700) })
	t.Run("small pages", func(t *testing.T) { requireFound(t, 600, 2) })
}

func requireFound(t *testing.T, n, batch int) {
	t.Helper()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 11))
	o := newOffice(t, "g")
	o.batch = batch
	all := randomRows(r, n)
	rows := make([]store.ImportRow, len(all))
	for i, f := range all {
		rows[i] = f.ImportRow
	}
	o.upload(store.OpAssign, randomImport(r, 30)) // another one's rows are none of ours
	op := o.upload(store.OpAssign, rows)
	_, err := o.sql.CopyFrom(t.Context(), pgx.Identifier{"operation_results"}, []string{"operation", "line", "serial", "outcome", "code", "undo"},
		pgx.CopyFromSlice(len(all), func(i int) ([]any, error) {
			f, number := all[i], int64(2)
			if f.outcome == "" {
				number = -1 // of nobody
			}
			return []any{number, f.Line, f.Serial, max(f.outcome, store.RowChanged), f.code, f.undo}, nil
		}))
	require.NoError(t, err)
	var each []store.OperationRow
	require.NoError(t, o.EachRow(t.Context(), op, func(r store.OperationRow) error { each = append(each, r); return nil }))
	requireRows(t, all, store.RowFilter{Limit: n}, each, fmt.Sprint("seed ", seed))
	for range 150 {
		w := store.RowFilter{
			Verdict: pick(r, "", "", store.VerdictOK, store.VerdictNotice, store.VerdictError), Outcome: pick(r, "", "", "pending", store.RowChanged, store.RowRefused),
			Undo: pick(r, "", "", "", "conflict"), Code: pick(r, "", "", "reservation", "code_1", "code_9"),
			After: r.Int64N(all[len(all)-1].Line + 10), Limit: 1 + r.IntN(1200),
		}
		if r.IntN(3) == 0 {
			w.After = 0
		}
		got, err := o.OperationRows(t.Context(), op, w)
		require.NoError(t, err)
		requireRows(t, all, w, got, fmt.Sprintf("seed %d, filter %+v", seed, w))
	}
}

func TestRowsAreCountedByVerdictAndCode(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 13))
	want, got := map[string]int64{}, map[string]int64{}
	var counted store.Counted
	for range 20 {
		file := randomImport(r, r.IntN(500))
		for i := range file {
			row := &file[i]
			if len(row.Problems) > 0 && r.IntN(2) == 0 { // a code that a row has twice counts once
				row.Problems = append(row.Problems, row.Problems[0], store.RowProblem{Code: "other", Severity: store.VerdictNotice})
			}
			codes := map[string]bool{row.Standing: row.Standing != ""}
			for _, p := range row.Problems {
				codes[p.Code] = true
			}
			for code, given := range codes {
				if given {
					want["code "+code]++
				}
			}
			want["verdict "+row.Verdict]++
		}
		counted.Add(file)
	}
	for code, n := range counted.Codes {
		got["code "+code] = n
	}
	for verdict, n := range map[string]int64{store.VerdictOK: counted.OK, store.VerdictNotice: counted.Noticed, store.VerdictError: counted.Wrong} {
		if n > 0 {
			got["verdict "+verdict] = n
		}
	}
	require.Equal(t, want, got, "seed %d", seed)
	require.Equal(t, counted.Total, counted.OK+counted.Noticed+counted.Wrong)
}

// randomImport are rows of a small import.
func randomImport(r *rand.Rand, n int) []store.ImportRow {
	var rows []store.ImportRow
	for _, f := range randomRows(r, n) {
		rows = append(rows, f.ImportRow)
	}
	return rows
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func requireRows(t *testing.T, all []found, w store.RowFilter, got []store.OperationRow, says string) {
	t.Helper()
	var want []found
	for _, f := range all {
		if f.passes(w) && len(want) < w.Limit {
			want = append(want, f)
		}
	}
	require.Len(t, got, len(want), says)
	for i, f := range want {
		is := got[i]
		f.Said, is.Said = 0, 0
		f.Record = []string{f.Record[0], f.Record[1], "Zoë\uFFFDé"}
		f.User.Name = strings.ReplaceAll(f.User.Name, "\n", "\uFFFD")
		require.Equal(t, f.outcome, is.Outcome, says)
		require.Equal(t, f.undo, is.Undo, says)
		require.Equal(t, f.code, is.Code, says)
		require.ElementsMatch(t, f.Problems, is.Problems, says)
		f.Problems, is.Problems = nil, nil
		require.Equal(t, f.ImportRow, is.ImportRow, says)
	}
}

// Rows about one device are found wherever they lie, whether it is known which devices those may be or not.
func TestRowsAboutOneDeviceAreHeldAgainstEachOther(t *testing.T) {
	for _, suspected := range []bool{true, false} {
		t.Run(fmt.Sprint("suspected ", suspected), func(t *testing.T) {
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 12))
			o := newOffice(t, "drivers")
			file := rows(3000, "drivers")
			var suspects []string
			for range 120 {
				one := &file[r.IntN(len(file))]
				one.Serial, one.Said = deviceAt(r.IntN(40)*11), r.Int64N(2)
				suspects = append(suspects, one.Serial)
			}
			want := judged(file)
			if !suspected {
				suspects = nil
			}
			op := o.uploadSuspecting(store.OpAssign, file, suspects)
			list, err := o.OperationRows(t.Context(), op, store.RowFilter{Limit: len(file)})
			require.NoError(t, err)
			got := map[int64]string{}
			for _, row := range list {
				if row.Verdict != store.VerdictOK {
					require.Len(t, row.Problems, 1, "seed %d", seed)
					got[row.Line] = row.Verdict + ": " + row.Problems[0].Detail
				}
			}
			require.Equal(t, want, got, "seed %d", seed)
			wrong := 0
			for _, says := range want {
				if strings.HasPrefix(says, store.VerdictError) {
					wrong++
				}
			}
			require.Equal(t, []int64{int64(len(file)), int64(len(file) - len(want)), int64(len(want) - wrong), int64(wrong)},
				[]int64{op.Total, op.OK, op.Noticed, op.Wrong}, "seed %d", seed)
		})
	}
}

// judged is what rows about one device are told, by line.
func judged(file []store.ImportRow) map[int64]string {
	of := map[string][]store.ImportRow{}
	for _, row := range file {
		of[row.Serial] = append(of[row.Serial], row)
	}
	says := map[int64]string{}
	for serial, list := range of {
		other := slices.IndexFunc(list, func(r store.ImportRow) bool { return r.Said != list[0].Said })
		for i, row := range list {
			switch {
			case other >= 0 && row.Said == list[0].Said:
				says[row.Line] = fmt.Sprintf("error: Line %d says something else of %s; leave one of the two.", list[other].Line, serial)
			case other >= 0:
				says[row.Line] = fmt.Sprintf("error: Line %d says something else of %s; leave one of the two.", list[0].Line, serial)
			case i > 0:
				says[row.Line] = fmt.Sprintf("notice: Line %d says the same of %s.", list[0].Line, serial)
			}
		}
	}
	return says
}

// Whole pages of rows in error lie before, between and behind those that are applied.
func TestApplyingSkipsPagesOfRowsInError(t *testing.T) {
	o := newOffice(t, "drivers")
	o.batch = 100
	file := rows(9000, "drivers")
	right := 0
	for i := range file {
		if i%900 < o.batch*(i/900) || i >= 8990 {
			file[i].Verdict, file[i].Problems = store.VerdictError, []store.RowProblem{{Code: "x", Severity: store.VerdictError, Detail: "X."}}
		} else {
			right++
		}
	}
	op := o.upload(store.OpAssign, file)
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, store.OpDone, op.State)
	require.Equal(t, int64(right), op.Changed)
	require.Greater(t, right, 4000)
	require.Equal(t, right, o.count("devices"))

	before := o.count("operation_pages")
	require.Positive(t, before)
	o.exec(`UPDATE operations SET finished_at = now() - interval '1 year'`)
	gone, err := o.Purge(t.Context(), op.CreatedAt)
	require.NoError(t, err)
	require.Equal(t, store.Purged{Rows: int64(len(file))}, gone)
	require.Zero(t, o.count("operation_pages"))
	require.Zero(t, o.count("operation_results"))
}
