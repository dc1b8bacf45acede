package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pawl/downloader/faultserver"
)

// treeLinks are symbolic links below the directory into which a list is mirrored. pawl
// must not write, continue or delete files through them without --follow-links.
var treeLinks = []hazard{
	throughLink("a directory links elsewhere", "out/sub", "out=sub/x", "%s"),
	throughLink("a directory links to a sibling", "out/sub", "out=sub/x", "../away"),
	throughLink("a directory links within the tree", "out/sub", "out=sub/x", "real"),
	throughLink("a parent directory is a link", "out/a/b", "out=a/b/c/x", "%s"),
	throughLink("the dir option names a link", "out/sub", "dir=sub\n  out=x", "%s"),
	throughLink("a directory links to nothing", "out/sub", "out=sub/x", "%s/none"),
	{name: "names: symlinks below the directory, --follow-links", run: func(tr *testRun) {
		away := tr.linkedTree("out/sub", "%s")
		tr.runPawl("mirror", "--follow-links", "-d", "out", tr.linkedList("out=sub/x")).wantExit(0)
		for _, name := range []string{"x", "x2"} {
			if !exists(filepath.Join(away, name)) {
				tr.Errorf("%s does not exist", name)
			}
		}
		tr.markMet()
	}},
	{name: "names: symlinks below the directory, the directory itself is a link", run: func(tr *testRun) {
		tr.linkedTree("other", "%s")
		must(tr, os.Mkdir(filepath.Join(tr.dir, "tree"), 0o755))
		must(tr, os.Symlink("tree", filepath.Join(tr.dir, "out")))
		tr.runPawl("mirror", "-d", "out", tr.linkedList("out=a/b/x")).wantExit(0)
		tr.runPawl("mirror", "-N", "-d", "out", tr.linkedList("out=a/b/x")).wantExit(0)
		tr.wantFile("tree/a/b/x", tr.served["large"][0])
		tr.wantFile("tree/a/b/x2", tr.served["small"][0])
		tr.runPawl("mirror", "--prune", "-d", "out", tr.writeURLList(tr.srv.URL+"/small\n")).wantExit(0)
		if exists(filepath.Join(tr.dir, "tree", "a")) {
			tr.Errorf("the directory was not pruned")
		}
		tr.markMet()
	}},
	{name: "names: symlinks below the directory, prune", run: func(tr *testRun) {
		tr.linkedTree("other", "%s")
		list := tr.linkedList("out=sub/x")
		tr.runPawl("mirror", "-d", "out", list).wantExit(0)
		away := tr.replaceByLink("out/sub")
		check := tr.untouched(filepath.Join(away, "x"), filepath.Join(away, "x2"))
		tr.runPawl("mirror", "--prune", "-d", "out", tr.writeURLList(tr.srv.URL+"/small\n  out=z\n")).wantExit(0)
		check()
		tr.markMet()
	}},
	{name: "names: symlinks below the directory, prune of an unfinished file", run: func(tr *testRun) {
		check := tr.linkedPart()
		tr.runPawl("mirror", "--prune", "-d", "out", tr.writeURLList(tr.srv.URL+"/small\n  out=z\n")).wantExit(0)
		check()
		tr.markMet()
	}},
	{name: "names: symlinks below the directory, an unfinished file is resumed", run: func(tr *testRun) {
		check := tr.linkedPart()
		tr.runPawl("mirror", "-d", "out", "list").wantExit(13)
		check()
		tr.runPawl("resume").wantRefusal(13)
		check()
		tr.runPawl("remove", "--files", filepath.Join("out", "sub", "x")).wantExit(0)
		check()
		tr.markMet()
	}},
	{name: "names: symlinks below the directory, swapped again and again", run: func(tr *testRun) {
		tr.linkedTree("other", "%s")
		out, away := filepath.Join(tr.dir, "out"), filepath.Join(tr.dir, "away")
		must(tr, os.MkdirAll(filepath.Join(out, "sub"), 0o755))
		must(tr, os.Symlink(away, filepath.Join(out, "link")))
		var lines strings.Builder
		for i := range 400 {
			name := fmt.Sprintf("s%d", i)
			tr.srv.Put(name, faultserver.NewFile(1000+int64(i), uint64(i)))
			fmt.Fprintf(&lines, "%s/%s\n  out=sub/%s\n", tr.srv.URL, name, name)
			fmt.Fprintf(&lines, "%s/large\n  out=sub/l%d\n", tr.srv.URL, i%5)
		}
		r := tr.startPawl("mirror", "--rounds", "1", "-d", "out", tr.writeURLList(lines.String()))
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() { // swaps the directory and the link
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				os.Rename(filepath.Join(out, "sub"), filepath.Join(out, "dir"))
				os.Rename(filepath.Join(out, "link"), filepath.Join(out, "sub"))
				time.Sleep(time.Millisecond)
				os.Rename(filepath.Join(out, "sub"), filepath.Join(out, "link"))
				os.Rename(filepath.Join(out, "dir"), filepath.Join(out, "sub"))
			}
		}()
		o := r.wait()
		close(stop)
		<-stopped
		if o.code == -1 {
			tr.Errorf("pawl did not end")
		}
		if left, _ := os.ReadDir(away); len(left) > 0 {
			tr.Errorf("%d files were written through the link", len(left))
		}
		tr.dropResults()
		tr.markMet()
	}},
}

