package mirror

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/store"
)

const (
	// readerStopTimeout is how long a run that ends waits for its reader, which may be blocked
	// on input that never comes, such as a terminal. A guess: half of it might abandon a
	// reader in the middle of a lookup; double is a noticeable wait after Ctrl-C.
	readerStopTimeout = time.Second

	// roundWaitFactor: each wait between rounds is three times as long as the wait before it,
	// for example 10 s, 30 s, 90 s. A guess: a server that restarts is back within the
	// first two. Five rounds wait 7 minutes in all; with a factor of 2 it would be 2.5
	// minutes, and with 6 it would be 43.
	roundWaitFactor = 3
)

// A Run is one pass over the lists. Its parts have their own locks and hold none while they call
// each other.
type Run struct {
	opts   Options
	store  *store.Store
	report *reporter
	names  *naming // owned by the reader until it ends, then by prune
	ledger *ledger
	sched  *scheduler
	fetch  fetcher
	end    endJudge

	elsewhere *collector // in place of sched and fetch; nil if this process fetches the files
}

// NewRun returns a run, which Do starts.
func NewRun(d *downloader.Downloader, st *store.Store, o Options) *Run {
	o = o.withDefaults()
	m := &Run{opts: o, store: st, names: newNaming()}
	m.report = &reporter{onOutcome: o.OnOutcome, onProblem: o.OnProblem, onRest: o.OnRest, onRound: o.OnRound}
	m.ledger = newLedger(st, m.names, o)
	m.sched = newScheduler(o, d.MaxParallel)
	m.fetch = fetcher{d: d, opts: o, ledger: m.ledger, moves: &moveFinder{store: st, dir: o.Dir}, names: m.names, hosts: m.sched, onRest: m.report.rest}
	m.end = endJudge{store: st, dir: o.Dir}
	if o.Elsewhere != nil && !o.DryRun {
		m.elsewhere = newCollector(m)
	}
	return m
}

// Counts returns how far the run has come. It may be called at any time and by any goroutine.
func (m *Run) Counts() Counts {
	c := m.report.snapshot()
	c.ToRetry = m.sched.retryCount()
	return c
}

