package directory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// zylkerLDAP is the settings of the real OpenLDAP server.
func zylkerLDAP(t *testing.T) (directory.LDAPConfig, *directories.Slapd) {
	t.Helper()
	s := directorytest.OpenLDAP(t)
	return plainConfig(s), s
}

func plainConfig(s *directories.Slapd) directory.LDAPConfig {
	return directory.LDAPConfig{
		Kind: directory.PlainLDAP, Domain: directories.Domain, URLs: []string{s.URL}, Trust: directory.Trust{CA: s.CA},
		BaseDN: directories.BaseDN, BindTemplate: "uid={user}," + directories.PeopleDN,
	}
}

func TestPlainLDAPTellsWhoItIs(t *testing.T) {
	config, s := zylkerLDAP(t)
	startTLS := config
	startTLS.URLs, startTLS.StartTLS = []string{s.PlainURL}, true
	for name, c := range map[string]directory.LDAPConfig{"LDAPS": config, "StartTLS": startTLS} {
		t.Run(name, func(t *testing.T) {
			d := directoriesOf(t, c)
			require.NoError(t, d.Test(t.Context(), "zylker"))
			p, err := d.SignIn(t.Context(), `zylker\Andrew`, s.Password)
			require.NoError(t, err)
			require.Len(t, p.Subject, 36)
			require.Equal(t, directory.Person{
				Name: "andrew", Domain: "ZYLKER", DisplayName: "Andrew Fuller", Email: "andrew@zylker.com", Subject: p.Subject,
				Groups: []string{"cn=cyclists,dc=zylker,dc=example", "cn=drivers,dc=zylker,dc=example"},
			}, p)
		})
	}
	// A posixGroup names its members by exactly that spelling.
	p, err := newLDAP(t, config).SignIn(t.Context(), "andrew", s.Password)
	require.NoError(t, err)
	require.Equal(t, []string{"cn=cyclists,dc=zylker,dc=example", "cn=drivers,dc=zylker,dc=example", "cn=staff,dc=zylker,dc=example"}, p.Groups)
}

func TestPlainLDAPRefuses(t *testing.T) {
	config, s := zylkerLDAP(t)
	l := newLDAP(t, config)
	for _, c := range []struct {
		user, password string
		code           provision.Code
	}{
		{"andrew", "wrong", provision.SignInRefused},
		{"nobody", s.Password, provision.SignInRefused},
		{"andrew", "", provision.SignInRefused},
		{"nomail", s.Password, provision.EmailMissing},
		{"stale", s.Password, provision.PasswordExpired},
		{"mustchange", s.Password, provision.PasswordMustChange}, // the bind succeeds
	} {
		p, err := l.SignIn(t.Context(), c.user, c.password)
		refused(t, c.code, p, err)
	}
	for _, user := range injections {
		p, err := l.SignIn(t.Context(), user, s.Password)
		refused(t, provision.AccountFormat, p, err)
	}
}

