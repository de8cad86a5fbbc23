package directory_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

var andrewFuller = directory.Person{
	Name: "andrew", Domain: "ZYLKER", DisplayName: "Andrew Fuller", Email: "andrew@zylker.com", Groups: []string{"drivers", "staff"}, Subject: subject,
}

func TestProviderTellsWhoItIs(t *testing.T) {
	p := startIDP(t)
	o := newOIDC(t, p.config())
	p.QueueUser(andrew(nil))
	redirect, flow, err := o.Begin(t.Context())
	require.NoError(t, err)

	sent, err := url.Parse(redirect)
	require.NoError(t, err)
	asked := sent.Query()
	require.Equal(t, "S256", asked.Get("code_challenge_method"))
	require.Equal(t, "openid profile email groups", asked.Get("scope"))
	require.Equal(t, []string{flow.State, flow.Nonce}, []string{asked.Get("state"), asked.Get("nonce")})
	require.NotContains(t, redirect, flow.Verifier)
	require.Len(t, slices.Compact([]string{flow.State, flow.Nonce, flow.Verifier}), 3)

	// The flow waits in a session meanwhile.
	kept, err := json.Marshal(flow)
	require.NoError(t, err)
	var back directory.Flow
	require.NoError(t, json.Unmarshal(kept, &back))
	query := p.browser(t, redirect)
	who, err := o.Finish(t.Context(), back, query)
	require.NoError(t, err)
	require.Equal(t, andrewFuller, who)

	// A code is good for once.
	who, err = o.Finish(t.Context(), back, query)
	refused(t, provision.SignInExpired, who, err)
}

func TestAnswerMustBelongToTheSignIn(t *testing.T) {
	p := startIDP(t)
	config := p.config()
	var late time.Duration
	config.Now = func() time.Time { return time.Now().Add(late) }
	o := newOIDC(t, config)
	for name, c := range map[string]struct {
		change func(flow *directory.Flow, query url.Values)
		code   provision.Code
	}{
		"another state":            {func(_ *directory.Flow, q url.Values) { q.Set("state", "x") }, provision.SignInStateInvalid},
		"no state":                 {func(_ *directory.Flow, q url.Values) { q.Del("state") }, provision.SignInStateInvalid},
		"no flow":                  {func(f *directory.Flow, q url.Values) { *f = directory.Flow{}; q.Del("state") }, provision.SignInStateInvalid},
		"no state on either side":  {func(f *directory.Flow, q url.Values) { f.State = ""; q.Del("state") }, provision.SignInStateInvalid},
		"flow of another issuer":   {func(f *directory.Flow, _ url.Values) { f.Issuer = "https://other.example" }, provision.SignInStateInvalid},
		"answer of another":        {func(_ *directory.Flow, q url.Values) { q.Set("iss", "https://other.example") }, provision.SignInStateInvalid},
		"no code":                  {func(_ *directory.Flow, q url.Values) { q.Del("code") }, provision.SignInStateInvalid},
		"a code of nobody's":       {func(_ *directory.Flow, q url.Values) { q.Set("code", "x") }, provision.SignInExpired},
		"another verifier":         {func(f *directory.Flow, _ url.Values) { f.Verifier = strings.Repeat("x", 43) }, provision.SignInExpired},
		"another nonce":            {func(f *directory.Flow, _ url.Values) { f.Nonce = "x" }, provision.IdentityTokenRefused},
		"too late":                 {func(*directory.Flow, url.Values) { late = 10*time.Minute + time.Second }, provision.SignInExpired},
		"in time, from the issuer": {func(_ *directory.Flow, q url.Values) { q.Set("iss", p.Issuer()) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			late = 0
			flow, query := p.begin(t, o, andrew(nil))
			c.change(&flow, query)
			who, err := o.Finish(t.Context(), flow, query)
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			refused(t, c.code, who, err)
		})
	}
}

// RFC 9207, 2.4: one that names itself in its answers has no answer without.
func TestProviderThatNamesItselfInItsAnswers(t *testing.T) {
	p := startIDP(t)
	p.rewrite(mockoidc.DiscoveryEndpoint, p.Discovery, func(answer map[string]any) { answer["authorization_response_iss_parameter_supported"] = true })
	o := newOIDC(t, p.config())
	flow, query := p.begin(t, o, andrew(nil))
	who, err := o.Finish(t.Context(), flow, query)
	refused(t, provision.SignInStateInvalid, who, err)
	query.Set("iss", p.Issuer())
	who, err = o.Finish(t.Context(), flow, query)
	require.NoError(t, err)
	require.Equal(t, andrewFuller, who)
}

