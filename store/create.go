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

// Create starts a download (step 0). The caller sets URL, Target, Size, validators, Sum,
// Lists and Replace of rec; Create fills in the rest; it keeps an ID
// that the caller has chosen, and makes one otherwise. An unfinished record with the same
// Target is replaced, so the caller must have decided that the download starts over. The
// errors are ErrBusy, ErrForeign, ErrNoSpace, ErrIDTaken and errors of the file system and the state
// file. After an error nothing is left behind.
func (s *Store) Create(rec Record) (*Part, error) {
	if err := s.checkID(&rec); err != nil {
		return nil, err
	}
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

// tryCreate is Create with the part file name that rec.PartNumber says. It returns
// errNameTaken if that name cannot be used.
func (s *Store) tryCreate(rec Record) (*Part, error) {
	lock, err := s.lockEmptyPart(&rec)
	if err != nil {
		return nil, err
	}
	s.makePrivate(rec.Part())
	p := s.newPart(rec, lock)
	err = p.checkSpace(0)
	if err == nil {
		err = p.openNew()
	}
	if err == nil {
		err = p.recordNew(nil)
	}
	if err != nil {
		s.removeEmpty(rec.Part())
		p.Close()
		return nil, err
	}
	return p, nil
}

// newPart returns the Part of a new download, which holds nothing yet. It owns lock.
func (s *Store) newPart(rec Record, lock io.Closer) *Part {
	rec.chooseID()
	rec.State, rec.Held, rec.Process = Active, chunk.Set{}, thisProcess()
	rec.PieceLength = pieceLength(rec.Size)
	rec.Created = time.Now()
	p := &Part{store: s, name: rec.Part(), lock: lock, rec: rec, written: newWrittenBytes(rec.PieceLength)}
	p.adoptSize()
	return p
}

// makePrivate removes the permissions of other users from a part file in the state
// directory, for example of a downloaded list.
func (s *Store) makePrivate(part string) {
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return
	}
	if rel, err := filepath.Rel(dir, part); err == nil && filepath.IsLocal(rel) {
		os.Chmod(part, 0o600) // best effort: the directory is private, too
	}
}

// pieceLength returns the length of a checksummed piece of a file of size bytes; size is
// -1 if unknown.
func pieceLength(size int64) int64 {
	if size < 0 {
		size = chunk.Unbounded
	}
	return chunk.PieceLength(size)
}

// removeEmpty removes the part file of a download that could not be recorded. The caller
// must hold its lock. It keeps an empty file if another download has finished there, or
// if the file belongs to another user. A file that another download is about to link there
// is not there yet.
func (s *Store) removeEmpty(part string) {
	if rec, err := s.ByTarget(part); err == nil && rec.State == Done && (!rec.Publishing || s.Intact(rec)) {
		return
	}
	info, err := s.fs.Lstat(part)
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 && s.fs.CheckPrivate(part, info) == nil {
		s.fs.Remove(part)
	}
}

// lockEmptyPart returns the lock of an empty part file for rec. It fails if the target or
// the name of the part file is taken.
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
			err = s.checkTarget(rec) // again: another download may have finished at the target meanwhile
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

// partLockTimeout is how long to wait for the lock of a part file before the download
// counts as running elsewhere. Store.Running of another process holds the lock for an
// instant, which is no reason to fail. A guess; twice as long delays the error for a
// download that does run.
const partLockTimeout = 100 * time.Millisecond

// lock locks the part file of rec; with create it creates a missing one. If the file is
// not a regular file of this user, the error is a notOursError or ErrIrregular, even if
// another process holds the lock.
func (s *Store) lock(rec *Record, create bool) (io.Closer, error) {
	for start := time.Now(); ; time.Sleep(partLockTimeout / 10) {
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
		if time.Since(start) > partLockTimeout {
			return nil, fmt.Errorf("%q: %w", rec.Target, err)
		}
	}
}

// newPartTimeout is how long an empty file called NAME.part may be the part file of a download
// that is just being created: it cannot be locked in the moment in which it is created. A
// guess; at half, a busy machine may take longer for that, and twice as long delays the error
// for a foreign empty file.
const newPartTimeout = time.Second

// checkTarget returns ErrForeign if a file at the target must not be replaced. A file
// that is the part file of another download must never be replaced, even with
// rec.Replace.
func (s *Store) checkTarget(rec *Record) error {
	for start := time.Now(); ; time.Sleep(newPartTimeout / 50) {
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
		isPart := strings.HasSuffix(rec.Target, partSuffix)
		if isPart {
			gone, err := s.checkPartTarget(rec)
			if gone || err != nil {
				return err
			}
		}
		switch {
		case rec.Replace:
			return nil
		case !isPart || info.Size() > 0 || time.Since(start) > newPartTimeout:
			return fmt.Errorf("%q: %w", rec.Target, ErrForeign)
		}
	}
}

// checkPartTarget returns ErrPartFile if the file at the target of rec is the part file of
// another download. gone reports that it was one, and has been finished since.
func (s *Store) checkPartTarget(rec *Record) (gone bool, err error) {
	if err := s.checkNames(rec); err != nil && !errors.Is(err, errNameTaken) {
		return false, err
	}
	if s.fs.Locked(rec.Target) { // by a pawl with another state directory
		return false, fmt.Errorf("%q: %w", rec.Target, ErrPartFile)
	}
	_, err = s.fs.Lstat(rec.Target)
	return errors.Is(err, fs.ErrNotExist), nil
}

// clearPart reports whether the locked part file of rec is empty now. It truncates the
// file if it belongs to an earlier record of the same target, and deletes that record
// first. A file that no record names may be valuable: clearPart renames it and returns
// false, and the caller must lock a new file.
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
			return false, err // the record must not claim bytes that are about to be truncated
		}
		err = f.Truncate(0)
		if errors.Is(err, errors.ErrUnsupported) {
			return false, s.fs.Remove(rec.Part()) // the caller creates a new one
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
			s.warn(fmt.Sprintf("%q belongs to no recorded download; it was renamed to %q", rec.Part(), aside))
			return false, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
	}
	return false, err
}

// openNew opens the locked part file of a new download.
func (p *Part) openNew() (err error) {
	if p.file, err = p.store.fs.Open(p.name); err != nil {
		return err
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	return p.store.checkOurs(&p.rec, info)
}

// recordNew records a new download, with pages of checksums of the bytes that it holds. It
// deletes an unfinished record of the same target in the same transaction.
func (p *Part) recordNew(pages []sumPage) error {
	p.rec.Updated = p.rec.Created
	return p.store.write(func(t tx) error { return t.putNew(&p.rec, pages) })
}

// putNew writes r, a new unfinished download, its index keys and its pages of checksums. It deletes another
// unfinished record of the same target.
func (t tx) putNew(r *Record, pages []sumPage) error {
	if err := t.checkNames(r); err != nil {
		return err
	}
	old, err := t.byTarget(r.Target)
	var bad damagedRecordError
	switch {
	case err == nil && old.State != Done: // the entry of a finished file stays until the file is replaced
		r.inheritLists(&old)
		err = t.drop(&old)
	case errors.As(err, &bad):
		err = t.dropDamaged(bad)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := t.freeID(r); err != nil {
		return err
	}
	if err := t.putPages(r.ID, pages); err != nil {
		return err
	}
	if err := t.put(r); err != nil {
		return err
	}
	return t.putIndex(r)
}
