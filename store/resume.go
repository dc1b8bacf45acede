package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"pawl/chunk"
)

// Resume opens the download id to continue it. It completes an interrupted Finish. It
// removes ranges from the record that the part file no longer has; Lost returns their
// number of bytes. The Part of a finished download has the state Done and accepts no
// bytes. The errors are ErrNotFound, ErrBusy, ErrNoDirectory and the errors of Finish.
func (s *Store) Resume(id ID) (*Part, error) {
	rec, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	if rec.State == Done {
		return s.donePart(rec), nil
	}
	s = s.forRecord(&rec)
	lock, err := s.lock(&rec, false)
	if errors.Is(err, fs.ErrNotExist) && rec.IsRepair() && rec.State != Finishing {
		lock, err = s.lockReopened(&rec)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s.resumeWithoutPart(id)
	}
	if err != nil {
		return nil, err
	}
	return s.resumeLocked(id, lock, false)
}

// donePart returns the Part of a download whose file has its final name.
func (s *Store) donePart(rec Record) *Part {
	p := &Part{store: s, rec: rec}
	p.brokenBy.Store(&errFinished)
	return p
}

// resumeWithoutPart resumes a download that has no part file: either the rename of step 5
// has happened, or the file is lost.
func (s *Store) resumeWithoutPart(id ID) (*Part, error) {
	rec, err := s.Get(id) // again: another process may have finished the download meanwhile
	if err != nil {
		return nil, err
	}
	if rec.State == Done || rec.State == Finishing && s.Intact(rec) {
		p := s.donePart(rec)
		return p, p.recordDone()
	}
	dir := filepath.Dir(rec.Target)
	if _, err := s.fs.Lstat(dir); errors.Is(err, fs.ErrNotExist) && rec.Held.Len() > 0 {
		return nil, fmt.Errorf("%q: %w", dir, ErrNoDirectory)
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	lock, err := s.lock(&rec, true)
	if err != nil {
		return nil, err
	}
	return s.resumeLocked(id, lock, true)
}

// resumeLocked resumes the download id with lock held. The Part owns lock from then on.
// lost is set if the part file has just been created.
func (s *Store) resumeLocked(id ID, lock io.Closer, lost bool) (_ *Part, err error) {
	p := &Part{store: s, lock: lock}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.rec, err = s.Get(id); err != nil { // a record that was read before the lock may be outdated
		return nil, err
	}
	p.name = p.rec.Part()
	if p.file, err = s.fs.Open(p.rec.Part()); err != nil {
		return nil, err
	}
	info, err := p.file.Stat()
	if err != nil {
		return nil, err
	}
	if err := s.checkOurs(&p.rec, info); err != nil {
		return nil, err
	}
	if err := p.loadSums(info.Size()); err != nil {
		return nil, err
	}
	if p.rec.State == Finishing && p.lost == 0 && !lost && sameModTime(p.rec.ModTime, info.ModTime()) {
		return p, p.rename()
	}
	if info.Mode().Perm() != partMode { // a Finish failed after the Chmod
		if err := p.file.Chmod(partMode); err != nil {
			return nil, err
		}
	}
	p.dirty.Store(p.written.set.Len() > 0 && !changeTime(info).Equal(p.rec.ChangeTime))
	if err := s.checkTarget(&p.rec); err != nil {
		return nil, err // fail now, not after all bytes have been downloaded
	}
	n, _ := allocated(info) // some file systems report no blocks, or fewer than bytes
	if err := p.checkSpace(max(n, p.written.set.Len())); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.updateLocked(func(r *Record) {
		r.Held, r.PieceLength, r.State, r.Reason = p.written.set.Clone(), p.written.sums.Length(), Active, ""
		r.Process = thisProcess()
	}, p.written.takeUnsaved(false), true)
}

// loadSums reads the piece checksums of the held ranges. size is the size of the part
// file. A piece loses its held ranges if it has no checksum, or if the part file no
// longer has all of them.
func (p *Part) loadSums(size int64) error {
	p.adoptSize()
	if p.rec.PieceLength <= 0 {
		p.rec.PieceLength, p.rec.Held = pieceLength(p.rec.Size), chunk.Set{}
	}
	p.written = newWrittenBytes(p.rec.PieceLength)
	w := &p.written
	w.set = p.rec.Held.Clone()
	var pages []sumPage
	err := p.store.read(func(t tx) error {
		pages = t.pages(p.rec.ID)
		return nil
	})
	if err != nil {
		return err
	}
	known := make(map[int]bool) // pieces with a checksum
	for _, pg := range pages {
		w.loadPage(pg, known)
	}
	for r := range p.rec.Held.All() {
		for i := w.sums.Index(r.Off); i <= w.sums.Index(r.End-1); i++ {
			if in := w.inPiece(i); !known[i] || !in.Equal(clip(in, size)) {
				p.lost += in.Len()
				w.remove(i, in, w.sums.Sum(i))
			}
		}
	}
	return nil
}

// CheckTarget returns ErrForeign if a download must not replace the file at the absolute
// path target; replace is Record.Replace.
func (s *Store) CheckTarget(target string, replace bool) error {
	return s.checkTarget(&Record{Target: target, Replace: replace})
}

// AllowReplace lets the unfinished download id replace a file at its target.
func (s *Store) AllowReplace(id ID) error {
	if _, err := s.Get(id); err != nil {
		return err
	}
	return s.write(func(t tx) error {
		rec, err := t.get(id)
		if err != nil {
			return err
		}
		rec.Replace = true
		return t.put(&rec)
	})
}

// Intact reports whether the finished file of rec is on disk with the recorded size and
// modification time, as far as its file system keeps the time.
func (s *Store) Intact(rec Record) bool {
	info, err := s.fs.Lstat(rec.Target)
	return err == nil && FileStamp{rec.Size, rec.ModTime}.is(info)
}

// A FileID identifies a file on this machine, whatever its name.
type FileID struct{ device, inode uint64 }

// FileID returns the FileID of the file at the target of rec. ok is false if there is
// none or the system has no such numbers. Two targets may be the same file through a
// symbolic link to a directory, or through names that differ only in case.
func (s *Store) FileID(rec Record) (id FileID, ok bool) {
	info, err := s.fs.Lstat(rec.Target)
	if err != nil {
		return FileID{}, false
	}
	return fileID(info)
}

// Exists reports whether anything is at the target of rec.
func (s *Store) Exists(rec Record) bool {
	_, err := s.fs.Lstat(rec.Target)
	return err == nil
}

// Running reports whether some process works on the download of rec. The result may be
// outdated when it is returned.
func (s *Store) Running(rec Record) bool {
	return rec.State != Done && s.fs.Locked(rec.Part())
}

// Remove deletes the record of the download id. If files is set, it first deletes the part
// file, but never a finished file: a crash between the two leaves a record whose bytes are
// lost, and not a part file that nobody knows. If the download is running, the error is ErrBusy.
func (s *Store) Remove(id ID, files bool) error {
	rec, err := s.Get(id)
	if err != nil {
		return err
	}
	s = s.forRecord(&rec)
	if rec.State != Done {
		lock, err := s.lock(&rec, false)
		switch {
		case err == nil:
			defer lock.Close()
		case errors.Is(err, errNameTaken), errors.Is(err, ErrLink):
			files = false // the file at the path is not ours
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return s.write(func(t tx) error {
		latest, err := t.byTarget(rec.Target)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if files && latest.ID == id && latest.State != Done { // else the part file belongs to another download, or is gone
			if err := s.removeDurably(rec.Part()); err != nil {
				return err
			}
		}
		return t.drop(&rec)
	})
}

// removeDurably deletes a file, unless it does not exist, and syncs its directory.
func (s *Store) removeDurably(path string) error {
	err := s.fs.Remove(path)
	if err == nil {
		err = s.fs.SyncDir(filepath.Dir(path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// OpenDone opens the finished file of rec for reading.
func (s *Store) OpenDone(rec Record) (ReadFile, error) { return s.fs.OpenRead(rec.Target) }
