package directory_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

func ldapConfig() directory.LDAPConfig {
	return directory.LDAPConfig{
		Kind: directory.ActiveDirectory, Domain: "ZYLKER", URLs: []string{"ldaps://dc1.zylker.com", "ldaps://[2001:db8::1]:1636/"}, BaseDN: "dc=zylker,dc=com",
	}
}

// fields are those that the error names; the code is the same for all.
func fields(t *testing.T, err error) []string {
	t.Helper()
	var all directory.SettingsError
	require.ErrorAs(t, err, &all)
	var named []string
	for _, mistake := range all {
		require.Equal(t, provision.DirectoryInvalid, mistake.Code)
		require.Regexp(t, `^[A-Z%"l].*\.$`, mistake.Message)
		require.Contains(t, err.Error(), mistake.Message)
		named = append(named, mistake.Field)
	}
	return named
}

func TestCheckNamesEachMistake(t *testing.T) {
	require.NoError(t, ldapConfig().Check())
	for name, c := range map[string]struct {
		change func(*directory.LDAPConfig)
		fields []string
	}{
		"everything": {func(c *directory.LDAPConfig) {
			*c = directory.LDAPConfig{}
		}, []string{"kind", "domain", "urls", "base_dn", "bind_template"}},
		"kind":              {func(c *directory.LDAPConfig) { c.Kind = directory.OpenIDConnect; c.BindTemplate = "{user}" }, []string{"kind"}},
		"domain":            {func(c *directory.LDAPConfig) { c.Domain = `ZYL KER` }, []string{"domain"}},
		"no LDAP":           {func(c *directory.LDAPConfig) { c.URLs = []string{"https://dc1", "dc1", "ldaps://", "ldaps://%"} }, []string{"urls[0]", "urls[1]", "urls[2]", "urls[3]"}},
		"too much in it":    {func(c *directory.LDAPConfig) { c.URLs = []string{"ldaps://a:b@dc1", "ldaps://dc1/dc=zylker"} }, []string{"urls[0]", "urls[1]"}},
		"unencrypted":       {func(c *directory.LDAPConfig) { c.URLs = []string{"ldap://dc1"} }, []string{"urls[0]"}},
		"base DN":           {func(c *directory.LDAPConfig) { c.BaseDN = "zylker.com" }, []string{"base_dn"}},
		"no base DN":        {func(c *directory.LDAPConfig) { c.BaseDN = "" }, []string{"base_dn"}},
		"template for all":  {func(c *directory.LDAPConfig) { c.BindTemplate = "cn=admin,dc=zylker" }, []string{"bind_template"}},
		"template of no DN": {func(c *directory.LDAPConfig) { c.BindTemplate = "uid={user},people" }, []string{"bind_template"}},
		"filter for all":    {func(c *directory.LDAPConfig) { c.UserFilter = "(objectClass=user)" }, []string{"user_filter"}},
		"no filter":         {func(c *directory.LDAPConfig) { c.UserFilter = "(uid={user}" }, []string{"user_filter"}},
		"attribute":         {func(c *directory.LDAPConfig) { c.EmailAttribute = "mail)(" }, []string{"email_attribute"}},
		"nested in plain": {func(c *directory.LDAPConfig) {
			c.Kind = directory.PlainLDAP
			c.BindTemplate = "uid={user}"
			c.NestedGroups = true
		}, []string{"nested_groups"}},
		"time-out":            {func(c *directory.LDAPConfig) { c.Timeout = -time.Second }, []string{"timeout"}},
		"CA that is none":     {func(c *directory.LDAPConfig) { c.CA = "certificate" }, []string{"ca"}},
		"CA file that isn't":  {func(c *directory.LDAPConfig) { c.CAFile = "/nowhere/ca.pem" }, []string{"ca_file"}},
		"CA given twice":      {func(c *directory.LDAPConfig) { c.CA, c.CAFile = "a", "b" }, []string{"ca_file"}},
		"CA file of no PEM":   {func(c *directory.LDAPConfig) { c.CAFile = os.DevNull }, []string{"ca_file"}},
		"several at one time": {func(c *directory.LDAPConfig) { c.Timeout = -1; c.BaseDN = "x" }, []string{"base_dn", "timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := ldapConfig()
			c.change(&config)
			require.Equal(t, c.fields, fields(t, config.Check()))
			_, err := directory.NewLDAP(config)
			require.Equal(t, config.Check(), err)
		})
	}
}

func TestUnencryptedMustBeMeant(t *testing.T) {
	config := ldapConfig()
	config.URLs = []string{"ldap://dc1.zylker.com"}
	require.ErrorContains(t, config.Check(), "would send passwords unencrypted")
	config.StartTLS = true
	require.NoError(t, config.Check())
	config.StartTLS, config.InsecurePlain = false, true
	require.NoError(t, config.Check())
}

func TestAuthorityMayBeAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, []byte(authority(t).PEM), 0o600))
	config := ldapConfig()
	config.CAFile = file
	require.NoError(t, config.Check())
	_, err := directory.NewLDAP(config)
	require.NoError(t, err)
}

func TestSeveralDomains(t *testing.T) {
	other := ldapConfig()
	other.Domain = "Acme"
	d, err := directory.NewDirectories(directory.OnPremises, ldapConfig(), other)
	require.NoError(t, err)
	require.Equal(t, []string{"Acme", "ZYLKER"}, d.Domains())

	other.Domain = "zylker"
	_, err = directory.NewDirectories(directory.OnPremises, ldapConfig(), other)
	require.Equal(t, []string{"domain"}, fields(t, err))
	other.URLs = nil
	_, err = directory.NewDirectories(directory.OnPremises, ldapConfig(), other)
	require.Equal(t, []string{"urls"}, fields(t, err))
	require.ErrorContains(t, err, "directory 2")
}

// R51, R52 as ruled: only cloud_msp, and only Active Directory.
func TestEditions(t *testing.T) {
	kinds := []directory.Kind{directory.ActiveDirectory, directory.PlainLDAP, directory.OpenIDConnect}
	for _, edition := range []directory.Edition{directory.OnPremises, directory.Cloud, directory.OnPremisesMSP, directory.CloudMSP} {
		for _, kind := range kinds {
			want := provision.Code("")
			if edition == directory.CloudMSP && kind == directory.ActiveDirectory {
				want = provision.EditionRefuses
			}
			require.Equal(t, want, provision.CodeOf(directory.Permits(edition, kind)), "%s %s", edition, kind)
		}
	}
	require.Equal(t, provision.Invalid, provision.CodeOf(directory.Permits("cloudy", directory.PlainLDAP)))
	require.Equal(t, provision.Invalid, provision.CodeOf(directory.Permits(directory.Cloud, "")))
	_, err := directory.NewDirectories(directory.CloudMSP, ldapConfig())
	require.Equal(t, provision.EditionRefuses, provision.CodeOf(err))
	plain := ldapConfig()
	plain.Kind, plain.BindTemplate = directory.PlainLDAP, "uid={user},dc=zylker,dc=com"
	_, err = directory.NewDirectories(directory.CloudMSP, plain)
	require.NoError(t, err)
}
