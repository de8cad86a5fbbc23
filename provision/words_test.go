package provision_test

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

func TestParseSerial(t *testing.T) {
	for _, c := range []struct{ in, want, why string }{
		{"C07Q853LG9RM", "C07Q853LG9RM", ""},
		{"  c07q853lg9rm\t", "C07Q853LG9RM", ""},
		{"\u00a0C07Q853LG9RM\u00a0", "C07Q853LG9RM", ""},
		{"12345678", "12345678", ""},
		{"ABCDEFGHIJKLMN", "ABCDEFGHIJKLMN", ""},
		{"", "", "has 0 characters"},
		{"1234567", "", "has 7 characters"},
		{"ABCDEFGHIJKLMNO", "", "has 15 characters"},
		{"C07Q853L-9RM", "", `'-' is neither`},
		{"C07Q853L G9RM", "", `' ' is neither`},
		{"ſ07Q853LG9RM", "", `'ſ' is neither`}, // its capital letter is S
		{"Ü07Q853LG9R", "", `'Ü' is neither`},
		{strings.Repeat("Ü", 10), "", `'Ü' is neither`},
		{strings.Repeat("A", 5000), "", "has 5000 characters"},
	} {
		got, err := provision.ParseSerial(c.in)
		if c.why == "" {
			require.NoError(t, err, "%q", c.in)
			require.Equal(t, c.want, got)
			continue
		}
		require.ErrorContains(t, err, c.why, "%q", c.in)
		require.Equal(t, provision.SerialInvalid, provision.CodeOf(err))
		require.Less(t, utf8.RuneCountInString(err.Error()), 200)
		var e *provision.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "serial", e.Field)
	}
}

var serialForm = regexp.MustCompile(`^[A-Z0-9]{8,14}$`)

func FuzzParseSerial(f *testing.F) {
	for _, s := range []string{"C07Q853LG9RM", " c07q853lg9rm ", "", "DNPX-1", "\xff\xfe1234567", "ſſſſſſſſ", strings.Repeat("9", 15)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		serial, err := provision.ParseSerial(s)
		if err != nil {
			require.Equal(t, provision.SerialInvalid, provision.CodeOf(err))
			require.Empty(t, serial)
			return
		}
		require.Regexp(t, serialForm, serial)
		again, err := provision.ParseSerial(serial)
		require.NoError(t, err)
		require.Equal(t, serial, again)
	})
}

func TestCheckPerson(t *testing.T) {
	p, err := provision.CheckPerson(provision.Person{Name: " ANDREW ", Email: " andrew@zylker.com "})
	require.NoError(t, err)
	require.Equal(t, provision.Person{Name: "ANDREW", Domain: provision.DefaultDomain, Email: "andrew@zylker.com"}, p)

	p, err = provision.CheckPerson(provision.Person{Name: "A", Domain: " ZYLKER ", Email: "a@b.c"})
	require.NoError(t, err)
	require.Equal(t, "ZYLKER", p.Domain)

	for field, bad := range map[string]provision.Person{
		"name":  {Name: " \t", Email: "a@b.c"},
		"email": {Name: "A", Email: "Andrew <a@b.c>"},
	} {
		_, err := provision.CheckPerson(bad)
		var e *provision.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, field, e.Field)
		require.Equal(t, provision.Invalid, e.Code)
	}
	for _, email := range []string{"", "andrew", "a@", "@b", "a b@c.d", "a@b.c, d@e.f"} {
		_, err := provision.CheckPerson(provision.Person{Name: "A", Email: email})
		require.Equal(t, provision.Invalid, provision.CodeOf(err), "%q", email)
	}
}

// The short cut for addresses of the usual form takes none that the standard doesn't, and refuses none that it does.
func TestCheckEmailAgreesWithTheStandard(t *testing.T) {
	alphabet := rapid.StringOfN(rapid.SampledFrom([]rune("aZ9.-_@ \"+ü<>")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := strings.TrimSpace(alphabet.Draw(t, "address"))
		addr, err := mail.ParseAddress(s)
		email, refused := provision.CheckEmail(" " + s + "\t")
		require.Equal(t, err == nil && addr.Address == s, refused == nil, "%q", s)
		require.Equal(t, s, email)
	})
}

func TestCheckNames(t *testing.T) {
	name, err := provision.CheckGroupName("  Zylker drivers ")
	require.NoError(t, err)
	require.Equal(t, "Zylker drivers", name)
	longest := strings.Repeat("ü", provision.MaxGroupName)
	name, err = provision.CheckGroupName(longest)
	require.NoError(t, err)
	require.Equal(t, longest, name)

	for _, bad := range []string{"", " ", "a/b", "a\x00b", "a\nb", "a\x7fb", longest + "x"} {
		_, err := provision.CheckGroupName(bad)
		require.Equal(t, provision.GroupNameInvalid, provision.CodeOf(err), "%q", bad)
		_, err = provision.CheckItemName(bad)
		require.Equal(t, provision.Invalid, provision.CodeOf(err), "%q", bad)
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	err := fmt.Errorf("assigning: %w", provision.Errorf(provision.GroupNotFound, "group %q does not exist", "x"))
	require.Equal(t, provision.GroupNotFound, provision.CodeOf(err))
	require.Equal(t, provision.Internal, provision.CodeOf(errors.New("boom")))
	require.Equal(t, provision.Code(""), provision.CodeOf(nil))

	plain := provision.Errorf(provision.Invalid, "no")
	require.Equal(t, "name", plain.At("name").Field)
	require.Empty(t, plain.Field, "At leaves the original alone")
}

func TestComplete(t *testing.T) {
	for name, c := range map[string]struct {
		a    *provision.Assignment
		want bool
	}{
		"none":                   {nil, false},
		"empty":                  {&provision.Assignment{}, false},
		"user":                   {&provision.Assignment{UserID: "u"}, true},
		"technician":             {&provision.Assignment{TechnicianID: "t"}, true},
		"groups alone":           {&provision.Assignment{Groups: []string{"g"}}, false},
		"groups where they do":   {&provision.Assignment{Groups: []string{"g"}, Requirement: provision.RequireUserOrG}, true},
		"nothing where group do": {&provision.Assignment{Requirement: provision.RequireUserOrG}, false},
	} {
		require.Equal(t, c.want, c.a.Complete(), name)
	}
}
