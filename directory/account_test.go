package directory_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// R50.
func TestParseAccount(t *testing.T) {
	for text, want := range map[string][2]string{
		`ZYLKER\andrew`:                     {"ZYLKER", "andrew"},
		" ZYLKER\\andrew\t\n":               {"ZYLKER", "andrew"},
		`zylker.com\andrew.fuller`:          {"zylker.com", "andrew.fuller"},
		`ZYL-KER_2\O'Brien & Söhne`:         {"ZYL-KER_2", "O'Brien & Söhne"},
		`ZYLKER\andrew@zylker.com`:          {"ZYLKER", "andrew@zylker.com"},
		`ЗУЛКЕР\андрей`:                     {"ЗУЛКЕР", "андрей"},
		`Z\` + strings.Repeat("ö", 128):     {"Z", strings.Repeat("ö", 128)},
		strings.Repeat("Z", 64) + `\andrew`: {strings.Repeat("Z", 64), "andrew"},
		`ZYLKER\DOMAIN`:                     {"ZYLKER", "DOMAIN"},
		`ZYLKER\$host-1$`:                   {"ZYLKER", "$host-1$"},
	} {
		domain, user, err := directory.ParseAccount(text)
		require.NoError(t, err, text)
		require.Equal(t, want, [2]string{domain, user})
	}
	for _, text := range []string{``, `andrew`, `andrew@zylker.com`, `ZYLKER/andrew`, `\andrew`, `ZYLKER\`, `ZYLKER\ andrew`, `ZYLKER \andrew`, `A\B\C`, "Z\\a\x00b"} {
		_, _, err := directory.ParseAccount(text)
		require.Equal(t, provision.AccountFormat, provision.CodeOf(err), text)
		require.Contains(t, told(t, err), `DOMAIN\user`)
		var rule *provision.Error
		require.ErrorAs(t, err, &rule)
		require.Equal(t, "account", rule.Field)
	}
}

// Whatever is let through has one form, and nothing in it that means something to a directory.
func FuzzParseAccount(f *testing.F) {
	for _, text := range append([]string{`ZYLKER\andrew`, `andrew`, "Z\\\u202eandrew"}, injections...) {
		f.Add(text)
		f.Add(`ZYLKER\` + text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		domain, user, err := directory.ParseAccount(text)
		if err != nil {
			require.Equal(t, provision.AccountFormat, provision.CodeOf(err))
			require.Empty(t, domain+user)
			return
		}
		require.Equal(t, strings.TrimSpace(text), domain+`\`+user)
		require.True(t, utf8.ValidString(domain+user))
		require.NotContains(t, domain, `\`)
		require.False(t, strings.ContainsAny(user, "\x00*()\\/\"[]:;|=,+?<>"))
		require.False(t, strings.ContainsFunc(domain+user, unicode.IsControl))
		require.LessOrEqual(t, utf8.RuneCountInString(user), 128)
		again, same, err := directory.ParseAccount(domain + `\` + user)
		require.NoError(t, err)
		require.Equal(t, [2]string{domain, user}, [2]string{again, same})
	})
}
