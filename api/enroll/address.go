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
	addr, ok := parseAddress(host)
	return ok && slices.ContainsFunc(d.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseAddress reads an address as proxies write it. Some append the port, which is another for every connection.
func parseAddress(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		var with netip.AddrPort
		with, err = netip.ParseAddrPort(text)
		addr = with.Addr()
	}
	return addr.Unmap().WithZone(""), err == nil
}

func networkOf(host string) string {
	addr, ok := parseAddress(host)
	switch {
	case !ok:
		return host
	case addr.Is4():
		return addr.String()
	}
	const network = 64
	return netip.PrefixFrom(addr, network).Masked().String()
}
