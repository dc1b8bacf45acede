package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"pawl/store"
)

// An atomicFile is a file in the making. What is written goes to a temporary
// file beside it, and commit puts that in its place, so that under its name
// there is at any time either what was there before or all of what is new. A
// process that is killed leaves the temporary file, .pawl-….tmp, behind. Both have mode
// 0600, because URLs and headers in them may be secrets.
//
// It is owned by one goroutine. The methods do nothing where it is nil.
type atomicFile struct {
	path string
	tmp  *os.File // nil after commit or abort
	buf  *bufio.Writer
}

// An outputError is what kept a file that the user asked for, other than a
// download, from being written.
type outputError struct {
	path string
	err  error
}

func (e *outputError) Error() string { return fmt.Sprintf("%q cannot be written: %v", e.path, e.err) }
func (e *outputError) Unwrap() error { return e.err }

// newAtomicFile begins the file at path, which need not exist. Where it can never be
// written that fails at once.
func newAtomicFile(path string) (*atomicFile, error) {
	target, err := renameTarget(path)
	if err != nil {
		return nil, &outputError{path, err}
	}
	name := filepath.Join(filepath.Dir(target), fmt.Sprintf(".pawl-%016x.tmp", rand.Uint64()))
	tmp, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, &outputError{path, err}
	}
	return &atomicFile{path: target, tmp: tmp, buf: bufio.NewWriterSize(tmp, 64<<10)}, nil
}

// checkLinks returns an ErrNotOurs if path leads through a symbolic link of somebody
// else, who could choose by it which file is replaced.
func checkLinkOwners(path string) error {
	for range 40 { // links that lead to each other; the system has the same limit
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if err := checkLinkOwner(dir); err != nil {
				return err
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
		if err := checkLinkOwner(path); err != nil {
			return err
		}
		to, err := os.Readlink(path)
		if err != nil { // it is none
			return nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return nil
}

// checkLink returns an ErrNotOurs if path is a symbolic link of somebody else.
func checkLinkOwner(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return nil
	}
	return store.CheckOwner(path, info)
}

// replaceable returns what a rename is to replace, for a path that the user
// gave. A symbolic link stays one, but somebody
// else's is refused; a device or a pipe is refused, as a rename would put a file in its
// place.
func renameTarget(path string) (target string, err error) {
	if err := checkLinkOwners(path); err != nil {
		return "", err
	}
	target, err = filepath.EvalSymlinks(path)
	if err != nil {
		target = path // for Stat to say what is wrong, if anything is
	}
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err = os.Stat(filepath.Dir(target))
		return target, err
	case err != nil:
		return "", err
	case info.IsDir():
		return "", &fs.PathError{Op: "open", Path: target, Err: syscall.EISDIR}
	case !info.Mode().IsRegular():
		return "", &fs.PathError{Op: "open", Path: target, Err: errors.New("not a regular file")}
	}
	return target, nil
}

// Write adds to the file. After an error there are only errors, and commit
// returns the first one; so nobody else need look at them.
func (a *atomicFile) Write(p []byte) (int, error) {
	if a == nil {
		return len(p), nil
	}
	return a.buf.Write(p)
}

// commit syncs what was written and puts it in its place. If that fails nothing
// of it is left, and what was there before is there still.
func (a *atomicFile) commit() error {
	if a == nil {
		return nil
	}
	defer a.abort()
	err := a.buf.Flush()
	if err == nil {
		err = a.tmp.Sync()
	}
	if closeErr := a.tmp.Close(); err == nil { // before the rename, for Windows
		err = closeErr
	}
	if err == nil {
		err = os.Rename(a.tmp.Name(), a.path)
	}
	if err != nil {
		return &outputError{a.path, err}
	}
	a.tmp = nil
	if dir, err := os.Open(filepath.Dir(a.path)); err == nil {
		dir.Sync() // a favour: not every system can, and the file is whole either way
		dir.Close()
	}
	return nil
}

// abort leaves everything as it was before. After commit, or a second time, it
// does nothing.
func (a *atomicFile) abort() {
	if a == nil || a.tmp == nil {
		return
	}
	a.tmp.Close()
	os.Remove(a.tmp.Name())
	a.tmp = nil
}

// pour copies what was written to w, and aborts.
func (a *atomicFile) copyTo(w io.Writer) error {
	if a == nil {
		return nil
	}
	defer a.abort()
	err := a.buf.Flush()
	if err == nil {
		_, err = a.tmp.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(w, a.tmp)
	}
	return err
}
