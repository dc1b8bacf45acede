package mirror

import (
	"errors"
	"slices"
	"sync"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/list"
)

// A reporter counts outcomes and problems and passes them to the callbacks of Options. It is
// safe for concurrent use.
type reporter struct {
	onOutcome func(Outcome)
	onProblem func(error)
	onRest    func(Rest)
	onRound   func(round, files int, wait time.Duration)
	calling   sync.Mutex // held during a callback; no two callbacks may run at once

	mu     sync.Mutex // not held during callbacks, so that snapshot never waits for them
	counts Counts     // guarded by mu; ToRetry is unused
}

// snapshot returns the counts, except for ToRetry.
func (r *reporter) snapshot() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// update changes the counts that are not counts of outcomes or problems.
func (r *reporter) update(change func(c *Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
}

// outcome counts and reports an outcome. It must be called once for each listed file, because
// Counts.Waiting is the difference of both numbers.
func (r *reporter) outcome(o Outcome) {
	r.count(o)
	r.calling.Lock()
	defer r.calling.Unlock()
	r.onOutcome(o)
}

func (r *reporter) count(o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.counts
	n := map[State]*int{
		Fetched: &c.Fetched, Current: &c.Current, Unchanged: &c.Unchanged, Failed: &c.Failed,
		Pending: &c.Pending, Wanted: &c.Wanted, Pruned: &c.Pruned,
	}[o.State]
	*n++
	if o.State == Failed && failure.IsGone(o.Err) && !slices.ContainsFunc(o.Entry.URLs, isPattern) {
		c.Gone++
	}
	c.Bytes += o.Result.Fetched
}

// isPattern reports whether a URL is a pattern that was not expanded. If it is not there, that says nothing
// about the files that it means.
func isPattern(url string) bool {
	n, err := list.Count(url)
	return err == nil && n > 1
}

// pending reports that the run ends before these items were fetched.
func (r *reporter) pending(items ...*Item) {
	for _, it := range items {
		var err error
		if it.LastError != "" {
			err = errors.New(it.LastError)
		}
		r.outcome(it.outcome(Pending, err))
	}
}

// problem reports an error in a list, and counts it unless it is a warning.
func (r *reporter) problem(err error) {
	var p *list.Problem
	if !errors.As(err, &p) || !p.Warning {
		r.mu.Lock()
		r.counts.Problems++
		r.mu.Unlock()
	}
	r.calling.Lock()
	defer r.calling.Unlock()
	r.onProblem(err)
}

// rest reports that a host rests.
func (r *reporter) rest(h Rest) {
	r.calling.Lock()
	defer r.calling.Unlock()
	r.onRest(h)
}

// round reports that a round with so many files begins after a wait.
func (r *reporter) round(n, files int, wait time.Duration) {
	r.calling.Lock()
	defer r.calling.Unlock()
	r.onRound(n, files, wait)
}
