package mirror

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
	"pawl/store"
)

// This file gives names to the files of entries that have none. The last part of the URL is often the
// same in several entries, for example in a/data.csv and b/data.csv, or in get.php?id=1 and
// get.php?id=2. Such names keep their queries if only these differ, and are numbered otherwise, in the
// order of the URLs, so that the names do not depend on the order of the list. That needs to know all
// entries, so a list that can be read again is scanned first, for its names alone. In a list that can
// be read only once, for example from a pipe, the order of the entries counts.
//
// Among names that clash, a file keeps the name that an earlier run has given it, even if the list has
// other entries now.

// maxClashBytes bounds the memory for names that clash, as the bytes of their URLs. Two million URLs
// that end in the same name need more; half would refuse lists of a hundred thousand such URLs.
const maxClashBytes = 32 << 20

// errClashes ends a run with too many names that clash.
var errClashes = fmt.Errorf("more than %d MiB of URLs end in names of other URLs; keep their directories with --tree, or name the files in the list with out=", maxClashBytes>>20)

// Naming says how the files of entries without names are named.
type Naming struct {
	Tree    bool // by host and directories
	CutDirs int  // with Tree, so many directories are left out
	Server  bool // by the names in the responses, if they have any
}

// A namer names the files of one run. The reader owns it.
type namer struct {
	dir     string // Options.Dir
	how     Naming
	lookup  func(targets []string) ([]store.Record, error) // *store.Store.LookupTargets
	byURL   func(dir, url string) (store.Record, error)    // *store.Store.ByURL
	clashes map[string]*clash                              // by relative path, of the list that is being read
	bytes   int                                            // of the URLs in clashes
	next    map[string]int                                 // of lists that are read once: the first number that may be free
}

// A clash is a path that several URLs lead to.
type clash struct {
	taken bool              // an entry has the path as its own name
	names map[string]string // paths by canonical URL; "" until they are assigned
}

func newNamer(o Options, st *store.Store) *namer {
	return &namer{dir: o.Dir, how: o.Naming, lookup: st.LookupTargets, byURL: st.ByURL, next: make(map[string]int)}
}

// recorded returns the entry with the path that the server gave it in an earlier run. ok is false if there
// is none.
func (n *namer) recorded(e list.Entry) (named list.Entry, ok bool) {
	if !n.how.Server || e.Out != "" {
		return e, false
	}
	rel, err := localPath(n.dir, n.name(e))
	if err != nil {
		return e, false
	}
	for _, u := range e.URLs {
		rec, err := n.byURL(filepath.Dir(filepath.Join(n.dir, rel)), weburl.Canonical(u))
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(n.dir, rec.Target); err == nil {
			e.Dir, e.Out = "", filepath.ToSlash(rel)
			return e, true
		}
	}
	return e, false
}

// name returns the entry with its path in Out, if its name by the last part of its URL is not the right
// one.
func (n *namer) name(e list.Entry) list.Entry {
	if e.Out != "" || !n.how.Tree && n.clashes == nil {
		return e
	}
	named := e
	named.Out = n.plain(e)
	if rel, err := localPath(n.dir, named); err == nil && n.clashes[rel] != nil {
		if name := n.clashes[rel].names[weburl.Canonical(e.URLs[0])]; name != "" && name != rel {
			named.Dir, named.Out = "", filepath.ToSlash(name)
			return named
		}
	}
	if n.how.Tree {
		return named
	}
	return e
}

// plain returns the name of an entry by its URL alone.
func (n *namer) plain(e list.Entry) string {
	if n.how.Tree {
		return downloader.TreePath(e.URLs[0], n.how.CutDirs)
	}
	return downloader.FilenameFromURL(e.URLs[0])
}

// another returns the next name for an entry whose path rel is taken by another URL.
func (n *namer) another(rel string) string {
	n.next[rel]++
	return downloader.NumberedName(rel, n.next[rel])
}

// scan reads a list for its names, and assigns those that clash. It returns how many these are. read
// yields the entries anew each time that it is called.
func (n *namer) scan(ctx context.Context, read func() iter.Seq2[list.Entry, error], used *pathSet) (int, error) {
	n.clashes, n.bytes = nil, 0
	all, err := n.findClashes(ctx, read, used)
	if err != nil || len(n.clashes) == 0 {
		return 0, err
	}
	if err := n.collect(ctx, read); err != nil {
		return 0, err
	}
	renamed := 0
	for rel, c := range n.clashes {
		if err := n.assign(rel, c, func(path string) bool { return all.Has(path) || used.Has(path) }); err != nil {
			return 0, err
		}
		renamed += len(c.names)
	}
	return renamed, nil
}

