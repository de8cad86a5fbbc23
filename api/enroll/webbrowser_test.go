package enroll_test

import (
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/browsertest"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// To look at the pages: go test ./api/enroll -run Browser -args -screenshots FOLDER.
var screenshots = flag.String("screenshots", "", "folder to write pictures of the pages to")

// views are the screens on which people sign in. A web view of Setup Assistant on an iPad is a sheet, on a phone all of it.
var views = map[string]browsertest.View{
	"iphone":           {Width: 320, Height: 568},
	"iphone-dark":      {Width: 320, Height: 568, Dark: true},
	"iphone-large":     {Width: 320, Height: 568, Text: 32},
	"iphone-scripts":   {Width: 390, Height: 844, Scripts: true},
	"ipad":             {Width: 820, Height: 1180},
	"ipad-dark":        {Width: 1180, Height: 820, Dark: true},
	"ipad-large":       {Width: 744, Height: 1133, Text: 32},
	"iphone-landscape": {Width: 568, Height: 320},
}

// lookedAt is a page in a browser.
type lookedAt struct {
	*browsertest.Tab
	t    *testing.T
	name string
	url  string
}

// arrive opens the page as the web view of a device does, which says who it is with its first request.
func (l lookedAt) arrive(s *school) {
	l.t.Helper()
	info, err := s.virtual(serial).MachineInfo()
	require.NoError(l.t, err)
	l.Go(l.url+enroll.SignInPath, map[string]string{"x-apple-aspen-deviceinfo": base64.StdEncoding.EncodeToString(info)})
}

// isWell checks what people see, and keeps a picture.
func (l lookedAt) isWell(page string) {
	l.t.Helper()
	if *screenshots != "" {
		require.NoError(l.t, os.WriteFile(filepath.Join(*screenshots, l.name+"-"+page+".png"), l.Screenshot(), 0o600))
	}
	require.Empty(l.t, l.Faults(), page)
	for _, u := range l.Requests() {
		require.True(l.t, strings.HasPrefix(u, l.url+"/enroll/"), "the page asks for %s", u)
	}
}

// reads finds what is read of the first element of a role, with a name unless that is "".
func (l lookedAt) reads(role, name string) browsertest.Element {
	l.t.Helper()
	all := l.Read()
	for _, e := range all {
		if e.Role == role && (name == "" || e.Name == name) {
			return e
		}
	}
	l.t.Fatalf("no %s %q is read: %+v", role, name, all)
	return browsertest.Element{}
}

// focused is reads for what has, or soon gets, the focus: a browser gives it after the page is there.
func (l lookedAt) focused(role, name string) browsertest.Element {
	l.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); ; {
		if e := l.reads(role, name); e.Focused {
			return e
		}
		select {
		case <-tick.C:
		case <-end:
			l.t.Fatalf("the %s %q never gets the focus: %+v", role, name, l.Read())
		}
	}
}

// R69: the page in a real browser, on all screens, for people who see it and people who don't, without scripts.
func TestSigningInWithABrowser(t *testing.T) {
	b := browsertest.Start(t)
	for name, view := range views {
		t.Run(name, func(t *testing.T) {
			s := buildSchool(t, assigning())
			s.listed(serial)
			l := lookedAt{Tab: b.Open(t, view), t: t, name: name, url: s.server.URL}
			l.arrive(s)
			l.isWell("arrived")
			require.Equal(t, "Sign in – Zylker", l.reads("RootWebArea", "").Name)
			require.Equal(t, "Sign in", l.reads("heading", "").Name)
			account := l.focused("textbox", "User name") // people can type at once
			require.Equal(t, `Write it as ZYLKER\user.`, account.Description)
			require.True(t, account.Required)
			require.False(t, account.Invalid)
			require.Empty(t, l.FocusFaults(), "on the name")
			l.Tabulate()
			l.focused("textbox", "Password")
			require.Empty(t, l.FocusFaults(), "on the password")
			l.Tabulate()
			l.focused("button", "Sign in")
			require.Empty(t, l.FocusFaults(), "on the button")

			l.wrong(s)
			l.Type("password", s.slapd.Password)
			require.Equal(t, profileMedia, l.Press("button"))
			require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
		})
	}
}

