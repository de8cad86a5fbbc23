package enroll_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/store"
)

// idp is a provider that signs in whom a test says, without asking them.
func (s *school) idp() *mockoidc.MockOIDC {
	s.t.Helper()
	m, err := mockoidc.Run()
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, m.Shutdown()) })
	s.putDirectory(provider(m, &m.ClientSecret))
	return m
}

func provider(m *mockoidc.MockOIDC, secret *string) intake.DirectoryWish {
	return intake.DirectoryWish{
		Name: "entra", Description: "Entra ID", Kind: directory.OpenIDConnect, Domain: "CLOUD", Secret: secret,
		Settings: intake.DirectorySettings{
			Issuer: m.Issuer(), ClientID: m.ClientID, Scopes: []string{"profile", "email", "groups"}, InsecurePlain: true,
		},
		Groups: []store.DirectoryGroup{{DirectoryGroup: "Drivers", Group: "zylker_drivers"}},
	}
}

func clouded(verified bool) *mockoidc.MockUser {
	return &mockoidc.MockUser{
		Subject: "00u1", PreferredUsername: "andrew", Email: "andrew@zylker.com", EmailVerified: verified, Groups: []string{"Drivers", "drivers"},
	}
}

// follower follows the first link that leads to a provider, until a page has none or says what is wrong.
type follower struct{ page sim.Page }

func (f *follower) Use(_ context.Context, p sim.Page) (sim.Move, error) {
	f.page = p
	if len(p.Links) == 0 || strings.Contains(p.URL, enroll.ReturnPath) {
		return sim.Move{}, errGaveUp
	}
	return sim.Move{Link: p.Links[0].URL}, nil
}

func TestSigningInAtAProvider(t *testing.T) {
	s := buildSchool(t, assigning())
	s.idp().QueueUser(clouded(true))
	s.listed(serial)
	f := &follower{}
	require.NoError(t, s.used(serial, f).PowerOn(t.Context(), s))
	require.Equal(t, "Sign in with Entra ID", f.page.Links[0].Text)
	require.Len(t, f.page.Forms, 1, "name and password are offered, too")
	require.Equal(t, "CLOUD andrew andrew@zylker.com", s.userOf(serial))
	require.Equal(t, []string{"zylker_drivers"}, s.device(serial).Assignment.Groups)
	require.Contains(t, s.log.Take(), "directory=entra fact=assigned")
}

func TestProviderThatDoesNotLetIn(t *testing.T) {
	s := buildSchool(t, assigning())
	m := s.idp()
	s.listed(serial)
	before := s.untouched()
	v := s.view()
	v.open(s.virtual(serial)).says(t, 200, "Sign in with Entra ID")

	m.QueueUser(clouded(false))
	v.atProvider(t).says(t, 200, "e-mail address")
	m.QueueUser(clouded(true))
	back := v.leave(t)
	v.do(http.MethodGet, withQuery(back, "state", "another"), "").says(t, 200, "Sign in again")
	v.do(http.MethodGet, back, "").says(t, 200, "This sign-in is over") // what was begun is used once, even by a wrong answer
	back = v.leave(t)
	v.do(http.MethodGet, withQuery(withQuery(back, "code", ""), "error", "access_denied"), "").says(t, 200, "did not let you in")
	require.Equal(t, before, s.untouched())

	m.QueueUser(clouded(true))
	require.True(t, v.atProvider(t).isProfile())
	require.Equal(t, "CLOUD andrew andrew@zylker.com", s.userOf(serial))
}

// An answer that was meant for one web view is of no use in another.
func TestProviderAnswerBelongsToItsVisit(t *testing.T) {
	s := buildSchool(t, assigning())
	m := s.idp()
	s.listed(serial)
	s.listed(other)
	mine, theirs := s.view(), s.view()
	mine.open(s.virtual(serial))
	theirs.open(s.virtual(other, func(c *sim.Config) { c.Seed = 8 }))
	m.QueueUser(clouded(true))
	back := mine.leave(t)
	theirs.do(http.MethodGet, back, "").says(t, 200, "This sign-in is over")
	theirs.leave(t)
	theirs.do(http.MethodGet, back, "").says(t, 200, "doesn&#39;t belong to a sign-in")
	require.Nil(t, s.device(other).Assignment)
	require.True(t, mine.do(http.MethodGet, back, "").isProfile())
}

