package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pawl/downloader/faultserver"
)

// withoutTempFiles is the variable that makes refuseTempFiles act.
const withoutTempFiles = "PAWL_TEST_NO_TMPFILE"

// refuseTempFiles makes each open with O_TMPFILE fail with EOPNOTSUPP, as on NFS, if
// withoutTempFiles is set. It installs a filter of seccomp(2) and starts the program again.
func refuseTempFiles() {
	if os.Getenv(withoutTempFiles) == "" {
		return
	}
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	filter := []unix.SockFilter{ // of struct seccomp_data: nr is at 0, the low half of args[2] at 32
		load(0),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_OPENAT, Jf: 3},
		load(32),
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: tmpfile, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EOPNOTSUPP)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is this thread's, until the new program has only this one
	os.Unsetenv(withoutTempFiles)
	panic(errors.Join(
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0),
		unix.Exec("/proc/self/exe", os.Args, os.Environ()), // does not return
	))
}

// newSiteWithoutTempFiles returns a site for a file system without O_TMPFILE, with n small
// files.
func newSiteWithoutTempFiles(t *testing.T, n int) *site {
	s := newSite(t)
	s.env = append(s.env, withoutTempFiles+"=1")
	s.addMany(n, sameSize(200<<10)) // of several writes, so that startHeld stops in the middle
	s.writeListOfAll("list")
	return s
}

// temps returns the temporary files in out.
func (s *site) temps() []string {
	s.Helper()
	names, err := filepath.Glob(filepath.Join(s.dir, "out", ".pawl-*.tmp"))
	must(s.testRun, err)
	return names
}

// startHeld starts a run of the list, and stops the server once it has sent n more bytes and
// pawl has temporary files.
func (s *site) startHeld(n int64) *pawlProcess {
	s.Helper()
	r := s.startMirror("-q", "list")
	if !s.srv.HoldAt(s.srv.Sent()+n, r.exited) {
		s.Fatal("pawl ended too early")
	}
	waitFor(s.T, func() bool { return len(s.temps()) > 0 }) // comes with the header
	return r
}

// TestTempNamesAfterKills kills runs whose small files have temporary names. Each next run
// must remove the ones that are left, whatever its state directory.
func TestTempNamesAfterKills(t *testing.T) {
	t.Parallel()
	s := newSiteWithoutTempFiles(t, 40)
	left := 0 // a kill leaves none if it comes between the end of one file and the start of the next
	for range 3 {
		r := s.startHeld(1 << 20)
		must(s.testRun, r.cmd.Process.Kill())
		r.wait()
		s.srv.Open()
		left += len(s.temps())
	}
	if left == 0 {
		t.Error("three kills have left no temporary file")
	}
	s.writeList("another", s.srv.URL+"/another")
	s.srv.Put("another", faultserver.NewFile(1000, 1))
	s.runMirror("-q", "--state", "other", "another").wantExit(0)
	if left := s.temps(); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	s.runMirror("-q", "list").wantExit(0)
	s.wantFiles()
	s.wantFileCount(len(s.files) + 1)
}

// TestTempNamesOfOthers runs other pawls into the directory in which a living one has
// temporary files, with the same and with another state directory. They must not remove
// them.
func TestTempNamesOfOthers(t *testing.T) {
	t.Parallel()
	s := newSiteWithoutTempFiles(t, 40)
	first := s.startHeld(1 << 20)
	other := faultserver.New() // s.srv sends nothing
	t.Cleanup(other.Close)
	other.Put("another", faultserver.NewFile(1000, 1))
	s.writeList("another", other.URL+"/another")
	s.runMirror("-q", "another").wantExit(0)
	must(s.testRun, os.Remove(s.path("another")))
	s.runMirror("-q", "--state", "other", "another").wantExit(0)
	if len(s.temps()) == 0 {
		t.Error("the temporary files of the living pawl are gone")
	}
	s.srv.Open()
	first.wait().wantExit(0)
	s.wantFiles()
	s.wantFileCount(len(s.files) + 1)
	if n := len(s.srv.Requests()); n != len(s.files) {
		t.Errorf("%d requests for %d files", n, len(s.files))
	}
}
