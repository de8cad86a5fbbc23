package bulk_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
)

// Whatever the bytes: nothing panics, rows come in the order of their lines, a row that isn't in error is one that can be applied,
// portions don't matter, and a result has every row.
func FuzzParse(f *testing.F) {
	for file, e := range corpus(f) {
		raw, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(raw, e.Format == "unassignments")
	}
	f.Add([]byte(header+goodRow), false)
	f.Fuzz(func(t *testing.T, data []byte, unassign bool) {
		format := bulk.Assignments
		if unassign {
			format = bulk.Unassignments
		}
		c := open(t, bytes.NewReader(data), format)
		requireSound(t, c, format, lineBreaks(string(data))+1)
		again := open(t, iotest.HalfReader(bytes.NewReader(data)), format)
		require.Equal(t, c.file, again.file)
		require.Equal(t, c.rows, again.rows)
		if c.reader == nil {
			return
		}
		result := resultOf(t, c)
		// What a file says of its shape changes, but no row is lost on the way.
		require.Len(t, open(t, bytes.NewReader(result), format).rows, len(c.rows), "%q", result)
	})
}

func requireSound(t tester, c checked, f bulk.Format, lines int) {
	last := 0
	for _, row := range c.rows {
		require.Greater(t, row.Line, last)
		last = row.Line
		requireJudged(t, row.Problems, row.Verdict)
		if row.Verdict != bulk.Fault {
			requireGood(t, row, f)
		}
	}
	require.LessOrEqual(t, last, lines)
	verdict := bulk.Fault
	if c.reader != nil {
		verdict = bulk.Notice
	}
	for _, p := range c.file {
		require.Positive(t, p.Line)
		require.True(t, p.Severity == bulk.Notice || p.Severity == verdict, p)
	}
}

func requireJudged(t tester, problems []bulk.Problem, verdict bulk.Verdict) {
	want := bulk.OK
	for _, p := range problems {
		require.NotEmpty(t, p.Code)
		require.True(t, strings.HasSuffix(p.Detail, ".") || strings.HasSuffix(p.Detail, "?"), p.Detail)
		if want != bulk.Fault {
			want = p.Severity
		}
	}
	require.Equal(t, want, verdict)
}
