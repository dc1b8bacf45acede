package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pawl/downloader/faultserver"
)

// This file has the hazards in which another user of the machine owns, or may write to,
// something that pawl uses. They need root, to change owners.

// otherUser is the ID of a user that is neither root nor the user who runs the tests.
const otherUser = 12345

// chownToOther makes otherUser the owner of files. It does not follow links.
func (tr *testRun) chownToOther(paths ...string) {
	tr.Helper()
	for _, path := range paths {
		tr.requireOrSkip(os.Lchown(path, otherUser, otherUser))
	}
}

// owners are state, part and output files that belong to another user.
var owners = []hazard{
	otherUsersState("the directory is another user's", func(tr *testRun, dir string) string {
		tr.chownToOther(dir)
		return dir
	}),
	otherUsersState("others may write to the directory", func(tr *testRun, dir string) string {
		must(tr, os.Chmod(dir, 0o777))
		return dir
	}),
	otherUsersState("a group may write to the directory", func(tr *testRun, dir string) string {
		must(tr, os.Chmod(dir, 0o770))
		return dir
	}),
	otherUsersState("the directory is another user's symlink", func(tr *testRun, dir string) string {
		must(tr, os.Rename(dir, dir+"2"))
		must(tr, os.Symlink(dir+"2", dir))
		tr.chownToOther(dir)
		return dir
	}),
	otherUsersState("the state file is another user's", func(tr *testRun, dir string) string {
		tr.chownToOther(filepath.Join(dir, "pawl.db"))
		return filepath.Join(dir, "pawl.db")
	}),
	otherUsersState("others may write to the state file", func(tr *testRun, dir string) string {
		must(tr, os.Chmod(filepath.Join(dir, "pawl.db"), 0o666))
		return filepath.Join(dir, "pawl.db")
	}),
	otherUsersState("the state file is a symlink to another user's", func(tr *testRun, dir string) string {
		db := filepath.Join(dir, "pawl.db")
		must(tr, os.Rename(db, dir+"2"))
		must(tr, os.Symlink(dir+"2", db))
		tr.chownToOther(dir + "2")
		return db
	}),
	otherUsersState("the lock is another user's", otherUsersFile("pawl.lock")),
	otherUsersState("a new state file is another user's", otherUsersFile("pawl.db.new")),
	otherUsersState("the locks of hosts are another user's", otherUsersFile("hosts")),
	otherUsersState("the locks of runs are another user's", otherUsersFile("runs")),
	otherUsersState("the locks of part files are another user's", otherUsersFile("locks")),
	otherUsersState("the lists are another user's", otherUsersFile("lists")),
	{name: "states: the state is private", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tr.fileURL()+"\n") }))
		defer srv.Close()
		state := filepath.Dir(tr.statePath())
		must(tr, os.MkdirAll(filepath.Join(state, "lists"), 0o755)) // older versions of pawl used this mode
		tr.runAndDo(2<<20, func(*pawlProcess) {
			must(tr, os.Chmod(tr.statePath(), 0o644))
			tr.runPawl("list")
			tr.wantPrivateFiles(state)
		}, "mirror", "-d", ".", srv.URL+"/list").wantDownloaded("f.bin", f)
		tr.wantPrivateFiles(state)
		tr.markMet()
	}},
	{name: "states: an earlier pawl made the lists directory with umask 002", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		state := filepath.Dir(tr.statePath())
		must(tr, os.MkdirAll(filepath.Join(state, "lists"), 0o700))
		must(tr, os.Chmod(state, 0o700))
		must(tr, os.Chmod(filepath.Join(state, "lists"), 0o775))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantPrivateFiles(state)
		tr.markMet()
	}},
	foreignPart("empty", func(tr *testRun) { tr.writeFile(tr.partPath(), nil); tr.chownToOther(tr.partPath()) }),
	foreignPart("with bytes", func(tr *testRun) { tr.writeFile(tr.partPath(), tr.randomBytes(8<<20)); tr.chownToOther(tr.partPath()) }),
	foreignPart("locked by its owner", func(tr *testRun) {
		tr.writeFile(tr.partPath(), nil)
		f, err := os.Open(tr.partPath())
		must(tr, err)
		tr.Cleanup(func() { f.Close() })
		must(tr, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		tr.chownToOther(tr.partPath())
	}),
	foreignPart("with a second hard link", func(tr *testRun) {
		tr.writeFile(filepath.Join(tr.dir, "mine"), nil)
		must(tr, os.Link(filepath.Join(tr.dir, "mine"), tr.partPath()))
	}),
	resumeForeignPart("another user's", func(tr *testRun) { tr.chownToOther(tr.partPath()) },
		func(tr *testRun) { must(tr, os.Lchown(tr.partPath(), os.Geteuid(), os.Getegid())) }),
	resumeForeignPart("hard-linked elsewhere", func(tr *testRun) { must(tr, os.Link(tr.partPath(), filepath.Join(tr.dir, "mine"))) },
		func(tr *testRun) { must(tr, os.Remove(filepath.Join(tr.dir, "mine"))) }),
	{name: "disks: a part file is private, and the umask applies to the finished file", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		for umask, want := range map[string]os.FileMode{"022": 0o644, "027": 0o640, "002": 0o664, "077": 0o600} {
			var part os.FileMode
			cmd := viaShell(tr.pawlCmd([]string{tr.fileURL()}), "umask "+umask+`; exec "$0" "$@"`)
			r := tr.startCommand(cmd)
			waitFor(tr.T, func() bool { part = modeOf(tr.partPath()); return part != 0 || exists(filepath.Join(tr.dir, "f.bin")) })
			r.wait().wantDownloaded("f.bin", f)
			if got := modeOf(filepath.Join(tr.dir, "f.bin")); part != 0o600 || got != want {
				tr.Errorf("umask %s: modes of the part file and the file: got %o, %o, want 600, %o", umask, part, got, want)
			}
			must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
		}
		small := tr.newServer(f)
		small.Put("small", faultserver.NewFile(1000, 1))
		list := tr.writeURLList(small.URL + "/small\n")
		tr.startCommand(viaShell(tr.pawlCmd([]string{"mirror", "-d", ".", list}), `umask 027; exec "$0" "$@"`)).wait().wantExit(0)
		if got := modeOf(filepath.Join(tr.dir, "small")); got != 0o640 {
			tr.Errorf("a small file: mode %o, want 640", got)
		}
		tr.markMet()
	}},
	{name: "disks: a part file that others may read becomes private", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		must(tr, os.Chmod(tr.partPath(), 0o644))
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runAndDoPaused(2<<20, func(*pawlProcess) {
			if got := modeOf(tr.partPath()); got != 0o600 {
				tr.Errorf("mode %o, want 600", got)
			}
		}).wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	otherUsersOutput("--report", "a link to a file", 3, func(tr *testRun, path, mine string) { must(tr, os.Symlink(mine, path)); tr.chownToOther(path) }),
	otherUsersOutput("--report", "a link to nothing", 3, func(tr *testRun, path, mine string) {
		must(tr, os.Symlink(mine+".not", path))
		tr.chownToOther(path)
	}),
	otherUsersOutput("--report", "a file", 0, func(tr *testRun, path, _ string) {
		tr.writeFile(path, []byte("planted"))
		must(tr, os.Chmod(path, 0o666))
		tr.chownToOther(path)
	}),
	otherUsersOutput("--failed", "a link to a file", 3, func(tr *testRun, path, mine string) { must(tr, os.Symlink(mine, path)); tr.chownToOther(path) }),
	otherUsersOutput("--failed", "a file", 0, func(tr *testRun, path, _ string) {
		tr.writeFile(path, []byte("planted"))
		must(tr, os.Chmod(path, 0o666))
		tr.chownToOther(path)
	}),
	otherUsersOutput("--report", "in a directory that is a link", 3, func(tr *testRun, path, mine string) {
		must(tr, os.Mkdir(mine+".d", 0o755))
		must(tr, os.Symlink(mine+".d", filepath.Dir(path)))
		tr.chownToOther(filepath.Dir(path))
	}),
	{name: "states: the config file is another user's", run: func(tr *testRun) {
		tr.serveFile(1 << 20)
		dir := filepath.Join(tr.dir, "config", "pawl")
		must(tr, os.MkdirAll(dir, 0o700))
		tr.writeFile(filepath.Join(dir, "config"), []byte("on-complete = touch "+filepath.Join(tr.dir, "run")+"\n"))
		tr.chownToOther(filepath.Join(dir, "config"))
		tr.env = append(tr.env, "XDG_CONFIG_HOME="+filepath.Join(tr.dir, "config"))
		o := tr.runPawl()
		o.wantRefusal(2, 3)
		o.wantStderrAny(fmt.Sprintf("belongs to user %d", otherUser))
		if exists(filepath.Join(tr.dir, "run")) {
			tr.Errorf("pawl ran the command of the config file")
		}
		tr.markMet()
	}},
}