// linkedTree makes the directory away outside of out, and at path a symbolic link to to,
// in which %s stands for away. It serves the files small and large.
func (tr *testRun) linkedTree(path, to string) (away string) {
	tr.Helper()
	away = filepath.Join(tr.dir, "away")
	must(tr, os.Mkdir(away, 0o755))
	path = filepath.Join(tr.dir, path)
	must(tr, os.MkdirAll(filepath.Dir(path), 0o755))
	if strings.Contains(to, "%s") {
		to = fmt.Sprintf(to, away)
	}
	must(tr, os.Symlink(to, path))
	tr.putFile("small", faultserver.NewFile(1000, 1))
	tr.putFile("large", faultserver.NewFile(1<<20, 2))
	return away
}

// linkedList writes a list with three entries: large at the path in option, for example
// "out=sub/x", small at the same path with a 2 appended, and small at y. It returns the
// list's name.
func (tr *testRun) linkedList(option string) string {
	u := tr.srv.URL
	return tr.writeURLList(fmt.Sprintf("%s/large\n  %s\n%s/small\n  %s2\n%s/small\n  out=y\n", u, option, u, option, u))
}

// throughLink returns a hazard in which the paths of two entries lead through a link at
// path to to. They are errors, and the third entry is downloaded.
func throughLink(name, path, option, to string) hazard {
	return hazard{name: "names: symlinks below the directory, " + name, run: func(tr *testRun) {
		away := tr.linkedTree(path, to)
		must(tr, os.MkdirAll(filepath.Join(tr.dir, "out", "real"), 0o755))
		o := tr.runPawl("mirror", "-d", "out", tr.linkedList(option))
		o.wantExit(13)
		o.wantStderrAny("symbolic link")
		o.wantStderrAny("--follow-links")
		for _, dir := range []string{away, filepath.Join(tr.dir, "out", "real")} {
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				tr.Errorf("%s contains %q, want nothing", dir, left)
			}
		}
		tr.wantFile("out/y", tr.served["small"][0])
		tr.markMet()
	}}
}

// replaceByLink moves a directory away and puts a symbolic link to it in its place.
func (tr *testRun) replaceByLink(path string) (away string) {
	tr.Helper()
	path, away = filepath.Join(tr.dir, path), filepath.Join(tr.dir, "away", "moved")
	must(tr, os.Rename(path, away))
	must(tr, os.Symlink(away, path))
	return away
}

// linkedPart interrupts the download of out/sub/x and replaces the directory of its part
// file by a link. The returned function checks that nothing has changed behind the link.
func (tr *testRun) linkedPart() (check func()) {
	tr.Helper()
	tr.linkedTree("other", "%s")
	tr.putFile("large", faultserver.NewFile(16<<20, 5))
	tr.srv.Set(faultserver.Rate(32 << 20))
	tr.signalAt(4<<20, 15, "mirror", "-d", "out", tr.writeURLList(tr.srv.URL+"/large\n  out=sub/x\n"))
	tr.srv.Set()
	away := tr.replaceByLink("out/sub")
	return tr.untouched(away, filepath.Join(away, "x.part"))
}