func TestProviderSaysNo(t *testing.T) {
	p := startIDP(t)
	o := newOIDC(t, p.config())
	_, flow, err := o.Begin(t.Context())
	require.NoError(t, err)
	for word, code := range map[string]provision.Code{
		"access_denied": provision.SignInDenied, "login_required": provision.SignInDenied, "consent_required": provision.SignInDenied,
		"server_error": provision.DirectoryUnavailable, "temporarily_unavailable": provision.DirectoryUnavailable,
		"unauthorized_client": provision.DirectoryInvalid, "invalid_scope": provision.DirectoryInvalid, "<script>": provision.DirectoryInvalid,
	} {
		query := url.Values{"state": {flow.State}, "error": {word}, "error_description": {"because"}, "code": {"x"}}
		who, err := o.Finish(t.Context(), flow, query)
		refused(t, code, who, err)
		require.NotContains(t, told(t, err), word)
		require.ErrorContains(t, err, "because")
		query.Set("state", "x")
		who, err = o.Finish(t.Context(), flow, query)
		refused(t, provision.SignInStateInvalid, who, err)
	}
}

// A provider that is down when Muster starts is asked again, and then not any more.
func TestDiscoveryWaitsForTheProvider(t *testing.T) {
	p := startIDP(t)
	p.lie(mockoidc.DiscoveryEndpoint, answerStatus(http.StatusServiceUnavailable))
	o := newOIDC(t, p.config())
	require.Zero(t, p.asked(mockoidc.DiscoveryEndpoint))
	_, flow, err := o.Begin(t.Context())
	require.Equal(t, provision.DirectoryUnavailable, provision.CodeOf(err))
	require.Equal(t, "The identity provider can't be reached at the moment. Try again later.", told(t, err))
	require.Zero(t, flow)

	p.lie(mockoidc.DiscoveryEndpoint, nil)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			_, _, err := o.Begin(context.WithoutCancel(t.Context()))
			assert.NoError(t, err)
		})
	}
	all.Wait()
	require.Equal(t, 2, p.asked(mockoidc.DiscoveryEndpoint))
}

// waiting tells once that somebody waits, or asks.
type waiting struct {
	context.Context
	told *sync.Once
	all  *sync.WaitGroup
}

func (w waiting) Done() <-chan struct{} {
	w.told.Do(w.all.Done)
	return w.Context.Done()
}

// A class that signs in while the provider is down learns it at once, not one after the other.
func TestWhoWaitsForTheProviderSharesWhatComesOfIt(t *testing.T) {
	p := startIDP(t)
	const class = 10
	var there, all sync.WaitGroup
	there.Add(class)
	p.lie(mockoidc.DiscoveryEndpoint, func(w http.ResponseWriter, _ *http.Request) {
		there.Wait()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	o := newOIDC(t, p.config())
	for range class {
		all.Go(func() {
			_, _, err := o.Begin(waiting{context.WithoutCancel(t.Context()), new(sync.Once), &there})
			assert.Equal(t, provision.DirectoryUnavailable, provision.CodeOf(err))
		})
	}
	all.Wait()
	require.Equal(t, 1, p.asked(mockoidc.DiscoveryEndpoint))
	p.lie(mockoidc.DiscoveryEndpoint, nil)
	_, _, err := o.Begin(t.Context())
	require.NoError(t, err, "whoever comes later asks anew")
}

func TestProviderThatCannotBeUsed(t *testing.T) {
	p := startIDP(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	discovery := func(claim string, value any) func(*testing.T) {
		return func(*testing.T) {
			p.rewrite(mockoidc.DiscoveryEndpoint, p.Discovery, func(answer map[string]any) { answer[claim] = value })
		}
	}
	for name, c := range map[string]struct {
		prepare func(*testing.T)
		change  func(*directory.OIDCConfig)
		code    provision.Code
	}{
		"is down":                    {nil, func(c *directory.OIDCConfig) { c.Issuer = "https://" + nobodyListens }, provision.DirectoryUnavailable},
		"isn't trusted":              {nil, func(c *directory.OIDCConfig) { c.CA = authority(t).PEM }, provision.DirectoryUnavailable},
		"has another name":           {nil, func(c *directory.OIDCConfig) { c.Issuer = strings.Replace(c.Issuer, "127.0.0.1", "localhost", 1) }, provision.DirectoryUnavailable},
		"never answers":              {nil, func(c *directory.OIDCConfig) { c.Issuer, c.Timeout = "https://"+listen(t, silent), quick }, provision.DirectoryUnavailable},
		"isn't there":                {nil, func(c *directory.OIDCConfig) { c.Issuer += "/other" }, provision.DirectoryUnavailable},
		"calls itself otherwise":     {discovery("issuer", "https://other.example"), nil, provision.DirectoryInvalid},
		"wants secrets in the clear": {discovery("token_endpoint", "http://127.0.0.1/token"), nil, provision.DirectoryInvalid},
		"shows keys in the clear":    {discovery("jwks_uri", "http://127.0.0.1/keys"), nil, provision.DirectoryInvalid},
		"has no page":                {discovery("authorization_endpoint", ""), nil, provision.DirectoryInvalid},
		"answers without end": {func(*testing.T) {
			p.lie(mockoidc.DiscoveryEndpoint, func(w http.ResponseWriter, _ *http.Request) {
				for { // until it hangs up
					if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
						return
					}
				}
			})
		}, func(c *directory.OIDCConfig) { c.Timeout = time.Hour }, provision.DirectoryUnavailable},
		"points elsewhere": {func(*testing.T) {
			p.lie(mockoidc.UserinfoEndpoint, p.Discovery)
			p.lie(mockoidc.DiscoveryEndpoint, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, p.UserinfoEndpoint(), http.StatusFound)
			})
		}, nil, provision.DirectoryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			p.lie(mockoidc.DiscoveryEndpoint, nil)
			if c.prepare != nil {
				c.prepare(t)
			}
			config := p.config()
			if c.change != nil {
				c.change(&config)
			}
			redirect, flow, err := newOIDC(t, config).Begin(t.Context())
			require.Equal(t, c.code, provision.CodeOf(err), "%v", err)
			require.Empty(t, redirect)
			require.Zero(t, flow)
		})
	}
	_, _, err := newOIDC(t, p.config()).Begin(ctx)
	require.Equal(t, provision.DirectoryUnavailable, provision.CodeOf(err))
}

