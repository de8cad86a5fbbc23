package directory_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// zylker is the settings of the real Active Directory.
func zylker(t *testing.T) (directory.LDAPConfig, *directories.Samba) {
	t.Helper()
	ad := directorytest.ActiveDirectory(t)
	return adConfig(ad), ad
}

func adConfig(ad *directories.Samba) directory.LDAPConfig {
	return directory.LDAPConfig{
		Kind: directory.ActiveDirectory, Domain: directories.Domain, URLs: []string{ad.URL},
		Trust: directory.Trust{CA: ad.CA}, BaseDN: directories.BaseDN,
	}
}

func directoriesOf(t *testing.T, all ...directory.LDAPConfig) *directory.Directories {
	t.Helper()
	d, err := directory.NewDirectories(directory.OnPremises, all...)
	require.NoError(t, err)
	return d
}

const (
	drivers = "CN=Drivers,CN=Users,DC=zylker,DC=example"
	staff   = "CN=Staff,CN=Users,DC=zylker,DC=example"
)

// R49, R50.
func TestRightPasswordTellsWhoItIs(t *testing.T) {
	config, ad := zylker(t)
	nested := config
	nested.NestedGroups = true
	startTLS := config
	startTLS.URLs, startTLS.StartTLS = []string{ad.PlainURL}, true
	byUPN := config
	byUPN.BindTemplate = "{user}@zylker.example"

	for name, c := range map[string]struct {
		config  directory.LDAPConfig
		account string
		groups  []string
	}{
		"LDAPS":                   {config, `ZYLKER\andrew`, []string{drivers}},
		"StartTLS":                {startTLS, `ZYLKER\andrew`, []string{drivers}},
		"another spelling":        {config, ` zylker\ANDREW `, []string{drivers}},
		"groups in groups":        {nested, `ZYLKER\andrew`, []string{drivers, staff}},
		"user principal name":     {byUPN, `ZYLKER\andrew`, []string{drivers}},
		"the first server is off": {failover(t, config), `ZYLKER\andrew`, []string{drivers}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := directoriesOf(t, c.config).SignIn(t.Context(), c.account, ad.Password)
			require.NoError(t, err)
			require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", p.Subject)
			require.Equal(t, directory.Person{
				Name: "andrew", Domain: "ZYLKER", DisplayName: "Andrew Fuller", Email: "andrew@zylker.com", Groups: c.groups, Subject: p.Subject,
			}, p)
		})
	}
}

func failover(t *testing.T, config directory.LDAPConfig) directory.LDAPConfig {
	t.Helper()
	config.URLs = append([]string{"ldaps://" + nobodyListens}, config.URLs...)
	return config
}

// Each refusal has its code and its sentence, and none lets anybody in.
func TestActiveDirectoryRefuses(t *testing.T) {
	config, ad := zylker(t)
	d := directoriesOf(t, config)
	const wrong = "The user name or the password is wrong."
	for _, c := range []struct {
		account, password string
		code              provision.Code
		says              string
	}{
		{`ZYLKER\andrew`, "wrong", provision.SignInRefused, wrong},
		{`ZYLKER\nobody`, ad.Password, provision.SignInRefused, wrong},
		{`ZYLKER\andrew`, "", provision.SignInRefused, wrong},
		{`ZYLKER\andrew`, "\x00" + ad.Password, provision.SignInRefused, wrong},
		{`ZYLKER\andrew`, strings.ToUpper(ad.Password), provision.SignInRefused, wrong},
		{`ZYLKER\andrew@zylker.example`, ad.Password, provision.SignInRefused, wrong},
		{`ZYLKER\disabled`, "wrong", provision.SignInRefused, wrong},
		{`ZYLKER\disabled`, ad.Password, provision.AccountDisabled, `The account ZYLKER\disabled is disabled. Ask your administrator.`},
		{`ZYLKER\expired`, ad.Password, provision.AccountExpired, `The account ZYLKER\expired has expired. Ask your administrator.`},
		{`ZYLKER\stale`, ad.Password, provision.PasswordExpired, `The password of ZYLKER\stale has expired. Set a new one on another device of your organisation, then sign in again.`},
		{`ZYLKER\mustchange`, ad.Password, provision.PasswordMustChange, `The password of ZYLKER\mustchange must be changed first. Do that on another device of your organisation, then sign in again.`},
		{`ZYLKER\nohours`, ad.Password, provision.AccountRestricted, `The account ZYLKER\nohours may not sign in at this time, or not from here. Ask your administrator.`},
		{`ZYLKER\elsewhere`, ad.Password, provision.AccountRestricted, `The account ZYLKER\elsewhere may not sign in at this time, or not from here. Ask your administrator.`},
		{`ZYLKER\nomail`, ad.Password, provision.EmailMissing, `The directory has no e-mail address for ZYLKER\nomail. Ask your administrator to enter it.`},
		{`OTHER\andrew`, ad.Password, provision.DomainUnknown, `There is no sign-in for the domain "OTHER"; check the part in front of the backslash.`},
		{`andrew`, ad.Password, provision.AccountFormat, `Write the user name as DOMAIN\user, with the domain and a backslash in front.`},
		{`andrew@zylker.com`, ad.Password, provision.AccountFormat, `Write the user name as DOMAIN\user, with the domain and a backslash in front.`},
	} {
		p, err := d.SignIn(t.Context(), c.account, c.password)
		refused(t, c.code, p, err)
		require.Equal(t, c.says, told(t, err), c.account)
		require.NotContains(t, err.Error(), ad.Password)
	}
}

