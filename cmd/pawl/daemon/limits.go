package daemon

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxConns is the most connections. A connection takes about 20 KiB with its buffers and goroutine, so
	// they take 5 MiB. With half, a browser and some scripts come close; double gains nobody anything.
	maxConns = 256
	// maxStreams is the most streams of events, and of WebSockets of the RPC handler, 64 in all. They are
	// counted apart, because the RPC handler opens them before it knows the secret. A guess.
	maxStreams = 32
	// maxHeaderBytes is the most bytes of a request header. net/http grants 4 KiB more.
	maxHeaderBytes = 64 << 10
	// maxBody is the most bytes of a body: the limit of aria2 (--rpc-max-request-size).
	maxBody = 2 << 20
	// smallBody is the size of the bodies of which each connection may have one in memory, 16 MiB in all.
	// maxLargeBodies may be larger at a time if their requests have the secret in the header, and maxUnknownBodies
	// if they have not, like the bodies of aria2's clients. Nearly all requests are smaller.
	smallBody        = 64 << 10
	maxLargeBodies   = 16
	maxUnknownBodies = 4
	// maxDepth is the most arrays and objects in each other. The API needs 3.
	maxDepth = 64

	// headerTime is the time for a request header. A guess, for a phone with a bad connection.
	headerTime = 5 * time.Second
	// requestTime is the time for a request with its body: 2 MiB at 70 KB/s.
	requestTime = 30 * time.Second
	// answerTime is the time from the header of a request to the end of its answer, except for events: 100,000
	// tasks, about 60 MB, at 1 MB/s.
	answerTime = time.Minute
	// idleTime is the time that a connection waits for its next request. The page and AriaNg send one each second.
	idleTime = time.Minute
	// eventTime is the time in which a client must take an event. A guess, for a phone that changes its network.
	eventTime = 10 * time.Second
	// pingTime is the time between two signs of life in a stream of events. Proxies close a connection that is silent for a minute.
	pingTime = 30 * time.Second
	// guessTime is how long a wrong secret waits for its answer, and maxGuesses how many wait at a time. Further
	// ones are answered at once, because otherwise they would take connections; a secret of 32 random bytes
	// cannot be guessed at any rate.
	guessTime  = time.Second
	maxGuesses = 16
	// stopTime is how long requests may go on after the end of Serve's context. SIGTERM must end the daemon within two seconds.
	stopTime = time.Second
	// roomTime is how long a new WebSocket waits for the end of another one, which is closed to make room. A guess: it
	// takes moments.
	roomTime = time.Second
)

// A connList has the open connections.
type connList struct {
	max int

	mu   sync.Mutex
	open []*conn // the oldest first; guarded by mu
}

// A conn is a connection of a connList.
type conn struct {
	net.Conn
	list    *connList
	trusted atomic.Bool // a request on it had the right secret
	busy    atomic.Bool // a request is being answered
	socket  atomic.Bool // the last request has asked for a WebSocket
}

// Close closes the connection.
func (c *conn) Close() error {
	c.list.remove(c)
	return c.Conn.Close()
}

// CloseWrite ends the sending direction, if the connection has two. net/http needs it so that a client that
// still sends can read its error.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (l *connList) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.open, c); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
	}
}

// add adds a connection. If there are too many, it closes the oldest that is not trusted, or else the oldest that waits
// for its next request; if there is none, it closes the new one and returns nil.
func (l *connList) add(nc net.Conn) *conn {
	c := &conn{Conn: nc, list: l}
	l.mu.Lock()
	var old net.Conn
	if len(l.open) < l.max {
		l.open = append(l.open, c)
	} else if i := l.leastWanted(); i >= 0 {
		old = l.open[i].Conn
		l.open = append(slices.Delete(l.open, i, i+1), c)
	} else {
		old, c = nc, nil
	}
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return c
}

// leastWanted returns the index of the connection that is closed for a new one, -1 if there is none. The
// caller must hold mu.
func (l *connList) leastWanted() int {
	if i := slices.IndexFunc(l.open, func(c *conn) bool { return !c.trusted.Load() }); i >= 0 {
		return i
	}
	return slices.IndexFunc(l.open, func(c *conn) bool { return !c.busy.Load() })
}

// closeSocket closes the oldest WebSocket that is not trusted. It reports whether there was one.
func (l *connList) closeSocket() bool {
	l.mu.Lock()
	i := slices.IndexFunc(l.open, func(c *conn) bool { return c.socket.Load() && !c.trusted.Load() })
	var c *conn
	if i >= 0 {
		c = l.open[i]
	}
	l.mu.Unlock()
	if c == nil {
		return false
	}
	c.Close()
	return true
}

// count returns how many connections are open.
func (l *connList) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// closeAll closes all connections.
func (l *connList) closeAll() {
	l.mu.Lock()
	all := slices.Clone(l.open)
	l.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// A listener accepts connections into a connList.
type listener struct {
	net.Listener
	list *connList
}

// Accept waits for the next connection.
func (l listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.list.add(nc); c != nil {
			return c, nil
		}
	}
}

// A slots is a number of things that may be taken at a time: its capacity.
type slots chan struct{}

// acquire takes one, unless all are taken. release may be called several times.
func (s slots) acquire() (release func(), ok bool) {
	select {
	case s <- struct{}{}:
		return sync.OnceFunc(func() { <-s }), true
	default:
		return nil, false
	}
}

// await is acquire, but waits for some time.
func (s slots) await(limit time.Duration) (release func(), ok bool) {
	select {
	case s <- struct{}{}:
		return sync.OnceFunc(func() { <-s }), true
	case <-time.After(limit):
		return nil, false
	}
}

// drain waits until none is taken, and lets none be taken any more.
func (s slots) drain() {
	for range cap(s) {
		s <- struct{}{}
	}
}

// errBusy means that too many do the same at a time.
var errBusy = &Error{Status: http.StatusServiceUnavailable, Code: "busy", Message: "too many at a time; try again later"}

// A meteredBody is the body of a request. It takes a slot before it grows beyond smallBody.
type meteredBody struct {
	io.ReadCloser
	read    int64
	slots   slots
	release func() // nil if none is taken
}

// Read reads the body.
func (b *meteredBody) Read(p []byte) (int, error) {
	if b.read >= smallBody && b.release == nil {
		release, ok := b.slots.acquire()
		if !ok {
			return 0, errBusy
		}
		b.release = release
	}
	if b.release == nil {
		p = p[:min(int64(len(p)), smallBody-b.read)]
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	return n, err
}

// done returns the slot. It must be called when nothing of the body is in memory any more.
func (b *meteredBody) done() {
	if b.release != nil {
		b.release()
	}
}

// depth returns how many arrays and objects of a JSON text are in each other.
func depth(text []byte) (deepest int) {
	d := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			d++
			deepest = max(deepest, d)
		case '}', ']':
			d--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}

// isBlank reports whether a body has nothing but blanks.
func isBlank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }
