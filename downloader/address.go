package downloader

// This file is about addresses that are not public: what answers there trusts its neighbours.

import (
	"net/netip"
	"strconv"
	"strings"
)

// privateNets are the networks that are not public, besides those that package netip knows.
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // "this network" (RFC 6890); Linux takes 0.0.0.0 for itself
	netip.MustParsePrefix("100.64.0.0/10"),  // shared by customers of a provider (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),   // protocol assignments (RFC 6890)
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks (RFC 2544)
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, and broadcast (RFC 1112)
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64 of one's own network (RFC 8215)
	netip.MustParsePrefix("fec0::/10"),      // site-local (RFC 3879)
}

// embeddings are the networks of IPv6 whose addresses contain one of IPv4, and at which byte.
var embeddings = []struct {
	net netip.Prefix
	at  int
	xor byte
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12, 0}, // NAT64 (RFC 6052)
	{netip.MustParsePrefix("2002::/16"), 2, 0},     // 6to4 (RFC 3056)
	{netip.MustParsePrefix("2001::/32"), 12, 0xff}, // Teredo (RFC 4380)
	{netip.MustParsePrefix("::/96"), 12, 0},        // IPv4-compatible (RFC 4291)
}

// isPrivate reports whether an address is not public: of the machine, of its network, of
// several machines, or of none; also if it is the IPv6 form of such an IPv4 address.
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
			return isPrivate(netip.AddrFrom4([4]byte{b[e.at] ^ e.xor, b[e.at+1] ^ e.xor, b[e.at+2] ^ e.xor, b[e.at+3] ^ e.xor}))
		}
	}
	return false
}

// isPrivateHost reports whether the host of a URL says without a name server that it is
// private. Addresses in an unusual form, such as 127.1 or 0x7f000001, count as private,
// because it is for the resolver to say what they mean.
func isPrivateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return isPrivate(a)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64) // also 0x7f and 0177
	return err == nil || isDigits(last) || last == "localhost"
}

// isDigits reports whether s has digits only, and some.
func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
