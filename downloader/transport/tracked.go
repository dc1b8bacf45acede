package transport

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
)

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
