package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pawl/chunk"
)

// Create begins a download (step 0). rec gives URL, Target, Size, validators,
// Sum, Lists and Replace; the rest is filled in. A record that already stands for
// Target is replaced, the caller having decided so. The errors are ErrBusy,
// ErrForeign, ErrNoSpace and those of the file system and the state file; after
// an error nothing is left behind.
func (s *Store) Create(rec Record) (*Part, error) {
	if err := s.fs.MkdirAll(filepath.Dir(rec.Target)); err != nil {
		return nil, err
	}
	rec.PartNumber, rec.Root = 0, s.root
	if old, err := s.ByTarget(rec.Target); err == nil {
		rec.PartNumber = old.PartNumber
	}
	for {
		p, err := s.tryCreate(rec)
		if !errors.Is(err, errNameTaken) {
			return p, err
		}
		if err := rec.nextPartName(err); err != nil {
			return nil, err
		}
	}
}

// tryCreate is Create with the part file that rec names. It returns errTaken if that
// name cannot be used.
func (s *Store) tryCreate(rec Record) (*Part, error) {
	lock, err := s.lockEmptyPart(&rec)
	if err != nil {
		return nil, err
	}
	s.makePrivate(rec.Part())
	rec.ID, rec.State, rec.Held = newID(), Active, chunk.Set{}
	rec.PieceLength = pieceLength(rec.Size)
	rec.Created = time.Now()
	p := &Part{store: s, name: rec.Part(), lock: lock, rec: rec, written: newWrittenBytes(rec.PieceLength)}
	p.adoptSize()
	if err := p.recordNew(); err != nil {
		s.removeEmpty(rec.Part())
		p.Close()
		return nil, err
	}
	return p, nil
}

// keepPrivate takes the rights of other users to a part file away, if it is in the state
// directory, for example that of a list. Elsewhere the umask decides.
func (s *Store) makePrivate(part string) {
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return
	}
	if rel, err := filepath.Rel(dir, part); err == nil && filepath.IsLocal(rel) {
		os.Chmod(part, 0o600) // the directory is private, too
	}
}

// pieceLength is that for a file of size bytes, -1 if not known.
func pieceLength(size int64) int64 {
	if size < 0 {
		size = chunk.Unbounded
	}
	return chunk.PieceLength(size)
}

// removeEmpty takes away the part file of a download that did not begin, which
// must be locked. An empty file that another download has finished there stays, and so
// does one that is not ours.
func (s *Store) removeEmpty(part string) {
	if rec, err := s.ByTarget(part); err == nil && rec.State == Done {
		return
	}
	info, err := s.fs.Lstat(part)
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 && s.fs.CheckPrivate(part, info) == nil {
		s.fs.Remove(part)
	}
}

