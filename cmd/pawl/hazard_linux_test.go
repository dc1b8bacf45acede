package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"pawl/downloader/faultserver"
)

// This file has the hazards that need Linux, and root, to mount a file system, make a
// device, or run pawl without root's privileges.

// requireOrSkip skips the hazard if err is not nil, which means that the hazard cannot be
// produced here. With PAWL_TEST_SERVERS=required the test fails instead.
func (tr *testRun) requireOrSkip(err error) {
	tr.Helper()
	if err == nil {
		return
	}
	if os.Getenv("PAWL_TEST_SERVERS") == "required" {
		tr.Fatal(err)
	}
	tr.Skipf("not available here: %v", err)
}

// mount makes dir and mounts an empty tmpfs there until the end of the test.
func (tr *testRun) mount(dir, options string) {
	tr.Helper()
	must(tr, os.MkdirAll(dir, 0o700))
	tr.requireOrSkip(syscall.Mount("pawl-test", dir, "tmpfs", 0, options))
	tr.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// remount changes the flags and options of a file system that mount has mounted.
func (tr *testRun) remount(dir string, flags uintptr, options string) {
	tr.Helper()
	must(tr, syscall.Mount("pawl-test", dir, "tmpfs", syscall.MS_REMOUNT|flags, options))
}

// useOwnDisk gives the hazard's directory a file system of its own. The state stays on the
// other one.
func (tr *testRun) useOwnDisk(options string) {
	tr.Helper()
	tr.env = append(tr.env, "XDG_STATE_HOME="+filepath.Join(tr.dir, "state"))
	dir := filepath.Join(tr.dir, "disk")
	tr.mount(dir, options)
	must(tr, os.Symlink(filepath.Join(tr.dir, "state"), filepath.Join(dir, "state"))) // statePath must stay valid
	tr.dir = dir
}

// fillDisk writes a file in dir until the disk is full, and returns its path.
func (tr *testRun) fillDisk(dir string) string {
	tr.Helper()
	path := filepath.Join(dir, "mine")
	f, err := os.Create(path)
	must(tr, err)
	defer f.Close()
	for _, n := range []int{1 << 20, 4 << 10} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, n))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			tr.Fatal(err)
		}
	}
	return path
}

// unprivilegedCommand returns pawl as a command in a user namespace, in which it is an
// ordinary user who owns root's files. So file modes apply to it.
func (tr *testRun) unprivilegedCommand(args ...string) *exec.Cmd {
	tr.Helper()
	id := []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Geteuid(), Size: 1}}
	group := []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getegid(), Size: 1}}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: id, GidMappings: group,
		Credential: &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: true}}
	probe := exec.Command("true")
	probe.SysProcAttr = attr
	tr.requireOrSkip(probe.Run())
	cmd := tr.pawlCmd(args)
	cmd.SysProcAttr = attr
	return cmd
}

// wantDiskFull checks that pawl has reported a full disk, with a hint, and has kept the
// held bytes.
func (o runResult) wantDiskFull() {
	o.tr.Helper()
	o.wantFailure(9)
	o.wantNoCrash()
	o.wantStderrAny("pawl: hint: free some space")
	o.tr.wantPartKept()
}

