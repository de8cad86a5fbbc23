package provision

import (
	"net/mail"
	"strings"
)

// DefaultDomain is a user's domain when none is given (R36).
const DefaultDomain = "MDM"

// Person is a user or technician as people know them. Persons live in the store; facts and workflows carry ids only.
type Person struct {
	ID     string
	Name   string
	Domain string
	Email  string
	// Technician may stand in for a user on kiosks and shared devices (R21).
	Technician bool
}

// CheckPerson returns the person with blanks trimmed and the domain defaulted. It fails with [Invalid] and the field
// when the name is empty or the address is none.
func CheckPerson(p Person) (Person, error) {
	p.Name, p.Domain, p.Email = strings.TrimSpace(p.Name), strings.TrimSpace(p.Domain), strings.TrimSpace(p.Email)
	if p.Name == "" {
		return p, Errorf(Invalid, "The user has no name; give one.").At("name")
	}
	if p.Domain == "" {
		p.Domain = DefaultDomain
	}
	var err error
	p.Email, err = CheckEmail(p.Email)
	return p, err
}

// CheckEmail returns the trimmed address. It fails with [Invalid] when it is none.
func CheckEmail(email string) (string, error) {
	email = strings.TrimSpace(email)
	if plainEmail(email) {
		return email, nil
	}
	if addr, err := mail.ParseAddress(email); err != nil || addr.Address != email {
		return email, Errorf(Invalid, "%q is not an e-mail address.", clip(email)).At("email")
	}
	return email, nil
}

// plainEmail reports whether an address is of the usual form: dots between letters, digits, "-" and "_". RFC 5322, by
// which the others are judged, allows much more and takes ten times as long, which counts in files of a million.
func plainEmail(s string) bool {
	const other, dot, at = 0, 1, 2
	ats, last := 0, dot
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_':
			last = other
			continue
		case last != other:
			return false
		case c == '.':
			last = dot
		case c == '@':
			ats++
			last = at
		default:
			return false
		}
	}
	return ats == 1 && last == other
}

// MaxGroupName is the longest group name in characters.
const MaxGroupName = 100

// CheckGroupName returns the trimmed name. It fails with [GroupNameInvalid]: "/" separates groups in CSV files (R38),
// so no name can contain it.
func CheckGroupName(name string) (string, error) {
	return checkName(name, GroupNameInvalid, "group")
}

// CheckItemName is [CheckGroupName] for configurations and apps, with [Invalid].
func CheckItemName(name string) (string, error) {
	return checkName(name, Invalid, "item")
}

func checkName(name string, code Code, what string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", Errorf(code, "The %s has no name; give one.", what).At("name")
	case len([]rune(name)) > MaxGroupName:
		return "", Errorf(code, "The %s name is longer than %d characters.", what, MaxGroupName).At("name")
	case strings.Contains(name, "/"):
		return "", Errorf(code, "The %s name %q contains \"/\", which separates names; use another character.", what, clip(name)).At("name")
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return "", Errorf(code, "The %s name %q contains a control character.", what, clip(name)).At("name")
		}
	}
	return name, nil
}
