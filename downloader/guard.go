package downloader

// This file is about where servers and lists may lead. A public server or list must not make
// pawl ask a machine that only its own network reaches, such as a metadata service of a cloud
// or the router. What the user types may be anywhere.

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"pawl/downloader/failure"
)

// Follow says where servers and lists may lead. The URL that the user typed is exempt.
type Follow struct {
	Schemes   []string // of redirects, of files of lists, and of mirrors that servers name; default http and https
	Private   bool     // public servers and lists may name private addresses
	NoMirrors bool     // mirrors that servers name are not used
}

// checkScheme says that a scheme is not among those that servers and lists may name.
func (f Follow) checkScheme(scheme string) error {
	if len(f.Schemes) == 0 || slices.Contains(f.Schemes, scheme) {
		return nil
	}
	return failure.Permanent(failure.Wrap(failure.ErrScheme, fmt.Errorf("the scheme %s is not allowed, only %s", scheme, strings.Join(f.Schemes, " and "))))
}

// privateError returns the error for a private address, for example "127.0.0.1:80".
func privateError(address string) error {
	return failure.Permanent(failure.Wrap(failure.ErrPrivate, fmt.Errorf("%s is a private address, which a public server or list must not name", address)))
}

// A namer is who has named a URL.
type namer struct {
	given  bool // the user or a list: the headers of the request are for it, too; else a server
	public bool // a public source, so that it must not lead to a private address
}

// A reach says what addresses a request may go to, through its redirects. A server that is
// reached at a private address may name any, and so may the user and their lists. Others may
// name public ones. One goroutine uses it at a time.
type reach struct {
	public     bool // the URL of the request was named by a public source
	restricted bool // so was the URL that is asked now
	private    bool // the last answer came from a private address
}

// reachKey is that of the context value of a request, a *reach.
type reachKey struct{}

// reachOf returns that of a request, nil for none.
func reachOf(ctx context.Context) *reach {
	r, _ := ctx.Value(reachKey{}).(*reach)
	return r
}

// begin notes that req is about to be sent: a first request, or a redirect.
func (r *reach) begin(req *http.Request) {
	if req.Response == nil {
		r.restricted = r.public
	} else if !r.private { // its server named the next URL
		r.restricted = r.restricted || !sameOrigin(req.URL, req.Response.Request.URL)
	}
	r.private = false
}

// guard is a transport that keeps requests off private addresses if a public source has named
// their URLs. These have connections of their own, which are never opened to a private
// address: so a name that leads to another address later does no harm, and a connection to a
// private address that the user has typed is not reused.
//
// Through a proxy, the address is for the proxy to find; the host of the URL is checked.
type guard struct {
	all, public http.RoundTripper
	proxy       func(*http.Request) (*url.URL, error) // may be nil
}

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	r := reachOf(req.Context())
	if r == nil {
		return g.all.RoundTrip(req)
	}
	r.begin(req)
	proxied := isProxied(req, g.proxy)
	if r.restricted && isPrivateHost(req.URL.Hostname()) {
		return nil, privateError(req.URL.Host)
	}
	if r.restricted && !proxied {
		return g.public.RoundTrip(req)
	}
	resp, err := g.all.RoundTrip(req)
	if proxied {
		r.private = isPrivateHost(req.URL.Hostname())
	} else if h, ok := req.Context().Value(connKey{}).(*connHolder); ok && h.Load() != nil {
		r.private = isPrivateConn(h.Load())
	}
	return resp, err
}

// isProxied reports whether req goes through a proxy.
func isProxied(req *http.Request, proxy func(*http.Request) (*url.URL, error)) bool {
	if proxy == nil {
		return false
	}
	u, err := proxy(req)
	return err == nil && u != nil
}

// isPrivateConn reports whether a connection leads to a private address.
func isPrivateConn(c net.Conn) bool {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && isPrivate(a.Addr())
}

// publicKey is that of the context value of a dial that must not lead to a private address.
type publicKey struct{}

// publicOnly makes dial refuse private addresses. It is for a dialer with refusePrivate.
func publicOnly(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(context.WithValue(ctx, publicKey{}, true), network, addr)
	}
}

// refusePrivate is for net.Dialer.ControlContext, which gets the address that a name has led to.
func refusePrivate(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if ctx.Value(publicKey{}) == nil {
		return nil
	}
	if a, err := netip.ParseAddrPort(address); err != nil || isPrivate(a.Addr()) {
		return privateError(address)
	}
	return nil
}
