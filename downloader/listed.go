package downloader

// This file is about files of lists that are on record already.

import (
	"context"
	"errors"
	"fmt"

	"pawl/downloader/failure"
	"pawl/store"
)

// A ListEntry says what a list and the ledger know of a file beforehand, so that
// nothing has to be looked up for it.
type ListEntry struct {
	Record store.Record // what is on record of the target, the zero Record for nothing
	Lists  store.Lists  // those that claim the file once it is fetched
	Size   int64        // bytes that the file must have; -1 unknown
	Update bool         // ask whether a finished file has changed
	// Released is told that the file needs no connection any more, and waits for
	// others to be made durable with it.
	Released func()
}

// findListed is find for a file of a list.
func (j *job) findListed() (store.Record, error) {
	rec := j.req.ListEntry.Record
	if rec.ID != "" {
		return rec, nil
	}
	target, err := absTarget(j.req.Dir, j.req.Output)
	if err == nil {
		err = j.d.store.CheckTarget(target, j.req.Overwrite)
	}
	if err == nil {
		err = store.ErrNotFound
	}
	return rec, err
}

// reopenListed looks whether a finished file is what the list wants. If not, it is
// fetched anew, and replaced at the end: what is there is ours, even if somebody
// has altered it.
func (j *job) reopenListed(ctx context.Context, rec store.Record) (current bool, err error) {
	j.named = true
	intact, err := j.d.store.Reconcile(rec)
	switch {
	case err != nil:
		return false, err
	case !intact && !j.d.store.OwnFile(rec) && !j.req.Overwrite:
		return false, fmt.Errorf("%q: %w", rec.Target, store.ErrForeign)
	case intact && rec.URL != j.recorded && len(rec.Lists) == 0 && !j.req.Overwrite:
		return false, claimed(rec)
	case !intact && len(rec.Lists) == 0 && !j.req.Overwrite && j.d.store.Exists(rec): // no list has made it
		return false, fmt.Errorf("%q has been changed since it was downloaded: %w", rec.Target, store.ErrForeign)
	}
	if intact && rec.URL == j.recorded && !j.req.Restart && j.fits(versionOf(rec)) == nil {
		if current, err := j.stillWanted(ctx, rec); current || err != nil {
			return current, err
		}
	}
	j.req.Overwrite = true
	return false, j.d.store.CheckTarget(rec.Target, true)
}

// stillWanted compares an intact file with the list's digest and, if that is asked
// for, with what the server has.
func (j *job) stillWanted(ctx context.Context, rec store.Record) (bool, error) {
	if j.req.ListEntry.Update {
		same, err := j.unchanged(ctx, rec)
		if err != nil {
			return false, err
		}
		if !same && j.req.FailOnChange {
			return false, errOtherNow
		}
		if !same {
			return false, nil
		}
	}
	err := j.recheckSum(ctx, rec)
	if errors.Is(err, failure.ErrChecksum) { // the list wants another version
		return false, nil
	}
	if err == nil && !j.req.Sum.IsZero() && j.req.Sum != rec.Sum {
		rec.Sum = j.req.Sum
		err = j.d.store.Amend(rec)
	}
	if err != nil {
		return false, err
	}
	j.have.Store(rec.Size)
	return true, nil
}
