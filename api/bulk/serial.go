package bulk

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/muster-mdm/muster/provision"
)

// scientific is what spreadsheets make of a serial number of digits, or of digits around an E.
var scientific = regexp.MustCompile(`^[0-9]([.,][0-9]+)?[eE]\+[0-9]+$`)

func takeSerial(r *Row, value string) {
	serial, err := provision.ParseSerial(value)
	if err == nil {
		r.Assignment.Serial = serial
		if serial != value {
			r.notice(SerialNumber, SerialLowerCase, "%s is written %s; it was read as %s.", SerialNumber, value, serial)
		}
		return
	}
	if scientific.MatchString(value) {
		r.fault(SerialNumber, SerialScientific, "%s is %q: a spreadsheet took it for a number and lost its digits. Make the column text, and enter it anew.",
			SerialNumber, value)
		return
	}
	for _, c := range value {
		if meant, ok := lookalike(c); ok {
			r.fault(SerialNumber, SerialLookalike, "%s is %q, with %q (U+%04X, %s) in the place of %c; type it anew.",
				SerialNumber, clip(value), c, c, origin(c), meant)
			return
		}
	}
	r.fault(SerialNumber, provision.CodeOf(err), "%v", err)
}

// lookalikes pairs letters of other scripts with the Latin capitals that they are taken for.
var lookalikes = pairs("АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT УY ХX ԚQ ԜW ҮY Һh аA еE кK оO рP сC уY хX ѕS іI јJ ԛQ ԝW " +
	"ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX ϹC αA ιI κK νV οO ρP " +
	"ՏS Օ0 ՍU օO սU ıI ſS ꓐB ꓑP ꓓD ꓔT ꓖG ꓗK ꓙJ ꓚC ꓜZ ꓝF ꓟM ꓠN ꓡL ꓢS ꓣR ꓦV ꓧH ꓪW ꓫX ꓬY ꓮA ꓰE ꓲI ꓳO ꓴU")

func pairs(list string) map[rune]rune {
	m := map[rune]rune{}
	for _, pair := range strings.Fields(list) {
		r := []rune(pair)
		m[r[0]] = unicode.ToUpper(r[1])
	}
	return m
}

// lookalike returns the letter or digit of ASCII that a character is easily taken for.
func lookalike(r rune) (meant rune, ok bool) {
	if meant, ok = lookalikes[r]; ok {
		return meant, true
	}
	if r >= '！' && r <= '～' { // full-width forms stand in ASCII's order
		meant = r - '！' + '!'
		return meant, meant < utf8.RuneSelf && (unicode.IsLetter(meant) || unicode.IsDigit(meant))
	}
	return digit(r)
}

// digit returns the ASCII digit for one of another script.
func digit(r rune) (meant rune, ok bool) {
	if r < utf8.RuneSelf || !unicode.Is(unicode.Nd, r) {
		return 0, false
	}
	// Unicode keeps a script's ten digits together, zero first; those of several scripts may adjoin, in whole tens.
	first := r
	for unicode.Is(unicode.Nd, first-1) {
		first--
	}
	return '0' + (r-first)%10, true
}

// origin says where a character comes from.
func origin(r rune) string {
	if r >= '！' && r <= '～' {
		return "full-width"
	}
	for name, table := range unicode.Scripts {
		if name != "Common" && unicode.Is(table, r) {
			return name
		}
	}
	return "not Latin"
}
