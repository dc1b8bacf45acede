// Package faultserver is an HTTP server for tests that misbehaves as told, and
// counts every request and every byte of a body. Only tests import it.
//
// A Server serves files of any size without storing them: their bytes are
// computed. How it misbehaves is a list of Faults, each a small piece that
// wraps the handler, which can be changed while requests are under way.
package faultserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Fault wraps a handler to make it misbehave.
type Fault func(http.Handler) http.Handler

// A Request is what the server remembers of one.
type Request struct {
	Method, Path string
	Range        string // as asked
	Header       http.Header
	Status       int   // as answered
	Bytes        int64 // of the body, handed to the network
}

// A Server serves files at /NAME. Safe for concurrent use.
type Server struct {
	*httptest.Server

	sent atomic.Int64 // bytes of all bodies
	met  atomic.Int64 // times that a fault acted

	mu       sync.Mutex
	files    map[string]File
	faults   http.Handler // the handler behind the faults of the day
	requests []*Request
	grown    chan struct{} // closed and replaced when sent grows
	gate     int64         // bytes of all bodies after which none goes on; 0 without
	opened   chan struct{} // closed and replaced when gate changes
	now      int           // requests under way
	idle     *sync.Cond    // on mu; told when now falls
	peak     int           // most requests that were under way at once
}

// New starts a server on a loopback port. Close ends it.
func New() *Server {
	s := newServer()
	s.Server = httptest.NewServer(s)
	return s
}

// NewTLS is New with a certificate of its own.
func NewTLS() *Server {
	s := newServer()
	s.Server = httptest.NewTLSServer(s)
	return s
}

func newServer() *Server {
	s := &Server{files: make(map[string]File), grown: make(chan struct{}), opened: make(chan struct{})}
	s.idle = sync.NewCond(&s.mu)
	s.Set()
	return s
}

// Close ends all requests, stalled ones too, and the server.
func (s *Server) Close() {
	s.CloseClientConnections()
	s.Server.Close()
}

// Put serves f at /NAME from now on.
func (s *Server) Put(name string, f File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = f
}

// Set makes faults, the first one outermost, those of all further requests.
func (s *Server) Set(faults ...Fault) {
	var h http.Handler = http.HandlerFunc(s.serveFile)
	for _, f := range slices.Backward(faults) {
		h = f(h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = h
}

// Sent returns how many bytes of bodies were handed to the network.
func (s *Server) Sent() int64 { return s.sent.Load() }

// Met returns how many times a fault has acted. One that only paces never does.
func (s *Server) Met() int64 { return s.met.Load() }

// metKey is that of the context value by which a fault finds the counter.
type metKey struct{}

// met notes that a fault acts on r.
func met(r *http.Request) {
	if n, ok := r.Context().Value(metKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}

// Requests returns what was asked so far, in the order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.requests))
	for i, r := range s.requests {
		all[i] = *r
	}
	return all
}

// Peak returns the most requests that were under way at once.
func (s *Server) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// Reset forgets what was counted.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent.Store(0)
	s.met.Store(0)
	s.requests, s.peak = nil, s.now
}

// WaitSent returns when n bytes were sent, or false when cancel was closed first.
func (s *Server) WaitSent(n int64, cancel <-chan struct{}) bool {
	for {
		s.mu.Lock()
		grown := s.grown
		s.mu.Unlock()
		if s.Sent() >= n {
			return true
		}
		select {
		case <-grown:
		case <-cancel:
			return false
		}
	}
}

// HoldAt is WaitSent, and no body goes on then until Open, give or take a piece of
// each: what is to be done at that point is in time however slow the machine is.
func (s *Server) HoldAt(n int64, cancel <-chan struct{}) bool {
	s.setGate(max(n, 1))
	return s.WaitSent(n, cancel)
}

// Open lets bodies go on.
func (s *Server) Open() { s.setGate(0) }

// DoAt calls do when n bytes were sent in all, while no body goes on. It returns
// false when cancel was closed first.
func (s *Server) DoAt(n int64, cancel <-chan struct{}, do func()) bool {
	defer s.Open()
	reached := s.HoldAt(n, cancel)
	if reached {
		do()
	}
	return reached
}

func (s *Server) setGate(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = n
	close(s.opened)
	s.opened = make(chan struct{})
}

// pass waits until the gate is open, or the client is gone.
func (s *Server) pass(ctx context.Context) {
	for {
		s.mu.Lock()
		shut, opened := s.gate > 0 && s.Sent() >= s.gate, s.opened
		s.mu.Unlock()
		if !shut {
			return
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return
		}
	}
}

// WaitIdle returns when no request is under way any more.
func (s *Server) WaitIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.now > 0 {
		s.idle.Wait()
	}
}

