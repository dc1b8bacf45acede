package store

// This file implements the protocol for small files, which come by the thousand: each is
// written to a temporary file, without a name if possible; then a group of files is synced, recorded and named
// together. Step numbers refer to "Many small files" in the package comment.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// A TempFile is a file that is being written in the directory of its target. It has no name
// yet, so that a crash leaves nothing of it, or a temporary one. It must be used by one
// goroutine at a time. It must be given to Publish once it is complete, or be closed.
type TempFile struct {
	rec  Record
	old  Record // the entry that this file replaces; zero if there is none
	file File
	off  int64 // number of bytes written
}

// CreateTemp starts a TempFile for rec. The caller sets URL, Target, validators, Sum,
// Lists and Replace of rec, and may choose its ID as for Create. CreateTemp does not check whether a file is at the target:
// the caller may call CheckTarget before, and Publish checks it. On Windows the error is
// errors.ErrUnsupported, and the caller must use Create instead.
func (s *Store) CreateTemp(rec Record) (*TempFile, error) {
	dir := filepath.Dir(rec.Target)
	if err := s.checkID(&rec); err != nil {
		return nil, err
	}
	if err := s.checkFree(rec.Target, 0); err != nil {
		return nil, err
	}
	f, err := s.openTemp(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.fs.MkdirAll(dir); err != nil {
			return nil, err
		}
		f, err = s.openTemp(dir)
	}
	if err != nil {
		return nil, err
	}
	rec.chooseID()
	rec.State, rec.Created, rec.Publishing = Done, time.Now(), true
	return &TempFile{rec: rec, file: f}, nil
}

// openTemp opens a file without a name in dir or, if the file system has none, a namedTemp.
func (s *Store) openTemp(dir string) (File, error) {
	f, err := s.fs.CreateTemp(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return s.createNamedTemp(dir)
	}
	return f, err
}

// Write appends b to the file.
func (tmp *TempFile) Write(b []byte) (int, error) {
	n, err := tmp.file.WriteAt(b, tmp.off)
	tmp.rec.CRC = crc32.Update(tmp.rec.CRC, castagnoli, b[:n])
	tmp.off += int64(n)
	if err != nil {
		err = fmt.Errorf("%q: %w", tmp.rec.Target, err)
	}
	return n, err
}

// Record returns the record. It is final once Publish has returned nil.
func (tmp *TempFile) Record() Record { return tmp.rec }

// Close discards the file.
func (tmp *TempFile) Close() error { return tmp.file.Close() }

// Publish gives a complete file its name and closes it. When it returns nil, the file is
// at its target, durable and on record. If a file at the target must not be replaced, the
// error is ErrForeign, and the file is discarded.
//
// Concurrent calls are done as a group. A call may wait up to 100 ms for others to join
// it.
func (s *Store) Publish(tmp *TempFile) error { return s.publishes.do(tmp) }

// publishAll publishes a group of complete files, closes them, and returns one error per
// file. It runs these steps once for the whole group:
//
//  1. set the modification times; fsync the files
//  2. record all files as finished, marked "publishing"   <- the commit point
//  3. link or rename each file to its name, never over a foreign file; fsync the
//     directories
//
// A file that cannot be linked is published as a part file instead; see publishAsPart.
func (s *Store) publishAll(group []*TempFile) []error {
	errs := make([]error, len(group))
	for i, tmp := range group { // all changes before the first sync, so that one commit of the file system's journal covers them
		defer tmp.file.Close()
		if !tmp.rec.ModTime.IsZero() {
			errs[i] = tmp.file.SetModTime(tmp.rec.ModTime)
		}
		tmp.file.StartSync()
	}
	for i, tmp := range group {
		if errs[i] == nil {
			errs[i] = tmp.syncFile()
		}
	}
	if err := s.recordPublishing(group, errs); err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
		return errs
	}
	dirs := make(map[string]error)
	for i, tmp := range group {
		if errs[i] == nil {
			errs[i] = s.linkTarget(tmp)
			dirs[filepath.Dir(tmp.rec.Target)] = nil
			if errs[i] != nil && !errors.Is(errs[i], errors.ErrUnsupported) {
				tmp.file.Close() // now, so that the sync of the directory makes the removal of a namedTemp durable
			}
		}
	}
	for dir := range dirs {
		dirs[dir] = s.fs.SyncDir(dir)
	}
	s.confirm(group, errs, dirs)
	for i, tmp := range group {
		if errors.Is(errs[i], errors.ErrUnsupported) {
			errs[i] = s.publishAsPart(tmp)
		}
	}
	return errs
}

