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
	maxHolder = 4 << 10 // bytes of what is read about who holds a lock
)

// LockRun takes the advisory lock STATE/runs/HASH.lock, so that the run that key
// names, such as a list and its directory, is not under way twice; HASH is of key
// as in Slots. Closing releases it, and so does the end of the process. The file
// stays, and holds who, a text for people.
//
// Where another has it, the error is ErrBusy and says what that one wrote, which
// is returned as well; it may be empty, if that one has only just begun.
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

// writeWho is a courtesy: a failure leaves the lock as good as it was.
func writeHolder(path, who string) {
	f, err := openRegular(path, os.O_WRONLY|os.O_TRUNC|openNoFollow, 0)
	if err != nil {
		return
	}
	defer f.Close()
	io.WriteString(f, who+"\n")
}

// readWho returns what writeWho wrote, as far as it can be read: on Windows a
// locked file cannot.
func readHolder(path string) string {
	f, err := openRegular(path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	who, _ := io.ReadAll(io.LimitReader(f, maxHolder))
	return strings.TrimSpace(string(who))
}
