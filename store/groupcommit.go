package store

import (
	"errors"
	"sync"
	"time"
)

// These figures bound a batch and the rest between two batches. All are guesses but
// fullBatch, from which on another item costs next to nothing.
const (
	maxBatch  = 256                    // items per batch; twice as many delay the first item's caller for longer
	fullBatch = 64                     // waiting items that end a rest early, because more would not make an item cheaper
	minRest   = 5 * time.Millisecond   // a shorter rest lets fewer items gather; a longer one delays a lone caller
	restShare = 2                      // a batch that took d is followed by a rest of d/restShare
	maxRest   = 100 * time.Millisecond // so that a slow disk does not delay a lone caller for longer
)

// A batcher is a group commit: it does work that costs little more for many items than
// for one, such as a sync or a transaction, once for all concurrent callers. It starts
// no goroutine: a caller that finds no batch under way leads one, which has all items
// that wait by then. Items that arrive meanwhile make the next batch, and the first of
// their callers leads it. Safe for concurrent use.
type batcher[T any] struct {
	work func([]T) []error // does the work of a batch and returns one error per item
	rest bool              // the leader lets items gather for a while before it takes them

	mu      sync.Mutex
	waiting []waiter[T] // oldest first; guarded by mu
	leading bool        // a caller leads a batch, or was appointed to; guarded by mu

	full chan struct{} // of capacity 1; has a value when fullBatch items wait
	next time.Time     // the rest after the last batch ends then; owned by the leader
}

// A waiter is a caller's item and the channel that do waits on.
type waiter[T any] struct {
	item   T
	result chan error // of capacity 1, so that the leader never blocks on a caller
}

// errLead is sent to a waiter that must lead the next batch, which includes its own item.
var errLead = errors.New("lead the next batch")

func newBatcher[T any](rest bool, work func([]T) []error) *batcher[T] {
	return &batcher[T]{work: work, rest: rest, full: make(chan struct{}, 1)}
}

// do returns the error of item when the work of its batch is done.
func (b *batcher[T]) do(item T) error {
	me := waiter[T]{item, make(chan error, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, me)
	if len(b.waiting) == fullBatch {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	lead := !b.leading
	b.leading = true
	b.mu.Unlock()
	if !lead {
		if err := <-me.result; err != errLead {
			return err
		}
	}
	b.lead()
	return <-me.result
}

// lead does the work of one batch, which includes the caller's item because that is
// the oldest, and then appoints the next leader.
func (b *batcher[T]) lead() {
	if b.rest {
		b.gather()
	}
	defer b.appoint() // even if the work panics, or every later call would block
	batch := b.take()
	items := make([]T, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}
	start := time.Now()
	for i, err := range b.work(items) {
		batch[i].result <- err
	}
	rest := min(max(minRest, time.Since(start)/restShare), maxRest)
	b.next = time.Now().Add(rest)
}

// gather waits for the end of the rest, or until a full batch waits.
func (b *batcher[T]) gather() {
	b.mu.Lock()
	isFull := len(b.waiting) >= fullBatch
	b.mu.Unlock()
	if isFull {
		return
	}
	timer := time.NewTimer(time.Until(b.next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.full:
	}
}

// take removes and returns the oldest waiters, at most maxBatch.
func (b *batcher[T]) take() []waiter[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), maxBatch)
	batch := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	return batch
}

// appoint makes the oldest waiter the next leader, if there is one.
func (b *batcher[T]) appoint() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leading = len(b.waiting) > 0; b.leading {
		b.waiting[0].result <- errLead
	} else {
		b.waiting = nil // frees the array
	}
}
