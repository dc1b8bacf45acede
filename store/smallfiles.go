package store

// This file is about small files, which come by the thousand: each is written
// without a name, and a group of them is made durable, recorded and named together.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// An CreateTemp is a file that is being written, in the directory of its target but
// without a name, so that a crash leaves nothing of it. It is for one goroutine
// at a time. publishAll or Close ends it.
type TempFile struct {
	rec  Record
	old  Record // of the finished file that it replaces, zero if there is none
	file File
	off  int64 // bytes written
}

// CreateTemp begins a file for rec, which gives URL, Target, validators, Sum, Lists and
// Replace. Whether something is in the way is for CheckTarget to tell before, and
// for publishAll. errors.ErrUnsupported where files cannot be without a name, or could
// not get one: Create can do it there.
func (s *Store) CreateTemp(rec Record) (*TempFile, error) {
	dir := filepath.Dir(rec.Target)
	if err := s.checkFree(rec.Target, 0); err != nil {
		return nil, err
	}
	f, err := s.fs.CreateTemp(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.fs.MkdirAll(dir); err != nil {
			return nil, err
		}
		f, err = s.fs.CreateTemp(dir)
	}
	if err != nil {
		return nil, err
	}
	rec.ID, rec.State, rec.Created, rec.Publishing = newID(), Done, time.Now(), true
	return &TempFile{rec: rec, file: f}, nil
}

// Write appends b.
func (u *TempFile) Write(b []byte) (int, error) {
	n, err := u.file.WriteAt(b, u.off)
	u.rec.CRC = crc32.Update(u.rec.CRC, castagnoli, b[:n])
	u.off += int64(n)
	if err != nil {
		err = fmt.Errorf("%q: %w", u.rec.Target, err)
	}
	return n, err
}

// Record returns the record, which is final once the file is placed.
func (u *TempFile) Record() Record { return u.rec }

// Close drops the file.
func (u *TempFile) Close() error { return u.file.Close() }

// Publish gives a complete file its name and closes it. When it returns nil, the file is
// there, durable and on record. Concurrent calls are done as a group.
func (s *Store) Publish(f *TempFile) error { return s.publishes.do(f) }

// publishAll gives complete files their names, and returns an error for each, nil for
// those that are there, durable and on record. It closes them all. For a group
// it does once what Finish does for each:
//
//  1. set the modification times; fsync the files
//  2. record all as finished, and as "placing"            <- the commit point
//  3. link each to its name (never over a foreign file), fsync the directories
//
// A crash before 2 leaves nothing. After it the files are on record, and those
// that step 3 has not named are missing, as if somebody had deleted them. Until a
// later publishAll, or FlushPublished, has taken back "placing", a file at the target that is
// not the recorded one is known not to be ours.
//
// A file that cannot be linked goes the way of a large one instead.
func (s *Store) publishAll(group []*TempFile) []error {
	errs := make([]error, len(group))
	for i, u := range group { // first all that changes, so that one commit of the file system's journal has it all
		defer u.file.Close()
		if !u.rec.ModTime.IsZero() {
			errs[i] = u.file.SetModTime(u.rec.ModTime)
		}
		u.file.StartSync()
	}
	for i, u := range group {
		if errs[i] == nil {
			errs[i] = u.syncFile()
		}
	}
	if err := s.recordPublishing(group, errs); err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
		return errs
	}
	dirs := make(map[string]error)
	for i, u := range group {
		if errs[i] == nil {
			errs[i] = s.linkTarget(u)
			dirs[filepath.Dir(u.rec.Target)] = nil
		}
	}
	for dir := range dirs {
		dirs[dir] = s.fs.SyncDir(dir)
	}
	s.confirm(group, errs, dirs)
	for i, u := range group {
		if errors.Is(errs[i], errors.ErrUnsupported) {
			errs[i] = s.publishAsPart(u)
		}
	}
	return errs
}

// settle ends step 1 for one file.
func (u *TempFile) syncFile() error {
	if err := u.file.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", u.rec.Target, err)
	}
	info, err := u.file.Stat()
	if err != nil {
		return err
	}
	u.rec.Size, u.rec.ModTime, u.rec.Updated = info.Size(), info.ModTime(), time.Now()
	if u.rec.Size != u.off {
		return fmt.Errorf("%q: %w", u.rec.Target, ErrGone)
	}
	return nil
}

