package store

// This file compares the bytes of a file with its recorded checksums. The caller reads the
// bytes, because this package starts no goroutine, and one goroutine cannot read and
// compute at the speed of a disk.

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"pawl/chunk"
)

// ErrNoSums means that a record has no checksums of its file.
var ErrNoSums = errors.New("no checksums are on record")

// A Check compares the bytes of a file, finished or not, with the checksums of its record.
// The caller must Add the bytes of all Held ranges; Wrong then returns the damaged ranges.
// A Check is used by one goroutine at a time.
type Check struct {
	rec   Record
	want  writtenBytes
	known map[int]bool // numbers of the pieces with a checksum

	got writtenBytes
	crc uint32 // of the bytes that were added; used if the file has a single checksum
}

// NewCheck returns a Check of the file of rec. If a finished file has no complete
// checksums, the error is ErrNoSums. A piece of an unfinished file that has none counts as
// damaged, because Resume makes it missing, too.
func (s *Store) NewCheck(rec Record) (*Check, error) {
	if rec.State == Done {
		rec.Held = chunk.NewSet(chunk.Range{End: rec.Size})
	}
	if rec.PieceLength <= 0 {
		if rec.State != Done || rec.CRC == 0 && rec.Size > 0 {
			return nil, fmt.Errorf("%q: %w", rec.Target, ErrNoSums)
		}
		return &Check{rec: rec}, nil
	}
	c := &Check{rec: rec, want: newWrittenBytes(rec.PieceLength), got: newWrittenBytes(rec.PieceLength)}
	c.want.set = rec.Held.Clone()
	err := s.read(func(t tx) error {
		c.known = make(map[int]bool) // the function runs again if the state file had to be replaced
		for _, pg := range t.pages(rec.ID) {
			c.want.loadPage(pg, c.known)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range c.pieces() {
		if rec.State == Done && !c.known[i] {
			return nil, fmt.Errorf("%q: piece %d: %w", rec.Target, i, ErrNoSums)
		}
	}
	return c, nil
}

// pieces returns the number of pieces up to the last held byte.
func (c *Check) pieces() (n int) {
	for r := range c.rec.Held.All() {
		n = c.want.sums.Index(r.End-1) + 1
	}
	return n
}

// Held returns the ranges whose bytes must be added.
func (c *Check) Held() chunk.Set { return c.rec.Held.Clone() }

// IsWhole reports whether the file has a single checksum, so that all of it is damaged if
// one byte is.
func (c *Check) IsWhole() bool { return c.rec.PieceLength <= 0 }

// Add adds the bytes b, which are at offset off of the file and in a held range. Each byte
// must be added once, and in order.
func (c *Check) Add(off int64, b []byte) {
	c.got.set.Add(chunk.Range{Off: off, End: off + int64(len(b))})
	if c.IsWhole() {
		c.crc = crc32.Update(c.crc, castagnoli, b)
		return
	}
	for i, sum := range chunk.PieceSums(c.rec.PieceLength, off, b) {
		c.got.sums.AddSum(i, sum)
	}
}

// Wrong returns the held ranges of the pieces whose bytes differ from the record, or were
// not added, for example because they cannot be read.
func (c *Check) Wrong() (wrong chunk.Set) {
	if c.IsWhole() {
		if !c.got.set.Equal(c.rec.Held) || c.crc != c.rec.CRC {
			return c.Held()
		}
		return wrong
	}
	for i := range c.pieces() {
		in := c.want.inPiece(i)
		if in.Len() > 0 && (!c.known[i] || c.got.sums.Sum(i) != c.want.sums.Sum(i) || !in.Equal(c.got.inPiece(i))) {
			for r := range in.All() {
				wrong.Add(r)
			}
		}
	}
	return wrong
}

// Place returns the path at which the bytes of rec are: its target, or its part file.
func (s *Store) Place(rec Record) string {
	if rec.State == Done || (rec.State == Finishing || rec.IsRepair()) && !s.existsAt(rec.Part()) {
		return rec.Target
	}
	return rec.Part()
}

// OpenAt opens the regular file at the absolute path for reading.
func (s *Store) OpenAt(path string) (ReadFile, error) { return s.fs.OpenRead(path) }

// Damaged compares the file at path with the checksums of rec, a finished file, and
// returns the ranges that differ. A file of another size is damaged as a whole. rec.Target
// may be another path, for example of a copy. If rec has no checksums, the error is
// ErrNoSums. If ctx ends, the error is its cause.
func (s *Store) Damaged(ctx context.Context, rec Record, path string) (damaged chunk.Set, err error) {
	if m, ok := s.Stamp(path); !ok || m.Size != rec.Size {
		return chunk.NewSet(chunk.Range{End: rec.Size}), nil
	}
	f, err := s.fs.OpenRead(path)
	if err != nil {
		return chunk.Set{}, err
	}
	defer f.Close()
	c, err := s.NewCheck(rec)
	if err != nil {
		return chunk.Set{}, err
	}
	buf := make([]byte, 256<<10)
	for off := int64(0); off < rec.Size; {
		if ctx.Err() != nil {
			return chunk.Set{}, context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), rec.Size-off)], off)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return chunk.Set{}, err
		}
		c.Add(off, buf[:n])
		off += int64(n)
	}
	return c.Wrong(), nil
}
