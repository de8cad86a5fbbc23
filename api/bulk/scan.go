package bulk

import "bytes"

// Limits of what is held in memory. A cell of a spreadsheet has 32,767 characters at most, so people's files don't meet them.
const (
	// MaxRow is the most bytes of UTF-8 that a row may have; of a longer one only the beginning is kept.
	MaxRow = 1 << 20
	// MaxCell is the most bytes that a cell may have.
	MaxCell = 128 << 10
)

// scanner takes text apart into records, as RFC 4180 has it, in a window that holds one record.
//
// encoding/csv can't do it: after a quote that isn't closed it has swallowed the rest of the file, it holds a record of any
// size in memory, and a line that ends with CR alone is none to it. Here a record whose quotes can't be understood ends
// with the line in which the broken quote begins, and what follows is read as if nothing had been.
//
// Looking ahead for a closing quote is never in vain twice: a line that opens a quote also ends, well or badly, one that was
// left open before it. So the time stays linear.
type scanner struct {
	window
	line    int // of the window's beginning
	endings lineEndings

	delimiter byte
	special   [256]bool // what ends a stretch of plain text
	columns   []bool    // which are the format's; nil while the header is read
	serial    int       // the one with the serial number; -1 = there is none
	cells     []cell    // of the record under way
	free      []string  // memory for the cells of records to come
	quoted    bool      // one of them is
}

// cell is where a cell lies in the window.
type cell struct {
	begin    int // of all that stands between delimiters
	from, to int // of its text
	doubled  bool
	stray    bool // quotes stand in it though it isn't quoted
}

// stop is why a cell or record ended.
type stop int

const (
	atDelimiter stop = iota
	atLineEnd
	atEnd
	tooLong  // the record is
	unclosed // its quote isn't, or in a later line by chance
	trailing // text stands behind its closing quote
)

// separate sets the delimiter.
func (s *scanner) separate(delimiter byte) {
	s.delimiter = delimiter
	s.special = [256]bool{'"': true, '\r': true, '\n': true}
	s.special[delimiter] = true
}

// scan finds the cells of the record and where it ends.
func (s *scanner) scan() (why stop, end int) {
	s.cells, s.quoted = s.cells[:0], false
	for i := 0; ; i++ {
		c := cell{begin: i}
		opening := s.skipBlanks(i)
		if b, _ := s.at(opening); b == '"' && opening <= MaxRow {
			s.quoted = true
			why, i = s.scanQuoted(&c, opening)
		} else {
			why, i = s.scanPlain(&c)
		}
		s.cells = append(s.cells, c)
		if why != atDelimiter {
			return why, i
		}
	}
}

func (s *scanner) scanPlain(c *cell) (why stop, end int) {
	c.from = c.begin
	for i := c.begin; ; {
		text := s.bytes()
		for i < len(text) && !s.special[text[i]] {
			i++
		}
		c.to = i
		switch {
		case i > MaxRow:
			return tooLong, i
		case i == len(text):
			if !s.fill() {
				return atEnd, i
			}
		case text[i] == '"':
			c.stray = true
			i++
		default:
			return s.boundary(i), i
		}
	}
}

func (s *scanner) scanQuoted(c *cell, opening int) (why stop, end int) {
	c.from = opening + 1
	for i := c.from; ; {
		text := s.bytes()
		if closing := bytes.IndexByte(text[i:], '"'); closing >= 0 {
			i += closing
		} else {
			i = len(text)
		}
		c.to = i
		if i > MaxRow {
			return s.broken(*c, tooLong), i
		}
		b, ok := s.at(i)
		switch {
		case !ok:
			return unclosed, i
		case b != '"':
			continue // the window has grown
		}
		if b, _ := s.at(i + 1); b == '"' {
			c.doubled = true
			i += 2
			continue
		}
		i = s.skipBlanks(i + 1)
		why = s.boundary(i)
		if why > atEnd || s.swallows(*c, len(s.cells)) {
			why = s.broken(*c, why)
		}
		return why, i
	}
}

// boundary says what stands at i.
func (s *scanner) boundary(i int) stop {
	b, ok := s.at(i)
	switch {
	case i > MaxRow:
		return tooLong
	case !ok:
		return atEnd
	case b == s.delimiter:
		return atDelimiter
	case b == '\r' || b == '\n':
		return atLineEnd
	}
	return trailing
}

// broken is why a quoted cell can't be understood: one that goes over several lines wasn't closed where it was meant to be.
func (s *scanner) broken(c cell, why stop) stop {
	if bytes.ContainsAny(s.bytes()[c.from:min(c.to, MaxRow+1)], "\r\n") {
		return unclosed
	}
	return why
}

// skipBlanks returns where blanks end that stand outside of quotes.
func (s *scanner) skipBlanks(i int) int {
	for i <= MaxRow {
		b, ok := s.at(i)
		if !ok || b != ' ' && b != '\t' || b == s.delimiter {
			break
		}
		i++
	}
	return i
}

// giveUp takes the record to end with the line in which the cell begins that can't be understood, and returns its end.
func (s *scanner) giveUp(r *record) int {
	c := &s.cells[r.fault]
	i := c.begin
	for r.why != tooLong {
		b, ok := s.at(i)
		if !ok || b == '\r' || b == '\n' {
			break
		}
		if i++; i > MaxRow {
			r.why = tooLong
		}
	}
	if r.why == tooLong {
		const kept = 256 // of the last cell, for people
		i = min(c.begin+kept, len(s.bytes()))
	}
	c.from, c.to, c.doubled = c.begin, i, false
	return i
}
