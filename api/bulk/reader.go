package bulk

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster-mdm/muster/provision"
)

// Reader reads a file row by row. It isn't for several goroutines at a time.
type Reader struct {
	scanner scanner
	format  Format
	header  header
	layout  Layout
	blanks  blankLines
	people  addresses
	// groups are those of cells that were read before and had nothing wrong in them.
	groups map[string][]string
}

// Layout is how a file is written down, so that its result can be alike.
type Layout struct {
	// Delimiter separates values; 0 = a comma.
	Delimiter rune
	// BOM: the text begins with a byte order mark, by which spreadsheets know that it is Unicode.
	BOM bool
}

// Open reads a file's header. It fails with a [FileError] when the file can't be imported, and with the source's error when
// that can't be read.
func Open(source io.Reader, f Format) (*Reader, error) {
	utf8, e, err := text(source)
	if err != nil {
		return nil, err
	}
	r := &Reader{format: f, groups: map[string][]string{}, scanner: scanner{window: window{src: utf8}, line: 1}}
	var notices []Problem
	if e.order != nil {
		notices = []Problem{fileProblem(1, Notice, EncodingUTF16, "The file is %s; it was read so.", e)}
	}
	if r.header, err = readHeader(&r.scanner, f, notices); err != nil {
		return nil, err
	}
	r.layout = Layout{Delimiter: rune(r.scanner.delimiter), BOM: e.mark > 0}
	if r.scanner.serial = r.header.places[0]; f == People {
		r.scanner.serial = -1
	}
	r.scanner.columns = make([]bool, len(r.header.cells))
	for place := range r.header.cells {
		r.scanner.columns[place] = slices.Contains(r.header.places, place)
	}
	return r, nil
}

// Header returns the names of all columns as the file has them.
func (r *Reader) Header() []string { return r.header.cells }

// Layout returns how the file is written down.
func (r *Reader) Layout() Layout { return r.layout }

// Notices returns what is to be known about the file as a whole. It is complete when Next has returned io.EOF.
func (r *Reader) Notices() []Problem {
	notices := slices.Clone(r.header.problems)
	if p, ok := r.scanner.endings.notice(); ok {
		notices = append(notices, p)
	}
	if p, ok := r.blanks.notice(); ok {
		notices = append(notices, p)
	}
	if p, ok := r.people.notice(); ok {
		notices = append(notices, p)
	}
	return notices
}

// Next returns the next row, and io.EOF behind the last one. Any other error is the source's; what is wrong with the row is
// in the row. Rows share memory with their neighbours: who keeps a value for long clones it.
func (r *Reader) Next() (Row, error) {
	var row Row
	err := r.Read(&row)
	return row, err
}

// Read is [Reader.Next] into a row of the caller's, whatever it held before.
func (r *Reader) Read(row *Row) error {
	for {
		rec, err := r.scanner.next()
		switch {
		case errors.Is(err, io.EOF):
			*row = Row{}
			return io.EOF
		case err != nil:
			*row = Row{}
			return fmt.Errorf("reading the file: %w", err)
		case !r.blanks.count(rec):
			*row = Row{Line: rec.line, Record: rec.cells, Verdict: OK}
			r.judge(row, rec)
			return nil
		}
	}
}

func (r *Reader) judge(row *Row, rec record) {
	if r.header.result {
		unguardAll(row.Record)
	}
	switch {
	case rec.why > atEnd:
		row.Add(mangled(rec, r.nameOf(rec.fault)))
		return
	case slices.Equal(rec.cells, r.header.cells):
		row.fault("", HeaderRepeated, "The row repeats the header.")
		return
	}
	r.shape(row, rec)
	r.take(row)
	if r.format != Unassignments && row.Verdict != Fault {
		r.people.note(row)
	}
	if rec.breaks > 0 && row.Verdict != Fault {
		row.notice("", LineBreak, "The row goes on to line %d.", rec.line+rec.breaks)
	}
}

// take reads the format's columns.
func (r *Reader) take(row *Row) {
	for i, c := range r.format.columns() {
		place := r.header.places[i]
		if place < 0 || place >= len(row.Record) || len(row.Record[place]) > MaxCell {
			continue // an optional column, or the row's shape says so
		}
		value, ok := clean(row, c.name, row.Record[place])
		switch {
		case !ok:
		case value == "" && c.mandatory:
			row.fault(c.name, CellEmpty, "%s is empty; it is mandatory.", c.name)
		case value == "":
		case c.most > 0 && len(value) > c.most && utf8.RuneCountInString(value) > c.most:
			row.fault(c.name, ValueTooLong, "%s is longer than %d characters.", c.name, c.most)
		default:
			if c.name != SerialNumber && formula(value) {
				row.notice(c.name, FormulaText, "%s looks like a formula; it is kept as text.", c.name)
			}
			r.keep(row, c, value)
		}
	}
	if r.format == Assignments {
		row.Assignment.complete()
	}
}

// keep has a row take a column's value. Most files name the same groups again and again, so those are remembered.
func (r *Reader) keep(row *Row, c column, value string) {
	if c.name != GroupName {
		c.take(row, value)
		return
	}
	if groups, ok := r.groups[value]; ok {
		row.Assignment.Groups = groups
		return
	}
	before := len(row.Problems)
	c.take(row, value)
	const mostCells, longest = 1000, 200
	if len(row.Problems) == before && len(r.groups) < mostCells && len(value) <= longest {
		groups := make([]string, len(row.Assignment.Groups))
		for i, g := range row.Assignment.Groups {
			groups[i] = strings.Clone(g)
		}
		r.groups[strings.Clone(value)] = slices.Clip(groups)
	}
}

// complete fills in the defaults (R36, R37).
func (a *Assignment) complete() {
	if a.User.Domain == "" {
		a.User.Domain = provision.DefaultDomain
	}
	if a.OwnedBy == "" {
		a.OwnedBy = provision.Corporate
	}
}

// nameOf names a column for people.
func (r *Reader) nameOf(place int) string {
	if i := slices.Index(r.header.places, place); i >= 0 {
		return r.format.columns()[i].name
	}
	if place < len(r.header.cells) {
		if name := strings.TrimFunc(r.header.cells[place], empty); name != "" {
			return strings.ToValidUTF8(clip(name), "�")
		}
	}
	return fmt.Sprintf("column %d", place+1)
}
