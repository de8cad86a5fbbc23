package directory

import (
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// OIDCConfig says how people sign in at an OpenID Connect provider.
type OIDCConfig struct {
	// Issuer is the provider, spelled exactly as it spells itself; its settings are below /.well-known there.
	Issuer       string
	ClientID     string
	ClientSecret string
	// RedirectURL is where the browser comes back to, as it is registered with the provider.
	RedirectURL string
	// Scopes are asked for; "openid" always is. Default "profile" and "email".
	Scopes []string
	Claims Claims
	// Domain is given to people; it may be empty.
	Domain string
	// TrustEmail takes addresses of which the provider doesn't say whether it verified them. What it says it didn't verify is
	// refused all the same. It can say so of the claim "email" only.
	TrustEmail bool
	// InsecurePlain lets secrets go over http:// unencrypted.
	InsecurePlain bool
	Trust
	// Timeout bounds each question to the provider; ten seconds by default.
	Timeout time.Duration
	// Now is the time; time.Now when nil.
	Now func() time.Time
}

// Claims name the claims that hold what a [Person] has. Empty ones are named by default as here.
type Claims struct {
	Name        string // preferred_username; the e-mail address where a person has none
	DisplayName string // name
	Email       string // email
	Groups      string // groups
}

const defaultOIDCTimeout = 10 * time.Second

func (c OIDCConfig) withDefaults() OIDCConfig {
	if c.Scopes == nil {
		c.Scopes = []string{oidc.ScopeProfile, oidc.ScopeEmail}
	}
	if !slices.Contains(c.Scopes, oidc.ScopeOpenID) {
		c.Scopes = append([]string{oidc.ScopeOpenID}, c.Scopes...)
	}
	c.Claims.Name = orElse(c.Claims.Name, "preferred_username")
	c.Claims.DisplayName = orElse(c.Claims.DisplayName, "name")
	c.Claims.Email = orElse(c.Claims.Email, standardEmail)
	c.Claims.Groups = orElse(c.Claims.Groups, "groups")
	if c.Timeout == 0 {
		c.Timeout = defaultOIDCTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Check returns a [SettingsError] that names all that is wrong, or nil. It doesn't ask the provider.
func (c OIDCConfig) Check() error {
	var m SettingsError
	c.checkURL(&m, "issuer", "issuer", c.Issuer)
	if u, err := url.Parse(c.Issuer); err == nil && (u.RawQuery != "" || u.Fragment != "") {
		m.add("issuer", "An issuer has no query and no fragment.")
	}
	c.checkURL(&m, "redirect_url", "redirect URL", c.RedirectURL)
	if c.ClientID == "" {
		m.add("client_id", "The client ID is missing; the provider gives one to each application.")
	}
	if c.Domain != "" && checkDomain(c.Domain) != nil {
		m.add("domain", "The domain needs letters, digits, hyphens, underscores or dots, %d at most.", maxDomain)
	}
	c.checkTrust(&m)
	if c.Timeout < 0 {
		m.add("timeout", "The time-out is negative.")
	}
	return m.orNil()
}

func (c OIDCConfig) checkURL(m *SettingsError, field, what, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
		m.add(field, "%.200q can't be the %s; write it like https://login.zylker.com.", text, what)
	case u.Scheme == "http" && !c.InsecurePlain:
		m.add(field, "The %s %s would send secrets unencrypted: use https://.", what, text)
	}
}
