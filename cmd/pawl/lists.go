package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// busyListTimeout is how long pawl waits while another process downloads the same list. It
// is a guess at the time that a large list takes. If it is too short, a run fails that only
// had to wait.
const busyListTimeout = 10 * time.Minute

// An openedList is a list or checksum file that is open for reading. It must be closed.
type openedList struct {
	io.ReadCloser
	name     string   // name in messages: a path, a URL without user and password, or "standard input"
	base     string   // the URL that the list came from; "" for a file
	page     *webPage // nil if it is no web page, or no URL
	nameless bool     // another run may read another list under this name; see isNameless
	complete bool     // the list is known to be complete; else it may be truncated, and must not prune files
	verified bool     // its signature was verified
}

// sumBy says whose the digests of the list are.
func (l openedList) sumBy() downloader.Proof {
	if l.verified {
		return downloader.ProofSignature
	}
	return downloader.ProofList
}

// A webPage describes the source of a list that is a web page, and perhaps an index.
type webPage struct {
	url     string // after redirects, without user and password
	charset string // encoding that the server named; "" for none
	private bool   // it came from a private address
}

// A listError reports that a list cannot be read: for example, its file is missing, or it
// is too large. A failed download of a list is not a listError.
type listError struct{ error }

func (e listError) Unwrap() error { return e.error }

// Is makes all listErrors equal for errors.Is, whatever their reason.
func (e listError) Is(target error) bool {
	_, ok := target.(listError)
	return ok
}

// An emptyListError reports that a list names no files.
type emptyListError struct{ list string }

func (e emptyListError) Error() string { return fmt.Sprintf("list %q%s", e.list, namesNoFiles) }

// namesNoFiles ends the text of an emptyListError.
const namesNoFiles = " names no files"

// A listTooLargeError reports that a list is larger than --max-list-size.
type listTooLargeError struct{ error }

// A listOpener opens lists and checksum files. It keeps downloaded ones in the state
// directory, and downloads them again only if they have changed. It is safe for concurrent
// use.
type listOpener struct {
	d       *downloader.Downloader
	req     downloader.Request // template of the requests for lists
	dir     string             // of the downloaded lists
	maxText int64              // largest text of a list in bytes, uncompressed; 0 for no limit

	options   list.Options     // how the lists are going to be read; zero for checksum files
	signature SignatureOptions // of a list that openSigned opens
	unchecked bool             // the file is no list, so its beginning need not look like one

	private *sync.Map // URLs (string) of lists from private addresses, which may name private addresses
}

// ListLimit limits the size of lists.
type ListLimit struct {
	MaxListSize byteSize `default:"256M" placeholder:"N" group:"Lists" help:"Largest size of a list or checksum file from a URL, such as 500K, 10M or 1G (default: ${default}); a larger one is not used. The uncompressed text of any list may be 100 times as large."`
}

// maxTextRatio is how many times larger than --max-list-size the text of a list may be after
// decompression. Lists of URLs reach 5 to 30. gzip reaches 1032, so that without a limit
// 256 MiB could become 258 GiB of text.
const maxTextRatio = 100

// maxText returns the largest text of a list in bytes, 0 for no limit. It cannot overflow.
func (l ListLimit) maxText() int64 {
	return min(int64(l.MaxListSize), math.MaxInt64/maxTextRatio) * maxTextRatio
}

// newListOpener returns a listOpener that downloads with d into the state directory
// stateDir. req has the settings that all requests for lists share.
func (l ListLimit) newListOpener(d *downloader.Downloader, stateDir string, req downloader.Request) listOpener {
	req.Existing.InTheWay, req.MaxSize = downloader.Replace, int64(l.MaxListSize)
	return listOpener{d: d, req: req, dir: listDir(stateDir), maxText: l.maxText(), private: new(sync.Map)}
}

// listDir returns the directory of the downloaded lists in a state directory.
func listDir(stateDir string) string { return filepath.Join(stateDir, "lists") }

// A keptOpen is a file that is not closed with the list. A list that is a file can be read again.
type keptOpen struct{ *os.File }

func (keptOpen) Close() error { return nil }

