package store

// This file is about IDs that a caller chooses for new downloads.

import (
	"errors"
	"fmt"
)

// ErrIDTaken reports that another download has the ID that was chosen for a new one.
var ErrIDTaken = errors.New("another download has this ID")

// chooseID gives r a random ID, unless the caller has chosen one.
func (r *Record) chooseID() {
	if r.ID == "" {
		r.ID = NewID()
	}
}

// checkID returns ErrIDTaken if the download of another target has the chosen ID of r. If there is
// none, it reads the whole ledger, as Get does.
func (s *Store) checkID(r *Record) error {
	if r.ID == "" {
		return nil
	}
	if err := r.ID.Check(); err != nil {
		return err
	}
	old, err := s.Get(r.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil && old.Target != r.Target:
		return fmt.Errorf("%s: %w, %q", r.ID, ErrIDTaken, old.Target)
	}
	return err
}

// freeID makes the chosen ID of r, a new unfinished download, free: a finished file at its target that
// has the ID gets another one, with its checksums, because both are on record until the download
// ends. An unfinished download of another target keeps it, and the error is ErrIDTaken.
func (t tx) freeID(r *Record) error {
	if t.Bucket(recordBucket).Get([]byte(r.ID)) != nil {
		return fmt.Errorf("%s: %w", r.ID, ErrIDTaken)
	}
	old, err := t.finishedAt(r.Target)
	if err != nil || old.ID != r.ID { // an entry that cannot be read is replaced at the end
		return nil
	}
	pages := t.pages(old.ID)
	if err := t.dropPages(old.ID); err != nil {
		return err
	}
	old.ID = NewID()
	return errors.Join(t.putPages(old.ID, pages), t.rewrite(&old))
}
