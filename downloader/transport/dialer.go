package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// dialFunc has the form of http.Transport.DialContext.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// A dialer opens TCP connections to hosts. It spreads them over the addresses of the host.
// Safe for concurrent use; close must be called at the end.
type dialer struct {
	resolver *resolver
	routes   *routes
	connect  dialFunc      // opens a connection to an IP address and port
	timeout  time.Duration // for a lookup and a connection together

	mu    sync.Mutex
	dials map[string]int // by host:port: how often the host has had addresses; guarded by mu
}

// newDialer returns a dialer that opens connections with dial, by default with package net.
func newDialer(timeout time.Duration, dial dialFunc, a Addressing) *dialer {
	if dial == nil {
		dial = a.From.dial
	}
	return &dialer{resolver: newResolver(a.Family, a.Fixed), routes: newRoutes(), connect: dial, timeout: timeout, dials: make(map[string]int)}
}

// dial opens a connection to any address. It is a dialFunc.
func (d *dialer) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	return d.dialHost(ctx, network, hostPort, false)
}

// dialPublic opens a connection, unless the address is private. It is a dialFunc.
func (d *dialer) dialPublic(ctx context.Context, network, hostPort string) (net.Conn, error) {
	return d.dialHost(ctx, network, hostPort, true)
}

// dialHost opens a connection. If public is true, it uses no private address. If no remembered
// address of a host accepts connections, dialHost looks up the host again, which may have moved.
func (d *dialer) dialHost(ctx context.Context, network, hostPort string, public bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	connect := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return d.connect(ctx, network, to.String())
	}
	addrs, remembered, err := d.addresses(ctx, hostPort, public)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	turn := d.takeTurn(hostPort)
	c, err := d.routes.race(ctx, d.routes.order(addrs, turn), connect)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	d.resolver.forget(hostPort)
	if !remembered || isTimeout(err) { // after a timeout, there is no time left for another address
		return nil, err
	}
	again, _, lookupErr := d.addresses(ctx, hostPort, public)
	if lookupErr != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: lookupErr}
	}
	moved := slices.DeleteFunc(again, func(a netip.AddrPort) bool { return slices.Contains(addrs, a) })
	if len(moved) == 0 {
		return nil, err
	}
	return d.routes.race(ctx, d.routes.order(moved, turn), connect)
}

// addresses returns the addresses of hostPort, see resolver.addresses. If public is true, it
// leaves out private addresses, and returns an error if there are no others. A dial uses these
// very addresses, so nothing can change between this check and the connection.
func (d *dialer) addresses(ctx context.Context, hostPort string, public bool) (addrs []netip.AddrPort, remembered bool, err error) {
	addrs, remembered, err = d.resolver.addresses(ctx, hostPort)
	if err != nil || !public {
		return addrs, remembered, err
	}
	first := addrs[0]
	addrs = slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return isPrivate(a.Addr()) })
	if len(addrs) == 0 {
		return nil, false, privateError(first.String())
	}
	return addrs, remembered, nil
}

// takeTurn notes that hostPort has addresses, and returns how often that was noted before.
func (d *dialer) takeTurn(hostPort string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	trim(d.dials)
	turn := d.dials[hostPort]
	d.dials[hostPort]++
	return turn
}

// hasResolved reports whether the host of hostPort has had an address in this run.
func (d *dialer) hasResolved(hostPort string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials[hostPort] > 0
}

// trim deletes half of the entries of m, in no particular order, if there are more than
// maxNames.
func trim[K comparable, V any](m map[K]V) {
	if len(m) <= maxNames {
		return
	}
	for name := range m {
		if delete(m, name); len(m) <= maxNames/2 {
			return
		}
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