// syncFile completes step 1 for one file and takes its final size and time.
func (tmp *TempFile) syncFile() error {
	if err := tmp.file.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", tmp.rec.Target, err)
	}
	info, err := tmp.file.Stat()
	if err != nil {
		return err
	}
	tmp.rec.Size, tmp.rec.ModTime, tmp.rec.Updated = info.Size(), info.ModTime(), time.Now()
	if tmp.rec.Size != tmp.off {
		return fmt.Errorf("%q: %w", tmp.rec.Target, ErrGone)
	}
	return nil
}

// recordPublishing is step 2 for the files without an error. The same transaction clears
// the marks of the groups before, which are in place.
func (s *Store) recordPublishing(group []*TempFile, errs []error) error {
	s.publishMu.Lock()
	defer s.publishMu.Unlock()
	if len(s.published)+len(group) == 0 {
		return nil
	}
	for i, tmp := range group { // the file on disk may differ from the recorded one
		if errs[i] != nil || !tmp.rec.Replace {
			continue
		}
		if info, err := s.fs.Lstat(tmp.rec.Target); err == nil {
			tmp.rec.Replaces = FileStamp{info.Size(), info.ModTime()}
		}
	}
	err := s.write(func(t tx) error {
		if err := t.clearPublishing(s.published); err != nil {
			return err
		}
		for i, tmp := range group {
			if errs[i] != nil {
				continue
			}
			if errs[i] = t.checkNames(&tmp.rec); errors.Is(errs[i], ErrPartFile) {
				continue
			}
			errs[i] = nil // errNameTaken: the name of the part file matters only if linkTarget needs it
			if old, err := t.finishedAt(tmp.rec.Target); err == nil {
				if old.ID == tmp.rec.ID { // a chosen one; a small file has no piece checksums
					if err := t.dropPages(old.ID); err != nil {
						return err
					}
				}
				if tmp.old = old; tmp.rec.Replaces.ModTime.IsZero() {
					tmp.rec.Replaces = FileStamp{old.Size, old.ModTime}
				}
			}
			if err := t.put(&tmp.rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.published = nil
	}
	return err
}

// linkTarget is step 3 for one file. An existing file is replaced in one step, by a
// rename: of a namedTemp, or else from the name of a part file. If that name is taken, the
// error is errors.ErrUnsupported.
func (s *Store) linkTarget(tmp *TempFile) error {
	named, isNamed := tmp.file.(*namedTemp)
	link := func() error { return s.fs.LinkTemp(tmp.file, tmp.rec.Target) }
	if isNamed {
		link = func() error { return named.rename(tmp.rec.Target, false) }
	}
	err := link()
	if errors.Is(err, fs.ErrNotExist) { // another process has pruned the empty directory
		if err = s.fs.MkdirAll(filepath.Dir(tmp.rec.Target)); err == nil {
			err = link()
		}
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.checkTarget(&tmp.rec); err != nil {
		return err
	}
	if isNamed {
		return named.rename(tmp.rec.Target, tmp.rec.Replace)
	}
	if err := s.checkNames(&tmp.rec); err != nil { // publishAsPart finds another name for the part file
		return unsupportedError{err}
	}
	err = s.fs.LinkTemp(tmp.file, tmp.rec.Part())
	if errors.Is(err, fs.ErrExist) {
		return unsupportedError{fmt.Errorf("%q: %w", tmp.rec.Part(), ErrForeign)}
	}
	if err != nil {
		return err
	}
	if err = s.fs.Rename(tmp.rec.Part(), tmp.rec.Target, tmp.rec.Replace); err != nil {
		return errors.Join(err, s.fs.Remove(tmp.rec.Part()))
	}
	return nil
}

// publishAsPart copies a complete file that cannot be linked to a part file, and finishes
// that file like a large download.
func (s *Store) publishAsPart(tmp *TempFile) error {
	rec := tmp.rec
	rec.Size, rec.Publishing, rec.Replaces = tmp.off, false, FileStamp{}
	p, err := s.Create(rec)
	if err != nil {
		return err
	}
	defer p.Close()
	to, from := io.NewOffsetWriter(p, 0), io.NewSectionReader(tmp.file, 0, tmp.off)
	if _, err := io.CopyBuffer(to, from, make([]byte, blockSize)); err != nil {
		return err
	}
	if err := p.Commit(0); err != nil {
		return err
	}
	if err := p.Finish(rec.ModTime); err != nil {
		return err
	}
	tmp.rec = p.Record()
	return nil
}

// confirm completes step 3: it adds the named files to s.published and updates their
// entries if the file system has changed a modification time. For the failed files it
// restores the entries that the ledger had before.
func (s *Store) confirm(group []*TempFile, errs []error, dirs map[string]error) {
	var failed, changed []*TempFile
	s.publishMu.Lock()
	defer s.publishMu.Unlock()
	for i, tmp := range group {
		if errs[i] != nil {
			failed = append(failed, tmp)
			continue
		}
		before := tmp.rec.ModTime
		errs[i] = errors.Join(dirs[filepath.Dir(tmp.rec.Target)], s.refreshModTime(&tmp.rec))
		if !tmp.rec.ModTime.Equal(before) {
			changed = append(changed, tmp)
		}
		if errs[i] == nil {
			s.published = append(s.published, tmp.rec)
		}
	}
	if len(failed)+len(changed) == 0 {
		return
	}
	err := s.write(func(t tx) error {
		for _, tmp := range changed {
			if err := t.amend(&tmp.rec); err != nil {
				return err
			}
		}
		return t.restoreOld(failed)
	})
	if err != nil {
		s.warn(err.Error())
	}
}

// restoreOld replaces the entries of failed files by the entries before them. Lists that
// were added to a failed entry have named the old file, too, and are kept.
func (t tx) restoreOld(failed []*TempFile) error {
	for _, tmp := range failed {
		if stored, err := t.finishedAt(tmp.rec.Target); err == nil && stored.ID == tmp.rec.ID {
			tmp.old.inheritLists(&stored)
		}
		if err := t.dropFinished(&tmp.rec); err != nil {
			return err
		}
		if _, err := t.finishedAt(tmp.rec.Target); tmp.old.ID == "" || !errors.Is(err, ErrNotFound) {
			continue // another process has recorded another file there
		}
		if err := t.put(&tmp.old); err != nil {
			return err
		}
	}
	return nil
}

// FlushPublished clears the marks "publishing" of the last group. It should be called at
// the end of a run; without it, the next run checks the marked files more thoroughly.
func (s *Store) FlushPublished() error { return s.recordPublishing(nil, nil) }

// clearPublishing clears the marks "publishing" of records. It reads the entries anew,
// because they may have more lists by now. An entry of another file at the same path
// stays.
func (t tx) clearPublishing(records []Record) error {
	for _, r := range records {
		stored, err := t.finishedAt(r.Target)
		if err != nil || stored.ID != r.ID || !stored.Publishing {
			continue
		}
		stored.Publishing, stored.Replaces = false, FileStamp{}
		if err := t.rewrite(&stored); err != nil {
			return err
		}
	}
	return nil
}

// OwnFile reports whether the file at the target of rec, a finished file, was put there
// by pawl. A file that somebody has changed since is still pawl's own, and so is a
// missing one. A symbolic link is not. If rec is marked "publishing", only the recorded
// file and the file that it replaces are pawl's own.
func (s *Store) OwnFile(rec Record) bool {
	info, err := s.fs.Lstat(rec.Target)
	switch {
	case err != nil:
		return !rec.Publishing || errors.Is(err, fs.ErrNotExist)
	case !info.Mode().IsRegular():
		return false
	case !rec.Publishing:
		return true
	}
	return rec.Replaces.is(info) || FileStamp{rec.Size, rec.ModTime}.is(info)
}

// Reconcile completes an interrupted Publish of rec and reports whether the finished file
// is intact. If a crash came between the two names of a replaced file, it repeats the
// rename. It also removes the temporary files that a crash has left in the directory.
func (s *Store) Reconcile(rec Record) (bool, error) {
	intact := s.Intact(rec)
	if !rec.Publishing {
		return intact, nil
	}
	s.removeLeftovers(filepath.Dir(rec.Target))
	if part := (Record{Target: rec.Part(), Size: rec.Size, ModTime: rec.ModTime}); !intact {
		info, err := s.fs.Lstat(part.Target)
		if err != nil || s.checkOurs(&rec, info) != nil || !s.Intact(part) || !s.OwnFile(rec) || s.checkNames(&rec) != nil {
			return false, nil
		}
		if err := s.fs.Rename(part.Target, rec.Target, true); err != nil {
			return false, err
		}
	}
	if err := s.fs.SyncDir(filepath.Dir(rec.Target)); err != nil {
		return false, err
	}
	s.publishMu.Lock()
	defer s.publishMu.Unlock()
	s.published = append(s.published, rec)
	return true, nil
}
