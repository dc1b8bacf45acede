package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A missingCall is a system call that always fails for the downloaded files, as on a file
// system that lacks it, and the result that the user must get.
type missingCall struct {
	calls  string // "CALL=ERROR" pairs, separated by spaces; ERROR may be another injection of strace(1)
	on     string // path below the directory out; "" for out itself, "*" for any path
	warns  string // part of the only warning; "" for no warning
	code   int    // exit code; unless it is 0, a run without the fault must succeed afterwards
	mirror bool   // downloads small files of a list; otherwise one file, f.bin
}

// The warnings of store for missing calls.
const (
	cannotLock   = "this file system cannot lock files; do not download to the same file from two machines"
	cannotName   = "this file system cannot sync directories; a power cut may lose the file's name"
	cannotSync   = "this file system cannot sync files; a power cut may lose what was downloaded"
	cannotDate   = "this file system cannot set the time of a file; files have the time of their download"
	cannotRename = "this file system cannot rename without replacing; "
)

// missingCalls is the table. For each call it lists the errors that must be treated the same.
var missingCalls = slices.Concat(
	// The lock of the part file.
	eachLarge("flock", "f.bin.part", cannotLock, 0, "ENOLCK ENOSYS EOPNOTSUPP EINVAL EBADF EIO EACCES EPERM EINTR"),
	eachLarge("flock", "f.bin.part", "", 3, "EAGAIN"), // means that another process holds the lock

	// Opening and syncing the directory.
	eachLarge("fsync", "", cannotName, 0, "EINVAL ENOSYS EOPNOTSUPP EBADF EISDIR EPERM EACCES"),
	eachLarge("openat", "", cannotName, 0, "EACCES EPERM EINVAL EISDIR ENOSYS"),
	eachLarge("fsync", "", "", 3, "EIO EROFS ESTALE ENOENT"),
	eachLarge("fsync", "", "", 9, "ENOSPC EDQUOT"),
	eachLarge("openat", "", "", 3, "EIO EMFILE"),
	eachLarge("close", "", "", 0, "EIO"),

	// The part file.
	eachLarge("fdatasync", "f.bin.part", "", 0, "EINVAL ENOSYS EOPNOTSUPP"),
	eachLarge("fdatasync", "f.bin.part", "", 3, "EIO EPERM"),
	eachLarge("fdatasync", "f.bin.part", "", 9, "ENOSPC EDQUOT"),
	eachLarge("fsync", "f.bin.part", cannotSync, 0, "EINVAL ENOSYS EOPNOTSUPP"),
	eachLarge("fsync", "f.bin.part", "", 3, "EIO"),
	eachLarge("fsync", "f.bin.part", "", 9, "ENOSPC"),
	[]missingCall{{calls: "fdatasync=EINVAL fsync=EINVAL", on: "f.bin.part", warns: cannotSync}},
	eachLarge("utimensat", "f.bin.part", cannotDate, 0, "EPERM EACCES EROFS EINVAL ENOSYS EOPNOTSUPP EIO ENOENT"),
	eachLarge("close", "f.bin.part", "", 0, "EIO ENOSPC EDQUOT"),
	eachLarge("fallocate", "f.bin.part", "", 0, "EOPNOTSUPP ENOSYS EINVAL EPERM EIO"),
	eachLarge("fstatfs", "f.bin.part", "", 0, "ENOSYS EIO"),
	eachLarge("statfs", "", "", 0, "ENOSYS EIO "+noBlocks+" "+smallTransfers),
	eachLarge("openat", "f.bin.part", "", 3, "EACCES EIO ENOSYS EMFILE EROFS ENOENT"),
	eachLarge("openat", "f.bin.part", "", 9, "ENOSPC"),
	eachLarge("pwrite64", "f.bin.part", "", 3, "EIO EPERM EINVAL EFBIG retval=0"),
	eachLarge("pwrite64", "f.bin.part", "", 9, "ENOSPC EDQUOT"),
	eachLarge("fstat", "f.bin.part", "", 3, "EIO ESTALE"),
	eachLarge("newfstatat", "f.bin.part", "", 3, "EIO EACCES"),

	// Giving the file its final name.
	eachLarge("newfstatat", "f.bin", "", 3, "EIO EACCES"),
	eachLarge("newfstatat", "", "", 3, "EIO"),
	eachLarge("renameat2", "f.bin", "", 0, "EINVAL ENOSYS EOPNOTSUPP EPERM EIO ENOENT"),
	eachLarge("renameat2", "f.bin", "", 3, "EEXIST"),
	[]missingCall{
		{calls: "renameat2=EINVAL linkat=EPERM", on: "f.bin", warns: cannotRename},
		{calls: "renameat2=ENOSYS linkat=ENOSYS", on: "f.bin", warns: cannotRename},
		{calls: "renameat2=EINVAL linkat=EPERM renameat=EPERM", on: "f.bin", code: 3},
		{calls: "renameat2=EINVAL unlinkat=EPERM", on: "f.bin.part", code: 3},
	},

	// Small files, which are written without a name (O_TMPFILE) and linked.
	eachSmall("openat", "", cannotName, 0, "EOPNOTSUPP EISDIR EINVAL ENOSYS EPERM EACCES"),
	eachSmall("openat", "", "", 3, "EIO EMFILE"),
	eachSmall("linkat", "*", "", 0, "EPERM ENOSYS EOPNOTSUPP EXDEV EMLINK EACCES ENOENT"),
	eachSmall("linkat", "s1", "", 0, "EPERM ENOENT"),
	eachSmall("linkat", "s1", "", 9, "ENOSPC EDQUOT"),
	eachSmall("linkat", "s1", "", 3, "EIO EROFS"),
	eachSmall("faccessat", "*", "", 0, "ENOENT ENOSYS"),
	eachSmall("utimensat", "*", cannotDate, 0, "EPERM ENOSYS"),
	eachSmall("sync_file_range", "*", "", 0, "ENOSYS ESPIPE"),
	eachSmall("fsync", "", cannotName, 0, "EINVAL EBADF"),
	eachSmall("newfstatat", "s1", "", 3, "EIO"),
	[]missingCall{
		{calls: "linkat=EPERM renameat2=EINVAL", on: "*", warns: cannotRename, mirror: true},
		{calls: "openat=EOPNOTSUPP fsync=EINVAL", on: "", warns: cannotName, mirror: true},
	},
)