// recordPlacing is step 2 for those without an error. It also notes that the
// groups before are all in their place.
func (s *Store) recordPublishing(group []*TempFile, errs []error) error {
	s.publishMu.Lock()
	defer s.publishMu.Unlock()
	if len(s.published)+len(group) == 0 {
		return nil
	}
	for i, u := range group { // what is to go may not be what is on record
		if errs[i] != nil || !u.rec.Replace {
			continue
		}
		if info, err := s.fs.Lstat(u.rec.Target); err == nil {
			u.rec.Replaces = FileStamp{info.Size(), info.ModTime()}
		}
	}
	err := s.write(func(t tx) error {
		if err := t.clearPublishing(s.published); err != nil {
			return err
		}
		for i, u := range group {
			if errs[i] != nil {
				continue
			}
			if errs[i] = t.checkNames(&u.rec); errors.Is(errs[i], ErrPartFile) {
				continue
			}
			errs[i] = nil // that its part file's name is taken is no matter before it is needed
			if err := t.migrateFinished(u.rec.Target); err != nil {
				return err
			}
			if was, err := t.finishedAt(u.rec.Target); err == nil {
				if u.old = was; u.rec.Replaces.ModTime.IsZero() {
					u.rec.Replaces = FileStamp{was.Size, was.ModTime}
				}
			}
			if err := t.put(&u.rec); err != nil {
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

// name is step 3 for one file. What it replaces goes in one step, by way of the
// name of a part file. If that name is taken, the error is errors.ErrUnsupported.
func (s *Store) linkTarget(u *TempFile) error {
	err := s.fs.LinkTemp(u.file, u.rec.Target)
	if errors.Is(err, fs.ErrNotExist) { // its directory was empty, and another process has pruned it
		if err = s.fs.MkdirAll(filepath.Dir(u.rec.Target)); err == nil {
			err = s.fs.LinkTemp(u.file, u.rec.Target)
		}
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.checkTarget(&u.rec); err != nil {
		return err
	}
	if err := s.checkNames(&u.rec); err != nil { // Create finds another name
		return unsupportedError{err}
	}
	err = s.fs.LinkTemp(u.file, u.rec.Part())
	if errors.Is(err, fs.ErrExist) {
		return unsupportedError{fmt.Errorf("%q: %w", u.rec.Part(), ErrForeign)}
	}
	if err != nil {
		return err
	}
	if err = s.fs.Rename(u.rec.Part(), u.rec.Target, u.rec.Replace); err != nil {
		return errors.Join(err, s.fs.Remove(u.rec.Part()))
	}
	return nil
}

// placeByPart copies a complete file that cannot be linked to a part file, and
// finishes that.
func (s *Store) publishAsPart(u *TempFile) error {
	rec := u.rec
	rec.Size, rec.Publishing, rec.Replaces = u.off, false, FileStamp{}
	p, err := s.Create(rec)
	if err != nil {
		return err
	}
	defer p.Close()
	to, from := io.NewOffsetWriter(p, 0), io.NewSectionReader(u.file, 0, u.off)
	if _, err := io.CopyBuffer(to, from, make([]byte, blockSize)); err != nil {
		return err
	}
	if err := p.Commit(0); err != nil {
		return err
	}
	if err := p.Finish(rec.ModTime); err != nil {
		return err
	}
	u.rec = p.Record()
	return nil
}

// settled remembers which files are in their place, and records the times that they
// have there. For the others it puts back the entries that the ledger had before.
func (s *Store) confirm(group []*TempFile, errs []error, dirs map[string]error) {
	var wrong, altered []*TempFile
	s.publishMu.Lock()
	defer s.publishMu.Unlock()
	for i, u := range group {
		if errs[i] != nil {
			wrong = append(wrong, u)
			continue
		}
		was := u.rec.ModTime
		errs[i] = errors.Join(dirs[filepath.Dir(u.rec.Target)], s.refreshModTime(&u.rec))
		if !u.rec.ModTime.Equal(was) {
			altered = append(altered, u)
		}
		if errs[i] == nil {
			s.published = append(s.published, u.rec)
		}
	}
	if len(wrong)+len(altered) == 0 {
		return
	}
	err := s.write(func(t tx) error {
		for _, u := range altered {
			if err := t.amend(&u.rec); err != nil {
				return err
			}
		}
		return t.restoreOld(wrong)
	})
	if err != nil {
		s.warn(err.Error())
	}
}

// takeBack undoes what the ledger says of files that are not in their place. The
// lists that claim one of them have named the file that is there, too.
func (t tx) restoreOld(wrong []*TempFile) error {
	for _, u := range wrong {
		if there, err := t.finishedAt(u.rec.Target); err == nil && there.ID == u.rec.ID {
			u.old.inheritLists(&there)
		}
		if err := t.dropFinished(&u.rec); err != nil {
			return err
		}
		if _, err := t.finishedAt(u.rec.Target); u.old.ID == "" || !errors.Is(err, ErrNotFound) {
			continue // another process has put something there
		}
		if err := t.put(&u.old); err != nil {
			return err
		}
	}
	return nil
}

// FlushPublished notes that all that publishAll has done is in its place. It is for the end
// of a run.
func (s *Store) FlushPublished() error { return s.recordPublishing(nil, nil) }

// placed takes "placing" back from the entries with the IDs of records. An entry may
// have other lists by now, and a path may have the entry of another file, which stays.
func (t tx) clearPublishing(records []Record) error {
	for _, r := range records {
		there, err := t.finishedAt(r.Target)
		if err != nil || there.ID != r.ID || !there.Publishing {
			continue
		}
		there.Publishing, there.Replaces = false, FileStamp{}
		if err := t.rewrite(&there); err != nil {
			return err
		}
	}
	return nil
}

// OwnFile reports whether the file at the target of rec, a finished one, is one that
// pawl put there, even if it has been altered since. A file that is missing is, and
// a symbolic link in its place is not.
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
	is := func(m FileStamp) bool { return info.Size() == m.Size && info.ModTime().Equal(m.ModTime) }
	return is(rec.Replaces) || is(FileStamp{rec.Size, rec.ModTime})
}

// Reconcile completes the last step of a publishAll that was cut short between two names,
// if it was, and reports whether the finished file of rec is intact.
func (s *Store) Reconcile(rec Record) (bool, error) {
	intact := s.Intact(rec)
	if !rec.Publishing {
		return intact, nil
	}
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
