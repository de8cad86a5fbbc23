package enroll_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

func assigning() provision.SignInPolicy { return provision.SignInPolicy{AutoAssign: true} }

// R49: right credentials give the profile and the assignment, with no administrator.
func TestSigningInGivesProfileAndAssignment(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s))

	d := s.device(serial)
	require.Equal(t, provision.Managed, d.Management())
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
	require.Equal(t, []string{"zylker_drivers", "zylker_all"}, d.Assignment.Groups)
	require.Equal(t, []string{"registered", "abm_seen", "assigned", "authenticated", "activated"}, s.kinds(serial))
	require.Equal(t, "enrollment_sign_in "+d.Assignment.UserID, s.text(`SELECT concat(source, ' ', actor) FROM device_events WHERE kind = 'assigned'`))
	require.True(t, d.Assignment.Complete())
	log := s.log.Take()
	require.Contains(t, log, `msg="signed in during setup" serial=`+serial+" directory=zylker fact=assigned")
	require.NotContains(t, log, s.slapd.Password)
	require.Equal(t, "0", s.text(`SELECT count(*)::text FROM sign_in_tries WHERE tries > 0`))
}

func TestSigningInOnlyLetsInWhereUsersArentAssigned(t *testing.T) {
	s := buildSchool(t, provision.SignInPolicy{})
	s.listed(serial)
	require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s))
	require.Equal(t, []string{"registered", "abm_seen", "authenticated", "activated"}, s.kinds(serial))
	require.Equal(t, "0", s.text(`SELECT count(*)::text FROM people`))
}

// A device that comes to the page although an administrator activates it needs none.
func TestNoPageForDevicesThatAdministratorsActivate(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	s.exec(`UPDATE device_profiles SET activation_mode = 'by_admin'`)
	require.NoError(t, s.virtual(serial).PowerOn(t.Context(), s.house))
	s.exec(`UPDATE devices SET udid = NULL`)
	require.True(t, s.view().open(s.virtual(serial)).isProfile())
	require.Equal(t, "0", s.text(`SELECT count(*)::text FROM sign_in_sessions`))
}

// R49: wrong ones give neither, each with a sentence where it belongs.
func TestWrongCredentialsGiveNothing(t *testing.T) {
	for name, c := range map[string]struct {
		account, password string
		field, says, code string
	}{
		"wrong password": {andrewAccount, "wrong", "password", "The user name or the password is wrong.", "sign_in_refused"},
		"unknown user":   {`ZYLKER\nobody`, "wrong", "password", "The user name or the password is wrong.", "sign_in_refused"},
		"no password":    {andrewAccount, "", "password", "Type your password.", ""},
		"nothing":        {"", "", "account", "Type your user name.", ""},
		"bare name":      {"andrew", "right", "account", `Write the user name as DOMAIN\user`, "account_format"},
		"unknown domain": {`OTHER\andrew`, "right", "account", "OTHER", "domain_unknown"},
		"injection":      {`ZYLKER\*)(uid=*`, "right", "account", "which no account has", "account_format"},
		"must change":    {`ZYLKER\mustchange`, "right", "password", "must be changed first", "password_must_change"},
		"expired":        {`ZYLKER\stale`, "right", "password", "has expired", "password_expired"},
		"no address":     {`ZYLKER\nomail`, "right", "", "no e-mail address", "email_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := buildSchool(t, assigning())
			s.listed(serial)
			if c.password == "right" {
				c.password = s.slapd.Password
			}
			before := s.untouched()
			v := s.view()
			v.open(s.virtual(serial)).says(t, 200, "<h1>Sign in</h1>")
			s.log.Take()
			answer := v.submit(c.account, c.password)
			answer.says(t, 200, c.says)
			if c.field != "" {
				require.Regexp(t, `<p class="error" id="`+c.field+`-error" role="alert">[^<]*`, string(answer.body))
			} else {
				require.Regexp(t, `<p class="alert" role="alert">[^<]*`, string(answer.body))
			}
			require.NotContains(t, string(answer.body), s.slapd.Password)
			require.Equal(t, before, s.untouched())
			log := s.log.Take()
			require.NotContains(t, log, s.slapd.Password)
			if c.code != "" {
				require.Contains(t, log, "code="+c.code)
				require.Contains(t, log, "serial="+serial)
			}
			require.True(t, v.submit(andrewAccount, s.slapd.Password).isProfile(), "the page goes on")
		})
	}
}

func TestPersonCorrectsThemselves(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	p := &patient{account: andrewAccount, passwords: []string{"wrong", "worse", s.slapd.Password}}
	require.NoError(t, s.used(serial, p).PowerOn(t.Context(), s))
	require.Contains(t, p.page.Text, "The user name or the password is wrong.")
	require.Contains(t, p.page.Text, "Need help? Help desk 555-0100")
	require.Contains(t, p.page.Text, `Write it as ZYLKER\user.`)
	require.Contains(t, p.page.Text, "manages this iPad")
	require.Equal(t, "Sign in – Zylker", p.page.Title)
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
}

