package main

// This file follows the directories of index pages.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
)

const (
	// maxIndexDirs limits the directories of one index that are visited, because a symbolic link to a
	// directory above makes an index endless. The largest mirrors of Debian have 60,000. Each needs 16
	// to 32 bytes of memory.
	maxIndexDirs = 250_000
	// maxIndexText limits in bytes the URLs of the directories that are known and not yet visited:
	// some 160,000 directories of 100 bytes. Double would take as much memory as all the rest of pawl.
	maxIndexText = 16 << 20
)

// errSeenPage means that a directory redirects to a directory that is visited anyway.
var errSeenPage = failure.New(failure.ErrProtocol, "the page is known already")

// IndexOptions say which files and directories of an index page are wanted.
type IndexOptions struct {
	Depth   int             `placeholder:"N" group:"Lists" help:"Follow the directories of an index page N levels down (default: ${default}, only the page itself)." default:"0"`
	Include []list.PathGlob `sep:"none" placeholder:"GLOB" group:"Lists" help:"Of an index page, only take the files that match GLOB, for example *.iso or iso/**; repeatable. The path is relative to the page: * matches no slash, ** does, and a GLOB without a slash is for the last part of a path."`
	Exclude []list.PathGlob `sep:"none" placeholder:"GLOB" group:"Lists" help:"Of an index page, leave out the files and directories that match GLOB, even if they match --include; repeatable."`
}

// check refuses impossible values.
func (o *IndexOptions) check() error {
	if o.Depth < 0 {
		return errors.New("--depth must not be negative")
	}
	return nil
}

// areSet reports whether one of the options is given.
func (o *IndexOptions) areSet() bool { return o.Depth > 0 || len(o.Include)+len(o.Exclude) > 0 }

// wanted reports whether a path relative to the first page is wanted. --include is about files only,
// because the files of a directory may match although the directory does not.
func (o *IndexOptions) wanted(path string, isDir bool) bool {
	matches := func(g list.PathGlob) bool { return g.Match(path, isDir) }
	if slices.ContainsFunc(o.Exclude, matches) {
		return false
	}
	return isDir || len(o.Include) == 0 || slices.ContainsFunc(o.Include, matches)
}

// covers reports whether a walk with these options would find a file with this path relative to the first page.
func (o *IndexOptions) covers(path string) bool {
	if strings.Count(path, "/") > o.Depth {
		return false
	}
	for i := range len(path) {
		if path[i] == '/' && !o.wanted(path[:i], true) {
			return false
		}
	}
	return o.wanted(path, false)
}

// An indexWalk visits the pages of an index: the page that the user named and, as far as --depth
// allows, the directories below it. Each page is a list. They are visited depth first, so that few
// directories wait. No page is visited twice, no other host, and nothing above the first page.
//
// An indexWalk is used by one goroutine.
type indexWalk struct {
	opts    *IndexOptions
	lists   listOpener
	private bool     // the first page came from a private address
	root    *url.URL // directory of the first page
	below   bool     // the first page was read
	pending []string // URLs of directories to visit, the next one last
	size    int      // length of all URLs in pending
	onPage  int      // length of pending before the current page was read
	seed    maphash.Seed
	seen    map[uint64]bool // hashes of the paths of all directories that are visited or pending
	tooDeep bool            // some directories are below --depth
	limit   error           // reported by next: some directories are not visited
}

// newIndexWalk returns the walk that begins with the list in, nil if that is no web page.
func newIndexWalk(l listOpener, in openedList, o *IndexOptions) *indexWalk {
	if in.page == nil {
		return nil
	}
	page, err := weburl.Parse(in.page.url)
	if err != nil {
		return nil
	}
	root := page.ResolveReference(&url.URL{Path: "./"})
	if in.page.private {
		l.private.Store(root.String(), true)
	}
	w := &indexWalk{opts: o, lists: l, private: in.page.private, root: root, seed: maphash.MakeSeed(), seen: make(map[uint64]bool)}
	w.isNew("")
	return w
}

// setOptions sets the options with which an opened page is read. A page below the first one must be an
// index, whatever its URL or another list in its place looks like.
func (w *indexWalk) setOptions(o *list.Options, in openedList) {
	o.Page = &list.Page{URL: in.page.url, Root: w.root.String(), Charset: in.page.charset, Wanted: w.opts.wanted, Dir: w.add}
	if w.below {
		o.Format = list.Index
	}
}

