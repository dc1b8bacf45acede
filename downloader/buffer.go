package downloader

import (
	"io"
	"maps"
	"slices"
	"sync"
)

// bufferSize limits the bytes that one connection has read and not written. A buffer is written
// when it is half full, so that each read has room for 256 KiB. At half, small writes cost CPU; at
// double, 16 connections take 8 MiB more memory.
const bufferSize = 512 << 10

// A buffer collects the bytes that one connection reads, for larger writes. One goroutine reads
// into it; any goroutine may flush it, so that a commit need not wait for a slow connection. The
// buffer itself knows its place in the file, so a flush does no harm if another connection has
// taken over the buffer meanwhile.
type buffer struct {
	b []byte // only the reader may use b[n:]

	mu      sync.Mutex // taken before the lock of the scheduler
	to      io.WriterAt
	wrote   func(n int64) // counts written bytes; called under mu, so that no byte counts twice
	off     int64         // offset of b[0] in the file
	n       int           // bytes read into b
	written int           // bytes of b written to the file
	err     error         // of a write; no byte is written after it
}

var bufferPool = sync.Pool{New: func() any { return &buffer{b: make([]byte, bufferSize)} }}

// newBuffer returns an empty buffer for one connection.
func newBuffer(to io.WriterAt, wrote func(n int64)) *buffer {
	b := bufferPool.Get().(*buffer)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to, b.wrote, b.n, b.written, b.err = to, wrote, 0, 0, nil
	return b
}

// free returns the buffer to the pool. It must be flushed, and must not be used afterwards.
func (b *buffer) free() {
	b.mu.Lock()
	b.to, b.wrote, b.n, b.written, b.err = nil, nil, 0, 0, nil
	b.mu.Unlock()
	bufferPool.Put(b)
}

// seek sets the place in the file for the next bytes. The buffer must be empty.
func (b *buffer) seek(off int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off, b.n, b.written = off, 0, 0
}

// space returns room for the next read: at least one byte, and at most limit bytes.
func (b *buffer) space(limit int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == b.written {
		b.off += int64(b.n)
		b.n, b.written = 0, 0
	}
	return b.b[b.n:min(len(b.b), b.n+limit)]
}

// filled notes that n bytes were read into space, and reports whether the buffer must be flushed.
func (b *buffer) filled(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += n
	return b.n >= len(b.b)/2
}

// flush writes the bytes that are not written yet. After an error it writes no more bytes, and
// returns that error again.
func (b *buffer) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == b.written || b.err != nil {
		return b.err
	}
	n, err := b.to.WriteAt(b.b[b.written:b.n], b.off+int64(b.written))
	b.written += n
	b.wrote(int64(n))
	b.err = err
	return err
}

// A bufferSet has the buffers of a transfer. Safe for concurrent use.
type bufferSet struct {
	mu  sync.Mutex
	set map[*buffer]struct{}
}

func (s *bufferSet) add(b *buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[*buffer]struct{})
	}
	s.set[b] = struct{}{}
}

func (s *bufferSet) remove(b *buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, b)
}

// all returns the buffers.
func (s *bufferSet) all() []*buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.set))
}
