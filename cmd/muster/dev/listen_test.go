package dev

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func listening(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestAddressOfTheLastRunIsPreferred(t *testing.T) {
	a, b, busy := freePort(t), freePort(t), listening(t).Addr().String()
	cases := []struct {
		name   string
		last   lastListen
		listen string
		given  bool
		want   string // "": some other port
	}{
		{"first run", lastListen{}, a, false, a},
		{"first run, in use", lastListen{}, busy, false, ""},
		{"as last time", lastListen{a, a}, a, false, a},
		{"the default after another", lastListen{b, b}, a, false, b},
		{"what was in use is free now", lastListen{a, b}, a, true, b},
		{"another is asked for", lastListen{a, a}, b, true, b},
		{"last is in use", lastListen{busy, busy}, a, false, a},
		{"last and wanted are in use", lastListen{busy, busy}, busy, true, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			st := &stack{dir: t.TempDir()}
			if c.last != (lastListen{}) {
				require.NoError(t, c.last.keep(st.path("listen")))
			}
			var said []string
			err := st.chooseAddress(options{listen: c.listen, listenGiven: c.given}, func(s string) { said = append(said, s) })
			require.NoError(t, err)
			if c.want == "" {
				require.NotContains(t, []string{busy, c.listen}, st.listen)
				require.Len(t, said, 1)
				require.Contains(t, said[0], "is in use; Muster takes "+st.listen)
			} else {
				require.Equal(t, c.want, st.listen)
				require.Empty(t, said)
			}
			kept, err := readListen(st.path("listen"))
			require.NoError(t, err)
			require.Equal(t, lastListen{c.listen, st.listen}, kept)
		})
	}
}

func TestUselessAddressIsNamed(t *testing.T) {
	_, err := freeAddress([]string{"nowhere"}, func(string) {})
	require.ErrorContains(t, err, `--listen "nowhere" is not host:port`)
}

func TestUnreadableAddressOfTheLastRun(t *testing.T) {
	st := &stack{dir: t.TempDir()}
	require.NoError(t, os.Mkdir(st.path("listen"), 0o700))
	require.ErrorContains(t, st.chooseAddress(options{listen: "127.0.0.1:0"}, func(string) {}), "reading the address of the last run")
}
