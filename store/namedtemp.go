package store

// This file implements the temporary files of small files on file systems that have no
// files without a name. See "Many small files" in the package comment.

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A temporary file is called .pawl-OWNER-ID.tmp. OWNER is tempOwner of its Store, ID is
// random. By this name, a later run recognises the files that a crash has left.
const (
	tempPrefix = ".pawl-"
	tempSuffix = ".tmp"
	ownerBytes = 4
)

// maxSwept is the number of directories of which a sweeper knows that it need not look
// again. Twice as many take more memory, about 100 KiB; with half as many, a list that
// returns to a directory after that many others reads its names again.
const maxSwept = 1000

// A namedTemp is a temporary file with a name. It is locked from its creation until Close,
// so that other processes do not take it for a file of a killed process. It takes two file
// descriptors.
type namedTemp struct {
	File
	fs   *tolerantFS
	lock io.Closer
	name string // "" once the file has its final name
}

// createNamedTemp creates a namedTemp in dir. Before the first one in dir, it removes the
// files that killed processes have left there.
func (s *Store) createNamedTemp(dir string) (File, error) {
	if lockSuffix != "" { // a separate lock file for each would cost more than it saves
		return nil, errors.ErrUnsupported
	}
	s.removeLeftovers(dir)
	for range 10 {
		f, err := s.tryNamedTemp(filepath.Join(dir, tempPrefix+s.tempOwner()+"-"+string(NewID())+tempSuffix))
		if !errors.Is(err, ErrBusy) {
			return f, err
		}
	}
	return nil, fmt.Errorf("temporary file in %q: %w", dir, ErrBusy)
}

// tryNamedTemp is createNamedTemp with a name. The error is ErrBusy if another process
// has taken the file for a leftover before it was locked.
func (s *Store) tryNamedTemp(name string) (File, error) {
	tmp := &namedTemp{fs: s.fs, name: name}
	var err error
	if tmp.lock, err = s.fs.Lock(name, true); err == nil {
		tmp.File, err = s.fs.Open(name)
	}
	if err == nil {
		err = tmp.Chmod(s.fileMode)
	}
	if err != nil {
		tmp.Close()
		return nil, err
	}
	return tmp, nil
}

// rename gives the file its final name. A failed rename counts as done if the file has
// that name: only its old name could not be removed, or the response of a server was lost.
func (tmp *namedTemp) rename(to string, replace bool) error {
	err := tmp.fs.Rename(tmp.name, to, replace)
	if err == nil {
		tmp.name = ""
		return nil
	}
	info, statErr := tmp.Stat()
	there, lstatErr := tmp.fs.Lstat(to)
	if statErr == nil && lstatErr == nil && tmp.fs.SameFile(info, there) {
		return nil
	}
	return err
}

// Close removes the file, unless it has its final name, and then releases its lock. It may
// be called again. It always returns nil.
func (tmp *namedTemp) Close() error {
	if tmp.name != "" {
		tmp.fs.Remove(tmp.name) // if it fails, a later run removes the file
		tmp.name = ""
	}
	if tmp.File != nil {
		tmp.File.Close()
	}
	if tmp.lock != nil {
		tmp.lock.Close()
	}
	return nil
}

// tempOwner identifies this machine and state directory in the names of temporary files.
func (s *Store) tempOwner() string {
	host, _ := os.Hostname() // without it, the directory must do
	return hashName(host + "\x00" + s.fs.lockDir)[:2*ownerBytes]
}

// ownerOfTemp returns the OWNER in the name of a temporary file, and whether name is one.
func ownerOfTemp(name string) (owner string, ok bool) {
	middle, isTemp := strings.CutPrefix(name, tempPrefix)
	middle, hasSuffix := strings.CutSuffix(middle, tempSuffix)
	owner, id, _ := strings.Cut(middle, "-")
	return owner, isTemp && hasSuffix && isHex(owner, ownerBytes) && isHex(id, len(NewID())/2)
}

// isHex reports whether s is n bytes in hexadecimal form.
func isHex(s string, n int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n
}

// removeLeftovers removes the temporary files of killed processes from dir, the first time
// that it is called for dir. Best effort: a file that cannot be read or removed stays.
func (s *Store) removeLeftovers(dir string) {
	if !s.swept.add(dir) {
		return
	}
	names, _ := s.fs.NamesWith(dir, tempPrefix)
	for _, name := range names {
		if owner, ok := ownerOfTemp(name); ok {
			s.removeLeftover(filepath.Join(dir, name), owner)
		}
	}
}

// removeLeftover removes the temporary file at path if no process has locked it. A file of
// another state directory stays if the file system has no locks, because its process may be
// alive. So does a file that is on record, because a list may name any file.
func (s *Store) removeLeftover(path, owner string) {
	if _, err := s.ByTarget(path); !errors.Is(err, ErrNotFound) {
		return
	}
	lock, err := s.fs.Lock(path, false)
	if err != nil {
		return
	}
	defer lock.Close()
	if _, isFallback := lock.(fallbackLock); !isFallback || owner == s.tempOwner() {
		s.fs.Remove(path)
	}
}

// A sweptDirs is a set of directories that forgets its members when it becomes too large.
// Safe for concurrent use.
type sweptDirs struct {
	mu   sync.Mutex
	dirs map[string]bool // guarded by mu
}

// add adds dir and reports whether it is new.
func (s *sweptDirs) add(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirs[dir] {
		return false
	}
	if s.dirs == nil || len(s.dirs) >= maxSwept {
		s.dirs = make(map[string]bool)
	}
	s.dirs[dir] = true
	return true
}
