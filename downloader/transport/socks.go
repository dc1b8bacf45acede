package transport

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/proxy"

	"pawl/downloader/failure"
)

// Proxies that speak SOCKS5 (RFC 1928) are used here and not by net/http, which lets all of them
// look up the names of servers. The scheme socks5 means that pawl looks up the name, and
// socks5h that the proxy does.

// isSOCKS reports whether a proxy, which may be nil, speaks SOCKS5.
func isSOCKS(proxy *url.URL) bool {
	return proxy != nil && (proxy.Scheme == "socks5" || proxy.Scheme == "socks5h")
}

// resolvesNames reports whether a proxy, which may be nil, looks up the names of servers.
func resolvesNames(proxy *url.URL) bool { return proxy != nil && proxy.Scheme != "socks5" }

// httpProxy returns a function for http.Transport.Proxy that returns no proxy that speaks SOCKS5.
func httpProxy(choose func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if choose == nil {
		return nil
	}
	return func(req *http.Request) (*url.URL, error) {
		u, err := choose(req)
		if isSOCKS(u) {
			u = nil
		}
		return u, err
	}
}

// errNoTarget means that a dial does not know for which URL it is, so that it might bypass the
// proxy.
var errNoTarget = errors.New("the proxy of a connection is not known")

// A tunneler opens connections to servers, through a proxy that speaks SOCKS5 if the URL has one. It
// limits the number of all connections to an address; connections to a server behind a proxy
// count for the address of the proxy. Safe for concurrent use.
type tunneler struct {
	choose      func(*http.Request) (*url.URL, error) // nil for no proxy
	dialer      *dialer
	connections *connLimiter
	public      bool    // no private address is used, except for a proxy
	routes      *routes // from the proxies to the servers
}

// dial is a dialFunc. The attempt of ctx has the URL.
func (t tunneler) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	direct := t.dialer.dial
	if t.public {
		direct = t.dialer.dialPublic
	}
	if t.choose == nil {
		return t.connections.limited(direct)(ctx, network, addr)
	}
	target := attemptOf(ctx).target()
	if target == nil {
		return nil, errNoTarget
	}
	u, err := t.choose(&http.Request{URL: target})
	switch {
	case err != nil:
		return nil, err
	case !isSOCKS(u):
		return t.connections.limited(direct)(ctx, network, addr)
	}
	return t.connections.limited(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return t.dialThrough(ctx, network, u, addr)
	})(ctx, network, hostPort(u))
}

// dialThrough opens a connection to addr through the proxy u. If pawl looks up the name, it tries
// the addresses one after another, until the proxy can connect to one of them.
func (t tunneler) dialThrough(ctx context.Context, network string, u *url.URL, addr string) (net.Conn, error) {
	if resolvesNames(u) {
		return t.connect(ctx, network, u, addr)
	}
	lookup, cancel := context.WithTimeout(ctx, t.dialer.timeout)
	defer cancel()
	addrs, _, err := t.dialer.addresses(lookup, addr, t.public)
	if err != nil {
		return nil, &net.OpError{Op: failure.SOCKSLookup, Net: network, Err: err}
	}
	var firstErr error
	for _, a := range t.routes.order(addrs, t.dialer.takeTurn(addr)) {
		c, err := t.connect(ctx, network, u, a.String())
		if err == nil {
			t.routes.noteWorked(a)
			return tunnel{c, net.TCPAddrFromAddrPort(a)}, nil
		}
		if firstErr == nil {
			firstErr = err
		}
		if !isReply(err) || ctx.Err() != nil {
			break
		}
		t.routes.noteFailed(a, err)
	}
	t.dialer.resolver.forget(addr)
	return nil, firstErr
}

// connect opens a connection to addr through the proxy u, within the time that a dial has. An
// error of the way to the proxy is a "proxyconnect" error, as in net/http for other proxies.
func (t tunneler) connect(ctx context.Context, network string, u *url.URL, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.dialer.timeout)
	defer cancel()
	c, err := t.dialer.dial(ctx, network, hostPort(u))
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: network, Err: err}
	}
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	socks, err := proxy.SOCKS5(network, hostPort(u), auth, nil)
	if err == nil {
		_, err = socks.(socksDialer).DialWithConn(ctx, c, network, addr)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// A socksDialer asks the proxy at the other end of a connection to connect to an address. The
// dialers of package proxy do so (golang.org/x/net v0.62.0).
type socksDialer interface {
	DialWithConn(ctx context.Context, c net.Conn, network, address string) (net.Addr, error)
}

// isReply reports whether err is the reply of a proxy that it cannot connect to the server.
func isReply(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "socks connect" && strings.HasPrefix(op.Err.Error(), "unknown error ")
}

// A tunnel is a connection through a proxy to an address that is known.
type tunnel struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr returns the address of the server, and not of the proxy.
func (t tunnel) RemoteAddr() net.Addr { return t.remote }
