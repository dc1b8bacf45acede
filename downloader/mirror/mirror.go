// Package mirror brings a directory in line with lists of files: it skips what is
// there, fetches the rest over all hosts at once, tries again what failed, and says
// of each file how it ended.
//
// A run has three parts, which work side by side. The reader takes entries from
// the lists, asks the ledger which of them are there already, and queues the
// others by host. The scheduler starts a fetch wherever a host has room, so that a
// slow or dead host holds nothing but its own files. What failed, and may not fail
// again, is queued for the next round. Memory does not grow with the lists, but for
// a few bytes a file to know what they have named.
package mirror

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/store"
)

// Options say what is to be done. Dir must be set.
type Options struct {
	Dir  string // absolute; nothing is written outside of it
	Temp string // directory of temporary files; default that of the system

	Jobs      int           // files at once; default as many as keep the connections of each host busy
	Rounds    int           // how often an entry is tried; default 3
	RoundWait time.Duration // before the second round, three times as long before each further one; default 10s

	Update    bool   // ask servers whether finished files have changed
	Prune     bool   // delete files that earlier runs made and no list names any more
	MaxDelete Limit  // of Prune
	LegacyKey string // key under which earlier versions claimed the files of all lists; Prune releases it if every list may prune; default none
	DryRun    bool   // fetch and delete nothing, and record nothing

	// Request is what all requests have in common.
	Request downloader.Request
	// ForList completes a request for a file of a list. Default none.
	ForList func(list string, req *downloader.Request)
	// Sum returns the digest of a file by its path below Dir, if any is known
	// besides that of its entry. Default none.
	Sum func(path string) (chunk.Sum, error)

	// OnOutcome is told how each file ended, OnProblem what is wrong with the
	// lists, and OnRound that files are tried again after a wait; never two of
	// them at once. They must not wait for the run.
	OnOutcome func(Outcome)
	OnProblem func(error)
	OnRound   func(round, files int, wait time.Duration)

	// Stop, once closed, lets nothing new begin; what is under way is completed.
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
	if o.OnRound == nil {
		o.OnRound = func(int, int, time.Duration) {}
	}
	return o
}

// A State says how a file ended.
type State string

// The states of an Outcome.
const (
	Fetched   State = "fetched"   // from a server, in this run
	Current   State = "current"   // it was there, and nobody was asked
	Unchanged State = "unchanged" // it was there, and the server has no other
	Failed    State = "failed"    // Err
	Pending   State = "pending"   // the run ended before it; Err, if it had failed in an earlier round
	Wanted    State = "wanted"    // it would be fetched (DryRun)
	Pruned    State = "pruned"    // deleted, as the lists no longer name it
)

// An Outcome is how one file ended.
type Outcome struct {
	Entry  list.Entry // zero where Pruned
	Path   string     // absolute
	State  State
	URL    string            // that was asked last, with what credentials the list has
	Result downloader.Result // of Fetched and Unchanged
	Record store.Record      // what was on record before, if anything
	Rounds int               // in which it was tried
	Err    error
}

// Counts are how far a run has come.
type Counts struct {
	Listed, Current, Unchanged, Fetched, Failed, Pending, Wanted, Pruned int

	Problems int   // of the lists
	Again    int   // files that wait for the next round
	Bytes    int64 // received
	Read     bool  // the lists are read to their end
}

// Waiting returns how many of the files listed so far have not ended.
func (c Counts) Waiting() int {
	return c.Listed - c.Current - c.Unchanged - c.Fetched - c.Failed - c.Pending - c.Wanted
}

// A Run is one run, from the lists to their outcomes.
type Run struct {
	d    *downloader.Downloader
	st   *store.Store
	opts Options

	telling sync.Mutex // orders what Options' functions are told

	mu      sync.Mutex
	changed *sync.Cond // on mu: there may be something to do
	queue   *queue     // of this round; guarded by mu
	again   *queue     // of the next; guarded by mu
	hosts   map[string]*host
	sweep   int      // number of hosts at which idle ones are looked for
	running int      // that have a connection, or wait for one
	doubted int      // of those, begun before their host had answered
	shy     []string // hosts that wait for one of those to end
	placing int      // that wait to be made durable
	bytes   int64    // of the items of all these
	reading bool
	over    bool // nothing more is queued
	round   int
	counts  Counts
	fatal   error // ends the run; guarded by mu

	named naming
}

