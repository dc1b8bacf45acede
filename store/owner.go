package store

// This file is about the other users of the machine. Pawl trusts nothing that they own
// or may write, as ssh does.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNotOurs says that something belongs to another user, or that other users may write
// to it, so that it may say what they want.
var ErrNotOurs = errors.New("it is not ours alone")

// CheckOwner returns an ErrNotOurs if the file at path, which info is about, belongs to
// a user who is neither this one nor root.
func CheckOwner(path string, info fs.FileInfo) error {
	uid, _, known := ownerOf(info)
	if !known || uid == os.Geteuid() || uid == 0 || uid == ownerOfNew(filepath.Dir(path)) {
		return nil
	}
	return fmt.Errorf("%q belongs to user %d: %w", path, uid, ErrNotOurs)
}

// CheckTrusted is CheckOwner, and returns an ErrNotOurs if other users may write to the
// file. The mode of a symbolic link means nothing.
func CheckTrusted(path string, info fs.FileInfo) error {
	if err := CheckOwner(path, info); err != nil {
		return err
	}
	_, _, known := ownerOf(info)
	if mode := info.Mode(); known && mode.Type() != fs.ModeSymlink && mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%q has mode %04o, so that other users may write to it: %w", path, mode.Perm(), ErrNotOurs)
	}
	return nil
}

// ownerOfNew returns the user whom the file system of dir makes the owner of a new file,
// -1 if it cannot be told. Some file systems have one owner for all files, and NFS may
// make nobody the owner of root's.
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

// stateNames are what a state directory may hold besides files that were set aside.
var stateNames = []string{fileName, fileName + ".new", lockName, hostsName, runsName, locksName, "lists"}

// checkState makes the state directory, for this user alone, or returns an ErrNotOurs
// if other users may have made or changed it or what it holds. What only others may read
// is closed to them.
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
	closed := info.Mode().Perm()&0o011 == 0 // nobody else reaches what is in it
	for _, name := range stateNames {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil {
			continue // it is not there, or will be an error when it is used
		}
		link := info.Mode().Type() == fs.ModeSymlink
		if closed && info.IsDir() { // whatever its mode: earlier versions left it to the umask
			err = CheckOwner(path, info)
		} else {
			err = checkTrustedPath(path)
		}
		if err != nil {
			return err
		}
		if mode := info.Mode(); !link && mode.Perm()&0o077 != 0 {
			os.Chmod(path, mode.Perm()&^0o077) // a favour: the directory may be closed
		}
	}
	return nil
}

// checkBoth is CheckTrusted of what is at path, and of what it leads to if it is a
// symbolic link.
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

// Alone returns an ErrNotOurs unless a regular file belongs to this user and has one
// name. Through another name somebody else could have given us a file to write to.
func (osFS) CheckPrivate(name string, info fs.FileInfo) error { return checkPrivate(name, name, info) }

// alone is Alone of a file that the user knows by name, and that is at path.
func checkPrivate(path, name string, info fs.FileInfo) error {
	uid, links, known := ownerOf(info)
	switch {
	case !known:
		return nil
	case links > 1:
		return fmt.Errorf("%q has %d names: %w", name, links, ErrNotOurs)
	case uid != os.Geteuid() && uid != ownerOfNew(filepath.Dir(path)):
		return fmt.Errorf("%q belongs to user %d: %w", name, uid, ErrNotOurs)
	}
	return nil
}

// A strangerError says that what is at the path of a part file is not ours. A new
// download takes another name, and an earlier one cannot go on.
type notOursError struct{ error }

func (e notOursError) Unwrap() []error { return []error{e.error, errNameTaken, ErrIrregular} }

// ours returns an error unless the part file of rec, which info is about, is a regular
// file that belongs to this user alone.
func (s *Store) checkOurs(rec *Record, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q: %w: it is not a regular file", rec.Part(), ErrIrregular)
	}
	err := s.fs.CheckPrivate(rec.Part(), info)
	if err == nil {
		return nil
	}
	if rec.State == Finishing { // a crash may have left the finished file with both names
		if target, lstatErr := s.fs.Lstat(rec.Target); lstatErr == nil && s.fs.SameFile(info, target) {
			return nil
		}
	}
	return notOursError{err}
}
