package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// Directories are the directories that people sign in to with name and password, one for each domain. It is safe for concurrent use.
type Directories struct{ byDomain map[string]*LDAP }

// NewDirectories makes them for an edition. It fails with [provision.EditionRefuses], or a [SettingsError].
func NewDirectories(edition Edition, all ...LDAPConfig) (*Directories, error) {
	d := &Directories{byDomain: map[string]*LDAP{}}
	for n, config := range all {
		if err := Permits(edition, config.Kind); err != nil {
			return nil, err
		}
		l, err := NewLDAP(config)
		if err != nil {
			return nil, fmt.Errorf("directory %d: %w", n+1, err)
		}
		domain := fold(config.Domain)
		if d.byDomain[domain] != nil {
			return nil, SettingsError{provision.Errorf(provision.DirectoryInvalid, "Two directories have the domain %s.", config.Domain).At("domain")}
		}
		d.byDomain[domain] = l
	}
	return d, nil
}

// fold makes spellings of a domain equal.
func fold(domain string) string { return strings.ToLower(domain) }

// Domains lists the domains as they are spelled in the settings, sorted.
func (d *Directories) Domains() []string {
	var all []string
	for _, l := range d.byDomain {
		all = append(all, l.config.Domain)
	}
	slices.Sort(all)
	return all
}

// SignIn is [LDAP.SignIn] for an account written as DOMAIN\user, whose domain chooses the directory. It fails also with
// [provision.AccountFormat] and [provision.DomainUnknown].
func (d *Directories) SignIn(ctx context.Context, account, password string) (Person, error) {
	domain, user, err := ParseAccount(account)
	if err != nil {
		return Person{}, err
	}
	l, err := d.of(domain)
	if err != nil {
		return Person{}, err
	}
	return l.SignIn(ctx, user, password)
}

// Test is [LDAP.Test] for the directory of a domain.
func (d *Directories) Test(ctx context.Context, domain string) error {
	l, err := d.of(domain)
	if err != nil {
		return err
	}
	return l.Test(ctx)
}

// of doesn't say which domains there are: whoever asks hasn't signed in yet.
func (d *Directories) of(domain string) (*LDAP, error) {
	l := d.byDomain[fold(domain)]
	if l == nil {
		return nil, provision.Errorf(provision.DomainUnknown, "There is no sign-in for the domain %q; check the part in front of the backslash.", domain).At("account")
	}
	return l, nil
}
