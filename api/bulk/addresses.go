package bulk

import (
	"strings"
	"unicode/utf8"
)

// addresses finds people whom a file gives several e-mail addresses. A person is a domain and a name, so rows about two people
// of one name make one of them, and only one address can stay. Of files with very many people it knows the most: it takes a
// megabyte, however many there are, and says the same of the same file wherever that is read.
type addresses struct {
	known []remembered
	// first is the line and name the user of the first row that gives another address than one before, rows how many do.
	first int
	name  string
	rows  int
}

// remembered is a person, by a part of a hash, and a hash of the address; zero = nobody.
type remembered struct{ person, address uint32 }

// room for people is a power of two.
const roomForPeople = 1 << 17

// note takes note of a row that isn't in error.
func (a *addresses) note(row *Row) {
	if a.known == nil {
		a.known = make([]remembered, roomForPeople)
	}
	const offset = 14695981039346656037
	u := &row.Assignment.User
	person := fnv(fnv(offset, u.Domain), u.Name)
	is := remembered{uint32(person >> 32), uint32(fnv(offset, u.Email) >> 32)}
	switch at := &a.known[person%roomForPeople]; {
	case *at == remembered{}:
		*at = is
	case at.person == is.person && at.address != is.address:
		if a.rows++; a.first == 0 {
			a.first, a.name = row.Line, clip(u.Name)
		}
	}
}

// fnv goes on hashing with a text, letter case aside (FNV-1a: quick on a few letters). Who makes two texts alike by it gets a notice
// too many.
func fnv(h uint64, text string) uint64 {
	const prime = 1099511628211
	begin := h
	for i := range len(text) {
		c := text[i]
		if c >= utf8.RuneSelf {
			return fnvOf(begin, strings.ToLower(text))
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * prime
	}
	return h * prime // so that "a", "b" isn't "ab"
}

func fnvOf(h uint64, text string) uint64 {
	const prime = 1099511628211
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	return h * prime
}

func (a *addresses) notice() (Problem, bool) {
	if a.rows == 0 {
		return Problem{}, false
	}
	return fileProblem(a.first, Notice, EmailDiffers, "Rows give %q another e-mail address than rows before, from this line on (%d rows give somebody another one). Who has the same name and domain is one person, with one address; are they two, give them different names or domains.", a.name, a.rows), true
}
