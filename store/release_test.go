package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// release releases files from keyA and returns which of them were deleted.
func (l *fixture) release(records ...Record) map[string]bool {
	l.t.Helper()
	results, err := l.store.Release(records, []string{keyA})
	if err != nil || len(results) != len(records) {
		l.t.Fatalf("Release: got %d results, %v, want %d", len(results), err, len(records))
	}
	deleted := make(map[string]bool)
	for i, result := range results {
		if result.Record.Target != records[i].Target || result.Err != nil {
			l.t.Errorf("Release of %q: got %q, %v", records[i].Target, result.Record.Target, result.Err)
		}
		deleted[filepath.Base(result.Record.Target)] = result.Deleted
	}
	return deleted
}

// wantForgotten checks that a file has no record.
func (l *fixture) wantForgotten(name string) {
	l.t.Helper()
	if rec, err := l.store.ByTarget(l.path(name)); !errors.Is(err, ErrNotFound) {
		l.t.Errorf("%s: got %+v, %v, want no record", name, rec, err)
	}
}

// A file is deleted with its last list if it is unchanged. The claims on record count,
// not those that the caller has read before.
func TestRelease(t *testing.T) {
	l := newFixture(t)
	shared := l.finished("shared", keyA, keyB)
	nameless := l.finished("nameless", keyA, Nameless)
	alone := l.finished("alone", keyA)
	altered := l.finished("altered", keyA)
	l.put(altered.Target, "by somebody else")
	missing := l.finished("missing", keyA)
	must(t, os.Remove(missing.Target))
	claimed := l.finished("claimed", keyA)
	l.claim(keyB, "claimed")
	got := l.finished("direct", keyA)
	l.finished("direct")
	replaced := l.finished("replaced", keyA)
	l.finished("replaced", keyA)

	deleted := l.release(shared, nameless, alone, altered, missing, claimed, got, replaced)
	for name := range deleted {
		if deleted[name] != (name == "alone") {
			t.Errorf("%s: got deleted %v", name, deleted[name])
		}
	}
	l.wantLists("shared", keyB)
	l.wantLists("nameless", Nameless)
	l.wantLists("claimed", keyB)
	l.wantLists("direct")
	l.wantLists("replaced", keyA)
	for _, name := range []string{"shared", "nameless", "claimed", "direct", "replaced"} {
		if rec, err := l.store.ByTarget(l.path(name)); err != nil || !l.store.Intact(rec) {
			t.Errorf("%s: got %v, want it intact", name, err)
		}
	}
	l.wantNo(alone.Target)
	l.wantFile(altered.Target, "by somebody else")
	for _, name := range []string{"alone", "altered", "missing"} {
		l.wantForgotten(name)
	}
}

// A releaseFS is the real file system with hooks in the middle of Release.
type releaseFS struct {
	osFS
	remove, syncDir func(name string) error // called before the operation; nil for no hook
}

func (f releaseFS) Remove(name string) error {
	if f.remove != nil {
		if err := f.remove(name); err != nil {
			return err
		}
	}
	return f.osFS.Remove(name)
}

func (f releaseFS) SyncDir(dir string) error {
	if f.syncDir != nil {
		if err := f.syncDir(dir); err != nil {
			return err
		}
	}
	return f.osFS.SyncDir(dir)
}

// A file that cannot be deleted, or not durably, keeps its record and its lists. The
// other files are removed.
func TestReleaseFails(t *testing.T) {
	for _, tc := range []struct {
		fs   releaseFS
		left []string // names on record afterwards
	}{
		{releaseFS{remove: func(name string) error {
			if filepath.Base(name) == "b" {
				return errInjected
			}
			return nil
		}}, []string{"b"}},
		{releaseFS{syncDir: func(string) error { return errInjected }}, []string{"a", "b"}},
	} {
		l := newFixture(t)
		a, b := l.finished("a", keyA), l.finished("b", keyA)
		l.store.fs.FS = tc.fs
		results, err := l.store.Release([]Record{a, b}, []string{keyA})
		must(t, err)
		failed := 0
		for _, result := range results {
			if errors.Is(result.Err, errInjected) {
				failed++
			}
		}
		if failed != len(tc.left) {
			t.Errorf("got %d failures, want %d", failed, len(tc.left))
		}
		for _, name := range tc.left {
			l.wantLists(name, keyA)
		}
		l.store.fs.FS = osFS{}
		if deleted := l.release(a, b); deleted["a"] {
			t.Errorf("a was deleted twice")
		}
		l.wantForgotten("a")
		l.wantForgotten("b")
	}
}

