package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/muster-mdm/muster/provision"
)

// provider is what was discovered about the issuer.
type provider struct {
	*oidc.Provider
	// oauth remembers how the provider wants the client's secret, so it is kept.
	oauth    *oauth2.Config
	verifier *oidc.IDTokenVerifier
	// namesItself: it says in every answer that brings a browser back that the answer is its own (RFC 9207).
	namesItself bool
}

// provider discovers the provider once it answers. Who comes meanwhile waits, no longer than the context, and shares what comes of
// it: one after the other would wait for minutes for a provider that is down.
func (o *OIDC) provider(ctx context.Context) (*provider, error) {
	came := time.Now()
	select {
	case <-o.discovering:
		defer func() { o.discovering <- struct{}{} }()
	case <-ctx.Done():
		return nil, because(unavailable(), ctx.Err())
	}
	if o.found != nil {
		return o.found, nil
	}
	if o.failedAt.After(came) {
		return nil, o.failed
	}
	found, err := o.discover(ctx)
	if err != nil {
		// One who hangs up says nothing of the provider.
		if ctx.Err() == nil {
			o.failed, o.failedAt = err, time.Now()
		}
		return nil, err
	}
	o.found = found
	return found, nil
}

func (o *OIDC) discover(ctx context.Context) (*provider, error) {
	discovered, err := oidc.NewProvider(oidc.ClientContext(ctx, o.client), o.config.Issuer)
	var other *oidc.IssuerMismatchError
	if errors.As(err, &other) {
		return nil, because(provision.Errorf(provision.DirectoryInvalid,
			"The identity provider calls itself by another name than the issuer in the settings. Tell your administrator.").At("issuer"), err)
	}
	if err != nil {
		return nil, because(unavailable(), fmt.Errorf("discovering %s: %w", o.config.Issuer, err))
	}
	if err := o.encrypted(discovered); err != nil {
		return nil, err
	}
	var also struct {
		NamesItself bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err := discovered.Claims(&also); err != nil {
		return nil, because(unavailable(), err)
	}
	return &provider{
		Provider: discovered, namesItself: also.NamesItself,
		oauth: &oauth2.Config{
			ClientID: o.config.ClientID, ClientSecret: o.config.ClientSecret, RedirectURL: o.config.RedirectURL,
			Endpoint: discovered.Endpoint(), Scopes: o.config.Scopes,
		},
		// The audience is looked at here: the library doesn't mind others beside ours.
		verifier: discovered.Verifier(&oidc.Config{SkipClientIDCheck: true, Now: o.config.Now}),
	}, nil
}

// encrypted refuses a provider that would have secrets sent in the clear.
func (o *OIDC) encrypted(discovered *oidc.Provider) error {
	var also struct {
		Keys string `json:"jwks_uri"`
	}
	if err := discovered.Claims(&also); err != nil {
		return because(unavailable(), err)
	}
	endpoint := discovered.Endpoint()
	for _, address := range []string{endpoint.AuthURL, endpoint.TokenURL, also.Keys, discovered.UserInfoEndpoint()} {
		secure := strings.HasPrefix(address, "https://") || o.config.InsecurePlain && strings.HasPrefix(address, "http://")
		if !secure && (address != "" || address == endpoint.AuthURL) {
			return because(refusalOf("insecure"), fmt.Errorf("the provider names the address %q, which isn't https", address))
		}
	}
	return nil
}
