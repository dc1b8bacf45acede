package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A limitedFS describes a file system that lacks operations, and the warning for the
// user.
type limitedFS struct {
	ops    []string // operations of crashFS
	errs   []error
	warns  string   // part of the only warning; "" for none
	except []string // scenarios that cannot succeed
}

// unsupported lists the errors that always mean that a call is missing.
var unsupported = []error{syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.ENOTSUP, errors.ErrUnsupported}

func plus(errs ...error) []error { return append(errs, unsupported...) }

var lackings = []limitedFS{
	{[]string{"lock"}, plus(syscall.ENOLCK, syscall.EINVAL, syscall.EBADF, syscall.EIO, syscall.EACCES, syscall.EPERM), "cannot lock files", nil},
	{[]string{"syncdir"}, plus(syscall.EINVAL, syscall.EBADF, syscall.EISDIR, syscall.EPERM, syscall.EACCES), "cannot sync directories", nil},
	{[]string{"datasync"}, plus(syscall.EINVAL), "", nil},
	{[]string{"datasync", "sync"}, plus(syscall.EINVAL), "cannot sync files", nil},
	{[]string{"settime"}, plus(syscall.EPERM, syscall.EACCES, syscall.EINVAL, syscall.EROFS, syscall.EIO), "cannot set the time", nil},
	{[]string{"truncate"}, plus(syscall.EINVAL, syscall.EPERM, syscall.EACCES), "", []string{"restart", "too long"}},
	{[]string{"exclusive"}, plus(syscall.EINVAL, syscall.EPERM, syscall.EACCES, syscall.ENOENT), "", nil},
	{[]string{"exclusive", "hardlink"}, plus(syscall.EINVAL, syscall.EPERM, syscall.EMLINK, syscall.EXDEV), "cannot rename without replacing", []string{"replace"}},
	{[]string{"overwrite"}, plus(syscall.EEXIST, syscall.EPERM, syscall.EACCES, syscall.EINVAL), "cannot replace a file in one step", []string{"straight", "restart", "resume", "again", "unknown size", "too long", "cut", "repair", "repair given up", "take over", "take over of a part file"}},
	{[]string{"free"}, plus(syscall.EINVAL, syscall.EIO), "", nil},
}

func (l limitedFS) has(err error) map[string]error {
	all := map[string]error{}
	for _, op := range l.ops {
		all[op] = &os.SyscallError{Syscall: op, Err: err}
	}
	return all
}

// Each scenario succeeds on a file system that lacks a call, with one warning if a
// promise is weaker, and none otherwise.
func TestLimitations(t *testing.T) {
	for _, l := range lackings {
		for _, sc := range scenarios {
			if slices.Contains(l.except, sc.name) {
				continue
			}
			fresh := newWorld(t, sc, 1)
			errs := l.errs[:1]
			if sc.name == "straight" || l.ops[0] == "overwrite" {
				errs = l.errs
			}
			for n, err := range errs {
				fresh.lacks = l.has(err)
				w := fresh.anew(uint64(n))
				w.story = fmt.Sprintf("%s: no %s: %v", sc.name, l.ops, err)
				w.firstRun(sc)
				w.check()
				w.complete()
				w.reboot(1, 1).check()
				w.wantWarning(l.warns)
			}
		}
	}
}

// wantWarning checks that the only warning contains text, or that there is none if text
// is "".
func (w *world) wantWarning(text string) {
	w.t.Helper()
	switch {
	case text == "" && len(w.warned) > 0, len(w.warned) > 1:
		w.errorf("warnings: got %q, want one of %q at most", w.warned, text)
	case text != "" && (len(w.warned) == 0 || !strings.Contains(w.warned[0], text)):
		w.errorf("warnings: got %q, want %q", w.warned, text)
	}
}

// A crash at any step of a replacement for a missing call.
func TestLimitationsCrash(t *testing.T) {
	for _, l := range lackings {
		if l.ops[0] == "syncdir" || len(l.ops) > 1 && l.ops[1] == "sync" {
			continue // nothing is promised
		}
		t.Run(fmt.Sprint(l.ops), func(t *testing.T) {
			t.Parallel()
			sc := scenarioNamed(t, "again")
			sc.lacks = l.has(l.errs[0])
			crashEverywhere(t, sc)
		})
	}
}

