package dep_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/sim/abm"
)

func TestServersThatAppleTurnsAway(t *testing.T) {
	for what, c := range map[string]struct {
		do     func(*portal, *dep.Token)
		kind   fault.Kind
		status int
		code   string
		advice string
	}{
		"terms":    {func(p *portal, _ *dep.Token) { p.SignTerms(false) }, fault.TermsNotSigned, 403, "T_C_NOT_SIGNED", "accepted them"},
		"access":   {func(p *portal, _ *dep.Token) { _ = p.SetAccess(p.server.ID, abm.AccessDenied) }, fault.AccessDenied, 403, "ACCESS_DENIED", "administrator's account"},
		"gone":     {func(p *portal, _ *dep.Token) { _ = p.SetAccess(p.server.ID, abm.AccessForbidden) }, fault.AccessDenied, 403, "FORBIDDEN", "administrator's account"},
		"revoked":  {func(p *portal, _ *dep.Token) { _ = p.RevokeToken(p.server.ID) }, fault.TokenRejected, 401, "token_rejected", "Download a new token"},
		"expired":  {func(p *portal, _ *dep.Token) { _ = p.ExpireToken(p.server.ID) }, fault.TokenExpired, 401, "token_expired", "has expired"},
		"a year":   {func(p *portal, _ *dep.Token) { p.Jump(366 * 24 * time.Hour) }, fault.TokenExpired, 401, "token_expired", "has expired"},
		"replaced": {func(p *portal, _ *dep.Token) { p.token(p.server.ID) }, fault.TokenRejected, 401, "signature_invalid", "a newer one was downloaded"},
		"consumer": {func(_ *portal, t *dep.Token) { t.ConsumerKey += "x" }, fault.TokenRejected, 401, "consumer_key_unknown", "the server was deleted"},
		"token":    {func(_ *portal, t *dep.Token) { t.AccessToken += "x" }, fault.TokenRejected, 401, "token_rejected", "revoked"},
		"secret":   {func(_ *portal, t *dep.Token) { t.ConsumerSecret += "x" }, fault.TokenRejected, 401, "signature_invalid", "revoked"},
		"agent":    {nil, fault.Refused, 400, "USER_AGENT_INVALID", "refuses"},
		"quirky": {func(p *portal, _ *dep.Token) {
			p.SetQuirks(abm.Quirks{QuotedErrors: true, TokenErrorsForbidden: true})
			_ = p.RevokeToken(p.server.ID)
		}, fault.TokenRejected, 403, "token_rejected", "revoked"},
	} {
		t.Run(what, func(t *testing.T) {
			p := open(t, abm.Config{})
			config := dep.Config{Token: p.token(p.server.ID)}
			if c.do == nil {
				config.UserAgent = "müster"
			} else {
				c.do(p, &config.Token)
			}
			_, err := p.clientWith(config).Account(t.Context())
			requireFault(t, err, c.kind, c.status, c.code)
			require.ErrorContains(t, err, c.advice)
		})
	}
}

func TestANewTokenTakesTheOldOnesPlace(t *testing.T) {
	p := open(t, abm.Config{})
	old := p.token(p.server.ID)
	before := p.clientWith(dep.Config{Token: old})
	_, err := before.Account(t.Context())
	require.NoError(t, err)
	renewed := p.token(p.server.ID)
	require.Equal(t, old.ConsumerKey, renewed.ConsumerKey)
	_, err = before.Account(t.Context())
	requireFault(t, err, fault.TokenRejected, 401, "signature_invalid")
	_, err = p.clientWith(dep.Config{Token: renewed}).Account(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.RenewConsumer(p.server.ID))
	require.NotEqual(t, old.ConsumerKey, p.token(p.server.ID).ConsumerKey)
}

// A session that Apple has ended is renewed without anybody's noticing; what holds a running one back shows.
func TestSessions(t *testing.T) {
	p := open(t, abm.Config{})
	p.addNew(p.server.ID, 1)
	c := p.client(p.server.ID)
	fetch := func() error {
		_, err := c.Fetch(t.Context(), "", 0)
		return err
	}
	sessions := func() int { return p.Counts().Requests["GET /session"] }
	for range 3 {
		require.NoError(t, fetch())
	}
	require.Equal(t, 1, sessions(), "a session is used again")
	require.NoError(t, p.ExpireSessions(p.server.ID))
	require.NoError(t, fetch())
	require.Equal(t, 2, sessions())
	p.Jump(time.Hour)
	require.NoError(t, fetch())
	require.Equal(t, 3, sessions())

	p.SignTerms(false)
	requireFault(t, fetch(), fault.TermsNotSigned, 403, "T_C_NOT_SIGNED")
	p.SignTerms(true)
	require.NoError(t, fetch())
	require.NoError(t, p.SetAccess(p.server.ID, abm.AccessForbidden))
	requireFault(t, fetch(), fault.AccessDenied, 403, "FORBIDDEN")
	require.NoError(t, p.SetAccess(p.server.ID, abm.AccessGranted))
	require.NoError(t, fetch())
	require.NoError(t, p.ExpireToken(p.server.ID))
	requireFault(t, fetch(), fault.TokenExpired, 401, "token_expired")
}