// Wrong passwords count; a locked account isn't let in with the right one.
func TestLockoutIsTold(t *testing.T) {
	ad, err := directories.StartSamba(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, ad.Stop()) }()
	l := newLDAP(t, adConfig(ad))
	for range directories.LockedAfter {
		p, err := l.SignIn(t.Context(), directories.Lockable, "wrong")
		refused(t, provision.SignInRefused, p, err)
	}
	p, err := l.SignIn(t.Context(), directories.Lockable, ad.Password)
	refused(t, provision.AccountLocked, p, err)
	require.Equal(t, `The account ZYLKER\lockable is locked after too many wrong passwords. Wait a while, or ask your administrator to unlock it.`, told(t, err))
}

// What would change a filter or a name, if it weren't refused and escaped.
var injections = []string{
	`*`, `*)(uid=*`, `*)(objectClass=*`, `andrew)(|(objectClass=*`, `andrew)(&`, `and*`, `\2a`, `\61ndrew`, "andrew\x00", "\x00", `andrew\`,
	`andrew,CN=Users`, `CN=Andrew Fuller,CN=Users,DC=zylker,DC=example`, `OTHER\andrew`, `../andrew`, `andrew;DROP TABLE people`, "andrew\r\n", "andr\u200bew", "\xff\xfe",
	strings.Repeat("a", 129), `"andrew"`, `<andrew>`, `andrew|whoami`, `andrew=`, `andrew+sn=Fuller`, ``, ` `,
}

func TestInjectionsAreRefused(t *testing.T) {
	config, ad := zylker(t)
	d, l := directoriesOf(t, config), newLDAP(t, config)
	for _, user := range injections {
		if strings.TrimSpace(user) != "andrew" { // what is around a whole account is trimmed
			p, err := d.SignIn(t.Context(), `ZYLKER\`+user, ad.Password)
			refused(t, provision.AccountFormat, p, err)
			require.Contains(t, told(t, err), directory.AccountForm)
		}
		p, err := l.SignIn(t.Context(), user, ad.Password)
		refused(t, provision.AccountFormat, p, err)
	}
	for _, account := range []string{`*\andrew`, `\andrew`, `ZYLKER)(\andrew`, "ZYL\x00KER\\andrew", `ZYLKER\`, `\`, ``, "\xff\\andrew", strings.Repeat("Z", 65) + `\andrew`} {
		p, err := d.SignIn(t.Context(), account, ad.Password)
		refused(t, provision.AccountFormat, p, err)
	}
}

// The second wall: were such a name let through, the real directory would find nobody by it. But NUL ends a name for Samba, however it
// is escaped: only the first wall keeps that out.
func TestNamesAreEscaped(t *testing.T) {
	config, ad := zylker(t)
	l := newLDAP(t, config)
	conn, err := ldap.DialURL(ad.URL, ldap.DialWithTLSConfig(clientTLS(t, ad.Server)))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Bind(`ZYLKER\andrew`, ad.Password))
	find := func(user string) int {
		found, err := conn.Search(ldap.NewSearchRequest(directories.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
			0, 0, false, l.Filter(user), []string{"cn"}, nil))
		require.NoError(t, err, "%q", user)
		return len(found.Entries)
	}
	require.Equal(t, 1, find("andrew"))
	require.Equal(t, 1, find("andrew\x00"))
	for _, user := range injections {
		if !strings.Contains(user, "\x00") {
			require.Zero(t, find(user), "%q", user)
		}
	}
}

// The settings are wrong, the password isn't: nobody is told that theirs is.
func TestWrongSettingsAreNotAWrongPassword(t *testing.T) {
	config, ad := zylker(t)
	for name, change := range map[string]func(*directory.LDAPConfig){
		"base DN that doesn't exist": func(c *directory.LDAPConfig) { c.BaseDN = "ou=none,dc=zylker,dc=example" },
		"base DN of somebody else":   func(c *directory.LDAPConfig) { c.BaseDN = "dc=other,dc=example" },
		"filter that finds everybody": func(c *directory.LDAPConfig) {
			c.UserFilter = "(|(sAMAccountName={user})(objectClass=user))"
		},
		"filter that finds two":           func(c *directory.LDAPConfig) { c.UserFilter = "(|(sAMAccountName={user})(sAMAccountName=stale))" },
		"filter that finds somebody else": func(c *directory.LDAPConfig) { c.UserFilter = "(&(sAMAccountName=stale)(!(cn={user})))" },
		"unencrypted, which is refused": func(c *directory.LDAPConfig) {
			c.URLs, c.InsecurePlain = []string{ad.PlainURL}, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := config
			change(&c)
			p, err := newLDAP(t, c).SignIn(t.Context(), "andrew", ad.Password)
			refused(t, provision.DirectoryInvalid, p, err)
			require.Equal(t, "The directory of ZYLKER is set up wrong here, so nobody can sign in. Tell your administrator.", told(t, err))
		})
	}
	config.UserFilter = "(&(sAMAccountName={user})(memberOf=" + staff + "))"
	p, err := newLDAP(t, config).SignIn(t.Context(), "andrew", ad.Password)
	refused(t, provision.AccountRestricted, p, err)
}

func TestManySignInsAtOnce(t *testing.T) {
	config, ad := zylker(t)
	l := newLDAP(t, config)
	noLeaks(t)
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			password, code := ad.Password, provision.Code("")
			if n%2 == 1 {
				password, code = fmt.Sprint("wrong", n), provision.SignInRefused
			}
			p, err := l.SignIn(t.Context(), "andrew", password)
			assert.Equal(t, code, provision.CodeOf(err))
			assert.Equal(t, err == nil, p.Name == "andrew")
		})
	}
	all.Wait()
}
