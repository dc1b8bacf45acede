package store

// This file removes files that a list no longer names.

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// maxReleaseTime is how long one call of Release may delete files, because other
// processes wait for its transaction. They give up after lockTimeout, which leaves room
// for one very large file. With a tenth of it, many small files would need ten times as
// many transactions.
const maxReleaseTime = time.Second

// A Released is a finished file from which Release removed claims.
type Released struct {
	Record  Record // as it was before the release
	Deleted bool
	Err     error // why the file was not deleted, or not durably; its claims stay

	unclaimed bool // no list claims the file any more
}

// Release removes the claims of the lists keys from finished files. It deletes a file
// that no list claims any more if the file is unchanged, and removes its ledger entry in
// any case. All steps are in one transaction:
//
//  1. read the claims on record, delete the file
//  2. fsync the directories
//  3. commit: entries lose claims, or are removed
//
// No other process can claim a file between the check and the deletion, because it would
// need a transaction, too. A crash before 3 leaves entries without files, as if somebody
// had deleted the files.
//
// Release returns one result for each of the first records, at least one. The caller must
// call it again with the records that it had no time for.
func (s *Store) Release(records []Record, keys []string) ([]Released, error) {
	var results []Released
	err := s.write(func(t tx) error {
		results = results[:0]
		start := time.Now()
		for _, r := range records {
			if len(results) > 0 && time.Since(start) > maxReleaseTime {
				break
			}
			result, err := s.releaseOne(t, r, keys)
			if err != nil {
				return err
			}
			results = append(results, result)
		}
		s.syncDeleted(results)
		return t.dropReleased(results)
	})
	return results, err
}

// releaseOne is step 1 for one file. It also writes the entry of a file that other lists
// still claim.
func (s *Store) releaseOne(t tx, r Record, keys []string) (Released, error) {
	stored, err := t.finishedAt(r.Target)
	if err != nil || stored.ID != r.ID || !stored.Lists.Has(keys...) {
		return Released{Record: r}, nil // another process was faster
	}
	result := Released{Record: stored}
	if stored.Lists = stored.Lists.Without(keys...); len(stored.Lists) > 0 {
		return result, t.rewrite(&stored)
	}
	result.unclaimed = true
	if s.Intact(stored) {
		result.Err = s.fs.Remove(stored.Target)
		result.Deleted = result.Err == nil
	}
	return result, nil
}

// syncDeleted is step 2. A file whose deletion may not be durable keeps its entry.
func (s *Store) syncDeleted(results []Released) {
	synced := make(map[string]error)
	for i := range results {
		result := &results[i]
		if !result.Deleted {
			continue
		}
		dir := filepath.Dir(result.Record.Target)
		err, done := synced[dir]
		if !done {
			err = s.fs.SyncDir(dir)
			synced[dir] = err
		}
		result.Err = err
	}
}

// dropReleased removes the ledger entries of files that no list claims any more.
func (t tx) dropReleased(results []Released) error {
	for i := range results {
		if result := &results[i]; result.unclaimed && result.Err == nil {
			if err := t.dropFinished(&result.Record); err != nil {
				return err
			}
		}
	}
	return nil
}

// Abandon removes the claims of the lists keys from the unfinished download id. If no
// list claims it any more, Abandon deletes its part file and its record and returns true.
// If the download is running, the error is ErrBusy, and its claims stay.
func (s *Store) Abandon(id ID, keys []string) (bool, error) {
	rec, err := s.Get(id)
	if err != nil || rec.State == Done {
		return false, err
	}
	lock, err := s.lock(&rec, false)
	switch {
	case err == nil:
		defer lock.Close()
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNameTaken) && !errors.Is(err, ErrLink):
		return false, err
	}
	isOurs := err == nil
	removed := false
	err = s.write(func(t tx) error {
		rec, err := t.unfinishedAt(rec.Target)
		if removed = false; err != nil || rec.ID != id || !rec.Lists.Has(keys...) {
			return err // nil if another process was faster
		}
		if rec.Lists = rec.Lists.Without(keys...); len(rec.Lists) > 0 {
			return t.rewrite(&rec)
		}
		if isOurs {
			if err := s.removeDurably(rec.Part()); err != nil {
				return err
			}
		}
		removed = true
		return t.drop(&rec)
	})
	return removed && err == nil, err
}

// RemoveEmpty removes dir and then the directories above it, as long as they are empty.
// It never removes root, which must be above dir, or a symbolic link.
func (s *Store) RemoveEmpty(root, dir string) {
	rel, err := filepath.Rel(root, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return
	}
	for ; rel != "."; rel = filepath.Dir(rel) {
		dir := filepath.Join(root, rel)
		if info, err := s.fs.Lstat(dir); err != nil || !info.IsDir() || s.fs.Remove(dir) != nil {
			return
		}
	}
}

// DeleteFinished deletes the finished file of the download id and its entry in the ledger, whatever lists
// claim it, with the steps of Release. If somebody has changed the file, or put another one in its place,
// the error is ErrForeign, and both stay.
func (s *Store) DeleteFinished(id ID) error {
	rec, err := s.Get(id)
	if err != nil {
		return err
	}
	s = s.forRecord(&rec)
	return s.write(func(t tx) error {
		stored, err := t.finishedAt(rec.Target)
		if err != nil || stored.ID != id {
			return err // nil if another download has replaced it
		}
		if _, err := s.fs.Lstat(rec.Target); errors.Is(err, fs.ErrNotExist) {
			return t.dropFinished(&stored)
		}
		if !s.Intact(stored) {
			return fmt.Errorf("%w: it was changed since", ErrForeign)
		}
		if err := s.removeDurably(stored.Target); err != nil {
			return err
		}
		return t.dropFinished(&stored)
	})
}
