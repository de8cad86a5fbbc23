package bulk

import (
	"fmt"
	"slices"
	"strings"
)

// shape tells a row what is wrong with its form, whatever the values.
func (r *Reader) shape(row *Row, rec record) {
	for i, place := range rec.stray {
		if i == mostAlike {
			row.fault("", QuoteMisplaced, "The same is to be said of %d more values.", len(rec.stray)-i)
			break
		}
		name := r.nameOf(place)
		row.fault(name, QuoteMisplaced, "%s has quotes inside and isn't in quotes; put it in quotes, and double those inside.", name)
	}
	for place, c := range rec.cells {
		if len(c) > MaxCell {
			name := r.nameOf(place)
			row.fault(name, CellTooLong, "%s is longer than %d KiB.", name, MaxCell>>10)
		}
	}
	switch has, want := len(rec.cells), len(r.header.cells); {
	case has < want:
		r.short(row)
	case has > want:
		r.long(row)
	}
}

// short judges a row that ends early. Spreadsheets leave out the last cells of a row when they are empty, so that only matters
// where a value is mandatory.
func (r *Reader) short(row *Row) {
	has := len(row.Record)
	var missing []string
	for i, c := range r.format.columns() {
		if c.mandatory && r.header.places[i] >= has {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		row.notice("", RowShort, "The row has %d of %d values; the others were taken as empty.", has, len(r.header.cells))
		return
	}
	hint := ""
	if d := otherDelimiter(row.Record[0], r.layout.Delimiter); has == 1 && d != 0 {
		hint = fmt.Sprintf(" Its values seem to be separated by %s, and the header's are by %s.", nameOf(d), nameOf(byte(r.layout.Delimiter)))
	}
	row.fault(missing[0], RowShort, "The row has %d of %d values; it ends before %s.%s", has, len(r.header.cells), strings.Join(missing, ", "), hint)
}

func otherDelimiter(text string, delimiter rune) byte {
	for _, d := range []byte(delimiters) {
		if rune(d) != delimiter && strings.Contains(text, string(d)) {
			return d
		}
	}
	return 0
}

// long judges a row that has more values than there are columns.
func (r *Reader) long(row *Row) {
	want := len(r.header.cells)
	for _, c := range row.Record[want:] {
		if strings.TrimFunc(c, empty) != "" {
			row.fault("", RowLong, "The row has %d values for %d columns; a value with %s inside must stand in quotes.",
				len(row.Record), want, nameOf(byte(r.layout.Delimiter)))
			return
		}
	}
	row.notice("", RowLong, "The row has %d values for %d columns; those too many are empty.", len(row.Record), want)
}

// mangled says what is wrong with a record that can't be understood from a column on.
func mangled(r record, column string) Problem {
	p := fileProblem(r.line, Fault, RowTooLong, "The row is longer than %d MiB; it wasn't read beyond %s.", MaxRow>>20, column)
	switch r.why {
	case unclosed:
		p = fileProblem(r.faultLine, Fault, QuoteUnclosed, "The quote that begins in line %d at %s isn't closed, or not where it should be; reading went on with the next line.",
			r.faultLine, column)
	case trailing:
		p = fileProblem(r.faultLine, Fault, QuoteMisplaced, "Text stands behind the closing quote of %s; double the quotes inside a value.", column)
	}
	p.Column = column
	return p
}

// lineEndings are the ways in which lines of a file end.
type lineEndings struct {
	seen  []string
	mixed int // line of the first that differs from those before
}

func (e *lineEndings) add(ending string, line int) {
	if ending == "" || len(e.seen) > 0 && e.seen[len(e.seen)-1] == ending {
		return
	}
	if len(e.seen) > 0 && e.mixed == 0 {
		e.mixed = line
	}
	if !slices.Contains(e.seen, ending) {
		e.seen = append(e.seen, ending)
	}
}

func (e *lineEndings) notice() (Problem, bool) {
	switch {
	case e.mixed > 0:
		return fileProblem(e.mixed, Notice, LineEndings, "Lines end in different ways (%s), from this line on; all were read as line ends.", e), true
	case len(e.seen) == 1 && e.seen[0] == "\r":
		return fileProblem(1, Notice, LineEndings, "Lines end with CR alone; it was read as a line end."), true
	}
	return Problem{}, false
}

// String lists the endings.
func (e *lineEndings) String() string {
	return strings.NewReplacer("\r\n", "CRLF", "\r", "CR", "\n", "LF").Replace(strings.Join(e.seen, ", "))
}

// blankLines are lines with nothing in them that aren't the file's last.
type blankLines struct {
	first, inside, trailing int
}

// count reports whether a record is a blank line.
func (b *blankLines) count(r record) bool {
	if r.blank {
		if b.first == 0 {
			b.first = r.line
		}
		b.trailing++
		return true
	}
	b.inside += b.trailing
	b.trailing = 0
	return false
}

func (b *blankLines) notice() (Problem, bool) {
	if b.inside == 0 {
		return Problem{}, false
	}
	return fileProblem(b.first, Notice, LinesBlank, "The file has blank lines (%d); they were skipped.", b.inside), true
}
