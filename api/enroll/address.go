package enroll

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// addressOf is what of a caller's address counts: an IPv6 network is one caller. A proxy that is trusted says for whom it speaks.
func (d *Door) addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	// Only what a proxy of ours appended counts; what stands before that anybody may have written.
	said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, before := range slices.Backward(said) {
		before = strings.TrimSpace(before)
		if !d.trusts(host) || before == "" {
			break
		}
		host = before
	}
	return networkOf(host)
}

func (d *Door) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(d.config.TrustedProxies, func(p netip.Prefix) bool {
		return p.Contains(addr.Unmap().WithZone(""))
	})
}

func networkOf(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Unmap().Is4() {
		return host
	}
	const network = 64
	prefix, err := addr.WithZone("").Prefix(network)
	if err != nil {
		return host
	}
	return prefix.String()
}
