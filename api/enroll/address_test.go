package enroll

import (
	"net/http"
	"net/http/httptest"
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
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "::ffff:192.0.2.1", "[fe80::1%eth0]:5": "fe80::/64", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64",
		"a socket": "a socket", "host:5": "host",
	} {
		require.Equal(t, want, addressOf(&http.Request{RemoteAddr: from}), from)
	}
}
