package mirror

// This file is about the lists of a run, and the claims that they have on files.

import (
	"context"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"pawl/downloader/list"
	"pawl/store"
)

// A List is one of the lists of a run.
type List struct {
	// Key names the list in the ledger. It must be the same in each run of the list:
	// 16 hex digits, or store.Nameless if the list has no name of its own.
	Key string
	// Whole says that the end of Entries is known to be the end of the list. A list
	// that may have been cut prunes nothing.
	Complete bool
	// Entries are read once, as list.Read returns them.
	Entries iter.Seq2[list.Entry, error]
}

// claimGrace is how long an interrupted run goes on to record claims.
const claimGrace = 500 * time.Millisecond

// A naming is what the lists of a run have named. The reader has it until it ends,
// except for later.
type naming struct {
	seen  pathSet
	lists map[string]opened // by key
	fresh int               // files to fetch that no earlier run has finished

	// later has paths below Dir that got no item, by key of the list that names them:
	// most of them an earlier list had named. Guarded by mu of Run.
	later *queue
}

// opened is what is known of the lists with one key.
type opened struct{ whole, empty bool }

func newNaming(temp string) naming {
	return naming{lists: make(map[string]opened), later: newQueue(temp)}
}

// open begins a list. Several lists may have one key, and prune together.
func (n *naming) open(l List) {
	was, again := n.lists[l.Key]
	n.lists[l.Key] = opened{whole: l.Complete && (was.whole || !again), empty: was.empty || !again}
}

// names notes that the list with this key names a file.
func (n *naming) names(key string) {
	if l := n.lists[key]; l.empty {
		l.empty = false
		n.lists[key] = l
	}
}

// pruning returns the keys of the lists that may delete files: those that have a
// name, are whole and name something. A list without entries is more likely broken
// than meant. If all lists may, so may together.
func (n *naming) pruning(together string) (keys []string) {
	for key, l := range n.lists {
		if key != store.Nameless && l.whole && !l.empty {
			keys = append(keys, key)
		}
	}
	if together != "" && len(keys) == len(n.lists) && !slices.Contains(keys, together) {
		keys = append(keys, together)
	}
	return keys
}

// claims returns the lists that claim the file of it, once that is fetched. A file
// that was downloaded without a list keeps a claim that no run releases.
func (it *item) claims() store.Lists {
	r := it.Record
	if r.State == store.Done && len(r.Lists) == 0 {
		return r.Lists.With(it.List, store.Nameless)
	}
	return r.Lists.With(it.List)
}

// unclaimed reports whether the claim of its list may be missing from what is on
// record. Of an unfinished download, that may be more than the record of it.
func (it *item) needsClaim() bool {
	r := it.Record
	return r.ID != "" && (r.State != store.Done || len(r.Lists) > 0 && !r.Lists.Has(it.List))
}

// recall looks up what is on record of a batch, and claims it for its lists. The
// caller must look at the disk afterwards: until then another process, which prunes,
// may delete a file, and no longer when it is claimed.
func (m *Run) recall(batch []*item) error {
	if err := m.lookUp(batch); err != nil || m.opts.DryRun {
		return err
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
	if err := m.st.Claim(claims); err != nil {
		return err
	}
	return m.lookUp(batch)
}

// lookUp sets the records of a batch.
func (m *Run) lookUp(batch []*item) error {
	targets := make([]string, len(batch))
	for i, it := range batch {
		targets[i] = it.Path
	}
	records, err := m.st.LookupTargets(targets)
	if err != nil {
		return err
	}
	for i, it := range batch {
		it.Record = records[i]
	}
	return nil
}

// nameAgain claims a path that an earlier entry has named. Most lists that repeat
// themselves are the only one.
func (m *Run) nameAgain(key, rel string) {
	if len(m.named.lists) > 1 {
		m.claimLater(key, rel)
	}
}

// claimLater notes that a list names a path, which gets no item, so that claimRest
// claims it.
func (m *Run) claimLater(key, rel string) {
	if m.opts.DryRun {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	if err := m.named.later.Push(key, []byte(rel)); err != nil {
		m.failLocked(err)
	}
}

// claimRest records the claims that claimLater has noted. It must be called when
// the files are on record. If ctx has ended, it takes a moment and leaves the rest.
func (m *Run) claimRest(ctx context.Context) error {
	var end time.Time // zero as long as ctx has not ended
	for end.IsZero() || time.Now().Before(end) {
		claims, err := m.nextClaims()
		if err != nil || len(claims) == 0 {
			return err
		}
		if err := m.st.Claim(claims); err != nil {
			return err
		}
		if end.IsZero() && ctx.Err() != nil {
			end = time.Now().Add(claimGrace)
		}
	}
	return nil
}

// nextClaims takes the next claims that were noted.
func (m *Run) nextClaims() (claims []store.Claim, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(claims) < maxLookupBatch {
		key, rel, ok, err := m.named.later.Next(func(string) bool { return true })
		if err != nil || !ok {
			return claims, err
		}
		claims = append(claims, store.Claim{Target: filepath.Join(m.opts.Dir, string(rel)), List: key})
	}
	return claims, nil
}
