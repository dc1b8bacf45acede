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

// An atomicFile replaces a file in one step. Write writes to a temporary file in the same
// directory, and commit renames it, so that the path always names either the complete old
// file or the complete new one. If the process is killed, the temporary file, for example
// .pawl-0123456789abcdef.tmp, stays behind. The new file has mode 0600, because its URLs
// and headers may contain secrets.
//
// Only one goroutine may use an atomicFile at a time. Either commit, copyTo or abort must
// be called in the end. All methods do nothing if the receiver is nil, so that a file that
// was not asked for needs no special case.
type atomicFile struct {
	path string        // the file to replace, with symbolic links resolved
	tmp  *os.File      // nil after commit or abort
	buf  *bufio.Writer // writes to tmp
}

// An outputError reports that a file other than a download, such as the one of --report,
// cannot be written.
type outputError struct {
	path string
	err  error
}

func (e *outputError) Error() string { return fmt.Sprintf("%q cannot be written: %v", e.path, e.err) }
func (e *outputError) Unwrap() error { return e.err }

// newAtomicFile begins to replace the file at path, which need not exist. It fails at once
// if the file can never be written, so that the user does not learn that after a long run.
func newAtomicFile(path string) (*atomicFile, error) {
	target, err := renameTarget(path)
	if err != nil {
		return nil, &outputError{path, err}
	}
	// The temporary file must be in the same directory, because a rename cannot cross file
	// systems.
	name := filepath.Join(filepath.Dir(target), fmt.Sprintf(".pawl-%016x.tmp", rand.Uint64()))
	// O_EXCL: nobody else can have prepared a file or link under that name.
	tmp, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, &outputError{path, err}
	}
	return &atomicFile{path: target, tmp: tmp, buf: bufio.NewWriterSize(tmp, 64<<10)}, nil
}

// checkLinkOwners returns an ErrNotOurs if path leads through a symbolic link that belongs
// to another user, because that user could choose which file is replaced.
func checkLinkOwners(path string) error {
	for range maxLinks { // links may form a circle
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
		if err != nil { // path is no symbolic link
			return nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return nil
}

// checkLinkOwner returns an ErrNotOurs if path is a symbolic link that belongs to another
// user.
func checkLinkOwner(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return nil
	}
	return store.CheckOwner(path, info)
}

// renameTarget returns the path that the temporary file must be renamed to. A symbolic
// link is followed, so that it stays a link, but a link of another user is refused. A
// device or pipe is refused too, because the rename would replace it with a file.
func renameTarget(path string) (target string, err error) {
	if err := checkLinkOwners(path); err != nil {
		return "", err
	}
	target, err = filepath.EvalSymlinks(path)
	if err != nil {
		target = path // Stat returns the error, unless the file is only missing
	}
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist): // fine, but the directory must exist
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

// Write appends to the new file. Callers may ignore its error: after the first error all
// calls fail, and commit returns that error.
func (a *atomicFile) Write(p []byte) (int, error) {
	if a == nil {
		return len(p), nil
	}
	return a.buf.Write(p)
}

// commit syncs the new file and renames it to the path. The order matters: after a rename
// without a sync, a power cut could leave an empty file under the path. If commit fails,
// the old file is unchanged and the temporary file is removed.
func (a *atomicFile) commit() error {
	if a == nil {
		return nil
	}
	defer a.abort()
	err := a.buf.Flush()
	if err == nil {
		err = a.tmp.Sync()
	}
	if closeErr := a.tmp.Close(); err == nil { // before the rename, because Windows cannot rename an open file
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
		dir.Sync() // optional: not every system can, and without it a power cut only brings back the old file
		dir.Close()
	}
	return nil
}

// abort removes the temporary file and leaves the old file unchanged. It does nothing after
// commit or after an earlier abort, so that it may be deferred.
func (a *atomicFile) abort() {
	if a == nil || a.tmp == nil {
		return
	}
	a.tmp.Close()
	os.Remove(a.tmp.Name())
	a.tmp = nil
}

// copyTo copies the written text to w and removes the temporary file.
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
