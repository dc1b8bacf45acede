package downloader

// This file is about many requests over few HTTP/2 connections.

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// unansweredTries is how many connections one request may go over that are closed
// before there is an answer, as servers do after so many requests or so long
// (RFC 9113 §6.8).
const unansweredTries = 3

// A multiplexer is a transport that sends requests to https servers as streams of
// HTTP/2 connections: as many on each as the server allows, and then over a further one,
// which is opened once for all that wait. net/http's own pool opens one for each.
// Servers without HTTP/2, and http URLs, are left to the transport. Safe for
// concurrent use.
type multiplexer struct {
	*http.Transport
	most int // connections to an origin

	mu     sync.Mutex
	trunks map[string]*trunk // by origin; guarded by mu
}

// A trunk is the connections to one origin.
type trunk struct {
	dial func(context.Context) (*http.ClientConn, error)

	mu      sync.Mutex         // taken before queue
	conns   []*stem            // guarded by mu
	most    int                // connections, as far as is known; guarded by mu
	plain   bool               // the server has no HTTP/2; guarded by mu
	dialing context.CancelFunc // ends the dial under way, nil if there is none; guarded by mu

	queue   sync.Mutex
	waiting []chan error // of capacity 1: nil tells a request to look again; guarded by queue
}

// A stem is a connection of a trunk.
type stem struct {
	*http.ClientConn
	proven bool // there has been an answer, so that it is known how many streams it may have
	trial  bool // the request that is to prove it is under way
}

func newMultiplexer(t *http.Transport, most int) *multiplexer {
	return &multiplexer{Transport: t, most: most, trunks: make(map[string]*trunk)}
}

// RoundTrip waits for a stream first, where there is HTTP/2.
func (m *multiplexer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || !isASCII(req.URL.Host) { // the transport knows how to spell it
		return m.Transport.RoundTrip(req)
	}
	t := m.of(req.URL)
	for try := 1; ; try++ {
		s, err := t.take(req.Context())
		switch {
		case err != nil:
			return nil, err
		case s == nil:
			return m.Transport.RoundTrip(req)
		}
		resp, err := s.RoundTrip(req)
		t.tried(s, resp)
		if err == nil || try == unansweredTries || s.Available() > 0 || isTimeout(err) || req.Context().Err() != nil {
			return resp, err
		}
	}
}

// of returns the trunk to the origin of u.
func (m *multiplexer) of(u *url.URL) *trunk {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := origin(u)
	t := m.trunks[key]
	if t == nil {
		addr := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
		t = &trunk{most: m.most, dial: func(ctx context.Context) (*http.ClientConn, error) {
			return m.NewClientConn(ctx, u.Scheme, addr)
		}}
		m.trunks[key] = t
	}
	return t
}

// CloseIdleConnections is that of the transport and of the trunks. It also ends the
// dials that no request waits for.
func (m *multiplexer) CloseIdleConnections() {
	m.Transport.CloseIdleConnections()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.trunks {
		t.closeIdle()
	}
}

// take reserves a stream, and waits for it if need be. It returns nil where the server
// has no HTTP/2.
func (t *trunk) take(ctx context.Context) (*stem, error) {
	for {
		if s, ok := t.reserve(); ok {
			return s, nil
		}
		me := t.enqueue()
		if s, ok := t.reserve(); ok { // there may be one since
			t.dequeue(me)
			return s, nil
		}
		t.open()
		select {
		case err := <-me:
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			t.dequeue(me)
			return nil, context.Cause(ctx)
		}
	}
}

// reserve returns a connection with a stream for the caller, and whether there is
// one, or none is needed.
func (t *trunk) reserve() (*stem, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = slices.DeleteFunc(t.conns, func(s *stem) bool { return s.Err() != nil })
	for _, s := range t.conns {
		if !s.trial && s.Reserve() == nil {
			s.trial = !s.proven
			return s, true
		}
	}
	return nil, t.plain
}

// tried notes the answer to the request that s was reserved for, nil for none.
func (t *trunk) tried(s *stem, resp *http.Response) {
	t.mu.Lock()
	trial := s.trial && !s.proven
	s.trial, s.proven = false, s.proven || resp != nil
	switch {
	case !trial:
	case resp != nil:
		t.plain = resp.ProtoMajor < 2
	case s.Err() != nil: // perhaps it was one too many
		t.most = max(1, len(t.conns)-1)
	}
	plain := t.plain
	t.mu.Unlock()
	switch {
	case !trial:
	case plain:
		t.wake(math.MaxInt, nil)
	default:
		t.wake(max(1, s.Available()), nil)
		if t.waits() {
			t.open()
		}
	}
}

// open opens a connection, unless that is under way, or the newest is not proven, or
// there are enough.
func (t *trunk) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dialing != nil || len(t.conns) >= t.most || slices.ContainsFunc(t.conns, func(s *stem) bool { return !s.proven }) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.dialing = cancel
	go func() {
		defer cancel()
		c, err := t.dial(ctx)
		if err == nil && ctx.Err() != nil {
			err = errors.Join(ctx.Err(), c.Close())
		}
		t.opened(c, err)
	}()
}

// opened takes over what open has led to.
func (t *trunk) opened(c *http.ClientConn, err error) {
	t.mu.Lock()
	t.dialing = nil
	first := len(t.conns) == 0
	if err == nil {
		t.conns = append(t.conns, &stem{ClientConn: c})
	} else {
		t.most = max(1, len(t.conns))
	}
	t.mu.Unlock()
	switch {
	case err == nil:
		c.SetStateHook(func(c *http.ClientConn) { t.wake(max(1, c.Available()), nil) })
		t.wake(1, nil)
	case first:
		t.wake(math.MaxInt, err)
	}
}

// closeIdle closes the connections without a request, and ends a dial for nobody.
func (t *trunk) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dialing != nil && !t.waits() {
		t.dialing()
	}
	for _, s := range t.conns {
		if s.InFlight() == 0 {
			s.Close()
		}
	}
}

// enqueue returns what tells the caller when to look again.
func (t *trunk) enqueue() chan error {
	me := make(chan error, 1)
	t.queue.Lock()
	defer t.queue.Unlock()
	t.waiting = append(t.waiting, me)
	return me
}

// dequeue takes me out of the queue. Where it has been told already, the next is.
func (t *trunk) dequeue(me chan error) {
	t.queue.Lock()
	i := slices.Index(t.waiting, me)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.queue.Unlock()
	if i < 0 {
		t.wake(1, nil)
	}
}

// wake tells the first n that wait.
func (t *trunk) wake(n int, err error) {
	t.queue.Lock()
	defer t.queue.Unlock()
	n = min(n, len(t.waiting))
	for _, w := range t.waiting[:n] {
		w <- err
	}
	t.waiting = slices.Delete(t.waiting, 0, n)
}

// waits reports whether a request waits.
func (t *trunk) waits() bool {
	t.queue.Lock()
	defer t.queue.Unlock()
	return len(t.waiting) > 0
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
