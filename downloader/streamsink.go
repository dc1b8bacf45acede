package downloader

import (
	"bytes"
	"errors"
	"hash"
	"hash/maphash"
	"io"
)

// maxHeldBack is the length of the longest piece that is held back until its digest is verified, in
// bytes. The pieces of MirrorBrain have 256 KiB to 4 MiB. Half would let some wrong pieces out; double
// needs as much more memory.
const maxHeldBack = 16 << 20

// A streamSink writes the bytes of a file to a stream in order, and hashes them. If the digests of the
// pieces are known, a piece is written when it is complete and right.
type streamSink struct {
	w    io.Writer
	sum  promise
	hash hash.Hash    // nil without a sum
	all  maphash.Hash // of the written bytes, to compare them with a later response
	off  int64        // bytes received: those written, and piece

	check *pieceCheck // nil if no piece is held back
	size  int64       // of the file, if check is not nil
	piece []byte      // bytes that are held back
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

// holdBack makes the sink verify the pieces of a file of size bytes, if their digests are known.
func (s *streamSink) holdBack(check *pieceCheck, size int64) {
	if s.check == nil && check.use(size) && check.hashes.Length() <= maxHeldBack && s.off == 0 {
		s.check, s.size = check, size
	}
}

// WriteAt writes b. If it completes a wrong piece, none of that counts as received, and the error comes
// from pieceCheck.failed. off must be the end of the last write: the transfer of a stream uses one
// connection, so bytes out of order are a mistake of the program.
func (s *streamSink) WriteAt(b []byte, off int64) (int, error) {
	if off != s.off {
		return 0, errors.New("bytes out of order")
	}
	if s.check == nil {
		n, err := s.write(b)
		s.off += int64(n)
		return n, err
	}
	for rest := b; len(rest) > 0; {
		piece := s.check.hashes.Piece(s.off, s.size)
		n := min(int64(len(rest)), piece.End-s.off)
		s.piece = append(s.piece, rest[:n]...)
		s.off, rest = s.off+n, rest[n:]
		if s.off < piece.End {
			continue
		}
		want := s.check.hashes.Sum(piece.Off)
		hash := want.NewHash()
		hash.Write(s.piece)
		if !want.Matches(hash) {
			s.off, s.piece = piece.Off, s.piece[:0]
			return 0, s.check.failed(piece)
		}
		if _, err := s.write(s.piece); err != nil {
			return 0, err
		}
		s.piece = s.piece[:0]
	}
	return len(b), nil
}

// write writes b to the stream.
func (s *streamSink) write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.all.Write(b[:n])
	return n, err
}

// hasSameBytes reads as many bytes from body as were received, and reports whether they are the same.
func (s *streamSink) hasSameBytes(body io.Reader) (bool, error) {
	var again maphash.Hash
	again.SetSeed(s.all.Seed())
	if _, err := io.CopyN(&again, body, s.off-int64(len(s.piece))); err != nil {
		return false, err
	}
	heldBack := make([]byte, len(s.piece))
	if _, err := io.ReadFull(body, heldBack); err != nil {
		return false, noEOF(err)
	}
	return again.Sum64() == s.all.Sum64() && bytes.Equal(heldBack, s.piece), nil
}

// verify returns a mismatch if the written bytes do not have the digest.
func (s *streamSink) verify() error {
	if s.hash == nil || s.sum.Matches(s.hash) {
		return nil
	}
	return &mismatch{want: s.sum, got: s.sum.Of(s.hash)}
}
