package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// Addressing says between which addresses connections are opened. The zero value leaves that to
// the system.
type Addressing struct {
	Family Family
	Fixed  map[string]FixedAddresses // by host:port in lower case, "*:port" for all hosts that are not named
	From   *Binding                  // default the system's choice
}

// A Binding is the local end of connections: an interface of the machine, or an address. With a nil
// *Binding, the system chooses. Immutable.
type Binding struct {
	device     string // name of the interface, "" if sockets are not bound to one
	ipv4, ipv6 netip.Addr
}

// NewBinding returns the Binding to the interface of this name, for example "eth0", or to the
// local address of this text. If the system does not permit binding to an interface, connections
// begin at the first address of each family that the interface has.
func NewBinding(name string) (*Binding, error) {
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return bindingToAddress(a.Unmap())
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("there is neither an interface nor an address %q", name)
	}
	if canBindToDevice(name) {
		return &Binding{device: name}, nil
	}
	return bindingToInterface(i)
}

// bindingToAddress returns the Binding to a local address.
func bindingToAddress(a netip.Addr) (*Binding, error) {
	// To bind a datagram socket sends no packet.
	c, err := net.ListenPacket("udp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		return nil, fmt.Errorf("%s is not an address of this machine", a)
	}
	c.Close()
	if a.Is4() {
		return &Binding{ipv4: a}, nil
	}
	return &Binding{ipv6: a}, nil
}

// bindingToInterface returns the Binding to the addresses of an interface.
func bindingToInterface(i *net.Interface) (*Binding, error) {
	addrs, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	b := new(Binding)
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		switch addr := prefix.Addr().Unmap(); {
		case addr.Is4() && !b.ipv4.IsValid():
			b.ipv4 = addr
		case addr.Is6() && (!b.ipv6.IsValid() || b.ipv6.IsLinkLocalUnicast()):
			if addr.IsLinkLocalUnicast() {
				addr = addr.WithZone(i.Name)
			}
			b.ipv6 = addr
		}
	}
	if !b.ipv4.IsValid() && !b.ipv6.IsValid() {
		return nil, fmt.Errorf("the interface %q has no address", i.Name)
	}
	return b, nil
}

// Interfaces returns the names of the interfaces that are up, for a hint.
func Interfaces() []string {
	all, _ := net.Interfaces() // without names, the hint is only shorter
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 {
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	return names
}

// dial opens a connection to an IP address and port. It is a dialFunc.
func (b *Binding) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: keepAliveInterval}
	if b == nil {
		return d.DialContext(ctx, network, addr)
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if b.device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error { return bindToDevice(c, b.device) }
		return d.DialContext(ctx, network, addr)
	}
	from := b.ipv6
	if to.Addr().Is4() {
		from = b.ipv4
	}
	if !from.IsValid() { // as if the family had no route
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: syscall.EAFNOSUPPORT}
	}
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	return d.DialContext(ctx, network, addr)
}
