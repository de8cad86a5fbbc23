package directory_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// The provider's own key signs these, so only what they say is wrong.
func TestIdentityTokenMustBeRight(t *testing.T) {
	p := startIDP(t)
	hour := time.Now().Add(time.Hour).Unix()
	for name, c := range map[string]struct {
		claims map[string]any
		says   string
	}{
		"for another":              {map[string]any{"aud": "other"}, "was meant for another application"},
		"for nobody":               {map[string]any{"aud": nil}, "was meant for another application"},
		"for several":              {map[string]any{"aud": []string{p.ClientID, "other"}}, "was meant for another application"},
		"given to another":         {map[string]any{"azp": "other"}, "was meant for another application"},
		"expired":                  {map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, "was past its time"},
		"of no end":                {map[string]any{"exp": nil}, "was past its time"},
		"of tomorrow":              {map[string]any{"nbf": hour}, "is not its own"},
		"of another issuer":        {map[string]any{"iss": "https://other.example"}, "is not its own"},
		"of another sign-in":       {map[string]any{"nonce": "other"}, "belongs to another sign-in"},
		"of no sign-in":            {map[string]any{"nonce": nil}, "belongs to another sign-in"},
		"about nobody":             {map[string]any{"sub": nil}, "does not say who you are"},
		"of another access token":  {map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "is not in one piece"},
		"with claims of elsewhere": {map[string]any{"_claim_names": map[string]string{"email": "x"}}, "is not its own"},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := p.signIn(t, p.config(), andrew(c.claims))
			refused(t, provision.IdentityTokenRefused, who, err)
			require.Contains(t, told(t, err), c.says)
		})
	}
	who, err := p.signIn(t, p.config(), andrew(map[string]any{"aud": []string{"other", p.ClientID}, "azp": p.ClientID}))
	require.NoError(t, err)
	require.Equal(t, andrewFuller, who)
}

// These are signed by somebody else, or by nobody.
func TestIdentityTokenMustBeTheProviders(t *testing.T) {
	p := startIDP(t)
	stranger, err := mockoidc.RandomKeypair(2048)
	require.NoError(t, err)
	stranger.Kid, err = p.Keypair.KeyID()
	require.NoError(t, err)
	resign := func(sign func(jwt.Claims) (string, error)) func(map[string]any) {
		return func(answer map[string]any) {
			raw, ok := answer["id_token"].(string)
			if !ok {
				return // an error: the client's secret is first sent in another way than this provider wants
			}
			claims := jwt.MapClaims{}
			if _, _, err := jwt.NewParser().ParseUnverified(raw, claims); err != nil {
				panic(err)
			}
			signed, err := sign(claims)
			if err != nil {
				panic(err)
			}
			answer["id_token"] = signed
		}
	}
	for name, change := range map[string]func(map[string]any){
		"a stranger's key": resign(stranger.SignJWT),
		"no signature": resign(func(c jwt.Claims) (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodNone, c).SignedString(jwt.UnsafeAllowNoneSignatureType)
		}),
		"our own secret": resign(func(c jwt.Claims) (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(p.ClientSecret))
		}),
		"no token at all": func(answer map[string]any) { delete(answer, "id_token") },
		"no JWT":          func(answer map[string]any) { answer["id_token"] = "andrew" },
		"a number":        func(answer map[string]any) { answer["id_token"] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			p.rewrite(mockoidc.TokenEndpoint, p.Token, change)
			who, err := p.signIn(t, p.config(), andrew(nil))
			refused(t, provision.IdentityTokenRefused, who, err)
		})
	}
	p.rewrite(mockoidc.TokenEndpoint, p.Token, resign(p.Keypair.SignJWT))
	who, err := p.signIn(t, p.config(), andrew(nil))
	require.NoError(t, err)
	require.Equal(t, andrewFuller, who)
}

