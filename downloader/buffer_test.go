package downloader

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// at is the byte that belongs at an offset of the file of these tests.
func byteAt(off int64) byte { return byte(off*31 + off>>8*7) }

// A strictFile is a file in memory that takes only the right bytes, each once.
type strictFile struct {
	mu     sync.Mutex
	b      []byte
	there  []bool
	errs   []error
	accept func(n int) (int, error) // how many bytes of a write are taken; nil all
}

func newStrictFile(size int) *strictFile {
	return &strictFile{b: make([]byte, size), there: make([]bool, size)}
}

func (f *strictFile) WriteAt(b []byte, off int64) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = len(b)
	if f.accept != nil {
		n, err = f.accept(n)
	}
	for i, x := range b[:n] {
		pos := off + int64(i)
		if f.there[pos] {
			f.errs = append(f.errs, fmt.Errorf("byte %d was written twice", pos))
		} else if x != byteAt(pos) {
			f.errs = append(f.errs, fmt.Errorf("byte %d is wrong", pos))
		}
		if f.there[pos], f.b[pos] = true, x; len(f.errs) > 5 {
			return n, errors.Join(f.errs...)
		}
	}
	return n, err
}

// check says whether exactly the bytes from off to end are there.
func (f *strictFile) check(t *testing.T, off, end int) {
	t.Helper()
	if err := errors.Join(f.errs...); err != nil {
		t.Error(err)
	}
	if i := slices.Index(f.there[off:end], false); i >= 0 {
		t.Errorf("byte %d is missing", off+i)
	}
	if slices.Contains(f.there[:off], true) || slices.Contains(f.there[end:], true) {
		t.Errorf("bytes outside of %d to %d were written", off, end)
	}
}

// fill reads n bytes of the file from off into b.
func fill(b *buffer, off int64, n int) (full bool) {
	space := b.space(n)
	for i := range space {
		space[i] = byteAt(off + int64(i))
	}
	return b.filled(len(space))
}

// TestBufferConcurrent: while one goroutine reads, another flushes all the time;
// each byte comes to its place once, and is counted once.
func TestBufferConcurrent(t *testing.T) {
	const off, size = 12345, 3*bufferSize + 77
	f := newStrictFile(off + size + 1000)
	var counted int64 // under the buffer's lock
	b := newBuffer(f, func(n int64) { counted += n })
	b.seek(off)
	stop := make(chan struct{})
	var committer sync.WaitGroup
	committer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := b.flush(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	r := rand.New(rand.NewPCG(1, 3))
	for pos := int64(off); pos < off+size; {
		space := b.space(int(min(1+r.Int64N(20_000), off+size-pos)))
		if len(space) == 0 {
			t.Fatal("no space")
		}
		for i := range space {
			space[i] = byteAt(pos + int64(i))
		}
		n := r.IntN(len(space) + 1) // a short read, or none
		pos += int64(n)
		if b.filled(n) {
			if err := b.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	committer.Wait()
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if counted != size {
		t.Errorf("counted: got %d, want %d", counted, size)
	}
	f.check(t, off, off+size)
}

// TestBufferSpace: there is always space, never more than asked for, and the
// buffer asks to be flushed when it is half full.
func TestBufferSpace(t *testing.T) {
	f := newStrictFile(2 * bufferSize)
	b := newBuffer(f, func(int64) {})
	b.seek(0)
	if n := len(b.space(10)); n != 10 {
		t.Errorf("space: got %d, want 10", n)
	}
	if n := len(b.space(2 * bufferSize)); n != bufferSize {
		t.Errorf("space: got %d, want %d", n, bufferSize)
	}
	if fill(b, 0, bufferSize/2-1) {
		t.Error("to be flushed one byte before half of the buffer")
	}
	if n := len(b.space(bufferSize)); n != bufferSize/2+1 {
		t.Errorf("space: got %d, want %d", n, bufferSize/2+1)
	}
	if !fill(b, bufferSize/2-1, 1) {
		t.Error("not to be flushed at half of the buffer")
	}
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.space(bufferSize)); n != bufferSize {
		t.Errorf("space after a flush: got %d, want %d", n, bufferSize)
	}
	if !fill(b, bufferSize/2, bufferSize) {
		t.Error("not to be flushed when full")
	}
	b.flush()
	f.check(t, 0, bufferSize*3/2)
}

// TestBufferWriteError: after an error what was not written is forgotten, and
// counted neither now nor later.
func TestBufferWriteError(t *testing.T) {
	f := newStrictFile(1000)
	f.accept = func(n int) (int, error) { return min(n, 60), io.ErrShortWrite }
	counted := int64(0)
	b := newBuffer(f, func(n int64) { counted += n })
	b.seek(100)
	fill(b, 100, 200)
	if err := b.flush(); err != io.ErrShortWrite || counted != 60 {
		t.Errorf("got error %v, %d counted, want %v, 60", err, counted, io.ErrShortWrite)
	}
	f.accept = nil
	if b.flush(); counted != 60 {
		t.Errorf("counted after the error: got %d, want 60", counted)
	}
	f.check(t, 100, 160)
}

// TestBufferErrorUnderRead: a committer's flush fails while the reader waits for
// more. Whatever the reader does then, no byte comes to a wrong place.
func TestBufferErrorUnderRead(t *testing.T) {
	f := newStrictFile(1000)
	b := newBuffer(f, func(int64) {})
	b.seek(0)
	fill(b, 0, 100)
	space := b.space(50) // the reader waits
	f.accept = func(int) (int, error) { return 0, io.ErrShortWrite }
	if err := b.flush(); err != io.ErrShortWrite {
		t.Fatalf("flush: got error %v, want %v", err, io.ErrShortWrite)
	}
	f.accept = nil // the disk has room again
	for i := range space {
		space[i] = byteAt(100 + int64(i))
	}
	b.filled(len(space))
	b.flush()
	fill(b, 150, 50)
	b.flush()
	if err := errors.Join(f.errs...); err != nil {
		t.Error(err)
	}
}

// TestBufferReuse: a buffer that comes back begins empty, and a flush for its
// last owner does no harm to its next.
func TestBufferReuse(t *testing.T) {
	var stale *buffer
	reused := 0
	for range 100 { // under the race detector, a sync.Pool loses some on purpose
		f, counted := newStrictFile(1000), int64(0)
		b := newBuffer(f, func(n int64) { counted += n })
		if b == stale {
			reused++
		}
		b.seek(500)
		fill(b, 500, 20)
		if stale != nil {
			if err := stale.flush(); err != nil {
				t.Fatal(err)
			}
		}
		fill(b, 520, 5)
		if err := b.flush(); err != nil || counted != 25 {
			t.Fatalf("got error %v, %d counted, want 25", err, counted)
		}
		f.check(t, 500, 525)
		b.free()
		stale = b
		if err := stale.flush(); err != nil || counted != 25 {
			t.Fatalf("flush of a free buffer: got error %v, %d counted, want 25", err, counted)
		}
	}
	if reused == 0 {
		t.Error("no buffer was used again")
	}
}

// TestBufferSeek: after a seek the bytes belong elsewhere.
func TestBufferSeek(t *testing.T) {
	f := newStrictFile(1000)
	b := newBuffer(f, func(int64) {})
	for _, off := range []int64{500, 0, 480} {
		b.seek(off)
		fill(b, off, 10)
		fill(b, off+10, 10)
		if err := b.flush(); err != nil {
			t.Fatal(err)
		}
	}
	clear(f.there[:20])
	f.check(t, 480, 520)
}