// lockFresh locks an empty part file for rec, once the target is free.
func (s *Store) lockEmptyPart(rec *Record) (io.Closer, error) {
	for range 10 {
		if err := s.checkTarget(rec); err != nil {
			return nil, err
		}
		if err := s.checkNames(rec); err != nil {
			return nil, err
		}
		lock, err := s.lock(rec, true)
		if err != nil {
			return nil, err
		}
		empty, err := s.clearPart(rec)
		if err == nil {
			err = s.checkTarget(rec) // another download may have finished in between
		}
		if err == nil && empty {
			return lock, nil
		}
		if err != nil {
			s.removeEmpty(rec.Part())
		}
		lock.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%q keeps changing: %w", rec.Part(), ErrBusy)
}

// lockPatience is how long a lock is waited for: Running has one for an instant.
const partLockTimeout = 100 * time.Millisecond

// lock locks the part file of rec. The error is a strangerError if that is not ours,
// whoever has locked it.
func (s *Store) lock(rec *Record, create bool) (io.Closer, error) {
	for begun := time.Now(); ; time.Sleep(partLockTimeout / 10) {
		lock, err := s.fs.Lock(rec.Part(), create)
		info, statErr := s.fs.Lstat(rec.Part())
		if statErr == nil {
			statErr = s.checkOurs(rec, info)
		}
		switch {
		case statErr != nil && err == nil:
			if create {
				s.removeEmpty(rec.Part())
			}
			lock.Close()
			return nil, statErr
		case errors.Is(statErr, ErrIrregular):
			return nil, statErr
		case !errors.Is(err, ErrBusy):
			return lock, err
		}
		if time.Since(begun) > partLockTimeout {
			return nil, fmt.Errorf("%q: %w", rec.Target, err)
		}
	}
}

// checkTarget returns ErrForeign if something is at the target that may not be
// replaced.
//
// A file that is another download's part file may never be replaced.
func (s *Store) checkTarget(rec *Record) error {
	info, err := s.fs.Lstat(rec.Target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%q: %w: it is a directory", rec.Target, ErrIrregular)
	case !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink:
		return fmt.Errorf("%q: %w: it is a device, pipe or socket", rec.Target, ErrIrregular)
	}
	if strings.HasSuffix(rec.Target, partSuffix) {
		if err := s.checkNames(rec); err != nil && !errors.Is(err, errNameTaken) {
			return err
		}
		if s.fs.Locked(rec.Target) { // by a pawl with another state directory
			return fmt.Errorf("%q: %w", rec.Target, ErrPartFile)
		}
		// It was nobody's part file when asked, but may have been one when it was seen,
		// whose download has been finished since: then it is gone.
		if _, err := s.fs.Lstat(rec.Target); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if !rec.Replace {
		return fmt.Errorf("%q: %w", rec.Target, ErrForeign)
	}
	return nil
}

// emptyPart makes the locked part file empty if it is an earlier record's of
// the same target. One that no record knows is not ours to destroy: it is moved
// aside, and the caller has to lock a new one.
func (s *Store) clearPart(rec *Record) (bool, error) {
	info, err := s.fs.Lstat(rec.Part())
	switch {
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%q: %w: it is not a regular file", rec.Part(), ErrIrregular)
	case info.Size() == 0:
		return true, nil
	}
	old, err := s.ByTarget(rec.Target)
	if err == nil && old.State != Done && old.Part() == rec.Part() {
		rec.inheritLists(&old)
		f, err := s.fs.Open(rec.Part())
		if err != nil {
			return false, err
		}
		defer f.Close()
		if err := s.write(func(t tx) error { return t.drop(&old) }); err != nil {
			return false, err // the record must not outlive the bytes it claims
		}
		err = f.Truncate(0)
		if errors.Is(err, errors.ErrUnsupported) {
			return false, s.fs.Remove(rec.Part()) // a new one is as good
		}
		return true, err
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	for n := 1; n < 1000; n++ {
		aside := fmt.Sprintf("%s.%d", rec.Part(), n)
		err = s.fs.Rename(rec.Part(), aside, false)
		if err == nil {
			s.warn(fmt.Sprintf("%q is not of a download that is on record; it was kept as %q", rec.Part(), aside))
			return false, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
	}
	return false, err
}

// begin opens the empty, locked part file and records it.
func (p *Part) recordNew() (err error) {
	if err := p.checkSpace(0); err != nil {
		return err
	}
	if p.file, err = p.store.fs.Open(p.name); err != nil {
		return err
	}
	info, err := p.file.Stat()
	if err == nil {
		err = p.store.checkOurs(&p.rec, info)
	}
	if err != nil {
		return err
	}
	p.rec.Updated = p.rec.Created
	return p.store.write(func(t tx) error {
		if err := t.checkNames(&p.rec); err != nil {
			return err
		}
		old, err := t.byTarget(p.rec.Target)
		var bad damagedRecordError
		switch {
		case err == nil && old.State != Done: // a finished file stays what it is until it is replaced
			p.rec.inheritLists(&old)
			err = t.drop(&old)
		case errors.As(err, &bad):
			err = t.dropDamaged(bad)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := t.migrateFinished(p.rec.Target); err != nil { // or nothing would lead to it any more
			return err
		}
		if err := t.put(&p.rec); err != nil {
			return err
		}
		return t.putIndex(&p.rec)
	})
}