// findClashes fills clashes with the paths of several URLs, and returns the paths of all entries. used
// has the paths of the lists before.
func (n *namer) findClashes(ctx context.Context, read func() iter.Seq2[list.Entry, error], used *pathSet) (all pathSet, err error) {
	for e := range n.entries(ctx, read) {
		rel, named, err := n.relative(e)
		if err != nil {
			continue
		}
		key := e.URLs[0]
		if named {
			key = "" // no URL
		}
		isUsed := !named && used.Has(rel) && used.Add(rel, e.URLs[0]) == otherURL
		if all.Add(rel, key) == otherURL || isUsed {
			if n.clashes == nil {
				n.clashes = make(map[string]*clash)
			}
			if c := n.clashes[rel]; c == nil {
				n.clashes[rel] = &clash{taken: isUsed, names: make(map[string]string)}
			}
		}
	}
	return all, ctx.Err()
}

// collect notes the URLs of all paths that clash.
func (n *namer) collect(ctx context.Context, read func() iter.Seq2[list.Entry, error]) error {
	for e := range n.entries(ctx, read) {
		rel, named, err := n.relative(e)
		c := n.clashes[rel]
		if err != nil || c == nil {
			continue
		}
		if named {
			c.taken = true
			continue
		}
		u := weburl.Canonical(e.URLs[0])
		if _, known := c.names[u]; !known {
			c.names[u] = ""
			if n.bytes += 2*len(u) + 100; n.bytes > maxClashBytes {
				return errClashes
			}
		}
	}
	return ctx.Err()
}

// entries yields the entries of a list until ctx ends, without its errors.
func (n *namer) entries(ctx context.Context, read func() iter.Seq2[list.Entry, error]) iter.Seq[list.Entry] {
	return func(yield func(list.Entry) bool) {
		for e, err := range read() {
			if ctx.Err() != nil || err == nil && !yield(e) {
				return
			}
		}
	}
}

// relative returns the path of an entry by its own name, or by its URL alone.
func (n *namer) relative(e list.Entry) (rel string, named bool, err error) {
	if named = e.Out != ""; !named {
		e.Out = n.plain(e)
	}
	rel, err = localPath(n.dir, e)
	return rel, named, err
}

// assign gives each URL of a clash a path. isTaken reports whether another entry has a path.
func (n *namer) assign(rel string, c *clash, isTaken func(string) bool) error {
	urls := make([]string, 0, len(c.names))
	for u := range c.names {
		urls = append(urls, u)
	}
	slices.SortFunc(urls, compareURLs)
	wanted := func(string) string { return rel }
	if differInQuery(urls) && !c.taken {
		wanted = func(u string) string { return filepath.Join(filepath.Dir(rel), downloader.FilenameWithQuery(u)) }
	}
	given := make(map[string]bool)
	if c.taken {
		given[rel] = true
	}
	if err := n.keep(rel, c, urls, wanted, given); err != nil {
		return err
	}
	numbers := make(map[string]int) // by wanted path
	for _, u := range urls {
		if c.names[u] != "" {
			continue
		}
		base := wanted(u)
		name := base
		for given[name] || name != rel && isTaken(name) {
			numbers[base]++
			name = downloader.NumberedName(base, numbers[base])
		}
		c.names[u], given[name] = name, true
	}
	return nil
}

// keep gives the URLs the paths that they have on record from earlier runs, among those that they may
// get.
func (n *namer) keep(rel string, c *clash, urls []string, wanted func(string) string, given map[string]bool) error {
	candidates := []string{rel}
	for i := range len(urls) {
		candidates = append(candidates, downloader.NumberedName(rel, i+1))
		if w := wanted(urls[i]); w != rel {
			candidates = append(candidates, w)
		}
	}
	for batch := range slices.Chunk(candidates, maxLookupBatch) {
		targets := make([]string, len(batch))
		for i, name := range batch {
			targets[i] = filepath.Join(n.dir, name)
		}
		records, err := n.lookup(targets)
		if err != nil {
			return err
		}
		for i, r := range records {
			if name, ok := c.names[r.URL]; ok && r.ID != "" && name == "" && !given[batch[i]] {
				c.names[r.URL], given[batch[i]] = batch[i], true
			}
		}
	}
	return nil
}

// compareURLs orders URLs as people do: numbers by their values, so that "part2" comes before "part10".
func compareURLs(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := digits(x), digits(y)
		if m == 0 || n == 0 {
			if x[0] != y[0] {
				return cmp.Compare(x[0], y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		v, w := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
		if c := cmp.Or(cmp.Compare(len(v), len(w)), strings.Compare(v, w)); c != 0 {
			return c
		}
		x, y = x[m:], y[n:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits returns the number of digits that s begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// differInQuery reports whether URLs differ in their queries only.
func differInQuery(urls []string) bool {
	first, _, _ := strings.Cut(urls[0], "?")
	return !slices.ContainsFunc(urls, func(u string) bool {
		before, _, ok := strings.Cut(u, "?")
		return !ok || before != first
	})
}