// open opens a list: a file, the content of a URL, or standard input ("-"). If another
// process downloads the same URL, open waits for it.
func (l listOpener) open(ctx context.Context, name string) (openedList, error) {
	switch {
	case name == "-":
		return openedList{ReadCloser: keptOpen{os.Stdin}, name: "standard input", nameless: true, complete: true}, l.checkFile("standard input", os.Stdin)
	case !isURL(name):
		return l.openFile(name)
	}
	// The file in the state directory is named after a hash of the URL, so that each list has
	// one, whatever characters its URL has. The name has no user and password, so that a new
	// password finds the old file.
	url := weburl.WithoutUser(name)
	hash := sha256.Sum256([]byte(url))
	req := l.req
	file := hex.EncodeToString(hash[:8])
	req.URL, req.Into = name, downloader.File{Dir: l.dir, Output: file}
	req.Existing.Restart = req.Existing.Restart || isWebPage(filepath.Join(l.dir, file))
	req.Inspect = func(beginning []byte) error {
		return l.check(name, beginning, len(beginning) < downloader.InspectBytes)
	}
	if err := makePrivateDir(l.dir); err != nil {
		return openedList{}, fmt.Errorf("list %q: %w", weburl.Redact(name), err)
	}
	// If another process has the part file, its download is soon finished. Then the list costs
	// one small request, so waiting is better than an error.
	res, err := l.d.Get(ctx, req)
	for end := time.Now().Add(busyListTimeout); errors.Is(err, store.ErrBusy) && time.Now().Before(end) && ctx.Err() == nil; {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		res, err = l.d.Get(ctx, req)
	}
	if err == nil {
		err = makePrivate(res.Target, 0o600) // finished files get the mode of the umask
	}
	if errors.As(err, new(*notListError)) {
		return openedList{}, err
	}
	if err != nil {
		return openedList{}, downloadError(name, err)
	}
	in := openedList{name: url, base: url, complete: !res.Unframed}
	if isWebPage(res.Target) {
		in.page = &webPage{cmp.Or(res.Final, url), res.Charset, res.Private}
	}
	if res.Private {
		l.private.Store(url, true)
	}
	in.ReadCloser, err = os.Open(res.Target)
	return in, err
}

// isWebPage reports whether a downloaded list is a web page. Such a list is requested as a whole each
// time: only a response with a body names its charset, and the time of a directory, which some servers
// send as Last-Modified, counts whole seconds.
func isWebPage(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return list.IsWebPage(f)
}

// downloadError returns the error of a list that cannot be downloaded.
func downloadError(name string, err error) error {
	// %v and not %w: as a failure.ErrTooLarge, the error would get the exit code and hint of --max-size.
	if errors.Is(err, failure.ErrTooLarge) {
		return listError{listTooLargeError{fmt.Errorf("list %q: %v", weburl.Redact(name), err)}}
	}
	return fmt.Errorf("list %q: %w", weburl.Redact(name), err)
}

// A notListError reports that a file is no list, by its first bytes. It is a listError.
type notListError struct {
	name string // as typed
	err  error
}

func (e *notListError) Error() string { return weburl.Redact(e.name) + ": " + e.err.Error() }

func (e *notListError) Unwrap() []error { return []error{e.err, listError{e.err}} }

// hint returns the command that the user most likely wants instead.
func (e *notListError) hint() string {
	var compressed *list.CompressedError
	switch {
	case errors.As(e.err, &compressed) && isURL(e.name):
		return fmt.Sprintf("uncompress it with: pawl -o - %s | %s | pawl mirror -", shellQuote(e.name), pipeCommand(compressed.Command))
	case errors.As(e.err, &compressed):
		return fmt.Sprintf("uncompress it with: %s %s | pawl mirror -", compressed.Command, shellQuote(e.name))
	case isURL(e.name):
		return "mirror reads lists of files; to download this file: pawl " + shellQuote(e.name)
	}
	return "a list has the URL of a file in each line; see: pawl help formats"
}

// pipeCommand returns a command of list.CompressedError for data from a pipe.
func pipeCommand(command string) string {
	if command == "unzip -p" { // it cannot read from a pipe
		return "funzip"
	}
	return command
}

// check returns a notListError if a list cannot begin like this.
func (l listOpener) check(name string, beginning []byte, whole bool) error {
	if l.unchecked {
		return nil
	}
	o := l.options
	if isURL(name) {
		o.Base = cmp.Or(o.Base, name)
	}
	if err := list.Check(name, beginning, whole, o); err != nil {
		return &notListError{name, err}
	}
	return nil
}