// linuxDisks are full disks, disks without a feature, and missing permissions.
var linuxDisks = []hazard{
	{name: "disks: full, unknown length", run: func(tr *testRun) {
		tr.useOwnDisk("size=12m")
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.runPawl().wantDiskFull()
		tr.remount(tr.dir, 0, "size=64m")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.1)
	}},
	{name: "disks: full during the download", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		f := tr.serveFile(24 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runAndDoPaused(12<<20, func(*pawlProcess) { tr.fillDisk(tr.dir) }).wantDiskFull()
		tr.srv.Set()
		must(tr, os.Remove(filepath.Join(tr.dir, "mine")))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "disks: full at the start", run: func(tr *testRun) {
		tr.useOwnDisk("size=8m")
		f := tr.serveFile(32 << 20)
		o := tr.runPawl()
		o.wantFailure(9)
		o.wantRefusal(9)
		o.wantStderrAny("pawl: hint: free some space")
		o.wantStderrAny("not enough disk space") // not only a failed write
		if sent := tr.srv.Sent(); sent > 5<<20 {
			tr.reportExcess("%d bytes were sent before pawl reported it, want at most 5 MiB", sent)
		}
		tr.wantNoPartFiles()
		tr.remount(tr.dir, 0, "size=64m")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: full on resume", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		f := tr.serveFile(24 << 20)
		tr.killOnceHeld(6 << 20)
		mine, sent := tr.fillDisk(tr.dir), tr.srv.Sent()
		o := tr.runPawl()
		o.wantDiskFull()
		o.wantStderrAny("not enough disk space")
		if sent = tr.srv.Sent() - sent; sent > 5<<20 {
			tr.reportExcess("%d bytes were sent before pawl reported it, want at most 5 MiB", sent)
		}
		must(tr, os.Remove(mine))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
		tr.markMet()
	}},
	{name: "disks: no inodes left", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m,nr_inodes=2") // the root and the link to the state
		f := tr.serveFile(8 << 20)
		o := tr.runPawl()
		o.wantFailure(9)
		o.wantRefusal(9)
		tr.remount(tr.dir, 0, "nr_inodes=100")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: no fallocate", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "disks: read-only file system", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		f := tr.serveFile(8 << 20)
		tr.remount(tr.dir, syscall.MS_RDONLY, "size=32m")
		o := tr.runPawl()
		o.wantFailure(3)
		o.wantRefusal(3)
		tr.wantAtMostOneRequest(0)
		tr.remount(tr.dir, 0, "size=32m")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: read-only file system on resume", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		requests := len(tr.srv.Requests())
		tr.remount(tr.dir, syscall.MS_RDONLY, "size=32m")
		o := tr.runPawl()
		o.wantFailure(3)
		o.wantRefusal(3)
		tr.wantAtMostOneRequest(requests)
		tr.wantPartKept()
		tr.remount(tr.dir, 0, "size=32m")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "disks: unmounted during the run", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.runAndDoPaused(4<<20, func(*pawlProcess) { syscall.Unmount(tr.dir, syscall.MNT_DETACH) })
		o.wantFailure(3)
		o.wantNoCrash()
		tr.dropResults()
		tr.markMet()
	}},
	{name: "disks: no permission for the directory", run: func(tr *testRun) {
		tr.serveFile(8 << 20)
		sub := filepath.Join(tr.dir, "sub")
		must(tr, os.Mkdir(sub, 0o555))
		o := tr.startCommand(tr.unprivilegedCommand("-d", "sub", tr.fileURL())).wait()
		o.wantFailure(3)
		o.wantRefusal(3)
		o.wantStderrAny("permission denied")
		tr.wantAtMostOneRequest(0)
		tr.markMet()
	}},
	{name: "disks: no permission for the part file", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		requests := len(tr.srv.Requests())
		must(tr, os.Chmod(tr.partPath(), 0o400))
		o := tr.startCommand(tr.unprivilegedCommand(tr.fileURL())).wait()
		o.wantFailure(3)
		o.wantRefusal(3)
		tr.wantAtMostOneRequest(requests)
		tr.wantPartKept()
		must(tr, os.Chmod(tr.partPath(), 0o600))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	blockedTarget("disks: target is a device", device()),
	blockedTarget("disks: target is a device, --overwrite", device("--overwrite")),
	blockedTarget("disks: target is a device, --restart", device("--restart")),
}

// device makes f.bin a block device without a driver. A character device is an output without a
// record.
func device(args ...string) func(tr *testRun) ([]string, []string) {
	return func(tr *testRun) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		tr.requireOrSkip(syscall.Mknod(path, syscall.S_IFBLK|0o666, 250<<8|3))
		return []string{path}, append(args, "-o", path)
	}
}

// useOwnStateDisk gives the state directory a file system of its own.
func (tr *testRun) useOwnStateDisk(options string) (dir string) {
	tr.Helper()
	dir = filepath.Dir(tr.statePath())
	tr.mount(dir, options+",mode=700")
	return dir
}

