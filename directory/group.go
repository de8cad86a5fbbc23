package directory

import (
	"github.com/go-ldap/ldap/v3"
)

// CheckGroup fails with a [SettingsError] when a directory of the kind can't have a group of that name.
func CheckGroup(kind Kind, group string) error {
	var m SettingsError
	switch dn, err := ldap.ParseDN(group); {
	case group == "":
		m.add("directory_group", "The directory's group has no name; give one.")
	case kind != OpenIDConnect && (err != nil || len(dn.RDNs) == 0):
		m.add("directory_group", "%.100q is not a distinguished name; write it like cn=Drivers,ou=groups,dc=zylker,dc=com.", group)
	}
	return m.orNil()
}

// MemberOf reports whether the directory, of that kind, says that the person is in a group. Distinguished names are compared as
// LDAP does, whatever their case and blanks; names of other groups letter by letter.
func (p Person) MemberOf(kind Kind, group string) bool {
	wanted, err := ldap.ParseDN(group)
	for _, has := range p.Groups {
		if has == group {
			return true
		}
		if kind == OpenIDConnect || err != nil {
			continue
		}
		if dn, err := ldap.ParseDN(has); err == nil && dn.EqualFold(wanted) {
			return true
		}
	}
	return false
}
