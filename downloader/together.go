package downloader

// This file is about work that costs little more for many than for one.

import (
	"errors"
	"sync"
	"time"
)

const (
	groupMost  = 256                    // that are done together, at most
	groupGood  = 64                     // of so many, each costs little: nothing more is waited for
	groupRest  = 5 * time.Millisecond   // at the least between two groups, for one to gather
	groupShare = 2                      // a group is followed by a rest of its own length, divided by this
	groupWait  = 100 * time.Millisecond // the longest of these rests
)

// A together does work for whole groups: whoever comes while no group is under way
// leads one, of all that wait by then, and those that come meanwhile make the
// next. Safe for concurrent use.
type together[T any] struct {
	all  func([]T) []error // does the work of a group
	rest bool              // between two groups, for more to gather

	mu      sync.Mutex
	waiting []companion[T] // guarded by mu
	leading bool           // a group is under way; guarded by mu
	good    chan struct{}  // of capacity 1, told that a good group waits
	next    time.Time      // when the next group may go; of the leader
}

// A companion is one that waits for its group.
type companion[T any] struct {
	what T
	done chan error // of capacity 1; errLead makes its owner the next leader
}

// errLead tells one that waits to lead the next group, itself among it.
var errLead = errors.New("lead the next group")

func newTogether[T any](rest bool, all func([]T) []error) *together[T] {
	return &together[T]{all: all, rest: rest, good: make(chan struct{}, 1)}
}

// do returns when what has been done, in a group.
func (t *together[T]) do(what T) error {
	me := companion[T]{what, make(chan error, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, me)
	if len(t.waiting) == groupGood {
		select {
		case t.good <- struct{}{}:
		default:
		}
	}
	lead := !t.leading
	t.leading = true
	t.mu.Unlock()
	if !lead {
		if err := <-me.done; err != errLead {
			return err
		}
	}
	t.lead()
	return <-me.done
}

// lead does the work of those that wait, the caller's first, and passes the lead on.
func (t *together[T]) lead() {
	if t.rest {
		t.gather()
	}
	t.mu.Lock()
	n := min(len(t.waiting), groupMost)
	group := t.waiting[:n:n]
	t.waiting = t.waiting[n:]
	t.mu.Unlock()
	all := make([]T, n)
	for i, w := range group {
		all[i] = w.what
	}
	begun := time.Now()
	for i, err := range t.all(all) {
		group[i].done <- err
	}
	t.next = time.Now().Add(min(max(groupRest, time.Since(begun)/groupShare), groupWait))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leading = len(t.waiting) > 0; t.leading {
		t.waiting[0].done <- errLead
	} else {
		t.waiting = nil
	}
}

// gather waits until a group is worth its while.
func (t *together[T]) gather() {
	t.mu.Lock()
	good := len(t.waiting) >= groupGood
	t.mu.Unlock()
	if good {
		return
	}
	timer := time.NewTimer(time.Until(t.next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.good:
	}
}
