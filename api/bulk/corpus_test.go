package bulk_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
)

// corpusGroups are the groups that exist for the files of the corpus.
var corpusGroups = []string{"zylker_drivers", "zylker_sales", "Zylker, Inc", "Zürich"}

// expectation is what stands beside a file of the corpus.
type expectation struct {
	Why    string
	Format string
	File   []expectedProblem
	Rows   []expectedRow
}

type expectedProblem struct {
	Line    int
	Verdict bulk.Verdict
	Codes   []provision.Code
}

type expectedRow struct {
	expectedProblem
	// Says are values that must come out.
	Says map[string]any
}

func format(name string) bulk.Format {
	if name == "unassignments" {
		return bulk.Unassignments
	}
	return bulk.Assignments
}

func corpus(t testing.TB) map[string]expectation {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.csv")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 60)
	all := map[string]expectation{}
	for _, file := range files {
		raw, err := os.ReadFile(strings.TrimSuffix(file, ".csv") + ".json")
		require.NoError(t, err)
		var e expectation
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&e), file)
		all[file] = e
	}
	return all
}

// Every file of the corpus gets the verdicts that stand beside it.
func TestCorpus(t *testing.T) {
	for file, want := range corpus(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".csv"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			got := check(t, raw, format(want.Format), corpusGroups...)
			assert.Equal(t, sorted(want.File), sorted(problemsOf(got.file)), "of the file: %v", got.file)
			require.Len(t, got.rows, len(want.Rows), "rows: %+v", got.rows)
			for i, row := range got.rows {
				w := want.Rows[i]
				g := expectedProblem{row.Line, row.Verdict, bulk.Codes(row.Problems)}
				assert.Equal(t, sorted([]expectedProblem{w.expectedProblem}), sorted([]expectedProblem{g}), "line %d: %v", row.Line, row.Problems)
				said := says(t, row)
				for key, value := range w.Says {
					assert.Equal(t, value, said[key], "line %d: %s", row.Line, key)
				}
			}
		})
	}
}

// No rule is without a file that breaks it, but for those that need large ones.
func TestCorpusKnowsEveryCode(t *testing.T) {
	raw, err := os.ReadFile("code.go")
	require.NoError(t, err)
	missing := map[provision.Code]bool{provision.SerialInvalid: true, provision.GroupNotFound: true, provision.GroupNameInvalid: true}
	for _, m := range regexp.MustCompile(`provision\.Code = "(\w+)"`).FindAllStringSubmatch(string(raw), -1) {
		missing[provision.Code(m[1])] = true
	}
	for _, e := range corpus(t) {
		for _, p := range e.File {
			delete(missing, p.Codes[0])
		}
		for _, row := range e.Rows {
			for _, code := range row.Codes {
				delete(missing, code)
			}
		}
	}
	require.Equal(t, map[provision.Code]bool{bulk.CellTooLong: true, bulk.RowTooLong: true}, missing)
}

func problemsOf(problems []bulk.Problem) []expectedProblem {
	var all []expectedProblem
	for _, p := range problems {
		all = append(all, expectedProblem{p.Line, p.Severity, []provision.Code{p.Code}})
	}
	return all
}

// sorted puts problems and their codes into an order.
func sorted(problems []expectedProblem) []string {
	var all []string
	for _, p := range problems {
		codes := slices.Clone(p.Codes)
		slices.Sort(codes)
		line, _ := json.Marshal(expectedProblem{p.Line, p.Verdict, codes}) //nolint:errchkjson // plain values
		all = append(all, string(line))
	}
	slices.Sort(all)
	return all
}

// says are the values of a row by the names that expectations have for them.
func says(t *testing.T, row bulk.Row) map[string]any {
	t.Helper()
	a := row.Assignment
	raw, err := json.Marshal(map[string]any{
		"serial": a.Serial, "user": a.User.Name, "domain": a.User.Domain, "email": a.User.Email, "groups": a.Groups, "owned_by": a.OwnedBy, "reason": row.Reason,
	})
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, json.Unmarshal(raw, &values))
	return values
}
