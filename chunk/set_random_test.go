package chunk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A source is the source of randomness of a test run: a *rand.Rand with a seed in the
// random tests, a script in the fuzz tests.
type source interface {
	IntN(n int) int // in [0, n)
}

// A script is a source that uses one byte per choice, so that a fuzzer can change one
// choice and keep the others. At its end, every choice is 0.
type script struct{ left []byte }

func (s *script) IntN(n int) int {
	if len(s.left) == 0 {
		return 0
	}
	x := int(s.left[0])
	s.left = s.left[1:]
	return x % n
}

// newSource returns the random source with this seed; failing tests print the seed.
func newSource(seed uint64) source { return rand.New(rand.NewPCG(seed, 0)) }

// newScript returns random choices as a seed for a fuzz test.
func newScript(seed uint64) []byte {
	src, b := newSource(seed), make([]byte, 250)
	for i := range b {
		b[i] = byte(src.IntN(256))
	}
	return b
}

const bitmapWidth = 200 // in bytes of the file

// A bitmap is the simplest implementation of a set: one bool for each byte from origin.
type bitmap struct {
	origin int64
	bits   [bitmapWidth]bool
}

// set makes every byte of r present or absent.
func (b *bitmap) set(r Range, present bool) {
	for off := r.Off; off < r.End; off++ {
		b.bits[off-b.origin] = present
	}
}

// runs returns the maximal ranges of in whose bytes are all present, or all absent.
func (b *bitmap) runs(in Range, present bool) []Range {
	var runs []Range
	for off := in.Off; off < in.End; off++ {
		if b.bits[off-b.origin] != present {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].End == off {
			runs[n-1].End++
		} else {
			runs = append(runs, Range{off, off + 1})
		}
	}
	return runs
}

// all returns the range that b covers.
func (b *bitmap) all() Range { return Range{b.origin, b.origin + bitmapWidth} }

// randomRange returns a range within b, sometimes an empty or a reversed one.
func (b *bitmap) randomRange(src source) Range {
	off := src.IntN(bitmapWidth + 1)
	end := min(off+src.IntN(40)-2, bitmapWidth)
	return Range{b.origin + int64(off), b.origin + int64(end)}
}

// checkSet returns an error if s breaks the invariants of Set.
func checkSet(s *Set) error {
	for i, r := range s.ranges {
		if r.Empty() || r.Off < 0 {
			return fmt.Errorf("range %d, %#v, is empty or below zero", i, r)
		}
		if i > 0 && r.Off <= s.ranges[i-1].End {
			return fmt.Errorf("range %d, %v, is not above %v with a gap", i, r, s.ranges[i-1])
		}
	}
	return nil
}

// compare returns an error if s differs from b, as a whole or in its answers about r.
func (b *bitmap) compare(s *Set, r Range) error {
	want := b.runs(b.all(), true)
	var total, prefix int64
	for _, run := range want {
		total += run.Len()
		if run.Off == 0 {
			prefix = run.End
		}
	}
	switch gaps := b.runs(r, false); {
	case !slices.Equal(s.ranges, want):
		return fmt.Errorf("got %v, want %v", s.ranges, want)
	case s.Len() != total:
		return fmt.Errorf("Len: got %d, want %d", s.Len(), total)
	case s.Prefix() != prefix:
		return fmt.Errorf("Prefix: got %d, want %d", s.Prefix(), prefix)
	case s.Contains(r) != (len(gaps) == 0):
		return fmt.Errorf("Contains(%#v): got %t, want %t", r, s.Contains(r), len(gaps) == 0)
	case !slices.Equal(slices.Collect(s.Missing(r)), gaps):
		return fmt.Errorf("Missing(%#v): got %v, want %v", r, slices.Collect(s.Missing(r)), gaps)
	}
	return nil
}

// checkRoundTrip returns an error if the text form of s does not give the same set.
func checkRoundTrip(s *Set) error {
	var reread Set
	if err := reread.UnmarshalText([]byte(s.String())); err != nil {
		return err
	}
	if !reread.Equal(*s) {
		return fmt.Errorf("text %q: got %v, want %v", s, reread.ranges, s.ranges)
	}
	return nil
}

// runSet performs random operations on a set and on a bitmap, and returns the first
// difference between them.
func runSet(src source, steps int) error {
	var s Set
	var b bitmap
	if src.IntN(2) == 1 { // near Unbounded, additions of offsets could overflow
		b.origin = Unbounded - bitmapWidth
	}
	for i := range steps {
		before, r, add := s.Clone(), b.randomRange(src), src.IntN(2) == 1
		b.set(r, add)
		if add {
			s.Add(r)
		} else {
			s.Remove(r)
		}
		if err := errors.Join(checkSet(&s), b.compare(&s, b.randomRange(src)), checkRoundTrip(&s)); err != nil {
			return fmt.Errorf("step %d, %v, add %t, %#v: %w", i, before.ranges, add, r, err)
		}
	}
	return nil
}

func TestSetRandom(t *testing.T) {
	for seed := range uint64(60) {
		if err := runSet(newSource(seed), 150); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func FuzzSetOps(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(newScript(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// A step uses five bytes. More than a hundred steps find nothing new.
		if err := runSet(&script{data}, min(len(data)/5, 100)); err != nil {
			t.Error(err)
		}
	})
}