// noBlocks makes statfs(2) return a file system of 4 KiB blocks that has no blocks, neither
// free nor in total, like some FUSE file systems.
const noBlocks = "poke_exit=@arg2=0000000000000000" + "0010000000000000" + "000000000000000000000000000000000000000000000000"

// smallTransfers makes statfs(2) return 1,000 free blocks of 4 KiB, with transfers of 512 bytes,
// so that a program that takes the one for the other finds the disk full.
const smallTransfers = "poke_exit=@arg2=0000000000000000" + "0002000000000000" + "e803000000000000e803000000000000e803000000000000" +
	"e803000000000000e8030000000000000000000000000000" + "ff00000000000000" + "0010000000000000"

// eachLarge returns a missingCall of one file for the first of the errors, or for each of them
// with PAWL_TEST_ALL=1: they have the same effect.
func eachLarge(call, on, warns string, code int, errs string) (all []missingCall) {
	fields := strings.Fields(errs)
	if !allTests() {
		fields = fields[:1]
	}
	for _, err := range fields {
		all = append(all, missingCall{call + "=" + err, on, warns, code, false})
	}
	return all
}

// eachSmall is eachLarge for small files of a list.
func eachSmall(call, on, warns string, code int, errs string) (all []missingCall) {
	all = eachLarge(call, on, warns, code, errs)
	for i := range all {
		all[i].mirror = true
	}
	return all
}

