package bulk

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster-mdm/muster/provision"
)

// delimiters are those that are recognised; the first is the format's.
const delimiters = ",;\t|"

// separatorLine is how spreadsheets note the delimiter in front of the header.
var separatorLine = regexp.MustCompile(`(?i)^sep=(.)[,;\t|]*$`)

// header is what the first lines of a file say about the rest.
type header struct {
	line  int
	cells []string
	// places are where the format's columns stand; -1 = nowhere.
	places   []int
	result   bool // they are those of a ResultWriter
	problems []Problem
	alike    map[provision.Code]int // how often each code was given
}

// mostAlike is how many problems of a kind are told one by one: a spreadsheet may have sixteen thousand columns without a name.
const mostAlike = 20

// readHeader reads a file up to and with its header, and sets the scanner's delimiter. Problems known before come first. It
// fails with a [FileError], and with the source's error.
func readHeader(s *scanner, f Format, before []Problem) (header, error) {
	h := header{problems: before}
	s.separate(delimiters[0])
	given, err := h.preamble(s)
	if err == nil && given == 0 && worst(h.problems) != Fault {
		given, err = guessDelimiter(s, f)
	}
	switch {
	case errors.Is(err, io.EOF):
		err, h.line = nil, 1
		h.fault("", FileEmpty, "The file is empty.")
	case err != nil:
		return h, fmt.Errorf("reading the file: %w", err)
	}
	if worst(h.problems) != Fault {
		s.separate(given)
		err = h.read(s, f)
	}
	if err == nil && worst(h.problems) == Fault {
		err = &FileError{h.problems}
	}
	return h, err
}

// read reads the line with the names of the columns.
func (h *header) read(s *scanner, f Format) error {
	r, _, err := s.peek()
	if err != nil {
		return fmt.Errorf("reading the file: %w", err)
	}
	h.line, h.cells = r.line, r.cells
	if s.delimiter != delimiters[0] {
		h.notice(DelimiterOther, "Values are separated by %s instead of commas; they were read so.", nameOf(s.delimiter))
	}
	if r.why > atEnd {
		h.problems = append(h.problems, mangled(r, fmt.Sprintf("column %d", r.fault+1)))
		return nil
	}
	if isResult(h.cells) {
		h.result = true
		unguardAll(h.cells)
	}
	h.find(f)
	_, err = s.next()
	return err
}

func (h *header) fault(column string, code provision.Code, format string, args ...any) {
	p := fileProblem(h.line, Fault, code, format, args...)
	p.Column = column
	h.add(p)
}

func (h *header) notice(code provision.Code, format string, args ...any) {
	h.add(fileProblem(h.line, Notice, code, format, args...))
}

func (h *header) add(p Problem) {
	if h.alike == nil {
		h.alike = map[provision.Code]int{}
	}
	if h.alike[p.Code]++; h.alike[p.Code] <= mostAlike {
		h.problems = append(h.problems, p)
	}
}

// summarise counts the problems that weren't told one by one.
func (h *header) summarise() {
	for i := len(h.problems) - 1; i >= 0; i-- {
		p := h.problems[i]
		if more := h.alike[p.Code] - mostAlike; more > 0 {
			p.Column, p.Detail = "", fmt.Sprintf("The same is to be said of %d more columns.", more)
			h.problems = slices.Insert(h.problems, i+1, p)
			h.alike[p.Code] = 0
		}
	}
}

// preamble skips blank lines in front of the header, and a line that names the delimiter, which it returns.
func (h *header) preamble(s *scanner) (delimiter byte, err error) {
	for {
		r, _, err := s.peek()
		if err != nil {
			return 0, err
		}
		named := separatorLine.FindStringSubmatch(strings.Join(r.cells, string(s.delimiter)))
		if !r.blank && (named == nil || delimiter != 0 || r.why > atEnd) {
			return delimiter, nil
		}
		if _, err := s.next(); err != nil {
			return 0, err
		}
		if r.blank {
			continue
		}
		h.line = r.line
		if len(named[1]) != 1 || !strings.Contains(delimiters, named[1]) {
			h.fault("", DelimiterUnknown, "The line \"sep=\" names %q as the delimiter; separate values by commas.", clip(named[1]))
			return 0, nil
		}
		delimiter = named[1][0]
		h.notice(SeparatorLine, "The line \"sep=\" before the header was obeyed.")
	}
}

