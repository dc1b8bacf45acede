package mirror

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"pawl/downloader/failure"
	"pawl/store"
)

// maxUnfit is how many files in a row may be too large for the free space before the disk counts
// as full. It must be more than one, because a single huge file should not keep smaller ones
// from being fetched. A guess; each further one costs a request that fetches nothing.
const maxUnfit = 3

// An EndedError reports that a run has started no more files, because each of them would have
// failed for the same local reason: the disk is full, or the directory is no longer writable.
// Files that were running have ended; the others are Pending.
type EndedError struct {
	Err error // of the file that has ended the run, or of the directory
}

func (e *EndedError) Error() string { return "no further files are fetched: " + e.Err.Error() }

func (e *EndedError) Unwrap() error { return e.Err }

// An endJudge decides whether the failure of a file ends the run. It is safe for concurrent use.
type endJudge struct {
	store *store.Store
	dir   string       // Options.Dir
	unfit atomic.Int32 // files in a row that were larger than the free space
}

// judge returns an EndedError if further files would fail as one did that ended with err; nil if
// err is nil.
func (j *endJudge) judge(err error) *EndedError {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil:
		j.unfit.Store(0)
	case failure.TryOtherSource(err): // of a server
	case errors.Is(err, store.ErrDoesNotFit):
		if j.unfit.Add(1) >= maxUnfit {
			return &EndedError{err}
		}
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &EndedError{err}
	case errors.Is(err, store.ErrState), errors.As(err, &path), errors.As(err, &link):
		if dirErr := j.store.CheckWritable(j.dir); dirErr != nil {
			return &EndedError{dirErr}
		}
	}
	return nil
}
