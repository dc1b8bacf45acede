package store

// This file deals with files that are at their target already: somebody else has put them
// there, has moved or copied them, or has changed their modification time. The caller, or
// the recorded checksums, must prove their bytes before they are recorded.

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"pawl/chunk"
)

// ErrNoSums means that a record has no checksums of its file.
var ErrNoSums = errors.New("no checksums are on record")

// Stamp returns the stamp of the regular file at the absolute path target. ok is false if
// there is none.
func (s *Store) Stamp(target string) (m FileStamp, ok bool) {
	info, err := s.fs.Lstat(target)
	if err != nil || !info.Mode().IsRegular() {
		return FileStamp{}, false
	}
	return FileStamp{info.Size(), info.ModTime()}, true
}

// Damaged compares the file at path with the checksums of rec, a finished file, and
// returns the ranges that differ. A file of another size is damaged as a whole. rec.Target
// may be another path, for example that of a copy. If rec has no checksums, the error is
// ErrNoSums. If ctx ends, the error is its cause.
func (s *Store) Damaged(ctx context.Context, rec Record, path string) (damaged chunk.Set, err error) {
	whole := chunk.Range{End: rec.Size}
	if m, ok := s.Stamp(path); !ok || m.Size != rec.Size {
		return chunk.NewSet(whole), nil
	}
	f, err := s.fs.OpenRead(path)
	if err != nil {
		return chunk.Set{}, err
	}
	defer f.Close()
	if rec.PieceLength <= 0 {
		return damagedWhole(ctx, f, rec)
	}
	w, known, err := s.finishedSums(&rec)
	if err != nil {
		return chunk.Set{}, err
	}
	for i := range w.sums.Len() {
		if !known[i] {
			return chunk.Set{}, fmt.Errorf("%q: piece %d: %w", rec.Target, i, ErrNoSums)
		}
		if ctx.Err() != nil {
			return chunk.Set{}, context.Cause(ctx)
		}
		in := w.inPiece(i)
		if sum, err := sumOf(f, in, rec.PieceLength); err != nil {
			return chunk.Set{}, err
		} else if sum != w.sums.Sum(i) {
			for r := range in.All() {
				damaged.Add(r)
			}
		}
	}
	return damaged, nil
}

// damagedWhole is Damaged for a file with a single checksum.
func damagedWhole(ctx context.Context, f io.ReaderAt, rec Record) (damaged chunk.Set, err error) {
	if rec.CRC == 0 && rec.Size > 0 {
		return chunk.Set{}, fmt.Errorf("%q: %w", rec.Target, ErrNoSums)
	}
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, readerOf(ctx, f, rec.Size)); err != nil {
		return chunk.Set{}, err
	}
	if sum.Sum32() != rec.CRC {
		damaged.Add(chunk.Range{End: rec.Size})
	}
	return damaged, nil
}

// finishedSums returns the piece checksums of a finished file. known has the numbers of
// the pieces that have one.
func (s *Store) finishedSums(rec *Record) (w writtenBytes, known map[int]bool, err error) {
	w = newWrittenBytes(rec.PieceLength)
	w.set.Add(chunk.Range{End: rec.Size})
	known = make(map[int]bool)
	err = s.read(func(t tx) error {
		clear(known) // the function runs again if the state file had to be replaced
		for _, pg := range t.pages(rec.ID) {
			w.loadPage(pg, known)
		}
		return nil
	})
	return w, known, err
}

// readerOf returns a reader of the first size bytes of f, which ends with the cause of ctx
// when ctx does.
func readerOf(ctx context.Context, f io.ReaderAt, size int64) io.Reader {
	return ctxReader{ctx, io.NewSectionReader(f, 0, size)}
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// Adopt records the file at rec.Target as finished. The caller must have proved that it
// has the bytes of rec since it had the stamp seen. If another file is there by now, the
// error is ErrForeign. A record without an ID gets a new one, and the piece checksums of
// the finished file like, whose bytes it has, unless like is "". Another record of the
// target is replaced. Adopt returns the complete record. Concurrent calls are done as a
// group.
func (s *Store) Adopt(rec Record, like ID, seen FileStamp) (Record, error) {
	if rec.ID == "" {
		rec.ID, rec.Created = newID(), time.Now()
	}
	rec.State, rec.Size, rec.ModTime, rec.Updated, rec.Publishing, rec.Replaces = Done, seen.Size, seen.ModTime, time.Now(), false, FileStamp{}
	rec.Held = chunk.NewSet(chunk.Range{End: rec.Size})
	s.syncAdopted(rec.Target)
	if now, ok := s.Stamp(rec.Target); !ok || now.Size != seen.Size || !now.ModTime.Equal(seen.ModTime) {
		return rec, fmt.Errorf("%q: %w", rec.Target, ErrForeign)
	}
	return rec, s.adoptions.do(adoption{&rec, like})
}

// An adoption is a call of Adopt.
type adoption struct {
	rec  *Record
	like ID
}

// syncAdopted makes a file of another program durable. If the system cannot sync a file
// that is open for reading, or the file belongs to another user, it may be lost in a power
// failure soon after; the next run then finds that it is not as recorded.
func (s *Store) syncAdopted(target string) {
	f, err := s.fs.OpenRead(target)
	if err != nil {
		return
	}
	defer f.Close()
	if f, ok := f.(interface{ Sync() error }); ok {
		f.Sync()
	}
}

// recordAdopted does the adoptions of a group in one transaction, and returns one error per
// file.
func (s *Store) recordAdopted(group []adoption) []error {
	errs := make([]error, len(group))
	err := s.write(func(t tx) error {
		for i, a := range group {
			if errs[i] = t.checkNames(a.rec); errs[i] != nil && errors.Is(errs[i], ErrPartFile) {
				continue
			}
			errs[i] = nil // errNameTaken: an adopted file needs no part file
			if err := errors.Join(t.put(a.rec), t.putPages(a.rec.ID, t.pages(a.like))); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range errs {
		errs[i] = errors.Join(errs[i], err)
	}
	return errs
}
