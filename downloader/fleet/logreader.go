package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/mirror"
)

// waitInterval is how often a LogReader that waits looks whether the run is submitted. Half would ask for more than anybody
// notices; double would end a second late.
const waitInterval = time.Second

// A LogReader reads how the files of a run ended from its log alone.
type LogReader struct {
	// OnOutcome and OnProblem receive the first final outcome of each file, and the problems of the lists. They are called by Read.
	OnOutcome func(mirror.Outcome)
	OnProblem func(Problem)

	mu       sync.Mutex
	counts   mirror.Counts   // guarded by mu, as all fields below
	files    map[itemID]bool // all queued files, and whether they have ended
	ended    int             // of files
	problems map[Problem]struct{}
	current  bool // everything that is in the log was read
}

// Counts returns the counts of all files that were queued. Those that have not ended are Pending.
func (r *LogReader) Counts() mirror.Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.Listed = len(r.files)
	c.Pending = len(r.files) - r.ended
	return c
}

// Read reads the log up to its end or, if wait is set, until everything is queued and has ended. It must be called once. The error is a
// CancelledError if the run was cancelled before.
func (r *LogReader) Read(ctx context.Context, b Broker, run Run, wait bool) error {
	r.files, r.problems = make(map[itemID]bool), make(map[Problem]struct{})
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var waiter sync.WaitGroup
	if wait {
		waiter.Go(func() { stop(r.await(reading, b, run.ID)) })
	}
	for e, err := range b.Log(reading, run.ID, 0) {
		if err != nil {
			stop(err)
			break
		}
		if e.Data != nil {
			err = r.read(e.Data, run.Dir)
		} else {
			r.mu.Lock()
			r.current = true
			r.mu.Unlock()
			if !wait {
				run, err = ReadRun(ctx, b, run.ID)
				r.setRead(run)
				if err == nil && run.Control == Cancelled {
					err = &CancelledError{run.Reason}
				}
				if err == nil {
					err = errAllRead
				}
			}
		}
		if err != nil {
			stop(err)
			break
		}
	}
	waiter.Wait()
	if err := context.Cause(reading); !errors.Is(err, errAllRead) {
		return err
	}
	return nil
}

// errAllRead ends the reading of a log.
var errAllRead = errors.New("everything was read")

// setRead notes whether the run is submitted.
func (r *LogReader) setRead(run Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Read = run.State == Submitted || run.State == Complete
}

// await returns when nothing more can come into the log: errAllRead, a CancelledError, or another error.
func (r *LogReader) await(ctx context.Context, b Broker, id string) error {
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	for {
		run, err := ReadRun(ctx, b, id)
		if err != nil {
			return err
		}
		r.setRead(run)
		r.mu.Lock()
		all := r.current && r.counts.Read && len(r.files) == r.ended
		current := r.current
		r.mu.Unlock()
		switch {
		case all:
			return errAllRead
		case current && run.Control == Cancelled:
			return &CancelledError{run.Reason}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// read reads an entry.
func (r *LogReader) read(data []byte, dir string) error {
	var report Report
	if err := decodeReport(data, &report); err != nil {
		return err
	}
	if report.Version > version {
		return fmt.Errorf("an entry of the log of the run: %w", ErrNewer)
	}
	r.mu.Lock()
	r.current = false
	for _, id := range report.Sent {
		if id := parseID(id); !r.files[id] {
			r.files[id] = false
		}
	}
	r.mu.Unlock()
	for i := range report.Ended {
		if e := &report.Ended[i]; isFinal(*e) && r.note(e) {
			r.OnOutcome(e.outcome(dir))
		}
	}
	for _, p := range report.Problems {
		if _, known := r.problems[p]; !known { // a submitter that has begun again tells it again
			r.problems[p] = struct{}{}
			r.mu.Lock()
			r.counts.Problems++
			r.mu.Unlock()
			r.OnProblem(p)
		}
	}
	return nil
}

// note counts an outcome. It returns false if the file has one already.
func (r *LogReader) note(e *Ended) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := parseID(e.ID)
	if r.files[id] {
		return false
	}
	r.files[id] = true
	r.ended++
	switch e.State {
	case mirror.Fetched:
		r.counts.Fetched++
	case mirror.Current:
		r.counts.Current++
	case mirror.Unchanged:
		r.counts.Unchanged++
	default:
		r.counts.Failed++
		if failure.IsGone(namedError(e.Kind, e.Error)) {
			r.counts.Gone++
		}
	}
	r.counts.Bytes += e.Result.Fetched
	return true
}
