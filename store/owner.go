package store

// This file protects pawl from other users of the machine. As ssh does, pawl trusts no
// file that another user owns or may write to.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNotOurs reports that a file belongs to another user, or that other users may write
// to it. Its content could be whatever they want, so it must not be used.
var ErrNotOurs = errors.New("not private to this user")

// CheckOwner returns an ErrNotOurs if the file at path belongs to a user other than this
// one or root. info must be the result of Lstat or Stat for path.
func CheckOwner(path string, info fs.FileInfo) error {
	uid, _, known := ownerOf(info)
	if !known || uid == os.Geteuid() || uid == 0 || uid == ownerOfNew(filepath.Dir(path)) {
		return nil
	}
	return fmt.Errorf("%q belongs to user %d: %w", path, uid, ErrNotOurs)
}

// CheckTrusted is CheckOwner, and also returns an ErrNotOurs if other users may write to
// the file. It ignores the mode of a symbolic link, which has no meaning.
func CheckTrusted(path string, info fs.FileInfo) error {
	if err := CheckOwner(path, info); err != nil {
		return err
	}
	_, _, known := ownerOf(info)
	if mode := info.Mode(); known && mode.Type() != fs.ModeSymlink && mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%q has mode %04o, which lets other users write to it: %w", path, mode.Perm(), ErrNotOurs)
	}
	return nil
}

// ownerOfNew returns the owner that the file system gives to a new file in dir, or -1 if
// unknown. Some file systems have one owner for all files, and NFS may map root to
// nobody.
func ownerOfNew(dir string) int {
	f, err := os.CreateTemp(dir, ".pawl-*.tmp")
	if err != nil {
		return -1
	}
	defer os.Remove(f.Name())
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return -1
	}
	uid, _, known := ownerOf(info)
	if !known {
		return -1
	}
	return uid
}

// stateNames lists the files that a state directory may contain, besides renamed damaged
// files.
var stateNames = []string{FileName, FileName + ".new", lockName, checkmarkName, hostsName, runsName, locksName, "lists"}

// checkState creates the state directory with mode 0700. If it exists, checkState returns
// an ErrNotOurs if other users may have created or changed it or the files in it. It
// removes the permissions of other users from these files.
func checkState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := checkTrustedPath(dir); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	closed := info.Mode().Perm()&0o011 == 0 // other users cannot reach the files in it
	for _, name := range stateNames {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil {
			continue // missing, or an error that its first use will report
		}
		link := info.Mode().Type() == fs.ModeSymlink
		if closed && info.IsDir() { // earlier versions left the mode of these to the umask
			err = CheckOwner(path, info)
		} else {
			err = checkTrustedPath(path)
		}
		if err != nil {
			return err
		}
		if mode := info.Mode(); !link && mode.Perm()&0o077 != 0 {
			os.Chmod(path, mode.Perm()&^0o077) // best effort: the state directory may be closed to others, too
		}
	}
	return nil
}

// checkTrustedPath is CheckTrusted for the file at path and, if that is a symbolic link,
// also for the file that it leads to. A missing file is trusted.
func checkTrustedPath(path string) error {
	for _, stat := range []func(string) (fs.FileInfo, error){os.Lstat, os.Stat} {
		info, err := stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = CheckTrusted(path, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckPrivate also refuses a file with a second name: another user could have linked one
// of our own files to name, so that pawl would overwrite it.
func (osFS) CheckPrivate(name string, info fs.FileInfo) error { return checkPrivate(name, name, info) }

// checkPrivate is CheckPrivate for a file at path that errors call name.
func checkPrivate(path, name string, info fs.FileInfo) error {
	uid, links, known := ownerOf(info)
	switch {
	case !known:
		return nil
	case links > 1:
		return fmt.Errorf("%q has %d hard links: %w", name, links, ErrNotOurs)
	case uid != os.Geteuid() && uid != ownerOfNew(filepath.Dir(path)):
		return fmt.Errorf("%q belongs to user %d: %w", name, uid, ErrNotOurs)
	}
	return nil
}

// A notOursError reports that the file at the path of a part file is not ours. A new
// download takes another name for its part file; an earlier download cannot continue.
type notOursError struct{ error }

func (e notOursError) Unwrap() []error { return []error{e.error, errNameTaken, ErrIrregular} }

// checkOurs returns an error unless the part file of rec is a regular file that belongs
// to this user alone. info must describe the file.
func (s *Store) checkOurs(rec *Record, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q: %w: it is not a regular file", rec.Part(), ErrIrregular)
	}
	err := s.fs.CheckPrivate(rec.Part(), info)
	if err == nil {
		return nil
	}
	if rec.State == Finishing { // a crash in step 5 may have left one file with both names
		if target, lstatErr := s.fs.Lstat(rec.Target); lstatErr == nil && s.fs.SameFile(info, target) {
			return nil
		}
	}
	return notOursError{err}
}