func TestProviderThatIsDown(t *testing.T) {
	s := buildSchool(t, assigning())
	m := s.idp()
	s.listed(serial)
	gone := provider(m, &m.ClientSecret)
	gone.Settings.Issuer = "http://127.0.0.1:1"
	s.putDirectory(gone)
	v := s.view()
	v.open(s.virtual(serial))
	v.do(http.MethodGet, enroll.SignInPath+"/with?directory=entra", "").says(t, 200, "The identity provider can&#39;t be reached at the moment.")
	v.do(http.MethodGet, enroll.SignInPath+"/with?directory=zylker", "").says(t, 200, "Signing in doesn&#39;t work here")
	v.do(http.MethodGet, enroll.SignInPath+"/with?directory=none", "").says(t, 200, "Signing in doesn&#39;t work here")
	require.True(t, v.submit(andrewAccount, s.slapd.Password).isProfile(), "there is another way")
}

// A HEAD request has no answer that a profile could be in, so it signs nobody in.
func TestAskingForTheHeadOfAPageDoesNothing(t *testing.T) {
	s := buildSchool(t, assigning())
	m := s.idp()
	s.listed(serial)
	v := s.view()
	v.open(s.virtual(serial))
	m.QueueUser(clouded(true))
	back := v.leave(t)
	before := s.untouched()
	for _, path := range []string{back, enroll.SignInPath, enroll.SignInPath + "/with?directory=entra"} {
		head := v.do(http.MethodHead, path, "")
		require.Equal(t, 405, head.status)
		require.Equal(t, "GET, POST", head.header.Get("Allow"))
	}
	require.Equal(t, before, s.untouched())
	require.True(t, v.do(http.MethodGet, back, "").isProfile())
}

// The secret is never handed to another provider than it is of.
func TestSecretOfAProviderStaysItsOwn(t *testing.T) {
	s := buildSchool(t, assigning())
	m := s.idp()
	stored := s.text(`SELECT encode(secret, 'escape') FROM directories WHERE name = 'entra'`)
	require.NotContains(t, stored, m.ClientSecret)
	s.putDirectory(provider(m, nil))
	require.Equal(t, stored, s.text(`SELECT encode(secret, 'escape') FROM directories WHERE name = 'entra'`))

	another := provider(m, nil)
	another.Settings.Issuer = "http://127.0.0.1:1"
	_, _, err := s.cases.PutDirectory(t.Context(), another, store.Edit{})
	require.Equal(t, provision.DirectoryInvalid, provision.CodeOf(err))
	require.ErrorContains(t, err, "client secret")
}

// R51, R52.
func TestEditionDecidesWhereToSignIn(t *testing.T) {
	s := buildSchool(t, provision.SignInPolicy{}, func(c *choices) { c.intake.Edition = directory.CloudMSP })
	wish := s.ldap()
	wish.Kind = directory.ActiveDirectory
	_, _, err := s.cases.PutDirectory(t.Context(), wish, store.Edit{})
	require.Equal(t, provision.EditionRefuses, provision.CodeOf(err))
	s.exec(`UPDATE directories SET kind = 'active_directory'`) // of another edition that ran before
	s.listed(serial)
	s.view().open(s.virtual(serial)).says(t, 200, "Nobody can sign in here yet.")
	tested, err := s.cases.TestDirectory(t.Context(), "zylker", nil)
	require.NoError(t, err)
	require.Equal(t, provision.EditionRefuses, tested.Problems[0].Code)
}

// activeDirectory is the school's directory where that is a real domain controller.
func activeDirectory(ad *directories.Samba) intake.DirectoryWish {
	return intake.DirectoryWish{
		Name: "zylker", Kind: directory.ActiveDirectory, Domain: directories.Domain,
		Settings: intake.DirectorySettings{URLs: []string{ad.URL}, CA: ad.CA, BaseDN: directories.BaseDN, NestedGroups: true, Timeout: 5 * time.Second},
		Groups:   []store.DirectoryGroup{{DirectoryGroup: "cn=staff,cn=users,dc=zylker,dc=example", Group: "zylker_all"}},
	}
}

