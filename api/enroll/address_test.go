package enroll

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/throttle"
	"github.com/muster-mdm/muster/provision"
)

func TestCallersAreSlowedDownByAddress(t *testing.T) {
	d, err := NewDoor(&Enroller{}, nil, DoorConfig{Title: func(c provision.Code) string { return string(c) }})
	require.NoError(t, err)
	d.addresses = throttle.New(1e-6, 1)
	post := func(from string) int {
		r := httptest.NewRequest(http.MethodPost, "/enroll", strings.NewReader("x"))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, []int{503, 429, 503}, []int{post("192.0.2.1:1000"), post("192.0.2.1:2000"), post("192.0.2.2:1000")})
	require.Equal(t, []int{503, 429, 503}, []int{post("[2001:db8::1]:1"), post("[2001:db8::2]:1"), post("[2001:db8:0:1::1]:1")})
}

func TestAddressOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[fe80::1%eth0]:5": "fe80::/64", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64",
		"a socket": "a socket", "host:5": "host",
	} {
		require.Equal(t, want, (&Door{}).addressOf(&http.Request{RemoteAddr: from}), from)
	}
}

func TestAddressBehindProxies(t *testing.T) {
	d := &Door{config: DoorConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, c := range []struct{ from, said, want string }{
		{"10.0.0.1:5", "192.0.2.1", "192.0.2.1"},
		{"10.0.0.1:5", "203.0.113.9, 192.0.2.1", "192.0.2.1"},
		{"10.0.0.1:5", "203.0.113.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"},
		{"10.0.0.1:5", "192.0.2.1, nonsense", "nonsense"},
		{"10.0.0.1:5", "192.0.2.1:49152", "192.0.2.1"},
		{"10.0.0.1:5", "203.0.113.9, 192.0.2.1:49152, 10.0.0.2:443", "192.0.2.1"},
		{"10.0.0.1:5", "::ffff:192.0.2.1", "192.0.2.1"},
		{"[fd00::1]:5", "[2001:db8:1:2:3::4]:49152", "2001:db8:1:2::/64"},
		{"[fd00::1]:5", "[2001:db8:1:2:3::4]", "2001:db8:1:2::/64"},
		{"[::ffff:10.0.0.1]:5", "192.0.2.1", "192.0.2.1"},
		{"[fd00::1]:5", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"192.0.2.7:5", "192.0.2.1", "192.0.2.7"},
	} {
		r := &http.Request{RemoteAddr: c.from, Header: http.Header{}}
		if c.said != "" {
			r.Header.Set("X-Forwarded-For", c.said)
		}
		require.Equal(t, c.want, d.addressOf(r), "%s for %s", c.from, c.said)
	}
}

func TestCertificatesAreAskedForAsOftenAsProfiles(t *testing.T) {
	d, err := NewDoor(&Enroller{}, nil, DoorConfig{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	passed := 0
	service := d.LimitSCEP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed++ }))
	ask := func(from, operation string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/scep?operation="+operation, http.NoBody)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		return w
	}
	const mad = 3 * addressBurst
	for range mad {
		ask("192.0.2.1:1", "PKIOperation")
	}
	require.Less(t, passed, 2*addressBurst)
	refused := ask("192.0.2.1:2", "PKIOperation")
	require.Equal(t, http.StatusTooManyRequests, refused.Code)
	require.Equal(t, "1", refused.Header().Get("Retry-After"))
	for _, other := range []*httptest.ResponseRecorder{ask("192.0.2.2:1", "PKIOperation"), ask("192.0.2.1:1", "GetCACaps")} {
		require.Equal(t, http.StatusOK, other.Code)
	}
}
