package main

// This file finds the state directory, and does without one.

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"

	"pawl/store"
)

// A state is the open state directory of a command.
type state struct {
	*store.Store
	dir       string
	temporary bool // close removes dir, so nothing can be resumed
}

// openStore opens the state directory. Its warnings are printed to out.
func (g *Globals) openStore(out *printer, opts store.Options) (state, error) {
	st, _, err := g.tryStates(out, opts)
	return st, err
}

// openAnyStore is openStore for a command that downloads: if no state can be kept, it warns
// and keeps the state of this run in a temporary directory. The result must be closed. A
// state that exists is never left out, because it may know the downloads that the user
// wants to continue.
func (g *Globals) openAnyStore(out *printer, opts store.Options) (state, error) {
	st, missing, err := g.tryStates(out, opts)
	if err == nil || !missing {
		return st, err
	}
	for _, parent := range []string{os.TempDir(), "/dev/shm", "/var/tmp", "."} {
		dir, tempErr := os.MkdirTemp(parent, "pawl-state-*")
		if tempErr != nil {
			continue
		}
		if dir, tempErr = filepath.Abs(dir); tempErr == nil {
			st, tempErr = openReady(dir, out, opts)
		}
		if st.temporary = true; tempErr == nil {
			out.warn("this run cannot be resumed, because its state cannot be kept (%s); name a directory for it with --state DIR", printable(err.Error()))
			return st, nil
		}
		os.RemoveAll(dir)
	}
	return st, err
}

// isKeptList reports whether a record is of a list or checksum file that pawl keeps in the state directory,
// which is no download of the user.
func (st state) isKeptList(r store.Record) bool {
	dir, err := filepath.Abs(listDir(st.dir))
	return err == nil && filepath.Dir(r.Target) == dir
}

// downloads is allRecords for the downloads of the user.
func (st state) downloads(finished bool) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		for r, err := range allRecords(st.Store, finished) {
			if (err != nil || !st.isKeptList(r)) && !yield(r, err) {
				return
			}
		}
	}
}

// close removes a temporary state, and the part files that nothing could continue.
func (st state) close() {
	if !st.temporary {
		return
	}
	records, _ := st.Unfinished()
	for _, r := range records {
		st.Remove(r.ID, true) // best effort: without a record, the file is only in the way
	}
	os.RemoveAll(st.dir)
}

// tryStates opens --state if it is given, else the first directory of stateDirs that can be
// used. missing reports that there is no state in any of them, and that none can be created
// there.
func (g *Globals) tryStates(out *printer, opts store.Options) (st state, missing bool, err error) {
	if g.State != "" {
		st, err = openReady(g.State, out, opts)
		return st, false, err
	}
	err = fmt.Errorf("%w: no home directory is known", store.ErrState)
	missing = true
	for i, dir := range stateDirs() {
		st, dirErr := openReady(dir, out, opts)
		foreign := errors.Is(dirErr, store.ErrNotOurs) // for example after sudo -u, which may keep HOME
		if dirErr == nil || !foreign && (isDiskFull(hintSubject{err: dirErr}) || hasState(dir)) {
			return st, false, dirErr
		}
		if missing = missing && !foreign; i == 0 {
			err = dirErr
		}
	}
	return state{}, missing, err
}

// openReady opens the store in dir and creates the state file if there is none, so that a
// directory that cannot be used is found before anything else is done.
func openReady(dir string, out *printer, opts store.Options) (state, error) {
	opts.Warn = func(msg string) { out.warn("%s", msg) }
	st, err := store.Open(dir, opts)
	if err == nil && !hasState(dir) {
		err = st.CreateState()
	}
	return state{Store: st, dir: dir}, err
}

// hasState reports whether dir has a state file, may have an invisible one, or is no directory.
func hasState(dir string) bool {
	if _, err := os.Lstat(dir); err != nil {
		return false
	}
	_, err := os.Lstat(filepath.Join(dir, store.FileName))
	return !errors.Is(err, fs.ErrNotExist)
}

// stateDirs returns the directories that may have the state, best first. An absolute
// $XDG_STATE_HOME is the only one; a relative one is ignored, as its specification demands.
func stateDirs() (dirs []string) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return []string{filepath.Join(dir, "pawl")}
	}
	if runtime.GOOS == "windows" {
		if dir, err := os.UserCacheDir(); err == nil { // %LocalAppData%
			return []string{filepath.Join(dir, "pawl")}
		}
	}
	for _, home := range homeDirs() {
		if runtime.GOOS == "darwin" {
			dirs = append(dirs, filepath.Join(home, "Library", "Application Support", "pawl"))
		} else {
			dirs = append(dirs, filepath.Join(home, ".local", "state", "pawl"))
		}
	}
	return dirs
}

// homeDirs returns the home directories of the user that exist: of the environment, which
// may be of another user, and of the password database.
func homeDirs() (homes []string) {
	var named []string
	if home, err := os.UserHomeDir(); err == nil {
		named = append(named, home)
	}
	if u, err := user.Current(); err == nil {
		named = append(named, u.HomeDir)
	}
	for _, home := range named {
		info, err := os.Stat(home)
		if filepath.IsAbs(home) && err == nil && info.IsDir() && !slices.Contains(homes, filepath.Clean(home)) {
			homes = append(homes, filepath.Clean(home))
		}
	}
	return homes
}

// userConfigDir returns the directory of the user's config files, or "" if there is none. A
// relative $XDG_CONFIG_HOME is ignored, as its specification demands.
func userConfigDir() string {
	if dir, err := os.UserConfigDir(); err == nil && filepath.IsAbs(dir) {
		return dir
	}
	for _, home := range homeDirs() {
		return filepath.Join(home, ".config")
	}
	return ""
}
