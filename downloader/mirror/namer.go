package mirror

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
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
// A file keeps the name that an earlier run has given it, even if the list has other entries now: such
// files are found by their URLs. A name that another list has given to another URL is numbered, too.

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
	given   map[string]string // relative paths that earlier runs have given, by weburl.Key and by URL without signature
	clashes map[string]*clash // by relative path, of the list that is being read
	bytes   int               // of the URLs in clashes
	next    map[string]int    // the first number that may be free, by relative path, for names beyond the clashes of a scan
}

// A clash is a path that several URLs lead to.
type clash struct {
	taken bool              // an entry has the path as its own name
	names map[string]string // paths by weburl.Key of the URL; "" until they are assigned
}

func newNamer(o Options) *namer {
	return &namer{dir: o.Dir, how: o.Naming, given: make(map[string]string), next: make(map[string]int)}
}

// loadNames takes over the names that earlier runs have given.
func (n *namer) loadNames(st *store.Store) error {
	records, err := st.ByURLBelow(n.dir)
	if err != nil {
		return err
	}
	for _, r := range records {
		rel, err := filepath.Rel(n.dir, r.Target)
		if err != nil {
			continue
		}
		n.given[weburl.Key(r.URL)] = rel
		unsigned := weburl.Key(weburl.WithoutSignature(r.URL))
		if other, known := n.given[unsigned]; known && other != rel { // several files, so the parameter is no signature
			rel = ""
		}
		n.given[unsigned] = rel
	}
	return nil
}

// givenTo returns the path that an earlier run has given to the file of a URL, "" if there is none.
func (n *namer) givenTo(u string) string {
	if len(n.given) == 0 {
		return ""
	}
	key := weburl.Key(u)
	if rel := n.given[key]; rel != "" {
		return rel
	}
	if unsigned := weburl.WithoutSignature(u); unsigned != u {
		return n.given[weburl.Key(unsigned)]
	}
	return ""
}

// name returns the entry with its path in Out, if its name by the last part of its URL is not the right
// one. byURL reports whether the path does not follow from the entry alone.
func (n *namer) name(e list.Entry) (named list.Entry, byURL bool) {
	if e.Out != "" {
		return e, false
	}
	if rel := n.givenTo(e.URLs[0]); rel != "" {
		e.Dir, e.Out = "", filepath.ToSlash(rel)
		return e, true
	}
	if !n.how.Tree && n.clashes == nil {
		return e, false
	}
	named = e
	named.Out = n.nameByURL(e)
	if rel, err := localPath(n.dir, named); err == nil && n.clashes[rel] != nil {
		if name := n.clashes[rel].names[weburl.Key(e.URLs[0])]; name != "" && name != rel {
			named.Dir, named.Out = "", filepath.ToSlash(name)
			return named, true
		}
	}
	if n.how.Tree {
		return named, false
	}
	return e, false
}

// nameByURL returns the name of an entry by its URL alone.
func (n *namer) nameByURL(e list.Entry) string {
	if n.how.Tree {
		return downloader.TreePath(e.URLs[0], n.how.CutDirs)
	}
	return downloader.FilenameFromURL(e.URLs[0])
}

// nextName returns the next name for an entry whose path rel is taken by another URL.
func (n *namer) nextName(rel string) string {
	n.next[rel]++
	return downloader.NumberedName(rel, n.next[rel])
}

// scan reads a list for its names, and assigns the names that clash. It returns their number. read
// yields the entries anew each time that it is called. used has the paths of the lists before.
func (n *namer) scan(ctx context.Context, read func() iter.Seq2[list.Entry, error], used *pathSet) (int, error) {
	n.clashes, n.bytes = nil, 0
	all, err := n.findClashes(ctx, read, used)
	if err != nil || len(n.clashes) == 0 {
		return 0, err
	}
	if err := n.collect(ctx, read); err != nil {
		return 0, err
	}
	taken := make(map[string]bool)
	for _, rel := range n.given {
		taken[rel] = true
	}
	renamed := 0
	for rel, c := range n.clashes {
		n.assign(rel, c, func(path string) bool { return taken[path] || all.Has(path) || used.Has(path) })
		renamed += len(c.names)
	}
	return renamed, nil
}

// findClashes fills clashes with the paths of several URLs, and returns the paths of all entries. It
// drops names of earlier runs that another entry has now.
func (n *namer) findClashes(ctx context.Context, read func() iter.Seq2[list.Entry, error], used *pathSet) (all pathSet, err error) {
	kept := make(map[string]string) // URLs by the paths that earlier runs have given
	for e := range n.entries(ctx, read) {
		if rel := n.givenTo(e.URLs[0]); e.Out == "" && rel != "" && (kept[rel] == "" || kept[rel] == weburl.Key(e.URLs[0])) {
			kept[rel] = weburl.Key(e.URLs[0])
			continue
		}
		rel, named, err := n.relative(e)
		if err != nil {
			continue
		}
		key := weburl.Key(e.URLs[0])
		if named {
			key = "" // no URL
		}
		isUsed := !named && used.Has(rel) && used.Add(rel, key) == otherURL
		if all.Add(rel, key) == otherURL || isUsed {
			n.addClash(rel, isUsed)
		}
	}
	for rel := range kept {
		if all.Has(rel) {
			maps.DeleteFunc(n.given, func(_, path string) bool { return path == rel })
			n.addClash(rel, false)
		}
	}
	return all, ctx.Err()
}

func (n *namer) addClash(rel string, taken bool) {
	if n.clashes == nil {
		n.clashes = make(map[string]*clash)
	}
	if n.clashes[rel] == nil {
		n.clashes[rel] = &clash{taken: taken, names: make(map[string]string)}
	}
}

// collect notes the URLs of all paths that clash.
func (n *namer) collect(ctx context.Context, read func() iter.Seq2[list.Entry, error]) error {
	for e := range n.entries(ctx, read) {
		rel, named, err := n.relative(e)
		c := n.clashes[rel]
		if err != nil || c == nil || !named && n.givenTo(e.URLs[0]) != "" {
			continue
		}
		if named {
			c.taken = true
			continue
		}
		u := weburl.Key(e.URLs[0])
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
		e.Out = n.nameByURL(e)
	}
	rel, err = localPath(n.dir, e)
	return rel, named, err
}

// assign gives each URL of a clash a path. isTaken reports whether another entry, or a file of an
// earlier run, has a path.
func (n *namer) assign(rel string, c *clash, isTaken func(string) bool) {
	urls := slices.SortedFunc(maps.Keys(c.names), compareURLs)
	wanted := func(string) string { return rel }
	if len(urls) > 0 && differInQuery(urls) && !c.taken {
		wanted = func(u string) string {
			return filepath.Join(filepath.Dir(rel), downloader.FilenameWithQuery(weburl.WithoutSignature(u)))
		}
	}
	given := map[string]bool{rel: c.taken}
	numbers := make(map[string]int) // by wanted path
	for _, u := range urls {
		base := wanted(u)
		name := base
		for given[name] || name != rel && isTaken(name) {
			numbers[base]++
			name = downloader.NumberedName(base, numbers[base])
		}
		c.names[u], given[name] = name, true
	}
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
