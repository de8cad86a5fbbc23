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
	if addr, err := mail.ParseAddress(p.Email); err != nil || addr.Address != p.Email {
		return p, Errorf(Invalid, "%q is not an e-mail address.", clip(p.Email)).At("email")
	}
	return p, nil
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
