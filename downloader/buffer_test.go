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

// byteAt returns the byte at off of the file of these tests.
func byteAt(off int64) byte { return byte(off*31 + off>>8*7) }

// A strictFile is a file in memory. It accepts only the right bytes, and each of them once.
type strictFile struct {
	accept func(n int) (int, error) // the outcome of a write of n bytes; nil accepts all of them

	mu      sync.Mutex
	b       []byte  // guarded by mu, as the fields below are
	written []bool  // byte i was written
	errs    []error // wrong writes
}

func newStrictFile(size int) *strictFile {
	return &strictFile{b: make([]byte, size), written: make([]bool, size)}
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
		if f.written[pos] {
			f.errs = append(f.errs, fmt.Errorf("byte %d was written twice", pos))
		} else if x != byteAt(pos) {
			f.errs = append(f.errs, fmt.Errorf("byte %d is wrong", pos))
		}
		if f.written[pos], f.b[pos] = true, x; len(f.errs) > 5 {
			return n, errors.Join(f.errs...)
		}
	}
	return n, err
}

// check reports wrong writes, missing bytes from off to end, and other bytes that were written.
func (f *strictFile) check(t *testing.T, off, end int) {
	t.Helper()
	if err := errors.Join(f.errs...); err != nil {
		t.Error(err)
	}
	if i := slices.Index(f.written[off:end], false); i >= 0 {
		t.Errorf("byte %d is missing", off+i)
	}
	if slices.Contains(f.written[:off], true) || slices.Contains(f.written[end:], true) {
		t.Errorf("bytes outside of %d to %d were written", off, end)
	}
}

// fill reads n bytes of the file from off into b, and reports whether b should be flushed.
func fill(b *buffer, off int64, n int) (full bool) {
	space := b.space(n)
	for i := range space {
		space[i] = byteAt(off + int64(i))
	}
	return b.filled(len(space))
}

// While one goroutine reads into the buffer, another one flushes it all the time. Each byte is
// written to its place once, and counted once.
func TestBufferConcurrent(t *testing.T) {
	const off, size = 12345, 3*bufferSize + 77
	f := newStrictFile(off + size + 1000)
	var counted int64 // guarded by the mutex of the buffer
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
		n := r.IntN(len(space) + 1) // a read may be short or empty
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
		t.Errorf("got %d counted bytes, want %d", counted, size)
	}
	f.check(t, off, off+size)
}

// space never returns more bytes than requested, and never none. filled asks for a flush when
// the buffer is half full.
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
		t.Error("one byte less than half full: filled asks for a flush")
	}
	if n := len(b.space(bufferSize)); n != bufferSize/2+1 {
		t.Errorf("space: got %d, want %d", n, bufferSize/2+1)
	}
	if !fill(b, bufferSize/2-1, 1) {
		t.Error("half full: filled asks for no flush")
	}
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.space(bufferSize)); n != bufferSize {
		t.Errorf("space after a flush: got %d, want %d", n, bufferSize)
	}
	if !fill(b, bufferSize/2, bufferSize) {
		t.Error("full: filled asks for no flush")
	}
	b.flush()
	f.check(t, 0, bufferSize*3/2)
}

// After a failed write, the remaining bytes are dropped, and never counted.
func TestBufferWriteError(t *testing.T) {
	f := newStrictFile(1000)
	f.accept = func(n int) (int, error) { return min(n, 60), io.ErrShortWrite }
	counted := int64(0)
	b := newBuffer(f, func(n int64) { counted += n })
	b.seek(100)
	fill(b, 100, 200)
	if err := b.flush(); err != io.ErrShortWrite || counted != 60 {
		t.Errorf("got error %v, %d counted bytes, want %v, 60", err, counted, io.ErrShortWrite)
	}
	f.accept = nil
	if b.flush(); counted != 60 {
		t.Errorf("flush after the error: got %d counted bytes, want 60", counted)
	}
	f.check(t, 100, 160)
}

// If a flush fails while the reader waits for bytes, no byte is written to a wrong place
// afterwards, although the disk accepts writes again.
func TestBufferWriteErrorDuringRead(t *testing.T) {
	f := newStrictFile(1000)
	b := newBuffer(f, func(int64) {})
	b.seek(0)
	fill(b, 0, 100)
	space := b.space(50) // the reader waits for these bytes
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

// A reused buffer is empty, and a flush on behalf of its previous owner does no harm.
func TestBufferReuse(t *testing.T) {
	var previous *buffer
	reused := 0
	for range 100 { // under the race detector, a sync.Pool drops some buffers on purpose
		f, counted := newStrictFile(1000), int64(0)
		b := newBuffer(f, func(n int64) { counted += n })
		if b == previous {
			reused++
		}
		b.seek(500)
		fill(b, 500, 20)
		if previous != nil {
			if err := previous.flush(); err != nil {
				t.Fatal(err)
			}
		}
		fill(b, 520, 5)
		if err := b.flush(); err != nil || counted != 25 {
			t.Fatalf("got error %v, %d counted bytes, want none, 25", err, counted)
		}
		f.check(t, 500, 525)
		b.free()
		previous = b
		if err := previous.flush(); err != nil || counted != 25 {
			t.Fatalf("flush of a free buffer: got error %v, %d counted bytes, want none, 25", err, counted)
		}
	}
	if reused == 0 {
		t.Error("no buffer was reused")
	}
}

// After seek, bytes go to the new place.
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
	clear(f.written[:20])
	f.check(t, 480, 520)
}