func TestLockoutIsToldByPasswordPolicy(t *testing.T) {
	s, err := directories.StartSlapd(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	l := newLDAP(t, plainConfig(s))
	// They are tries of one account, so whoever counts tries must take these names for one.
	for _, spelling := range []string{directories.Lockable, "LOCKABLE", "ｌockable"}[:directories.LockedAfter] {
		p, err := l.SignIn(t.Context(), spelling, "wrong")
		refused(t, provision.SignInRefused, p, err)
	}
	p, err := l.SignIn(t.Context(), directories.Lockable, s.Password)
	refused(t, provision.AccountLocked, p, err)
}

func TestWrongSettingsOfPlainLDAP(t *testing.T) {
	config, s := zylkerLDAP(t)
	for name, change := range map[string]func(*directory.LDAPConfig){
		"OpenLDAP knows no DOMAIN\\user":  func(c *directory.LDAPConfig) { c.BindTemplate = `{domain}\{user}` },
		"unencrypted, which is refused":   func(c *directory.LDAPConfig) { c.URLs, c.InsecurePlain = []string{s.PlainURL}, true },
		"filter that finds somebody else": func(c *directory.LDAPConfig) { c.UserFilter = "(&(uid=nomail)(!(cn={user})))" },
	} {
		t.Run(name, func(t *testing.T) {
			c := config
			change(&c)
			p, err := newLDAP(t, c).SignIn(t.Context(), "andrew", s.Password)
			refused(t, provision.DirectoryInvalid, p, err)
		})
	}
	config.BindTemplate = "uid={user},ou=nowhere,dc=zylker,dc=example"
	p, err := newLDAP(t, config).SignIn(t.Context(), "andrew", s.Password)
	refused(t, provision.SignInRefused, p, err) // a server that hides what exists can't say more
}

// What a name becomes in a distinguished name is one value, whatever is in it.
func TestNamesAreEscapedInDistinguishedNames(t *testing.T) {
	config, _ := zylkerLDAP(t)
	l := newLDAP(t, config)
	require.Equal(t, `uid=andrew,ou=people,dc=zylker,dc=example`, l.BindName("andrew"))
	require.Equal(t, `uid=a\,ou=x\+\"\00,ou=people,dc=zylker,dc=example`, l.BindName("a,ou=x+\"\x00"))
	require.Equal(t, `uid={domain},ou=people,dc=zylker,dc=example`, l.BindName("{domain}"), "what a person types isn't a template")
	require.Equal(t, `(uid=\2a\29\28uid=\2a)`, l.Filter("*)(uid=*"))
}

// R48 asks for a working directory.
func TestTestSaysWhatIsWrong(t *testing.T) {
	ad, samba := zylker(t)
	plain, _ := zylkerLDAP(t)
	require.NoError(t, newLDAP(t, ad).Test(t.Context()))
	require.NoError(t, newLDAP(t, plain).Test(t.Context()))
	misnamed := func(c directory.LDAPConfig, kind directory.Kind) directory.LDAPConfig {
		c.Kind, c.BindTemplate = kind, "uid={user},dc=zylker,dc=example"
		return c
	}
	based := func(c directory.LDAPConfig, base string) directory.LDAPConfig {
		c.BaseDN = base
		return c
	}
	for name, c := range map[string]struct {
		config directory.LDAPConfig
		says   string
	}{
		"an Active Directory as plain LDAP": {misnamed(ad, directory.PlainLDAP), "This is an Active Directory: set the kind to active_directory."},
		"plain LDAP as Active Directory":    {misnamed(plain, directory.ActiveDirectory), "This is no Active Directory: set the kind to ldap."},
		"another domain's base DN":          {based(plain, "dc=other,dc=example"), "The base DN dc=other,dc=example is not in this directory, which holds dc=zylker,dc=example."},
		"base DN that isn't there":          {based(plain, "ou=none,dc=zylker,dc=example"), "The base DN ou=none,dc=zylker,dc=example does not exist; the nearest that does is dc=zylker,dc=example."},
		"another domain's base DN in AD":    {based(ad, "dc=other,dc=example"), "The base DN dc=other,dc=example is not in this directory, which holds DC=zylker,DC=example and CN=Configuration,DC=zylker,DC=example and CN=Schema,CN=Configuration,DC=zylker,DC=example."},
	} {
		t.Run(name, func(t *testing.T) {
			err := newLDAP(t, c.config).Test(t.Context())
			require.Equal(t, provision.DirectoryInvalid, provision.CodeOf(err))
			require.Equal(t, c.config.URLs[0]+": "+c.says, told(t, err))
		})
	}
	// Active Directory tells strangers no more of what is below.
	require.NoError(t, newLDAP(t, based(ad, "ou=none,dc=zylker,dc=example")).Test(t.Context()))
	ad.URLs = append(ad.URLs, "ldaps://"+nobodyListens)
	require.ErrorContains(t, newLDAP(t, ad).Test(t.Context()), "the connection is refused")
	require.Equal(t, provision.DomainUnknown, provision.CodeOf(directoriesOf(t, plain).Test(t.Context(), "OTHER")))
	require.NotEmpty(t, samba.Password)
}
