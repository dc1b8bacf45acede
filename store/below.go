package store

// This file keeps the files of lists below their directory: no symbolic link below it is
// followed, because whoever can make one there could lead pawl anywhere.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrLink is an ErrIrregular: the path leads through a symbolic link below Options.Root.
var ErrLink error = throughLink{}

// throughLink is the type of ErrLink.
type throughLink struct{}

func (throughLink) Error() string {
	return "it is a symbolic link, which is not followed below the directory of a list"
}
func (throughLink) Is(target error) bool { return target == ErrIrregular || target == ErrForeign }

// A belowFS is the real file system, but for symbolic links below root, which may itself
// be reached through links. Each method opens the directory of its file without following
// a link, and uses the file by way of that handle: see within. Paths outside of root, and
// files in root itself, have no link to be wary of.
type belowFS struct {
	osFS
	root   string // absolute
	byPath bool   // handles have no paths, for want of /proc; see openBelow
}

// newBelowFS returns the file system below an absolute path.
func newBelowFS(root string) belowFS {
	_, err := os.Stat(handlePath)
	return belowFS{root: root, byPath: err != nil}
}

// A belowFile is a part file below root. Its name is not a path by which to find it.
type belowFile struct {
	osFile
	fs belowFS
}

// SetModTime is that of osFile, by way of the directory.
func (f belowFile) SetModTime(t time.Time) error {
	return f.fs.within(f.Name(), func(path string) error { return setTimes(path, t) })
}

// within calls do with a path of the file name that leads through no symbolic link. It
// is valid until do returns, and stands in no error.
func (b belowFS) within(name string, do func(path string) error) error {
	return b.inside(filepath.Dir(name), func(dir string) error {
		err := do(filepath.Join(dir, filepath.Base(name)))
		return renamed(err, dir, filepath.Dir(name))
	})
}

// inside is within of a directory.
func (b belowFS) inside(dir string, do func(path string) error) error {
	rel, err := filepath.Rel(b.root, dir)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return do(dir)
	}
	path, done, err := b.openBelow(rel)
	if err != nil {
		return err
	}
	defer done()
	return renamed(do(path), path, dir)
}

// renamed gives err the path that the caller knows.
func renamed(err error, from, to string) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		path.Path = withPrefix(path.Path, from, to)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		link.Old, link.New = withPrefix(link.Old, from, to), withPrefix(link.New, from, to)
	}
	return err
}

// withPrefix replaces the directory from, at the beginning of path, with to.
func withPrefix(path, from, to string) string {
	rest, found := strings.CutPrefix(path, from)
	if !found || rest != "" && rest[0] != filepath.Separator {
		return path
	}
	return to + rest
}

// checkBelow returns ErrLink if a directory of the path rel below root is a symbolic
// link.
func checkBelow(root, rel string) error {
	dir := root
	for name := range strings.SplitSeq(rel, string(filepath.Separator)) {
		dir = filepath.Join(dir, name)
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		// A junction of Windows is irregular; so is a directory of a cloud, but that is one.
		if t := info.Mode().Type(); t == fs.ModeSymlink || t&fs.ModeIrregular != 0 && !info.IsDir() {
			return fmt.Errorf("%q: %w", dir, ErrLink)
		}
	}
	return nil
}

func (b belowFS) Alone(name string, info fs.FileInfo) error {
	return b.within(name, func(path string) error { return alone(path, name, info) })
}

func (b belowFS) Lstat(name string) (info fs.FileInfo, err error) {
	err = b.within(name, func(path string) error {
		info, err = b.osFS.Lstat(path)
		return err
	})
	return info, err
}

func (b belowFS) Lock(part string, create bool) (lock io.Closer, err error) {
	err = b.within(part, func(path string) error {
		lock, err = b.osFS.Lock(path, create)
		return err
	})
	return lock, err
}

func (b belowFS) Open(name string) (file File, err error) {
	err = b.within(name, func(path string) error {
		f, err := openRegular(path, os.O_RDWR|openNoFollow, 0)
		if err == nil {
			f, err = named(f, name)
		}
		file = belowFile{osFile{f}, b}
		return err
	})
	return file, err
}

func (b belowFS) OpenRead(name string) (f ReadFile, err error) {
	err = b.within(name, func(path string) error {
		f, err = b.osFS.OpenRead(path)
		return err
	})
	return f, err
}

func (b belowFS) Unnamed(dir string) (f File, err error) {
	err = b.inside(dir, func(path string) error {
		f, err = b.osFS.Unnamed(path)
		return err
	})
	return f, err
}

func (b belowFS) Link(f File, name string) error {
	return b.within(name, func(path string) error { return b.osFS.Link(f, path) })
}

func (b belowFS) Mkdir(dir string) error { return b.within(dir, b.osFS.Mkdir) }

func (b belowFS) Rename(from, to string, replace bool) error {
	return b.both(from, to, func(from, to string) error { return b.osFS.Rename(from, to, replace) })
}

func (b belowFS) Hardlink(from, to string) error { return b.both(from, to, b.osFS.Hardlink) }

// both is within of two files.
func (b belowFS) both(from, to string, do func(from, to string) error) error {
	return b.within(from, func(from string) error {
		return b.within(to, func(to string) error { return do(from, to) })
	})
}

func (b belowFS) Remove(name string) error { return b.within(name, b.osFS.Remove) }

func (b belowFS) SyncDir(dir string) error { return b.inside(dir, b.osFS.SyncDir) }
