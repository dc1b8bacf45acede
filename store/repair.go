package store

// This file turns a damaged finished file into an unfinished download, so that its wrong
// pieces can be fetched again; see "Repair of a finished file" in the package comment.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"pawl/chunk"
)

// ErrCannotRepair reports that a finished file must not be changed, because it is not a regular
// file that belongs to this user alone: it may have another owner, or another name, too.
var ErrCannotRepair = errors.New("the file cannot be repaired")

// IsRepair reports whether the download repairs a finished file.
func (r *Record) IsRepair() bool { return r.Repairs != FileStamp{} }

// Reopen records a download that fetches the damaged ranges of the finished file of rec
// again, and returns its ID. The file stays at its target until Resume. The caller must
// have compared the file with the checksums of rec; rec must have checksums of pieces. The
// errors are ErrBusy if another process has reopened the file, ErrNotFound if the file is
// no longer on record, and ErrCannotRepair.
func (s *Store) Reopen(rec Record, damaged chunk.Set) (ID, error) {
	info, err := s.fs.Lstat(rec.Target)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q: %w: it is not a regular file", rec.Target, ErrCannotRepair)
	}
	if err := s.fs.CheckPrivate(rec.Target, info); err != nil {
		return "", fmt.Errorf("%w: %w", ErrCannotRepair, err)
	}
	r := rec
	r.ID, r.State, r.Reason, r.Updated, r.PartNumber = NewID(), Active, "", time.Now(), 0
	r.Held = chunk.NewSet(chunk.Range{End: rec.Size})
	for d := range damaged.All() {
		r.Held.Remove(d)
	}
	r.Repairs, r.ChangeTime = FileStamp{info.Size(), info.ModTime()}, changeTime(info)
	for {
		err := s.tryReopen(&r, rec.ID)
		if !errors.Is(err, errNameTaken) {
			return r.ID, err
		}
		if err := r.nextPartName(err); err != nil {
			return "", err
		}
	}
}

// tryReopen records r, which has the checksums of the finished file with the ID finished.
// It returns errNameTaken if the part file must have another name.
func (s *Store) tryReopen(r *Record, finished ID) error {
	if s.existsAt(r.Part()) {
		return fmt.Errorf("%q: %w", r.Part(), errNameTaken)
	}
	return s.write(func(t tx) error {
		if err := t.checkNames(r); err != nil {
			return err
		}
		now, err := t.byTarget(r.Target)
		switch {
		case err != nil:
			return err
		case now.ID != finished:
			return fmt.Errorf("%q: %w", r.Target, ErrBusy)
		}
		if err := t.putPages(r.ID, t.pages(finished)); err != nil {
			return err
		}
		if err := t.put(r); err != nil {
			return err
		}
		return t.putIndex(r)
	})
}

// lockReopened moves the finished file that rec repairs to its part name, and locks it. It
// returns fs.ErrNotExist if the file is not at the target as it was, and ErrBusy if
// another process has moved it. The held ranges need not be verified again if nothing has
// touched the file since Reopen.
func (s *Store) lockReopened(rec *Record) (io.Closer, error) {
	info, err := s.fs.Lstat(rec.Target)
	if err != nil {
		return nil, err
	}
	if !rec.Repairs.is(info) {
		return nil, fs.ErrNotExist
	}
	if err := s.fs.Rename(rec.Target, rec.Part(), false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := s.fs.SyncDir(filepath.Dir(rec.Target)); err != nil {
		return nil, err
	}
	lock, err := s.lock(rec, false)
	if err != nil || !changeTime(info).Equal(rec.ChangeTime) {
		return lock, err
	}
	if info, err = s.fs.Lstat(rec.Part()); err == nil {
		err = s.amendReopened(rec.ID, func(r *Record) { r.ChangeTime = changeTime(info) })
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// amendReopened applies fn to the unfinished record id.
func (s *Store) amendReopened(id ID, fn func(*Record)) error {
	return s.write(func(t tx) error {
		r, err := t.get(id)
		if err != nil {
			return err
		}
		fn(&r)
		return t.put(&r)
	})
}

// PutBack gives up the repair of a finished file: the file goes back to its target, with
// the pieces that have arrived, and the record of the finished file stands for it again. It
// does nothing for any other download. The Part must be closed. If something else is at
// the target by now, the error is fs.ErrExist, and the repair can be resumed.
func (s *Store) PutBack(id ID) error {
	rec, err := s.Get(id)
	if err != nil || rec.State == Done || !rec.IsRepair() {
		return err
	}
	s = s.forRecord(&rec)
	lock, err := s.lock(&rec, false)
	if errors.Is(err, fs.ErrNotExist) { // it was never moved
		return s.write(func(t tx) error { return t.drop(&rec) })
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.restoreMode(rec.Part()); err != nil {
		return err
	}
	info, err := s.fs.Lstat(rec.Part())
	if err != nil {
		return err
	}
	// After a crash in the next steps, Resume must know the file at the target as this one.
	err = s.amendReopened(id, func(r *Record) { r.Repairs = FileStamp{info.Size(), info.ModTime()} })
	if err != nil {
		return err
	}
	if err := s.fs.Rename(rec.Part(), rec.Target, false); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(rec.Target)); err != nil {
		return err
	}
	return s.write(func(t tx) error { return t.drop(&rec) })
}

// restoreMode gives a part file the mode of a finished file.
func (s *Store) restoreMode(part string) error {
	f, err := s.fs.Open(part)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(s.fileMode)
}

// Differs returns the pieces of a complete part file whose checksums differ from the checksums
// of the finished file that it repairs: the server has sent bytes of another version. The
// result is empty for any other download, and if the finished file has no checksums.
func (p *Part) Differs() (differs chunk.Set, err error) {
	rec := p.Record()
	if !rec.IsRepair() {
		return chunk.Set{}, nil
	}
	old, err := p.store.find(func(t tx) (Record, error) { return t.finishedAt(rec.Target) })
	if errors.Is(err, ErrNotFound) || err == nil && (old.Size != rec.Size || old.PieceLength != rec.PieceLength) {
		return chunk.Set{}, nil
	}
	if err != nil {
		return chunk.Set{}, err
	}
	c, err := p.store.NewCheck(old)
	if err != nil {
		return chunk.Set{}, err
	}
	c.got.set, c.got.sums = rec.Held.Clone(), p.PieceSums()
	return c.Wrong(), nil
}

// existsAt reports whether anything is at path.
func (s *Store) existsAt(path string) bool {
	_, err := s.fs.Lstat(path)
	return err == nil
}
