package directory

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/muster-mdm/muster/provision"
)

// OIDC is an OpenID Connect provider that people sign in at, by authorization code with PKCE. It is made by [NewOIDC], and safe for
// concurrent use.
type OIDC struct {
	config OIDCConfig
	client *http.Client
	// discovering holds one token while nobody discovers; it guards what follows: what was found, or why and when nothing was.
	discovering chan struct{}
	found       *provider
	failed      error
	failedAt    time.Time
}

// NewOIDC makes it without asking the provider, which may be down now: its settings are discovered when they are first needed. It
// fails with a [SettingsError].
func NewOIDC(config OIDCConfig) (*OIDC, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	roots, err := config.pool()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	o := &OIDC{
		config: config,
		client: &http.Client{
			Transport: limited{transport}, Timeout: config.Timeout,
			// What is asked is asked of the provider, not of whom it points to.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		discovering: make(chan struct{}, 1),
	}
	o.discovering <- struct{}{}
	return o, nil
}

// mostOfAnswer is far more than providers answer.
const mostOfAnswer = 1 << 20

// limited cuts answers off.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, mostOfAnswer), answer.Body}
	return answer, nil
}

// Flow is a sign-in that was begun: keep it in the browser's session, on the server, until the browser comes back, and then forget
// it. It is made for JSON. Verifier is a secret.
type Flow struct {
	Issuer   string    `json:"issuer"`
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Began    time.Time `json:"began"`
}

// flowLifetime is how long somebody may take at the provider's page.
const flowLifetime = 10 * time.Minute

// Begin returns where to send the browser, and what to keep meanwhile. It fails with [provision.DirectoryUnavailable] and
// [provision.DirectoryInvalid].
func (o *OIDC) Begin(ctx context.Context) (redirect string, flow Flow, err error) {
	p, err := o.provider(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	flow = Flow{
		Issuer: o.config.Issuer, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Began: o.config.Now(),
	}
	return p.oauth.AuthCodeURL(flow.State, oidc.Nonce(flow.Nonce), oauth2.S256ChallengeOption(flow.Verifier)), flow, nil
}

// Finish lets somebody in with whom the browser came back: query is that of the redirect URL. The flow must be that of the same
// browser, and be used once. It fails with one of these codes of provision:
//
//	SignInStateInvalid    the answer belongs to another sign-in
//	SignInExpired         it took too long, or was finished already
//	SignInDenied          the person or the provider doesn't want to
//	IdentityTokenRefused  what the provider says can't be trusted
//	EmailMissing, EmailUnverified
//	DirectoryUnavailable, DirectoryInvalid
func (o *OIDC) Finish(ctx context.Context, flow Flow, query url.Values) (Person, error) {
	code, err := o.answer(flow, query)
	if err != nil {
		return Person{}, err
	}
	p, err := o.provider(ctx)
	if err != nil {
		return Person{}, err
	}
	if p.namesItself && query.Get("iss") == "" {
		return Person{}, foreignAnswer()
	}
	token, err := o.exchange(ctx, p, code, flow.Verifier)
	if err != nil {
		return Person{}, err
	}
	identity, err := o.verify(ctx, p, token, flow.Nonce)
	if err != nil {
		return Person{}, err
	}
	return o.person(ctx, p, token, identity)
}

// answer is the code that the browser brings.
func (o *OIDC) answer(flow Flow, query url.Values) (string, error) {
	state, issuer := query.Get("state"), query.Get("iss")
	same := flow.State != "" && subtle.ConstantTimeCompare([]byte(state), []byte(flow.State)) == 1
	// The issuer is told by some only (RFC 9207): so that one provider's answer isn't brought to another.
	if !same || flow.Issuer != o.config.Issuer || issuer != "" && issuer != o.config.Issuer {
		return "", foreignAnswer()
	}
	if o.config.Now().After(flow.Began.Add(flowLifetime)) {
		return "", provision.Errorf(provision.SignInExpired, "The sign-in took too long. Sign in again.")
	}
	if word := query.Get("error"); word != "" {
		return "", because(refusalOf(word), fmt.Errorf("%q: %q", word, query.Get("error_description")))
	}
	if query.Get("code") == "" {
		return "", provision.Errorf(provision.SignInStateInvalid, "The identity provider sent no code. Sign in again.")
	}
	return query.Get("code"), nil
}

func foreignAnswer() error {
	return provision.Errorf(provision.SignInStateInvalid, "This doesn't belong to a sign-in that was begun here. Sign in again.")
}

// refusalOf is what an error of OAuth 2.0 (RFC 6749, 4.1.2.1) or OpenID Connect (3.1.2.6) means for the person.
func refusalOf(word string) *provision.Error {
	switch word {
	case "access_denied", "interaction_required", "login_required", "account_selection_required", "consent_required":
		return provision.Errorf(provision.SignInDenied, "The identity provider did not let you in, or you went back. Sign in again, or ask your administrator.")
	case "server_error", "temporarily_unavailable":
		return unavailable()
	}
	return provision.Errorf(provision.DirectoryInvalid, "The sign-in is set up wrong here, so nobody can sign in. Tell your administrator.")
}

func unavailable() *provision.Error {
	return provision.Errorf(provision.DirectoryUnavailable, "The identity provider can't be reached at the moment. Try again later.")
}

// exchange gives the code for tokens.
func (o *OIDC) exchange(ctx context.Context, p *provider, code, verifier string) (*oauth2.Token, error) {
	token, err := p.oauth.Exchange(oidc.ClientContext(ctx, o.client), code, oauth2.VerifierOption(verifier))
	if err == nil {
		return token, nil
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response != nil && refused.Response.StatusCode >= http.StatusInternalServerError {
		return nil, because(unavailable(), err)
	}
	if refused.ErrorCode == "invalid_grant" {
		return nil, because(provision.Errorf(provision.SignInExpired, "The sign-in is over, or was finished already. Sign in again."), err)
	}
	return nil, because(refusalOf(refused.ErrorCode), err)
}
