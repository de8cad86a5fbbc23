package enroll_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

const other = "C07Q853LG9RN"

// stranger is a device whose certificate another authority made.
func (s *school) stranger(serial string) *sim.Device {
	s.t.Helper()
	fake, err := sim.NewFactory()
	require.NoError(s.t, err)
	return s.virtual(serial, func(c *sim.Config) { c.Factory = fake })
}

func TestForgedDeviceGetsNoPage(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	before := s.untouched()
	v := s.view()
	v.open(s.stranger(serial)).says(t, 403, "not signed by a device that this server trusts")
	for _, header := range []string{"x", "!!!!", base64.StdEncoding.EncodeToString([]byte("no message"))} {
		v.do(http.MethodGet, enroll.SignInPath, "", "x-apple-aspen-deviceinfo", header).says(t, 403, "not signed")
	}
	require.Empty(t, v.token)
	v.do(http.MethodGet, enroll.SignInPath, "").says(t, 403, "for devices that are being set up")
	v.submit(andrewAccount, s.slapd.Password).says(t, 403, "for devices that are being set up")
	v.do(http.MethodGet, enroll.ReturnPath+"?code=c&state=s", "").says(t, 403, "for devices that are being set up")
	v.do(http.MethodGet, enroll.SignInPath+"/with?directory=zylker", "").says(t, 403, "for devices that are being set up")
	require.Equal(t, before, s.untouched())
	require.Equal(t, "0", s.text(`SELECT count(*)::text FROM sign_in_sessions`))
}

// What one device began is of no use to another.
func TestVisitBelongsToItsDevice(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	s.listed(other)
	mine, theirs := s.virtual(serial), s.virtual(other, func(c *sim.Config) { c.Seed = 8 })
	v := s.view()
	v.open(mine).says(t, 200, "<h1>Sign in</h1>")
	token := v.token

	// The other device with this one's cookie and form: refused.
	info, err := theirs.MachineInfo()
	require.NoError(t, err)
	before := s.untouched()
	header := base64.StdEncoding.EncodeToString(info)
	v.submit(andrewAccount, s.slapd.Password, "x-apple-aspen-deviceinfo", header).says(t, 403, "begun on another device")
	require.Equal(t, before, s.untouched())
	// A header begins a visit of its own, whatever cookie comes with it, and the form of before isn't its own.
	v.open(theirs).says(t, 200, "<h1>Sign in</h1>")
	require.NotEqual(t, token, v.token)
	v.token, token = token, v.token
	v.submit(andrewAccount, s.slapd.Password).says(t, 403, "doesn&#39;t come from a page of this server")
	require.Equal(t, before, s.untouched())
	v.token = token
	answer := v.submit(andrewAccount, s.slapd.Password)
	require.True(t, answer.isProfile())
	require.Nil(t, s.device(serial).Assignment)
	require.NotNil(t, s.device(other).Assignment)

	// Whoever steals the profile of another device can't enroll by it.
	require.NoError(t, mine.Prepare(t.Context(), answer.body))
	require.Error(t, mine.Authenticate(t.Context()))
	require.Equal(t, provision.Staged, s.device(serial).Management())
}

func TestFormMustBeOurs(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	v := s.view()
	v.open(s.virtual(serial))
	before, token := s.untouched(), v.token
	for name, c := range map[string]struct {
		token  string
		header []string
	}{
		"no token":                {"", nil},
		"another token":           {"bm90IGl0", nil},
		"from another site":       {token, []string{"Sec-Fetch-Site", "cross-site"}},
		"from a neighbour":        {token, []string{"Sec-Fetch-Site", "same-site"}},
		"from another origin":     {token, []string{"Origin", "https://evil.example"}},
		"from nowhere in no time": {token, []string{"Origin", "null"}},
	} {
		v.token = c.token
		v.submit(andrewAccount, s.slapd.Password, c.header...).says(t, 403, "Go back, and begin again.")
		require.Equal(t, before, s.untouched(), name)
	}
	v.token = token
	body := url.Values{"token": {token}, "account": {andrewAccount}, "password": {s.slapd.Password}}.Encode()
	require.Equal(t, 405, v.do(http.MethodPut, enroll.SignInPath, body).status)
	v.do(http.MethodGet, enroll.SignInPath+"?"+body, "").says(t, 200, "<h1>Sign in</h1>")
	require.Equal(t, before, s.untouched(), "what stands in an address counts for nothing")
	require.True(t, v.submit(andrewAccount, s.slapd.Password, "Origin", s.server.URL).isProfile(), "an older web view")
}

