package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
)

// maxReadAheadBytes bounds the text of the entries that are read but not yet queued. Entries of
// honest lists have about 100 bytes, so that a batch of maxLookupBatch needs 25 KiB. Half of the
// limit is still more than enough for these; double costs 8 MiB more with a hostile list.
const maxReadAheadBytes = 8 << 20

// errUnread is the error of a reader that was stopped before the end of the lists.
var errUnread = errors.New("the lists were not read to their end")

// A reader turns the entries of the lists into items, and queues the items that must be fetched.
// One goroutine reads entries and another one looks them up in batches, so that reading and
// parsing do not wait for the state file.
type reader struct {
	opts   Options
	report *reporter
	names  *naming
	namer  *namer
	ledger *ledger
	sched  *scheduler
	fail   func(error) // ends the run

	elsewhere *collector // gets the items in place of sched; nil for none
}

// read processes the entries of lists until ctx ends. It returns errUnread if some entries were
// not processed; it has then passed the reason, unless that is ctx, to fail.
func (r *reader) read(ctx context.Context, lists iter.Seq2[List, error]) (err error) {
	if err := r.namer.loadNames(r.ledger.store); err != nil {
		r.fail(err)
		return errUnread
	}
	found := make(chan *Item, 2*maxLookupBatch) // a batch in progress and the next one
	room := newByteBudget(maxReadAheadBytes)
	var lookups sync.WaitGroup
	lookups.Go(func() {
		var flush <-chan time.Time // never, unless files go elsewhere
		if r.elsewhere != nil {
			tick := time.NewTicker(flushInterval)
			defer tick.Stop()
			flush = tick.C
		}
		for batch := range batches(found, flush) {
			lookupErr := r.process(ctx, batch)
			room.release(totalSize(batch))
			if lookupErr != nil && err == nil {
				err = errUnread
				r.fail(lookupErr)
			}
		}
		if flushErr := r.flush(ctx); flushErr != nil && err == nil {
			err = errUnread
			r.fail(flushErr)
		}
	})
	for l, listErr := range lists {
		if ctx.Err() != nil {
			break
		}
		if listErr != nil { // this list cannot be opened; the others still can
			r.report.problem(listErr)
			continue
		}
		r.readList(ctx, l, func(it *Item) {
			it.entrySize = min(int64(it.Entry.Len()), maxReadAheadBytes)
			room.acquire(it.entrySize) // needs no ctx: process returns soon once ctx has ended
			found <- it
		})
	}
	close(found)
	lookups.Wait()
	if err == nil && ctx.Err() != nil {
		err = errUnread
	}
	return err
}

// readList passes an item for each new path of a list to found, until ctx ends.
func (r *reader) readList(ctx context.Context, l List, found func(*Item)) {
	r.names.open(l)
	r.namer.clashes = nil
	if l.Again != nil {
		clashes, err := r.namer.scan(ctx, l.Again, &r.names.paths)
		if err != nil && ctx.Err() == nil {
			r.report.problem(err)
			return
		}
		r.report.update(func(c *Counts) { c.Clashes += clashes })
	}
	for e, err := range l.Entries {
		if ctx.Err() != nil {
			return
		}
		var it *Item
		if err == nil {
			it, err = r.newItem(&l, e)
		}
		if it != nil {
			found(it)
		}
		if err != nil {
			r.report.problem(err)
		}
	}
}

// newItem returns the item of an entry of a list, or nil if the entry must not be
// fetched. Even then the list claims the path, so that no other list prunes the file.
func (r *reader) newItem(l *List, e list.Entry) (*Item, error) {
	key, sumBy := l.Key, cmp.Or(l.SumBy, downloader.ProofList)
	problem := func(err error) error { return &list.Problem{List: e.List, Line: e.Line, Err: err} }
	hasName := e.Out != ""
	e, byURL := r.namer.name(e)
	rel, err := localPath(r.opts.Dir, e)
	if err != nil {
		return nil, problem(err)
	}
	urlKey := weburl.Key(e.URLs[0])
	status := r.names.name(key, rel, urlKey)
	for wanted := rel; status == otherURL && !hasName; { // the list can be read only once
		rel, byURL = r.namer.nextName(wanted), true
		e.Dir, e.Out = "", filepath.ToSlash(rel)
		r.report.update(func(c *Counts) { c.Clashes++ })
		status = r.names.name(key, rel, urlKey)
	}
	switch status {
	case sameURL:
		r.claimAgain(key, rel)
		return nil, nil
	case otherURL:
		r.claimAgain(key, rel)
		return nil, problem(fmt.Errorf("%q is the path of an earlier entry with another URL; this entry is skipped", rel))
	}
	if e.Sum.IsZero() {
		if e.Sum, err = r.opts.Sum(filepath.ToSlash(rel)); err != nil {
			r.deferClaim(key, rel)
			return nil, problem(err)
		}
		sumBy = cmp.Or(r.opts.SumBy, downloader.ProofList)
	}
	if e.Sum.IsZero() {
		sumBy = ""
	}
	if !r.opts.Shard.owns(rel, e.URLs[0]) { // last, so that all shards agree on names and problems
		return nil, nil
	}
	r.report.update(func(c *Counts) { c.Listed++ })
	return &Item{Entry: e, List: key, Path: filepath.Join(r.opts.Dir, rel), ByURL: byURL, ServerName: r.opts.Naming.Server && !hasName && !byURL, unnamed: !hasName, SumBy: sumBy}, nil
}

