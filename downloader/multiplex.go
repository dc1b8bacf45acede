package downloader

// This file is about many requests over few HTTP/2 connections.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	deadTries  = 3                      // for one request: that are refused, or over a connection without any answer
	endedTries = 32                     // over such that end, as servers do after so many requests (RFC 9113 §6.8)
	trialMost  = 250 * time.Millisecond // until a connection is used in full without an answer: its limit is known by then
	lookAgain  = time.Second            // at the latest, for a stream: net/http may miss to tell of one that began and ended while it told of another
	trunkAgain = 10 * time.Second       // until another connection is tried, after one was not to be had
)

// A multiplexer is a transport that sends requests to https servers as streams of
// HTTP/2 connections: as many on each as the server allows, and then over a further one,
// which is opened once for all that wait. net/http's own pool opens one for each.
// Servers without HTTP/2, and http URLs, are left to the transport. Safe for
// concurrent use.
type multiplexer struct {
	*renewing
	most int // connections to an origin

	mu     sync.Mutex
	trunks memory[*trunk] // by origin; guarded by mu
	made   int            // trunks; guarded by mu
}

// A trunk is the connections to one origin.
type trunk struct {
	dial func(context.Context) (*http.ClientConn, error)
	most int // connections

	begun atomic.Int64 // streams that take has returned, and looks of a dial for a slot: signs that the server is not silent

	mu      sync.Mutex         // taken before queue
	conns   []*stem            // guarded by mu
	plain   bool               // the server has no HTTP/2; guarded by mu
	dialing context.CancelFunc // ends the dial under way, nil if there is none; guarded by mu
	refused time.Time          // when the last connection was not to be had beside others; guarded by mu

	queue   sync.Mutex
	waiting []chan error // of capacity 1: nil tells a request to look again; guarded by queue
}

// A stem is a connection of a trunk.
type stem struct {
	*http.ClientConn
	unsent atomic.Int32 // requests that take gave it and that are no streams yet; increased under the trunk's mu
	conn   *connHolder  // beneath it
	proven bool         // there has been an answer, so that it is known how many streams it may have
	late   bool         // that takes long
	trial  bool         // the request that is to prove it is under way
}

// free returns how many more requests may go over it, at least. Its own Reserve is not
// used: where the server lowers its limit, net/http lets a request that is to become a
// stream wait for the reservations of those behind it (Go 1.26).
func (s *stem) free() int {
	unsent := int(s.unsent.Load()) // first: what becomes a stream meanwhile counts twice, and not never
	return max(0, s.Available()-unsent)
}

// next returns how many that wait are to look again: one where it has ended.
func (s *stem) next() int {
	if s.Err() != nil {
		return 1
	}
	return s.free()
}

// idle reports whether no request has it.
func (s *stem) idle() bool {
	return s.unsent.Load() == 0 && s.InFlight() == 0
}

// urlKey is that of the context value of a dial, the *url.URL that it is for.
type urlKey struct{}

func newMultiplexer(t *http.Transport, most int) *multiplexer {
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if u, ok := req.Context().Value(urlKey{}).(*url.URL); ok { // else without its port
				req = &http.Request{URL: u}
			}
			return proxy(req)
		}
	}
	return &multiplexer{renewing: &renewing{now: t}, most: most, trunks: newMemory((*trunk).idle)}
}

// RoundTrip waits for a stream first, where there is HTTP/2.
func (m *multiplexer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || !isASCII(req.URL.Host) { // the transport knows how to spell it
		return m.renewing.RoundTrip(req)
	}
	t := m.of(req.URL)
	for dead, ended := 0, 0; ; ended++ {
		s, err := t.take(req.Context())
		switch {
		case err != nil:
			return nil, err
		case s == nil:
			return m.renewing.RoundTrip(req)
		}
		resp, err := t.send(s, req)
		proven, refused := t.tried(s, resp), isRefusedStream(err)
		if !proven || refused {
			dead++
		}
		usable := s.Err() == nil && s.Available() > 0 && !refused
		if err == nil || usable || isBrokenHTTP2(err) || dead == deadTries || ended == endedTries || isTimeout(err) || req.Context().Err() != nil {
			return resp, err
		}
	}
}

// of returns the trunk to the origin of u.
func (m *multiplexer) of(u *url.URL) *trunk {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trunks.get(originOf(u), func() *trunk {
		if m.made++; m.made%idleMost == 0 { // so that a list of many hosts does not keep one to each
			m.closeIdle()
		}
		addr := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
		return &trunk{most: m.most, dial: func(ctx context.Context) (*http.ClientConn, error) {
			return m.NewClientConn(context.WithValue(ctx, urlKey{}, u), u.Scheme, addr)
		}}
	})
}

// CloseIdleConnections is that of the transport and of the trunks. It also ends the
// dials that no request waits for.
func (m *multiplexer) CloseIdleConnections() {
	m.renewing.CloseIdleConnections()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closeIdle()
}

// closeIdle is CloseIdleConnections of the trunks, with mu held.
func (m *multiplexer) closeIdle() {
	for _, known := range m.trunks.known {
		known.value.closeIdle()
	}
}

