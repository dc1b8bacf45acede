package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A publisher runs the crash tests of publishAll: it publishes groups of small files,
// some of which replace others, next to a foreign file.
type publisher struct {
	t        *testing.T
	fs       *crashFS
	store    *Store
	state    string
	written  map[string][]string // all versions of each name
	promised map[string]string   // content of each name for which publishAll has returned nil
}

const foreignName = "/dl/foreign"

// newPublisher returns a publisher on a file system that lacks operations of crashFS.
func newPublisher(t *testing.T, seed uint64, lacks ...string) *publisher {
	g := &publisher{t: t, state: memDir(t), written: map[string][]string{}, promised: map[string]string{}}
	g.fs = newCrashFS(seed)
	g.fs.lacks = limitedFS{ops: lacks}.has(syscall.EOPNOTSUPP)
	g.fs.plant(foreignName, []byte("precious"))
	g.open()
	return g
}

func (g *publisher) open() {
	var err error
	g.store, err = Open(g.state, Options{FS: g.fs})
	must(g.t, err)
}

// temp creates a TempFile with a content.
func (g *publisher) temp(name, content string, replace bool) *TempFile {
	g.written[name] = append(g.written[name], content)
	rec := Record{URL: "https://example.com" + name, Target: name, Replace: replace, ModTime: time.Unix(int64(len(content)), 0)}
	u, err := g.store.CreateTemp(rec)
	if err != nil {
		return nil
	}
	for _, part := range []string{content[:2], content[2:]} {
		if _, err := u.Write([]byte(part)); err != nil {
			u.Close()
			return nil
		}
	}
	return u
}

// publish publishes files, given by their names and contents.
func (g *publisher) publish(replace bool, files ...[2]string) {
	var group []*TempFile
	for _, f := range files {
		if u := g.temp(f[0], f[1], replace); u != nil {
			group = append(group, u)
		}
	}
	for i, err := range g.store.publishAll(group) {
		rec := group[i].Record()
		if err == nil {
			g.promised[rec.Target] = g.written[rec.Target][len(g.written[rec.Target])-1]
		}
	}
}

// run is the work of the first process.
func (g *publisher) run() {
	g.publish(false, [2]string{"/dl/a", "first a"}, [2]string{"/dl/b", "the b"})
	g.publish(true, [2]string{"/dl/a", "second, longer a"}, [2]string{"/dl/sub/c", "the c"})
	g.publish(false, [2]string{foreignName, "not to be"}, [2]string{"/dl/d", "a d"})
	g.store.FlushPublished()
}

// check checks the conditions that must hold after a crash.
func (g *publisher) check(story string) {
	g.t.Helper()
	if got, ok := g.fs.peek(foreignName); !ok || string(got.data) != "precious" {
		g.t.Errorf("%s: the foreign file: got %q, %v", story, got.data, ok)
	}
	for name, versions := range g.written {
		if name == foreignName {
			continue
		}
		got, exists := g.fs.peek(name)
		whole := false
		for _, v := range versions {
			whole = whole || string(got.data) == v
		}
		rec, err := g.store.ByTarget(name)
		switch {
		case exists && !whole:
			g.t.Errorf("%s: %s: got %q, want one of %q", story, name, got.data, versions)
		case exists && (err != nil || !g.store.OwnFile(rec)):
			g.t.Errorf("%s: %s exists, but does not count as ours: %v", story, name, err)
		case g.promised[name] != "" && (err != nil || string(got.data) < g.promised[name] && len(got.data) < len(g.promised[name])):
			g.t.Errorf("%s: %s: got %q, %v, want %q, as Publish has promised", story, name, got.data, err, g.promised[name])
		}
	}
}

// complete does the work of the next process: it downloads the missing files again.
func (g *publisher) complete(story string) {
	g.t.Helper()
	want := map[string]string{"/dl/a": "second, longer a", "/dl/b": "the b", "/dl/sub/c": "the c", "/dl/d": "a d"}
	for name, content := range want {
		rec, err := g.store.ByTarget(name)
		if err == nil {
			if ok, err := g.store.Reconcile(rec); err != nil {
				g.t.Fatalf("%s: %s: Reconcile: %v", story, name, err)
			} else if got, _ := g.fs.peek(name); ok && string(got.data) == content {
				continue
			}
		}
		u := g.temp(name, content, err == nil && g.store.OwnFile(rec))
		if u == nil {
			g.t.Fatalf("%s: %s cannot be written", story, name)
		}
		if errs := g.store.publishAll([]*TempFile{u}); errs[0] != nil {
			g.t.Fatalf("%s: %s: %v", story, name, errs[0])
		}
	}
	must(g.t, g.store.FlushPublished())
	for name, content := range want {
		rec, err := g.store.ByTarget(name)
		if got, _ := g.fs.peek(name); err != nil || string(got.data) != content || !g.store.Intact(rec) || rec.Publishing {
			g.t.Errorf("%s: %s at the end: got %q, %+v, %v, want %q", story, name, got.data, rec, err, content)
		}
	}
}

