package bulk

import (
	"bytes"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// A quote that isn't closed may meet one, some lines below, that closes it as if it were meant to. What is between them would be
// lost inside a value. So a value of several lines isn't taken for one when it looks as if it had swallowed others.

// swallows reports whether the cell at a place seems to have others inside.
func (s *scanner) swallows(c cell, place int) bool {
	value := s.bytes()[c.from:c.to]
	if s.columns == nil || !bytes.ContainsAny(value, "\r\n") {
		return false // a header has nothing to swallow
	}
	value = bytes.TrimRight(value, " \t\r\n")
	if !bytes.ContainsAny(value, "\r\n") {
		return false
	}
	if place == s.serial || place >= len(s.columns) {
		return true
	}
	if s.columns[place] {
		return bytes.IndexByte(value, s.delimiter) >= 0
	}
	return s.holdsRow(string(value), place)
}

// holdsRow reports whether a line of a text that begins at a place has a serial number where rows have it.
func (s *scanner) holdsRow(text string, place int) bool {
	for more := true; more; place = 0 {
		line := text
		at := strings.IndexAny(text, "\r\n")
		if more = at >= 0; more {
			line, text = text[:at], text[at+1:]
		}
		cells := strings.Split(line, string(s.delimiter))
		if i := s.serial - place; i >= 0 && i < len(cells) {
			if _, err := provision.ParseSerial(strings.Trim(cells[i], `" `)); err == nil {
				return true
			}
		}
	}
	return false
}