// Other errors of the same calls are returned.
func TestOtherErrors(t *testing.T) {
	failures := []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ESTALE}
	for op, errs := range map[string][]error{
		"syncdir":  append([]error{syscall.ENOENT, syscall.EMFILE}, failures...),
		"datasync": append([]error{syscall.EPERM, syscall.EACCES}, failures...),
		"sync":     append([]error{syscall.EPERM, syscall.EACCES}, failures...),
		"mkdir":    append([]error{syscall.EPERM, syscall.ENOSYS}, failures...),
		"open":     append([]error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL}, failures...),
		"write":    append([]error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL}, failures...),
		"stat":     append([]error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL}, failures...),
		"lstat":    append([]error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL}, failures...),
	} {
		sc := scenarioNamed(t, "straight")
		fresh := newWorld(t, sc, 1)
		for n, err := range errs {
			fresh.lacks = map[string]error{op: err}
			w := fresh.anew(uint64(n))
			w.story = fmt.Sprintf("%s: %v", op, err)
			s := &session{w: w}
			if straight(s); !errors.Is(s.err, err) {
				w.errorf("got error %v, want %v", s.err, err)
			}
			if s.part != nil {
				s.part.Close()
			}
			w.check()
			w.wantWarning("")
			w.fs.lacks = nil
			w.complete()
		}
	}
}

// A part file that is too long and cannot be truncated leads to ErrCannotTruncate and is
// kept.
func TestFinishCannotTruncate(t *testing.T) {
	sc := scenarioNamed(t, "too long")
	sc.lacks = map[string]error{"truncate": syscall.EPERM}
	w := newWorld(t, sc, 1)
	s := &session{w: w}
	if sc.first(s); !errors.Is(s.err, ErrCannotTruncate) || !errors.Is(s.err, syscall.EPERM) {
		t.Errorf("Finish: got %v, want %v", s.err, ErrCannotTruncate)
	}
	s.part.Close()
	w.check()
	w.wantWarning("")
}

// A part file that has become too short is not filled with zeros.
func TestFinishShort(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	must(t, os.Truncate(l.target+".part", 99_999))
	l.wantErr("Finish", p.Finish(time.Time{}), ErrGone)
	must(t, p.Close())
	l.wantNo(l.target)
	l.complete(l.resume())
}

// On a file system without locks, a lock in the state directory keeps two processes
// apart.
func TestFallbackLock(t *testing.T) {
	sc := scenarioNamed(t, "straight")
	sc.lacks = map[string]error{"lock": syscall.ENOLCK}
	w := newWorld(t, sc, 1)
	other := &world{t: t}
	other.open(w.fs, w.state)
	s := &session{w: w}
	s.create("v1", 2900)
	s.write(0, 700)
	s.commit()
	rec := s.part.Record()
	check := func(running bool) {
		t.Helper()
		if got := other.store.Running(rec); got != running {
			t.Errorf("Running: got %t, want %t", got, running)
		}
		_, err := other.store.Resume(rec.ID)
		if errors.Is(err, ErrBusy) != running {
			t.Errorf("Resume: got %v, want it busy: %t", err, running)
		}
		if running {
			if err := other.store.Remove(rec.ID, true); !errors.Is(err, ErrBusy) {
				t.Errorf("Remove: got %v, want %v", err, ErrBusy)
			}
		}
	}
	check(true)
	if len(other.warned) > 0 {
		t.Errorf("warnings of the other process: got %q, want none", other.warned)
	}
	w.fs.lacks = nil // like a process that can lock the part file
	check(true)
	w.fs.lacks = sc.lacks
	entries, err := os.ReadDir(filepath.Join(w.state, locksName))
	if err != nil || len(entries) != 1 {
		t.Errorf("lock files: got %v, %v, want one", entries, err)
	}
	s.close()
	if entries, _ := os.ReadDir(filepath.Join(w.state, locksName)); len(entries) != 0 {
		t.Errorf("lock files at the end: got %v, want none", entries)
	}
	if w.store.Running(rec) {
		t.Errorf("Running at the end: got true")
	}
	w.complete()
}