// The provider fails after the person has signed in there.
func TestProviderFailsHalfWay(t *testing.T) {
	p := startIDP(t)
	for name, c := range map[string]struct {
		path   string
		answer http.HandlerFunc
		code   provision.Code
	}{
		"no tokens":            {mockoidc.TokenEndpoint, answerStatus(http.StatusInternalServerError), provision.DirectoryUnavailable},
		"tokens that are none": {mockoidc.TokenEndpoint, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, provision.DirectoryUnavailable},
		"no keys":              {mockoidc.JWKSEndpoint, answerStatus(http.StatusInternalServerError), provision.DirectoryUnavailable},
		"keys that are none":   {mockoidc.JWKSEndpoint, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, provision.DirectoryUnavailable},
		"other keys":           {mockoidc.JWKSEndpoint, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys": []}`)) }, provision.IdentityTokenRefused},
		"unknown to it": {mockoidc.TokenEndpoint, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error": "invalid_client"}`))
		}, provision.DirectoryInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			p.lie(c.path, c.answer)
			defer p.lie(c.path, nil)
			who, err := p.signIn(t, p.config(), andrew(nil))
			refused(t, c.code, who, err)
		})
	}
	config := p.config()
	config.ClientSecret = "wrong"
	who, err := p.signIn(t, config, andrew(nil))
	refused(t, provision.DirectoryInvalid, who, err)
	require.NotContains(t, err.Error(), p.ClientSecret)
}

func TestCheckNamesEachMistakeOfAProvider(t *testing.T) {
	right := directory.OIDCConfig{Issuer: "https://login.zylker.com/tenant", ClientID: "muster", RedirectURL: redirectURL}
	require.NoError(t, right.Check())
	for name, c := range map[string]struct {
		change func(*directory.OIDCConfig)
		fields []string
	}{
		"everything":        {func(c *directory.OIDCConfig) { *c = directory.OIDCConfig{} }, []string{"issuer", "redirect_url", "client_id"}},
		"unencrypted":       {func(c *directory.OIDCConfig) { c.Issuer, c.RedirectURL = "http://a.example", "http://b.example" }, []string{"issuer", "redirect_url"}},
		"no issuer":         {func(c *directory.OIDCConfig) { c.Issuer = "login.zylker.com" }, []string{"issuer"}},
		"issuer with query": {func(c *directory.OIDCConfig) { c.Issuer += "?a=b" }, []string{"issuer"}},
		"password in it":    {func(c *directory.OIDCConfig) { c.Issuer = "https://a:b@login.zylker.com" }, []string{"issuer"}},
		"domain":            {func(c *directory.OIDCConfig) { c.Domain = `ZYLKER\` }, []string{"domain"}},
		"CA":                {func(c *directory.OIDCConfig) { c.CA = "none" }, []string{"ca"}},
		"time-out":          {func(c *directory.OIDCConfig) { c.Timeout = -1 }, []string{"timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := right
			c.change(&config)
			require.Equal(t, c.fields, fields(t, config.Check()))
			_, err := directory.NewOIDC(config)
			require.Equal(t, config.Check(), err)
		})
	}
}
