package mirror

import (
	"iter"
	"path/filepath"
	"sync"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/store"
)

// A List is one of the lists of a run.
type List struct {
	// Key identifies the list in the state file. It must be the same in each run of the
	// list: 16 hex digits, or store.Nameless if the list has no name of its own.
	Key string
	// Complete reports that Entries cannot end before the list does. A list that may have
	// been cut off, for example by a server without Content-Length, prunes nothing.
	Complete bool
	// MayBeEmpty reports that the list is meant even if it names no files. Otherwise an empty
	// list prunes nothing, because it is more likely to be broken.
	MayBeEmpty bool
	// Covers reports whether the list, as it was read, would name a file with this slash-separated path
	// below Options.Dir if it existed. A file that it does not cover may exist although the list does
	// not name it, so it is not pruned. Default: the list covers all files.
	Covers func(path string) bool
	// SumBy says whose the digests of the entries are: downloader.ProofSignature if the signature of
	// the list was verified; "" means downloader.ProofList.
	SumBy downloader.Proof
	// Entries is iterated once. It must yield entries and errors as list.Read does.
	Entries iter.Seq2[list.Entry, error]
	// Again reads the list from its beginning, as often as it is called, while Entries has not ended. It is
	// nil for a list that can be read only once, for example from a pipe: then the names of entries
	// that clash depend on their order.
	Again func() iter.Seq2[list.Entry, error]
}

// A naming records the paths that the lists of a run have named, and which of the lists may
// prune. The reader owns it until it ends; prune may read it afterwards.
type naming struct {
	paths    pathSet              // paths below Options.Dir
	lists    map[string]listState // by key
	newFiles int                  // files to fetch for which item.isNew is true

	mu   sync.Mutex
	kept map[string]bool // paths below Options.Dir that servers or ledger.avoidOthers chose in this run; guarded by mu
}

// A listState describes the lists that share a key.
type listState struct {
	complete bool // all of them are complete
	empty    bool // none of them has named a file yet, and none may be empty

	covers func(path string) bool // List.Covers of one of them; nil if all files are covered
}

func newNaming() *naming {
	return &naming{lists: make(map[string]listState), kept: make(map[string]bool)}
}

// open begins a list. Lists with the same key are pruned as one list, so they are complete only
// if all of them are.
func (n *naming) open(l List) {
	was, again := n.lists[l.Key]
	now := listState{complete: l.Complete && (was.complete || !again), empty: !l.MayBeEmpty && (was.empty || !again), covers: was.covers}
	if l.Covers != nil {
		now.covers = l.Covers
	}
	n.lists[l.Key] = now
}

// name records that the list with this key names a path, and reports whether an earlier entry
// did so. open must have been called for the list.
func (n *naming) name(key, rel, url string) pathStatus {
	if l := n.lists[key]; l.empty {
		l.empty = false
		n.lists[key] = l
	}
	return n.paths.Add(rel, url)
}

// keep records the path of a file that no entry names. Any goroutine may call it.
func (n *naming) keep(dir, path string) {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept[rel] = true
}

// isKept reports whether keep was called for a path.
func (n *naming) isKept(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	n.mu.Lock()
	defer n.mu.Unlock()
	return err == nil && n.kept[rel]
}

// has reports whether an entry or a server has named a path.
func (n *naming) has(rel string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.kept[rel] || n.paths.Has(rel)
}

// isCovered reports whether all lists of this run that claim a file would name it if it existed.
func (n *naming) isCovered(rel string, claims store.Lists) bool {
	for key, l := range n.lists {
		if l.covers != nil && claims.Has(key) && !l.covers(filepath.ToSlash(rel)) {
			return false
		}
	}
	return true
}

// pruningKeys returns the keys of the lists whose claims may be released: lists that have a
// name, are complete and are not empty.
func (n *naming) pruningKeys() (keys []string) {
	for key, l := range n.lists {
		if key != store.Nameless && l.complete && !l.empty {
			keys = append(keys, key)
		}
	}
	return keys
}
