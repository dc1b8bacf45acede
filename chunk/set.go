package chunk

import (
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
)

// A Set is a set of bytes of a file. It is stored as sorted ranges that neither overlap nor
// touch, so its memory grows with the number of gaps and not with the number of bytes.
//
// The zero value is an empty set, ready to use. A Set must not be copied by assignment if
// either copy changes afterwards: use Clone.
type Set struct {
	ranges []Range // sorted by Off; none is empty; there is a gap between neighbours
}

// NewSet returns the union of ranges, which may overlap and may be in any order.
func NewSet(ranges ...Range) Set {
	var s Set
	for _, r := range ranges {
		s.Add(r)
	}
	return s
}

// firstEndingFrom returns the index of the first range whose End is at least off,
// len(s.ranges) if there is none.
func (s *Set) firstEndingFrom(off int64) int {
	return sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].End >= off })
}

// Add adds the bytes of r to s.
func (s *Set) Add(r Range) {
	if r.Empty() {
		return
	}
	i := s.firstEndingFrom(r.Off) // a range that ends exactly at r.Off is merged as well
	j := i
	for j < len(s.ranges) && s.ranges[j].Off <= r.End {
		r = Range{min(r.Off, s.ranges[j].Off), max(r.End, s.ranges[j].End)}
		j++
	}
	s.ranges = slices.Replace(s.ranges, i, j, r)
}

// Remove removes the bytes of r from s.
func (s *Set) Remove(r Range) {
	if r.Empty() {
		return
	}
	i := s.firstEndingFrom(r.Off + 1)
	j := i
	var rest []Range // the parts of the ranges i to j that are outside r: at most two
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

// Contains reports whether s contains every byte of r. Every s contains an empty r.
func (s *Set) Contains(r Range) bool {
	if r.Empty() {
		return true
	}
	i := s.firstEndingFrom(r.End)
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

// Prefix returns the length of the run of bytes in s that starts at byte 0.
func (s *Set) Prefix() int64 {
	if len(s.ranges) == 0 || s.ranges[0].Off != 0 {
		return 0
	}
	return s.ranges[0].End
}

// All yields the ranges of s in ascending order. s must not change during the iteration.
func (s *Set) All() iter.Seq[Range] { return slices.Values(s.ranges) }

// Missing yields, in ascending order, the ranges of in that s does not contain. s must not
// change during the iteration.
func (s *Set) Missing(in Range) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		off := in.Off
		for _, r := range s.ranges[s.firstEndingFrom(in.Off):] {
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

// Clone returns an independent copy of s.
func (s *Set) Clone() Set { return Set{slices.Clone(s.ranges)} }

// Equal reports whether s and o contain the same bytes.
func (s *Set) Equal(o Set) bool { return slices.Equal(s.ranges, o.ranges) }

// String returns the text form of s: its ranges in ascending order, separated by commas,
// for example "0+10,20+5". The empty set is "".
func (s Set) String() string {
	parts := make([]string, len(s.ranges))
	for i, r := range s.ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// MarshalText returns the text form of s, as String does.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText replaces s by the set whose text form is text. It accepts only text that
// MarshalText can return: ranges that are empty, overlap, touch or are out of order are
// errors, because they mean that the text is damaged. On error s is unchanged.
func (s *Set) UnmarshalText(text []byte) error {
	var ranges []Range
	if len(text) > 0 {
		for part := range strings.SplitSeq(string(text), ",") {
			r, err := parseRange(part)
			if err != nil {
				return err
			}
			if n := len(ranges); n > 0 && r.Off <= ranges[n-1].End {
				return fmt.Errorf("range %q is not above the previous range", part)
			}
			ranges = append(ranges, r)
		}
	}
	s.ranges = ranges
	return nil
}
