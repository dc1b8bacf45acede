// Package transport sends requests and paces their responses. It dials, speaks TLS, HTTP/1.1
// and HTTP/2, follows redirects, and ends requests that no longer make progress. It limits the
// connections to each address together with other processes, the requests per second to each
// host, and the bytes per second of all bodies together, and of the bodies of some hosts.
//
// A request passes these stages, in this order:
//
//	http.Client     follows redirects; credentials must not leave their origin (redirect.go)
//	loginSender     sends user and password as the server wants them (login.go)
//	cookieKeeper    sends the user's cookies, and keeps the cookies of the run (cookies.go)
//	http1Fallback   sends a request over HTTP/1.1 if HTTP/2 cannot serve it (http2.go)
//	http2Only       sends a request over HTTP/2 if the server speaks nothing else (http2only.go)
//	watchdog        waits for the request rate, then limits every later wait (watchdog.go)
//	proxied         reports failures of the proxy, and asks none again that refuses its user (proxy.go)
//	secured         explains failures of TLS (tls.go)
//	guard           keeps public sources off private addresses (private.go)
//	limitedTripper  closes connections that other processes must have (connlimit.go)
//	mender          repeats a request if net/http refuses the header of its response (mend.go)
//	h2Pool          chooses an HTTP/2 connection with room for a stream (http2.go)
//	http.Transport  dials through tracked, mended, tunneler, addrLimiter and dialer (tracked.go, mend.go, socks.go, connlimit.go, dialer.go)
//
// A dialer gets the addresses of a host from the resolver (resolver.go), and tries them in the
// order of routes (routes.go), from a Binding if there is one (binding.go).
//
// The package knows nothing of downloads. A caller describes a request by a RequestInfo.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"pawl/downloader/failure"
)

// Options are the settings of a Transport. Connections, ConnectTimeout and StallTimeout must
// be positive.
type Options struct {
	Connections      int           // most connections per address
	SmallConnections int           // most of them while requests have RequestInfo.Small; default Connections
	ConnectTimeout   time.Duration // for TCP, and again for TLS
	StallTimeout     time.Duration // until the response header, and until each next byte of a body
	MinRate          int64         // bytes per second of a body, below which it is ended; default no minimum
	MinRateTime      time.Duration // time over which MinRate is measured; default twice the timeout of the request
	ByteRate         int64         // bytes per second of all bodies together; default no limit
	RequestRate      float64       // requests per second to each host; default no limit
	UserAgent        string        // of requests for which the user has not chosen another one

	// ForHost returns the settings of a host that differ from those above. Its argument is host and
	// port in lower case, for example "example.org:443". It is called by any goroutine. Default: no
	// host has settings of its own.
	ForHost func(hostPort string) HostOptions

	// Leased means that slots may be taken away from this process, and may be missing for hours. See
	// ErrTaken and Slots.Share.
	Leased bool

	// Dial opens a connection to an IP address and port. Default package net.
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	Address Addressing                            // between which addresses connections are opened
	Proxy   func(*http.Request) (*url.URL, error) // default no proxy
	RootCAs *x509.CertPool                        // default the system's certificates
	// Certificate returns the user's certificate for an origin, as function Origin names it; nil for none. Default
	// none. It is used for connections to that origin alone.
	Certificate func(origin string) *tls.Certificate

	Insecure bool   // certificates are not verified, and redirects from https to http are followed
	Legacy   bool   // outdated versions, key exchanges and ciphers of TLS are offered, too
	Follow   Follow // limits the targets of redirects

	// Fields are the canonical names of the response header fields that are kept. Default all.
	Fields []string
}

const (
	// readBufferSize is in bytes, for the header and small reads of each connection. A guess:
	// net/http's 4 KiB needs many system calls for each body of 16 KiB; double only takes
	// memory, because large reads bypass the buffer.
	readBufferSize = 64 << 10
	// maxIdleConns limits the idle connections to all hosts together. A guess: half closes
	// connections that a list with 64 hosts uses again; double keeps more file descriptors
	// open than some systems allow a process (256).
	maxIdleConns = 128
	// idleTimeout closes an idle connection. It is net/http's default; servers close theirs
	// after 5 to 75 s. Half costs new connections after a pause, double keeps dead ones.
	idleTimeout = 90 * time.Second
	// keepAliveInterval is the time between TCP keep-alive probes. It is twice net's default
	// of 15 s: the watchdog notices silence, so the probes need only keep a NAT entry alive.
	keepAliveInterval = 30 * time.Second
)

