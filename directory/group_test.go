package directory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/directory"
)

func TestMemberOf(t *testing.T) {
	p := directory.Person{Groups: []string{"CN=Drivers,OU=Groups,DC=zylker,DC=com", "Staff", `CN=Küche\, oben,DC=zylker,DC=com`}}
	for group, want := range map[string]bool{
		"CN=Drivers,OU=Groups,DC=zylker,DC=com":    true,
		"cn=drivers, ou=groups, dc=ZYLKER, dc=com": true,
		`cn=küche\2c oben,dc=zylker,dc=com`:        true,
		"cn=drivers,dc=zylker,dc=com":              false,
		"cn=drivers":                               false,
		"Drivers":                                  false,
		"":                                         false,
		"Staff":                                    true,
		"staff":                                    false,
	} {
		require.Equal(t, want, p.MemberOf(directory.ActiveDirectory, group), group)
	}
	require.False(t, p.MemberOf(directory.OpenIDConnect, "cn=drivers, ou=groups, dc=ZYLKER, dc=com"))
	require.True(t, p.MemberOf(directory.OpenIDConnect, "Staff"))
}

func TestCheckGroup(t *testing.T) {
	require.NoError(t, directory.CheckGroup(directory.PlainLDAP, "cn=drivers,dc=zylker,dc=com"))
	require.NoError(t, directory.CheckGroup(directory.OpenIDConnect, "drivers"))
	for kind, group := range map[directory.Kind]string{directory.PlainLDAP: "drivers", directory.ActiveDirectory: "", directory.OpenIDConnect: ""} {
		require.ErrorContains(t, directory.CheckGroup(kind, group), "group", kind)
	}
	require.ErrorContains(t, directory.CheckGroup(directory.ActiveDirectory, "Drivers"), "distinguished name")
}