// NewRun returns a run that Do does.
func NewRun(d *downloader.Downloader, st *store.Store, o Options) *Run {
	o = o.withDefaults()
	m := &Run{d: d, st: st, opts: o, hosts: make(map[string]*host), sweep: 2 * minHostSweep, round: 1, reading: true, named: newNaming(o.Temp)}
	m.changed = sync.NewCond(&m.mu)
	m.queue, m.again = newQueue(o.Temp), newQueue(o.Temp)
	return m
}

// Counts returns how far the run has come. It waits for nothing.
func (m *Run) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts
	c.Again = m.again.Len()
	return c
}

// Do goes through the entries of lists, one list after another, and returns when each
// entry has ended, or has been told as Pending because ctx was cancelled. An error in
// place of a list is a problem of that list. The error of Do is one of the run's own:
// of the lists as a whole, the state file, too much to delete (LimitError), or the
// cause of ctx. It may be called once.
func (m *Run) Do(ctx context.Context, lists iter.Seq2[List, error]) error {
	defer m.drop()
	defer context.AfterFunc(ctx, m.wake)()
	stopped, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends with stopped
		select {
		case <-m.opts.Stop:
			stop()
			m.wake()
		case <-stopped.Done():
		}
	}()
	reader := make(chan error, 1)
	go func() { reader <- m.reader(stopped, lists) }()
	m.schedule(ctx, stopped)
	stop()
	err := m.ended(reader)
	m.rest()
	if m.fatal != nil {
		err = m.fatal
	}
	err = errors.Join(err, m.st.FlushPublished())
	if claimErr := m.claimRest(ctx); err == nil {
		err = claimErr
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if err == nil && m.opts.Prune {
		err = m.prune(ctx)
	}
	return err
}

// ended waits for the reader for a moment, and returns what it has returned.
func (m *Run) ended(reader <-chan error) error {
	err := errUnread
	select {
	case err = <-reader:
	case <-time.After(readerGrace): // it waits for input that may never come
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true // even if the reader comes back
	return err
}

// drop ends the queues, which Counts may still be asked about.
func (m *Run) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue.Close()
	m.again.Close()
	m.named.later.Close()
}

// readerGrace is how long a reader of lists may take to end, when all else has.
const readerGrace = time.Second

// reader is read, which tells the scheduler when it ends.
func (m *Run) reader(ctx context.Context, lists iter.Seq2[List, error]) error {
	err := m.read(ctx, lists)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reading = false
	m.counts.Read = err == nil
	m.changed.Broadcast()
	return err
}

func (m *Run) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed.Broadcast()
}

// fail ends the run because of err.
func (m *Run) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(err)
}

// failLocked is fail with mu held.
func (m *Run) failLocked(err error) {
	m.fatal = errors.Join(m.fatal, err)
	m.changed.Broadcast()
}

// tell counts an outcome and tells it.
func (m *Run) tell(o Outcome) {
	m.mu.Lock()
	c := &m.counts
	n := map[State]*int{
		Fetched: &c.Fetched, Current: &c.Current, Unchanged: &c.Unchanged, Failed: &c.Failed,
		Pending: &c.Pending, Wanted: &c.Wanted, Pruned: &c.Pruned,
	}[o.State]
	*n++
	c.Bytes += o.Result.Fetched
	m.mu.Unlock()
	m.telling.Lock()
	defer m.telling.Unlock()
	m.opts.OnOutcome(o)
}

// problem tells what is wrong with a list.
func (m *Run) problem(err error) {
	var p *list.Problem
	if !errors.As(err, &p) || !p.Warning {
		m.mu.Lock()
		m.counts.Problems++
		m.mu.Unlock()
	}
	m.telling.Lock()
	defer m.telling.Unlock()
	m.opts.OnProblem(err)
}
