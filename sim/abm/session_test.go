package abm_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	depclient "github.com/micromdm/nanodep/client"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

func errorAs[T error](err error, target *T) bool { return errors.As(err, target) }

func TestAccountNamesServerAndOrganization(t *testing.T) {
	p := open(t, abm.Config{Name: "Acme", Domain: "acme.test"})
	account, err := p.link(p.server.ID, 10).AccountDetail(t.Context(), name)
	require.NoError(t, err)
	require.Equal(t, "Muster", *account.ServerName)
	require.Equal(t, p.server.ID, *account.ServerUuid)
	require.Equal(t, "admin@acme.test", *account.AdminId)
	require.Equal(t, "Acme", *account.OrgName)
	require.Equal(t, "org", string(*account.OrgType))
	require.Equal(t, "v2", string(*account.OrgVersion))
	require.Len(t, *account.OrgIdHash, 64)
	require.NotEmpty(t, account.Urls)

	old, err := p.link(p.server.ID, 2).AccountDetail(t.Context(), name)
	require.NoError(t, err)
	require.Nil(t, old.OrgId, "org_id needs protocol version 3")
}

func TestSessionRotatesOnEveryAnswerAndExpires(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	for range 3 {
		d.fetch()
	}
	require.Len(t, slices.Compact(slices.Clone(d.sessions)), 3)
	require.Equal(t, []string{"GET /session 200", "POST /server/devices 200", "POST /server/devices 200", "POST /server/devices 200"}, d.answers())

	p.Jump(4 * time.Minute)
	d.fetch()
	require.Equal(t, []string{"POST /server/devices 401", "GET /session 200", "POST /server/devices 200"}, d.answers())

	require.NoError(t, p.ExpireSessions(p.server.ID))
	d.fetch()
	require.Equal(t, []string{"POST /server/devices 401", "GET /session 200", "POST /server/devices 200"}, d.answers())
}

func TestSessionsThatNeverWereAreForbidden(t *testing.T) {
	p := open(t, abm.Config{})
	for session, want := range map[string]int{"": 401, "forged": 403, strings.Repeat("ab", 41): 403} {
		status, body := p.raw("GET", "/account", map[string]string{"X-ADM-Auth-Session": session}, "")
		require.Equal(t, want, status, session)
		require.Contains(t, []string{"UNAUTHORIZED", "FORBIDDEN"}, body)
	}
}

func TestSessionRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		do     func(*portal, *dep)
		status int
		code   string
	}{
		"terms":    {func(p *portal, _ *dep) { p.SignTerms(false) }, 403, "T_C_NOT_SIGNED"},
		"access":   {func(p *portal, _ *dep) { _ = p.SetAccess(p.server.ID, abm.AccessDenied) }, 403, "ACCESS_DENIED"},
		"gone":     {func(p *portal, _ *dep) { _ = p.SetAccess(p.server.ID, abm.AccessForbidden) }, 403, "FORBIDDEN"},
		"revoked":  {func(p *portal, _ *dep) { _ = p.RevokeToken(p.server.ID) }, 401, "token_rejected"},
		"expired":  {func(p *portal, _ *dep) { _ = p.ExpireToken(p.server.ID) }, 401, "token_expired"},
		"a year":   {func(p *portal, _ *dep) { p.Jump(366 * 24 * time.Hour) }, 401, "token_expired"},
		"replaced": {func(p *portal, _ *dep) { p.download(p.server.ID) }, 401, "signature_invalid"},
		"consumer": {func(_ *portal, d *dep) { d.edit(func(t *depclient.OAuth1Tokens) { t.ConsumerKey += "x" }) }, 401, "consumer_key_unknown"},
		"token":    {func(_ *portal, d *dep) { d.edit(func(t *depclient.OAuth1Tokens) { t.AccessToken += "x" }) }, 401, "token_rejected"},
		"secret":   {func(_ *portal, d *dep) { d.edit(func(t *depclient.OAuth1Tokens) { t.AccessSecret += "x" }) }, 401, "signature_invalid"},
		"c secret": {func(_ *portal, d *dep) { d.edit(func(t *depclient.OAuth1Tokens) { t.ConsumerSecret = "x" }) }, 401, "signature_invalid"},
	} {
		t.Run(what, func(t *testing.T) {
			p := open(t, abm.Config{})
			d := p.link(p.server.ID, 10)
			c.do(p, d)
			_, err := d.AccountDetail(t.Context(), name)
			requireRefused(t, err, c.status, c.code)
		})
	}
}

func (d *dep) edit(change func(*depclient.OAuth1Tokens)) {
	t := d.tokens.get()
	change(&t)
	d.tokens.set(t)
}

func TestWithdrawnTermsHoldARunningSessionUntilTheyAreSigned(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	d.fetch()
	p.SignTerms(false)
	_, err := d.FetchDevices(t.Context(), name)
	requireRefused(t, err, 403, "T_C_NOT_SIGNED")
	p.SignTerms(true)
	d.fetch()
}

