package transport

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"pawl/downloader/failure"
)

// Follow limits the URLs that servers and lists may name. A public server or list must not make this
// machine request something that only its own network reaches, such as the metadata service of
// a cloud or a router. The URL that the user typed may be anywhere.
type Follow struct {
	Schemes   []string // allowed in redirects, lists, and mirrors that servers name; default http and https
	Private   bool     // public servers and lists may name private addresses
	NoMirrors bool     // mirrors that servers name are not used
	HTTP      bool     // a redirect may lead from https to http, and bytes of both may be mixed, although no digest proves them
}

// CheckScheme returns an error if servers and lists must not name URLs of the scheme.
func (f Follow) CheckScheme(scheme string) error {
	if len(f.Schemes) == 0 || slices.Contains(f.Schemes, scheme) {
		return nil
	}
	return failure.Permanent(failure.Wrap(failure.ErrScheme, fmt.Errorf("the scheme %s is not allowed, only %s", scheme, strings.Join(f.Schemes, " and "))))
}

// privateError returns the error for a private address, for example "127.0.0.1:80".
func privateError(address string) error {
	return failure.Permanent(failure.Wrap(failure.ErrPrivate, fmt.Errorf("%s is a private address, which a public server or list must not name", address)))
}

// A guard keeps a request off private addresses if a public source named its URL. Such
// requests have connections of their own, which are never opened to a private address. So the
// guard is safe from a name whose address changes between check and use, and from a connection
// to a private address that was opened for a URL that the user typed.
//
// If a proxy looks up the address, the guard checks only the host in the URL.
type guard struct {
	all, public http.RoundTripper
	proxy       func(*http.Request) (*url.URL, error) // may be nil
}

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	info := infoOf(req.Context())
	if info == nil {
		return g.all.RoundTrip(req)
	}
	info.begin(req)
	unknown := resolvesNames(proxyOf(req.URL, g.proxy))
	if info.restricted && isPrivateHost(req.URL.Hostname()) {
		return nil, privateError(req.URL.Host)
	}
	if info.restricted && !unknown {
		return g.public.RoundTrip(req)
	}
	resp, err := g.all.RoundTrip(req)
	if unknown {
		info.private = isPrivateHost(req.URL.Hostname())
	} else if c := attemptOf(req.Context()).conn.Load(); c != nil {
		info.private = isPrivateConn(c)
	}
	return resp, err
}

// isPrivateConn reports whether a connection leads to a private address.
func isPrivateConn(c net.Conn) bool {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && isPrivate(a.Addr())
}

// privateNets are the networks that are not public, besides the networks that package netip knows.
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // "this network" (RFC 6890); Linux connects 0.0.0.0 to the machine itself
	netip.MustParsePrefix("100.64.0.0/10"),  // shared by the customers of a provider (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),   // protocol assignments (RFC 6890)
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks (RFC 2544)
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, and broadcast (RFC 1112)
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64 within one network (RFC 8215)
	netip.MustParsePrefix("fec0::/10"),      // site-local (RFC 3879)
}

// embeddings are the IPv6 networks whose addresses contain an IPv4 address: the offset of its
// first byte, and the value that each of its bytes is combined with by exclusive or.
var embeddings = []struct {
	net    netip.Prefix
	offset int
	xor    byte
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12, 0}, // NAT64 (RFC 6052)
	{netip.MustParsePrefix("2002::/16"), 2, 0},     // 6to4 (RFC 3056)
	{netip.MustParsePrefix("2001::/32"), 12, 0xff}, // Teredo (RFC 4380)
	{netip.MustParsePrefix("::/96"), 12, 0},        // IPv4-compatible (RFC 4291)
}

// isPrivate reports whether an address is not a public unicast address, or embeds such an IPv4
// address. Machines at private addresses trust their neighbours.
func isPrivate(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsPrivate() || a.IsMulticast() ||
		a.IsLinkLocalUnicast() || a.IsInterfaceLocalMulticast() {
		return true
	}
	for _, net := range privateNets {
		if net.Contains(a) {
			return true
		}
	}
	for _, e := range embeddings {
		if e.net.Contains(a) {
			b := a.As16()
			at := b[e.offset:]
			return isPrivate(netip.AddrFrom4([4]byte{at[0] ^ e.xor, at[1] ^ e.xor, at[2] ^ e.xor, at[3] ^ e.xor}))
		}
	}
	return false
}

// isPrivateHost reports whether the host of a URL is private without asking a name server.
// Addresses in unusual forms, such as 127.1 or 0x7f000001, count as private, because each
// resolver reads them in its own way.
func isPrivateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return isPrivate(a)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64) // also 0x7f and 0177
	return err == nil || isDigits(last) || last == "localhost"
}

// isDigits reports whether s is not empty and consists of digits, for example "08".
func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
