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

// A missingCall is a system call that fails each time that the program makes it for
// the files that it downloads, and what the user must have in the end.
type missingCall struct {
	calls  string // CALL=ERROR, separated by blanks; ERROR may be what strace(1) injects otherwise
	on     string // path below the directory, "" for the directory, "*" for any path
	warns  string // part of the one warning; "" for no warning
	code   int    // exit code; the file must be there if it is 0, and else after another run
	mirror bool   // small files of a list; else one file, f.bin
}

// The warnings, and those who read them.
const (
	cannotLock   = "this file system cannot lock files; do not download to the same file from two machines"
	cannotName   = "this file system cannot sync directories; a power cut may lose the file's name"
	cannotSync   = "this file system cannot sync files; a power cut may lose what was downloaded"
	cannotDate   = "this file system cannot set the time of a file; files have the time of their download"
	cannotRename = "this file system cannot rename without replacing; "
)

// missingCalls is the table.
var missingCalls = slices.Concat(
	// The lock of the part file.
	eachLarge("flock", "f.bin.part", cannotLock, 0, "ENOLCK ENOSYS EOPNOTSUPP EINVAL EBADF EIO EACCES EPERM EINTR"),
	eachLarge("flock", "f.bin.part", "", 3, "EAGAIN"), // which means that somebody has it

	// The directory, which is opened, and synced.
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
	eachLarge("statfs", "", "", 0, "ENOSYS EIO "+noBlocks),
	eachLarge("openat", "f.bin.part", "", 3, "EACCES EIO ENOSYS EMFILE EROFS ENOENT"),
	eachLarge("openat", "f.bin.part", "", 9, "ENOSPC"),
	eachLarge("pwrite64", "f.bin.part", "", 3, "EIO EPERM EINVAL EFBIG retval=0"),
	eachLarge("pwrite64", "f.bin.part", "", 9, "ENOSPC EDQUOT"),
	eachLarge("fstat", "f.bin.part", "", 3, "EIO ESTALE"),
	eachLarge("newfstatat", "f.bin.part", "", 3, "EIO EACCES"),

	// The name.
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

	// Small files without names.
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

// noBlocks has statfs(2) return a file system with 4 KiB blocks, none of them free and
// none in total, as some FUSE file systems do.
const noBlocks = "poke_exit=@arg2=0000000000000000" + "0010000000000000" + "000000000000000000000000000000000000000000000000"

// eachLarge are missingCalls of one file, one for each of the errors.
func eachLarge(call, on, warns string, code int, errs string) (all []missingCall) {
	for _, err := range strings.Fields(errs) {
		all = append(all, missingCall{call + "=" + err, on, warns, code, false})
	}
	return all
}

// eachSmall are missingCalls of small files.
func eachSmall(call, on, warns string, code int, errs string) (all []missingCall) {
	all = eachLarge(call, on, warns, code, errs)
	for i := range all {
		all[i].mirror = true
	}
	return all
}

// TestMissingCalls: a file system may lack a call. What is not needed is left out. If a
// promise is weaker then, the user is told so once, and what was asked for is there.
func TestMissingCalls(t *testing.T) {
	needStrace(t)
	for _, mc := range missingCalls {
		name := strings.ReplaceAll(strings.Join([]string{mc.calls, mc.on}, " "), "/", "_")
		if mc.mirror {
			name += " mirror"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mc.try(newSite(t))
		})
	}
}

// try runs the program on such a file system, and again.
func (mc missingCall) try(s *site) {
	s.Helper()
	args := s.smallOrLarge(mc.mirror)
	o := s.launch(s.traced(mc, args)).wait()
	mc.checkMet(s)
	o.exits(mc.code)
	o.clear()
	mc.checkSaid(o)
	if mc.code == 0 {
		s.here()
		s.only(len(s.files))
	}
	requests := len(s.srv.Requests())
	again := s.launch(s.traced(mc, args))
	if mc.code != 0 {
		again.wait()
		requests = len(s.srv.Requests())
		again = s.start(args...)
	}
	again.wait().exits(0)
	s.here()
	s.only(len(s.files))
	if mc.code == 0 {
		s.fewRequests(requests)
	}
}

// smallOrLarge serves small files and a list of them, or one file, and returns the
// arguments that fetch it into out.
func (s *site) smallOrLarge(small bool) (args []string) {
	must(s.trial, os.Mkdir(filepath.Join(s.dir, "out"), 0o777))
	if !small {
		s.add("f.bin", 1<<20)
		return []string{"-d", "out", s.srv.URL + "/f.bin"}
	}
	for n := range 6 {
		s.add(fmt.Sprint("s", n), 3000)
	}
	s.listAll("list")
	return []string{"mirror", "-d", "out", "list"}
}

