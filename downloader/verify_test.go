package downloader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

// A growingFile has written bytes at its start. The bytes behind them are zero, as in a part
// file, and must not be hashed before they are written.
type growingFile struct {
	size    int64
	written atomic.Int64 // length of the written start
	readErr error        // of each read; nil for none
}

func (f *growingFile) ReadAt(b []byte, off int64) (int, error) {
	if f.readErr != nil {
		return 0, f.readErr
	}
	n := int(min(int64(len(b)), f.size-off))
	for i := range b[:n] {
		if b[i] = 0; off+int64(i) < f.written.Load() {
			b[i] = byteAt(off + int64(i))
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// digestOfFirst returns the digest of the first size bytes.
func digestOfFirst(t *testing.T, size int64) chunk.Sum {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byteAt(int64(i))
	}
	sum, err := chunk.ParseSum(fmt.Sprintf("sha256:%x", sha256.Sum256(b)))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// The verifier hashes written bytes soon, and no others, so that nothing is left to hash at the
// end.
func TestVerifierFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1_000_003
		f := &growingFile{size: size}
		v := newVerifier(digestOfFirst(t, size), f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.loop(ctx, f.written.Load) }()
		for written := int64(0); written < size; {
			written = min(written*2+1, size)
			f.written.Store(written)
			time.Sleep(followInterval + 1)
			synctest.Wait()
			if v.off != written {
				t.Errorf("got %d hashed bytes, want %d", v.off, written)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("loop: got error %v", err)
		}
		f.readErr = errors.New("the verdict reads bytes again")
		if err := v.verdict(t.Context(), size); err != nil {
			t.Errorf("verdict: got error %v", err)
		}
	})
}

// The verdict is a mismatch if the digest is wrong, and the error of the file if it cannot be
// read to its end.
func TestVerdict(t *testing.T) {
	errRead := errors.New("a bad sector")
	const size = 300_000
	tests := []struct {
		name    string
		hashed  int64 // bytes that were hashed before
		written int64 // right bytes; zeros follow
		size    int64 // of the file, according to the server
		readErr error
		want    error
	}{
		{"right", 0, size, size, nil, nil},
		{"right, some of it hashed", 200_000, size, size, nil, nil},
		{"last byte wrong", 200_000, size - 1, size, nil, failure.ErrChecksum},
		{"last byte missing", 0, size, size - 1, nil, failure.ErrChecksum},
		{"the file ends too early", 0, size, size + 1, nil, store.ErrGone},
		{"unreadable", 200_000, size, size, errRead, errRead},
	}
	sum := digestOfFirst(t, size)
	for _, tt := range tests {
		f := &growingFile{size: size}
		f.written.Store(tt.written)
		v := newVerifier(sum, f)
		if err := v.follow(t.Context(), tt.hashed); err != nil {
			t.Fatal(err)
		}
		f.readErr = tt.readErr
		err := v.verdict(t.Context(), tt.size)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got error %v, want %v", tt.name, err, tt.want)
		}
		if tt.want == failure.ErrChecksum && !strings.Contains(fmt.Sprint(err), sum.String()) {
			t.Errorf("%s: got error %v, want it to contain %v", tt.name, err, sum)
		}
	}
	empty := newVerifier(digestOfFirst(t, 0), &growingFile{})
	if err := empty.verdict(t.Context(), 0); err != nil {
		t.Errorf("empty file: got error %v", err)
	}
}

// A cancelled verdict stops in the middle of a large file, with the cause of the context.
func TestVerifierCancelled(t *testing.T) {
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &growingFile{size: 1 << 40}
	v := newVerifier(digestOfFirst(t, 0), f)
	reads := 0
	v.file = readerAt(func(b []byte, off int64) (int, error) {
		if reads++; reads == 3 {
			cancel(cause)
		}
		return f.ReadAt(b, off)
	})
	if err := v.verdict(ctx, f.size); err != cause || reads != 3 {
		t.Errorf("verdict: got error %v after %d reads, want %v after 3", err, reads, cause)
	}
}

// If the file cannot be read, loop returns a permanent error, unless the context has ended.
func TestVerifierLoopFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &growingFile{size: 10, readErr: errors.New("a bad sector")}
		f.written.Store(10)
		v := newVerifier(digestOfFirst(t, 10), f)
		if err := v.loop(t.Context(), f.written.Load); !errors.Is(err, f.readErr) || !failure.IsPermanent(err) {
			t.Errorf("got error %v, want a permanent %v", err, f.readErr)
		}
		ctx, cancel := context.WithCancel(t.Context())
		v.file = readerAt(func([]byte, int64) (int, error) {
			cancel()
			return 0, f.readErr
		})
		if err := v.loop(ctx, f.written.Load); err != nil {
			t.Errorf("cancelled: got error %v, want none", err)
		}
	})
}

// A readerAt is an io.ReaderAt.
type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }
