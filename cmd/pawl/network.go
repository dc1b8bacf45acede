package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"pawl/downloader"
)

// applyNetwork sets the options of the downloader. It fails if a value cannot be used: without it, pawl
// would connect in a way that the user does not want.
func (o NetworkOptions) applyNetwork(opts *downloader.Options) (err error) {
	if opts.Proxy, err = newProxyChoice(o); err != nil {
		return err
	}
	switch {
	case o.IPv4:
		opts.Address.Family = downloader.IPv4
	case o.IPv6:
		opts.Address.Family = downloader.IPv6
	}
	opts.Address.Fixed = make(map[string]downloader.FixedAddresses)
	for _, f := range o.Resolve { // the later one wins
		opts.Address.Fixed[f.hostPort] = f.addresses
	}
	if o.Interface != "" {
		if opts.Address.From, err = downloader.NewBinding(o.Interface); err != nil {
			hint := "give an address of this machine, or an interface: " + strings.Join(downloader.Interfaces(), ", ")
			return &settingError{"--interface:", err.Error(), hint}
		}
	}
	return nil
}

// A fixedAddress is the argument of --resolve: HOST:PORT:ADDRESS[,ADDRESS]. As in curl, the host *
// stands for all that no other argument names, a + makes the addresses expire, and -HOST:PORT
// looks up the host.
type fixedAddress struct {
	hostPort  string
	addresses downloader.FixedAddresses
}

// UnmarshalText accepts the forms of curl. A host that is an IPv6 address must have brackets, and
// an ADDRESS may have them.
func (f *fixedAddress) UnmarshalText(text []byte) error {
	bad := func(why string) error {
		return fmt.Errorf("%q %s; it must be of the form HOST:PORT:ADDRESS[,ADDRESS]", text, why)
	}
	rest, expires := strings.CutPrefix(strings.TrimSpace(string(text)), "+")
	rest, lookUp := strings.CutPrefix(rest, "-")
	end := 0 // of the host
	if strings.HasPrefix(rest, "[") {
		end = max(0, strings.IndexByte(rest, ']'))
	}
	colon := strings.IndexByte(rest[end:], ':')
	if colon < 0 {
		return bad("has no port")
	}
	host := rest[:end+colon]
	port, addrs, hasAddrs := strings.Cut(rest[end+colon+1:], ":")
	host = asciiHost(strings.Trim(host, "[]"))
	switch {
	case host == "":
		return bad("has no host")
	case !isPort(port):
		return bad("has a port that is not a number from 1 to 65535")
	case lookUp && (hasAddrs || expires):
		return bad("has more than a host and a port after the -")
	case !lookUp && addrs == "":
		return bad("has no address")
	}
	*f = fixedAddress{net.JoinHostPort(host, port), downloader.FixedAddresses{Expires: expires}}
	if host == "*" {
		f.hostPort = "*:" + port
	}
	if lookUp {
		return nil
	}
	for addr := range strings.SplitSeq(addrs, ",") {
		a, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(addr), "[]"))
		if err != nil {
			return bad(fmt.Sprintf("has %q, which is not an IP address", addr))
		}
		f.addresses.Addrs = append(f.addresses.Addrs, a.Unmap())
	}
	return nil
}
