package directory

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// LDAPConfig says how people of one domain are found and let in.
type LDAPConfig struct {
	Kind Kind // ActiveDirectory or PlainLDAP
	// Domain is what people write in front of the backslash; for Active Directory its NetBIOS name.
	Domain string
	// URLs are the domain's servers, each tried until one answers: ldaps://host, or ldap://host with StartTLS.
	URLs     []string
	StartTLS bool
	// InsecurePlain lets passwords go over ldap:// unencrypted.
	InsecurePlain bool
	Trust
	// BaseDN is where people and groups are looked for, below and at it.
	BaseDN string
	// BindTemplate makes the name to bind as out of {domain} and {user}: by default {domain}\{user} for Active Directory. Plain
	// LDAP needs one, such as uid={user},ou=people,dc=zylker,dc=com.
	BindTemplate string
	// UserFilter finds the user's entry by {user}; who isn't found may not sign in. By default a person with that
	// sAMAccountName, for plain LDAP with that uid.
	UserFilter string
	// EmailAttribute is "mail" by default.
	EmailAttribute string
	// NestedGroups tells also the groups that a user's groups are in, at any depth. Active Directory only.
	NestedGroups bool
	// Timeout bounds what is asked of each server; five seconds by default.
	Timeout time.Duration
}

const (
	userVerb   = "{user}"
	domainVerb = "{domain}"

	defaultTimeout = 5 * time.Second
)

func (c LDAPConfig) withDefaults() LDAPConfig {
	if c.Kind == ActiveDirectory {
		c.BindTemplate = orElse(c.BindTemplate, domainVerb+`\`+userVerb)
		c.UserFilter = orElse(c.UserFilter, "(&(objectCategory=person)(objectClass=user)(sAMAccountName="+userVerb+"))")
	} else {
		c.UserFilter = orElse(c.UserFilter, "(uid="+userVerb+")")
	}
	c.EmailAttribute = orElse(c.EmailAttribute, "mail")
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Check returns a [SettingsError] that names all that is wrong, or nil. It asks no server.
func (c LDAPConfig) Check() error { return c.withDefaults().check() }

func (c LDAPConfig) check() error {
	var m SettingsError
	if c.Kind != ActiveDirectory && c.Kind != PlainLDAP {
		m.add("kind", "%.40q is no kind of directory that is asked by LDAP; take active_directory or ldap.", string(c.Kind))
	}
	if c.Domain == "" || checkDomain(c.Domain) != nil {
		m.add("domain", "The domain needs letters, digits, hyphens, underscores or dots, %d at most.", maxDomain)
	}
	c.checkServers(&m)
	c.checkTrust(&m)
	if dn, err := ldap.ParseDN(c.BaseDN); err != nil || len(dn.RDNs) == 0 {
		m.add("base_dn", "%.100q is not a distinguished name; write it like dc=zylker,dc=com.", c.BaseDN)
	}
	c.checkTemplates(&m)
	if !attributeName.MatchString(c.EmailAttribute) {
		m.add("email_attribute", "%.100q is not the name of an attribute.", c.EmailAttribute)
	}
	if c.NestedGroups && c.Kind != ActiveDirectory {
		m.add("nested_groups", "Only an Active Directory can tell nested groups.")
	}
	if c.Timeout < 0 {
		m.add("timeout", "The time-out is negative.")
	}
	return m.orNil()
}

var attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

func (c LDAPConfig) checkServers(m *SettingsError) {
	if len(c.URLs) == 0 {
		m.add("urls", "The directory has no server; give one like ldaps://dc1.zylker.com.")
	}
	for i, text := range c.URLs {
		field := fmt.Sprintf("urls[%d]", i)
		server, err := url.Parse(text)
		switch {
		case err != nil || server.Hostname() == "" || (server.Scheme != "ldap" && server.Scheme != "ldaps"):
			m.add(field, "%.100q is not the address of a directory's server; write it like ldaps://dc1.zylker.com.", text)
		case server.User != nil || strings.Trim(server.Path, "/") != "" || server.RawQuery != "" || server.Fragment != "":
			m.add(field, "The address of %s has more than a host and a port.", server.Host)
		case server.Scheme == "ldap" && !c.StartTLS && !c.InsecurePlain:
			m.add(field, "%s would send passwords unencrypted: use ldaps://, or turn on StartTLS.", text)
		}
	}
}

func (c LDAPConfig) checkTemplates(m *SettingsError) {
	switch {
	case c.BindTemplate == "":
		m.add("bind_template", "Plain LDAP needs a bind template, such as uid={user},ou=people,dc=zylker,dc=com.")
	case !strings.Contains(c.BindTemplate, userVerb):
		m.add("bind_template", "The bind template names no {user}, so everybody would sign in as the same.")
	case c.bindsByDN():
		if _, err := ldap.ParseDN(c.bindName("user")); err != nil {
			m.add("bind_template", "The bind template gives no distinguished name: %v.", err)
		}
	}
	if !strings.Contains(c.UserFilter, userVerb) {
		m.add("user_filter", "The user filter names no {user}, so it finds everybody.")
	} else if _, err := ldap.CompileFilter(c.filter("user")); err != nil {
		m.add("user_filter", "The user filter is not a filter of LDAP: %v.", err)
	}
}

// bindsByDN tells a distinguished name from the other names that Active Directory takes, DOMAIN\user and user@domain.
func (c LDAPConfig) bindsByDN() bool { return strings.Contains(c.BindTemplate, "=") }

func (c LDAPConfig) bindName(user string) string {
	if c.bindsByDN() {
		user = ldap.EscapeDN(user)
	}
	return strings.NewReplacer(userVerb, user, domainVerb, c.Domain).Replace(c.BindTemplate)
}

func (c LDAPConfig) filter(user string) string {
	return strings.NewReplacer(userVerb, ldap.EscapeFilter(user), domainVerb, ldap.EscapeFilter(c.Domain)).Replace(c.UserFilter)
}
