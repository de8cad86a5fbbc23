package wire_test

import (
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/apple/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func transport(t *testing.T) *http.Transport {
	t.Helper()
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}

func TestTheLastAnswerIsKept(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "at "+r.URL.Path)
	})
	client := wire.Client(transport(t), nil)
	ctx, heard := wire.Listen(t.Context())
	for _, path := range []string{"/a", "/b"} {
		response, err := get(ctx, client, url+path)
		require.NoError(t, err)
		// As the libraries do, the answer is left open: nothing may leak.
		require.Equal(t, int64(len("at /a")), response.ContentLength)
		require.Equal(t, [2]string{path, "at " + path}, [2]string{heard.Path, string(heard.Body)})
		require.Equal(t, http.StatusTeapot, heard.Status)
		require.Equal(t, "7", heard.Header.Get("Retry-After"))
	}
	_, err := get(ctx, client, "http://127.0.0.1:1/c")
	require.Equal(t, fault.Unreachable, fault.KindOf(err))
	require.Equal(t, wire.Answer{Path: "/c"}, *heard, "an old answer isn't this request's")

	_, err = get(t.Context(), client, url) // nobody listens
	require.NoError(t, err)
}

// A request that a library sends a second time has its body again.
func TestBodiesAreSentAgain(t *testing.T) {
	var got []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, string(body))
		w.WriteHeader(http.StatusUnauthorized)
	})
	client := wire.Client(transport(t), func(r *http.Request) { r.Header.Set("X", "y") })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("hello"))
	require.NoError(t, err)
	for range 2 {
		response, err := client.Transport.RoundTrip(request)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	}
	require.Equal(t, []string{"hello", "hello"}, got)
	require.Empty(t, request.Header, "what is prepared is a copy")
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := false
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/there" {
			followed = true
		}
		http.Redirect(w, r, "/there", http.StatusFound)
	})
	ctx, heard := wire.Listen(t.Context())
	response, err := get(ctx, wire.Client(transport(t), nil), url)
	require.NoError(t, err)
	require.Equal(t, http.StatusFound, response.StatusCode)
	require.False(t, followed)
	require.Equal(t, fault.Garbled, fault.KindOf(heard.Fault(errors.New("x"), none, nil)))
}

func none(wire.Answer) (code, detail string) { return "", "" }

func TestCertificatesAreChecked(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := get(t.Context(), wire.Client(transport(t), nil), s.URL)
	require.Equal(t, fault.Unreachable, fault.KindOf(err))
	f, _ := fault.As(err)
	require.ErrorContains(t, f, "isn't trusted")
}

func TestAnswersThatEndEarly(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, `{"half":`)
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/never" {
			<-r.Context().Done()
			return
		}
		panic(http.ErrAbortHandler)
	})
	client := wire.Client(transport(t), nil)
	for _, path := range []string{"/length", "/chunked"} {
		ctx, heard := wire.Listen(t.Context())
		_, err := get(ctx, client, url+path)
		require.Equal(t, fault.Garbled, fault.KindOf(err), "%s: %v", path, err)
		require.Empty(t, heard.Body, "half an answer is none")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := get(ctx, client, url+"/never")
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = get(ctx, client, url)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, fault.KindOf(err))
}

func TestErrorsBecomeFaults(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		heard wire.Answer
		code  string
		kind  fault.Kind
	}{
		{wire.Answer{}, "", fault.Unreachable},
		{wire.Answer{Status: 200, Body: []byte("{")}, "", fault.Garbled},
		{wire.Answer{Status: 400}, "KNOWN", fault.CursorExpired},
		{wire.Answer{Status: 500}, "KNOWN", fault.Unreachable},
		{wire.Answer{Status: 400}, "OTHER", fault.Refused},
		{wire.Answer{Status: 401}, "OTHER", fault.TokenRejected},
		{wire.Answer{Status: 403}, "", fault.AccessDenied},
		{wire.Answer{Status: 404}, "NOT_FOUND.RESOURCE", fault.NotFound},
		{wire.Answer{Status: 404}, "", fault.Garbled},
		{wire.Answer{Status: 429}, "", fault.Throttled},
	} {
		c.heard.Header = http.Header{}
		err := c.heard.Fault(broken, func(wire.Answer) (string, string) { return c.code, "" }, map[string]fault.Kind{"KNOWN": fault.CursorExpired})
		require.Equal(t, c.kind, fault.KindOf(err), "%+v", c)
		require.ErrorIs(t, err, broken)
	}
	var heard wire.Answer
	require.NoError(t, heard.Fault(nil, none, nil))
	own := &fault.Error{Kind: fault.Garbled}
	require.Equal(t, fault.Garbled, fault.KindOf(heard.Fault(own, none, nil)))
	require.Equal(t, context.Canceled, heard.Fault(context.Canceled, none, nil))
}

func TestRetryAfterIsWhatAppleSaid(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	longest := time.Duration(math.MaxInt64).Truncate(time.Second)
	for given, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 86400 ": 24 * time.Hour, "-1": 0, "1.5": 0, "soon": 0,
		"Fri, 27 Nov 2026 12:01:30 GMT": 90 * time.Second, "Fri, 27 Nov 2026 11:00:00 GMT": 0,
		"Friday, 27-Nov-26 12:00:05 GMT":       5 * time.Second,
		strconv.FormatUint(math.MaxUint64, 10): longest,
		"99999999999999999999999":              longest,
	} {
		require.Equal(t, want, wire.RetryAfter(http.Header{"Retry-After": {given}}, now), given)
	}
	header := http.Header{"Retry-After": {"Fri, 27 Nov 2026 12:01:30 GMT"}, "Date": {"Fri, 27 Nov 2026 12:01:00 GMT"}}
	require.Equal(t, 30*time.Second, wire.RetryAfter(header, now), "by the clock that set it")
	require.Zero(t, wire.RetryAfter(http.Header{}, now))
}

func TestExcerptIsOneShortLine(t *testing.T) {
	require.Equal(t, "a b c", wire.Excerpt([]byte(" a\r\n\tb \x00\xff c ")))
	require.Equal(t, strings.Repeat("ü", 200)+"…", wire.Excerpt([]byte(strings.Repeat("ü", 1000))))
	require.Empty(t, wire.Excerpt(nil))
}
