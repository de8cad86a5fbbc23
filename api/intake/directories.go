package intake

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func (s DirectorySettings) server(kind directory.Kind, domain string) directory.LDAPConfig {
	return directory.LDAPConfig{
		Kind: kind, Domain: domain, URLs: s.URLs, StartTLS: s.StartTLS, InsecurePlain: s.InsecurePlain, Trust: directory.Trust{CA: s.CA},
		BaseDN: s.BaseDN, BindTemplate: s.BindTemplate, UserFilter: s.UserFilter, EmailAttribute: s.EmailAttribute,
		NestedGroups: s.NestedGroups, Timeout: s.Timeout,
	}
}

func (s DirectorySettings) provider(domain, secret, back string) directory.OIDCConfig {
	return directory.OIDCConfig{
		Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: secret, RedirectURL: back, Scopes: s.Scopes, Claims: s.Claims,
		Domain: domain, TrustEmail: s.TrustEmail, InsecurePlain: s.InsecurePlain, Trust: directory.Trust{CA: s.CA}, Timeout: s.Timeout,
	}
}

func configOf(d store.Directory) (directory.LDAPConfig, error) {
	s, err := SettingsOf(d)
	return s.server(directory.Kind(d.Kind), d.Domain), err
}

func ldapOf(d store.Directory) (*directory.LDAP, error) {
	config, err := configOf(d)
	if err != nil {
		return nil, err
	}
	return directory.NewLDAP(config)
}

// providers are the OpenID Connect providers that were asked lately, because each must be discovered first.
type providers struct {
	mu   sync.Mutex
	made map[string]madeProvider
}

type madeProvider struct {
	version int64
	*directory.OIDC
}

// provider is the provider of a stored directory.
func (i *Intake) provider(ctx context.Context, d store.Directory) (*directory.OIDC, error) {
	i.providers.mu.Lock()
	made := i.providers.made[d.Name]
	i.providers.mu.Unlock()
	if made.OIDC != nil && made.version == d.Version {
		return made.OIDC, nil
	}
	s, err := SettingsOf(d)
	if err != nil {
		return nil, err
	}
	secret, err := i.db.DirectorySecret(ctx, d.Name)
	if err != nil {
		return nil, err
	}
	o, err := directory.NewOIDC(s.provider(d.Domain, secret, i.settings.SignInReturn))
	if err != nil {
		return nil, err
	}
	i.providers.mu.Lock()
	defer i.providers.mu.Unlock()
	if i.providers.made == nil {
		i.providers.made = map[string]madeProvider{}
	}
	i.providers.made[d.Name] = madeProvider{d.Version, o}
	return o, nil
}

// permitted are the directories that the edition has.
func (i *Intake) permitted(ctx context.Context) ([]store.Directory, error) {
	all, err := i.db.AllDirectories(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(d store.Directory) bool {
		return directory.Permits(i.settings.Edition, directory.Kind(d.Kind)) != nil
	}), nil
}

// byPassword are those that people sign in to with name and password.
func byPassword(all []store.Directory) []store.Directory {
	var some []store.Directory
	for _, d := range all {
		if d.Kind != string(directory.OpenIDConnect) {
			some = append(some, d)
		}
	}
	return some
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sentences are the errors for people in a tree of errors, in their order. An error without any is returned as it is.
func sentences(err error) ([]*provision.Error, error) {
	all := toldIn(err)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	return all, nil
}

func toldIn(err error) []*provision.Error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case *provision.Error:
		return []*provision.Error{e}
	case interface{ Unwrap() []error }:
		var all []*provision.Error
		for _, one := range e.Unwrap() {
			all = append(all, toldIn(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return toldIn(e.Unwrap())
	}
	return nil
}

// allProblems makes one error for people of several.
func allProblems(err error) error {
	all, other := sentences(err)
	if other != nil || len(all) == 0 {
		return err
	}
	first := *all[0]
	first.Others = all[1:]
	return &first
}
