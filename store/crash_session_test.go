package store

import (
	"errors"
	"fmt"
	"path/filepath"

	"pawl/chunk"
)

// A session is one process that works on the download of a world. After the first error
// its methods do nothing.
type session struct {
	w       *world
	part    *Part
	written chunk.Set // written since the last commit
	err     error
}

func (s *session) do(name string, f func() error) {
	if s.err != nil {
		return
	}
	if err := f(); err != nil {
		s.err = fmt.Errorf("%s: %w", name, err)
	}
}

// create creates the download of a version; size is -1 if unknown.
func (s *session) create(etag string, size int64) {
	s.w.promised = chunk.Set{}
	rec := Record{URL: "https://example.com/file", Target: s.w.target, Size: size, ETag: etag, Replace: s.w.old != nil}
	s.do("Create", func() (err error) {
		if s.part, err = s.w.store.Create(rec); err == nil {
			err = smallPieces(s.part, 1000)
		}
		return err
	})
}

// takeOver takes over a partial file of another program, which has not synced it.
func (s *session) takeOver(suffix string, held chunk.Set) {
	left := Leftover{Path: s.w.target + suffix, Held: held}
	fsys := s.w.store.fs
	s.do("write a partial file", func() error {
		if err := fsys.MkdirAll(filepath.Dir(left.Path)); err != nil {
			return err
		}
		lock, err := fsys.Lock(left.Path, true)
		if err != nil {
			return err
		}
		lock.Close()
		f, err := fsys.Open(left.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		for r := range held.All() {
			if _, err := f.WriteAt(version("v1")[r.Off:r.End], r.Off); err != nil {
				return err
			}
		}
		return nil
	})
	s.do("TakeOver", func() (err error) {
		var ok bool
		if left.Stamp, ok = s.w.store.Stamp(left.Path); !ok {
			return errInjected // the only reason here
		}
		s.part, err = s.w.store.TakeOver(Record{URL: "https://example.com/file", Target: s.w.target, Size: 2900, ETag: "v1"}, left)
		if err == nil {
			s.w.promised = held.Clone()
		}
		return err
	})
}

// resume resumes the download on record.
func (s *session) resume() {
	s.do("Resume", func() error {
		rec, err := s.w.store.ByTarget(s.w.target)
		if err != nil {
			return err
		}
		s.part, err = s.w.store.Resume(rec.ID)
		if err == nil && s.part.Lost() != 0 {
			s.w.errorf("Lost: got %d, want 0", s.part.Lost())
		}
		return err
	})
	s.verifyAll()
}

// verifyAll verifies all held pieces. They must match, unless they cannot be read.
func (s *session) verifyAll() {
	if s.err != nil || !s.part.Dirty() {
		return
	}
	s.do("VerifyNext", func() error {
		for i, more := 0, true; more; i++ {
			lost, again, err := s.part.VerifyNext(i)
			if err != nil {
				return err
			}
			if s.w.fs.trap.last == "read" && s.w.fs.trap.does == "fail" {
				s.w.promised.Remove(chunk.Range{Off: int64(i) * 1000, End: int64(i+1) * 1000})
			} else if lost != 0 {
				s.w.errorf("VerifyNext of piece %d: %d bytes are lost", i, lost)
			}
			more = again
		}
		return nil
	})
}

func (s *session) write(off, end int64) {
	s.do("WriteAt", func() error {
		_, err := s.part.WriteAt(version(s.part.Record().ETag)[off:end], off)
		if err == nil {
			s.written.Add(chunk.Range{Off: off, End: end})
		}
		return err
	})
}

func (s *session) commit() {
	s.do("Commit", func() error {
		err := s.part.Commit(1)
		if err == nil {
			for r := range s.written.All() {
				s.w.promised.Add(r)
			}
			s.written = chunk.Set{}
		}
		return err
	})
}

// discardFrom discards all held bytes from off on.
func (s *session) discardFrom(off int64) {
	for _, set := range []*chunk.Set{&s.w.promised, &s.written} {
		set.Remove(chunk.Range{Off: off, End: chunk.Unbounded})
	}
	s.do("DiscardFrom", func() error { return s.part.DiscardFrom(off) })
}

func (s *session) update(fn func(*Record)) {
	s.do("Update", func() error { return s.part.Update(fn) })
}

func (s *session) restart(etag string) {
	s.w.promised, s.written = chunk.Set{}, chunk.Set{}
	s.do("Restart", func() error {
		return s.part.Restart(func(r *Record) { r.ETag, r.Size = etag, int64(versions[etag]) })
	})
}

func (s *session) finish() {
	s.do("Finish", func() error {
		err := s.part.Finish(modified(s.part.Record().ETag))
		s.w.finished = err == nil
		return err
	})
}

// reopen starts the repair of the finished file, of which the range is damaged, and returns the
// ID of the repair.
func (s *session) reopen(damaged chunk.Range) (id ID) {
	s.w.finished = false
	s.w.promised.Remove(damaged)
	s.do("Reopen", func() error {
		rec, err := s.w.store.ByTarget(s.w.target)
		if err == nil {
			id, err = s.w.store.Reopen(rec, chunk.NewSet(damaged))
		}
		return err
	})
	return id
}

func (s *session) close() { s.do("Close", func() error { return s.part.Close() }) }

// completeRest downloads all missing bytes and finishes.
func (s *session) completeRest() {
	if s.err != nil {
		return
	}
	held := s.part.Record().Held
	whole := chunk.Range{End: int64(versions[s.part.Record().ETag])}
	for r := range held.Missing(whole) {
		for off := r.Off; off < r.End; off += 1300 {
			s.write(off, min(off+1300, r.End))
			s.commit()
		}
	}
	s.finish()
}

// runToEnd creates or resumes the download, and completes it.
func (s *session) runToEnd() {
	_, err := s.w.store.ByTarget(s.w.target)
	if size := int64(versions[s.w.etag]); errors.Is(err, ErrNotFound) {
		s.create(s.w.etag, size)
	} else {
		s.resume()
	}
	if s.err == nil && s.part.Record().State != Done {
		if rec := s.part.Record(); rec.ETag != s.w.etag {
			s.restart(s.w.etag)
		} else if rec.Size < 0 {
			s.update(func(r *Record) { r.Size = int64(versions[r.ETag]) })
		}
		s.completeRest()
	}
	s.close()
}