// guessDelimiter takes the one that makes most of the header's columns known.
func guessDelimiter(s *scanner, f Format) (byte, error) {
	best, most := delimiters[0], -1
	for _, d := range []byte(delimiters) {
		s.separate(d)
		r, _, err := s.peek()
		if err != nil {
			return 0, err
		}
		if n := known(r.cells, f); n > most {
			best, most = d, n
		}
	}
	return best, nil
}

// known counts the cells that name columns of the format.
func known(cells []string, f Format) int {
	n := 0
	for _, c := range cells {
		name := fold(c)
		if slices.ContainsFunc(f.columns(), func(c column) bool { return fold(c.name) == name }) {
			n++
		}
	}
	return n
}

func nameOf(delimiter byte) string {
	if delimiter == '\t' {
		return "tabs"
	}
	return "\"" + string(delimiter) + "\""
}

// find finds the format's columns.
func (h *header) find(f Format) {
	if known(h.cells, f) == 0 && h.isNone(f) {
		return
	}
	columns := f.columns()
	h.places = make([]int, len(columns))
	for i := range columns {
		h.places[i] = -1
	}
	var unknown []string
	for at, cell := range h.cells {
		name := fold(cell)
		i := slices.IndexFunc(columns, func(c column) bool { return fold(c.name) == name })
		switch {
		case i < 0 && h.result && slices.Contains(resultColumns, strings.TrimSpace(cell)):
		case i < 0:
			unknown = append(unknown, h.ignore(at, cell))
		case h.places[i] >= 0:
			h.fault(columns[i].name, ColumnTwice, "The column %q is there twice, as columns %d and %d.", columns[i].name, h.places[i]+1, at+1)
		default:
			h.places[i] = at
		}
	}
	if h.result {
		h.notice(ResultFile, "The file is the result of an import; what that added to it is left aside.")
	}
	for i, c := range columns {
		if c.mandatory && h.places[i] < 0 {
			h.missing(c, unknown)
		}
	}
	h.summarise()
}

// ignore says that a column is none of the format's.
func (h *header) ignore(at int, cell string) string {
	name := strings.TrimFunc(cell, empty)
	if name == "" {
		h.notice(ColumnUnknown, "Column %d has no name; it is ignored.", at+1)
		return ""
	}
	p := fileProblem(h.line, Notice, ColumnUnknown, "The column %q is none that is known; it is ignored.", clip(name))
	p.Column = strings.ToValidUTF8(clip(name), "�")
	h.add(p)
	return name
}

func (h *header) missing(c column, unknown []string) {
	for _, name := range unknown {
		if alike(fold(name), fold(c.name)) {
			h.fault(c.name, ColumnMissing, "The column %q is missing; call %q so, if it is meant.", c.name, clip(name))
			return
		}
	}
	h.fault(c.name, ColumnMissing, "The column %q is missing.", c.name)
}

// alike reports whether one of two names may have been meant by the other.
func alike(a, b string) bool {
	const least = 4
	return len(a) >= least && len(b) >= least && (strings.Contains(b, a) || strings.Contains(a, b) || a[:least] == b[:least])
}

// isNone reports, and says, that the first line isn't a header at all.
func (h *header) isNone(f Format) bool {
	whole := strings.Join(h.cells, "")
	switch {
	case !utf8.ValidString(whole) || strings.ContainsFunc(whole, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' }):
		h.fault("", EncodingUnknown, "The first line isn't text in UTF-8 or UTF-16. Save the file as \"CSV UTF-8\".")
	case len(h.cells) == 1 && slices.ContainsFunc([]byte(delimiters), func(d byte) bool {
		return known(strings.Split(whole, string(d)), f) > 1
	}):
		h.fault("", HeaderQuoted, "The first line stands in quotes as a whole, so it is a single value; leave out the quotes around lines.")
	case slices.ContainsFunc(h.cells, looksLikeData):
		h.fault("", HeaderMissing, "The first line looks like data; put the columns' names there: %s.", strings.TrimSpace(string(f.Template())))
	default:
		return false
	}
	return true
}

func looksLikeData(cell string) bool {
	_, err := provision.ParseSerial(cell)
	return err == nil && strings.ContainsAny(cell, "0123456789") || strings.Contains(cell, "@")
}
