package store

// This file is about files that a list no longer names.

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"
)

// releaseTime is how long one call of Release may go on to delete files, because
// other processes wait for its transaction. They give up after lockTimeout, which
// leaves room for one very large file. With a tenth of it, many small files would
// need ten times as many transactions.
const maxReleaseTime = time.Second

// A Released is a finished file from which Release took claims.
type Released struct {
	Record  Record // as it was before
	Deleted bool
	Err     error // why it was not deleted, or not durably; its claims stay

	unclaimed bool // no list claims it any more
}

// Release takes the claims of keys from finished files. A file that no list claims
// any more is deleted if it is as it was left; in any case it is forgotten. All is one
// transaction:
//
//  1. look at the claims on record, delete the file
//  2. fsync the directories
//  3. commit: entries lose claims, or go
//
// So no other process can claim a file between the look and the deletion. A crash
// before 3 leaves entries without files, as if somebody had deleted these.
//
// Release returns an result for each of the first records, at least one, and nothing
// for those that it had no time for.
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

// release is step 1 for one file. It also writes the entry of a file that other
// lists claim.
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

// forgetReleased takes the entries out of the ledger that no list claims any more.
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

// Abandon takes the claims of keys from the unfinished download id. If no list claims
// it any more, its part file is deleted and then its record, and Abandon reports
// true. ErrBusy if it is running; then its claims stay.
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
			return err // another process was faster
		}
		if rec.Lists = rec.Lists.Without(keys...); len(rec.Lists) > 0 {
			return t.rewrite(&rec)
		}
		if isOurs {
			if err := s.fs.Remove(rec.Part()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		removed = true
		return t.drop(&rec)
	})
	return removed && err == nil, err
}

// RemoveEmpty removes dir, and then the directories above it, as long as they are
// empty. It never removes root, which must be above dir, or a symbolic link.
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