// wrong types what is refused, next to where it was typed.
func (l lookedAt) wrong(s *school) {
	l.t.Helper()
	l.Type("account", "andrew")
	l.Type("password", s.slapd.Password)
	require.Equal(l.t, "text/html", l.Press("button"))
	l.isWell("bare-name")
	said := `Write the user name as DOMAIN\user, with the domain and a backslash in front.`
	account := l.focused("textbox", "User name")
	require.True(l.t, account.Invalid)
	require.Contains(l.t, account.Description, said)
	require.Equal(l.t, "andrew", account.Value, "nobody types it twice")
	l.announced(said)
	require.Empty(l.t, l.reads("textbox", "Password").Value)

	l.Type("account", andrewAccount)
	l.Type("password", "wrong")
	require.Equal(l.t, "text/html", l.Press("button"))
	l.isWell("wrong-password")
	said = "The user name or the password is wrong."
	password := l.focused("textbox", "Password")
	require.True(l.t, password.Invalid)
	require.Contains(l.t, password.Description, said)
	require.Equal(l.t, andrewAccount, l.reads("textbox", "User name").Value)
	l.announced(said)
	require.Empty(l.t, l.FocusFaults())
}

// announced: it is read at once, wherever the focus is.
func (l lookedAt) announced(text string) {
	l.t.Helper()
	l.reads("alert", "")
	require.Contains(l.t, l.Alerts(), text)
}

// The other pages: a choice of ways with long names, an alert above the form, and the end.
func TestOtherPagesInABrowser(t *testing.T) {
	b := browsertest.Start(t)
	for _, name := range []string{"iphone", "iphone-dark", "iphone-large", "ipad"} {
		t.Run(name, func(t *testing.T) {
			s := buildSchool(t, assigning())
			s.listed(serial)
			s.exec(`UPDATE device_profiles SET fields = fields || '{"support_email_address": "the-help-desk-of-all-schools@department-of-education.zylker.example.com"}'`)
			s.putDirectory(intake.DirectoryWish{
				Name: "entra", Description: "Donaudampfschifffahrtsgesellschaftskapitänsmützen-Konto", Kind: directory.OpenIDConnect,
				Settings: intake.DirectorySettings{Issuer: "https://login.example.com", ClientID: "muster"},
			})
			l := lookedAt{Tab: b.Open(t, views[name]), t: t, name: name, url: s.server.URL}
			l.arrive(s)
			l.isWell("choice")
			require.NotEmpty(t, l.reads("link", "Sign in with Donaudampfschifffahrtsgesellschaftskapitänsmützen-Konto"))

			l.Type("account", `ZYLKER\`+directories.Nomail)
			l.Type("password", s.slapd.Password)
			require.Equal(t, "text/html", l.Press("button"))
			l.isWell("alert")
			l.announced("The directory has no e-mail address for ZYLKER\\nomail.")
			l.focused("textbox", "User name")

			s.listed(serial, provision.Fact{Kind: provision.HoldRequest, Reason: "display is being replaced"})
			l.Type("password", s.slapd.Password)
			require.Equal(t, "text/html", l.Press("button"))
			l.isWell("stop")
			require.Equal(t, "This iPad can’t be set up now", l.reads("heading", "").Name)
			l.announced("display is being replaced")
		})
	}
}

// Names are not words: a device must not write them with a capital, nor correct them.
func TestFieldsAreTypedAsTheyAre(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	page := string(s.view().open(s.virtual(serial)).body)
	require.Regexp(t, `<input type="text" id="account"[^>]* autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false"`, page)
	require.Regexp(t, `<input type="password" id="password"[^>]* autocomplete="current-password"`, page)
}
