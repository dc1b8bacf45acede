package faultserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// latency is how long a connection takes to open, and how long bytes travel to a reader
	// that waits for them. A guess, like a server in the same town.
	latency = time.Millisecond
	// byteTime is how long one byte takes, so each connection brings 100 MB/s.
	byteTime = 10 * time.Nanosecond
	// socketBuffer is how many bytes one direction of a connection holds on their way. A guess:
	// more makes cancelled responses waste more bytes.
	socketBuffer = 128 << 10
	// firstPort is where the ports of servers begin. The real network assigns larger ones.
	firstPort = 10_000
)

// A Network has servers and connections in memory. Under testing/synctest, waiting for them
// takes no time, and the outcome of a test does not depend on the speed of the machine. An
// address that no server of the Network has is an address of the real network. Safe for
// concurrent use.
type Network struct {
	mu      sync.Mutex
	servers map[string]*listener // by address; guarded by mu
	made    int                  // number of servers so far; guarded by mu
}

// NewNetwork returns a Network without servers.
func NewNetwork() *Network { return &Network{servers: make(map[string]*listener)} }

// New starts a server in the Network. The caller must call Close.
func (n *Network) New() *Server {
	s := newServer()
	s.Server = n.Serve(s)
	return s
}

// Serve is httptest.NewServer for a server in the Network.
func (n *Network) Serve(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = n.Listen()
	s.Start()
	return s
}

// Listen returns a listener at a new loopback address.
func (n *Network) Listen() net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	l := &listener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: firstPort + n.made}, dialed: make(chan net.Conn), closed: make(chan struct{})}
	n.servers[l.addr.String()] = l
	return l
}

// Dial opens a connection. It has the form of net.Dialer.DialContext.
func (n *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.servers[addr]
	n.mu.Unlock()
	if l == nil {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	if !sleep(ctx, latency) {
		return nil, ctx.Err()
	}
	up, down := newPipe(), newPipe()
	client := &conn{in: down, out: up, local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, remote: l.addr}
	select {
	case l.dialed <- &conn{in: up, out: down, local: client.remote, remote: client.local}:
		return client, nil
	case <-l.closed:
		return nil, opError("dial", "connect", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// opError returns an error like the ones of TCP connections.
func opError(op, call string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(call, err)}
}

// A listener is the net.Listener of one server of a Network.
type listener struct {
	addr   *net.TCPAddr
	dialed chan net.Conn
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialed:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// A conn is one end of a connection of a Network.
type conn struct {
	in, out       *pipe
	local, remote net.Addr
	reset         bool // Close resets the connection; used only before Close
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

// SetLinger is like the method of net.TCPConn: after SetLinger(0), Close resets the connection.
func (c *conn) SetLinger(sec int) error {
	c.reset = sec == 0
	return nil
}

// Close ends both directions. The other end may still read the bytes on their way, unless the connection
// is reset.
func (c *conn) Close() error {
	end := io.EOF
	if c.reset {
		end = syscall.ECONNRESET
	}
	c.out.end(end)
	c.in.end(net.ErrClosed)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

// A pipe is one direction of a connection.
type pipe struct {
	mu              sync.Mutex // guards the fields below
	changed         *sync.Cond // uses mu
	sent            []byte     // not yet received
	err             error      // why the pipe has ended; nil while it is open
	readBy, writeBy time.Time  // deadlines; zero for none
}

func newPipe() *pipe {
	p := &pipe{}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// end ends the pipe. If the receiver ends it, with net.ErrClosed, it drops the bytes on their way;
// if the sender does, they can still be received.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || err == net.ErrClosed {
		p.err = err
	}
	if p.err == net.ErrClosed {
		p.sent = nil
	}
	p.changed.Broadcast()
}

// setDeadline sets one of the deadlines, and wakes those who wait when it has passed.
func (p *pipe) setDeadline(deadline *time.Time, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*deadline = t
	p.changed.Broadcast()
	if d := time.Until(t); !t.IsZero() && d > 0 {
		time.AfterFunc(d, p.changed.Broadcast)
	}
}

// passed reports whether a deadline has passed.
func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// read waits for bytes, and then for as long as they travel.
func (p *pipe) read(b []byte) (int, error) {
	n, waited, err := p.receive(b)
	if waited && n > 0 {
		time.Sleep(latency)
	}
	time.Sleep(time.Duration(n) * byteTime)
	return n, err
}

// receive takes bytes from the pipe, and reports whether it had to wait for them.
func (p *pipe) receive(b []byte) (n int, waited bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; ; waited = true {
		switch {
		case len(b) == 0:
			return 0, waited, nil
		case passed(p.readBy):
			return 0, waited, os.ErrDeadlineExceeded
		case len(p.sent) > 0:
			n = copy(b, p.sent)
			p.sent = append(p.sent[:0], p.sent[n:]...)
			p.changed.Broadcast()
			return n, waited, nil
		case p.err == io.EOF || p.err == net.ErrClosed:
			return 0, waited, p.err
		case p.err != nil:
			return 0, waited, opError("read", "read", p.err)
		}
		p.changed.Wait()
	}
}

// write waits until the pipe has room for all bytes.
func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.err != nil:
			return n, opError("write", "write", syscall.EPIPE)
		case passed(p.writeBy):
			return n, os.ErrDeadlineExceeded
		}
		k := min(len(b)-n, socketBuffer-len(p.sent))
		p.sent = append(p.sent, b[n:n+k]...)
		n += k
		p.changed.Broadcast()
		if n == len(b) {
			return n, nil
		}
		p.changed.Wait()
	}
}

// resetConn resets a connection (TCP RST), of TCP or of a Network.
func resetConn(c net.Conn) {
	c.(interface{ SetLinger(sec int) error }).SetLinger(0)
	c.Close()
}
