package mirror

// This file is about what a list names, and whether it is there already.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/store"
)

// lookMost is how many entries are looked up in one transaction: its memory is
// that of the pages it touches.
const maxLookupBatch = 256

// lookBytes is how much text the entries have together that are read and not yet queued.
// Entries of honest lists have 100 bytes, so that lookMost of them have 25 KiB. Half of it
// is still more than they need, double costs a run of a hostile list 8 MiB more.
const maxReadAheadBytes = 8 << 20

// An item is what the queue keeps of an entry that has to be fetched.
type item struct {
	Entry     list.Entry
	List      string       // key
	Path      string       // absolute
	Record    store.Record // of the path, zero for nothing
	Rounds    int          // in which it was tried
	LastError string       // why it failed the last time

	size int64 // bytes: of Entry while it is read, lookBytes at most; of its JSON while it is fetched
}

// read goes through the entries of lists until ctx ends.
func (m *Run) read(ctx context.Context, lists iter.Seq2[List, error]) (err error) {
	found := make(chan *item, 2*maxLookupBatch)
	room := newByteBudget(maxReadAheadBytes)
	var looking sync.WaitGroup
	looking.Go(func() {
		for batch := range batches(found) {
			lookErr := m.look(ctx, batch)
			room.release(totalSize(batch))
			if lookErr != nil && err == nil {
				err = errUnread
				m.fail(lookErr)
			}
		}
	})
	for l, listErr := range lists {
		if ctx.Err() != nil {
			break
		}
		if listErr != nil { // of one list of several
			m.problem(listErr)
			continue
		}
		m.readList(ctx, l, func(it *item) {
			it.size = min(int64(it.Entry.Len()), maxReadAheadBytes)
			room.acquire(it.size) // look releases it soon, also after the end of ctx
			found <- it
		})
	}
	close(found)
	looking.Wait()
	if err == nil && ctx.Err() != nil {
		err = errUnread
	}
	return err
}

// A budget is how many bytes may be in use at once.
type byteBudget struct {
	mu    sync.Mutex
	freed *sync.Cond // on mu
	left  int64      // guarded by mu
}

func newByteBudget(n int64) *byteBudget {
	b := &byteBudget{left: n}
	b.freed = sync.NewCond(&b.mu)
	return b
}

// take waits until n bytes are left, which must be no more than the budget, and takes them.
func (b *byteBudget) acquire(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left < n {
		b.freed.Wait()
	}
	b.left -= n
}

// give gives n bytes back.
func (b *byteBudget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	b.freed.Broadcast()
}

// weight returns how many bytes the entries of a batch have.
func totalSize(batch []*item) (n int64) {
	for _, it := range batch {
		n += it.size
	}
	return n
}

// readList goes through the entries of one list until ctx ends.
func (m *Run) readList(ctx context.Context, l List, found func(*item)) {
	m.named.open(l)
	for e, err := range l.Entries {
		if ctx.Err() != nil {
			return
		}
		var it *item
		if err == nil {
			it, err = m.newItem(l.Key, e)
		}
		if it != nil {
			found(it)
		}
		if err != nil {
			m.problem(err)
		}
	}
}

// errUnread says that a list was not read to its end, because the run ended.
var errUnread = errors.New("the lists were not read to their end")

// batches gathers what is there without waiting for more.
func batches(found <-chan *item) iter.Seq[[]*item] {
	return func(yield func([]*item) bool) {
		for it := range found {
			batch := []*item{it}
			for len(batch) < maxLookupBatch && len(found) > 0 {
				batch = append(batch, <-found)
			}
			if !yield(batch) {
				return
			}
		}
	}
}

