package bulk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
)

const (
	goodRow  = "C07Q853LG9RM,ANDREW,,andrew@zylker.com,zylker_drivers\n"
	otherRow = "DMPXK1ABCD01,BERTA,,berta@zylker.com,zylker_sales\n"
)

func codes(row bulk.Row) []provision.Code { return bulk.Codes(row.Problems) }

func TestWhatIsTooLong(t *testing.T) {
	cell, row := strings.Repeat("x", bulk.MaxCell+1), strings.Repeat("x", bulk.MaxRow+1)
	huge := strings.Repeat("x", 10<<20)
	for name, want := range map[string]struct {
		row   string
		codes []provision.Code
	}{
		"cell":                       {"C07Q853LG9RM,ANDREW,," + cell + ",zylker_drivers\n", []provision.Code{bulk.CellTooLong}},
		"cell, and another mistake":  {"C07Q,ANDREW,," + cell + ",zylker_drivers\n", []provision.Code{bulk.CellTooLong, provision.SerialInvalid}},
		"quoted cell":                {"C07Q853LG9RM,\"" + cell + "\",,andrew@zylker.com,zylker_drivers\n", []provision.Code{bulk.CellTooLong}},
		"row":                        {row + "\n", []provision.Code{bulk.RowTooLong}},
		"cell of 10 MB":              {"C07Q853LG9RM," + huge + ",,andrew@zylker.com,zylker_drivers\n", []provision.Code{bulk.RowTooLong}},
		"quoted cell of 10 MB":       {"C07Q853LG9RM,\"" + huge + "\",,andrew@zylker.com,zylker_drivers\n", []provision.Code{bulk.RowTooLong}},
		"quote unclosed for 10 MB":   {"C07Q853LG9RM,\"" + huge + "\n", []provision.Code{bulk.RowTooLong}},
		"10 MB of quotes":            {"C07Q853LG9RM," + strings.Repeat(`""`, 5<<20) + "\n", []provision.Code{bulk.RowTooLong}},
		"10 MB of blanks":            {"C07Q853LG9RM," + strings.Repeat(" ", 10<<20) + "\n", []provision.Code{bulk.RowTooLong}},
		"10 MB of blanks after":      {`C07Q853LG9RM,"ANDREW"` + strings.Repeat(" ", 10<<20) + ",\n", []provision.Code{bulk.RowTooLong}},
		"10 MB of commas":            {strings.Repeat(",", 10<<20) + "\n", []provision.Code{bulk.RowTooLong}},
		"10 MB behind a quoted cell": {`"a",` + huge + "\r\n", []provision.Code{bulk.RowTooLong}},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, strings.NewReader(header+goodRow+want.row+otherRow), bulk.Assignments)
			require.Len(t, c.rows, 3)
			require.Equal(t, bulk.OK, c.rows[0].Verdict)
			require.Equal(t, want.codes, codes(c.rows[1]), bulk.Details(c.rows[1].Problems))
			require.Equal(t, 3, c.rows[1].Line)
			require.Less(t, len(strings.Join(c.rows[1].Record, ",")), 3*bulk.MaxRow)
			require.Equal(t, bulk.OK, c.rows[2].Verdict)
			require.Equal(t, 4, c.rows[2].Line)
		})
	}
}

func TestLinesAreCountedInRowsThatAreTooLong(t *testing.T) {
	long := "\"one\r\ntwo\rthree\",\"" + strings.Repeat("x", 2*bulk.MaxRow) + "\r\n"
	c := open(t, strings.NewReader("Notes,"+header+long+"x,"+goodRow), bulk.Assignments)
	require.Equal(t, []provision.Code{bulk.RowTooLong}, codes(c.rows[0]))
	require.Equal(t, 2, c.rows[0].Line)
	require.Equal(t, 5, c.rows[1].Line)
	require.Equal(t, bulk.OK, c.rows[1].Verdict)
}