// rereadableFrom returns the position in an open file, if its bytes can be read again from there. ok is
// false for a pipe, for example.
func rereadableFrom(f *os.File) (at int64, ok bool) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	at, err = f.Seek(0, io.SeekCurrent)
	return at, err == nil
}

// checkFile is check for an open file. It reads nothing from a pipe, whose bytes could not
// be read again.
func (l listOpener) checkFile(name string, f *os.File) error {
	at, ok := rereadableFrom(f)
	if !ok {
		return nil
	}
	b := make([]byte, downloader.InspectBytes)
	n, err := f.ReadAt(b, at)
	return l.check(name, b[:n], errors.Is(err, io.EOF))
}

// isPublic reports whether a list came from a public address. Such a list must not name
// private addresses. The result is only valid after open has returned the list; before, a
// URL counts as public. A directory of an index is like the index.
func (l listOpener) isPublic(name string) bool {
	for dir := name; dir != ""; dir = parentURL(dir) {
		if _, private := l.private.Load(dir); private {
			return false
		}
	}
	return isURL(name)
}

// parentURL returns the URL of the directory above a directory, "" if there is none or if dir is the URL
// of no directory.
func parentURL(dir string) string {
	u, err := url.Parse(dir)
	if err != nil || !strings.HasSuffix(u.Path, "/") || u.Path == "/" {
		return ""
	}
	return u.ResolveReference(&url.URL{Path: "../"}).String()
}

// makePrivateDir creates a directory that only the user can access.
func makePrivateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return makePrivate(dir, 0o700)
}

// makePrivate removes the rights of other users to a file or directory: it sets mode, unless
// the others have no rights anyway. Windows has no such modes.
func makePrivate(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows" {
		return err
	}
	return os.Chmod(path, mode)
}

// openFile opens a list that is a file or a pipe. A directory is an error here, because
// Open would succeed and only reading fail.
func (l listOpener) openFile(name string) (openedList, error) {
	nameless := isNameless(name)
	f, err := os.Open(name)
	info, statErr := f.Stat()
	if statErr == nil && info.IsDir() {
		f.Close()
		err = &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
	}
	if err == nil {
		if err := l.checkFile(name, f); err != nil {
			f.Close()
			return openedList{}, err
		}
	}
	if err != nil {
		return openedList{}, listError{err}
	}
	nameless = nameless || statErr != nil || !info.Mode().IsRegular() // the path may have changed before Open
	return openedList{ReadCloser: f, name: name, nameless: nameless, complete: true}, nil
}

// checksumGCPercent is GOGC while a checksum file is read. The file may have millions of
// lines, all of which stay in memory. The default of 100 would allow as much garbage again;
// 10 would double the time of the collector.
const checksumGCPercent = 20

// A digestFinder returns the digest of a path, and by says whose it is.
type digestFinder struct {
	find func(path string) (chunk.Sum, error)
	by   downloader.Proof
}

// readChecksums reads a checksum file and returns a function that returns the digest of a
// path. That function fails if the file has no digest for the path, because a file that is
// to be verified must not be downloaded without. The function is nil if name is "". It warns if
// the checksum file has a signature that is not verified.
func (l listOpener) readChecksums(ctx context.Context, name string, out *printer) (digestFinder, error) {
	if name == "" {
		return digestFinder{}, nil
	}
	sums, in, err := l.readSums(ctx, name, out)
	if err != nil {
		return digestFinder{}, err
	}
	return digestFinder{by: in.sumBy(), find: func(path string) (chunk.Sum, error) {
		sum, err := sums.Find(path)
		if err == nil && sum.IsZero() {
			err = usageErr{fmt.Errorf("%q has no digest for %q; the file is not downloaded", in.name, path)}
		}
		return sum, err
	}}, nil
}

// readSums reads a checksum file. It also returns the file, which is closed.
func (l listOpener) readSums(ctx context.Context, name string, out *printer) (sums *list.Sums, in openedList, err error) {
	l.options = list.Options{}
	if in, err = l.openSigned(ctx, name); err != nil {
		return nil, in, err
	}
	defer in.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(checksumGCPercent)) // the deferred call restores the old value
	sums, problems, err := list.ReadSums(in.name, in, l.maxText)
	if err == nil && len(problems) > 0 {
		err = usageErr{problems[0]}
	}
	if err == nil && sums.Signed() && !in.verified {
		out.warn("%s: %v; verify it with --keyring FILE", in.name, list.ErrSigned)
	}
	return sums, in, err
}