// A Transport sends requests. Safe for concurrent use. Close must be called at the end.
type Transport struct {
	Pace // of all bodies together

	options      Options
	hostPaces    hostPaces
	proxies      *proxies
	dialer       *dialer
	tunnels      *routes // from SOCKS proxies to servers
	connections  *connLimiter
	requests     *requestLimiter // nil without a limit
	http1, http2 *http.Client
}

// New returns a Transport. The function slots returns the at most n connections to an address,
// for example "example.org:443", that all processes share. If slots is nil, connections are
// not limited across processes.
func New(o Options, slots func(addr string, n int) Slots) *Transport {
	t := &Transport{
		Pace:        Pace{NewByteLimiter(o.ByteRate)},
		options:     o,
		proxies:     newProxies(o.Proxy),
		dialer:      newDialer(o.ConnectTimeout, o.Dial, o.Address),
		tunnels:     newRoutes(),
		connections: newConnLimiter(slots, o.Leased, o.connections, o.smallConnections),
		requests:    newRequestLimiter(o),
	}
	http1, http2 := t.watched(o, false), t.watched(o, true)
	jar, logins := newBoundedJar(), newLogins()
	client := func(rt http.RoundTripper) *http.Client {
		return &http.Client{Transport: loginSender{cookieKeeper{locationEscaper{rt}, jar}, logins}, CheckRedirect: o.checkRedirect}
	}
	t.http1, t.http2 = client(newHTTP2Only(http1, http2)), client(http1Fallback{http1, http2, o.Proxy})
	return t
}

// Client returns the client for HTTP/1.1, in which each request under way has its own
// connection, or, if streams is true, the client that sends many requests over one HTTP/2
// connection if the server can do so. Ranges of one file must use HTTP/1.1, because HTTP/2
// would put them all on one TCP connection.
func (t *Transport) Client(streams bool) *http.Client {
	if streams {
		return t.http2
	}
	return t.http1
}

// Close closes the idle connections and releases all slots. No request may be under way, and
// none may follow. Close may be called again.
func (t *Transport) Close() {
	t.connections.close()
	t.dialer.resolver.close()
}

// watched returns the stages from the watchdog on.
func (t *Transport) watched(o Options, http2 bool) http.RoundTripper {
	limited := t.limited(o, false, http2)
	if !o.Follow.Private {
		limited = guard{limited, t.limited(o, true, http2), o.Proxy}
	}
	return watchdog{
		next:           t.proxies.wrap(secured{o.Legacy, limited}),
		requests:       t.requests,
		timeout:        o.StallTimeout,
		connectTimeout: 2 * o.ConnectTimeout, // for TCP and for TLS
		minRate:        minRate{o.MinRate, o.MinRateTime},
		fields:         o.Fields,
	}
}

// limited returns a transport that limits the number of its connections. If public is true, it
// opens none to a private address.
func (t *Transport) limited(o Options, public, http2 bool) http.RoundTripper {
	dial := tunneler{o.Proxy, t.dialer, t.connections, public, t.tunnels}.dial
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	base := &http.Transport{
		Proxy: httpProxy(o.Proxy),

		OnProxyConnectResponse: t.proxies.checkTunnel,

		DialContext:         tracked(mended(dial)),
		TLSClientConfig:     o.tlsConfig(http2),
		TLSHandshakeTimeout: o.ConnectTimeout,
		MaxIdleConns:        max(maxIdleConns, o.Connections, o.SmallConnections),
		MaxIdleConnsPerHost: max(maxIdleConns, o.Connections, o.SmallConnections), // the connections to a host are limited already
		IdleConnTimeout:     idleTimeout,
		ReadBufferSize:      readBufferSize,

		MaxResponseHeaderBytes: failure.MaxHeaderBytes,

		DisableCompression: true, // a range of a compressed body is not a range of the file
		Protocols:          &protocols,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: o.StallTimeout, PingTimeout: o.StallTimeout},
	}
	var rt idleCloser = newRenewing(base)
	if http2 {
		rt = newH2Pool(base, o.connections, o.Legacy)
	}
	return t.connections.wrap(newMender(rt, base), o.Proxy)
}

// idleCloser is a transport with connections that may be idle.
type idleCloser interface {
	http.RoundTripper
	CloseIdleConnections()
}

// Address returns the address that requests to u dial.
func (t *Transport) Address(u *url.URL) *Address {
	dialed := dialedAddress(u, t.proxies.choose)
	return &Address{lookedUpAddress(u, t.proxies.choose), t.dialer, t.connections.limiter(dialed)}
}

// RequestTime returns how long the request rate takes for n requests to the host of u, 0 without a
// limit.
func (t *Transport) RequestTime(u *url.URL, n int) time.Duration {
	return t.requests.time(hostPort(u), n)
}
