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

// circleEnv makes the test binary the process of TestCircle; its value is the
// directory of the state file.
const cycleEnv = "PAWL_STORE_TEST_CIRCLE"

// One page number that leads back to the page that it is on does not end the
// process: Go's stack overflow cannot be recovered from.
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

// readCircle looks for downloads and returns the exit code of the process.
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
