package store

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"testing"
)

// cycleEnv makes the test binary the child process of TestPageCycle. Its value is the
// directory of the state file.
const cycleEnv = "PAWL_STORE_TEST_CIRCLE"

// A page number that leads back to its own page must not end the process. The test runs
// in a child process, because Go cannot recover from a stack overflow.
func TestPageCycle(t *testing.T) {
	h := newHistory(t)
	size := os.Getpagesize()
	circles := 0
	for n := range len(h.state) / size {
		page := bytes.Clone(h.state[n*size:][:size])
		if binary.NativeEndian.Uint16(page[8:]) != branchPage {
			continue
		}
		for i := range int(binary.NativeEndian.Uint16(page[10:])) {
			binary.NativeEndian.PutUint64(page[16+i*elementSize+8:], uint64(n))
		}
		l := newFixture(t)
		state := slices.Concat(h.state[:n*size], page, h.state[(n+1)*size:])
		must(t, os.WriteFile(l.dbPath(), state, 0o600))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), cycleEnv+"="+l.state)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("page %d: %v: %.100s", n, err, out)
		}
		circles++
	}
	if circles == 0 {
		t.Errorf("the state file has no branch pages")
	}
}

// readCycle reads all records and returns the exit code of the process.
func readCycle(dir string) int {
	debug.SetMaxStack(16 << 20)
	s, err := Open(dir, Options{})
	if err != nil {
		return 1
	}
	for n := range 60 {
		s.Get(historyID(n)) // may fail
	}
	return 0
}