// place returns where an entry of the list with this key goes, nil if an earlier one
// has named the same file.
func (m *Run) newItem(key string, e list.Entry) (*item, error) {
	wrong := func(err error) error { return &list.Problem{List: e.List, Line: e.Line, Err: err} }
	rel, err := localPath(m.opts.Dir, e)
	if err != nil {
		return nil, wrong(err)
	}
	m.named.names(key)
	switch m.named.seen.Add(rel, e.URLs[0]) {
	case sameURL:
		m.nameAgain(key, rel)
		return nil, nil
	case otherURL:
		m.nameAgain(key, rel)
		return nil, wrong(fmt.Errorf("%q is the path of an earlier entry, too; it is not fetched", rel))
	}
	if e.Sum.IsZero() {
		if e.Sum, err = m.opts.Sum(filepath.ToSlash(rel)); err != nil {
			m.claimLater(key, rel)
			return nil, wrong(err)
		}
	}
	m.mu.Lock()
	m.counts.Listed++
	m.mu.Unlock()
	return &item{Entry: e, List: key, Path: filepath.Join(m.opts.Dir, rel)}, nil
}

// localPath returns the path of e below dir, which it must not leave.
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
		return "", fmt.Errorf("%q is not in the directory %q; it is not fetched", filepath.Join(e.Dir, name), dir)
	}
	if runtime.GOOS == "windows" && !utf8.ValidString(path) { // package os would give two such names the same characters
		return "", fmt.Errorf("%q is not UTF-8, as names are on Windows; it is not fetched", path)
	}
	return path, nil
}

// look asks the ledger for a batch of entries, which it also claims, and queues those
// that have to be fetched.
func (m *Run) look(ctx context.Context, batch []*item) error {
	err := m.recall(batch) // even if ctx has ended, because the lists have named them
	if err != nil || ctx.Err() != nil {
		m.pending(batch)
		return err
	}
	for i, it := range batch {
		there, err := m.isThere(it)
		switch {
		case err != nil:
			m.tell(it.outcome(Failed, err))
		case there:
			m.tell(it.outcome(Current, nil))
		case m.opts.DryRun:
			m.tell(it.outcome(Wanted, nil))
		default:
			if it.isNew() {
				m.named.fresh++
			}
			if err := m.push(it); err != nil {
				m.pending(batch[i:])
				return err
			}
		}
	}
	return nil
}

// isThere reports whether the ledger and the disk have what the entry wants, so
// that nobody has to be asked.
func (m *Run) isThere(it *item) (bool, error) {
	r, e := it.Record, it.Entry
	if r.ID == "" || r.State != store.Done || m.opts.Update || m.opts.Request.Restart {
		return false, nil
	}
	if e.Size >= 0 && e.Size != r.Size || !e.Sum.IsZero() && e.Sum != r.Sum {
		return false, nil
	}
	if !slices.ContainsFunc(e.URLs, func(u string) bool { return downloader.CanonicalURL(u) == r.URL }) {
		return false, nil
	}
	return m.st.Reconcile(r)
}

// push queues it for this round.
func (m *Run) push(it *item) error {
	b, err := it.encode()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return errUnread
	}
	m.changed.Signal()
	return m.queue.Push(it.host(), b)
}

// fresh reports whether the file will be one of lists, and no earlier run has finished
// it. An unfinished download that replaces a file has that one on record, too.
func (it *item) isNew() bool {
	r := it.Record
	return r.ID == "" || r.State != store.Done && !r.Replace && len(r.Lists) > 0
}

// host is that of the best source.
func (it *item) host() string { return downloader.Origin(it.Entry.URLs[0]) }

func (it *item) outcome(s State, err error) Outcome {
	return Outcome{Entry: it.Entry, Path: it.Path, State: s, URL: it.Entry.URLs[0], Record: it.Record, Rounds: it.Rounds, Err: err}
}

// pending tells that the run ended before these.
func (m *Run) pending(items []*item) {
	for _, it := range items {
		var err error
		if it.LastError != "" {
			err = errors.New(it.LastError)
		}
		m.tell(it.outcome(Pending, err))
	}
}
