package chunk

import (
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
)

// A Set is a set of bytes of a file, kept as sorted ranges that neither overlap
// nor touch; its size in memory is the number of gaps, not the number of bytes.
// The zero value is empty and ready to use. Copy it with Clone only.
type Set struct {
	ranges []Range // sorted by Off; each non-empty; a gap between neighbours
}

// NewSet returns the set of the bytes that are in any of ranges.
func NewSet(ranges ...Range) Set {
	var s Set
	for _, r := range ranges {
		s.Add(r)
	}
	return s
}

// firstEndingAt returns the index of the first range that ends at off or later.
func (s *Set) firstEndingAt(off int64) int {
	return sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].End >= off })
}

// Add puts the bytes of r into s.
func (s *Set) Add(r Range) {
	if r.Empty() {
		return
	}
	i := s.firstEndingAt(r.Off) // may touch r from below
	j := i
	for j < len(s.ranges) && s.ranges[j].Off <= r.End {
		r = Range{min(r.Off, s.ranges[j].Off), max(r.End, s.ranges[j].End)}
		j++
	}
	s.ranges = slices.Replace(s.ranges, i, j, r)
}

// Remove takes the bytes of r out of s.
func (s *Set) Remove(r Range) {
	if r.Empty() {
		return
	}
	i := s.firstEndingAt(r.Off + 1)
	j := i
	var rest []Range // what of the ranges i..j lies outside r: at most two pieces
	for j < len(s.ranges) && s.ranges[j].Off < r.End {
		if below := (Range{s.ranges[j].Off, r.Off}); !below.Empty() {
			rest = append(rest, below)
		}
		if above := (Range{r.End, s.ranges[j].End}); !above.Empty() {
			rest = append(rest, above)
		}
		j++
	}
	s.ranges = slices.Replace(s.ranges, i, j, rest...)
}

// Contains reports whether every byte of r is in s.
func (s *Set) Contains(r Range) bool {
	if r.Empty() {
		return true
	}
	i := s.firstEndingAt(r.End)
	return i < len(s.ranges) && s.ranges[i].Contains(r)
}

// Len returns the number of bytes in s.
func (s *Set) Len() int64 {
	var n int64
	for _, r := range s.ranges {
		n += r.Len()
	}
	return n
}

// Prefix returns the length of the run of bytes in s that begins at byte 0.
func (s *Set) Prefix() int64 {
	if len(s.ranges) == 0 || s.ranges[0].Off != 0 {
		return 0
	}
	return s.ranges[0].End
}

// All yields the ranges of s in ascending order. s must not change meanwhile.
func (s *Set) All() iter.Seq[Range] { return slices.Values(s.ranges) }

// Missing yields, in ascending order, the ranges of in that are not in s.
// s must not change meanwhile.
func (s *Set) Missing(in Range) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		off := in.Off
		for _, r := range s.ranges[s.firstEndingAt(in.Off):] {
			if r.Off >= in.End {
				break
			}
			if gap := (Range{off, r.Off}); !gap.Empty() && !yield(gap) {
				return
			}
			off = r.End
		}
		if gap := (Range{off, in.End}); !gap.Empty() {
			yield(gap)
		}
	}
}

// Clone returns a copy of s that shares nothing with it.
func (s *Set) Clone() Set { return Set{slices.Clone(s.ranges)} }

// Equal reports whether s and o hold the same bytes.
func (s *Set) Equal(o Set) bool { return slices.Equal(s.ranges, o.ranges) }

// String returns the text form of s: its ranges in ascending order, separated
// by commas, such as "0+10,20+5"; the empty set is "".
func (s Set) String() string {
	parts := make([]string, len(s.ranges))
	for i, r := range s.ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// MarshalText writes the form that String returns.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the form that MarshalText writes and nothing else: ranges
// out of order, overlapping, touching or empty are errors. On error s is unchanged.
func (s *Set) UnmarshalText(text []byte) error {
	var ranges []Range
	if len(text) > 0 {
		for part := range strings.SplitSeq(string(text), ",") {
			r, err := parseRange(part)
			if err != nil {
				return err
			}
			if n := len(ranges); n > 0 && r.Off <= ranges[n-1].End {
				return fmt.Errorf("range %q is not above the one before it", part)
			}
			ranges = append(ranges, r)
		}
	}
	s.ranges = ranges
	return nil
}