// Do processes the entries of the lists, one list after another, and returns when each file has
// an outcome. If ctx is cancelled or Options.Stop is closed, the remaining files have the outcome
// Pending, including the files that were sent elsewhere. Do must be called at most once.
//
// An error that the sequence of lists yields in place of a list goes to OnProblem and does not
// end the run. Do returns errors of the run as a whole: of the state file or a temporary file, an
// EndedError, ErrNotPruned, ErrUndeleted, a LimitError, or the cause of ctx.
func (m *Run) Do(ctx context.Context, lists iter.Seq2[List, error]) error {
	defer m.close()
	defer context.AfterFunc(ctx, m.sched.wake)()
	starting, stop := context.WithCancel(ctx) // ends when no more files may start
	defer stop()
	go func() { // ends with starting, which Do cancels
		select {
		case <-m.opts.Stop:
			stop()
			m.sched.wake()
		case <-starting.Done():
		}
	}()
	read := make(chan error, 1) // buffered, because nobody receives after readerStopTimeout
	go func() { read <- m.read(starting, lists) }()
	if m.elsewhere != nil {
		m.elsewhere.collect(starting)
	} else {
		m.fetchAll(ctx, starting)
	}
	stop()
	err := m.awaitReader(read)
	m.reportRest()
	if fatal := m.sched.failure(); fatal != nil {
		err = fatal
	}
	err = errors.Join(err, m.store.FlushPublished())
	if claimErr := m.ledger.claimDeferred(ctx); err == nil { // after the files are on record, because claims need a record
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

// read runs the reader, and lets the scheduler know when it ends.
func (m *Run) read(ctx context.Context, lists iter.Seq2[List, error]) error {
	r := &reader{opts: m.opts, report: m.report, names: m.names, namer: newNamer(m.opts), ledger: m.ledger, sched: m.sched, elsewhere: m.elsewhere, fail: m.fail}
	err := r.read(ctx, lists)
	m.report.update(func(c *Counts) { c.Read = err == nil })
	if err == nil {
		m.opts.OnRead(ctx)
	}
	m.sched.readerEnded()
	if m.elsewhere != nil {
		m.elsewhere.readerEnded()
	}
	return err
}

// fail ends the run because of err.
func (m *Run) fail(err error) {
	m.sched.fail(err)
	if m.elsewhere != nil {
		m.elsewhere.wake()
	}
}

// awaitReader returns the error of the reader, or errUnread if the reader does not end within
// readerStopTimeout. Whatever the reader finds afterwards is ignored.
func (m *Run) awaitReader(read <-chan error) error {
	err := errUnread
	select {
	case err = <-read:
	case <-time.After(readerStopTimeout):
	}
	m.sched.stop()
	m.ledger.stop()
	if m.elsewhere != nil {
		m.elsewhere.stop()
	}
	return err
}

// close removes the temporary files. Counts may still be called.
func (m *Run) close() {
	m.sched.close()
	m.ledger.close()
	if m.elsewhere != nil {
		m.elsewhere.close()
	}
}

// fetchAll fetches the queued files, round by round, until all have ended or one of the contexts
// ends. ctx interrupts running fetches; starting only prevents new ones. All fetches have
// ended when fetchAll returns.
func (m *Run) fetchAll(ctx, starting context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for round := 1; ; {
		if j := m.sched.next(starting); j != nil {
			jobs.Go(func() { m.fetchJob(ctx, j) })
			continue
		}
		jobs.Wait()
		if starting.Err() != nil || !m.awaitRound(starting, round) {
			return
		}
		round++
	}
}

// awaitRound waits and then starts the round after the given one. It returns false if there is
// nothing to try again, or if ctx ends.
func (m *Run) awaitRound(ctx context.Context, round int) bool {
	n := m.sched.retryCount()
	if n == 0 || m.sched.failure() != nil {
		return false
	}
	wait := m.opts.RoundWait
	for range round - 1 {
		wait *= roundWaitFactor
	}
	m.report.round(round+1, n, wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	m.sched.startRound()
	return true
}

// fetchJob fetches one file. It reports the outcome, or queues the file for the next round.
func (m *Run) fetchJob(ctx context.Context, j *job) {
	it := j.item
	o := m.fetch.fetch(ctx, it, Steps{Released: func() { m.sched.publishing(j) }})
	o.Rounds = it.Rounds + 1
	retry := o.State == Failed && MayRecover(o.Err) && o.Rounds < m.maxRounds(o.Err)
	m.sched.done(j)
	if end := m.end.judge(o.Err); end != nil && ctx.Err() == nil {
		m.sched.end(end)
	}
	switch {
	case o.State == Failed && ctx.Err() != nil:
		o.State = Pending
	case retry:
		it.Rounds, it.LastError = o.Rounds, o.Err.Error()
		err := m.sched.retry(j)
		if err == nil {
			return // the outcome is reported in a later round
		}
		m.sched.fail(err)
	}
	m.report.outcome(o)
}

// maxRounds returns how often a file is tried that fails with err. A file whose path is the
// part file of another file must wait until the other file is finished, which costs a round.
func (m *Run) maxRounds(err error) int {
	if errors.Is(err, store.ErrPartFile) {
		return m.opts.Rounds + 1
	}
	return m.opts.Rounds
}

// reportRest reports the files that are still queued, here or elsewhere, as Pending.
func (m *Run) reportRest() {
	if m.elsewhere != nil {
		m.elsewhere.reportRest()
	}
	for {
		it, err := m.sched.takeRest()
		if err != nil {
			m.sched.fail(err)
		}
		if it == nil {
			return
		}
		m.report.pending(it)
	}
}
