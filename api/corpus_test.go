package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

// judged is what stands beside a file of the corpus about a row, or about the file.
type judged struct {
	Line    int64
	Verdict string
	Codes   []string
}

func (j judged) String() string {
	codes := slices.Clone(j.Codes)
	slices.Sort(codes)
	return fmt.Sprint(j.Line, j.Verdict, codes)
}

func texts(all []judged) []string {
	list := make([]string, len(all))
	for i, j := range all {
		list[i] = j.String()
	}
	return list
}

// onlyHere are codes about devices, of which a file by itself says nothing.
var onlyHere = []string{string(intake.Reservation), string(intake.NotAssigned), string(provision.DeviceNotFound)}

// judgedBy is what problems amount to, those apart that only a server finds.
func judgedBy(line int64, problems []api.RowProblem) judged {
	j := judged{Line: line, Verdict: "ok", Codes: []string{}}
	for _, p := range problems {
		if slices.Contains(onlyHere, p.Code) {
			continue
		}
		if j.Verdict != "error" {
			j.Verdict = string(p.Severity)
		}
		if !slices.Contains(j.Codes, p.Code) {
			j.Codes = append(j.Codes, p.Code)
		}
	}
	return j
}

// An upload judges every file of the corpus as muster import check does, which is held against the same expectations; and the result of
// each says of the same rows that they are in error, but for those whose quotes were broken.
func TestUploadsJudgeTheCorpus(t *testing.T) {
	s := serve(t)
	for _, g := range []string{"zylker_drivers", "zylker_sales", "Zylker, Inc", "Zürich"} {
		s.put("/v1/groups/"+strings.ReplaceAll(g, " ", "%20"), body{"items": []body{}}).ok(201)
	}
	files, err := filepath.Glob("bulk/testdata/corpus/*.csv")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 60)
	for _, file := range files {
		raw, err := os.ReadFile(strings.TrimSuffix(file, ".csv") + ".json")
		require.NoError(t, err)
		var want struct {
			Format     string
			File, Rows []judged
		}
		require.NoError(t, json.Unmarshal(raw, &want))
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		at := imports
		if want.Format == "unassignments" {
			at = "/v1/unassign-imports"
		}
		upload := request{method: "POST", path: at + "?force=true", body: text, media: "text/csv"}
		if slices.ContainsFunc(want.File, func(j judged) bool { return j.Verdict == "error" }) {
			s.send(upload).fails(422, intake.ImportUnreadable)
			continue
		}
		o := s.worked(read[api.Operation](s.send(upload).ok(201)).Id)
		require.Equal(t, api.OperationReady, o.State, file)
		var of, rows []judged
		for _, p := range o.File.Notices {
			of = append(of, judgedBy(*p.Line, []api.RowProblem{p}))
		}
		require.ElementsMatch(t, texts(want.File), texts(of), file)
		for _, r := range read[api.OperationRowList](s.get(at + "/" + o.Id + "/rows?limit=500").ok(200)).Rows {
			rows = append(rows, judgedBy(r.Line, r.Problems))
		}
		require.Equal(t, texts(want.Rows), texts(rows), file)
		result := s.get(at + "/" + o.Id + "/result").ok(200)
		upload.body = result.body
		again := s.worked(read[api.Operation](s.send(upload).ok(201)).Id)
		require.Equal(t, o.Rows.Total, again.Rows.Total, file)
		broken := o.Codes[string(bulk.QuoteMisplaced)] + o.Codes[string(bulk.QuoteUnclosed)] // in a result quotes are as they should be
		require.LessOrEqual(t, o.Rows.Error-broken, again.Rows.Error, "%s: its result, imported:\n%s", file, result.body)
		require.LessOrEqual(t, again.Rows.Error, o.Rows.Error, "%s: its result, imported:\n%s", file, result.body)
	}
}