func TestAddressMustBeVerified(t *testing.T) {
	p := startIDP(t)
	trusting := func(c *directory.OIDCConfig) { c.TrustEmail = true }
	byUPN := func(c *directory.OIDCConfig) { c.Claims.Email = "upn" }
	for name, c := range map[string]struct {
		claims map[string]any
		change func(*directory.OIDCConfig)
		code   provision.Code
	}{
		"said":                              {map[string]any{"email_verified": true}, nil, ""},
		"said in words":                     {map[string]any{"email_verified": "true"}, nil, ""},
		"denied":                            {map[string]any{"email_verified": false}, nil, provision.EmailUnverified},
		"denied in words":                   {map[string]any{"email_verified": "false"}, nil, provision.EmailUnverified},
		"denied, although trusted":          {map[string]any{"email_verified": false}, trusting, provision.EmailUnverified},
		"not said":                          {map[string]any{"email_verified": nil}, nil, provision.EmailUnverified},
		"not said, but trusted":             {map[string]any{"email_verified": nil}, trusting, ""},
		"said of another claim":             {map[string]any{"upn": "andrew@zylker.com"}, byUPN, provision.EmailUnverified},
		"said of another claim and trusted": {map[string]any{"upn": "andrew@zylker.com"}, func(c *directory.OIDCConfig) { byUPN(c); trusting(c) }, ""},
		"no address":                        {map[string]any{"email": nil}, nil, provision.EmailMissing},
		"an empty address":                  {map[string]any{"email": " "}, trusting, provision.EmailMissing},
		"a number":                          {map[string]any{"email": 1}, nil, provision.EmailMissing},
	} {
		t.Run(name, func(t *testing.T) {
			config := p.config()
			if c.change != nil {
				c.change(&config)
			}
			who, err := p.signIn(t, config, andrew(c.claims))
			if c.code == "" {
				require.NoError(t, err)
				require.Equal(t, andrewFuller, who)
				return
			}
			refused(t, c.code, who, err)
		})
	}
}

func TestClaimsHaveOtherNames(t *testing.T) {
	p := startIDP(t)
	config := p.config()
	config.Claims = directory.Claims{Name: "login", DisplayName: "cn", Groups: "roles"}
	who, err := p.signIn(t, config, andrew(map[string]any{"login": "af", "cn": "A. Fuller", "roles": "driver"}))
	require.NoError(t, err)
	require.Equal(t, directory.Person{
		Name: "af", Domain: "ZYLKER", DisplayName: "A. Fuller", Email: "andrew@zylker.com", Groups: []string{"driver"}, Subject: subject,
	}, who)
	who, err = p.signIn(t, p.config(), andrew(map[string]any{"preferred_username": nil, "groups": nil}))
	require.NoError(t, err)
	require.Equal(t, "andrew@zylker.com", who.Name)
	require.Empty(t, who.Groups)
}

// Some providers keep identity tokens small.
func TestUserinfoCompletesTheToken(t *testing.T) {
	p := startIDP(t)
	small := user{
		claims: map[string]any{"groups": []string{"drivers", "staff"}},
		info: map[string]any{
			"sub": subject, "preferred_username": "andrew", "name": "Andrew Fuller", "email": "andrew@zylker.com", "email_verified": true, "groups": "admins",
		},
	}
	who, err := p.signIn(t, p.config(), small)
	require.NoError(t, err)
	require.Equal(t, andrewFuller, who, "what is signed stays")

	other := user{claims: small.claims, info: maps.Clone(small.info)}
	other.info["sub"] = "00u2margaret"
	who, err = p.signIn(t, p.config(), other)
	refused(t, provision.IdentityTokenRefused, who, err)

	p.lie(mockoidc.UserinfoEndpoint, answerStatus(http.StatusBadGateway))
	who, err = p.signIn(t, p.config(), small)
	refused(t, provision.DirectoryUnavailable, who, err)
	p.lie(mockoidc.UserinfoEndpoint, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) })
	who, err = p.signIn(t, p.config(), small)
	refused(t, provision.DirectoryUnavailable, who, err)
}
