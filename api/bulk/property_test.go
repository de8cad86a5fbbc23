package bulk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
)

// drawCell draws what may stand in a cell, with a liking for what hurts.
func drawCell(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringOfN(rapid.SampledFrom([]rune("a,;\t|\" \r\n'=+@\u00a0\u200b\ufeffÄ")), 0, 12, -1),
		rapid.SampledFrom([]string{"", "C07Q853LG9RM", "ANDREW", "andrew@zylker.com", "zylker_drivers", "MDM"}),
	).Draw(t, label)
}

func encode(text, encoding string) []byte {
	var order binary.ByteOrder
	switch encoding {
	case "utf8":
		return []byte(text)
	case "utf8 with bom":
		return []byte("\ufeff" + text)
	case "utf16le":
		order = binary.LittleEndian
	case "utf16be":
		order = binary.BigEndian
	}
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], unit)
	}
	return b
}

// lineBreaks counts as editors do.
func lineBreaks(s string) int {
	return strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), "\n")
}

// Any table comes back as it was written, whatever the delimiter, the encoding and the ends of lines.
func TestAnyTableComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.Permutation([]string{"Serial Number", "User Name", "Email Address", "Group Name", "Notes", "Owned By"}).Draw(t, "header")
		delimiter := rapid.SampledFrom([]rune(",;\t|")).Draw(t, "delimiter")
		ending := rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "ending")
		table := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []string {
			row := make([]string, len(names))
			for i := range row {
				row[i] = drawCell(t, "cell")
				// The writer changes line breaks, and some look as if rows had been swallowed.
				if ending != "\n" || names[i] == "Serial Number" || names[i] != "Notes" && strings.ContainsRune(row[i], delimiter) {
					row[i] = oneLine(row[i])
				}
			}
			return row
		}), 0, 8).Draw(t, "table")

		var b strings.Builder
		w := csv.NewWriter(&b)
		w.Comma = delimiter
		require.NoError(t, w.WriteAll(append([][]string{names}, table...)))
		text := b.String()
		if ending != "\n" {
			text = strings.ReplaceAll(text, "\n", ending)
		}
		c := open(t, bytes.NewReader(encode(text, rapid.SampledFrom([]string{"utf8", "utf8 with bom", "utf16le", "utf16be"}).Draw(t, "encoding"))), bulk.Assignments)
		require.NotNil(t, c.reader, c.file)
		require.Equal(t, names, c.reader.Header())
		require.Equal(t, delimiter, c.reader.Layout().Delimiter)
		require.Len(t, c.rows, len(table))
		line := 2
		for i, row := range c.rows {
			require.Equal(t, table[i], row.Record)
			require.Equal(t, line, row.Line)
			line += 1 + lineBreaks(strings.Join(table[i], "|"))
		}
	})
}

func oneLine(s string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(s) }

// drawRubbish draws bytes that look somewhat like a file.
func drawRubbish(t *rapid.T) []byte {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
		"C07Q853LG9RM,ANDREW,,andrew@zylker.com,zylker_drivers", "\n", "\r", "\r\n", "\"", "\"\"", ",", ";", "\t", " ", "\x00", "\xff", "\ufeff", "\u00a0",
		"a", "\"a\nb\"", "Serial Number", "=1", "/", "@", "É",
	}), 0, 60).Draw(t, "rubbish")
	return []byte(strings.Join(pieces, ""))
}

// How the source hands out its bytes changes nothing.
func TestPortionsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := append([]byte(rapid.SampledFrom([]string{header, "", "\ufeff" + header, "sep=,\n" + header}).Draw(t, "head")), drawRubbish(t)...)
		if rapid.Bool().Draw(t, "utf16") {
			data = encode(string(data), "utf16be")
		}
		whole := open(t, bytes.NewReader(data), bulk.Assignments)
		for _, portions := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			again := open(t, portions(bytes.NewReader(data)), bulk.Assignments)
			require.Equal(t, whole.file, again.file)
			require.Equal(t, whole.rows, again.rows)
		}
	})
}

