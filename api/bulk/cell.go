package bulk

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean returns the value of a cell: without blanks and invisible characters at its ends, with ordinary spaces inside.
// It tells the row what it changed; ok is false when the cell can't be used, which the row is told, too.
func clean(row *Row, column, cell string) (value string, ok bool) {
	if plain(cell) {
		return cell, true
	}
	if !readable(row, column, cell) {
		return "", false
	}
	value = trim(row, column, cell)
	if ascii(value) && !strings.ContainsFunc(value, unicode.IsControl) {
		return value, true
	}
	value = straighten(row, column, value)
	if at := strings.IndexFunc(value, unicode.IsControl); at >= 0 {
		r, _ := utf8.DecodeRuneInString(value[at:])
		row.fault(column, ControlCharacter, "%s has the control character U+%04X inside.", column, r)
		return "", false
	}
	if twice, ok := encodedTwice(value); ok {
		row.notice(column, EncodingTwice, "%s is %q; was it %q before a program mistook its encoding?", column, clip(value), clip(twice))
	}
	return value, true
}

// plain reports whether a cell needs no second look: printable ASCII with no space at its ends. Nearly all are.
func plain(s string) bool {
	if s == "" {
		return true
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s[0] != ' ' && s[len(s)-1] != ' '
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// readable reports whether all of a cell's characters could be read.
func readable(row *Row, column, cell string) bool {
	if at := invalidByte(cell); at >= 0 {
		row.fault(column, EncodingInvalid, "%s", unreadable(column, cell, at))
		return false
	}
	if strings.ContainsRune(cell, utf8.RuneError) {
		row.fault(column, CharacterLost, "%s is %q: a program before could not keep a character of it.", column, clip(strings.TrimSpace(cell)))
		return false
	}
	return true
}

// invalidByte returns where a string stops being UTF-8, or -1.
func invalidByte(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// trim cuts blanks and invisible characters at both ends.
func trim(row *Row, column, cell string) string {
	var blanks bool
	var unseen rune
	value := strings.TrimFunc(cell, func(r rune) bool {
		switch {
		case blank(r):
			blanks = true
			return true
		case invisible(r):
			unseen = r
			return true
		}
		return false
	})
	if value == "" {
		return "" // there was nothing to keep
	}
	if blanks {
		row.notice(column, BlanksTrimmed, "Blanks around %s were left out.", column)
	}
	if unseen != 0 {
		row.notice(column, InvisibleRemoved, "An invisible character (U+%04X) around %s was left out.", unseen, column)
	}
	return value
}

// straighten makes unusual blanks ordinary ones and takes out what can't be seen.
func straighten(row *Row, column, value string) string {
	var unusual, unseen rune
	runes := []rune(value)
	out := make([]rune, 0, len(runes))
	for i, r := range runes {
		switch {
		case r == '\r' && i+1 < len(runes) && runes[i+1] == '\n':
		case blank(r) && r != ' ':
			unusual = r
			out = append(out, ' ')
		case invisible(r) && !joins(runes, i):
			unseen = r
		default:
			out = append(out, r)
		}
	}
	if unusual != 0 {
		row.notice(column, BlanksReplaced, "An unusual blank (U+%04X) in %s was read as a space.", unusual, column)
	}
	if unseen != 0 {
		row.notice(column, InvisibleRemoved, "An invisible character (U+%04X) in %s was left out.", unseen, column)
	}
	return string(out)
}

// blank reports whether a character is a blank. U+0085 isn't taken for one: it is what is left of "…" in Windows-1252.
func blank(r rune) bool { return unicode.IsSpace(r) && r != 0x85 }

// empty reports whether a character takes no ink.
func empty(r rune) bool { return blank(r) || invisible(r) }

// invisible reports whether a character has no shape of its own and is no blank: zero-width ones, soft hyphens, marks of
// direction, byte order marks.
func invisible(r rune) bool {
	return r >= 0xAD && unicode.Is(unicode.Cf, r)
}

// joins reports whether the character at i is a joiner where writing needs one: Persian and Indic names have them between
// their letters, emoji between their parts.
func joins(runes []rune, i int) bool {
	const nonJoiner, joiner = 0x200C, 0x200D
	if runes[i] != nonJoiner && runes[i] != joiner {
		return false
	}
	return i > 0 && i < len(runes)-1 && runes[i-1] >= utf8.RuneSelf && runes[i+1] >= utf8.RuneSelf
}

// formula reports whether spreadsheets would calculate a cell rather than show it.
func formula(cell string) bool {
	if cell == "" || cell[0] >= '0' && cell[0] <= 'z' && cell[0] != '=' && cell[0] != '@' {
		return false
	}
	if cell[0] == '\t' || cell[0] == '\r' || cell[0] == '\n' {
		return true
	}
	first, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(cell, blank))
	return strings.ContainsRune("=+-@＝＋－＠", first)
}
