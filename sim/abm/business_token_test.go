package abm_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	axmclient "github.com/micromdm/nanoaxm/client"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

func TestAccessTokensLastAnHour(t *testing.T) {
	p := open(t, abm.Config{})
	a := p.api(true)
	require.NoError(t, a.get("/v1/mdmServers", &many{}))
	a.answers()
	p.Jump(59 * time.Minute)
	require.NoError(t, a.get("/v1/mdmServers", &many{}))
	require.Equal(t, []string{"GET /v1/mdmServers 200"}, a.answers())
	renewed := []string{"GET /v1/mdmServers 401", "POST /auth/oauth2/v2/token 200", "GET /v1/mdmServers 200"}
	p.Jump(time.Minute)
	require.NoError(t, a.get("/v1/mdmServers", &many{}))
	require.Equal(t, renewed, a.answers())
	require.True(t, p.ExpireAccess(a.account.ClientID, false))
	require.NoError(t, a.get("/v1/mdmServers", &many{}))
	require.Equal(t, renewed, a.answers())
	require.True(t, p.ExpireAccess(a.account.ClientID, true))
	require.ErrorContains(t, a.get("/v1/mdmServers", &many{}), "invalid_client")
	require.False(t, p.ExpireAccess("nobody", true))
}

func TestAssertionsAreVerified(t *testing.T) {
	p := open(t, abm.Config{})
	account, err := p.AddAccount(true)
	require.NoError(t, err)
	key, err := jwt.ParseECPrivateKeyFromPEM(account.PrivateKeyPEM)
	require.NoError(t, err)
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	good := func() jwt.MapClaims {
		return jwt.MapClaims{
			"iss": account.ClientID, "sub": account.ClientID, "aud": axmclient.Audience, "jti": "1",
			"iat": now.Unix(), "exp": now.Add(180 * 24 * time.Hour).Unix(),
		}
	}
	ask := func(assertion string) (int, string) {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {account.ClientID}, "scope": {"business.api"},
			"client_assertion_type": {axmclient.ClientAssertionType}, "client_assertion": {assertion},
		}
		return p.raw("POST", "/auth/oauth2/token", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
	}
	sign := func(key *ecdsa.PrivateKey, kid string, change func(jwt.MapClaims)) string {
		c := good()
		change(c)
		token := jwt.NewWithClaims(jwt.SigningMethodES256, c)
		token.Header["kid"] = kid
		signed, err := token.SignedString(key)
		require.NoError(t, err)
		return signed
	}
	as := func(claim string, value any) func(jwt.MapClaims) { return func(c jwt.MapClaims) { c[claim] = value } }
	fine := sign(key, account.KeyID, as("aud", []string{axmclient.Audience}))
	for range 2 { // an assertion may be used again
		status, body := ask(fine)
		require.Equal(t, 200, status, body)
		require.Contains(t, body, `"expires_in":3600`)
	}
	symmetric := jwt.NewWithClaims(jwt.SigningMethodHS256, good())
	symmetric.Header["kid"] = account.KeyID
	hs, err := symmetric.SignedString([]byte("secret"))
	require.NoError(t, err)
	for what, assertion := range map[string]string{
		"foreign key":   sign(foreign, account.KeyID, func(jwt.MapClaims) {}),
		"wrong kid":     sign(key, "other", func(jwt.MapClaims) {}),
		"wrong iss":     sign(key, account.KeyID, as("iss", "other")),
		"wrong sub":     sign(key, account.KeyID, as("sub", "other")),
		"wrong aud":     sign(key, account.KeyID, as("aud", "https://appleid.apple.com")),
		"no jti":        sign(key, account.KeyID, as("jti", "")),
		"expired":       sign(key, account.KeyID, as("exp", now.Add(-time.Minute).Unix())),
		"too long":      sign(key, account.KeyID, as("exp", now.Add(181*24*time.Hour).Unix())),
		"of the future": sign(key, account.KeyID, as("iat", now.Add(time.Hour).Unix())),
		"tampered":      strings.Replace(fine, ".", ".e30", 1),
		"HS256":         hs,
		"two parts":     "a.b",
		"not base64":    "a.b.!",
	} {
		status, body := ask(assertion)
		require.Equal(t, 400, status, what)
		require.JSONEq(t, `{"error":"invalid_client"}`, body, what)
	}
}

func TestTokenRequestsAreChecked(t *testing.T) {
	p := open(t, abm.Config{})
	for change, want := range map[string]string{
		"grant_type=password": "unsupported_grant_type", "scope=school.api": "invalid_scope",
		"client_assertion_type=x": "invalid_request", "client_assertion=": "invalid_request", "client_id=nobody": "invalid_client",
	} {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"x"}, "scope": {"business.api"},
			"client_assertion_type": {axmclient.ClientAssertionType}, "client_assertion": {"x"},
		}
		key, value, _ := strings.Cut(change, "=")
		form.Set(key, value)
		status, body := p.raw("POST", "/auth/oauth2/v2/token", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
		require.Equal(t, 400, status)
		var answer map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Equal(t, want, answer["error"], change)
	}
}