// wantTemps checks the number of temporary files.
func (g *publisher) wantTemps(story string, want int) {
	g.t.Helper()
	var temps []string
	for name := range g.fs.names {
		if strings.HasPrefix(filepath.Base(name), tempPrefix) {
			temps = append(temps, name)
		}
	}
	if len(temps) != want {
		g.t.Errorf("%s: temporary files: got %q, want %d", story, temps, want)
	}
}

// reboot returns the publisher after a power failure.
func (g *publisher) reboot(names, data float64) *publisher {
	next := &publisher{t: g.t, written: map[string][]string{}, promised: g.promised}
	for name, v := range g.written {
		next.written[name] = append(next.written[name], v...)
	}
	next.state = memDir(g.t)
	db, err := os.ReadFile(filepath.Join(g.state, FileName))
	if err == nil {
		must(g.t, os.WriteFile(filepath.Join(next.state, FileName), db, 0o600))
	}
	next.fs = g.fs.reboot(names, data)
	next.open()
	return next
}

// TestPublishCrash cuts the power before and after each operation of publishAll.
func TestPublishCrash(t *testing.T) {
	for _, lacks := range tempLacks {
		t.Run(fmt.Sprint(lacks), func(t *testing.T) {
			t.Parallel()
			publishCrash(t, lacks)
		})
	}
}

// tempLacks are file systems with and without files without a name, with the further
// operations that named temporary files use.
var tempLacks = [][]string{nil, {"unnamed"}, {"unnamed", "exclusive"}, {"unnamed", "exclusive", "hardlink"}, {"unnamed", "lock"}}

func publishCrash(t *testing.T, lacks []string) {
	n, step := sampled(6)
	n++ // operations count from 1
	for crashed := true; crashed && !t.Failed(); n += step {
		for _, does := range []string{"before", "after"} {
			if does == "after" && lacks != nil {
				continue // almost the same as before the next one
			}
			g := newPublisher(t, uint64(n), lacks...)
			g.fs.trap = trap{n: n, does: does}
			crashed = crashes(g.run)
			for _, keep := range g.fs.powerFailures() {
				story := fmt.Sprintf("%s, keep %v", &g.fs.trap, keep)
				next := g.reboot(keep[0], keep[1])
				next.check(story)
				next.complete(story)
				next.check(story + ", completed")
				if g.fs.lacks["lock"] == nil { // else they may belong to a living process with another state directory
					next.wantTemps(story, 0)
				}
			}
		}
	}
	if n < 40 && !t.Failed() {
		t.Errorf("operations: got %d, want more", n)
	}
}

// TestPublishFails lets each operation of publishAll fail once.
func TestPublishFails(t *testing.T) {
	for _, lacks := range tempLacks {
		failed := true
		first, step := sampled(3)
		for n := 1 + first; failed && !t.Failed(); n += step {
			g := newPublisher(t, uint64(n), lacks...)
			g.fs.trap = trap{n: n, does: "fail"}
			g.run()
			failed = g.fs.trap.last != ""
			op := g.fs.trap.last
			story := fmt.Sprintf("no %q, operation %d (%s) failed", lacks, n, op)
			g.fs.trap = trap{}
			g.check(story)
			g.complete(story)
			if op != "remove" {
				g.wantTemps(story, 0)
			}
		}
	}
}

