package downloader

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"pawl/chunk"
)

// A streamSink takes the bytes of a file in order, and hashes them.
type streamSink struct {
	w    io.Writer
	sum  chunk.Sum
	hash hash.Hash // nil without a sum
	off  int64     // bytes written
}

func newStreamSink(w io.Writer, sum chunk.Sum) *streamSink {
	s := &streamSink{w: w, sum: sum}
	if !sum.IsZero() {
		s.hash = sum.NewHash()
		s.w = io.MultiWriter(w, s.hash)
	}
	return s
}

// WriteAt writes b, which must begin where the last write ended.
func (s *streamSink) WriteAt(b []byte, off int64) (int, error) {
	if off != s.off {
		return 0, errors.New("bytes out of order")
	}
	n, err := s.w.Write(b)
	s.off += int64(n)
	return n, err
}

// verdict tells whether what was written has the sum.
func (s *streamSink) verdict() error {
	if s.hash == nil || s.sum.Matches(s.hash) {
		return nil
	}
	return fmt.Errorf("%w: it should be %s and is %s", ErrChecksum, s.sum, s.sum.Of(s.hash))
}