// modeOf returns the permission bits of a file, or 0 if it does not exist.
func modeOf(path string) os.FileMode {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// wantPrivateFiles checks that other users have no permission for the files directly in dir.
func (tr *testRun) wantPrivateFiles(dir string) {
	tr.Helper()
	entries, err := os.ReadDir(dir)
	must(tr, err)
	for _, e := range entries {
		if got := modeOf(filepath.Join(dir, e.Name())); got&0o077 != 0 {
			tr.Errorf("%s: got mode %o, want no permission for others", e.Name(), got)
		}
	}
}

// otherUsersFile returns a step that creates a file or directory in the state directory, if
// it does not exist, and gives it to otherUser.
func otherUsersFile(name string) func(tr *testRun, dir string) string {
	return func(tr *testRun, dir string) string {
		path := filepath.Join(dir, name)
		if strings.HasPrefix(name, "pawl.") {
			tr.writeFile(path, nil)
		} else if !exists(path) {
			must(tr, os.Mkdir(path, 0o700))
		}
		tr.chownToOther(path)
		return path
	}
}

// otherUsersState returns a hazard in which do gives another user access to the state
// directory of a killed download, and returns the path that pawl must name. Each command
// must refuse and change nothing.
func otherUsersState(name string, do func(tr *testRun, dir string) (path string)) hazard {
	return hazard{name: "states: " + name, run: func(tr *testRun) {
		tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		path := do(tr, filepath.Dir(tr.statePath()))
		check, requests := tr.untouched(tr.partPath(), tr.statePath()), len(tr.srv.Requests())
		for _, args := range [][]string{{tr.fileURL()}, {"resume"}, {"list"}, {"remove", "--files", "f.bin"}, {"mirror", tr.writeURLList(tr.fileURL() + "\n")}} {
			o := tr.runPawl(args...)
			o.wantRefusal(3)
			o.wantStderrAny(path)
			o.wantStderrAny("pawl: hint: ")
		}
		check()
		tr.wantAtMostOneRequest(requests)
		tr.markMet()
	}}
}

// foreignPart returns a hazard of a foreign file at the path of the part file. It must stay
// as it is, and pawl must use another name for the part file.
func foreignPart(name string, plant func(tr *testRun)) hazard {
	return hazard{name: "disks: foreign part file, " + name, run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		plant(tr)
		check := tr.untouched(tr.partPath())
		tr.srv.Set(faultserver.Rate(32 << 20))
		o := tr.signalAt(4<<20, syscall.SIGTERM)
		if o.code != 143 {
			tr.Errorf("exit %d, want 143", o.code)
		}
		tr.runPawl("resume").wantExit(0)
		tr.wantFile("f.bin", f)
		check()
		if left, _ := filepath.Glob(filepath.Join(tr.dir, "f.bin*")); len(left) != 2 {
			tr.Errorf("got files %q, want the file and the foreign part file", left)
		}
		tr.wantSentRatio(1.45)
		tr.markMet()
	}}
}

