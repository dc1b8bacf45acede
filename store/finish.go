package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"pawl/chunk"
)

// Finish sets the modification time of the file to modTime, unless that is zero, and
// gives the file its final name (steps 4 and 5). All bytes must be committed, the size
// must be known, and the Part must not be Dirty.
//
// If somebody has put a file at the target since Create, the error is ErrForeign. The
// complete part file and its record then stay, and a later Resume tries again. If the
// part file is too long and the file system cannot truncate it, the error is
// ErrCannotTruncate. After Finish has returned nil, only Record and Close may be called.
func (p *Part) Finish(modTime time.Time) error {
	if err := p.checkUsable(); err != nil {
		return err
	}
	if err := p.syncDirOnce(); err != nil { // Commit may never have run, for example for an empty file
		return err
	}
	if p.dirty.Load() {
		return fmt.Errorf("finish %q: held bytes have not been verified", p.rec.Target)
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

// truncateToSize truncates a part file that is longer than the file. A part file that is
// too short has lost bytes; it must not be extended, because the system would fill the
// gap with zeros.
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

// rename is step 5. It is idempotent: Resume calls it again after a crash.
func (p *Part) rename() error {
	fsys, rec := p.store.fs, &p.rec
	if _, err := p.statInPlace(); err != nil {
		return err
	}
	p.file.Close() // some systems do not rename an open file; an error is harmless, because all bytes are synced
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

// resolveExisting continues after a rename that failed with exists because something is
// at the target. If a rename had to be a link and an unlink, a crash between the two
// leaves one file under both names; then only the old name is removed. Any other file is
// foreign.
func (p *Part) resolveExisting(exists error) error {
	fsys, rec := p.store.fs, &p.rec
	part, err := fsys.Lstat(rec.Part())
	if errors.Is(err, fs.ErrNotExist) && p.store.Intact(*rec) { // the rename succeeded, but the server's response was lost, as on NFS
		return nil
	}
	if err != nil {
		return err
	}
	target, err := fsys.Lstat(rec.Target)
	if errors.Is(err, fs.ErrNotExist) { // the file at the target has disappeared again
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

// recordDone completes step 5: it syncs the directory and records the state Done. It is
// idempotent.
func (p *Part) recordDone() error {
	if p.rec.State == Done {
		return nil
	}
	if err := p.store.fs.SyncDir(filepath.Dir(p.rec.Target)); err != nil {
		return err
	}
	if p.rec.Control != "" {
		p.store.fs.Remove(p.rec.Control) // best effort: the file that it describes is finished
	}
	rec := p.rec
	if err := p.store.refreshModTime(&rec); err != nil {
		return err
	}
	return p.Update(func(r *Record) { r.State, r.ModTime = Done, rec.ModTime })
}

// refreshModTime sets rec.ModTime to the modification time of the finished file. Some
// file systems change that time when a file is closed or renamed, and the next run
// compares it with the record. A file of another size is not this file, and leaves rec as
// it is. So does a missing file, which somebody has already deleted.
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
