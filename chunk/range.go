// Package chunk is the arithmetic of byte ranges: half-open ranges, sets of
// ranges, who fetches which bytes of a file, and the digests that files are
// checked against.
//
// Everything here is pure: no input or output, no clock, no goroutine. Nothing
// is safe for concurrent use; callers hold their own lock.
package chunk

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Unbounded is the end of a range that has no known end. It stands in for the
// size of a file while the server has not told it.
const Unbounded = math.MaxInt64

// A Range is the half-open span of bytes [Off, End) of a file. The zero value
// is empty. Ranges that this package returns have 0 <= Off <= End.
type Range struct {
	Off int64 // first byte
	End int64 // one past the last byte
}

// Len returns the number of bytes in r, zero when r is empty or reversed.
func (r Range) Len() int64 { return max(0, r.End-r.Off) }

// Empty reports whether r has no bytes.
func (r Range) Empty() bool { return r.End <= r.Off }

// Contains reports whether every byte of o is in r. An empty o is in every r.
func (r Range) Contains(o Range) bool {
	return o.Empty() || r.Off <= o.Off && o.End <= r.End
}

// Intersect returns the bytes that are in both r and o.
func (r Range) Intersect(o Range) Range {
	x := Range{max(r.Off, o.Off), min(r.End, o.End)}
	if x.Empty() {
		return Range{}
	}
	return x
}

// String returns the text form of r, "offset+length", such as "1024+512".
func (r Range) String() string {
	return strconv.FormatInt(r.Off, 10) + "+" + strconv.FormatInt(r.Len(), 10)
}

// parseRange reads the form that String writes; an empty range is an error.
func parseRange(s string) (Range, error) {
	off, length, ok := strings.Cut(s, "+")
	if !ok {
		return Range{}, fmt.Errorf("range %q is not offset+length", s)
	}
	o, err := parseCount(off)
	if err != nil {
		return Range{}, fmt.Errorf("range %q: %w", s, err)
	}
	n, err := parseCount(length)
	if err != nil {
		return Range{}, fmt.Errorf("range %q: %w", s, err)
	}
	if n == 0 || n > Unbounded-o {
		return Range{}, fmt.Errorf("range %q has a length out of bounds", s)
	}
	return Range{o, o + n}, nil
}

// parseCount reads a decimal without sign or leading zeros, so that each range
// has exactly one text form.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not a byte count", s)
	}
	return int64(n), nil
}