// R49 with a real Active Directory: whoever isn't let in reads why, and gets neither profile nor assignment.
func TestActiveDirectoryOnThePage(t *testing.T) {
	ad, err := directories.StartSamba(t.Context(), nil) // an account gets locked
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ad.Stop()) })
	stranger, err := directories.NewAuthority()
	require.NoError(t, err)
	s := buildSchool(t, assigning())
	s.listed(serial)
	const unreachable = "The directory of ZYLKER can&#39;t be asked at the moment. That says nothing about your password"
	cases := []struct {
		name, account, password string
		change                  func(*intake.DirectoryWish)
		says, code              string
	}{
		{"wrong password", andrewAccount, "wrong", nil, "The user name or the password is wrong.", "sign_in_refused"},
		{"disabled", `ZYLKER\disabled`, "right", nil, "The account ZYLKER\\disabled is disabled.", "account_disabled"},
		{"expired account", `ZYLKER\expired`, "right", nil, "The account ZYLKER\\expired has expired.", "account_expired"},
		{"expired password", `ZYLKER\stale`, "right", nil, "has expired", "password_expired"},
		{"must change", `ZYLKER\mustchange`, "right", nil, "must be changed first", "password_must_change"},
		{"outside of its hours", `ZYLKER\nohours`, "right", nil, "may not sign in at this time", "account_restricted"},
		{"first try", `ZYLKER\lockable`, "wrong", nil, "is wrong", "sign_in_refused"},
		{"second try", `ZYLKER\lockable`, "wrong", nil, "is wrong", "sign_in_refused"},
		{"third try", `ZYLKER\lockable`, "wrong", nil, "is wrong", "sign_in_refused"},
		{"locked", `ZYLKER\lockable`, "right", nil, "The account ZYLKER\\lockable is locked", "account_locked"},
		{"unknown domain", `OTHER\andrew`, "right", nil, "OTHER", "domain_unknown"},
		{"bare name", "andrew", "right", nil, `Write the user name as DOMAIN\user`, "account_format"},
		{"injection", `ZYLKER\*)(sAMAccountName=andrew`, "right", nil, "which no account has", "account_format"},
		{"server down", andrewAccount, "right", func(w *intake.DirectoryWish) { w.Settings.URLs = []string{"ldaps://127.0.0.1:1"} }, unreachable, "directory_unavailable"},
		{"certificate of nobody that is trusted", andrewAccount, "right", func(w *intake.DirectoryWish) { w.Settings.CA = stranger.PEM }, unreachable, "directory_unavailable"},
	}
	cart := sim.Serials(12, len(cases)) // one device would soon have used up its tries
	for _, one := range cart {
		s.listed(one)
	}
	before := s.untouched()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			wish := activeDirectory(ad)
			if c.change != nil {
				c.change(&wish)
			}
			s.putDirectory(wish)
			if c.password == "right" {
				c.password = ad.Password
			}
			v := s.view()
			v.open(s.virtual(cart[i])).says(t, 200, "<h1>Sign in</h1>")
			s.log.Take()
			answer := v.submit(c.account, c.password)
			answer.says(t, 200, c.says)
			require.False(t, answer.isProfile())
			log := s.log.Take()
			require.Contains(t, log, "code="+c.code)
			require.NotContains(t, log+string(answer.body), ad.Password)
			require.Equal(t, before, s.untouched())
		})
	}
	s.putDirectory(activeDirectory(ad))
	require.NoError(t, s.used(serial, &sim.Credentials{Account: andrewAccount, Password: ad.Password}).PowerOn(t.Context(), s))
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
	require.Equal(t, []string{"zylker_all"}, s.device(serial).Assignment.Groups, "by a group of a group")
}

// leave goes to the provider's page and returns where that leads back to.
func (v *view) leave(t *testing.T) string {
	t.Helper()
	to := v.do(http.MethodGet, enroll.SignInPath+"/with?directory=entra", "")
	require.Equal(t, http.StatusSeeOther, to.status)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to.header.Get("Location"), http.NoBody)
	require.NoError(t, err)
	resp, err := v.client.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	back, err := resp.Location()
	require.NoError(t, err)
	require.Equal(t, v.s.server.URL+enroll.ReturnPath, back.Scheme+"://"+back.Host+back.Path)
	return back.RequestURI()
}

func (v *view) atProvider(t *testing.T) reply {
	t.Helper()
	return v.do(http.MethodGet, v.leave(t), "")
}

func withQuery(uri, name, value string) string {
	u, err := url.Parse(uri)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.RequestURI()
}
