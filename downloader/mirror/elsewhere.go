package mirror

import (
	"context"
	"errors"
	"iter"
)

// ErrDetached ends Elsewhere.Outcomes if another process will report the files.
var ErrDetached = errors.New("another process reports the files")

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
	// Outcomes yields how the files ended, from the first outcome of the run, also if an earlier process has
	// received it. It is called once, when the reading of the lists begins. The run ends ctx when
	// each file that it has sent has an outcome. If Outcomes ends before, or yields an error, the run
	// ends, the other files are Pending, and Run.Do returns the error. After ErrDetached, Run.Do returns
	// no error, and the other files are only counted as Pending.
	//
	// In an Outcome,
	//
	//   - Key must be the Item.Key of the file;
	//   - Path is "", or the absolute path if it differs from the path of the item, because the server
	//     has named the file;
	//   - Entry and SumBy are not used; the run sets them from the item;
	//   - Record must be the record of the finished file if the file is Fetched, Current or Unchanged.
	//     The run adds the lists that claim the file, and records it before it reports the outcome;
	//   - Result should be complete, because the report of the run shows it, and Rounds must be set.
	//
	// An outcome may come before Send was called for its file, which is then no longer called; the run
	// keeps the outcome until the lists name the file. Of several outcomes of a file, the first one counts.
	// Outcomes of files that no list names any more are not reported, but the finished files are recorded.
	// A file that will be tried again has no outcome yet.
	Outcomes(ctx context.Context) iter.Seq2[Outcome, error]
	// Sees reports whether the files that are fetched are in Options.Dir of this process. If it
	// returns false, the run believes its records, and does not look for the files.
	Sees() bool
}
