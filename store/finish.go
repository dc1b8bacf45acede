package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"pawl/chunk"
)

// Finish gives the file its modification time, unless that is zero, and its
// final name (steps 4 and 5). All bytes must have been committed. ErrForeign
// says that a file has come to the target since Create; the complete part file
// and its record then stay, and a later Resume tries again. ErrUncut says that the part
// file is too long and the file system cannot cut it.
func (p *Part) Finish(modTime time.Time) error {
	if err := p.usable(); err != nil {
		return err
	}
	if err := p.syncDirOnce(); err != nil { // an empty file was never committed
		return err
	}
	if p.dirty.Load() {
		return fmt.Errorf("finish %q: what is held has not been checked again", p.rec.Target)
	}
	if whole := (chunk.Range{End: p.rec.Size}); p.rec.Size < 0 || !p.rec.Held.Contains(whole) || !p.written.set.Contains(whole) {
		return fmt.Errorf("finish %q: bytes are missing", p.rec.Target)
	}
	if err := p.truncateToSize(); err != nil {
		return err
	}
	if !modTime.IsZero() {
		if err := p.file.SetModTime(modTime); err != nil {
			return err
		}
	}
	if err := p.file.Chmod(p.store.fileMode); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return p.breakWith(err)
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	err = p.Update(func(r *Record) {
		r.State, r.ModTime, r.ChangeTime, r.Reason = Finishing, info.ModTime(), changeTime(info), ""
	})
	if err != nil {
		return err
	}
	return p.rename()
}

// cut sets the size of the part file if it is too long. One that is too short has
// lost bytes, which zeros must not replace.
func (p *Part) truncateToSize() error {
	info, err := p.file.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() < p.rec.Size:
		return p.breakWith(fmt.Errorf("%q: %w", p.name, ErrGone))
	case info.Size() == p.rec.Size:
		return nil
	}
	err = p.file.Truncate(p.rec.Size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = fmt.Errorf("%q: %w: %w", p.name, ErrCannotTruncate, err)
	}
	if err != nil {
		return p.breakWith(err)
	}
	return nil
}

// rename is step 5; it may be repeated.
func (p *Part) rename() error {
	fsys, rec := p.store.fs, &p.rec
	if _, err := p.statInPlace(); err != nil {
		return err
	}
	p.file.Close() // some systems do not rename an open file; an error loses nothing that is synced
	p.file = nil
	p.brokenBy.Store(&errFinished)
	err := fsys.Rename(rec.Part(), rec.Target, rec.Replace)
	if errors.Is(err, fs.ErrExist) {
		err = p.resolveExisting(err)
	}
	if err != nil {
		return err
	}
	return p.recordDone()
}

// linked tells why a file is at the target, so that the rename failed with exists: if
// a rename is a link and an unlink, a crash between the two leaves one file under both
// names.
func (p *Part) resolveExisting(exists error) error {
	fsys, rec := p.store.fs, &p.rec
	part, err := fsys.Lstat(rec.Part())
	if errors.Is(err, fs.ErrNotExist) && p.store.Intact(*rec) { // the rename was done, and its answer lost
		return nil
	}
	if err != nil {
		return err
	}
	target, err := fsys.Lstat(rec.Target)
	if errors.Is(err, fs.ErrNotExist) { // it has come and gone
		return exists
	}
	if err != nil {
		return err
	}
	if !fsys.SameFile(part, target) {
		return fmt.Errorf("%q: %w", rec.Target, ErrForeign)
	}
	return fsys.Remove(rec.Part())
}

// recordDone ends step 5.
func (p *Part) recordDone() error {
	if p.rec.State == Done {
		return nil
	}
	if err := p.store.fs.SyncDir(filepath.Dir(p.rec.Target)); err != nil {
		return err
	}
	rec := p.rec
	if err := p.store.refreshModTime(&rec); err != nil {
		return err
	}
	return p.Update(func(r *Record) { r.State, r.ModTime = Done, rec.ModTime })
}

// lookAgain sets the modification time of rec to the time that its finished file has,
// because some file systems change it when a file is closed or renamed, and the next run
// must find the file as it was left. A file of another size is not this file. If there
// is none, somebody has already taken it away.
func (s *Store) refreshModTime(rec *Record) error {
	info, err := s.fs.Lstat(rec.Target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Size() == rec.Size:
		rec.ModTime = info.ModTime()
	}
	return nil
}