// claimAgain claims a path that an earlier entry has named. If the run has seen one list only,
// the earlier entry was of the same list and has claimed the path already.
func (r *reader) claimAgain(key, rel string) {
	if len(r.names.lists) > 1 {
		r.deferClaim(key, rel)
	}
}

// deferClaim defers a claim, and ends the run if the temporary file cannot be written.
func (r *reader) deferClaim(key, rel string) {
	if err := r.ledger.deferClaim(key, rel); err != nil {
		r.fail(err)
	}
}

// localPath returns the path of an entry relative to dir. It is an error if the path is outside
// of dir, or dir itself. An absolute path is accepted if it is below dir.
func localPath(dir string, e list.Entry) (string, error) {
	name := e.Out
	if name == "" {
		name = downloader.FilenameFromURL(e.URLs[0])
	}
	path := filepath.FromSlash(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.FromSlash(e.Dir), path)
	}
	if filepath.IsAbs(path) {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return "", err
		}
		path = rel
	}
	if strings.HasSuffix(name, "/") || !filepath.IsLocal(path) || path == "." {
		return "", fmt.Errorf("%q is not in the directory %q; this entry is skipped", filepath.Join(e.Dir, name), dir)
	}
	// Package os replaces invalid bytes on Windows, so that two such names could be one file.
	if runtime.GOOS == "windows" && !utf8.ValidString(path) {
		return "", fmt.Errorf("%q is not valid UTF-8, which Windows requires of file names; this entry is skipped", path)
	}
	return path, nil
}

// process looks up and claims the files of a batch. It reports current files and queues the
// others. If ctx has ended, it still claims all files, because the lists have named them, but
// reports them as Pending and queues none. An empty batch makes the files that were sent elsewhere
// durable.
func (r *reader) process(ctx context.Context, batch []*Item) error {
	if len(batch) == 0 {
		return r.flush(ctx)
	}
	err := r.ledger.lookUpAndClaim(batch)
	if err != nil || ctx.Err() != nil {
		r.report.pending(batch...)
		return err
	}
	for i, it := range batch {
		current, err := r.ledger.isCurrent(it)
		switch {
		case err != nil:
			r.report.outcome(it.outcome(Failed, err))
		case current:
			r.report.outcome(it.outcome(Current, nil))
		case r.opts.DryRun:
			r.report.outcome(it.outcome(Wanted, nil))
		default:
			if it.isNew() {
				r.names.newFiles++
			}
			if err := r.queue(ctx, it); err != nil {
				r.report.pending(batch[i:]...)
				return err
			}
		}
	}
	return nil
}

// queue queues an item here or elsewhere. errUnread means that the run has ended.
func (r *reader) queue(ctx context.Context, it *Item) error {
	if r.elsewhere == nil {
		return r.sched.push(it)
	}
	err := r.elsewhere.send(ctx, it)
	if err != nil && ctx.Err() != nil {
		return errUnread
	}
	return err
}

// flush makes the items that were sent elsewhere durable there, unless ctx has ended.
func (r *reader) flush(ctx context.Context) error {
	if r.elsewhere == nil || ctx.Err() != nil {
		return nil
	}
	if err := r.elsewhere.flush(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// batches yields the items in batches of at most maxLookupBatch. A batch holds the items that are
// there; it does not wait for more, because the input may be slow. Whenever flush sends a time, an empty
// batch is yielded.
func batches(found <-chan *Item, flush <-chan time.Time) iter.Seq[[]*Item] {
	return func(yield func([]*Item) bool) {
		for {
			var batch []*Item
			select {
			case <-flush:
			case it, ok := <-found:
				if !ok {
					return
				}
				batch = append(batch, it)
			}
			for len(batch) > 0 && len(batch) < maxLookupBatch && len(found) > 0 {
				batch = append(batch, <-found)
			}
			if !yield(batch) {
				return
			}
		}
	}
}

// totalSize returns the sum of the entry sizes of a batch.
func totalSize(batch []*Item) (n int64) {
	for _, it := range batch {
		n += it.entrySize
	}
	return n
}

// A byteBudget is a semaphore that counts bytes.
type byteBudget struct {
	mu    sync.Mutex
	freed *sync.Cond // on mu
	left  int64      // bytes that can be acquired; guarded by mu
}

func newByteBudget(n int64) *byteBudget {
	b := &byteBudget{left: n}
	b.freed = sync.NewCond(&b.mu)
	return b
}

// acquire waits until n bytes are left and takes them. n must not exceed the whole budget, because
// acquire would never return.
func (b *byteBudget) acquire(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left < n {
		b.freed.Wait()
	}
	b.left -= n
}

// release gives n bytes back.
func (b *byteBudget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	b.freed.Broadcast()
}