// TestMissingCalls checks pawl on file systems that lack a system call. pawl must leave out
// a step that it does not need. If a promise becomes weaker it must warn once, and the
// download must succeed.
func TestMissingCalls(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	skipUnderRace(t)
	requireStrace(t)
	for _, mc := range sample(6, missingCalls) {
		name := strings.ReplaceAll(strings.Join([]string{mc.calls, mc.on}, " "), "/", "_")
		if mc.mirror {
			name += " mirror"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mc.run(newSite(t))
		})
	}
}

// run downloads on such a file system and then again. The second run must send no request
// if the first one succeeded.
func (mc missingCall) run(s *site) {
	s.Helper()
	args := s.smallOrLarge(mc.mirror)
	o := s.startCommand(s.tracedCommand(mc, args)).wait()
	mc.checkMet(s)
	o.wantExit(mc.code)
	o.wantNoCrash()
	mc.checkWarnings(o)
	if mc.code == 0 {
		s.wantFiles()
		s.wantFileCount(len(s.files))
	}
	requests := len(s.srv.Requests())
	again := s.startCommand(s.tracedCommand(mc, args))
	if mc.code != 0 {
		again.wait()
		requests = len(s.srv.Requests())
		again = s.startPawl(args...)
	}
	again.wait().wantExit(0)
	s.wantFiles()
	s.wantFileCount(len(s.files))
	if mc.code == 0 {
		s.wantAtMostOneRequest(requests)
	}
}

// smallOrLarge serves small files and a list of them, or one file, and returns the arguments
// that download into out.
func (s *site) smallOrLarge(small bool) (args []string) {
	must(s.testRun, os.Mkdir(filepath.Join(s.dir, "out"), 0o777))
	if !small {
		s.add("f.bin", 1<<20)
		return []string{"-d", "out", s.srv.URL + "/f.bin"}
	}
	for n := range 6 {
		s.add(fmt.Sprint("s", n), 3000)
	}
	s.writeListOfAll("list")
	return []string{"mirror", "-d", "out", "list"}
}

// tracedCommand returns pawl with args under strace(1), which makes the calls fail. The
// trace is written to the file "trace", for checkMet.
func (s *site) tracedCommand(mc missingCall, args []string) *exec.Cmd {
	s.Helper()
	cmd := s.pawlCmd(args)
	log := filepath.Join(s.dir, "trace")
	to := []string{"strace", "-f", "-qq", "--seccomp-bpf", "-o", log}
	if mc.on != "*" {
		to = append(to, "-P", filepath.Join(s.dir, "out", mc.on))
	}
	var names []string
	for _, call := range strings.Fields(mc.calls) {
		name, err, _ := strings.Cut(call, "=")
		if !strings.Contains(err, "=") {
			err = "error=" + err
		}
		names = append(names, name)
		to = append(to, "-e", "inject="+name+":"+err)
	}
	to = append(to, "-e", "trace="+strings.Join(names, ","))
	path, err := exec.LookPath("strace")
	must(s.testRun, err)
	cmd.Args = append(append(to, cmd.Path), cmd.Args[1:]...)
	cmd.Path = path
	return cmd
}

// filesystemDependent are calls that pawl makes on some file systems only.
var filesystemDependent = []string{"fallocate", "linkat", "faccessat", "sync_file_range"}

// checkMet checks that pawl made the calls. It skips the test if they depend on the file
// system of the test.
func (mc missingCall) checkMet(s *site) {
	s.Helper()
	trace, err := os.ReadFile(filepath.Join(s.dir, "trace"))
	if err == nil && strings.Contains(string(trace), "INJECTED") {
		return
	}
	if call, _, _ := strings.Cut(mc.calls, "="); slices.Contains(filesystemDependent, call) {
		s.Skipf("pawl does not call %s on the file system of %s", call, s.dir)
	}
	s.Errorf("nothing was injected: %v", err)
}

