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
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
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
	name     string // name in messages: a path, a URL without user and password, or "standard input"
	base     string // the URL that the list came from; "" for a file
	nameless bool   // another run may read another list under this name; see isNameless
	complete bool   // the list is known to be complete; else it may be truncated, and must not prune files
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
	req.Existing.Overwrite, req.MaxSize = true, int64(l.MaxListSize)
	return listOpener{d, req, filepath.Join(stateDir, "lists"), l.maxText(), new(sync.Map)}
}

// open opens a list: a file, the content of a URL, or standard input ("-"). If another
// process downloads the same URL, open waits for it.
func (l listOpener) open(ctx context.Context, name string) (openedList, error) {
	switch {
	case name == "-":
		return openedList{ReadCloser: io.NopCloser(os.Stdin), name: "standard input", nameless: true, complete: true}, nil
	case !isURL(name):
		return openFile(name)
	}
	// The file in the state directory is named after a hash of the URL, so that each list has
	// one, whatever characters its URL has. The name has no user and password, so that a new
	// password finds the old file.
	url := weburl.WithoutUser(name)
	hash := sha256.Sum256([]byte(url))
	req := l.req
	req.URL, req.Into = name, downloader.File{Dir: l.dir, Output: hex.EncodeToString(hash[:8])}
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
	// %v and not %w: as a failure.ErrTooLarge, the error would get the exit code and hint of --max-size.
	if errors.Is(err, failure.ErrTooLarge) {
		return openedList{}, listError{listTooLargeError{fmt.Errorf("list %q: %v", weburl.Redact(name), err)}}
	}
	if err != nil {
		return openedList{}, fmt.Errorf("list %q: %w", weburl.Redact(name), err)
	}
	if res.Private {
		l.private.Store(url, true)
	}
	f, err := os.Open(res.Target)
	return openedList{ReadCloser: f, name: url, base: url, complete: !res.Unframed}, err
}

// isPublic reports whether a list came from a public address. Such a list must not name
// private addresses. The result is only valid after open has returned the list; before, a
// URL counts as public.
func (l listOpener) isPublic(name string) bool {
	_, private := l.private.Load(name)
	return isURL(name) && !private
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
func openFile(name string) (openedList, error) {
	nameless := isNameless(name)
	f, err := os.Open(name)
	info, statErr := f.Stat()
	if statErr == nil && info.IsDir() {
		f.Close()
		err = &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
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

// readChecksums reads a checksum file and returns a function that returns the digest of a
// path. That function fails if the file has no digest for the path, because a file that is
// to be verified must not be downloaded without. readChecksums returns nil if name is "".
func (l listOpener) readChecksums(ctx context.Context, name string) (func(string) (chunk.Sum, error), error) {
	if name == "" {
		return nil, nil
	}
	in, err := l.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(checksumGCPercent)) // the deferred call restores the old value
	sums, problems, err := list.ReadSums(in.name, in, l.maxText)
	if err == nil && len(problems) > 0 {
		err = usageErr{problems[0]}
	}
	if err != nil {
		return nil, err
	}
	return func(path string) (chunk.Sum, error) {
		sum, err := sums.Find(path)
		if err == nil && sum.IsZero() {
			err = usageErr{fmt.Errorf("%q has no digest for %q; the file is not downloaded", in.name, path)}
		}
		return sum, err
	}, nil
}

// lists opens the lists one after another. It yields the error of a list that cannot be
// opened, and continues with the next one. A list is open only while the consumer reads it,
// so many lists need no more memory than one.
func (c *MirrorCmd) lists(ctx context.Context, l listOpener, out *printer) iter.Seq2[mirror.List, error] {
	return func(yield func(mirror.List, error) bool) {
		for _, name := range c.Lists {
			in, err := l.open(ctx, name)
			if err != nil {
				if !yield(mirror.List{}, err) {
					return
				}
				continue
			}
			if c.Prune && !in.complete {
				out.warn("list %q came without a length, so it may be truncated; it prunes nothing", in.name)
			}
			more := yield(mirror.List{Key: c.listKey(name, in.nameless), Complete: in.complete, Entries: c.entries(in)}, nil)
			in.Close()
			if !more {
				return
			}
		}
	}
}

// entries reads one list. A *list.Problem is about one line, and the entries after it
// follow. Any other error ends the list.
func (c *MirrorCmd) entries(in openedList) iter.Seq2[list.Entry, error] {
	o := list.Options{Format: list.Format(c.Format), Base: cmp.Or(c.Base, in.base), Glob: c.Glob, MaxBytes: c.maxText()}
	return func(yield func(list.Entry, error) bool) {
		for e, err := range list.Read(in.name, in, o) {
			var p *list.Problem
			if err != nil && !errors.As(err, &p) {
				err = listError{err}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