// take returns a connection with a stream for the caller, who then sends over it, and
// waits for it if need be. It returns nil where the server has no HTTP/2.
func (t *trunk) take(ctx context.Context) (*stem, error) {
	for begun := int64(-1); ; {
		if s, ok := t.reserve(); ok {
			return s, nil
		}
		if now := t.begun.Load(); now != begun { // others have got streams, or the dial waits for a slot
			begun = now
			waitsInTurn(ctx, t.connected())
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
		case <-time.After(lookAgain):
			t.dequeue(me)
		case <-ctx.Done():
			t.dequeue(me)
			return nil, context.Cause(ctx)
		}
	}
}

// connected reports whether there is a connection.
func (t *trunk) connected() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns) > 0
}

// reserve returns a connection with a stream for the caller, and whether there is
// one, or none is needed.
func (t *trunk) reserve() (*stem, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = slices.DeleteFunc(t.conns, func(s *stem) bool {
		if s.Err() == nil && s.idle() && s.Available() == 0 { // the server has ended it, but for closing it
			s.Close()
		}
		return s.Err() != nil
	})
	for _, s := range t.conns {
		if s.trial && !s.late || s.free() == 0 {
			continue
		}
		s.unsent.Add(1)
		t.begun.Add(1)
		if !s.proven && !s.trial {
			s.trial = true
			time.AfterFunc(trialMost, func() { t.delayed(s) })
		}
		return s, true
	}
	return nil, t.plain
}

// send sends a request over s, which take has returned for it.
func (t *trunk) send(s *stem, req *http.Request) (*http.Response, error) {
	sent := sync.OnceFunc(func() { s.unsent.Add(-1) })
	defer sent() // where it has not come so far
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent(); t.fill(s) }}
	if h, ok := req.Context().Value(connKey{}).(*connHolder); ok { // net/http reports no connection here
		h.Store(s.conn.Load())
	}
	return s.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// delayed lets others go over s, too, where its first answer takes long.
func (t *trunk) delayed(s *stem) {
	t.mu.Lock()
	s.late = true
	t.mu.Unlock()
	t.fill(s)
}

// fill tells as many requests as s has room for, and opens another connection for the others.
func (t *trunk) fill(s *stem) {
	t.mu.Lock()
	trial := s.trial && !s.late
	t.mu.Unlock()
	if trial {
		return
	}
	t.wake(s.next(), nil)
	if t.waits() {
		t.open()
	}
}

// tried notes the answer to the request that s was reserved for, nil for none. It
// reports whether there was ever an answer over s.
func (t *trunk) tried(s *stem, resp *http.Response) bool {
	t.mu.Lock()
	trial, plain := s.trial && !s.proven, resp != nil && resp.ProtoMajor < 2
	s.trial, s.proven = false, s.proven || resp != nil
	if plain {
		t.plain = true
		t.conns = slices.DeleteFunc(t.conns, func(o *stem) bool { return o == s })
	}
	if trial && resp == nil && s.Err() != nil { // perhaps it was one too many
		t.refused = time.Now()
	}
	proven := s.proven
	t.mu.Unlock()
	if plain {
		s.SetStateHook(closeUnused)
		t.wake(math.MaxInt, nil)
	} else {
		t.fill(s) // the state hook is not told of a request that has ended by now
	}
	return proven
}

// closeUnused closes a connection of HTTP/1.1 when its answer has been read.
func closeUnused(c *http.ClientConn) {
	if c.InFlight() == 0 {
		c.Close()
	}
}

// open opens a connection, unless that is under way, or one is not proven or has room yet,
// or there are enough.
func (t *trunk) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	enough := len(t.conns) >= t.most || len(t.conns) > 0 && time.Since(t.refused) < trunkAgain
	room := func(s *stem) bool { return s.Err() == nil && (!s.proven && !s.late || s.Available() > 0) }
	if t.dialing != nil || enough || slices.ContainsFunc(t.conns, room) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.dialing = cancel
	go func() {
		defer cancel()
		conn := new(connHolder)
		to := context.WithValue(ctx, dialKey{}, conn)
		c, err := t.dial(context.WithValue(to, waitKey{}, func(bool) { t.begun.Add(1) }))
		t.opened(ctx, &stem{ClientConn: c, conn: conn}, err)
	}()
}

// opened takes over what open has led to. Where closeIdle has ended that, it is done
// again for those that wait by now.
func (t *trunk) opened(ctx context.Context, s *stem, err error) {
	t.mu.Lock()
	t.dialing = nil
	first, ended := len(t.conns) == 0, ctx.Err() != nil
	switch {
	case ended && err == nil:
		s.Close()
	case ended:
	case err == nil:
		t.conns = append(t.conns, s)
	default:
		t.refused = time.Now()
	}
	t.mu.Unlock()
	switch {
	case ended:
		if t.waits() {
			t.open()
		}
	case err == nil:
		s.SetStateHook(func(*http.ClientConn) { t.wake(s.next(), nil) })
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
		if s.idle() {
			s.Close()
		}
	}
}

// idle reports whether the trunk may be forgotten: it has no connection that is open, and no
// request waits for one.
func (t *trunk) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = slices.DeleteFunc(t.conns, func(s *stem) bool { return s.Err() != nil })
	return len(t.conns) == 0 && t.dialing == nil && !t.waits()
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

// A streamError is how net/http tells, to errors.As, that the server ended a stream.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream %d: code %d", e.StreamID, e.Code) }

// isRefusedStream reports whether the server has ended a request without a look at it
// (RFC 9113 §8.7).
func isRefusedStream(err error) bool {
	e, ok := errors.AsType[streamError](err)
	return ok && e.Code == 7
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