// add notes a directory that a page links to, if it is not too deep, and new.
func (w *indexWalk) add(path, url string) {
	if strings.Count(path, "/") >= w.opts.Depth {
		w.tooDeep = true
		return
	}
	if w.limit != nil {
		return
	}
	if !w.isNew(path) {
		return
	}
	if len(w.seen) > maxIndexDirs || w.size+len(url) > maxIndexText {
		w.limit = listError{fmt.Errorf("%s: the index has more than %d directories, or more than %d bytes of their URLs; the others are not visited", weburl.Redact(w.root.String()), maxIndexDirs, maxIndexText)}
		return
	}
	w.pending, w.size = append(w.pending, url), w.size+len(url)
}

// isNew reports whether a path is asked for the first time.
func (w *indexWalk) isNew(path string) bool {
	hash := maphash.String(w.seed, path)
	if w.seen[hash] {
		return false
	}
	w.seen[hash] = true
	return true
}

// next opens the page of the next directory. more is false if there is none; then all directories that
// the options allow were visited. An error is about one directory, or says that there are too many.
// A nil walk has no directories.
func (w *indexWalk) next(ctx context.Context) (in openedList, more bool, err error) {
	if w == nil {
		return openedList{}, false, nil
	}
	w.below = true
	slices.Reverse(w.pending[w.onPage:]) // so that the first one on the page comes first
	for len(w.pending) > 0 && ctx.Err() == nil {
		last := len(w.pending) - 1
		url := w.pending[last]
		w.pending, w.size, w.onPage = w.pending[:last], w.size-len(url), last
		if in, err = w.open(ctx, url); !errors.Is(err, errSeenPage) {
			return in, true, err
		}
	}
	err, w.limit = w.limit, nil
	w.onPage = len(w.pending)
	return openedList{}, err != nil, err
}

// open downloads the page of a directory into a temporary file.
func (w *indexWalk) open(ctx context.Context, page string) (openedList, error) {
	name := weburl.WithoutUser(page)
	f, err := newTempPage(w.lists.dir)
	if err != nil {
		return openedList{}, fmt.Errorf("list %q: %w", weburl.Redact(name), err)
	}
	req := w.lists.req
	req.URL, req.Into, req.Existing = page, downloader.Stream{Writer: f}, downloader.Existing{}
	req.Access.Redirect = w.redirects(page)
	req.Access.Public = func(string) bool { return !w.private }
	res, err := w.lists.d.Get(ctx, req)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return openedList{}, downloadError(name, err)
	}
	found := &webPage{cmp.Or(res.Final, name), res.Charset, res.Private}
	return openedList{ReadCloser: f, name: name, base: name, page: found, complete: !res.Unframed}, nil
}

// redirects returns the check of the redirects of a page: each must lead to a directory of the index
// that is not visited otherwise.
func (w *indexWalk) redirects(page string) func(*url.URL) error {
	allowed := "" // a path that the page has been redirected to, with a slash before it
	if u, err := url.Parse(page); err == nil {
		segments, _ := weburl.Below(w.root, u)
		allowed = "/" + strings.Join(segments, "/")
	}
	return func(to *url.URL) error {
		segments, ok := weburl.Below(w.root, to)
		if !ok || !strings.HasSuffix(to.Path, "/") {
			return failure.New(failure.ErrProtocol, "the directory redirects to a page that is not below the index")
		}
		path := strings.Join(segments, "/")
		if allowed != "/"+path && !w.isNew(path) {
			return errSeenPage
		}
		allowed = "/" + path
		return nil
	}
}

// A tempPage is a file that no longer exists once it is closed.
type tempPage struct{ *os.File }

// newTempPage creates a file in dir with mode 0600. Its name is removed at once if the system allows
// that for an open file, so that a crash leaves nothing behind.
func newTempPage(dir string) (tempPage, error) {
	if err := makePrivateDir(dir); err != nil {
		return tempPage{}, err
	}
	f, err := os.CreateTemp(dir, "page-*")
	if err == nil {
		os.Remove(f.Name())
	}
	return tempPage{f}, err
}

// Close closes and removes the file.
func (f tempPage) Close() error {
	err := f.File.Close()
	os.Remove(f.Name()) // fails if it is removed already
	return err
}