// A directory that is down is never taken for a wrong password, and costs no try.
func TestDirectoryThatIsDown(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	away := s.ldap()
	away.Settings.URLs, away.Settings.Timeout = []string{"ldaps://127.0.0.1:1"}, time.Second
	p := &patient{account: andrewAccount, between: func(left int) {
		if left == 1 {
			s.putDirectory(s.ldap())
		}
	}}
	for range 2 * 10 {
		p.passwords = append(p.passwords, s.slapd.Password)
	}
	p.passwords = p.passwords[:12] // more than a device has tries
	s.putDirectory(away)
	require.NoError(t, s.used(serial, p).PowerOn(t.Context(), s))
	require.Contains(t, p.page.Text, "can't be asked at the moment")
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
}

// Browsers apply the style only if it is the one that the policy names, and send an origin only if the page lets them.
func TestPageStandsUnderItsPolicy(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	page := s.view().open(s.virtual(serial))
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(page.body)
	sum := sha256.Sum256(style[1])
	policy := page.header.Get("Content-Security-Policy")
	require.Contains(t, policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	require.Contains(t, policy, "form-action 'self'")
	require.Equal(t, "same-origin", page.header.Get("Referrer-Policy"))
	require.NotRegexp(t, `<script|<img|<link|style="|https?://`, string(page.body), "all of it is in the page")
}

func TestServerThatHasNoDirectory(t *testing.T) {
	s := buildSchool(t, provision.SignInPolicy{})
	s.listed(serial)
	s.exec(`DELETE FROM directories`)
	s.view().open(s.virtual(serial)).says(t, 200, "Nobody can sign in here yet.")
}

func TestDeviceThatMayNotEnrollIsToldOnAPage(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial, provision.Fact{Kind: provision.HoldRequest, Reason: "display is being replaced"})
	v := s.view()
	before := s.untouched()
	v.open(s.virtual(serial)).says(t, 409, "display is being replaced")
	require.Empty(t, v.token)
	require.Equal(t, before, s.untouched())

	s.listed(serial, provision.Fact{Kind: provision.ResumeRequest})
	v.open(s.virtual(serial)).says(t, 200, "<h1>Sign in</h1>")
	s.listed(serial, provision.Fact{Kind: provision.HoldRequest, Reason: "lost again"})
	before = s.untouched()
	v.submit(andrewAccount, s.slapd.Password).says(t, 409, "lost again")
	require.Equal(t, before, s.untouched(), "neither assigned nor let in")

	require.ErrorIs(t, s.used("C07Q853LG9RN", s.andrew()).PowerOn(t.Context(), s), sim.ErrUnrecognized)
}

func TestDeviceThatIsTooOldUpdatesBeforeAnybodySignsIn(t *testing.T) {
	s := buildSchool(t, assigning(), oldest("ios=18.3"))
	s.listed(serial)
	d := s.used(serial, s.andrew())
	require.NoError(t, d.PowerOn(t.Context(), s))
	require.Equal(t, "18.3", d.Snapshot().OSVersion)
}

// The profile fails to be made: then there is no assignment either, and the other way round.
func TestNothingIsHalfDone(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	v := s.view()
	v.open(s.virtual(serial)).says(t, 200, "<h1>Sign in</h1>")
	before := s.untouched()
	s.exec(`ALTER TABLE enrollment_challenges ADD CONSTRAINT none CHECK (false) NOT VALID`)
	v.submit(andrewAccount, s.slapd.Password).says(t, 500, "try again")
	require.Equal(t, before, s.untouched(), "no challenge, no assignment")
	s.exec(`ALTER TABLE enrollment_challenges DROP CONSTRAINT none`)
	s.exec(`ALTER TABLE device_events ADD CONSTRAINT none CHECK (kind <> 'assigned') NOT VALID`)
	v.submit(andrewAccount, s.slapd.Password).says(t, 500, "try again")
	require.Equal(t, before, s.untouched(), "no assignment, no challenge")
	s.exec(`ALTER TABLE device_events DROP CONSTRAINT none`)
	require.True(t, v.submit(andrewAccount, s.slapd.Password).isProfile())
}

// An answer that gets lost is asked for again; nothing is recorded twice.
func TestSignInWhoseAnswerIsLost(t *testing.T) {
	s := buildSchool(t, assigning())
	s.listed(serial)
	v := s.view()
	v.open(s.virtual(serial))
	for range 3 {
		require.True(t, v.submit(andrewAccount, s.slapd.Password).isProfile())
	}
	require.Equal(t, []string{"registered", "abm_seen", "assigned"}, s.kinds(serial))
	require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s))
	require.Equal(t, []string{"registered", "abm_seen", "assigned", "authenticated", "activated"}, s.kinds(serial))
	v.submit(andrewAccount, s.slapd.Password).says(t, 403, "This sign-in is over.")
	v.do(http.MethodGet, enroll.SignInPath, "").says(t, 403, "This sign-in is over.")
}
