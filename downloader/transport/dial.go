package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookupTTL is how long the address of a name is used again. A guess, because the system's
	// resolver does not report the lifetime that the name server states; 60 s is common. Half
	// doubles the look-ups, double keeps connecting to a machine that was taken out of
	// service, which costs one failed dial.
	lookupTTL = time.Minute
	// maxNames is how many addresses of names are remembered, of 150 bytes each (measured).
	// Half costs further look-ups in lists of many hosts, double 1.5 MiB.
	maxNames = 10_000
)

// A dialer opens TCP connections. It looks up a name once for many connections and then uses
// the address that accepted a connection, so that one of several machines behind a name gets
// all requests and sends one version of a file. Safe for concurrent use.
type dialer struct {
	any    dialFunc
	public dialFunc // refuses private addresses

	mu       sync.Mutex
	known    map[string]lookup // by host:port; guarded by mu
	resolved map[string]bool   // host:port whose name has had an address; guarded by mu
}

// A lookup is the address that a name has led to.
type lookup struct {
	ipPort  string
	expires time.Time
}

// newDialer returns a dialer that opens connections with dial, by default with package net. A dial
// to a public address always uses package net.
func newDialer(timeout time.Duration, dial dialFunc) *dialer {
	d := net.Dialer{Timeout: timeout, KeepAlive: keepAliveInterval}
	public := d
	public.ControlContext = refusePrivate
	if dial == nil {
		dial = d.DialContext
	}
	return &dialer{any: dial, public: public.DialContext, known: make(map[string]lookup), resolved: make(map[string]bool)}
}

// dial opens a connection to any address. It is a dialFunc.
func (d *dialer) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	return d.dialWith(ctx, d.any, network, hostPort)
}

// dialPublic opens a connection, unless the address is private. It is a dialFunc.
func (d *dialer) dialPublic(ctx context.Context, network, hostPort string) (net.Conn, error) {
	return d.dialWith(ctx, d.public, network, hostPort)
}

func (d *dialer) dialWith(ctx context.Context, with dialFunc, network, hostPort string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(hostPort); net.ParseIP(host) != nil {
		return with(ctx, network, hostPort)
	}
	if ipPort := d.recall(hostPort, time.Now()); ipPort != "" {
		c, err := with(ctx, network, ipPort)
		if err == nil {
			return c, nil
		}
		d.forget(hostPort)
		if isTimeout(err) || ctx.Err() != nil { // there is no time left for another address
			return nil, err
		}
	}
	c, err := with(ctx, network, hostPort)
	if err == nil {
		d.remember(hostPort, c.RemoteAddr().String(), time.Now())
	}
	var unresolved *net.DNSError
	if err == nil || ctx.Err() == nil && !errors.As(err, &unresolved) {
		d.noteResolved(hostPort)
	}
	return c, err
}

// noteResolved notes that the name of hostPort has an address.
func (d *dialer) noteResolved(hostPort string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	trim(d.resolved)
	d.resolved[hostPort] = true
}

// hasResolved reports whether the name of hostPort has had an address in this run.
func (d *dialer) hasResolved(hostPort string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resolved[hostPort]
}

// forget makes the next dial look up the name again: another of its machines may do better.
func (d *dialer) forget(hostPort string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, hostPort)
}

// recall returns the address that hostPort has led to, "" if it must be looked up.
func (d *dialer) recall(hostPort string, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.known[hostPort]; now.Before(l.expires) {
		return l.ipPort
	}
	return ""
}

// remember notes the address that hostPort has led to.
func (d *dialer) remember(hostPort, ipPort string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	trim(d.known)
	d.known[hostPort] = lookup{ipPort, now.Add(lookupTTL)}
}

// trim deletes half of the entries of m, in no particular order, if there are more than
// maxNames.
func trim[V any](m map[string]V) {
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

// A trackedConn is a TCP connection that remembers whether the server has closed it. crypto/tls
// returns io.EOF both after the close_notify alert and without it. After the alert, however, it
// does not read on, and so does not meet the end of the TCP connection.
type trackedConn struct {
	net.Conn
	ended atomic.Bool
	// wantsCert means that the server has asked for a client certificate, gaveCert that it got one.
	wantsCert, gaveCert atomic.Bool
	// tunnelled means that the connection is a tunnel through a proxy by now.
	tunnelled atomic.Bool
}

func (c *trackedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

// tracked makes the connections that dial opens trackedConns, and gives the connection to the
// attempt if that is a dial. A request gets its connection from httptrace instead, because it
// may be sent over another connection that became idle while its own dial was under way.
func tracked(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := &trackedConn{Conn: c}
		a := attemptOf(ctx)
		a.dialed.Store(conn)
		if a.dialFor != nil {
			a.conn.Store(conn)
		}
		return conn, nil
	}
}

// trackedBelow returns the trackedConn below c, nil if there is none. If the proxy of a tunnel
// speaks TLS, there are two TLS connections above it.
func trackedBelow(c net.Conn) *trackedConn {
	for {
		switch conn := c.(type) {
		case *tls.Conn:
			c = conn.NetConn()
		case *mendedConn:
			c = conn.NetConn()
		case *trackedConn:
			return conn
		default:
			return nil
		}
	}
}
