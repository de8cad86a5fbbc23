package directory_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/directory"
)

const redirectURL = "https://muster.zylker.com/enroll/return"

// idp is a provider that signs people in without asking them, over TLS, and lies as a test tells it to.
type idp struct {
	*mockoidc.MockOIDC
	ca string

	mu     sync.Mutex
	served map[string]int              // how often each path was asked for
	lies   map[string]http.HandlerFunc // by path
}

func startIDP(t *testing.T) *idp {
	t.Helper()
	server, err := mockoidc.NewServer(nil)
	require.NoError(t, err)
	ca := authority(t)
	p := &idp{MockOIDC: server, ca: ca.PEM, served: map[string]int{}, lies: map[string]http.HandlerFunc{}}
	require.NoError(t, server.AddMiddleware(p.perhapsLie))
	config := serverTLS(t, ca, "127.0.0.1", time.Now().Add(time.Hour))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, server.Start(tls.NewListener(l, config), config))
	t.Cleanup(func() { require.NoError(t, server.Shutdown()) })
	return p
}

func (p *idp) perhapsLie(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.served[r.URL.Path]++
		lie := p.lies[r.URL.Path]
		p.mu.Unlock()
		if lie != nil {
			lie(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// lie answers requests for a path from now on; nil is the truth.
func (p *idp) lie(path string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lies[path] = answer
}

func (p *idp) asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served[path]
}

// rewrite changes the true answer of an address.
func (p *idp) rewrite(path string, truth http.HandlerFunc, change func(map[string]any)) {
	p.lie(path, func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		truth(recorded, r)
		var answer map[string]any
		if err := json.NewDecoder(recorded.Body).Decode(&answer); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		change(answer)
		var body bytes.Buffer
		_ = json.NewEncoder(&body).Encode(answer)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(body.Bytes())
	})
}

func answerStatus(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func (p *idp) config() directory.OIDCConfig {
	return directory.OIDCConfig{
		Issuer: p.Issuer(), ClientID: p.ClientID, ClientSecret: p.ClientSecret, RedirectURL: redirectURL, Trust: directory.Trust{CA: p.ca},
		Scopes: []string{"profile", "email", "groups"}, Domain: "ZYLKER",
	}
}

// browser goes to the provider's page, and returns the query with which it is sent back.
func (p *idp) browser(t *testing.T, redirect string) url.Values {
	t.Helper()
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(t, p.ca), MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Get(redirect)
	require.NoError(t, err)
	defer answer.Body.Close()
	back, err := answer.Location()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(back.String(), redirectURL+"?"))
	return back.Query()
}

// begin goes as far as the browser's return.
func (p *idp) begin(t *testing.T, o *directory.OIDC, who user) (directory.Flow, url.Values) {
	t.Helper()
	p.QueueUser(who)
	redirect, flow, err := o.Begin(t.Context())
	require.NoError(t, err)
	return flow, p.browser(t, redirect)
}

func (p *idp) signIn(t *testing.T, config directory.OIDCConfig, who user) (directory.Person, error) {
	t.Helper()
	o := newOIDC(t, config)
	flow, query := p.begin(t, o, who)
	return o.Finish(t.Context(), flow, query)
}

func newOIDC(t *testing.T, config directory.OIDCConfig) *directory.OIDC {
	t.Helper()
	o, err := directory.NewOIDC(config)
	require.NoError(t, err)
	return o
}

// user is somebody of whom the provider says what a test wants.
type user struct {
	claims map[string]any // of the identity token; those of the protocol, too, where nil leaves one out
	info   map[string]any // of userinfo
}

const subject = "00u1andrew"

// andrew is a user of whom all is well, but for the claims given.
func andrew(but map[string]any) user {
	claims := map[string]any{
		"preferred_username": "andrew", "name": "Andrew Fuller", "email": "andrew@zylker.com", "email_verified": true,
		"groups": []string{"staff", "drivers", "staff"},
	}
	maps.Copy(claims, but)
	return user{claims: claims, info: map[string]any{"sub": subject}}
}

func (u user) ID() string { return subject }

func (u user) Userinfo([]string) ([]byte, error) { return json.Marshal(u.info) }

func (u user) Claims(_ []string, base *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	raw, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	all := jwt.MapClaims{}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	for claim, value := range u.claims {
		all[claim] = value
		if value == nil {
			delete(all, claim)
		}
	}
	return all, nil
}
