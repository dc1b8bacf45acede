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
)

// A growingFile has its first bytes; behind them is what a part file has there,
// zeros, which must never be hashed.
type growingFile struct {
	size   int64
	there  atomic.Int64
	broken error // of every read
}

func (f *growingFile) ReadAt(b []byte, off int64) (int, error) {
	if f.broken != nil {
		return 0, f.broken
	}
	n := int(min(int64(len(b)), f.size-off))
	for i := range b[:n] {
		if b[i] = 0; off+int64(i) < f.there.Load() {
			b[i] = byteAt(off + int64(i))
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// sumAt returns the sum of the first size bytes.
func sumAt(t *testing.T, size int64) chunk.Sum {
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

// TestVerifierFollows: it hashes what is there and no more, soon after it came,
// so that nothing is left to do at the end.
func TestVerifierFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1_000_003
		f := &growingFile{size: size}
		v := newVerifier(sumAt(t, size), f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.loop(ctx, f.there.Load) }()
		for there := int64(0); there < size; {
			there = min(there*2+1, size)
			f.there.Store(there)
			time.Sleep(followEvery + 1)
			synctest.Wait()
			if v.off != there {
				t.Errorf("hashed: got %d, want %d", v.off, there)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("loop: got error %v", err)
		}
		f.broken = errors.New("read again")
		if err := v.verdict(t.Context(), size); err != nil {
			t.Errorf("verdict: got error %v", err)
		}
	})
}

func TestVerdict(t *testing.T) {
	read := errors.New("a bad sector")
	const size = 300_000
	tests := []struct {
		name   string
		hashed int64 // before
		there  int64 // right bytes; zeros behind them
		size   int64
		broken error
		want   error
	}{
		{"right", 0, size, size, nil, nil},
		{"right, some of it hashed", 200_000, size, size, nil, nil},
		{"last byte wrong", 200_000, size - 1, size, nil, failure.ErrChecksum},
		{"too short", 0, size, size - 1, nil, failure.ErrChecksum},
		{"shorter than told", 0, size, size + 1, nil, io.EOF},
		{"unreadable", 200_000, size, size, read, read},
	}
	sum := sumAt(t, size)
	for _, tt := range tests {
		f := &growingFile{size: size}
		f.there.Store(tt.there)
		v := newVerifier(sum, f)
		if err := v.follow(t.Context(), tt.hashed); err != nil {
			t.Fatal(err)
		}
		f.broken = tt.broken
		err := v.verdict(t.Context(), tt.size)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got error %v, want %v", tt.name, err, tt.want)
		}
		if tt.want == failure.ErrChecksum && !strings.Contains(fmt.Sprint(err), sum.String()) {
			t.Errorf("%s: got error %v, without the sum asked for", tt.name, err)
		}
	}
	empty := newVerifier(sumAt(t, 0), &growingFile{})
	if err := empty.verdict(t.Context(), 0); err != nil {
		t.Errorf("an empty file: got error %v", err)
	}
}

// TestVerifierCancelled: it stops in the middle of a large file.
func TestVerifierCancelled(t *testing.T) {
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &growingFile{size: 1 << 40}
	v := newVerifier(sumAt(t, 0), f)
	reads := 0
	v.file = readerAt(func(b []byte, off int64) (int, error) {
		if reads++; reads == 3 {
			cancel(cause)
		}
		return f.ReadAt(b, off)
	})
	if err := v.verdict(ctx, f.size); err != cause || reads != 3 {
		t.Errorf("verdict: got error %v after %d reads, want the context's cause after 3", err, reads)
	}
}

// TestVerifierLoopFails: a file that cannot be read ends the download, unless
// that is over anyway.
func TestVerifierLoopFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &growingFile{size: 10, broken: errors.New("a bad sector")}
		f.there.Store(10)
		v := newVerifier(sumAt(t, 10), f)
		if err := v.loop(t.Context(), f.there.Load); !errors.Is(err, f.broken) || !failure.IsPermanent(err) {
			t.Errorf("got error %v, want %v for good", err, f.broken)
		}
		ctx, cancel := context.WithCancel(t.Context())
		v.file = readerAt(func([]byte, int64) (int, error) {
			cancel()
			return 0, f.broken
		})
		if err := v.loop(ctx, f.there.Load); err != nil {
			t.Errorf("when it is over: got error %v, want none", err)
		}
	})
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }
