package downloader

import (
	"io"
	"maps"
	"slices"
	"sync"
)

// bufferSize is what one connection may have read and not written; it is
// written when half full, so that every read has room for a large piece.
const bufferSize = 512 << 10

// A buffer gathers what one connection reads until a write is worth its while.
// One goroutine reads into it; any may flush it, so that a commit need not wait
// for a slow connection. A flush of a buffer that has gone to another
// connection meanwhile is right, too: the buffer itself knows where to write.
type buffer struct {
	b []byte // the reader alone touches b[n:]

	mu      sync.Mutex // taken before the lock of the scheduler
	to      io.WriterAt
	wrote   func(n int64) // counts what is written, under mu, so that nothing counts twice
	off     int64         // where b[0] belongs in the file
	n       int           // bytes read into b
	written int           // of them written
	err     error         // of a write; what came after it has no place any more
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

// free ends the connection's use of the buffer, which must be flushed.
func (b *buffer) free() {
	b.mu.Lock()
	b.to, b.wrote, b.n, b.written, b.err = nil, nil, 0, 0, nil
	b.mu.Unlock()
	bufferPool.Put(b)
}

// seek points the empty buffer at a place in the file.
func (b *buffer) seek(off int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off, b.n, b.written = off, 0, 0
}

// space returns where the reader may read to, at most most bytes and never none.
func (b *buffer) space(most int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == b.written {
		b.off += int64(b.n)
		b.n, b.written = 0, 0
	}
	return b.b[b.n:min(len(b.b), b.n+most)]
}

// filled notes that n bytes were read into space, and reports whether it is
// time to flush.
func (b *buffer) filled(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += n
	return b.n >= len(b.b)/2
}

// flush writes what has not been written. After an error it writes nothing more,
// and returns that error again.
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

// A bufferSet is the buffers of a transfer. Safe for concurrent use.
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
