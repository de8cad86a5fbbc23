package abm

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // OAuth 1.0a with HMAC-SHA1 is what Apple asks for
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockSkew is how far a client's clock may be off.
const clockSkew = 5 * time.Minute

// authorization is a request's OAuth 1.0a header, decoded.
type authorization map[string]string

var oauthRequired = []string{"oauth_consumer_key", "oauth_token", "oauth_signature_method", "oauth_signature", "oauth_timestamp", "oauth_nonce"}

// readAuthorization parses the header; the refusals are those that Apple answers with 400.
func readAuthorization(header string) (authorization, *refusal) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "OAuth") {
		return nil, badRequest("parameter_absent")
	}
	a := authorization{}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		decoded, err := url.PathUnescape(strings.Trim(value, `"`))
		if !ok || err != nil {
			return nil, badRequest("parameter_rejected")
		}
		if _, twice := a[key]; twice || key != "realm" && !strings.HasPrefix(key, "oauth_") {
			return nil, badRequest("parameter_rejected")
		}
		a[key] = decoded
	}
	for _, key := range oauthRequired {
		if a[key] == "" {
			return nil, badRequest("parameter_absent")
		}
	}
	switch {
	case a["oauth_signature_method"] != "HMAC-SHA1":
		return nil, badRequest("signature_method_rejected")
	case a["oauth_version"] != "" && a["oauth_version"] != "1.0":
		return nil, badRequest("version_rejected")
	case a["realm"] != "" && a["realm"] != "ADM":
		return nil, badRequest("parameter_rejected")
	}
	return a, nil
}

// authenticate finds the server whose token signed the request. The caller holds mu.
func (o *Organization) authenticate(r *http.Request) (*server, *refusal) {
	a, no := readAuthorization(r.Header.Get("Authorization"))
	if no != nil {
		return nil, no
	}
	s := o.consumer(a["oauth_consumer_key"])
	if s == nil {
		return nil, o.unauthorized("consumer_key_unknown")
	}
	switch {
	case slices.Contains(s.Replaced, a["oauth_token"]):
		// What clients report to see after a newer token was downloaded; other tokens are rejected by name.
		return nil, o.unauthorized("signature_invalid")
	case a["oauth_token"] != s.Token.AccessToken || s.Token.Revoked:
		return nil, o.unauthorized("token_rejected")
	case !a.signed(r, s.Token):
		return nil, o.unauthorized("signature_invalid")
	case !o.now().Before(s.Token.Expires):
		return nil, o.unauthorized("token_expired")
	}
	return s, o.fresh(s, a)
}

func (o *Organization) consumer(key string) *server {
	for _, s := range o.ranking {
		if s.Token.ConsumerKey == key {
			return s
		}
	}
	return nil
}

// unauthorized is a refusal of a token: 401 by Apple's documents, 403 by some reports.
func (o *Organization) unauthorized(code string) *refusal {
	if o.quirks.TokenErrorsForbidden {
		return &refusal{status: http.StatusForbidden, code: code}
	}
	return &refusal{status: http.StatusUnauthorized, code: code}
}

// fresh refuses replays: old timestamps and used nonces.
func (o *Organization) fresh(s *server, a authorization) *refusal {
	now := o.cfg.Now()
	seconds, err := strconv.ParseInt(a["oauth_timestamp"], 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > clockSkew {
		return o.unauthorized("timestamp_refused")
	}
	if _, used := s.nonces[a["oauth_nonce"]]; used {
		return o.unauthorized("nonce_used")
	}
	for nonce, at := range s.nonces {
		if now.Sub(at) > 2*clockSkew {
			delete(s.nonces, nonce)
		}
	}
	s.nonces[a["oauth_nonce"]] = now
	return nil
}

// signed verifies the signature (RFC 5849, section 3.4). The client signs the address it knows, which behind a rewriting
// transport is Apple's: both are tried.
func (a authorization) signed(r *http.Request, token credentials) bool {
	given, err := base64.StdEncoding.DecodeString(a["oauth_signature"])
	if err != nil {
		return false
	}
	key := escape(token.ConsumerSecret) + "&" + escape(token.AccessSecret)
	parameters := a.normalized(r.URL.Query())
	for _, origin := range []string{"http://" + r.Host, "https://" + r.Host, "https://mdmenrollment.apple.com"} {
		base := r.Method + "&" + escape(strings.ToLower(origin)+r.URL.EscapedPath()) + "&" + escape(parameters)
		mac := hmac.New(sha1.New, []byte(key))
		mac.Write([]byte(base))
		if hmac.Equal(given, mac.Sum(nil)) {
			return true
		}
	}
	return false
}

// normalized lists the parameters of header and query as RFC 5849, section 3.4.1.3.2, wants them.
func (a authorization) normalized(query url.Values) string {
	var pairs []string
	for key, value := range a {
		if key != "realm" && key != "oauth_signature" {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	for key, values := range query {
		for _, value := range values {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape is RFC 5849's percent encoding: everything but RFC 3986's unreserved characters.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return out.String()
}