// The lock file of a killed process is no obstacle, with locks and without.
func TestFallbackLockLeftOver(t *testing.T) {
	for _, lacks := range []map[string]error{nil, {"lock": syscall.ENOLCK}} {
		sc := scenarioNamed(t, "straight")
		sc.lacks = lacks
		w := newWorld(t, sc, 1)
		left := filepath.Join(w.state, locksName, hashName(w.target+".part")+".lock")
		must(t, os.MkdirAll(filepath.Dir(left), 0o700), os.WriteFile(left, nil, 0o600))
		w.complete()
		if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the lock file at the end: got %v, want it gone", err)
		}
	}
}

// CreateTemp creates a named file for the errors that mean a missing call, and returns
// all others as they are.
func TestCreateTempUnsupported(t *testing.T) {
	for _, err := range plus(syscall.EINVAL, syscall.EISDIR, syscall.EPERM, syscall.EACCES, syscall.EROFS) {
		g := newPublisher(t, 1)
		g.fs.lacks = map[string]error{"unnamed": err}
		tmp, got := g.store.CreateTemp(Record{Target: "/dl/a"})
		if got != nil {
			t.Fatalf("%v: got %v, want a named file", err, got)
		}
		g.wantTemps(err.Error(), 1)
		must(t, tmp.Close())
		g.wantTemps(err.Error(), 0)
	}
	for _, err := range []error{syscall.ENOENT, syscall.ENOTDIR, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		g := newPublisher(t, 1)
		g.fs.lacks = map[string]error{"unnamed": err}
		if _, got := g.store.CreateTemp(Record{Target: "/dl/a"}); !errors.Is(got, err) || errors.Is(got, errors.ErrUnsupported) {
			t.Errorf("%v: got %v, want it as it is", err, got)
		}
	}
}

// Complete files get their names even if they cannot be linked.
func TestPublishUnlinkable(t *testing.T) {
	for _, err := range plus(syscall.EPERM, syscall.EXDEV, syscall.EMLINK, syscall.EACCES, syscall.ENOENT, syscall.EINVAL) {
		g := newPublisher(t, 1)
		g.publish(false, [2]string{"/dl/a", "first a"})
		g.fs.lacks = map[string]error{"link": err}
		g.publish(true, [2]string{"/dl/a", "second, longer a"}, [2]string{"/dl/b", "the b"}, [2]string{"/dl/sub/c", "the c"})
		tmp, got := g.store.CreateTemp(Record{Target: "/dl/d"})
		if got != nil {
			t.Fatalf("%v: CreateTemp afterwards: got %v, want a named file", err, got)
		}
		g.wantTemps(err.Error(), 1)
		must(t, tmp.Close())
		for name, want := range map[string]string{"/dl/a": "second, longer a", "/dl/b": "the b", "/dl/sub/c": "the c"} {
			rec, recErr := g.store.ByTarget(name)
			if got, _ := g.fs.peek(name); string(got.data) != want || g.promised[name] != want {
				t.Errorf("%v: %s: got %q, want %q", err, name, got.data, want)
			}
			if recErr != nil || rec.State != Done || !g.store.Intact(rec) || rec.ModTime.Unix() != int64(len(want)) || rec.CRC == 0 {
				t.Errorf("%v: %s: record %+v, %v", err, name, rec, recErr)
			}
		}
		g.check(fmt.Sprint(err))
	}
}