// traced is the program with args on a file system without the calls, and checks in
// the end that it met that.
func (s *site) traced(mc missingCall, args []string) *exec.Cmd {
	s.Helper()
	cmd := s.command(args)
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
	must(s.trial, err)
	cmd.Args = append(append(to, cmd.Path), cmd.Args[1:]...)
	cmd.Path = path
	return cmd
}

// depending are calls that the program makes on some file systems only.
var depending = []string{"fallocate", "linkat", "faccessat", "sync_file_range"}

// checkMet checks that the program made the calls.
func (mc missingCall) checkMet(s *site) {
	s.Helper()
	trace, err := os.ReadFile(filepath.Join(s.dir, "trace"))
	if err == nil && strings.Contains(string(trace), "INJECTED") {
		return
	}
	if call, _, _ := strings.Cut(mc.calls, "="); slices.Contains(depending, call) {
		s.Skipf("%s is not called on the file system of %s", call, s.dir)
	}
	s.Errorf("nothing was injected: %v", err)
}

// checkSaid checks what the user was told.
func (mc missingCall) checkSaid(o outcome) {
	tr := o.tr
	tr.Helper()
	switch n := strings.Count(o.stderr, "pawl: warning: "); {
	case mc.warns == "" && n > 0, n > 1:
		tr.Errorf("%d warnings were told", n)
	case mc.warns != "":
		o.says("pawl: warning: " + mc.warns)
	}
	if mc.code == 0 {
		return
	}
	o.says("pawl: hint: ")
	if !strings.Contains(o.stderr, filepath.Join(tr.dir, "out")) {
		tr.Errorf("no path was told")
	}
}

// TestMissingLocks: on a file system without locks, the pawls of one machine still know
// of each other.
func TestMissingLocks(t *testing.T) {
	t.Parallel()
	needStrace(t)
	s := newSite(t)
	mc := missingCall{calls: "flock=ENOLCK", on: "f.bin.part"}
	args := append([]string{"--stall-timeout", "60s"}, s.smallOrLarge(false)...)
	first := s.launch(s.traced(mc, args))
	if !s.srv.HoldAt(s.size/2, first.exited) {
		t.Fatal("it ended too early")
	}
	waitFor(t, func() bool { return len(s.locks()) > 0 })
	for _, other := range []*exec.Cmd{s.traced(mc, args), s.command(args)} { // without locks, and with them
		s.launch(other).wait().exits(3).says("another pawl is downloading to it")
	}
	for _, list := range []*exec.Cmd{s.traced(mc, []string{"list"}), s.command([]string{"list"})} {
		if o := s.launch(list).wait().exits(0); !strings.Contains(o.stdout, "running") || strings.Contains(o.stderr, "warning") {
			t.Errorf("pawl list: got %s%s", o.stdout, o.stderr)
		}
	}
	s.srv.Open()
	first.wait().exits(0)
	s.here()
	s.only(1)
	if left := s.locks(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// locks returns the files that are locked in place of part files.
func (s *site) locks() []string {
	paths, _ := filepath.Glob(filepath.Join(filepath.Dir(s.statePath()), "locks", "*"))
	return paths
}

// TestMissingTruncate: a part file that cannot be emptied is overwritten, and one that
// is too long and cannot be cut is a failure that says what to do.
func TestMissingTruncate(t *testing.T) {
	t.Parallel()
	needStrace(t)
	s := newSite(t)
	mc := missingCall{calls: "ftruncate=EPERM", on: "../f.bin.part"}
	f := s.serve(8 << 20)
	s.killHolding(3 << 20)
	s.launch(s.traced(mc, []string{"--restart", s.url()})).wait().good("f.bin", f)
	mc.checkMet(s)

	must(s.trial, os.Remove(filepath.Join(s.dir, "f.bin")))
	s.killHolding(3 << 20)
	s.overwrite(s.partPath(), s.random(1<<20), 8<<20)
	o := s.launch(s.traced(mc, []string{s.url()})).wait().exits(3)
	o.says("this file system cannot truncate it", "pawl: hint: delete that file", s.partPath())
	must(s.trial, os.Remove(s.partPath()))
	s.run().good("f.bin", f)
}

// needStrace skips the test if calls cannot be made to fail.
func needStrace(t *testing.T) {
	t.Helper()
	if err := exec.Command("strace", "-qq", "-o", "/dev/null", "true").Run(); err != nil {
		newSite(t).needs(fmt.Errorf("strace: %w", err))
	}
}