// lists opens the lists one after another. It yields the error of a list that cannot be
// opened, and continues with the next one. A list is open only while the consumer reads it,
// so many lists need no more memory than one.
func (c *MirrorCmd) lists(ctx context.Context, l listOpener, out *printer) iter.Seq2[mirror.List, error] {
	return func(yield func(mirror.List, error) bool) {
		for _, name := range c.Lists {
			in, err := l.openSigned(ctx, name)
			walk := newIndexWalk(l, in, &c.IndexOptions)
			if err == nil && walk == nil && c.IndexOptions.areSet() {
				out.warn("list %q is no index page, so --depth, --include and --exclude have no effect on it", in.name)
			}
			warns := c.Prune // once for all pages of an index
			empty, shown := err == nil, in.name
			for more := true; more; in, more, err = walk.next(ctx) {
				if warns && err == nil && !in.complete {
					warns = false
					out.warn("list %q came without a length, so it may be truncated; it prunes nothing", in.name)
				}
				if !c.yieldList(name, in, err, walk, &empty, yield) {
					return
				}
			}
			if walk != nil && walk.tooDeep && c.Depth == 0 {
				out.note("%q names directories, which are not followed; see --depth", shown)
			}
			if empty && !c.AllowEmpty && !yield(mirror.List{}, listError{emptyListError{shown}}) {
				return
			}
		}
	}
}

// yieldList yields an opened list, or the error of opening it, and closes it. A directory of the index
// name is a list with the key of the index, so that all of them together are pruned as one. It clears
// empty if the list names a file. The result is false if the consumer wants no more lists.
func (c *MirrorCmd) yieldList(name string, in openedList, err error, walk *indexWalk, empty *bool, yield func(mirror.List, error) bool) bool {
	if err != nil {
		return yield(mirror.List{}, err)
	}
	defer in.Close()
	l := mirror.List{Key: c.listKey(name, in.nameless), Complete: in.complete, MayBeEmpty: c.AllowEmpty, SumBy: in.sumBy(), Entries: c.entries(in, walk, empty), Again: c.rereader(in)}
	if walk != nil {
		l.Covers = c.IndexOptions.covers
	}
	return yield(l, nil)
}

// rereader returns a function that reads a list anew for the names of its files, nil if that is not
// possible, or not necessary: an index page names its files.
func (c *MirrorCmd) rereader(in openedList) func() iter.Seq2[list.Entry, error] {
	f, ok := in.ReadCloser.(*os.File)
	if !ok || in.page != nil {
		return nil
	}
	at, ok := rereadableFrom(f)
	if !ok {
		return nil
	}
	return func() iter.Seq2[list.Entry, error] {
		return list.Read(in.name, io.NewSectionReader(f, at, math.MaxInt64-at), c.listFormat(in))
	}
}

// listFormat returns the options to read a list with.
func (c *MirrorCmd) listFormat(in openedList) list.Options {
	return list.Options{Format: list.Format(c.Format), Base: cmp.Or(c.Base, in.base), Glob: c.Glob, MaxBytes: c.maxText()}
}

// entries reads one list. A *list.Problem is about one line, and the entries after it
// follow. Any other error ends the list. empty is cleared if there is an entry or an error: a list
// with neither is most likely a mistake, because its program has failed, or its server sent another
// file. walk is nil if the list is no web page.
func (c *MirrorCmd) entries(in openedList, walk *indexWalk, empty *bool) iter.Seq2[list.Entry, error] {
	o := c.listFormat(in)
	if walk != nil {
		walk.setOptions(&o, in)
	}
	return func(yield func(list.Entry, error) bool) {
		for e, err := range list.Read(in.name, in.ReadCloser, o) { // which may be a file that can be read again
			var p *list.Problem
			if in.verified && errors.Is(err, list.ErrSigned) { // the signature is beside it, too
				continue
			}
			if err != nil && !errors.As(err, &p) {
				err = listError{err}
			}
			*empty = *empty && p != nil && p.Warning
			if !yield(e, err) {
				return
			}
		}
	}
}
