package bulk

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// windows1252 is what Windows' usual encoding has between 0x80 and 0x9F, where ISO 8859-1 has control characters; 0 is
// undefined.
var windows1252 = [32]rune{
	'€', 0, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0, 'Ž', 0,
	0, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0, 'ž', 'Ÿ',
}

// fromWindows reads bytes as Windows-1252. It fails on those that the encoding doesn't define.
func fromWindows(s string) (string, bool) {
	var b strings.Builder
	for i := range len(s) {
		r := rune(s[i])
		if r >= 0x80 && r < 0xA0 {
			r = windows1252[r-0x80]
		}
		if r == 0 {
			return "", false
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// toWindows writes text as Windows-1252. It fails on characters that the encoding doesn't have.
func toWindows(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if at := slices.Index(windows1252[:], r); at >= 0 && r != 0 {
			r = rune(0x80 + at)
		} else if r > 0xFF || r >= 0x80 && r < 0xA0 {
			return "", false
		}
		b = append(b, byte(r))
	}
	return string(b), true
}

// unreadable is the sentence about a cell that isn't UTF-8 at one of its bytes.
func unreadable(column, cell string, at int) string {
	if strings.HasPrefix(cell[at:], halfPair) {
		return column + " has half of a UTF-16 character inside."
	}
	guess, ok := fromWindows(cell)
	if !ok {
		return fmt.Sprintf("%s has the byte 0x%02X inside, which is not UTF-8. Save the file as UTF-8.", column, cell[at])
	}
	return fmt.Sprintf("%s has the byte 0x%02X inside, which is not UTF-8; in Windows-1252 it would be %q. Save the file as UTF-8 (in Excel: \"CSV UTF-8\").",
		column, cell[at], clip(strings.TrimSpace(guess)))
}

// encodedTwice returns what a value was before a program took its UTF-8 for Windows-1252 (MÃ¼ller for Müller).
func encodedTwice(value string) (was string, ok bool) {
	if ascii(value) {
		return "", false
	}
	raw, ok := toWindows(value)
	if !ok || !utf8.ValidString(raw) {
		return "", false
	}
	return raw, true
}