// A crash before the commit leaves a record for each file, deleted or not, and the next
// prune continues from there.
func TestReleaseCrash(t *testing.T) {
	l := newFixture(t)
	a, b := l.finished("a", keyA), l.finished("b", keyA)
	var crashed []byte // the state file at the moment the deletion is durable
	l.store.fs.FS = releaseFS{syncDir: func(string) (err error) {
		l.wantNo(a.Target)
		l.wantNo(b.Target)
		crashed, err = os.ReadFile(l.dbPath())
		return err
	}}
	l.release(a, b)
	must(t, os.WriteFile(l.dbPath(), crashed, 0o600))
	l.open()
	l.wantLists("a", keyA)
	l.wantLists("b", keyA)
	l.release(a, b)
	l.wantForgotten("a")
	l.wantForgotten("b")
	l.wantWarnings(0)
}

// Release results its transaction after a while, and the caller continues.
func TestReleaseTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFixture(t)
		a, b := l.finished("a", keyA), l.finished("b", keyA)
		l.store.fs.FS = releaseFS{remove: func(string) error {
			time.Sleep(maxReleaseTime + maxReleaseTime/10)
			return nil
		}}
		for _, records := range [][]Record{{a, b}, {b}} {
			if results, err := l.store.Release(records, []string{keyA}); err != nil || len(results) != 1 || !results[0].Deleted {
				t.Errorf("got %+v, %v, want the first of %d", results, err, len(records))
			}
		}
	})
}

func TestAbandon(t *testing.T) {
	l := newFixture(t)
	alone, shared, none := l.unfinished("alone", keyA), l.unfinished("shared", keyA, keyB), l.unfinished("none", keyB)
	noPart := l.unfinished("no part", keyA)
	must(t, os.Remove(noPart.Part()))
	l.finished("again", keyA)
	again := l.unfinished("again", keyA)
	running := l.opened(l.store.Create(l.recordOf("running", keyA)))
	for _, tc := range []struct {
		rec  Record
		want bool
		err  error
	}{{alone, true, nil}, {shared, false, nil}, {none, false, nil}, {noPart, true, nil}, {again, true, nil}, {running.Record(), false, ErrBusy}, {alone, false, ErrNotFound}} {
		if got, err := l.store.Abandon(tc.rec.ID, []string{keyA}); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: got %v, %v, want %v, %v", filepath.Base(tc.rec.Target), got, err, tc.want, tc.err)
		}
	}
	l.wantForgotten("alone")
	l.wantForgotten("no part")
	l.wantNo(alone.Part())
	l.wantNo(again.Part())
	l.wantUnfinishedLists("shared", keyB)
	l.wantUnfinishedLists("none", keyB)
	l.wantUnfinishedLists("running", keyA)
	l.wantLists("again", keyA) // it was to be replaced, and was not
	for _, part := range []string{shared.Part(), none.Part(), l.path("running.part")} {
		if _, err := os.Lstat(part); err != nil {
			t.Error(err)
		}
	}
	if removed, err := l.store.Abandon(l.onRecordAt("again").ID, []string{keyA}); removed || err != nil {
		t.Errorf("a finished file: got %v, %v", removed, err)
	}
}

func (l *fixture) onRecordAt(name string) Record {
	l.t.Helper()
	rec, err := l.store.ByTarget(l.path(name))
	must(l.t, err)
	return rec
}

func TestRemoveEmpty(t *testing.T) {
	l := newFixture(t)
	root := l.path(".")
	l.put(l.path("a/b/c/file"), "x")
	must(t, os.MkdirAll(l.path("a/b/d/e"), 0o777), os.MkdirAll(l.path("f/g"), 0o777))
	l.store.RemoveEmpty(root, l.path("a/b/d/e"))
	l.wantNo(l.path("a/b/d"))
	l.wantFile(l.path("a/b/c/file"), "x")
	l.store.RemoveEmpty(root, l.path("a/b/c"))
	l.wantFile(l.path("a/b/c/file"), "x")
	l.store.RemoveEmpty(root, l.path("f/g"))
	l.wantNo(l.path("f"))
	must(t, os.RemoveAll(l.path("a")))
	for _, dir := range []string{root, filepath.Dir(root), l.path("none/none")} {
		l.store.RemoveEmpty(root, dir)
	}
	if _, err := os.Lstat(root); err != nil {
		t.Errorf("the root: %v", err)
	}
	elsewhere := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(elsewhere, "sub"), 0o777))
	l.symlink(elsewhere, l.path("link"))
	l.store.RemoveEmpty(root, l.path("link/sub"))
	l.store.RemoveEmpty(root, l.path("link"))
	if _, err := os.Readlink(l.path("link")); err != nil {
		t.Errorf("the link: %v", err)
	}
}
