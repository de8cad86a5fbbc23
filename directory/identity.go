package directory

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/muster-mdm/muster/provision"
)

// identity is what the provider says of somebody.
type identity struct {
	subject string
	claims  map[string]any
}

// verify reads the identity token, and believes it when it is signed by the provider, for us, for this sign-in, and still valid
// (OpenID Connect Core, 3.1.3.7).
func (o *OIDC) verify(ctx context.Context, p *provider, token *oauth2.Token, nonce string) (identity, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return identity{}, distrust("The identity provider sent no identity token.", nil)
	}
	verified, err := p.verifier.Verify(ctx, raw)
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return identity{}, distrust("The identity provider's answer was past its time when it came.", err)
	case err != nil && strings.Contains(err.Error(), "fetching keys"): // the library wraps nothing
		return identity{}, because(unavailable(), err)
	case err != nil:
		return identity{}, distrust("The identity provider's answer is not its own.", err)
	}
	id := identity{subject: verified.Subject}
	if err := verified.Claims(&id.claims); err != nil {
		return identity{}, distrust("The identity provider's answer can't be read.", err)
	}
	if !o.isForUs(verified.Audience, id.text("azp")) {
		return identity{}, distrust("The identity provider's answer was meant for another application.", fmt.Errorf("its audience is %q", verified.Audience))
	}
	if subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(nonce)) != 1 || nonce == "" {
		return identity{}, distrust("The identity provider's answer belongs to another sign-in.", errors.New("the nonce differs"))
	}
	if verified.AccessTokenHash != "" {
		if err := verified.VerifyAccessToken(token.AccessToken); err != nil {
			return identity{}, distrust("The identity provider's answer is not in one piece.", err)
		}
	}
	if id.subject == "" {
		return identity{}, distrust("The identity provider does not say who you are.", nil)
	}
	return id, nil
}

func distrust(sentence string, cause error) error {
	return because(provision.Errorf(provision.IdentityTokenRefused, "%s Sign in again, or ask your administrator.", sentence), cause)
}

// isForUs wants us among the audience, and as the authorized party where there is one or there are several (OpenID Connect Core, 3.1.3.7).
func (o *OIDC) isForUs(audience []string, party string) bool {
	if !slices.Contains(audience, o.config.ClientID) {
		return false
	}
	return party == o.config.ClientID || party == "" && len(audience) == 1
}

// person is who the identity token tells, and what only the provider's userinfo tells.
func (o *OIDC) person(ctx context.Context, p *provider, token *oauth2.Token, id identity) (Person, error) {
	names := o.config.Claims
	if (id.text(names.Email) == "" || id.text(names.Name) == "") && p.UserInfoEndpoint() != "" {
		if err := o.complete(ctx, p, token, &id); err != nil {
			return Person{}, err
		}
	}
	email := id.text(names.Email)
	if email == "" {
		return Person{}, provision.Errorf(provision.EmailMissing, "The identity provider does not tell your e-mail address. Ask your administrator.")
	}
	if verified, said := id.verified(names.Email); said && !verified || !said && !o.config.TrustEmail {
		return Person{}, provision.Errorf(provision.EmailUnverified, "The identity provider has not verified your e-mail address %s. Verify it there, then sign in again.", email)
	}
	return Person{
		Name: orElse(id.text(names.Name), email), Domain: o.config.Domain, DisplayName: id.text(names.DisplayName),
		Email: email, Groups: id.list(names.Groups), Subject: id.subject,
	}, nil
}

// complete adds what userinfo tells; what the signed token says stays.
func (o *OIDC) complete(ctx context.Context, p *provider, token *oauth2.Token, id *identity) error {
	info, err := p.UserInfo(oidc.ClientContext(ctx, o.client), oauth2.StaticTokenSource(token))
	if err != nil {
		return because(unavailable(), fmt.Errorf("asking for the user's details: %w", err))
	}
	if info.Subject != id.subject { // it could be anybody's (OpenID Connect Core, 5.3.2)
		return distrust("The identity provider's answers are about two different people.", nil)
	}
	var claims map[string]any
	if err := info.Claims(&claims); err != nil {
		return distrust("The identity provider's answer can't be read.", err)
	}
	maps.Copy(claims, id.claims)
	id.claims = claims
	return nil
}

const standardEmail = "email"

func (id identity) text(claim string) string {
	text, _ := id.claims[claim].(string)
	return strings.TrimSpace(text)
}

// list takes a single text for a list of one.
func (id identity) list(claim string) []string {
	var all []string
	switch value := id.claims[claim].(type) {
	case string:
		all = append(all, value)
	case []any:
		for _, element := range value {
			if text, ok := element.(string); ok {
				all = append(all, text)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// verified says whether the address in a claim is verified, and whether that is said at all: it is said of the standard claim only.
// Some providers write the truth as a text.
func (id identity) verified(claim string) (verified, said bool) {
	if claim != standardEmail {
		return false, false
	}
	switch value := id.claims["email_verified"].(type) {
	case bool:
		return value, true
	case string:
		return value == "true", true
	}
	return false, false
}
