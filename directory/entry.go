package directory

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/muster-mdm/muster/provision"
)

// The attributes that are read.
const (
	attributeDisplayName = "displayName"
	attributeCommonName  = "cn"
	attributeMemberOf    = "memberOf"
	attributeUPN         = "userPrincipalName"
)

// nameAttribute holds the account's name.
func (c LDAPConfig) nameAttribute() string {
	if c.Kind == ActiveDirectory {
		return "sAMAccountName"
	}
	return "uid"
}

// idAttribute holds what stays the same for the entry's life.
func (c LDAPConfig) idAttribute() string {
	if c.Kind == ActiveDirectory {
		return "objectGUID"
	}
	return "entryUUID"
}

// read reads who has bound.
func (l *LDAP) read(conn *ldap.Conn, user string) (Person, error) {
	entry, err := l.find(conn, user)
	if err != nil {
		return Person{}, err
	}
	groups, err := l.groups(conn, entry, user)
	if err != nil {
		return Person{}, fmt.Errorf("reading the person's groups: %w", err)
	}
	p := Person{
		Name:        orElse(entry.GetEqualFoldAttributeValue(l.config.nameAttribute()), user),
		Domain:      l.config.Domain,
		DisplayName: orElse(entry.GetEqualFoldAttributeValue(attributeDisplayName), entry.GetEqualFoldAttributeValue(attributeCommonName)),
		Email:       strings.TrimSpace(entry.GetEqualFoldAttributeValue(l.config.EmailAttribute)),
		Groups:      groups,
		Subject:     l.subject(entry),
	}
	if p.Email == "" {
		return Person{}, provision.Errorf(provision.EmailMissing,
			`The directory has no e-mail address for %s\%s. Ask your administrator to enter it.`, p.Domain, p.Name)
	}
	return p, nil
}

// find finds the entry of the account that has bound, and no other.
func (l *LDAP) find(conn *ldap.Conn, user string) (*ldap.Entry, error) {
	attributes := []string{
		l.config.nameAttribute(), l.config.idAttribute(), l.config.EmailAttribute,
		attributeDisplayName, attributeCommonName, attributeMemberOf, attributeUPN,
	}
	const two = 2 // enough to see that one isn't alone
	result, err := conn.Search(ldap.NewSearchRequest(
		l.config.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, two, 0, false, l.config.filter(user), attributes, nil,
	))
	if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return nil, fmt.Errorf("looking for the user's entry: %w", err)
	}
	switch {
	case len(result.Entries) == 0:
		return nil, because(l.say(saying{provision.AccountRestricted, saysRestricted}, user),
			fmt.Errorf("no entry below %s fits the user filter", l.config.BaseDN))
	case len(result.Entries) > 1:
		return nil, fmt.Errorf("more than one entry fits the user filter: %w", errMisfit)
	case !l.config.isBound(result.Entries[0], user):
		return nil, fmt.Errorf("the user filter finds somebody else than who has bound: %w", errMisfit)
	}
	return result.Entries[0], nil
}

// isBound reports whether the entry is that of the account whose password was proved. A filter of the settings' own could find another.
func (c LDAPConfig) isBound(entry *ldap.Entry, user string) bool {
	name := c.bindName(user)
	if c.bindsByDN() {
		bound, err := ldap.ParseDN(name)
		if err != nil {
			return false
		}
		found, err := ldap.ParseDN(entry.DN)
		return err == nil && bound.EqualFold(found)
	}
	return strings.EqualFold(entry.GetEqualFoldAttributeValue(c.nameAttribute()), user) ||
		strings.EqualFold(entry.GetEqualFoldAttributeValue(attributeUPN), name)
}

// groups are those that the entry names, and those that name the entry: servers other than Active Directory may know but one of them.
func (l *LDAP) groups(conn *ldap.Conn, entry *ldap.Entry, user string) ([]string, error) {
	groups := slices.Clone(entry.GetEqualFoldAttributeValues(attributeMemberOf))
	filter := l.config.groupFilter(entry.DN, user)
	if filter == "" {
		slices.Sort(groups)
		return slices.Compact(groups), nil
	}
	const page = 500
	result, err := conn.SearchWithPaging(ldap.NewSearchRequest(
		l.config.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{noAttributes}, nil,
	), page)
	if err != nil {
		return nil, err
	}
	for _, group := range result.Entries {
		groups = append(groups, group.DN)
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// noAttributes asks for entries' names only (RFC 4511, 4.5.1.8).
const noAttributes = "1.1"

// groupFilter is "" where the entry itself tells all. The number is LDAP_MATCHING_RULE_IN_CHAIN of [MS-ADTS] 3.1.1.3.4.4.
func (c LDAPConfig) groupFilter(dn, user string) string {
	dn, user = ldap.EscapeFilter(dn), ldap.EscapeFilter(user)
	switch {
	case c.Kind == PlainLDAP:
		return "(|(&(objectClass=groupOfNames)(member=" + dn + "))(&(objectClass=groupOfUniqueNames)(uniqueMember=" + dn + "))" +
			"(&(objectClass=posixGroup)(memberUid=" + user + ")))"
	case c.NestedGroups:
		return "(member:1.2.840.113556.1.4.1941:=" + dn + ")"
	}
	return ""
}

func (l *LDAP) subject(entry *ldap.Entry) string {
	raw := entry.GetEqualFoldRawAttributeValue(l.config.idAttribute())
	if l.config.Kind == ActiveDirectory {
		return guid(raw)
	}
	return string(raw)
}

// guid writes an objectGUID as Windows does: the first three groups are little endian ([MS-DTYP] 2.3.4.2).
func guid(raw []byte) string {
	const size = 16
	if len(raw) != size {
		return ""
	}
	b := slices.Clone(raw)
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	parts := []string{hex.EncodeToString(b[0:4]), hex.EncodeToString(b[4:6]), hex.EncodeToString(b[6:8]), hex.EncodeToString(b[8:10]), hex.EncodeToString(b[10:])}
	return strings.Join(parts, "-")
}
