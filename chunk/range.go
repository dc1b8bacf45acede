// Package chunk is the arithmetic of byte ranges: half-open ranges, sets of ranges, the
// plan of which connection fetches which bytes, and the checksums of files and of their
// pieces.
//
// The package is pure: it does no input or output, reads no clock and starts no goroutine.
// Its types are not safe for concurrent use; callers must guard them with a lock.
package chunk

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Unbounded is the end of a range without a known end. It is also the size of a file as
// long as the server has not sent one.
const Unbounded = math.MaxInt64

// A Range is the half-open interval [Off, End) of the bytes of a file. The zero value is
// empty. Every Range that this package returns has 0 <= Off <= End.
type Range struct {
	Off int64 // first byte
	End int64 // one past the last byte
}

// Len returns the number of bytes in r. It is 0 if r is empty or reversed.
func (r Range) Len() int64 { return max(0, r.End-r.Off) }

// Empty reports whether r contains no bytes.
func (r Range) Empty() bool { return r.End <= r.Off }

// Contains reports whether r contains every byte of o. Every r contains an empty o.
func (r Range) Contains(o Range) bool {
	return o.Empty() || r.Off <= o.Off && o.End <= r.End
}

// Intersect returns the bytes that are in both r and o, the zero Range if there are none.
func (r Range) Intersect(o Range) Range {
	x := Range{max(r.Off, o.Off), min(r.End, o.End)}
	if x.Empty() {
		return Range{}
	}
	return x
}

// String returns the text form of r, "offset+length": "1024+512" for Range{1024, 1536}.
func (r Range) String() string {
	return strconv.FormatInt(r.Off, 10) + "+" + strconv.FormatInt(r.Len(), 10)
}

// parseRange parses the text form of a range that is not empty.
func parseRange(s string) (Range, error) {
	off, length, ok := strings.Cut(s, "+")
	if !ok {
		return Range{}, fmt.Errorf("range %q is not of the form offset+length", s)
	}
	o, err := parseByteCount(off)
	if err != nil {
		return Range{}, fmt.Errorf("range %q: %w", s, err)
	}
	n, err := parseByteCount(length)
	if err != nil {
		return Range{}, fmt.Errorf("range %q: %w", s, err)
	}
	if n == 0 || n > Unbounded-o {
		return Range{}, fmt.Errorf("range %q is empty or too long", s)
	}
	return Range{o, o + n}, nil
}

// parseByteCount parses a decimal number. A sign and leading zeros are errors, because each
// range must have exactly one text form.
func parseByteCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not a byte count", s)
	}
	return int64(n), nil
}
