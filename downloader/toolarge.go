package downloader

// This file is about files that are larger than they may be.

import (
	"errors"
	"fmt"

	"pawl/downloader/failure"
	"pawl/store"
)

// A tooLargeError is an failure.ErrTooLarge.
type tooLargeError struct {
	what    string
	arrived bool // the bytes beyond the limit are in the part file, and not only announced
}

func (e tooLargeError) Error() string { return e.what }

// Is is for errors.Is.
func (e tooLargeError) Is(kind error) bool {
	return kind == failure.ErrTooLarge || kind == failure.ErrProtocol
}

// checkSize returns an error if a file of size bytes, -1 if unknown, is larger than it may be.
func (j *job) checkSize(size int64) error {
	if most := j.req.MaxSize; most > 0 && size > most {
		return failure.Permanent(tooLargeError{what: fmt.Sprintf("it has %d bytes, and %d are allowed", size, most)})
	}
	return nil
}

// checkArrived returns an error if more of a file of unknown size is there than there may be.
// A known size is checked before; of such a file some bytes may arrive twice.
func (j *job) checkArrived() error {
	if most := j.req.MaxSize; most > 0 && j.version.Size < 0 && j.progress.held.Load() > most {
		return failure.Permanent(tooLargeError{what: fmt.Sprintf("it has more than the %d bytes that are allowed", most), arrived: true})
	}
	return nil
}

// dropTooLarge forgets the download rec, which must be closed, with its part file if err says
// that too much is in it.
func (j *job) dropTooLarge(rec store.Record, err error) error {
	var large tooLargeError
	if !errors.As(err, &large) || !large.arrived || rec.ID == "" {
		return err
	}
	j.progress.held.Store(0)
	return errors.Join(err, j.d.store.Remove(rec.ID, true))
}
