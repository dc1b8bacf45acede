package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
)

// Items that arrive during a batch form the next one, of at most maxBatch.
func TestBatcherGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		b := newBatcher(false, func(items []int) []error {
			sizes = append(sizes, len(items))
			time.Sleep(time.Second)
			errs := make([]error, len(items))
			for i, item := range items {
				errs[i] = fmt.Errorf("item %d", item)
			}
			return errs
		})
		var callers sync.WaitGroup
		for item := range 1 + maxBatch + 10 {
			callers.Go(func() {
				if err := b.do(item); err == nil || err.Error() != fmt.Sprintf("item %d", item) {
					t.Errorf("item %d: got %v, want its own error", item, err)
				}
			})
			synctest.Wait()
		}
		callers.Wait()
		if want := []int{1, maxBatch, 10}; !slices.Equal(sizes, want) {
			t.Errorf("batches: got %v, want %v", sizes, want)
		}
	})
}

// With a rest, the leader waits between two batches, but not if a full batch waits.
func TestBatcherRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := time.Duration(0)
		b := newBatcher(true, func(items []int) []error {
			time.Sleep(took)
			return make([]error, len(items))
		})
		for _, tc := range []struct{ work, rest time.Duration }{
			{0, minRest}, {40 * time.Millisecond, 40 * time.Millisecond / restShare}, {time.Minute, maxRest},
		} {
			time.Sleep(maxRest)
			took = tc.work
			b.do(0)
			took = 0
			start := time.Now()
			b.do(0)
			if got := time.Since(start); got != tc.rest {
				t.Errorf("rest after %v: got %v, want %v", tc.work, got, tc.rest)
			}
		}
		start := time.Now()
		var callers sync.WaitGroup
		for range fullBatch {
			callers.Go(func() { b.do(0) })
		}
		callers.Wait()
		if got := time.Since(start); got != 0 {
			t.Errorf("a full batch waited %v, want no wait", got)
		}
	})
}

// A panic in the work of one batch does not block later calls.
func TestBatcherPanics(t *testing.T) {
	n := 0
	b := newBatcher(false, func(items []int) []error {
		if n++; n == 1 {
			panic("first")
		}
		return make([]error, len(items))
	})
	if err := panicking(func() error { return b.do(0) }); !errors.Is(err, errPanicked) {
		t.Errorf("got %v, want %v", err, errPanicked)
	}
	must(t, b.do(0))
}

// Concurrent commits of many Parts, with several calls for each Part, record all bytes.
func TestCommitsAtOnce(t *testing.T) {
	l := newFixture(t)
	var parts []*Part
	for i := range 10 {
		rec := l.record()
		rec.Target, rec.Named = l.path(fmt.Sprint("f", i)), true
		parts = append(parts, l.opened(l.store.Create(rec)))
	}
	const calls = 5
	var callers sync.WaitGroup
	for _, p := range parts {
		for i := range calls {
			callers.Go(func() {
				_, err := p.WriteAt([]byte{byte(i)}, int64(i))
				if err := errors.Join(err, p.Commit(int64(i))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	callers.Wait()
	for _, p := range parts {
		want := chunk.NewSet(chunk.Range{End: calls})
		if rec, err := l.store.Get(p.Record().ID); err != nil || !rec.Held.Equal(want) {
			t.Errorf("held: got %s, %v, want %s", rec.Held, err, want)
		}
		must(t, p.Close())
	}
}
