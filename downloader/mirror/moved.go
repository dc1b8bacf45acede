package mirror

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"pawl/downloader/weburl"
	"pawl/store"
)

// maxMoveScans is how often a run reads the whole ledger to find the old path of a directory that was
// moved. A guess: one scan finds the directory, unless the first files were not in it. At double,
// a run with a million finished files may read them for ten more seconds.
const maxMoveScans = 3

// A moveFinder finds the records of files that were moved or copied to another directory together:
// their paths below it stay the same. Safe for concurrent use.
type moveFinder struct {
	store *store.Store
	dir   string // Options.Dir

	mu    sync.Mutex
	roots []string // former directories; guarded by mu
	scans int      // guarded by mu
}

// find returns the record of the file that an item names, at its former path; zero if there is none.
func (m *moveFinder) find(it *Item) store.Record {
	rel, err := filepath.Rel(m.dir, it.Path)
	if err != nil {
		return store.Record{}
	}
	urls := make([]string, len(it.Entry.URLs))
	for i, u := range it.Entry.URLs {
		urls[i] = weburl.Canonical(u)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, root := range m.roots {
		if r, err := m.store.ByTarget(filepath.Join(root, rel)); err == nil && r.State == store.Done && slices.Contains(urls, r.URL) {
			return r
		}
	}
	if m.scans >= maxMoveScans {
		return store.Record{}
	}
	m.scans++
	suffix := string(filepath.Separator) + rel
	for r, err := range m.store.Finished("") {
		if err != nil {
			break
		}
		if root, ok := strings.CutSuffix(r.Target, suffix); ok && root != m.dir && slices.Contains(urls, r.URL) {
			m.roots = append(m.roots, root)
			return r
		}
	}
	return store.Record{}
}
