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

// This file is the hazards of TestHazards in which another user of the machine has made
// something that pawl would use. They need root, to make it.

// stranger is a user who is neither root nor the one who runs the tests.
const stranger = 12345

// giveAway gives files to the stranger.
func (tr *trial) giveAway(paths ...string) {
	tr.Helper()
	for _, path := range paths {
		tr.needs(os.Lchown(path, stranger, stranger))
	}
}

// owners are hazards of TestHazards.
var owners = []hazard{
	strangeState("the directory is another user's", func(tr *trial, dir string) string {
		tr.giveAway(dir)
		return dir
	}),
	strangeState("others may write to the directory", func(tr *trial, dir string) string {
		must(tr, os.Chmod(dir, 0o777))
		return dir
	}),
	strangeState("a group may write to the directory", func(tr *trial, dir string) string {
		must(tr, os.Chmod(dir, 0o770))
		return dir
	}),
	strangeState("the directory is another user's link", func(tr *trial, dir string) string {
		must(tr, os.Rename(dir, dir+"2"))
		must(tr, os.Symlink(dir+"2", dir))
		tr.giveAway(dir)
		return dir
	}),
	strangeState("the state file is another user's", func(tr *trial, dir string) string {
		tr.giveAway(filepath.Join(dir, "pawl.db"))
		return filepath.Join(dir, "pawl.db")
	}),
	strangeState("others may write to the state file", func(tr *trial, dir string) string {
		must(tr, os.Chmod(filepath.Join(dir, "pawl.db"), 0o666))
		return filepath.Join(dir, "pawl.db")
	}),
	strangeState("the state file is a link to another user's", func(tr *trial, dir string) string {
		db := filepath.Join(dir, "pawl.db")
		must(tr, os.Rename(db, dir+"2"))
		must(tr, os.Symlink(dir+"2", db))
		tr.giveAway(dir + "2")
		return db
	}),
	strangeState("the lock is another user's", strangeFile("pawl.lock")),
	strangeState("a new state file is another user's", strangeFile("pawl.db.new")),
	strangeState("the locks of hosts are another user's", strangeFile("hosts")),
	strangeState("the locks of runs are another user's", strangeFile("runs")),
	strangeState("the locks of part files are another user's", strangeFile("locks")),
	strangeState("the lists are another user's", strangeFile("lists")),
	{name: "states: nobody else may read the state", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tr.url()+"\n") }))
		defer srv.Close()
		state := filepath.Dir(tr.statePath())
		must(tr, os.MkdirAll(filepath.Join(state, "lists"), 0o755)) // as an older pawl made it
		tr.during(2<<20, func(*running) {
			must(tr, os.Chmod(tr.statePath(), 0o644))
			tr.run("list")
			tr.closed(state)
		}, "mirror", "-d", ".", srv.URL+"/list").good("f.bin", f)
		tr.closed(state)
		tr.met()
	}},
	{name: "states: an earlier pawl has left the lists to a umask of 002", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		state := filepath.Dir(tr.statePath())
		must(tr, os.MkdirAll(filepath.Join(state, "lists"), 0o700))
		must(tr, os.Chmod(state, 0o700))
		must(tr, os.Chmod(filepath.Join(state, "lists"), 0o775))
		tr.run().good("f.bin", f)
		tr.closed(state)
		tr.met()
	}},
	strangePart("empty", func(tr *trial) { tr.write(tr.partPath(), nil); tr.giveAway(tr.partPath()) }),
	strangePart("with bytes", func(tr *trial) { tr.write(tr.partPath(), tr.random(8<<20)); tr.giveAway(tr.partPath()) }),
	strangePart("locked by its owner", func(tr *trial) {
		tr.write(tr.partPath(), nil)
		f, err := os.Open(tr.partPath())
		must(tr, err)
		tr.Cleanup(func() { f.Close() })
		must(tr, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		tr.giveAway(tr.partPath())
	}),
	strangePart("with another name", func(tr *trial) {
		tr.write(filepath.Join(tr.dir, "mine"), nil)
		must(tr, os.Link(filepath.Join(tr.dir, "mine"), tr.partPath()))
	}),
	strangeResume("another user's", func(tr *trial) { tr.giveAway(tr.partPath()) },
		func(tr *trial) { must(tr, os.Lchown(tr.partPath(), os.Geteuid(), os.Getegid())) }),
	strangeResume("a file with another name", func(tr *trial) { must(tr, os.Link(tr.partPath(), filepath.Join(tr.dir, "mine"))) },
		func(tr *trial) { must(tr, os.Remove(filepath.Join(tr.dir, "mine"))) }),
	{name: "disks: nobody else may open a part file, and the umask says who may read the file", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		for umask, want := range map[string]os.FileMode{"022": 0o644, "027": 0o640, "002": 0o664, "077": 0o600} {
			var part os.FileMode
			cmd := underShell(tr.command([]string{tr.url()}), "umask "+umask+`; exec "$0" "$@"`)
			r := tr.launch(cmd)
			waitFor(tr.T, func() bool { part = modeOf(tr.partPath()); return part != 0 || exists(filepath.Join(tr.dir, "f.bin")) })
			r.wait().good("f.bin", f)
			if got := modeOf(filepath.Join(tr.dir, "f.bin")); part != 0o600 || got != want {
				tr.Errorf("umask %s: modes of the part file and the file: got %o, %o, want 600, %o", umask, part, got, want)
			}
			must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
		}
		small := tr.another(f)
		small.Put("small", faultserver.NewFile(1000, 1))
		list := tr.list(small.URL + "/small\n")
		tr.launch(underShell(tr.command([]string{"mirror", "-d", ".", list}), `umask 027; exec "$0" "$@"`)).wait().exits(0)
		if got := modeOf(filepath.Join(tr.dir, "small")); got != 0o640 {
			tr.Errorf("a small file: mode %o, want 640", got)
		}
		tr.met()
	}},
	{name: "disks: a part file that others may read is closed to them", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		must(tr, os.Chmod(tr.partPath(), 0o644))
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.at(2<<20, func(*running) {
			if got := modeOf(tr.partPath()); got != 0o600 {
				tr.Errorf("mode %o, want 600", got)
			}
		}).good("f.bin", f)
		tr.overhead(1.3)
		tr.met()
	}},
	strangeOutput("--report", "a link to a file", 3, func(tr *trial, path, mine string) { must(tr, os.Symlink(mine, path)); tr.giveAway(path) }),
	strangeOutput("--report", "a link to nothing", 3, func(tr *trial, path, mine string) {
		must(tr, os.Symlink(mine+".not", path))
		tr.giveAway(path)
	}),
	strangeOutput("--report", "a file", 0, func(tr *trial, path, _ string) {
		tr.write(path, []byte("planted"))
		must(tr, os.Chmod(path, 0o666))
		tr.giveAway(path)
	}),
	strangeOutput("--failed", "a link to a file", 3, func(tr *trial, path, mine string) { must(tr, os.Symlink(mine, path)); tr.giveAway(path) }),
	strangeOutput("--failed", "a file", 0, func(tr *trial, path, _ string) {
		tr.write(path, []byte("planted"))
		must(tr, os.Chmod(path, 0o666))
		tr.giveAway(path)
	}),
	strangeOutput("--report", "in a directory that is a link", 3, func(tr *trial, path, mine string) {
		must(tr, os.Mkdir(mine+".d", 0o755))
		must(tr, os.Symlink(mine+".d", filepath.Dir(path)))
		tr.giveAway(filepath.Dir(path))
	}),
	{name: "states: the config file is another user's", try: func(tr *trial) {
		tr.serve(1 << 20)
		dir := filepath.Join(tr.dir, "config", "pawl")
		must(tr, os.MkdirAll(dir, 0o700))
		tr.write(filepath.Join(dir, "config"), []byte("on-complete = touch "+filepath.Join(tr.dir, "run")+"\n"))
		tr.giveAway(filepath.Join(dir, "config"))
		tr.env = append(tr.env, "XDG_CONFIG_HOME="+filepath.Join(tr.dir, "config"))
		o := tr.run()
		o.refuses(2, 3)
		o.tells(fmt.Sprintf("belongs to user %d", stranger))
		if exists(filepath.Join(tr.dir, "run")) {
			tr.Errorf("its command was run")
		}
		tr.met()
	}},
}