// ServeHTTP counts, and hands on to the faults.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &Request{Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range"), Header: r.Header.Clone()}
	s.mu.Lock()
	h := s.faults
	s.requests = append(s.requests, req)
	s.now++
	s.peak = max(s.peak, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
		s.idle.Broadcast()
	}()
	r = r.WithContext(context.WithValue(r.Context(), metKey{}, &s.met))
	h.ServeHTTP(&counter{ResponseWriter: w, server: s, req: req, ctx: r.Context()}, r)
}

// counter counts what one request sends.
type counter struct {
	http.ResponseWriter
	server *Server
	req    *Request
	ctx    context.Context // of the request
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counter) WriteHeader(status int) {
	c.server.mu.Lock()
	c.req.Status = status
	c.server.mu.Unlock()
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(b []byte) (int, error) {
	s := c.server
	s.pass(c.ctx)
	n, err := c.ResponseWriter.Write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.req.Bytes += int64(n)
	s.sent.Add(int64(n))
	close(s.grown)
	s.grown = make(chan struct{})
	return n, err
}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, ok := s.files[strings.TrimPrefix(r.URL.Path, "/")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if f.ETag != "" {
		h.Set("ETag", f.ETag)
	}
	if f.Disposition != "" {
		h.Set("Content-Disposition", f.Disposition)
	}
	http.ServeContent(w, r, "", f.Modified, io.NewSectionReader(f, 0, f.Size))
}

// A File is served. Its bytes depend on Seed alone, so that two files with
// different seeds differ nearly everywhere.
type File struct {
	Size        int64
	Seed        uint64
	ETag        string    // with its quotes; "" for none
	Modified    time.Time // zero for none
	Disposition string    // Content-Disposition; "" for none
}

// NewFile returns a file with the validators that servers usually send.
func NewFile(size int64, seed uint64) File {
	modified := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC).Add(time.Duration(seed%1000) * time.Hour)
	return File{Size: size, Seed: seed, ETag: fmt.Sprintf(`"%x-%x"`, seed, size), Modified: modified}
}

const (
	blockBytes = 64 << 10
	noiseBytes = 1 << 20
)

// noise is what all files are made of: each of their blocks is a piece of it.
var noise = func() []byte {
	b := make([]byte, noiseBytes+blockBytes)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// ReadAt copies the bytes at off. Where a block begins in the noise depends on the
// seed and its number, so that neither another file nor another place has it.
func (f File) ReadAt(b []byte, off int64) (int, error) {
	if off >= f.Size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), f.Size-off))
	for i := 0; i < n; {
		block, in := (off+int64(i))/blockBytes, (off+int64(i))%blockBytes
		at := int64(f.hash(block) % noiseBytes)
		i += copy(b[i:n], noise[at+in:at+blockBytes])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// hash mixes the seed and a number (the finalizer of SplitMix64).
func (f File) hash(i int64) uint64 {
	x := f.Seed*0x9e3779b97f4a7c15 + uint64(i)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Check compares what got holds with the file, and tells the first difference.
func (f File) Check(got io.Reader) error {
	want := io.NewSectionReader(f, 0, f.Size)
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); ; {
		n, err := io.ReadFull(got, a)
		m, _ := io.ReadFull(want, b)
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("differs from the served file in the %d bytes from %d (%d there, %d expected)", len(a), off, n, m)
		}
		off += int64(n)
		if err != nil {
			return nil
		}
	}
}