func TestQuirksOfRefusals(t *testing.T) {
	p := open(t, abm.Config{Quirks: abm.Quirks{QuotedErrors: true, TokenErrorsForbidden: true}})
	d := p.link(p.server.ID, 10)
	require.NoError(t, p.RevokeToken(p.server.ID))
	_, err := d.AccountDetail(t.Context(), name)
	requireRefused(t, err, 403, `"token_rejected"`)
}

// oauth is a header of the test's own making, by RFC 5849 and with realm, which nanodep's client leaves out.
type oauth map[string]string

func (o oauth) header(p *portal, t depclient.OAuth1Tokens) map[string]string {
	fields := oauth{
		"oauth_consumer_key": t.ConsumerKey, "oauth_token": t.AccessToken, "oauth_signature_method": "HMAC-SHA1",
		"oauth_timestamp": strconv.FormatInt(time.Now().Unix(), 10), "oauth_nonce": "n" + strconv.FormatInt(time.Now().UnixNano(), 36),
		"oauth_version": "1.0",
	}
	maps.Copy(fields, o)
	maps.DeleteFunc(fields, func(_, value string) bool { return value == "" })
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "realm" {
			pairs = append(pairs, url.QueryEscape(key)+"="+url.QueryEscape(fields[key]))
		}
	}
	base := "GET&" + url.QueryEscape(p.url+"/session") + "&" + url.QueryEscape(strings.Join(pairs, "&"))
	mac := hmac.New(sha1.New, []byte(url.QueryEscape(t.ConsumerSecret)+"&"+url.QueryEscape(t.AccessSecret)))
	mac.Write([]byte(base))
	fields["oauth_signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if given, ok := o["oauth_signature"]; ok {
		fields["oauth_signature"] = given
	}
	var out []string
	for key, value := range fields {
		out = append(out, key+`="`+url.QueryEscape(value)+`"`)
	}
	return map[string]string{"Authorization": "OAuth " + strings.Join(out, ", ")}
}

func TestSessionChecksEachPartOfTheSignature(t *testing.T) {
	p := open(t, abm.Config{})
	token := p.download(p.server.ID)
	stale := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	for _, c := range []struct {
		given  oauth
		status int
		code   string
	}{
		{oauth{"realm": "ADM"}, 200, "auth_session_token"},
		{oauth{"oauth_version": ""}, 200, "auth_session_token"},
		{oauth{"realm": "XYZ"}, 400, "parameter_rejected"},
		{oauth{"oauth_signature_method": "PLAINTEXT"}, 400, "signature_method_rejected"},
		{oauth{"oauth_version": "2.0"}, 400, "version_rejected"},
		{oauth{"oauth_nonce": ""}, 400, "parameter_absent"},
		{oauth{"oauth_timestamp": ""}, 400, "parameter_absent"},
		{oauth{"scope": "all"}, 400, "parameter_rejected"},
		{oauth{"oauth_timestamp": stale}, 401, "timestamp_refused"},
		{oauth{"oauth_timestamp": "soon"}, 401, "timestamp_refused"},
		{oauth{"oauth_signature": "AAAA"}, 401, "signature_invalid"},
		{oauth{"oauth_signature": "!"}, 401, "signature_invalid"},
	} {
		status, body := p.raw("GET", "/session", c.given.header(p, token), "")
		require.Equal(t, c.status, status, "%v: %s", c.given, body)
		require.Contains(t, body, c.code)
	}
	for header, code := range map[string]string{"": "parameter_absent", "Basic eDp5": "parameter_absent", "OAuth x": "parameter_rejected"} {
		status, body := p.raw("GET", "/session", map[string]string{"Authorization": header}, "")
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, code, body)
	}
}

func TestSessionRefusesAReplay(t *testing.T) {
	p := open(t, abm.Config{})
	header := oauth{}.header(p, p.download(p.server.ID))
	status, _ := p.raw("GET", "/session", header, "")
	require.Equal(t, http.StatusOK, status)
	status, body := p.raw("GET", "/session", header, "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "nonce_used", body)

	twice := oauth{}.header(p, p.download(p.server.ID))
	twice["Authorization"] += `, oauth_nonce="again"`
	status, body = p.raw("GET", "/session", twice, "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "parameter_rejected", body)
}

func TestUserAgentIsAsked(t *testing.T) {
	p := open(t, abm.Config{})
	session := p.sessionOf(p.download(p.server.ID))
	for agent, code := range map[string]string{"": "USER_AGENT_MISSING", "mü": "USER_AGENT_INVALID"} {
		for _, path := range []string{"/session", "/account"} {
			status, body := p.raw("GET", path, map[string]string{"User-Agent": agent, "X-ADM-Auth-Session": session}, "")
			require.Equal(t, http.StatusBadRequest, status)
			require.Equal(t, code, body)
		}
	}
}