// Whatever stands in a line, the rows before and after it are read: nothing swallows them.
func TestRubbishStaysInItsLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := strings.Split(strings.TrimSpace(header), ",")
		if rapid.Bool().Draw(t, "notes") {
			names = append(names, "Notes")
		}
		good := func(i int) string {
			row := []string{fmt.Sprintf("C07Q853L%04d", i), "Smith", "", "smith@zylker.com", "zylker_drivers", "by mail"}[:len(names)]
			if rapid.Bool().Draw(t, "quoted") {
				return `"` + strings.Join(row, `","`) + `"`
			}
			return strings.Join(row, ",")
		}
		ending := rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "ending")
		lines := []string{strings.Join(names, ",")}
		var want []int
		for i := range rapid.IntRange(1, 20).Draw(t, "lines") {
			if rapid.Bool().Draw(t, "good") {
				want = append(want, len(lines)+1)
				lines = append(lines, good(i))
				continue
			}
			before := rapid.SampledFrom([]string{"", "a,b,c,d,e,"}).Draw(t, "before")
			lines = append(lines, before+oneLine(string(drawRubbish(t))))
		}
		c := open(t, strings.NewReader(strings.Join(lines, ending)), bulk.Assignments)
		var got []int
		for _, row := range c.rows {
			if row.Verdict == bulk.OK && row.Assignment.User.Name == "Smith" {
				got = append(got, row.Line)
			}
		}
		require.Equal(t, want, got, "%q", lines)
	})
}

// A result says what its file says, and holds nothing that a spreadsheet calculates.
func TestResultsSayTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		w := csv.NewWriter(&b)
		names := append(strings.Split(strings.TrimSpace(header), ","), "Notes")
		require.NoError(t, w.Write(names))
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			row := make([]string, len(names))
			for i := range row {
				row[i] = strings.ReplaceAll(oneLine(drawCell(t, "cell")), "\x00", "") // which a result doesn't keep
			}
			require.NoError(t, w.Write(row))
		}
		w.Flush()
		first := check(t, []byte(b.String()), bulk.Assignments)
		result := resultOf(t, first)
		second := check(t, result, bulk.Assignments)
		require.Len(t, second.rows, len(first.rows))
		for i, row := range second.rows {
			require.Equal(t, first.rows[i].Assignment, row.Assignment)
			require.Equal(t, first.rows[i].Verdict, row.Verdict, "%q became %q", first.rows[i].Problems, row.Problems)
		}
		require.Equal(t, string(result), string(resultOf(t, second)), "the result of a result")

		cells, err := csv.NewReader(bytes.NewReader(result)).ReadAll()
		require.NoError(t, err)
		for _, cell := range slices.Concat(cells...) {
			require.NotRegexp(t, "^[\t\r\n]|^\\s*[=+@＝＋－＠-]", cell)
		}
	})
}

func resultOf(t tester, c checked) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := bulk.NewResultWriter(&b, c.reader.Header(), c.reader.Layout())
	require.NoError(t, err)
	for _, row := range c.rows {
		require.NoError(t, w.Write(row, ""))
	}
	require.NoError(t, w.Flush())
	return b.Bytes()
}

// A good row is one that the API would take, too.
func requireGood(t tester, row bulk.Row, f bulk.Format) {
	t.Helper()
	a := row.Assignment
	serial, err := provision.ParseSerial(a.Serial)
	require.NoError(t, err)
	require.Equal(t, serial, a.Serial)
	if f == bulk.Unassignments {
		return
	}
	person, err := provision.CheckPerson(a.User)
	require.NoError(t, err)
	require.Equal(t, person, a.User)
	require.NotEmpty(t, a.Groups)
	for _, g := range a.Groups {
		name, err := provision.CheckGroupName(g)
		require.NoError(t, err)
		require.Equal(t, name, g)
	}
	require.Contains(t, []string{provision.Corporate, provision.Personal}, a.OwnedBy)
}
