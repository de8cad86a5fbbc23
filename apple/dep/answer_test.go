package dep_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
)

// say answers every request but those for a session as told.
func say(t *testing.T, status int, headers map[string]string, body string) *dep.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/session" {
			_, _ = io.WriteString(w, `{"auth_session_token":"s"}`)
			return
		}
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return dep.New(dep.Config{BaseURL: s.URL, Transport: s.Client().Transport})
}

// An answer that is empty where it mustn't be is no organisation without devices, and no success.
func TestHollowAnswers(t *testing.T) {
	for _, body := range []string{`{}`, `null`, `[]`, `""`, ``, `{`, `{"devices":7}`, `{"cursor":"c","devices":[{}]}`, `{"cursor":"c","fetched_until":"soon"}`} {
		c := say(t, 200, nil, body)
		_, err := c.Fetch(t.Context(), "", 0)
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.Sync(t.Context(), "c", 0)
		requireFault(t, err, fault.Garbled, 200, "")
	}
	for _, body := range []string{`{}`, `null`, `[]`, `{"devices":null}`, `{"server_name":"x"}`, `{"profile_uuid":""}`} {
		c := say(t, 200, nil, body)
		_, err := c.Account(t.Context())
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.DefineProfile(t.Context(), json.RawMessage(fields))
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.AssignProfile(t.Context(), "u", []string{"A"})
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.RemoveProfile(t.Context(), "u", []string{"A"})
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.Disown(t.Context(), []string{"A"})
		requireFault(t, err, fault.Garbled, 200, "")
		_, err = c.Details(t.Context(), []string{"A"})
		requireFault(t, err, fault.Garbled, 200, "")
	}
	_, err := say(t, 200, nil, `["x"]`).Profile(t.Context(), "u")
	requireFault(t, err, fault.Garbled, 200, "")
}

func TestADeviceThatAppleLeavesOutIsNoSuccess(t *testing.T) {
	c := say(t, 200, nil, `{"devices":{"A":"SUCCESS","B":null,"C":"SOMETHING_NEW"},"retry_after_seconds":-3}`)
	got, err := c.AssignProfile(t.Context(), "u", []string{"A", "B", "C", "D"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"A": "SUCCESS", "B": "", "C": "SOMETHING_NEW"}, got.BySerial)
	require.Empty(t, got.BySerial["D"])
	require.Zero(t, got.RetryAfter)
}

// What a proxy says in Apple's place isn't Apple's word.
func TestRefusalsByTheirForm(t *testing.T) {
	page := map[string]string{"Content-Type": "text/html; charset=utf-8"}
	for _, c := range []struct {
		status  int
		headers map[string]string
		body    string
		kind    fault.Kind
		code    string
	}{
		{404, page, "<html>Not found</html>", fault.Garbled, ""},
		{404, nil, "", fault.Garbled, ""},
		{404, nil, "no such page", fault.Garbled, ""},
		{404, nil, "PROFILE_NOT_FOUND", fault.NotFound, "PROFILE_NOT_FOUND"},
		{404, nil, "SOMETHING_ELSE", fault.Refused, "SOMETHING_ELSE"},
		{403, page, "<html>Blocked</html>", fault.Garbled, ""},
		{403, nil, "<html>Blocked</html>", fault.Garbled, ""},
		{403, nil, "", fault.AccessDenied, ""},
		{403, nil, `{"error": "T_C_NOT_SIGNED", "message": "sign"}`, fault.TermsNotSigned, "T_C_NOT_SIGNED"},
		{401, page, "<html>Sign in</html>", fault.Garbled, ""},
		{401, nil, "UNAUTHORIZED", fault.Unreachable, "UNAUTHORIZED"}, // the session, which isn't the token
		{401, nil, "token_expired", fault.TokenExpired, "token_expired"},
		{401, nil, "", fault.Unreachable, ""},
		{407, nil, "", fault.Garbled, ""},
		{400, page, "<html>Bad</html>", fault.Garbled, ""},
		{400, nil, "DEVICE_ID_REQUIRED\n", fault.Refused, "DEVICE_ID_REQUIRED"},
		{400, nil, "TOO_MANY_REQUESTS", fault.Throttled, "TOO_MANY_REQUESTS"},
		{429, page, "<html>Slow</html>", fault.Throttled, ""},
		{502, page, "<html>Bad gateway</html>", fault.Unreachable, ""},
		{500, nil, "FORBIDDEN", fault.Unreachable, "FORBIDDEN"},
		{408, nil, "", fault.Unreachable, ""},
		{302, map[string]string{"Location": "http://portal.invalid/"}, "", fault.Garbled, ""},
		{204, nil, "", fault.Garbled, ""},
		{200, page, "<html>Sign in</html>", fault.Garbled, ""},
	} {
		_, err := say(t, c.status, c.headers, c.body).Fetch(t.Context(), "", 0)
		f := requireFault(t, err, c.kind, c.status, c.code)
		require.Equal(t, strings.HasPrefix(c.body, "<") && c.kind == fault.Garbled, strings.Contains(err.Error(), "A web page came"), "%d %s: %v", c.status, c.body, f)
	}
}

func TestClocksThatAreWrong(t *testing.T) {
	_, err := say(t, 401, nil, "timestamp_refused").Account(t.Context())
	requireFault(t, err, fault.TokenRejected, 401, "timestamp_refused")
	require.ErrorContains(t, err, "clock")
}

func TestAnswersWithoutEnd(t *testing.T) {
	_, err := say(t, 200, nil, `{"cursor":"`+strings.Repeat("x", 17<<20)+`"}`).Fetch(t.Context(), "", 0)
	f := requireFault(t, err, fault.Garbled, 200, "")
	require.Contains(t, f.Detail, "more than 16777216 bytes")
}
