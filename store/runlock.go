package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

const (
	runsName  = "runs"
	maxHolder = 4 << 10 // maximum length in bytes of the text about the holder of a lock; a guess, enough for a command line
)

// LockRun takes the advisory lock STATE/runs/HASH.lock without waiting, so that the run
// that key identifies, for example a list and its directory, does not run twice at the
// same time. HASH is computed from key as in Slots. Close releases the lock, and so does
// the end of the process. The lock file stays and contains who, a text for people.
//
// If another process holds the lock, the error is ErrBusy, and LockRun also returns the
// text that the holder wrote. It may be empty if the holder has just started.
func (s *Store) LockRun(key, who string) (io.Closer, string, error) {
	path := filepath.Join(s.dir, runsName, hashName(key)+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrState, err)
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|openNoFollow|openNonblock), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, "", fmt.Errorf("%w: lock %q: %w", ErrState, path, err)
	}
	if !ok {
		holder := readHolder(path)
		return nil, holder, fmt.Errorf("%w (%s)", ErrBusy, holder)
	}
	writeHolder(path, who)
	return lock, "", nil
}

// writeHolder writes who into the lock file. Best effort: the lock is valid without it.
func writeHolder(path, who string) {
	f, err := openRegular(path, os.O_WRONLY|os.O_TRUNC|openNoFollow, 0)
	if err != nil {
		return
	}
	defer f.Close()
	io.WriteString(f, who+"\n")
}

// readHolder returns the text of writeHolder, or "" if it cannot be read. On Windows a
// locked file cannot be read.
func readHolder(path string) string {
	f, err := openRegular(path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	who, _ := io.ReadAll(io.LimitReader(f, maxHolder))
	return strings.TrimSpace(string(who))
}
