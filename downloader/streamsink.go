package downloader

import (
	"errors"
	"hash"
	"hash/maphash"
	"io"
)

// A streamSink writes the bytes of a file to a stream in order, and hashes them.
type streamSink struct {
	w    io.Writer
	sum  promise
	hash hash.Hash    // nil without a sum
	all  maphash.Hash // of the written bytes, to compare them with a later response
	off  int64        // bytes written
}

func newStreamSink(w io.Writer, sum promise) *streamSink {
	s := &streamSink{w: w}
	s.expect(sum)
	return s
}

// expect makes sum the digest to verify, if there is none and no byte was written.
func (s *streamSink) expect(sum promise) {
	if s.hash == nil && s.off == 0 && !sum.IsZero() {
		s.sum, s.hash = sum, sum.NewHash()
		s.w = io.MultiWriter(s.w, s.hash)
	}
}

// WriteAt writes b. off must be the end of the last write: the transfer of a stream uses one
// connection, so bytes out of order are a mistake of the program.
func (s *streamSink) WriteAt(b []byte, off int64) (int, error) {
	if off != s.off {
		return 0, errors.New("bytes out of order")
	}
	n, err := s.w.Write(b)
	s.all.Write(b[:n])
	s.off += int64(n)
	return n, err
}

// agrees reads as many bytes from body as were written, and reports whether they are the same.
func (s *streamSink) agrees(body io.Reader) (bool, error) {
	var again maphash.Hash
	again.SetSeed(s.all.Seed())
	if _, err := io.CopyN(&again, body, s.off); err != nil {
		return false, err
	}
	return again.Sum64() == s.all.Sum64(), nil
}

// verify returns a mismatch if the written bytes do not have the digest.
func (s *streamSink) verify() error {
	if s.hash == nil || s.sum.Matches(s.hash) {
		return nil
	}
	return &mismatch{want: s.sum, got: s.sum.Of(s.hash)}
}