func TestFaultsOnTheWay(t *testing.T) {
	p := open(t, abm.Config{})
	p.addNew(p.server.ID, 40)
	// Over a connection that was used before, Go's transport may send a request for a session again by itself.
	c := dep.New(dep.Config{BaseURL: p.url, Token: p.token(p.server.ID), Transport: &http.Transport{DisableKeepAlives: true}})
	_, err := c.Fetch(t.Context(), "", 0)
	require.NoError(t, err)
	for _, path := range []string{"/server/devices", "/session"} {
		for _, strike := range []struct {
			abm.Fault
			kind   fault.Kind
			status int
			code   string
			says   string
		}{
			{abm.Fault{Kind: abm.FaultError}, fault.Unreachable, 503, "SERVICE_UNAVAILABLE", "in trouble"},
			{abm.Fault{Kind: abm.FaultError, Status: 500, Seconds: 7}, fault.Unreachable, 500, "INTERNAL_SERVER_ERROR", "wait for 7s"},
			{abm.Fault{Kind: abm.FaultTooMany, Seconds: 30}, fault.Throttled, 429, "TOO_MANY_REQUESTS", "wait for "},
			{abm.Fault{Kind: abm.FaultGarbage}, fault.Garbled, 200, "", "A web page came"},
			{abm.Fault{Kind: abm.FaultTruncated}, fault.Garbled, 200, "", "it ends early"},
			{abm.Fault{Kind: abm.FaultReset}, fault.Unreachable, 0, "", "the connection broke"},
		} {
			if path == "/session" {
				require.NoError(t, p.ExpireSessions(p.server.ID))
			}
			strike.Share, strike.Times, strike.Path = 1, 1, path
			p.SetFaults(strike.Fault)
			_, err := c.Fetch(t.Context(), "", 0)
			f := requireFault(t, err, strike.kind, strike.status, strike.code)
			require.ErrorContains(t, err, strike.says)
			require.InDelta(t, strike.Seconds, f.RetryAfter.Seconds(), 1)
			p.SetFaults()
			page, err := c.Fetch(t.Context(), "", 0)
			require.NoError(t, err)
			require.Len(t, page.Devices, 40)
		}
	}
}

func TestThrottlingIsTheClientsToKeep(t *testing.T) {
	p := open(t, abm.Config{})
	c := p.client(p.server.ID)
	p.SetFaults(abm.Fault{Kind: abm.FaultTooMany, Share: 1, Times: 1, Seconds: 60})
	_, err := c.Fetch(t.Context(), "", 0)
	f := requireFault(t, err, fault.Throttled, 429, "TOO_MANY_REQUESTS")
	p.Jump(f.RetryAfter)
	_, err = c.Fetch(t.Context(), "", 0)
	require.NoError(t, err)
	require.Zero(t, p.Counts().Impatient)
}

func TestSlowAnswersAreGivenUp(t *testing.T) {
	p := open(t, abm.Config{})
	token := p.token(p.server.ID)
	c := p.clientWith(dep.Config{Token: token, Timeout: 50 * time.Millisecond})
	p.SetFaults(abm.Fault{Kind: abm.FaultSlow, Share: 1, Seconds: 3600})
	_, err := c.Fetch(t.Context(), "", 0)
	requireFault(t, err, fault.Unreachable, 0, "")
	require.ErrorContains(t, err, "it took too long")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	// Whoever gives up themselves learns nothing about Apple.
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	slow := p.clientWith(dep.Config{Token: token})
	go func() {
		_, err := slow.Fetch(ctx, "", 0)
		gone <- err
	}()
	require.Eventually(t, func() bool { return p.Counts().Faults[abm.FaultSlow] == 2 }, time.Minute, time.Millisecond)
	cancel()
	err = <-gone
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, fault.KindOf(err))
}

func TestNobodyThere(t *testing.T) {
	c := dep.New(dep.Config{BaseURL: "http://127.0.0.1:1", Transport: &http.Transport{}, Token: dep.Token{ConsumerKey: "CK"}})
	_, err := c.Account(t.Context())
	requireFault(t, err, fault.Unreachable, 0, "")
	require.ErrorContains(t, err, "the connection was refused")
	c = dep.New(dep.Config{BaseURL: "http://nobody.invalid", Transport: &http.Transport{}})
	_, err = c.Account(t.Context())
	requireFault(t, err, fault.Unreachable, 0, "")
	require.ErrorContains(t, err, "its name can't be resolved")
}

// A request for a session that went over the wire twice is made again, with another nonce.
func TestARepeatedNonceIsNotTheTokens(t *testing.T) {
	p := open(t, abm.Config{})
	again := &repeating{base: &http.Transport{}, times: 1}
	t.Cleanup(again.base.CloseIdleConnections)
	c := dep.New(dep.Config{BaseURL: p.url, Token: p.token(p.server.ID), Transport: again})
	_, err := c.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, p.Counts().Requests["GET /session"])

	again.times = 100
	require.NoError(t, p.ExpireSessions(p.server.ID))
	_, err = c.Account(t.Context())
	requireFault(t, err, fault.Unreachable, 401, "nonce_used")
}

// repeating sends requests for sessions twice, as often as it may.
type repeating struct {
	base  *http.Transport
	times int
}

func (r *repeating) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.base.RoundTrip(request)
	if err != nil || request.URL.Path != "/session" || r.times == 0 {
		return response, err
	}
	r.times--
	_ = response.Body.Close()
	return r.base.RoundTrip(request)
}