func TestCookieIsKeptFromScriptsAndOtherHosts(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	set := s.view().open(s.virtual(serial)).header.Get("Set-Cookie")
	require.Regexp(t, `^__Host-muster-sign-in=[A-Z2-7]{26}; Path=/; Max-Age=1800; HttpOnly; Secure; SameSite=Lax$`, set)
	secret := set[len("__Host-muster-sign-in="):][:26]
	require.Equal(t, "0", s.text(`SELECT count(*)::text FROM sign_in_sessions WHERE encode(sha256, 'escape') LIKE '%' || $1 || '%'`, secret))
}

func TestManyTriesLockDeviceAndAccount(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	v := s.view()
	v.open(s.virtual(serial))
	before := s.untouched()
	for n := range 100 {
		answer := v.submit(fmt.Sprintf(`ZYLKER\user%d`, n), "guess")
		if n < 10 {
			answer.says(t, 200, "The user name or the password is wrong.")
		} else {
			answer.says(t, 200, "Too many tries to sign in. Wait 15 minutes, then try again.")
		}
	}
	v.submit(andrewAccount, s.slapd.Password).says(t, 200, "Too many tries")
	require.Equal(t, before, s.untouched())
	require.Equal(t, "10", s.text(`SELECT tries::text FROM sign_in_tries WHERE subject LIKE 'address/%'`), "what was refused counts for nobody else")
	require.Equal(t, "0", s.text(`SELECT count(*)::text FROM sign_in_tries WHERE subject ILIKE '%andrew%' OR subject ILIKE '%user%'`))

	// Another device isn't locked, the account is by its own tries, however it is written and wherever it is tried.
	s.listed(other)
	v = s.view()
	v.open(s.virtual(other, func(c *sim.Config) { c.Seed = 8 }))
	for _, account := range []string{`ZYLKER\ghost`, `zylker\GHOST`, ` ZYLKER\ghöst `, "Zylker\\gho\u0301st", `ZYLKER\ｇhost`} {
		v.submit(account, "guess").says(t, 200, "The user name or the password is wrong.")
	}
	v.submit(`ZYLKER\ghost`, "guess").says(t, 200, "Too many tries")
	v.submit(`ZYLKER\spirit`, "guess").says(t, 200, "The user name or the password is wrong.")
	require.True(t, v.submit(andrewAccount, s.slapd.Password).isProfile(), "others may still sign in")
	s.exec(`UPDATE sign_in_tries SET until = now()`)
	v.submit(`ZYLKER\ghost`, "guess").says(t, 200, "The user name or the password is wrong.")
	require.True(t, v.submit(andrewAccount, s.slapd.Password).isProfile(), "the time is over")
}

// People type passwords into the wrong field, and the log is read by those who may not know who tried.
func TestLogDoesNotTellWhatWasTyped(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	m := s.idp()
	v := s.view()
	v.open(s.virtual(serial))
	s.log.Take()
	for account, code := range map[string]string{
		"hunter2": "account_format", `ZYLKER\hunt[er2`: "account_format", `hunter2\andrew`: "domain_unknown", `ZYLKER\hunter2`: "sign_in_refused",
		`ZYLKER\stale`: "password_expired", `ZYLKER\mustchange`: "password_must_change", `ZYLKER\nomail`: "email_missing",
	} {
		v.submit(account, s.slapd.Password)
		log := s.log.Take()
		require.Contains(t, log, `msg="sign-in refused" serial=`+serial)
		require.Contains(t, log, "code="+code)
		require.NotRegexp(t, `hunt|andrew|stale|mustchange|nomail|ou=people|\[`, log, account)
	}
	m.QueueUser(clouded(false))
	v.atProvider(t).says(t, 200, "andrew@zylker.com")
	log := s.log.Take()
	require.Contains(t, log, "code=email_unverified")
	require.NotContains(t, log, "andrew")
	v.do(http.MethodGet, withQuery(v.leave(t), "state", "another"), "")
	require.Contains(t, s.log.Take(), `code=sign_in_state_invalid reason="This doesn't belong to a sign-in`)
}

// The directory locks an account itself, before we do, and says so.
func TestAccountThatTheDirectoryLocks(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	var err error
	s.slapd, err = directories.StartSlapd(t.Context(), nil) // the others' goes on with nobody locked
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.slapd.Stop()) })
	s.putDirectory(s.ldap())
	v := s.view()
	v.open(s.virtual(serial))
	for range 3 {
		v.submit(`ZYLKER\lockable`, "guess").says(t, 200, "The user name or the password is wrong.")
	}
	v.submit(`ZYLKER\lockable`, s.slapd.Password).says(t, 200, "is locked after too many wrong passwords")
	require.Nil(t, s.device(serial).Assignment)
}
