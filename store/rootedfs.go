package store

// This file keeps the files of lists below their directory. No symbolic link below that
// directory is followed, because a user who can create one there could make pawl write
// anywhere.

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
var ErrLink error = symlinkError{}

// symlinkError is the type of ErrLink.
type symlinkError struct{}

func (symlinkError) Error() string {
	return "it is a symbolic link, which is not followed below the directory of a list"
}
func (symlinkError) Is(target error) bool { return target == ErrIrregular || target == ErrForeign }

// A rootedFS is the real file system, but does not follow symbolic links below root. The
// root itself may be reached through links. Each method opens the directory of its file
// without following a link and uses the file through that handle; see withSafePath. Paths
// outside of root, and files directly in root, are used as they are.
type rootedFS struct {
	osFS
	root   string // absolute path
	noProc bool   // /proc is not mounted, so a handle cannot be used as a path; see openDirNoFollow
}

// newRootedFS returns the file system for the absolute path root.
func newRootedFS(root string) rootedFS {
	_, err := os.Stat(fdDir)
	return rootedFS{root: root, noProc: err != nil}
}

// A rootedFile is a part file below root. Its Name is the path that the user knows, which
// must not be used to open anything, because a directory of it may be a link by now.
type rootedFile struct {
	osFile
	fs rootedFS
}

// SetModTime is SetModTime of osFile with a safe path.
func (f rootedFile) SetModTime(t time.Time) error {
	return f.fs.withSafePath(f.Name(), func(path string) error { return setTimes(path, t) })
}

// withSafePath calls do with a path for the file name that leads through no symbolic
// link. The path is valid until do returns. Errors of do get the name instead of the
// path.
func (b rootedFS) withSafePath(name string, do func(path string) error) error {
	return b.withSafeDir(filepath.Dir(name), func(dir string) error {
		err := do(filepath.Join(dir, filepath.Base(name)))
		return restorePaths(err, dir, filepath.Dir(name))
	})
}

// withSafeDir is withSafePath for a directory.
func (b rootedFS) withSafeDir(dir string, do func(path string) error) error {
	rel, err := filepath.Rel(b.root, dir)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return do(dir)
	}
	path, done, err := b.openDirNoFollow(rel)
	if err != nil {
		return err
	}
	defer done()
	return restorePaths(do(path), path, dir)
}

// restorePaths replaces the directory from by to in the paths of err, so that messages
// show the path that the user knows.
func restorePaths(err error, from, to string) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		path.Path = replaceDir(path.Path, from, to)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		link.Old, link.New = replaceDir(link.Old, from, to), replaceDir(link.New, from, to)
	}
	return err
}

// replaceDir replaces the leading directory from of path by to.
func replaceDir(path, from, to string) string {
	rest, found := strings.CutPrefix(path, from)
	if !found || rest != "" && rest[0] != filepath.Separator {
		return path
	}
	return to + rest
}

// checkNoSymlinks returns ErrLink if one of the directories of rel, a path below root, is
// a symbolic link.
func checkNoSymlinks(root, rel string) error {
	dir := root
	for name := range strings.SplitSeq(rel, string(filepath.Separator)) {
		dir = filepath.Join(dir, name)
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		// A junction of Windows is irregular. A directory of a cloud service is
		// irregular, too, but IsDir is true for it.
		if t := info.Mode().Type(); t == fs.ModeSymlink || t&fs.ModeIrregular != 0 && !info.IsDir() {
			return fmt.Errorf("%q: %w", dir, ErrLink)
		}
	}
	return nil
}

func (b rootedFS) CheckPrivate(name string, info fs.FileInfo) error {
	return b.withSafePath(name, func(path string) error { return checkPrivate(path, name, info) })
}

func (b rootedFS) Lstat(name string) (info fs.FileInfo, err error) {
	err = b.withSafePath(name, func(path string) error {
		info, err = b.osFS.Lstat(path)
		return err
	})
	return info, err
}

func (b rootedFS) Lock(part string, create bool) (lock io.Closer, err error) {
	err = b.withSafePath(part, func(path string) error {
		lock, err = b.osFS.Lock(path, create)
		return err
	})
	return lock, err
}

func (b rootedFS) Open(name string) (file File, err error) {
	err = b.withSafePath(name, func(path string) error {
		f, err := openRegular(path, os.O_RDWR|openNoFollow, 0)
		if err == nil {
			f, err = reopenAs(f, name)
		}
		file = rootedFile{osFile{f}, b}
		return err
	})
	return file, err
}

func (b rootedFS) OpenRead(name string) (f ReadFile, err error) {
	err = b.withSafePath(name, func(path string) error {
		f, err = b.osFS.OpenRead(path)
		return err
	})
	return f, err
}

func (b rootedFS) CreateTemp(dir string) (f File, err error) {
	err = b.withSafeDir(dir, func(path string) error {
		f, err = b.osFS.CreateTemp(path)
		return err
	})
	return f, err
}

func (b rootedFS) LinkTemp(f File, name string) error {
	return b.withSafePath(name, func(path string) error { return b.osFS.LinkTemp(f, path) })
}

func (b rootedFS) Mkdir(dir string) error { return b.withSafePath(dir, b.osFS.Mkdir) }

func (b rootedFS) Rename(from, to string, replace bool) error {
	return b.withSafePaths(from, to, func(from, to string) error { return b.osFS.Rename(from, to, replace) })
}

func (b rootedFS) Hardlink(from, to string) error { return b.withSafePaths(from, to, b.osFS.Hardlink) }

// withSafePaths is withSafePath for two files.
func (b rootedFS) withSafePaths(from, to string, do func(from, to string) error) error {
	return b.withSafePath(from, func(from string) error {
		return b.withSafePath(to, func(to string) error { return do(from, to) })
	})
}

func (b rootedFS) Remove(name string) error { return b.withSafePath(name, b.osFS.Remove) }

func (b rootedFS) NamesWith(dir, prefix string) (names []string, err error) {
	err = b.withSafeDir(dir, func(path string) error {
		names, err = b.osFS.NamesWith(path, prefix)
		return err
	})
	return names, err
}

func (b rootedFS) SyncDir(dir string) error { return b.withSafeDir(dir, b.osFS.SyncDir) }
