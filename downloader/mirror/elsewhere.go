package mirror

import (
	"context"
	"iter"
)

// An Elsewhere fetches the files of a run in other processes. A run with one still reads the lists,
// looks up which files are there, records the files that were fetched, and reports each outcome; see
// Options.Elsewhere.
//
// Send and Flush are called by one goroutine, and Outcomes by another one at the same time. All of
// them must return soon after their ctx has ended.
type Elsewhere interface {
	// Send queues a file that must be fetched. It may keep the file until it has enough for a
	// batch, or until Flush, and it may block while there is no room. A file that was sent
	// by an earlier process of the same run, as its Item.Key says, must not be queued again; its
	// outcome is still awaited. Send must not change the item, but may keep it. After an error the
	// file is Pending, and the run ends with the error.
	Send(ctx context.Context, it *Item) error
	// Flush returns when all files that were sent are queued and durable there. It is called at the
	// end of the lists, and about every second while they are read.
	Flush(ctx context.Context) error
	// Outcomes yields how the files ended. It is called once, when the reading of the lists begins.
	//
	// Outcome.Key must be the Item.Key of the file. The run itself adds the Entry and SumBy
	// of the item, and its Path unless the outcome has another one, which must be absolute. The Record of a file that is
	// Fetched, Current or Unchanged must be the record of the finished file; the run records it at
	// Path before it reports the outcome. Result should be complete, because the report shows it.
	// Rounds must be counted.
	//
	// An outcome may come before Send has been called for its file, because an earlier process of the run
	// has sent it; the run then keeps it until then. Of several outcomes of a file, the
	// first one counts. Outcomes of files that no list names any more are not reported, but
	// the finished files are recorded.
	//
	// The run ends ctx when each file that it has sent has an outcome. If Outcomes ends before, or
	// yields an error, the run ends, the other files are Pending, and Run.Do returns the error.
	Outcomes(ctx context.Context) iter.Seq2[Outcome, error]
	// Sees reports whether the files that are fetched are in Options.Dir of this process. If it
	// returns false, the run believes its records, and does not look for the files.
	Sees() bool
}
