package store

// This file deals with files that are at their target already: somebody else has put them
// there, has moved or copied them, or has changed their modification time. The caller, or
// the recorded checksums, must prove their bytes before they are recorded.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pawl/chunk"
)

// Stamp returns the stamp of the regular file at the absolute path target. ok is false if
// there is none.
func (s *Store) Stamp(target string) (m FileStamp, ok bool) {
	info, err := s.fs.Lstat(target)
	if err != nil || !info.Mode().IsRegular() {
		return FileStamp{}, false
	}
	return FileStamp{info.Size(), info.ModTime()}, true
}

// Adopt records the file at rec.Target as finished. The caller must have proved that it
// has the bytes of rec since it had the stamp seen. If another file is there by now, the
// error is ErrForeign. A record without an ID, or that was never created, gets an ID as Create does, and the piece
// checksums of the finished file like, whose bytes it has, unless like is "". Another record of the
// target is replaced. Adopt returns the complete record. Concurrent calls are done as a
// group.
func (s *Store) Adopt(rec Record, like ID, seen FileStamp) (Record, error) {
	if rec.ID == "" || rec.Created.IsZero() {
		if err := s.checkID(&rec); err != nil {
			return rec, err
		}
		rec.chooseID()
		rec.Created = time.Now()
	}
	rec.State, rec.Size, rec.ModTime, rec.Updated, rec.Publishing, rec.Replaces = Done, seen.Size, seen.ModTime, time.Now(), false, FileStamp{}
	rec.Held = chunk.NewSet(chunk.Range{End: rec.Size})
	s.syncAdopted(rec.Target)
	if now, ok := s.Stamp(rec.Target); !ok || now.Size != seen.Size || !now.ModTime.Equal(seen.ModTime) {
		return rec, fmt.Errorf("%q: %w", rec.Target, ErrForeign)
	}
	return rec, s.adoptions.do(adoption{&rec, like})
}

// An adoption is a call of Adopt.
type adoption struct {
	rec  *Record
	like ID
}

// syncAdopted makes a file of another program durable. If the system cannot sync a file
// that is open for reading, or the file belongs to another user, it may be lost in a power
// failure soon after; the next run then finds that it is not as recorded.
func (s *Store) syncAdopted(target string) {
	f, err := s.fs.OpenRead(target)
	if err != nil {
		return
	}
	defer f.Close()
	if f, ok := f.(interface{ Sync() error }); ok {
		f.Sync()
	}
}

// recordAdopted does the adoptions of a group in one transaction, and returns one error per
// file.
func (s *Store) recordAdopted(group []adoption) []error {
	errs := make([]error, len(group))
	err := s.write(func(t tx) error {
		for i, a := range group {
			if errs[i] = t.checkNames(a.rec); errs[i] != nil && errors.Is(errs[i], ErrPartFile) {
				continue
			}
			errs[i] = nil // errNameTaken: an adopted file needs no part file
			if err := errors.Join(t.put(a.rec), t.putPages(a.rec.ID, t.pages(a.like))); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range errs {
		errs[i] = errors.Join(errs[i], err)
	}
	return errs
}

// AdoptAll records the files that other processes or machines have finished, in one
// transaction, and completes the records in place: each gets an ID. It looks at no file. The caller should pass some
// thousand records at most. Another record of a target, finished or not, is replaced,
// and the file keeps its claims.
//
// A record whose target is no path below Options.Root, or whose size is not known, is left
// out, and so is one whose target is the part file of another download (ErrPartFile).
// The error names each of them, and all others are recorded. If the error is an ErrState,
// none is.
func (s *Store) AdoptAll(records []Record) error {
	wrong := make([]error, len(records))
	for i := range records {
		if wrong[i] = s.checkFinished(&records[i]); wrong[i] == nil {
			records[i].completeFinished()
		}
	}
	skipped := make([]error, len(records))
	err := s.write(func(t tx) error {
		for _, i := range byTarget(records) {
			if skipped[i] = wrong[i]; skipped[i] != nil {
				continue
			}
			if skipped[i] = t.checkTargetName(&records[i]); skipped[i] != nil {
				continue
			}
			if err := t.adoptFinished(&records[i]); err != nil {
				return fmt.Errorf("%q: %w", records[i].Target, err)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrState) {
		err = fmt.Errorf("%w: %w", ErrState, err)
	}
	return errors.Join(errors.Join(skipped...), err)
}

// byTarget returns the indexes of records in the order of their targets, in which the ledger is written fastest.
// Of two records with one target, the later one stays the later one.
func byTarget(records []Record) []int {
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(records[a].Target, records[b].Target) })
	return order
}

// checkFinished returns an error unless r can be the record of a finished file.
func (s *Store) checkFinished(r *Record) error {
	if r.Size < 0 {
		return fmt.Errorf("%q: its size is not known", r.Target)
	}
	if !r.Lists.areValid() {
		return fmt.Errorf("%q: the key of a list is not valid", r.Target)
	}
	return s.checkPath(r.Target)
}

// completeFinished makes r the record of a finished file. It gets a new ID, because the ID of another state
// directory may be taken here.
func (r *Record) completeFinished() {
	r.ID, r.State, r.Publishing, r.Replaces = NewID(), Done, false, FileStamp{}
	r.Held = chunk.NewSet(chunk.Range{End: r.Size})
	r.Updated = time.Now()
	if r.Created.IsZero() {
		r.Created = r.Updated
	}
}

// adoptFinished writes r and replaces the other records of its target. If one of them is of the
// same file, r gets its checksums.
func (t tx) adoptFinished(r *Record) error {
	if old, err := t.unfinishedAt(r.Target); err == nil {
		r.Lists = r.Lists.With(old.Lists...)
		if err := t.drop(&old); err != nil {
			return err
		}
	}
	var pages []sumPage
	if old, err := t.finishedAt(r.Target); err == nil {
		r.Lists = r.Lists.With(old.Lists...)
		if old.Size == r.Size && old.ModTime.Equal(r.ModTime) && old.PieceLength == r.PieceLength && r.PieceLength > 0 {
			pages = t.pages(old.ID)
		}
	}
	return errors.Join(t.putFinished(r), t.putPages(r.ID, pages)) // not put: nothing else has the ID
}
