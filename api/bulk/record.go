package bulk

import (
	"bytes"
	"strings"
)

// record is a row as it stands in the file.
type record struct {
	line   int
	breaks int // line breaks inside
	cells  []string
	stray  []int // the cells with stray quotes
	blank  bool  // there is nothing but blanks
	ending string
	// why is above atEnd when the record can't be understood from its last cell on, which begins at faultLine.
	why       stop
	fault     int
	faultLine int
}

// next returns the next record, io.EOF behind the last one, and whatever error the source has.
func (s *scanner) next() (record, error) {
	r, size, err := s.peek()
	if err != nil {
		return record{}, err
	}
	s.line += r.breaks
	s.drop(size)
	if r.why == tooLong {
		s.skipLine()
		return r, nil
	}
	if r.ending != "" {
		s.line++
		s.endings.add(r.ending, r.line)
	}
	return r, nil
}

// peek returns the next record and its size, and leaves it where it is. The size of one that is too long is that of the
// cells before the last.
func (s *scanner) peek() (r record, size int, err error) {
	if _, ok := s.at(0); !ok {
		return record{}, 0, s.err
	}
	why, end := s.scan()
	r = record{line: s.line, why: why, fault: len(s.cells) - 1}
	begin := s.cells[r.fault].begin
	if why > atEnd {
		end = s.giveUp(&r)
	}
	size, r.ending = s.lineEnd(end)
	if s.failed() {
		return record{}, 0, s.err
	}
	r.faultLine = s.line
	if s.quoted {
		text := s.bytes()[:end]
		r.faultLine += breaks(text[:begin])
		r.breaks = breaks(text)
	}
	s.take(&r, s.text(end))
	if r.why == tooLong {
		return r, begin, nil
	}
	return r, size, nil
}

// lineEnd returns the size of a record that ends at i, with its line end, and that.
func (s *scanner) lineEnd(i int) (size int, ending string) {
	b, ok := s.at(i)
	switch {
	case !ok:
		return i, ""
	case b == '\n':
		return i + 1, "\n"
	}
	if next, _ := s.at(i + 1); next == '\n' {
		return i + 2, "\r\n"
	}
	return i + 1, "\r"
}

// take cuts a record's text into its cells.
func (s *scanner) take(r *record, text string) {
	cells := s.cells
	var rest []string
	if r.why > atEnd { // who knows where quotes should have been
		rest = strings.Split(text[cells[r.fault].from:], string(s.delimiter))
		cells = cells[:r.fault]
	}
	r.cells = s.room(len(cells) + len(rest))
	for i, c := range cells {
		value := text[c.from:c.to]
		if c.doubled {
			value = strings.ReplaceAll(value, `""`, `"`)
		}
		if c.stray {
			r.stray = append(r.stray, i)
		}
		r.cells = append(r.cells, value)
	}
	r.cells = append(r.cells, rest...)
	r.blank = len(r.cells) == 1 && !s.quoted && r.why <= atEnd && strings.TrimFunc(r.cells[0], empty) == ""
}

// room returns an empty slice with room for n cells; many share one piece of memory.
func (s *scanner) room(n int) []string {
	if n > cap(s.free)-len(s.free) {
		const least = 1024
		s.free = make([]string, 0, max(least, n))
	}
	at := len(s.free)
	s.free = s.free[:at+n]
	return s.free[at : at : at+n]
}

// skipLine drops what is left of a line that is too long.
func (s *scanner) skipLine() {
	for {
		at := bytes.IndexAny(s.bytes(), "\r\n")
		if at >= 0 {
			size, _ := s.lineEnd(at)
			s.drop(size)
			s.line++
			return
		}
		s.drop(len(s.bytes()))
		if !s.fill() {
			return
		}
	}
}

// breaks counts line breaks: CRLF, LF and CR alone.
func breaks(text []byte) int {
	n := bytes.Count(text, []byte{'\n'})
	for {
		at := bytes.IndexByte(text, '\r')
		if at < 0 {
			return n
		}
		text = text[at+1:]
		if len(text) == 0 || text[0] != '\n' {
			n++
		}
	}
}
