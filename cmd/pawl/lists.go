package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/store"
)

// busyList is how long another process may take to fetch the same list.
const busyList = 10 * time.Minute

// An openedList is a list to read, with the name that messages have for it.
type openedList struct {
	io.ReadCloser
	name string
	base string // URL that it came from, "" for a file
}

// A listError says that a list cannot be read, for a reason of its own.
type listError struct{ error }

func (e listError) Unwrap() error { return e.error }

// Is is for errors.Is, whatever the reason.
func (e listError) Is(target error) bool {
	_, ok := target.(listError)
	return ok
}

// openList opens a file, what a URL leads to, or standard input.
func openList(ctx context.Context, d *downloader.Downloader, g *Globals, name string) (openedList, error) {
	switch {
	case name == "-":
		return openedList{io.NopCloser(os.Stdin), "standard input", ""}, nil
	case !strings.Contains(name, "://"):
		f, err := os.Open(name)
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
			f.Close()
			err = &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
		}
		if err != nil {
			err = listError{err}
		}
		return openedList{f, name, ""}, err
	}
	dir, err := g.stateDir()
	if err != nil {
		return openedList{}, err
	}
	shown := downloader.ShownURL(name)
	hash := sha256.Sum256([]byte(shown))
	req := downloader.Request{URL: name, Dir: filepath.Join(dir, "lists"), Output: hex.EncodeToString(hash[:8]), Overwrite: true}
	res, err := d.Get(ctx, req) // which asks for it only if it has changed
	for end := time.Now().Add(busyList); errors.Is(err, store.ErrBusy) && time.Now().Before(end) && ctx.Err() == nil; {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		res, err = d.Get(ctx, req)
	}
	if err != nil {
		return openedList{}, fmt.Errorf("list %q: %w", shown, err)
	}
	f, err := os.Open(res.Target)
	return openedList{f, shown, shown}, err
}

// readSums reads a checksum file, and returns what tells the digest of a file by its
// path. That it has none is an error: what is to be proved is not fetched unproved.
// It returns nil if there is no such file to read.
func readSums(ctx context.Context, d *downloader.Downloader, g *Globals, name string) (func(string) (chunk.Sum, error), error) {
	if name == "" {
		return nil, nil
	}
	in, err := openList(ctx, d, g, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sums, problems, err := list.ReadSums(in.name, in)
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

// entries reads all lists, one after another. An error of one does not end the others.
func (c *MirrorCmd) entries(ctx context.Context, d *downloader.Downloader, g *Globals) iter.Seq2[list.Entry, error] {
	return func(yield func(list.Entry, error) bool) {
		for _, name := range c.Lists {
			in, err := openList(ctx, d, g, name)
			if err != nil {
				if !yield(list.Entry{}, err) {
					return
				}
				continue
			}
			base := c.Base
			if base == "" {
				base = in.base
			}
			for e, err := range list.Read(in.name, in, list.Options{Format: list.Format(c.Format), Base: base, Glob: c.Glob}) {
				var p *list.Problem
				if err != nil && !errors.As(err, &p) {
					err = listError{err}
				}
				if !yield(e, err) {
					in.Close()
					return
				}
			}
			in.Close()
		}
	}
}
