package mirror

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// maxLookupBatch is the number of entries in one transaction of the state file. A
	// transaction needs memory for the pages that it touches, a few for each entry. A
	// guess: half of it doubles the number of transactions, double their memory.
	maxLookupBatch = 256

	// claimTimeout is how long an interrupted run continues to record claims, so that an
	// interrupted pawl ends soon. A guess: half of it leaves more claims of long lists to
	// the next run, which is harmless; double delays the end of pawl by as much.
	claimTimeout = 500 * time.Millisecond
)

// A ledger looks up files in the state file and claims them for the lists of a run. A claim
// records that a list names a file; a file is pruned only if no list claims it any more.
//
// A ledger is safe for concurrent use.
type ledger struct {
	store   *store.Store
	names   *naming
	dir     string // Options.Dir
	dryRun  bool   // record no claims
	absent  bool   // the files are not in dir of this process (Elsewhere.Sees), so that only their records count
	refetch bool   // even a file that is current must be requested (Options.Update or Request.Restart)

	expects func(mediaType string) bool // reports whether a file may have the media type

	mu       sync.Mutex
	deferred *queue // paths below dir to claim at the end of the run, by key of the list; guarded by mu
	stopped  bool   // nothing more may be deferred; guarded by mu
}

func newLedger(st *store.Store, names *naming, o Options) *ledger {
	absent := o.Elsewhere != nil && !o.Elsewhere.Sees()
	return &ledger{store: st, names: names, dir: o.Dir, dryRun: o.DryRun, absent: absent, refetch: o.Update || o.Request.Existing.Restart, expects: o.Request.Expects, deferred: newQueue(o.Temp)}
}

// lookUpAndClaim sets the records of a batch and claims the files for the lists of the items. The
// caller must look at the files on disk only afterwards, because another process that prunes
// may delete a file until it is claimed.
func (l *ledger) lookUpAndClaim(batch []*Item) error {
	if err := l.lookUp(batch); err != nil {
		return err
	}
	for _, it := range batch {
		if it.isOthers() {
			if err := l.avoidOthers(it); err != nil {
				return err
			}
		}
	}
	if l.dryRun {
		return nil
	}
	var claims []store.Claim
	for _, it := range batch {
		if it.needsClaim() {
			claims = append(claims, store.Claim{Target: it.Path, List: it.List})
		}
	}
	if len(claims) == 0 {
		return nil
	}
	if err := l.store.Claim(claims); err != nil {
		return err
	}
	return l.lookUp(batch)
}

// avoidOthers gives an item the next numbered path that no other file has.
func (l *ledger) avoidOthers(it *Item) error {
	wanted := it.Path
	for n := 1; it.isOthers() || it.Record.ID == "" && (l.exists(it) || l.names.isKept(l.dir, it.Path)); n++ {
		it.Path = downloader.NumberedName(wanted, n)
		if err := l.lookUp([]*Item{it}); err != nil {
			return err
		}
	}
	rel, err := filepath.Rel(l.dir, it.Path)
	if err != nil {
		return err
	}
	it.Entry.Dir, it.Entry.Out, it.ByURL = "", filepath.ToSlash(rel), true
	l.names.keep(l.dir, it.Path)
	return nil
}

// lookUp sets the records of a batch.
func (l *ledger) lookUp(batch []*Item) error {
	targets := make([]string, len(batch))
	for i, it := range batch {
		targets[i] = it.Path
	}
	records, err := l.store.LookupTargets(targets)
	if err != nil {
		return err
	}
	for i, it := range batch {
		it.Record = records[i]
	}
	return nil
}

// refresh sets the record of an item again after a failed request, which may have left an
// unfinished download, or after another process may have fetched the file. If the state file
// cannot be read, the old record stays.
func (l *ledger) refresh(it *Item) { l.lookUpAndClaim([]*Item{it}) }

// isCurrent reports whether the file is on disk, here or elsewhere, as the entry wants it, so that no server needs to
// be asked. The record must have been looked up.
func (l *ledger) isCurrent(it *Item) (bool, error) {
	r, e := it.Record, it.Entry
	if r.ID == "" || r.State != store.Done || l.refetch || r.Type != "" && !l.expects(r.Type) {
		return false, nil
	}
	if e.Size >= 0 && e.Size != r.Size || !e.Sum.IsZero() && e.Sum != r.Sum {
		return false, nil
	}
	if e.Sum.IsZero() && !slices.ContainsFunc(e.URLs, func(u string) bool { return weburl.Canonical(u) == r.URL }) {
		return false, nil
	}
	if l.absent {
		return true, nil
	}
	return l.store.Reconcile(r)
}

// exists reports whether a regular file is at the path of the item, as far as this process sees it.
func (l *ledger) exists(it *Item) bool {
	_, ok := l.store.Stamp(it.Path)
	return ok && !l.absent
}

// deferClaim notes that a list names a path for which there is no item, so that
// claimDeferred claims it. That must wait until the end of the run, because the file of the path
// may only be on record once another item is fetched.
func (l *ledger) deferClaim(key, rel string) error {
	if l.dryRun {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return nil
	}
	return l.deferred.Push(key, []byte(rel))
}

// claimDeferred records the deferred claims. It must be called after all fetches have ended and
// their records are flushed. If ctx ends, it continues for claimTimeout and then leaves the
// remaining claims to the next run.
func (l *ledger) claimDeferred(ctx context.Context) error {
	var deadline time.Time // zero until ctx ends
	for deadline.IsZero() || time.Now().Before(deadline) {
		claims, err := l.nextDeferred()
		if err != nil || len(claims) == 0 {
			return err
		}
		if err := l.store.Claim(claims); err != nil {
			return err
		}
		if deadline.IsZero() && ctx.Err() != nil {
			deadline = time.Now().Add(claimTimeout)
		}
	}
	return nil
}

// nextDeferred removes and returns the next batch of deferred claims.
func (l *ledger) nextDeferred() (claims []store.Claim, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(claims) < maxLookupBatch {
		key, rel, ok, err := l.deferred.Next(func(string) bool { return true })
		if err != nil || !ok {
			return claims, err
		}
		claims = append(claims, store.Claim{Target: filepath.Join(l.dir, string(rel)), List: key})
	}
	return claims, nil
}

// stop makes deferClaim ignore further paths, in case the reader is still blocked.
func (l *ledger) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

// close removes the temporary file. stop must have been called.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deferred.Close()
}
