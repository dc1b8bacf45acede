package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A second run with the same key fails and reports the holder until the first run has
// ended. Other keys are independent.
func TestLockRun(t *testing.T) {
	state := t.TempDir()
	s, err := Open(state, Options{})
	must(t, err)
	other, err := Open(state, Options{})
	must(t, err)
	for _, who := range []string{"process 123, list.txt, " + strings.Repeat("a long name ", 100), "process 4"} {
		lock, holder, err := s.LockRun("list", who)
		if err != nil || holder != "" {
			t.Fatalf("first: got %q, %v", holder, err)
		}
		who = strings.TrimSpace(who)
		if _, holder, err := other.LockRun("list", "me"); !errors.Is(err, ErrBusy) || holder != who || !strings.Contains(err.Error(), who) {
			t.Errorf("second: got %q, %v, want %q, ErrBusy", holder, err, who)
		}
		free, _, err := other.LockRun("another", "me")
		if err != nil {
			t.Errorf("of another key: %v", err)
		}
		must(t, errors.Join(free.Close(), lock.Close()))
	}
}

func TestLockRunImpossible(t *testing.T) {
	state := t.TempDir()
	s, err := Open(state, Options{})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(state, runsName), nil, 0o600)) // a file instead of the directory
	if _, _, err := s.LockRun("list", "me"); !errors.Is(err, ErrState) || errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrState", err)
	}
}