// resumeForeignPart returns a hazard in which do lets another user own or share the part
// file of a killed download. pawl must refuse to resume until undo has reversed that.
func resumeForeignPart(name string, do, undo func(tr *testRun)) hazard {
	return hazard{name: "disks: part file is now " + name, run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		do(tr)
		check, requests := tr.untouched(tr.partPath()), len(tr.srv.Requests())
		for _, args := range [][]string{{tr.fileURL()}, {"resume"}} {
			o := tr.runPawl(args...)
			o.wantRefusal(13)
			o.wantStderrAny(tr.partPath())
		}
		check()
		tr.wantAtMostOneRequest(requests)
		undo(tr)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}}
}

// otherUsersOutput returns a hazard in which plant puts a file or link of another user at
// the path of --report or --failed. pawl must replace a file by its own, and must refuse a
// link with the code. mine is a file of the user that must stay unchanged.
func otherUsersOutput(option, name string, code int, plant func(tr *testRun, path, mine string)) hazard {
	return hazard{name: "states: " + option + " is another user's, " + name, run: func(tr *testRun) {
		tr.putFile("f.bin", faultserver.NewFile(1000, 1))
		mine, path := filepath.Join(tr.dir, "mine"), filepath.Join(tr.dir, "out", "told")
		tr.writeFile(mine, []byte("mine"))
		if !strings.Contains(name, "directory") {
			must(tr, os.Mkdir(filepath.Dir(path), 0o777))
		}
		plant(tr, path, mine)
		check := tr.untouched(mine)
		o := tr.runPawl("mirror", "-d", ".", option, path, tr.writeURLList(tr.fileURL()+"\n"))
		o.wantExit(code)
		check()
		if code != 0 {
			o.wantStderrAny(fmt.Sprintf("belongs to user %d", otherUser))
		} else if info, err := os.Lstat(path); err != nil || info.Mode().Perm()&0o022 != 0 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			tr.Errorf("got %v, %v, want a file of ours that others cannot write", info, err)
		}
		if exists(mine+".not") || exists(filepath.Join(mine+".d", "told")) {
			tr.Errorf("the link was followed")
		}
		tr.markMet()
	}}
}
