package store

// This file decides when the structure of the state file must be checked. The check reads the
// whole file, so it runs only when in doubt; see "When the state file is checked" in doc.go.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// checkmarkName is the file that says in which condition the state file was last known to be
// sound. It is not synced, because a checkmark of an earlier boot is not valid anyway.
const checkmarkName = "pawl.checked"

func (s *stateFile) checkmarkPath() string { return filepath.Join(s.dir, checkmarkName) }

// checkmark describes the condition of the state file: the boot, the mount, the file, its size
// and its times. Whoever changes the file changes its ctime, and so the description. It has
// the same length for all files, so that one write replaces it. It is "" if the condition is
// not known.
func (s *stateFile) checkmark() string {
	info, err := os.Stat(s.path())
	if err != nil {
		return ""
	}
	id, ok := fileID(info)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%36.36s %016x %016x %016x %016x %016x %016x\n", s.bootID, mountID(s.path()),
		id.device, id.inode, info.Size(), info.ModTime().UnixNano(), changeTime(info).UnixNano())
}

// isChecked reports whether the state file is as the last checkmark says: the one in memory, or
// the one on disk.
func (s *stateFile) isChecked() bool {
	mark := s.checkmark()
	if mark == "" {
		return false
	}
	if s.checked.Load() == mark {
		return true
	}
	stored, err := os.ReadFile(s.checkmarkPath())
	return err == nil && s.bootID != "" && string(stored) == mark
}

// setChecked writes the checkmark of the state file, which must be sound. The caller must hold
// a lock of the state file. If the checkmark cannot be written, other processes check the file
// again, so errors are ignored.
func (s *stateFile) setChecked() {
	mark := s.checkmark()
	s.checked.Store(mark)
	if mark == "" || s.bootID == "" { // no process could rely on it
		return
	}
	m, err := openRegular(s.checkmarkPath(), os.O_WRONLY|os.O_CREATE|openNoFollow, 0o600)
	if err != nil {
		return
	}
	defer m.Close()
	m.WriteAt([]byte(mark), 0)
}

// clearChecked makes the next transaction check the state file.
func (s *stateFile) clearChecked() {
	s.checked.Store("")
	os.Remove(s.checkmarkPath())
}

// checkIfInDoubt checks the structure of the state file, unless the checkmark shows that pawl
// was the last to change it. It returns errDamaged if the structure is damaged. On Windows the
// file cannot be locked as bbolt locks it; the check is skipped there.
func (s *stateFile) checkIfInDoubt() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if s.isChecked() {
		return nil
	}
	f, err := openRegular(s.path(), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	defer f.Close()
	lock := flock.New(s.path(), flock.SetFlag(os.O_RDONLY))
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	if _, err := lock.TryRLockContext(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("%w: lock %q: %w", ErrState, s.path(), err)
	}
	defer lock.Close()
	if s.isChecked() { // another process was between its commit and its checkmark
		return nil
	}
	info, err := f.Stat()
	if err == nil {
		err = checkStructure(f, info.Size())
	}
	if errors.Is(err, errStructure) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return fmt.Errorf("%w %q: %w", ErrState, s.path(), err)
	}
	s.setChecked()
	return nil
}
