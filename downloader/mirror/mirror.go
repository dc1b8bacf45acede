// Package mirror downloads the files that lists name into a directory. It skips files that are
// there already, fetches the others from all hosts at once, tries failed files again, and
// reports an outcome for each file.
//
// A [Run] consists of three parts that work concurrently:
//
//  1. The reader reads the entries of the lists in order. It looks up their files in the state
//     file in batches, records that the list names them, and queues the files that must be
//     fetched, by host.
//  2. The scheduler takes an item from the queue whenever its host has room. The hosts take
//     turns, so that a slow or dead host delays only its own files.
//  3. A fetch tries the sources of an item in turn. If all of them fail for a reason that may
//     pass, such as a timeout or an HTTP error 503, the item is queued for the next round. If a
//     host fails or refuses many files in a row, it rests: its other items go there untried.
//
// A file that the disk has no room for, or that cannot be written because the directory has become
// read-only, ends the run in order: no further file starts, and those left are reported as Pending.
//
// A round ends when nothing is queued or running any more. The next round begins after a wait
// and tries the items that have failed. After the last round, a run with [Options.Prune] deletes
// the files that earlier runs fetched and that the lists no longer name.
//
// With [Options.Elsewhere], other processes fetch the files. The reader then sends the items there in
// place of queueing them, and a collector takes the outcomes in place of the scheduler: it records the finished
// files in groups, and then reports them. A [Worker] is the fetch of such a process.
//
// Lists may have millions of entries. A queue that outgrows 4 MiB continues in a temporary file, so
// memory grows only by 15 to 25 bytes for each path that the lists name, by 8 to 16 bytes for each
// file to fetch, and by about 100 bytes for each host that has such files.
//
//	mirror.go     Options, Outcome, Counts; run.go, Run
//	reader.go     reads lists; namer.go, naming.go, pathset.go, names of files; item.go, Item
//	ledger.go     looks up and claims files in the state file; moved.go, moved directories
//	scheduler.go  chooses the next item; queue.go, spool.go, waiting items; hosts.go, rests of hosts
//	fetcher.go    fetches an item; end.go, failures that end the run
//	elsewhere.go  Elsewhere; collector.go, outcomes of other processes; worker.go, Worker
//	prune.go      deletes files; limit.go, how many; shard.go, Shard; report.go, counts and callbacks
package mirror

import (
	"cmp"
	"context"
	"errors"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/store"
)

// Options are the settings of a Run. Dir must be set; the zero value of every other field is
// usable.
type Options struct {
	Dir  string // absolute path; the run writes no file outside of it
	Temp string // directory for temporary files; default: the system's

	Naming Naming // how files are named that have no name in their list

	Jobs      int           // files that may be fetched at once; default: enough to keep the connections to each host busy
	Rounds    int           // how often a file is tried; default 3
	RoundWait time.Duration // wait before the second round, tripled before each further one; default 10s

	Update    bool  // ask the servers whether finished files have changed
	Prune     bool  // delete files that earlier runs fetched and that no list names any more
	MaxDelete Limit // how many files Prune may delete; default: half of them, but at least ten
	DryRun    bool  // fetch, delete and record nothing; report outcomes Wanted and Pruned
	Shard     Shard // the files of the lists that this run fetches and prunes; default: all of them

	// Elsewhere fetches the files in other processes, in place of this one, which then uses neither
	// Jobs nor Rounds. Prune must not be set. With DryRun nothing is sent. Default: none.
	Elsewhere Elsewhere

	// Request is the template of the request for each file.
	Request downloader.Request
	// ForList completes the request for a file of the named list, for example with the
	// credentials of the list. It may be called concurrently. Default: none.
	ForList func(list string, req *downloader.Request)
	// Sum returns the digest of a file by its slash-separated path below Dir, for entries
	// without a digest. The zero Sum means that none is known. Default: none is known.
	Sum func(path string) (chunk.Sum, error)
	// SumBy says whose the digests of Sum are, as List.SumBy.
	SumBy downloader.Proof

	// OnOutcome reports how a file ended, OnProblem an error in a list, OnRest that the files
	// of a host are not tried any more in this round, and OnRound that the files that are
	// missing will be tried again after a wait. The run calls one of them at a time.
	// They must not wait for the run, because the run waits for them; they may call Counts.
	OnOutcome func(Outcome)
	OnProblem func(error)
	OnRest    func(Rest)
	OnRound   func(round, files int, wait time.Duration)
	// OnRead reports that all lists were read to their end, and that all files that must be fetched are queued, here or
	// elsewhere. It may be called at the same time as the others. ctx ends when no more files may start. Default: none.
	OnRead func(ctx context.Context)

	// Stop, once closed, prevents the run from starting more files. Running ones complete.
	Stop <-chan struct{}
}