// TestPublishOnRealFS publishes files on the real file system.
func TestPublishOnRealFS(t *testing.T) {
	l := newFixtureIn(t, t.TempDir())
	var group []*TempFile
	for i := range 10 {
		u, err := l.store.CreateTemp(Record{URL: "https://example.com/", Target: l.path(fmt.Sprintf("sub/%d", i%5)), Named: true, ModTime: time.Unix(1e9, 5000)})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("no files without a name here")
		}
		must(t, err)
		_, err = u.Write(bytes.Repeat([]byte{byte(i)}, i))
		must(t, err)
		group = append(group, u)
	}
	for i, err := range l.store.publishAll(group) {
		if want := i >= 5; errors.Is(err, ErrForeign) != want || !want && err != nil {
			t.Errorf("file %d: got %v, want an error: %v", i, err, want)
		}
	}
	for i := range 5 {
		rec, err := l.store.ByTarget(l.path(fmt.Sprintf("sub/%d", i)))
		if err != nil || !l.store.Intact(rec) || !rec.ModTime.Equal(time.Unix(1e9, 5000)) || rec.ID != group[i].Record().ID {
			t.Errorf("file %d: got %+v, %v", i, rec, err)
		}
	}
	names, err := filepath.Glob(l.path("sub/*"))
	if err != nil || len(names) != 5 {
		t.Errorf("got %q, %v, want the five files and nothing else", names, err)
	}
}

// Many random groups of files, some of which exist already, with a failure at a random
// operation.
func TestPublishRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for seed := range uint64(30) {
		g := newPublisher(t, seed)
		for range 4 {
			g.fs.trap = trap{n: 1 + rng.IntN(60), does: []string{"before", "after", "fail"}[rng.IntN(3)]}
			crashed := crashes(g.run)
			story := fmt.Sprintf("seed %d, %s", seed, &g.fs.trap)
			if g.fs.trap = (trap{}); crashed {
				g = g.reboot(rng.Float64(), rng.Float64())
			}
			g.check(story)
		}
		g.complete(fmt.Sprintf("seed %d", seed))
	}
}

// A file of pawl that somebody has changed may still be replaced after a crash between
// the record and the name.
func TestPublishOverChangedFileCrash(t *testing.T) {
	for n, crashed := 1, true; crashed && !t.Failed(); n++ {
		g := newPublisher(t, uint64(n))
		g.publish(false, [2]string{"/dl/a", "first a"})
		must(t, g.store.FlushPublished())
		g.fs.plant("/dl/a", []byte("altered by somebody"))
		g.fs.trap = trap{n: n, does: "before"}
		crashed = crashes(func() { g.publish(true, [2]string{"/dl/a", "second, longer a"}) })
		next := g.reboot(1, 1)
		rec, err := next.store.ByTarget("/dl/a")
		if err != nil || !next.store.OwnFile(rec) {
			t.Errorf("%s: got %+v, %v, want it to be ours", &g.fs.trap, rec, err)
		}
	}
}

// If a finished file has the name of the part file, the file stays and the part file gets
// another name.
func TestCreatePartIsFinished(t *testing.T) {
	l := newFixture(t)
	for _, content := range []string{"", "a file"} {
		name := fmt.Sprintf("f%d", len(content))
		u, err := l.store.CreateTemp(Record{URL: "https://example.com/", Target: l.path(name + ".part"), Named: true})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("no files without a name here")
		}
		must(t, err)
		_, err = u.Write([]byte(content))
		must(t, err)
		must(t, l.store.publishAll([]*TempFile{u})[0])
		p := l.opened(l.store.Create(Record{URL: "https://example.com/f", Target: l.path(name), Named: true, Size: 10}))
		if rec := p.Record(); rec.Part() != l.path(name+".1.part") {
			t.Errorf("%q: the part file is %q", content, rec.Part())
		}
		if rec, err := l.store.ByTarget(l.path(name + ".part")); err != nil || !l.store.Intact(rec) {
			t.Errorf("%q: got %+v, %v, want it left alone", content, rec, err)
		}
	}
}

// A file at another part file name than that of the unfinished record does not belong to
// the download.
func TestCreateKeepsOther(t *testing.T) {
	l := newFixture(t)
	p := l.opened(l.store.Create(l.record()))
	must(t, p.Close())
	mine, other := l.target+".1.part", "mine"
	first := p.Record()
	must(t, os.Link(first.Part(), l.path("second name")), os.WriteFile(mine, []byte(other), 0o600))
	p = l.opened(l.store.Create(l.record()))
	must(t, p.Close())
	if data, err := os.ReadFile(mine); err != nil || string(data) != other {
		if data, err = os.ReadFile(mine + ".1"); err != nil || string(data) != other { // it was renamed
			t.Errorf("got %q, %v, want it kept", data, err)
		}
	}
}