func TestLongestThatIsTaken(t *testing.T) {
	notes := strings.Repeat("x", bulk.MaxCell)
	c := open(t, strings.NewReader("Notes,"+header+"\""+notes+"\","+goodRow), bulk.Assignments)
	require.Equal(t, bulk.OK, c.rows[0].Verdict)
	require.Equal(t, notes, c.rows[0].Record[0])

	// Exactly MaxRow bytes, the end of the line aside, and one more.
	row := strings.TrimSpace(goodRow) + strings.Repeat(","+notes[1:], 7) + ","
	row += strings.Repeat("x", bulk.MaxRow-len(row))
	names := strings.TrimSpace(header) + strings.Repeat(",Notes", 8) + "\n"
	for extra, want := range map[string]bulk.Verdict{"": bulk.OK, "x": bulk.Fault} {
		c := open(t, strings.NewReader(names+row+extra+"\n"), bulk.Assignments)
		require.Equal(t, want, c.rows[0].Verdict, c.rows[0].Problems)
	}
}

// Spreadsheets write all the columns that they once had, and who broke a file broke it everywhere: what is said of it is to be read
// by people, and kept.
func TestWhatIsWrongThousandsOfTimesIsCounted(t *testing.T) {
	const columns = 16_384
	wide := strings.TrimSpace(header) + strings.Repeat(",", columns)
	c := open(t, strings.NewReader(wide+"\n"+goodRow), bulk.Assignments)
	require.Len(t, c.file, 21)
	require.Equal(t, "Column 6 has no name; it is ignored.", c.file[0].Detail)
	require.Equal(t, bulk.Problem{Line: 1, Code: bulk.ColumnUnknown, Severity: bulk.Notice, Detail: "The same is to be said of 16364 more columns."}, c.file[20])
	require.NotEqual(t, bulk.Fault, c.rows[0].Verdict)

	twice := strings.TrimSpace(header) + strings.Repeat(",User Name,Notes", columns)
	c = open(t, strings.NewReader(twice+"\n"+goodRow), bulk.Assignments)
	require.Nil(t, c.reader)
	require.Len(t, c.file, 42)

	broken := "C07Q853LG9RM" + strings.Repeat(`,a"b`, 200_000)
	c = open(t, strings.NewReader(header+broken+"\n"+goodRow), bulk.Assignments)
	row := c.rows[0]
	require.Equal(t, bulk.Fault, row.Verdict)
	require.Less(t, len(row.Problems), 30)
	require.Contains(t, bulk.Details(row.Problems), "The same is to be said of 199980 more values.")
	require.Equal(t, bulk.OK, c.rows[1].Verdict)
}

func TestHeaderTooLong(t *testing.T) {
	c := open(t, io.MultiReader(strings.NewReader(header[:20]), endless{}), bulk.Assignments)
	require.Len(t, c.file, 1)
	require.Equal(t, bulk.RowTooLong, c.file[0].Code)
}

// endless never ends, and has no line end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestSourceThatFails(t *testing.T) {
	broken := errors.New("the line is dead")
	_, err := bulk.Open(iotest.ErrReader(broken), bulk.Assignments)
	require.ErrorIs(t, err, broken)
	_, err = bulk.Open(io.MultiReader(strings.NewReader(strings.Repeat(" ", 1000)+header[:30]), iotest.ErrReader(broken)), bulk.Assignments)
	require.ErrorIs(t, err, broken)

	half := goodRow + otherRow[:20]
	reader, err := bulk.Open(io.MultiReader(strings.NewReader(header+strings.Repeat(goodRow, 20)), strings.NewReader(half), iotest.ErrReader(broken)), bulk.Assignments)
	require.NoError(t, err)
	for range 21 {
		row, err := reader.Next()
		require.NoError(t, err)
		require.Equal(t, bulk.OK, row.Verdict)
	}
	for range 2 { // half a row is none, and the error stays
		_, err = reader.Next()
		require.ErrorIs(t, err, broken)
	}

	_, err = bulk.Open(io.MultiReader(strings.NewReader(strings.Repeat(" ", 1000)), silent{}), bulk.Assignments)
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// silent gives nothing, for ever.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// A line that opens a quote ends the search for the end of the one before. So nothing is looked through again and again, and a
// file full of open quotes takes no longer than any other.
func TestOpenQuotesAreNotSearchedFarFor(t *testing.T) {
	const n = 500
	for _, line := range []string{"\"a\n", "a,\"b\"\"\n", "\"\"\"\n", "x,\"\n", "\"a\",\"\"\n"} {
		source := &counting{Reader: strings.NewReader(header + strings.Repeat(line, n))}
		reader, err := bulk.Open(iotest.OneByteReader(source), bulk.Assignments)
		require.NoError(t, err)
		for i := range n {
			row, err := reader.Next()
			require.NoError(t, err)
			require.Equal(t, i+2, row.Line)
			ahead := source.read - len(header) - (i+1)*len(line)
			require.LessOrEqual(t, ahead, max(len(line), beginning-len(header)-(i+1)*len(line)), "%q", line)
		}
	}
}

