package downloader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

// This file repairs files whose bytes are not as recorded:
//
//	unfinished                        the wrong pieces become missing, and it is resumed
//	finished, some pieces are right   it becomes an unfinished download without the wrong
//	                                  pieces (store.Reopen). The fetched ones must have the
//	                                  recorded checksums
//	finished, nothing is known to     it is downloaded anew, and replaced at the end. The new
//	be right, or missing              one must have the recorded digest or checksum
//
// A finished file is touched only after the server has shown that it still has the recorded version.

// repair prepares the repair of the download on record. It reports whether there is nothing to do.
func (l lookup) repair(ctx context.Context, rec store.Record) (current bool, err error) {
	if rec.State != store.Done {
		if current, err := l.open(ctx, rec); current || err != nil {
			return current, err
		}
		lost, err := l.file.verifyAll(ctx)
		if lost > 0 {
			l.emit(Event{Kind: Lost, Held: lost})
		}
		return false, err
	}
	l.progress.show(rec)
	if err := l.requireVersion(ctx, rec); err != nil {
		return false, err
	}
	right := chunk.NewSet(chunk.Range{End: rec.Size})
	for r := range l.goal.wrong.Wrong.All() {
		right.Remove(r)
	}
	if right.Len() == 0 || rec.PieceLength <= 0 {
		l.fetchAnew(rec)
		return false, nil
	}
	id, err := l.engine.store.Reopen(rec, l.goal.wrong.Wrong)
	if err != nil {
		return false, err
	}
	part, err := l.engine.store.Resume(id)
	if err != nil {
		return false, errors.Join(err, l.engine.store.PutBack(id))
	}
	l.progress.show(part.Record())
	return false, l.resume(part)
}

// fetchAnew makes the download replace the finished file of rec. The digest of the record or, if it
// has none, the checksum of the file is the digest that the new one must have.
func (l lookup) fetchAnew(rec store.Record) {
	l.goal.record, l.goal.output, l.goal.named, l.goal.replace = "", rec.Target, rec.Named, true
	if l.goal.sum.IsZero() {
		l.goal.sum = rec.Sum
	}
	if l.goal.sum.IsZero() && rec.PieceLength <= 0 && rec.CRC != 0 {
		l.goal.sum, _ = chunk.NewSum("crc32c", binary.BigEndian.AppendUint32(nil, rec.CRC))
	}
	l.version.digest = l.goal.promise()
}

// requireVersion asks the server whether it still has the version of a finished file. Otherwise the
// error is failure.ErrChanged. Machines that share a load may disagree about validators, so another
// version is asked for again.
func (l lookup) requireVersion(ctx context.Context, rec store.Record) error {
	if err := l.acquireFirst(ctx, l.engine.host(l.origin.url)); err != nil {
		return err
	}
	defer l.first.release()
	was, why := versionOf(rec), ""
	for n := range maxStateRequests {
		if n > 0 {
			if err := sleep(ctx, conflictDelay); err != nil {
				return err
			}
		}
		rep, err := l.askFirstByte(ctx, nil)
		if err != nil && !errors.Is(err, errUnsatisfiable) {
			return err
		}
		rep.close()
		now := rep.Version
		if err != nil && now.Size < 0 { // no range of an empty file is valid
			now.Size = 0
		}
		if err := decided(was.Unexpected(now), ""); err != nil {
			return err
		}
		if why = was.Differs(now); why == "" {
			return nil
		}
	}
	return failure.Permanent(failure.New(failure.ErrChanged, fmt.Sprintf("the remote file has changed since it was downloaded: %s; the file here was not touched", why)))
}

// provesRepair returns an error if the pieces of a repaired file do not have the checksums that the
// finished file had.
func (j *job) provesRepair() error {
	differs, err := j.file.part.Differs()
	if errors.Is(err, store.ErrNoSums) || err == nil && differs.Len() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return failure.Permanent(failure.New(failure.ErrChanged, fmt.Sprintf("the server sends other bytes than were downloaded before, in %d of %d bytes", differs.Len(), j.version.Size)))
}