// checkWarnings checks the warning, and the hint and path of an error.
func (mc missingCall) checkWarnings(o runResult) {
	tr := o.tr
	tr.Helper()
	switch n := strings.Count(o.stderr, "pawl: warning: "); {
	case mc.warns == "" && n > 0, n > 1:
		tr.Errorf("got %d warnings, want %q", n, mc.warns)
	case mc.warns != "":
		o.wantStderr("pawl: warning: " + mc.warns)
	}
	if mc.code == 0 {
		return
	}
	o.wantStderr("pawl: hint: ")
	if !strings.Contains(o.stderr, filepath.Join(tr.dir, "out")) {
		tr.Errorf("stderr does not contain the path")
	}
}

// TestProcessesWithoutFileLocks checks that, on a file system without locks, two pawls on
// one machine still do not download to the same file.
func TestProcessesWithoutFileLocks(t *testing.T) {
	t.Parallel()
	requireStrace(t)
	s := newSite(t)
	mc := missingCall{calls: "flock=ENOLCK", on: "f.bin.part"}
	args := append([]string{"--stall-timeout", "60s"}, s.smallOrLarge(false)...)
	first := s.startCommand(s.tracedCommand(mc, args))
	if !s.srv.HoldAt(s.fileSize/2, first.exited) {
		t.Fatal("pawl ended too early")
	}
	waitFor(t, func() bool { return len(s.lockFiles()) > 0 })
	for _, other := range []*exec.Cmd{s.tracedCommand(mc, args), s.pawlCmd(args)} { // one without locks, one with them
		s.startCommand(other).wait().wantExit(3).wantStderr("another pawl is downloading to it")
	}
	for _, list := range []*exec.Cmd{s.tracedCommand(mc, []string{"list"}), s.pawlCmd([]string{"list"})} {
		if o := s.startCommand(list).wait().wantExit(0); !strings.Contains(o.stdout, "running") || strings.Contains(o.stderr, "warning") {
			t.Errorf("pawl list: got %s%s", o.stdout, o.stderr)
		}
	}
	s.srv.Open()
	first.wait().wantExit(0)
	s.wantFiles()
	s.wantFileCount(1)
	if left := s.lockFiles(); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// lockFiles returns the files in the state directory that stand for locks on part files.
func (s *site) lockFiles() []string {
	paths, _ := filepath.Glob(filepath.Join(filepath.Dir(s.statePath()), "locks", "*"))
	return paths
}

// TestPartFileWithoutTruncate checks that pawl overwrites a part file that it cannot
// truncate to zero, and that a part file that is too long is an error with a hint.
func TestPartFileWithoutTruncate(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	requireStrace(t)
	s := newSite(t)
	mc := missingCall{calls: "ftruncate=EPERM", on: "../f.bin.part"}
	f := s.serveFile(8 << 20)
	s.killOnceHeld(3 << 20)
	s.startCommand(s.tracedCommand(mc, []string{"--restart", s.fileURL()})).wait().wantDownloaded("f.bin", f)
	mc.checkMet(s)

	must(s.testRun, os.Remove(filepath.Join(s.dir, "f.bin")))
	s.killOnceHeld(3 << 20)
	s.overwriteAt(s.partPath(), s.randomBytes(1<<20), 8<<20)
	o := s.startCommand(s.tracedCommand(mc, []string{s.fileURL()})).wait().wantExit(3)
	o.wantStderr("this file system cannot truncate it", "pawl: hint: delete that file", s.partPath())
	must(s.testRun, os.Remove(s.partPath()))
	s.runPawl().wantDownloaded("f.bin", f)
}

// requireStrace skips the test if strace(1) does not work here.
func requireStrace(t *testing.T) {
	t.Helper()
	if err := exec.Command("strace", "-qq", "-o", "/dev/null", "true").Run(); err != nil {
		newSite(t).requireOrSkip(fmt.Errorf("strace: %w", err))
	}
}