func (o Options) withDefaults() Options {
	o.Rounds = cmp.Or(o.Rounds, 3)
	o.RoundWait = cmp.Or(o.RoundWait, 10*time.Second)
	if o.Sum == nil {
		o.Sum = func(string) (chunk.Sum, error) { return chunk.Sum{}, nil }
	}
	if o.OnOutcome == nil {
		o.OnOutcome = func(Outcome) {}
	}
	if o.OnProblem == nil {
		o.OnProblem = func(error) {}
	}
	if o.OnRest == nil {
		o.OnRest = func(Rest) {}
	}
	if o.OnRead == nil {
		o.OnRead = func(context.Context) {}
	}
	if o.OnRound == nil {
		o.OnRound = func(int, int, time.Duration) {}
	}
	return o
}

// A State says how a file ended.
type State string

// The states of an Outcome.
const (
	Fetched   State = "fetched"   // the file was downloaded in this run
	Current   State = "current"   // the file was there, and no server was asked
	Unchanged State = "unchanged" // the file was there, and the server has no newer version
	Failed    State = "failed"    // the file could not be fetched; see Err
	Pending   State = "pending"   // the run ended before the file did; Err is set if it failed in an earlier round
	Wanted    State = "wanted"    // a run without DryRun would fetch the file
	Pruned    State = "pruned"    // the file was deleted because the lists no longer name it, or would be without DryRun
)

// An Outcome says how one file ended.
type Outcome struct {
	Entry  list.Entry       // the entry that names the file; zero if Pruned
	Path   string           // absolute path of the file
	SumBy  downloader.Proof // whose the digest of Entry is; "" if it has none
	State  State
	URL    string            // the source that was asked last, including any credentials in the list
	Result downloader.Result // of the last request; set if Fetched, Unchanged or Failed
	Record store.Record      // the record of the file when it was last looked up, zero if there was none; of a file that a Worker or an Elsewhere has finished, the new one
	Rounds int               // number of rounds in which the file was tried
	Err    error             // why the file failed
	Key    string            // Item.Key of the file if it was fetched elsewhere; otherwise ""
}

// A Rest says that a host has failed or refused so many files in a row that the others are not
// tried until the next round. In the last round, they fail.
type Rest struct {
	Host  string // origin, for example "https://example.com"
	Files int    // queued files of the host; there are more if a list has not been read to its end
	Err   error  // the last failure
}

// WasNotTried reports whether err is the failure of a file that was not tried in the last round
// of a run, because its host was at rest.
func WasNotTried(err error) bool {
	var rest *restError
	return errors.As(err, &rest)
}

// NotTried returns err, which is the text of such a failure from another process, as an error for which
// WasNotTried is true.
func NotTried(err error) error { return toldNotTried{err} }

// toldNotTried is the failure of a file that another process has not tried.
type toldNotTried struct{ error }

func (e toldNotTried) Unwrap() []error { return []error{e.error, &restError{err: e.error}} }

// Counts say how far a run has come. Listed counts each path once, however many entries name it.
type Counts struct {
	Listed, Current, Unchanged, Fetched, Failed, Pending, Wanted, Pruned int

	Gone     int   // of Failed: the server says for good that the file is not there, with HTTP error 404 or 410
	Problems int   // errors in the lists, without warnings
	Clashes  int   // files whose names by their URLs other files have, too
	ToRetry  int   // files that wait for the next round
	LeftOut  int   // files of earlier runs that Prune keeps because their lists, as they were read, do not cover them
	Bytes    int64 // received bytes
	Read     bool  // all lists were read to the end
}

// Waiting returns how many of the files listed so far have no outcome yet.
func (c Counts) Waiting() int {
	return c.Listed - c.Current - c.Unchanged - c.Fetched - c.Failed - c.Pending - c.Wanted
}
