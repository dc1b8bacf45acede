package mirror

import (
	"context"

	"pawl/downloader"
	"pawl/store"
)

// A Worker fetches single files as a Run does, for a run of another process (see Elsewhere). It reads
// no lists and has no rounds: whoever calls it decides with MayRecover whether, and where, a file is
// tried again. It does not limit how many files it fetches at once. It is safe for concurrent use.
type Worker struct {
}

// NewWorker returns a Worker. Of o it uses Dir, Update, Request, ForList and OnRest; the Files of a Rest are 0. st must be
// open as long as the worker is used.
func NewWorker(d *downloader.Downloader, st *store.Store, o Options) *Worker {
	panic("not written yet")
}

// Fetch fetches one file, whose Path must be absolute, and returns its outcome. It calls released,
// perhaps more than once, when the file needs no connection any more but is not yet durable; another
// file may start then.
//
// The state is Fetched, Current or Unchanged with the Record of the finished file, which is durable; or Failed; or Pending if ctx has
// ended, or if this process cannot write any more files (see Ended): then another worker must have the file. Rounds is 1 more than it.Rounds.
//
// A host that has failed or refused many files in a row rests for a minute, in which its files fail
// without a request; WasNotTried reports that, and MayRecover is then true.
//
// The record of the item comes from the process that has queued it. If the store of the worker has a
// record of the path, that one is used instead. Otherwise the record of a finished file is adopted
// into the store, and that of an unfinished one is ignored: whoever wants to resume it must have
// imported it.
func (w *Worker) Fetch(ctx context.Context, it *Item, released func()) Outcome {
	panic("not written yet")
}

// Ended returns the error because of which this process can fetch no more files, for example because
// the disk is full; nil while it can.
func (w *Worker) Ended() error {
	panic("not written yet")
}
