// Package faultserver is an HTTP server for tests that misbehaves in defined ways, and counts
// all requests and all bytes of bodies. Only tests import it.
//
// A Server serves files of any size without storing them: their bytes are computed from a
// seed. Its misbehaviour is a list of Faults. Each Fault wraps a handler, and they can be
// combined and replaced while requests are in progress:
//
//	s := faultserver.New()
//	defer s.Close()
//	s.Put("f.bin", faultserver.NewFile(64<<20, 1))
//	s.Set(faultserver.Rate(1<<20), faultserver.First(3, faultserver.Status(503, 1)))
//
// A Fault counts each time that it acts on a request. A test must check with
// Server.FaultCount that its fault has acted: otherwise it tests nothing.
//
//	server.go   Server and File
//	faults.go   missing features, rates, cut bodies, statuses; faults for some requests only
//	breaks.go   connections that are closed, reset, silent or slow
//	changes.go  changing and contradicting versions, login pages
//	lies.go     responses that contradict themselves or the request
//	limits.go   limits of requests, Retry-After
//	links.go    redirects, links with a limited life
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

// A Fault wraps a handler to make it misbehave. It may change the request, the header or the
// body, respond itself, or panic with http.ErrAbortHandler to close the connection.
type Fault func(http.Handler) http.Handler

// A Request is the record of one request and of its response so far.
type Request struct {
	Method, Path string
	Range        string      // the Range field, "" for none
	Header       http.Header // as received, before any fault changed it
	Status       int         // of the response; 0 if the header was not sent explicitly
	Bytes        int64       // bytes of the response body written to the network
}

// A Server serves files at /NAME. It is safe for concurrent use.
type Server struct {
	*httptest.Server

	sent       atomic.Int64 // bytes of all response bodies
	faultCount atomic.Int64 // number of times that a fault acted

	mu          sync.Mutex // guards the fields below
	files       map[string]File
	faults      http.Handler // the file handler, wrapped by the current faults
	requests    []*Request
	sentChanged chan struct{} // closed and replaced when sent changes
	gate        int64         // value of sent at which all bodies stop; 0 for no gate
	gateChanged chan struct{} // closed and replaced when gate changes
	active      int           // requests in progress
	idle        *sync.Cond    // uses mu; signalled when active decreases
	peak        int           // maximum of active
}

// New starts a server on a free port of the loopback interface. The caller must call Close.
func New() *Server {
	s := newServer()
	s.Server = httptest.NewServer(s)
	return s
}

// NewTLS is like New, but the server uses TLS with a self-signed certificate.
func NewTLS() *Server {
	s := newServer()
	s.Server = httptest.NewTLSServer(s)
	return s
}

func newServer() *Server {
	s := &Server{files: make(map[string]File), sentChanged: make(chan struct{}), gateChanged: make(chan struct{})}
	s.idle = sync.NewCond(&s.mu)
	s.Set()
	return s
}

// Close stops the server. It ends all requests, including stalled ones, because
// httptest.Server.Close would wait for them.
func (s *Server) Close() {
	s.CloseClientConnections()
	s.Server.Close()
}

// Put serves f at /NAME from now on. It replaces an earlier file of this name.
func (s *Server) Put(name string, f File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = f
}

// Set replaces the faults for all further requests. The first fault is the outermost: it gets
// the request first and the response last. Set without arguments removes all faults.
func (s *Server) Set(faults ...Fault) {
	var h http.Handler = http.HandlerFunc(s.serveFile)
	for _, f := range slices.Backward(faults) {
		h = f(h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = h
}

// Sent returns the number of bytes of response bodies written to the network.
func (s *Server) Sent() int64 { return s.sent.Load() }

// FaultCount returns the number of times that a fault has acted. Rate and ConnRate never
// count.
func (s *Server) FaultCount() int64 { return s.faultCount.Load() }

// faultCountKey is the key of the context value that holds the fault counter of the server.
type faultCountKey struct{}

// countFault records that a fault acts on r.
func countFault(r *http.Request) {
	if n, ok := r.Context().Value(faultCountKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}

// Requests returns a copy of the records of all requests, in the order of arrival. It includes
// requests that a fault refused, and requests in progress.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.requests))
	for i, r := range s.requests {
		all[i] = *r
	}
	return all
}

// Peak returns the largest number of requests that were in progress at the same time.
func (s *Server) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// Reset sets all counters to zero and forgets the requests. Files and faults stay. Requests
// in progress still count for Peak.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent.Store(0)
	s.faultCount.Store(0)
	s.requests, s.peak = nil, s.active
}

// WaitSent waits until n bytes of response bodies have been sent. It reports false if cancel
// is closed first.
func (s *Server) WaitSent(n int64, cancel <-chan struct{}) bool {
	for {
		s.mu.Lock()
		grown := s.sentChanged
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

// HoldAt is like WaitSent, but stops all bodies at that point until Open is called, so that
// the caller can act there, however slow the machine is. Each body may exceed the point by one
// write. Headers are not stopped.
func (s *Server) HoldAt(n int64, cancel <-chan struct{}) bool {
	s.setGate(max(n, 1))
	return s.WaitSent(n, cancel)
}

// Open lets bodies continue after HoldAt.
func (s *Server) Open() { s.setGate(0) }

// DoAt stops all bodies once n bytes have been sent, calls do, and lets them continue. It
// reports false and does not call do if cancel is closed first.
func (s *Server) DoAt(n int64, cancel <-chan struct{}, do func()) bool {
	defer s.Open()
	reached := s.HoldAt(n, cancel)
	if reached {
		do()
	}
	return reached
}

// setGate sets the gate and wakes the bodies that wait at the old one.
func (s *Server) setGate(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = n
	close(s.gateChanged)
	s.gateChanged = make(chan struct{})
}

// waitGate waits as long as the gate stops all bodies. It calls beforeWait first if it must
// wait, and returns early if ctx ends, which means that the client has gone.
func (s *Server) waitGate(ctx context.Context, beforeWait func()) {
	for first := true; ; first = false {
		s.mu.Lock()
		shut, opened := s.gate > 0 && s.Sent() >= s.gate, s.gateChanged
		s.mu.Unlock()
		if !shut {
			return
		}
		if first {
			beforeWait()
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return
		}
	}
}

// WaitIdle waits until no request is in progress.
func (s *Server) WaitIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active > 0 {
		s.idle.Wait()
	}
}

// ServeHTTP records the request and passes it to the faults. A fault that is replaced
// meanwhile still applies to it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &Request{Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range"), Header: r.Header.Clone()}
	s.mu.Lock()
	h := s.faults
	s.requests = append(s.requests, req)
	s.active++
	s.peak = max(s.peak, s.active)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
		s.idle.Broadcast()
	}()
	r = r.WithContext(context.WithValue(r.Context(), faultCountKey{}, &s.faultCount))
	h.ServeHTTP(&countingWriter{ResponseWriter: w, server: s, req: req, ctx: r.Context()}, r)
}

