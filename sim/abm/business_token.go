package abm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	tokenAudience   = "https://account.apple.com/auth/oauth2/v2/token" //nolint:gosec // an address, not a credential
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife   = 180 * 24 * time.Hour
	coordinateBytes = 32
)

// Account is an API account as the portal shows it once: the key can't be had again.
type Account struct {
	ClientID      string `json:"client_id"`
	KeyID         string `json:"key_id"`
	PrivateKeyPEM []byte `json:"private_key_pem"`
	ReadOnly      bool   `json:"read_only"`
}

type account struct {
	ClientID string `json:"client_id"`
	KeyID    string `json:"key_id"`
	Public   []byte `json:"public"` // PKIX
	ReadOnly bool   `json:"read_only"`
	Revoked  bool   `json:"revoked"`
	Tokens   int    `json:"tokens"` // generation; access tokens of an earlier one are over

	key *ecdsa.PublicKey
}

// AddAccount creates an API account with a P-256 key. A read-only one may not change devices.
func (o *Organization) AddAccount(readOnly bool) (Account, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Account{}, fmt.Errorf("making the account's key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Account{}, fmt.Errorf("writing the account's key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return Account{}, fmt.Errorf("writing the account's public key: %w", err)
	}
	defer o.lock()()
	number, prefix := strconv.Itoa(len(o.accounts)+1), "BUSINESSAPI."
	if o.cfg.School {
		prefix = "SCHOOLAPI."
	}
	a := &account{
		ClientID: prefix + o.chance.uuid("client", number), KeyID: o.chance.uuid("key", number),
		Public: public, ReadOnly: readOnly, key: &key.PublicKey,
	}
	o.accounts[a.ClientID] = a
	return Account{
		ClientID: a.ClientID, KeyID: a.KeyID, ReadOnly: readOnly,
		// The portal's file says "EC PRIVATE KEY" and holds PKCS #8: clients have to cope with that.
		PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}, nil
}

// ExpireAccess ends the access tokens of an API account; its key gets new ones, unless revoked ends the key, too.
func (o *Organization) ExpireAccess(clientID string, revoked bool) bool {
	defer o.lock()()
	a := o.accounts[clientID]
	if a == nil {
		return false
	}
	a.Tokens++
	a.Revoked = revoked
	return true
}

func (o *Organization) tokenAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/oauth2/token", o.grant) // the address of Apple's example
	mux.HandleFunc("POST /auth/oauth2/v2/token", o.grant)
	return mux
}

// grant exchanges a client assertion for an access token; refusals are those of RFC 6749, section 5.2.
func (o *Organization) grant(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	scope := "business.api"
	if o.cfg.School {
		scope = "school.api"
	}
	no := ""
	switch {
	case r.ParseForm() != nil:
		no = "invalid_request"
	case r.Form.Get("grant_type") != "client_credentials":
		no = "unsupported_grant_type"
	case r.Form.Get("client_assertion_type") != assertionType, r.Form.Get("client_assertion") == "":
		no = "invalid_request"
	case r.Form.Get("scope") != scope:
		no = "invalid_scope"
	}
	token := ""
	if no == "" {
		token, no = o.exchange(r.Form.Get("client_id"), r.Form.Get("client_assertion"))
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	if no != "" {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": no}) // the client has gone away
		return
	}
	writeJSON(w, "application/json;charset=UTF-8", map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(o.cfg.Lifetime.Access.Seconds()), "scope": scope,
	})
}

func (o *Organization) exchange(clientID, assertion string) (token, no string) {
	defer o.lock()()
	a := o.accounts[clientID]
	if a == nil || a.Revoked || !a.asserted(assertion, o.cfg.Now()) {
		return "", "invalid_client"
	}
	t := ticket{kind: "access", subject: a.ClientID, numbers: [2]int64{int64(a.Tokens)}, issued: o.now()}
	return base64.RawURLEncoding.EncodeToString([]byte(a.ClientID)) + "." + o.seal(t), ""
}

// audience is one or several, as RFC 7519 lets it be.
type audience []string

// UnmarshalJSON reads a string or a list of strings.
func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = make(audience, 1)
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
}

// asserted verifies a client assertion. It may be used again and again until it expires, so its jti only has to be there.
func (a *account) asserted(assertion string, now time.Time) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	var c claims
	if !decodePart(parts[0], &header) || !decodePart(parts[1], &c) || header.Algorithm != "ES256" || header.KeyID != a.KeyID {
		return false
	}
	issued, expires := time.Unix(c.Issued, 0), time.Unix(c.Expires, 0)
	switch {
	case c.Issuer != a.ClientID, c.Subject != a.ClientID, c.ID == "", len(c.Audience) != 1 || c.Audience[0] != tokenAudience:
		return false
	case issued.After(now.Add(clockSkew)), !expires.After(now), expires.Sub(issued) > assertionLife:
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 2*coordinateBytes {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:coordinateBytes]), new(big.Int).SetBytes(signature[coordinateBytes:])
	return ecdsa.Verify(a.key, digest[:], r, s)
}

func decodePart(part string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, into) == nil
}

// bearer finds the account of a request's access token. The caller holds mu.
func (o *Organization) bearer(r *http.Request) (*account, *apiError) {
	no := &apiError{
		status: http.StatusUnauthorized, code: "NOT_AUTHORIZED", title: "Authentication credentials are missing or invalid.",
		detail: "Provide a properly configured and signed bearer token, and make sure that it has not expired.",
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	name, sealed, _ := strings.Cut(given, ".")
	clientID, err := base64.RawURLEncoding.DecodeString(name)
	if !ok || err != nil {
		return nil, no
	}
	a := o.accounts[string(clientID)]
	t, ok := o.open(sealed, "access", string(clientID))
	if a == nil || !ok || t.numbers[0] != int64(a.Tokens) || o.now().Sub(t.issued) >= o.cfg.Lifetime.Access {
		return nil, no
	}
	return a, nil
}
