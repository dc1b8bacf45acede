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
	"pawl/store"
)

// busyList is how long another process may take to fetch the same list.
const busyList = 10 * time.Minute

// An openedList is a list to read, with the name that messages have for it.
type openedList struct {
	io.ReadCloser
	name     string
	base     string // URL that it came from, "" for a file
	nameless bool   // see isNameless
	whole    bool   // its end is known to be the end of the list, and not a cut
}

// A listError says that a list cannot be read, for a reason of its own.
type listError struct{ error }

func (e listError) Unwrap() error { return e.error }

// A largeListError says that a list is larger than --max-list-size.
type largeListError struct{ error }

// Is is for errors.Is, whatever the reason.
func (e listError) Is(target error) bool {
	_, ok := target.(listError)
	return ok
}

// A lister opens lists and checksum files. Those at URLs are kept in the state directory,
// and asked for again only if they have changed.
type lister struct {
	d    *downloader.Downloader
	req  downloader.Request // what the requests for lists have in common
	text int64              // most bytes that the text of any list may have; 0 for no limit

	private *sync.Map // URLs of lists that came from a private address, and so may name any
}

// ListLimit is the option about how large lists may be.
type ListLimit struct {
	MaxListSize byteSize `default:"256M" placeholder:"N" group:"Lists" help:"Most bytes of a list or checksum file from a URL, such as 500K, 10M or 1G (default: ${default}); a larger one is not used. The text of any list may have 100 times as many."`
}

// textRatio is how many times as many bytes as it is sent with the text of a list may have,
// after gzip is undone. Lists of URLs have 5 to 30. gzip unfolds up to 1032 times, so that
// without a limit a list of 256 MiB would be one of 258 GiB.
const textRatio = 100

// text returns how many bytes of text a list may have, 0 for no limit.
func (l ListLimit) text() int64 {
	return min(int64(l.MaxListSize), math.MaxInt64/textRatio) * textRatio
}

// newLister returns a lister of d, whose lists from URLs are kept in the state directory.
func (l ListLimit) newLister(d *downloader.Downloader, g *Globals, req downloader.Request) (lister, error) {
	dir, err := g.stateDir()
	req.Dir, req.Overwrite, req.MaxSize = filepath.Join(dir, "lists"), true, int64(l.MaxListSize)
	return lister{d, req, l.text(), new(sync.Map)}, err
}

// open opens a file, what a URL leads to, or standard input.
func (l lister) open(ctx context.Context, name string) (openedList, error) {
	switch {
	case name == "-":
		return openedList{ReadCloser: io.NopCloser(os.Stdin), name: "standard input", nameless: true, whole: true}, nil
	case !isURL(name):
		return openFile(name)
	}
	url := downloader.WithoutUser(name)
	hash := sha256.Sum256([]byte(url))
	req := l.req
	req.URL, req.Output = name, hex.EncodeToString(hash[:8])
	if err := privateDir(l.req.Dir); err != nil {
		return openedList{}, fmt.Errorf("list %q: %w", downloader.RedactURL(name), err)
	}
	res, err := l.d.Get(ctx, req)
	for end := time.Now().Add(busyList); errors.Is(err, store.ErrBusy) && time.Now().Before(end) && ctx.Err() == nil; {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		res, err = l.d.Get(ctx, req)
	}
	if err == nil {
		err = keepPrivate(res.Target, 0o600) // an earlier pawl may have made it
	}
	if errors.Is(err, failure.ErrTooLarge) {
		return openedList{}, listError{largeListError{fmt.Errorf("list %q: %v", downloader.RedactURL(name), err)}}
	}
	if err != nil {
		return openedList{}, fmt.Errorf("list %q: %w", downloader.RedactURL(name), err)
	}
	if res.Private {
		l.private.Store(url, true)
	}
	f, err := os.Open(res.Target)
	return openedList{ReadCloser: f, name: url, base: url, whole: !res.Unframed}, err
}

// isPublic reports whether a list came from a public address, so that it must not name
// private ones.
func (l lister) isPublic(name string) bool {
	_, private := l.private.Load(name)
	return isURL(name) && !private
}

// privateDir makes a directory that is for the user alone.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return keepPrivate(dir, 0o700)
}

// keepPrivate takes the rights of other users to a file or a directory away.
func keepPrivate(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows" {
		return err
	}
	return os.Chmod(path, mode)
}

// openFile opens a list that is a file or a pipe.
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
	nameless = nameless || statErr != nil || !info.Mode().IsRegular() // of the file that is read, too
	return openedList{ReadCloser: f, name: name, nameless: nameless, whole: true}, nil
}

// sumsGC is the target of the garbage collector while a checksum file is read, in percent of
// what is in use. The file may have millions of lines, all of which stay; with the default of
// 100, as much again would be garbage. Half of it takes twice the time of the collector.
const sumsGC = 20

// readSums reads a checksum file, and returns what tells the digest of a file by its
// path. That it has none is an error: what is to be proved is not fetched unproved.
// It returns nil if there is no such file to read.
func (l lister) readSums(ctx context.Context, name string) (func(string) (chunk.Sum, error), error) {
	if name == "" {
		return nil, nil
	}
	in, err := l.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(sumsGC))
	sums, problems, err := list.ReadSums(in.name, in, l.text)
	if err == nil && len(problems) > 0 {
		err = usageError(problems[0])
	}
	if err != nil {
		return nil, err
	}
	return func(path string) (chunk.Sum, error) {
		sum, err := sums.Find(path)
		if err == nil && sum.IsZero() {
			err = usageError(fmt.Errorf("%q has no digest for %q; it is not fetched", in.name, path))
		}
		return sum, err
	}, nil
}

// lists opens all lists, one after another. An error of one does not end the others.
func (c *MirrorCmd) lists(ctx context.Context, l lister, say *speaker) iter.Seq2[mirror.List, error] {
	return func(yield func(mirror.List, error) bool) {
		for _, name := range c.Lists {
			in, err := l.open(ctx, name)
			if err != nil {
				if !yield(mirror.List{}, err) {
					return
				}
				continue
			}
			if c.Prune && !in.whole {
				say.warn("list %q came without a length, so it may have been cut; it prunes nothing", in.name)
			}
			more := yield(mirror.List{Key: c.listKey(name, in.nameless), Complete: in.whole, Entries: c.entries(in)}, nil)
			in.Close()
			if !more {
				return
			}
		}
	}
}

// entries reads one list.
func (c *MirrorCmd) entries(in openedList) iter.Seq2[list.Entry, error] {
	o := list.Options{Format: list.Format(c.Format), Base: cmp.Or(c.Base, in.base), Glob: c.Glob, MaxBytes: c.text()}
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