// A countingWriter is the ResponseWriter of one request. It counts the bytes of the body and
// stops at the gate. It is below all faults, so it counts the bytes that are really sent.
type countingWriter struct {
	http.ResponseWriter
	server *Server
	req    *Request
	ctx    context.Context // of the request
}

// Unwrap lets http.ResponseController reach the ResponseWriter of net/http.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader records the last status: an interim status is replaced by the final one.
func (c *countingWriter) WriteHeader(status int) {
	c.server.mu.Lock()
	c.req.Status = status
	c.server.mu.Unlock()
	c.ResponseWriter.WriteHeader(status)
}

// Write waits at the gate, writes, and wakes the callers of WaitSent. The bytes are counted
// after the write, so Sent never includes bytes that may not have been sent. The gate stops
// bodies only: the client gets the header of a response whose body waits.
func (c *countingWriter) Write(b []byte) (int, error) {
	s := c.server
	s.waitGate(c.ctx, func() { http.NewResponseController(c.ResponseWriter).Flush() })
	n, err := c.ResponseWriter.Write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.req.Bytes += int64(n)
	s.sent.Add(int64(n))
	close(s.sentChanged)
	s.sentChanged = make(chan struct{})
	return n, err
}

// serveFile is the handler behind all faults. It serves files correctly, with ranges.
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

// A File is a file to serve. Its bytes depend only on Seed: two files with different seeds
// differ nearly everywhere, and a larger file begins with the bytes of a smaller one of the
// same seed.
type File struct {
	Size        int64 // in bytes
	Seed        uint64
	ETag        string    // including its quotes; "" for none
	Modified    time.Time // sent as Last-Modified; zero for none
	Disposition string    // Content-Disposition; "" for none
}

// NewFile returns a file with a strong ETag and a Last-Modified, as most servers send them.
// Both depend on the seed.
func NewFile(size int64, seed uint64) File {
	modified := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC).Add(time.Duration(seed%1000) * time.Hour)
	return File{Size: size, Seed: seed, ETag: fmt.Sprintf(`"%x-%x"`, seed, size), Modified: modified}
}

const (
	blockSize = 64 << 10 // bytes of a file that are taken from noise as one piece
	noiseSize = 1 << 20  // number of offsets in noise at which a block may begin
)

// noise returns the random bytes of which all files consist: each block of a file is a piece of
// them. Copying from them is much faster than computing random bytes. They are computed once,
// and not by programs that only contain this package, such as the pawl of a test.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, noiseSize+blockSize)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// ReadAt implements io.ReaderAt. The offset of a block in noise depends on the seed and on the
// number of the block, so bytes of another file or of another offset are detected.
func (f File) ReadAt(b []byte, off int64) (int, error) {
	if off >= f.Size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), f.Size-off))
	for i := 0; i < n; {
		number, in := (off+int64(i))/blockSize, (off+int64(i))%blockSize
		i += copy(b[i:n], f.block(number)[in:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// block returns the block with this number, a part of noise. The last block of the file may be shorter
// than it.
func (f File) block(number int64) []byte {
	at := int64(f.hash(number) % noiseSize)
	return noise()[at : at+blockSize]
}

// hash mixes the seed and the number of a block, with the finalizer of SplitMix64.
func (f File) hash(i int64) uint64 {
	x := f.Seed*0x9e3779b97f4a7c15 + uint64(i)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Check returns an error at the first difference between the bytes of got and the file.
func (f File) Check(got io.Reader) error {
	b := make([]byte, blockSize)
	for number := int64(0); ; number++ {
		off := number * blockSize
		want := f.block(number)[:min(max(f.Size-off, 0), blockSize)]
		n, err := io.ReadFull(got, b)
		if !bytes.Equal(b[:n], want) {
			return fmt.Errorf("differs from the served file within %d bytes from offset %d: got %d bytes there, want %d", len(b), off, n, len(want))
		}
		if err != nil {
			return nil
		}
	}
}
