package provision

import (
	"strings"
	"unicode/utf8"
)

// MinSerial and MaxSerial bound the length of a serial number. Apple prints 10 or 12 characters on devices; older and
// repaired hardware has 8 to 14.
const (
	MinSerial = 8
	MaxSerial = 14
)

// ParseSerial returns the serial number in the one spelling used everywhere: upper case, no surrounding blanks.
// It fails with [SerialInvalid].
func ParseSerial(s string) (string, error) {
	if plainSerial(s) {
		return s, nil
	}
	trimmed := strings.TrimSpace(s)
	if n := utf8.RuneCountInString(trimmed); n < MinSerial || n > MaxSerial {
		return "", Errorf(SerialInvalid, "%q is not a serial number: it has %d characters, Apple's have %d to %d.",
			clip(s), n, MinSerial, MaxSerial).At("serial")
	}
	for _, r := range trimmed {
		// Before the letters are made capital: Unicode has others (ſ, ı) whose capitals are S and I.
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return "", Errorf(SerialInvalid, "%q is not a serial number: %q is neither a letter A–Z nor a digit.", clip(s), r).At("serial")
		}
	}
	return strings.ToUpper(trimmed), nil
}

// plainSerial reports whether a serial number is in that spelling already, as nearly all are.
func plainSerial(s string) bool {
	if len(s) < MinSerial || len(s) > MaxSerial {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

func clip(s string) string {
	const most = 40
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}
