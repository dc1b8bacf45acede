package store

import (
	"errors"
	"sync"
	"time"
)

// Bounds of a batch, and of the rest between two batches. All values are guesses.
const (
	// maxBatch is the number of items per batch. Twice as many make the callers of one
	// batch wait twice as long; half as many cost more syncs.
	maxBatch = 256

	// fullBatch is the number of waiting items that ends a rest early: the fixed cost of
	// a batch is then small per item, so waiting for more items gains little. With half
	// as many, a batch costs more per item; with twice as many, callers wait longer.
	fullBatch = 64

	// The leader rests for half of the duration of the last batch, so that batches
	// take at most two thirds of the time and items can gather. A rest lasts minRest to
	// maxRest. A shorter minRest lets fewer items gather, a longer one delays a lone
	// caller. maxRest bounds the delay of a lone caller on a slow disk.
	restShare = 2
	minRest   = 5 * time.Millisecond
	maxRest   = 100 * time.Millisecond
)

// A batcher implements group commit, for work that costs little more for many items than
// for one, such as a sync or a transaction. It starts no goroutine: a caller that finds no
// batch in progress becomes the leader and processes all items that are waiting. Items
// that arrive during a batch form the next one, and the oldest of their callers leads it.
// Safe for concurrent use.
type batcher[T any] struct {
	work func([]T) []error // does the work of a batch and returns one error per item
	rest bool              // the leader lets items gather for a while before it takes them

	mu      sync.Mutex
	waiting []waiter[T] // oldest first; guarded by mu
	leading bool        // a leader exists; guarded by mu

	full chan struct{} // of capacity 1; has a value when fullBatch items wait
	next time.Time     // end of the rest after the last batch; owned by the leader
}

// A waiter is a caller that waits for the result of its item.
type waiter[T any] struct {
	item   T
	result chan error // of capacity 1, so that the leader never blocks on a caller
}

// errLead is the result of a waiter that must lead the next batch. Its own item is then
// still waiting, and part of that batch.
var errLead = errors.New("lead the next batch")

// newBatcher returns a batcher that calls work for each batch. With rest, the leader
// waits for more items first; see gather.
func newBatcher[T any](rest bool, work func([]T) []error) *batcher[T] {
	return &batcher[T]{work: work, rest: rest, full: make(chan struct{}, 1)}
}

// do processes item in a batch and returns its error. It blocks until the batch is done.
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

// lead processes one batch and then appoints the next leader. The batch includes the
// caller's item, because it is the oldest one.
func (b *batcher[T]) lead() {
	if b.rest {
		b.gather()
	}
	defer b.appointLeader() // even if the work panics, or every later call would block
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

// gather waits until the rest is over or a full batch is waiting.
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

// appointLeader makes the oldest waiter the next leader, if there is one.
func (b *batcher[T]) appointLeader() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leading = len(b.waiting) > 0; b.leading {
		b.waiting[0].result <- errLead
	} else {
		b.waiting = nil // frees the array
	}
}
