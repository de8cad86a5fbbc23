package bulk

import (
	"hash/maphash"
	"math"
	"strings"
	"unicode/utf8"
)

// Duplicates finds the rows of a file that are about one device. Give it all rows by Note, then read the file again and
// have them judged. It keeps some 45 bytes per device and no values.
type Duplicates struct {
	seed  maphash.Seed
	first map[digest]firstRow
	// others are lines that contradict the first row of their device.
	others map[digest]int
}

// digest is 64 bits, in a form that packs tightly. Its seed differs from run to run, so nobody can make two that are alike.
type digest [2]uint32

type firstRow struct {
	says digest
	line uint32
}

// NewDuplicates returns one that knows no rows.
func NewDuplicates() *Duplicates {
	return &Duplicates{seed: maphash.MakeSeed(), first: map[digest]firstRow{}, others: map[digest]int{}}
}

// Note takes note of a row. Rows without a serial number that can be read don't count.
func (d *Duplicates) Note(row Row) {
	if row.Assignment.Serial == "" || row.Line > math.MaxUint32 {
		return
	}
	device, says := d.digest(row.Assignment.Serial), d.said(row.Assignment)
	before, known := d.first[device]
	switch {
	case !known:
		d.first[device] = firstRow{says: says, line: uint32(row.Line)}
	case before.says != says && d.others[device] == 0:
		d.others[device] = row.Line
	}
}

// Judge tells a row what the others say of its device: one that says the same again gets a notice; when two say different
// things, all rows of the device fail.
func (d *Duplicates) Judge(row *Row) {
	if row.Assignment.Serial == "" {
		return
	}
	device := d.digest(row.Assignment.Serial)
	before, known := d.first[device]
	other, contradicted := d.others[device]
	switch {
	case !known:
	case contradicted && d.said(row.Assignment) == before.says:
		row.Contradicts(other)
	case contradicted:
		row.Contradicts(int(before.line))
	case int(before.line) != row.Line:
		row.Repeats(int(before.line))
	}
}

func (d *Duplicates) digest(s string) digest {
	sum := maphash.String(d.seed, s)
	return digest{uint32(sum), uint32(sum >> 32)}
}

func (d *Duplicates) said(a Assignment) digest {
	var room [256]byte
	return d.digest(string(a.AppendSaid(room[:0])))
}

// AppendSaid appends all that an assignment says, letter case aside: people, groups and addresses are the same in any. Two
// append the same when they say the same.
func (a *Assignment) AppendSaid(b []byte) []byte {
	for _, value := range [...]string{a.User.Name, a.User.Domain, a.User.Email, a.OwnedBy} {
		b = appendLower(b, value)
	}
	for _, g := range a.Groups {
		b = appendLower(b, g)
	}
	return b
}

func appendLower(b []byte, value string) []byte {
	from := len(b)
	b = append(b, value...)
	for i, c := range b[from:] {
		switch {
		case c >= utf8.RuneSelf:
			b = append(b[:from], strings.ToLower(value)...)
			return append(b, 0)
		case 'A' <= c && c <= 'Z':
			b[from+i] = c + 'a' - 'A'
		}
	}
	return append(b, 0) // no value has it inside
}