// linuxStates are state directories on full or read-only disks and without permission.
var linuxStates = []hazard{
	{name: "states: full disk at the start", run: func(tr *testRun) {
		dir := tr.useOwnStateDisk("size=64k")
		f := tr.serveFile(8 << 20)
		mine := tr.fillDisk(dir)
		o := tr.runPawl()
		o.wantFailure(9)
		o.wantRefusal(9)
		must(tr, os.Remove(mine))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "states: full disk on resume", run: func(tr *testRun) {
		dir := tr.useOwnStateDisk("size=128k")
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		mine := tr.fillDisk(dir)
		if o := tr.runPawl(); o.code != 0 { // pawl succeeds if the state file needs no more space
			o.wantFailure(9)
			o.wantNoCrash()
			tr.wantPartKept()
		}
		must(tr, os.Remove(mine))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.1)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "states: disk too small for the state", run: func(tr *testRun) {
		dir := tr.useOwnStateDisk("size=4k")
		f := tr.serveFile(8 << 20)
		o := tr.runPawl()
		o.wantFailure(9)
		o.wantRefusal(9)
		tr.remount(dir, 0, "size=1m")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "states: full disk during the run", run: func(tr *testRun) {
		dir := tr.useOwnStateDisk("size=256k")
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		if o := tr.runAndDoPaused(4<<20, func(*pawlProcess) { tr.fillDisk(dir) }); o.code != 0 {
			o.wantFailure(9)
			o.wantNoCrash()
		}
		os.Remove(filepath.Join(dir, "mine"))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "states: read-only file system", run: func(tr *testRun) {
		dir := tr.useOwnStateDisk("size=1m")
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		requests := len(tr.srv.Requests())
		tr.remount(dir, syscall.MS_RDONLY, "size=1m")
		o := tr.runPawl()
		o.wantFailure(3)
		o.wantRefusal(3)
		tr.wantAtMostOneRequest(requests)
		tr.wantPartKept() // pawl list must work, because it only reads
		tr.remount(dir, 0, "size=1m")
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "states: read-only file", run: func(tr *testRun) { stateWithoutPermission(tr, tr.statePath(), 0o400, 0o600) }},
	{name: "states: unreadable file", run: func(tr *testRun) { stateWithoutPermission(tr, tr.statePath(), 0, 0o600) }},
	{name: "states: unreadable directory", run: func(tr *testRun) { stateWithoutPermission(tr, filepath.Dir(tr.statePath()), 0, 0o700) }},
}

// homeless returns a hazard of a user without a state directory: home returns the variables
// of the environment. Each command that downloads must do so with one warning and leave
// nothing in the temporary directory.
func homeless(name string, home func(tr *testRun) []string) hazard {
	return hazard{name: "states: " + name, run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		env := append(home(tr), "XDG_CONFIG_HOME=")
		for _, args := range [][]string{{tr.fileURL()}, {"mirror", "-d", "out", tr.writeURLList(tr.fileURL() + "\n")}} {
			o := tr.runHomeless(env, args...).wantExit(0)
			if n := strings.Count(o.stderr, "pawl: warning: "); n != 1 {
				tr.Errorf("%d warnings, want one", n)
			}
			o.wantStderr("this run cannot be resumed", "--state DIR")
		}
		tr.wantFile("f.bin", f)
		tr.wantFile("out/f.bin", f)
		tr.runHomeless(env, "list").wantExit(3).wantStderr("pawl: error: state file: ", "pawl: hint: use another state directory with --state DIR")
		tr.dropResults() // the errors contain paths
		tr.markMet()
	}}
}

// runHomeless runs pawl as an ordinary user with env and a temporary directory of its own,
// which must be empty at the end.
func (tr *testRun) runHomeless(env []string, args ...string) runResult {
	tr.Helper()
	return tr.startHomeless(env, args...).wait()
}

// startHomeless is runHomeless without waiting for the end.
func (tr *testRun) startHomeless(env []string, args ...string) *pawlProcess {
	tr.Helper()
	temp := filepath.Join(tr.dir, "temp")
	must(tr, os.MkdirAll(temp, 0o700))
	tr.Cleanup(func() {
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			tr.Errorf("left over: %v", left)
		}
	})
	cmd := tr.unprivilegedCommand(args...)
	cmd.Env = append(append(cmd.Env, "XDG_STATE_HOME=", "TMPDIR="+temp), env...)
	return tr.startCommand(cmd)
}

// fixedHome returns the environment for homeless with a HOME.
func fixedHome(home string) func(*testRun) []string {
	return func(*testRun) []string { return []string{"HOME=" + home} }
}

// homes are home directories that cannot have a state, and config files that cannot be read.
var homes = []hazard{
	homeless("no HOME", fixedHome("")),
	homeless("HOME is missing", fixedHome("/nonexistent")),
	homeless("HOME is a device", fixedHome("/dev/null")),
	homeless("HOME is read-only", func(tr *testRun) []string {
		home := filepath.Join(tr.dir, "home")
		must(tr, os.Mkdir(home, 0o555))
		return []string{"HOME=" + home}
	}),
	homeless("HOME is on a read-only file system", func(tr *testRun) []string {
		home := filepath.Join(tr.dir, "home")
		tr.mount(home, "size=1m")
		tr.remount(home, syscall.MS_RDONLY, "size=1m")
		return []string{"HOME=" + home}
	}),
	homeless("the state directory is read-only and empty", func(tr *testRun) []string {
		dir := filepath.Join(tr.dir, "xdg")
		must(tr, os.MkdirAll(filepath.Join(dir, "pawl"), 0o700))
		must(tr, os.Chmod(filepath.Join(dir, "pawl"), 0o500))
		return []string{"XDG_STATE_HOME=" + dir}
	}),
	{name: "states: no HOME, other commands", run: func(tr *testRun) {
		tr.serveFile(1 << 20)
		env := []string{"HOME="}
		for _, args := range [][]string{{"resume"}, {"remove", "f.bin"}} {
			tr.runHomeless(env, args...).wantExit(3)
		}
		tr.runHomeless(env, "--version").wantExit(0)
		tr.runHomeless(env, "-o", "-", tr.fileURL()).wantExit(0)
		tr.runHomeless(env, "--state", "kept", tr.fileURL()).wantExit(0)
		if !exists(filepath.Join(tr.dir, "kept", "pawl.db")) {
			tr.Errorf("--state was not used")
		}
		tr.dropResults() // the errors contain paths
		tr.markMet()
	}},
	{name: "states: no HOME, and a signal", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		r := tr.startHomeless([]string{"HOME="}, tr.fileURL())
		if tr.srv.HoldAt(3<<20, r.exited) {
			must(tr, r.cmd.Process.Signal(syscall.SIGTERM))
		}
		o := r.wait().wantExit(143)
		o.wantStderr("pawl: hint: nothing was downloaded that can be kept")
		tr.wantNoPartFiles()
		tr.srv.Open()
		tr.runHomeless([]string{"HOME="}, tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "states: no HOME, and the server breaks off", run: func(tr *testRun) {
		tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Cut(1<<20), faultserver.NoRanges)
		o := tr.runHomeless([]string{"HOME="}, "--tries", "2", tr.fileURL())
		o.wantRefusal(4)
		if strings.Contains(o.stderr, "pawl resume") {
			tr.Errorf("the hint names pawl resume")
		}
		tr.wantNoPartFiles()
	}},
	{name: "states: the password database has the home directory", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		home := filepath.Join(tr.dir, "passwd-home")
		must(tr, os.Mkdir(home, 0o700))
		tr.writeFile(filepath.Join(tr.dir, "passwd"), []byte("root:x:0:0::"+home+":/bin/sh\n"))
		cmd := tr.pawlCmd([]string{"-q", tr.fileURL()})
		script := "mount --bind passwd /etc/passwd && unset HOME XDG_STATE_HOME XDG_CONFIG_HOME && exec pawl \"$@\""
		bound := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh"}, cmd.Args[1:]...)...)
		tr.requireOrSkip(exec.Command("unshare", "--mount", "true").Run())
		bound.Dir, bound.Env = cmd.Dir, cmd.Env
		o := tr.startCommand(bound).wait()
		o.wantDownloaded("f.bin", f)
		if strings.Contains(o.stderr, "warning") || !exists(filepath.Join(home, ".local", "state", "pawl", "pawl.db")) {
			tr.Errorf("the state is not in %s", home)
		}
		tr.markMet()
	}},
	{name: "states: the config file cannot be read", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		home := filepath.Join(tr.dir, "home")
		config := filepath.Join(home, ".config", "pawl", "config")
		must(tr, os.MkdirAll(filepath.Dir(config), 0o700))
		tr.writeFile(config, []byte("no-such-option = 1\n"))
		env := []string{"HOME=" + home, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=" + filepath.Join(tr.dir, "state")}
		for _, path := range []string{config, filepath.Dir(config), home} {
			info, err := os.Stat(path)
			must(tr, err)
			must(tr, os.Chmod(path, 0))
			o := tr.runHomeless(env, "--overwrite", tr.fileURL())
			o.wantDownloaded("f.bin", f)
			if n := strings.Count(o.stderr, "pawl: warning: "); n != 1 {
				tr.Errorf("%d warnings, want one", n)
			}
			o.wantStderr("pawl: warning: config file: ", "its settings are ignored")
			tr.runHomeless(env, "--config", config, tr.fileURL()).wantExit(2)
			tr.runHomeless(env, "--no-config", "--overwrite", tr.fileURL()).wantExit(0)
			must(tr, os.Chmod(path, info.Mode()))
		}
		tr.runHomeless(env, tr.fileURL()).wantExit(2) // a readable file with an error
		tr.dropResults()
		tr.markMet()
	}},
}

// stateWithoutPermission sets the mode of path, the state file or its directory, between a
// kill and the next run. That run must refuse at once; after the mode is back to normal
// the download must continue.
func stateWithoutPermission(tr *testRun, path string, mode, normal os.FileMode) {
	tr.Helper()
	f := tr.serveFile(16 << 20)
	tr.killOnceHeld(8 << 20)
	cmd := tr.unprivilegedCommand(tr.fileURL())
	check, requests := tr.untouched(tr.statePath(), tr.partPath()), len(tr.srv.Requests())
	must(tr, os.Chmod(path, mode))
	o := tr.startCommand(cmd).wait()
	must(tr, os.Chmod(path, normal))
	check()
	o.wantFailure(3)
	o.wantRefusal(3)
	o.wantStderrAny("permission denied")
	tr.wantAtMostOneRequest(requests)
	tr.runPawl().wantDownloaded("f.bin", f)
	tr.wantSentRatio(1.45)
	tr.markMet()
}