// beginning is read of every file, to know its encoding.
const beginning = 512

type counting struct {
	io.Reader
	read int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

// generated is a file of many bytes, made while it is read.
type generated struct {
	left int // bytes, roughly
	next func(i int) string
	i    int
	rest string
}

func (g *generated) Read(p []byte) (int, error) {
	if g.rest == "" {
		if g.left <= 0 {
			return 0, io.EOF
		}
		g.rest = g.next(g.i)
		g.left -= len(g.rest)
		g.i++
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// Reading needs the same memory whatever the size of the file, and whatever is wrong in it.
func TestMemoryIsConstant(t *testing.T) {
	note := strings.Repeat("all work and no play ", 20)
	long := strings.Repeat("x", 10<<20)
	source := &generated{left: 300 << 20, next: func(i int) string {
		switch {
		case i == 0:
			return strings.TrimSpace(header) + ",Notes\n"
		case i%100_000 == 1:
			return "C07Q853LG9RM,\"" + long + "\n"
		case i%1000 == 2:
			return fmt.Sprintf("C%011d,\"User %d,,user%d@zylker.com,zylker_drivers,\n", i, i, i)
		}
		return fmt.Sprintf("C%011d,User %d,,user%d@zylker.com,zylker_drivers,%s\n", i, i, i, note)
	}}
	reader, err := bulk.Open(source, bulk.Assignments)
	require.NoError(t, err)
	runtime.GC()
	before := heap()
	var most uint64
	rows := 0
	for ; ; rows++ {
		_, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if rows%20_000 == 0 {
			most = max(most, heap())
		}
	}
	require.Greater(t, rows, 400_000)
	require.Less(t, most, before+48<<20, "bytes in use")
}

// heap is what is in use, with what isn't collected yet.
func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMemoryOfDuplicates(t *testing.T) {
	const n = 1_000_000
	runtime.GC()
	before := heap()
	d := bulk.NewDuplicates()
	row := bulk.Row{}
	for i := range n {
		row.Line = i + 2
		row.Assignment.Serial = fmt.Sprintf("C%011d", i)
		d.Note(row)
	}
	runtime.GC()
	require.Less(t, float64(heap()-before)/n, 48.0, "bytes a device")
	row.Line++
	d.Judge(&row)
	require.Equal(t, []provision.Code{bulk.SerialRepeated}, codes(row))
}

func TestTemplatesImportAsTheyAre(t *testing.T) {
	for f, want := range map[bulk.Format]string{
		bulk.Assignments:   "Serial Number,User Name,Domain Name,Email Address,Group Name,Owned By\n",
		bulk.Unassignments: "Serial Number,Reason\n",
	} {
		require.Equal(t, want, string(f.Template()))
		c := open(t, bytes.NewReader(f.Template()), f)
		require.NotNil(t, c.reader)
		require.Empty(t, c.file)
		require.Empty(t, c.rows)
	}
}
