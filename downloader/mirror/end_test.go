package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pawl/downloader/failure"
	"pawl/store"
)

// TestEndJudge: a full disk ends a run at once, and files that do not fit end it if there are
// several in a row. Another failure of a file ends it only if the directory cannot be written.
func TestEndJudge(t *testing.T) {
	r := newRig(t)
	write := &fs.PathError{Op: "write", Path: "x", Err: syscall.EIO}
	blocked := filepath.Join(r.dir, "file")
	os.WriteFile(blocked, nil, 0o666)
	for name, tt := range map[string]struct {
		dir  string
		errs []error
		want bool // the last error ends the run
	}{
		"full":                      {"", []error{fmt.Errorf("x: %w", syscall.ENOSPC)}, true},
		"quota":                     {"", []error{&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}}, true},
		"reserve used up":           {"", []error{fmt.Errorf("x: %w", store.ErrNoSpace)}, true},
		"full state directory":      {"", []error{failure.Wrap(store.ErrState, syscall.ENOSPC)}, true},
		"one does not fit":          {"", []error{store.ErrDoesNotFit}, false},
		"three do not fit":          {"", []error{store.ErrDoesNotFit, store.ErrDoesNotFit, store.ErrDoesNotFit}, true},
		"three, with one that fits": {"", []error{store.ErrDoesNotFit, store.ErrDoesNotFit, nil, store.ErrDoesNotFit}, false},
		"a bad sector":              {"", []error{write, write, write, write}, false},
		"no directory yet":          {"a/b/c", []error{write}, false},
		"no directory":              {"file", []error{write}, true},
		"no directory above":        {"file/a", []error{write}, true},
		"foreign file":              {"file", []error{store.ErrForeign}, false},
		"server":                    {"file", []error{failure.Wrap(failure.ErrNetwork, write)}, false},
	} {
		j := endJudge{store: r.store, dir: filepath.Join(r.dir, tt.dir)}
		var end *EndedError
		for _, err := range tt.errs {
			end = j.judge(err)
		}
		if (end != nil) != tt.want {
			t.Errorf("%s: got %v", name, end)
		}
	}
}

// TestEndedRun: a run that a full disk has ended reports the other files as pending and does not
// prune. How many fail before each worker has seen the end, and how much of the list is read, depends on the
// machine.
func TestEndedRun(t *testing.T) {
	r := newRig(t)
	all := r.put(50)
	r.mustRun(firstOf(1, all))
	st, err := store.Open(r.state, store.Options{MinFree: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	r.store = st
	c, err := r.run(t.Context(), all[len(firstOf(1, all)):], withPrune, func(o *Options) { o.Jobs = 2 })
	var ended *EndedError
	if !errors.As(err, &ended) || !errors.Is(err, store.ErrNoSpace) || c.Failed == 0 || c.Pending == 0 || c.Failed+c.Pending != c.Listed {
		t.Errorf("got %+v, %v", c, err)
	}
	r.wantExist(map[string]bool{"f0000": true})
}