// modeOf returns the permissions of a file, 0 if there is none.
func modeOf(path string) os.FileMode {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// closed checks that nobody else may use what is in a directory.
func (tr *trial) closed(dir string) {
	tr.Helper()
	entries, err := os.ReadDir(dir)
	must(tr, err)
	for _, e := range entries {
		if got := modeOf(filepath.Join(dir, e.Name())); got&0o077 != 0 {
			tr.Errorf("%s: mode %o", e.Name(), got)
		}
	}
}

// strangeFile is what the stranger has put into a state directory: a directory or file.
func strangeFile(name string) func(tr *trial, dir string) string {
	return func(tr *trial, dir string) string {
		path := filepath.Join(dir, name)
		if strings.HasPrefix(name, "pawl.") {
			tr.write(path, nil)
		} else if !exists(path) {
			must(tr, os.Mkdir(path, 0o700))
		}
		tr.giveAway(path)
		return path
	}
}

// strangeState is a hazard of a state directory with a killed download, to which do gives
// another user access. It must be refused, by each command, and nothing may be done.
func strangeState(name string, do func(tr *trial, dir string) (path string)) hazard {
	return hazard{name: "states: " + name, try: func(tr *trial) {
		tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		path := do(tr, filepath.Dir(tr.statePath()))
		check, requests := tr.untouched(tr.partPath(), tr.statePath()), len(tr.srv.Requests())
		for _, args := range [][]string{{tr.url()}, {"resume"}, {"list"}, {"remove", "--files", "f.bin"}, {"mirror", tr.list(tr.url() + "\n")}} {
			o := tr.run(args...)
			o.refuses(3)
			o.tells(path)
			o.tells("pawl: hint: ")
		}
		check()
		tr.fewRequests(requests)
		tr.met()
	}}
}

// strangePart is a hazard of something at the path of the part file that is not ours: it
// stays as it is, and the file is fetched by way of another name.
func strangePart(name string, plant func(tr *trial)) hazard {
	return hazard{name: "disks: not our part file, " + name, try: func(tr *trial) {
		f := tr.serve(8 << 20)
		plant(tr)
		check := tr.untouched(tr.partPath())
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.signalAt(4<<20, syscall.SIGTERM)
		if o.code != 143 {
			tr.Errorf("exit %d, want 143", o.code)
		}
		tr.run("resume").exits(0)
		tr.hasFile("f.bin", f)
		check()
		if left, _ := filepath.Glob(filepath.Join(tr.dir, "f.bin*")); len(left) != 2 {
			tr.Errorf("left: %q", left)
		}
		tr.overhead(1.3)
		tr.met()
	}}
}

// strangeResume is a hazard of a part file that is no longer ours alone when its download
// is to go on. That is refused until undo has made it ours again.
func strangeResume(name string, do, undo func(tr *trial)) hazard {
	return hazard{name: "disks: the part file has become " + name, try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		do(tr)
		check, requests := tr.untouched(tr.partPath()), len(tr.srv.Requests())
		for _, args := range [][]string{{tr.url()}, {"resume"}} {
			o := tr.run(args...)
			o.refuses(13)
			o.tells(tr.partPath())
		}
		check()
		tr.fewRequests(requests)
		undo(tr)
		tr.run().good("f.bin", f)
		tr.overhead(1.3)
		tr.met()
	}}
}

// strangeOutput is a hazard of what another user has put at the path of a report or a
// list of what failed.
func strangeOutput(option, name string, code int, plant func(tr *trial, path, mine string)) hazard {
	return hazard{name: "states: " + option + " is another user's, " + name, try: func(tr *trial) {
		tr.put("f.bin", faultserver.NewFile(1000, 1))
		mine, path := filepath.Join(tr.dir, "mine"), filepath.Join(tr.dir, "out", "told")
		tr.write(mine, []byte("mine"))
		if !strings.Contains(name, "directory") {
			must(tr, os.Mkdir(filepath.Dir(path), 0o777))
		}
		plant(tr, path, mine)
		check := tr.untouched(mine)
		o := tr.run("mirror", "-d", ".", option, path, tr.list(tr.url()+"\n"))
		o.exits(code)
		check()
		if code != 0 {
			o.tells(fmt.Sprintf("belongs to user %d", stranger))
		} else if info, err := os.Lstat(path); err != nil || info.Mode().Perm()&0o022 != 0 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			tr.Errorf("the file: %v, %v", info, err)
		}
		if exists(mine+".not") || exists(filepath.Join(mine+".d", "told")) {
			tr.Errorf("the link was followed")
		}
		tr.met()
	}}
}