// In that case a foreign file is not replaced, neither at the target nor at the name of
// the part file.
func TestPublishUnlinkableForeign(t *testing.T) {
	g := newPublisher(t, 1)
	g.fs.plant("/dl/a.part", []byte("somebody's"))
	g.fs.lacks = map[string]error{"link": syscall.EPERM}
	g.publish(false, [2]string{foreignName, "not to be"}, [2]string{"/dl/a", "the a"})
	g.check("unlinkable")
	if _, ok := g.promised[foreignName]; ok || g.promised["/dl/a"] == "" {
		t.Errorf("placed: got %v, want a alone", g.promised)
	}
	if kept, _ := g.fs.peek("/dl/a.part.1"); string(kept.data) != "somebody's" {
		t.Errorf("the foreign part file: got %q", kept.data)
	}
}

// The power may fail at any step of it.
func TestPublishUnlinkableCrash(t *testing.T) {
	for n, crashed := 1, true; crashed && !t.Failed(); n++ {
		g := newPublisher(t, uint64(n))
		g.fs.lacks = map[string]error{"link": syscall.EPERM}
		g.fs.trap = trap{n: n, does: "before"}
		crashed = crashes(func() { g.publish(false, [2]string{"/dl/a", "first a"}) })
		for _, keep := range []float64{0, .5, 1} {
			next := g.reboot(keep, keep)
			for name := range next.written {
				if got, ok := next.fs.peek(name); ok && string(got.data) != "first a" {
					t.Errorf("%s: got %q under the final name", &g.fs.trap, got.data)
				}
			}
		}
	}
}

// A restlessFS changes the modification time of a file when it is renamed.
type restlessFS struct{ *crashFS }

func (r restlessFS) touch(name string) {
	if node := r.names[name]; node != nil {
		node.setTime(node.current.mtime.Truncate(time.Hour))
	}
}

func (r restlessFS) Rename(from, to string, replace bool) error {
	defer r.touch(to)
	return r.crashFS.Rename(from, to, replace)
}

func (r restlessFS) Link(f File, name string) error {
	defer r.touch(name)
	return r.crashFS.LinkTemp(f, name)
}

// The record has the modification time that the file has at the end.
func TestModTimeAfterRename(t *testing.T) {
	w := newWorld(t, scenarioNamed(t, "straight"), 1)
	w.store.fs.FS = restlessFS{w.fs}
	s := &session{w: w}
	s.runToEnd()
	if rec, err := w.store.ByTarget(w.target); s.err != nil || err != nil || !w.store.Intact(rec) {
		t.Errorf("after Finish: got %v, %v, intact %t", s.err, err, w.store.Intact(rec))
	}

	g := newPublisher(t, 1)
	g.store.fs.FS = restlessFS{g.fs}
	g.publish(false, [2]string{"/dl/a", "first a"}, [2]string{"/dl/b", "the b"})
	g.publish(true, [2]string{"/dl/a", "second, longer a"})
	must(t, g.store.FlushPublished())
	for _, name := range slices.Sorted(maps.Keys(g.promised)) {
		if rec, err := g.store.ByTarget(name); err != nil || !g.store.Intact(rec) || rec.Publishing {
			t.Errorf("%s after Publish: got %+v, %v, want it intact", name, rec, err)
		}
	}
}

// A file that somebody deletes right after the rename counts as finished.
func TestDeletedAfterRename(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	l.store.fs.FS = takingFS{osFS{}, l.target}
	must(t, p.Finish(time.Time{}), p.Close())
	if rec := l.onRecord(); rec.State != Done {
		t.Errorf("state: got %s, want %s", rec.State, Done)
	}
}

// A takingFS deletes a file as soon as it has its name.
type takingFS struct {
	FS
	target string
}

func (f takingFS) SyncDir(dir string) error {
	os.Rename(f.target, f.target+".taken")
	return f.FS.SyncDir(dir)
}

// A rename whose response was lost has happened.
func TestRenameResponseLost(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	l.store.fs.FS = forgetfulFS{osFS{}}
	must(t, p.Finish(time.Time{}), p.Close())
	l.store.fs.FS = osFS{}
	l.wantDone()
}

// A forgetfulFS renames, and returns fs.ErrNotExist.
type forgetfulFS struct{ FS }

func (f forgetfulFS) Rename(from, to string, replace bool) error {
	f.FS.Rename(from, to, replace)
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.ENOENT}
}

var _ io.Closer = lockPair{}
