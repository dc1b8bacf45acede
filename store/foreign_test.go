package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// targets returns things that may be at the target, each with a function that creates it
// and one that checks that it is unchanged.
func targets() map[string]struct{ put, want func(*fixture) } {
	type tc = struct{ put, want func(*fixture) }
	return map[string]tc{
		"file": {
			func(l *fixture) { l.put(l.target, "foreign") },
			func(l *fixture) { l.wantFile(l.target, "foreign") },
		},
		"empty file": {
			func(l *fixture) { l.put(l.target, "") },
			func(l *fixture) { l.wantFile(l.target, "") },
		},
		"directory": {
			func(l *fixture) { l.put(filepath.Join(l.target, "inside"), "foreign") },
			func(l *fixture) { l.wantFile(filepath.Join(l.target, "inside"), "foreign") },
		},
		"dangling link": {
			func(l *fixture) { l.symlink(l.target+".nowhere", l.target) },
			func(l *fixture) { l.wantLink(l.target, l.target+".nowhere") },
		},
		"link to a file": {
			func(l *fixture) { l.put(l.target+".linked", "foreign"); l.symlink(l.target+".linked", l.target) },
			func(l *fixture) {
				l.wantLink(l.target, l.target+".linked")
				l.wantFile(l.target+".linked", "foreign")
			},
		},
	}
}

func (l *fixture) wantLink(name, to string) {
	l.t.Helper()
	if got, err := os.Readlink(name); got != to {
		l.t.Errorf("link: got %q, %v, want it to lead to %q still", got, err, to)
	}
	l.wantNo(l.target + ".nowhere")
}

func TestCreateForeignTarget(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			target.put(l)
			_, err := l.store.Create(l.record())
			l.wantErr("Create", err, ErrForeign)
			target.want(l)
			l.wantNo(l.target + ".part")
			_, err = l.store.ByTarget(l.target)
			l.wantErr("ByTarget", err, ErrNotFound)
		})
	}
}

// A file that appears at the target during the download is not replaced, and the download
// is kept, even if only Finish notices the file.
func TestFinishForeignTarget(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 100_000)
			target.put(l)
			l.wantErr("Finish", p.Finish(time.Time{}), ErrForeign)
			must(t, p.Close())
			target.want(l)
			l.wantFile(l.target+".part", string(l.data))
			_, err := l.store.Resume(l.onRecord().ID)
			l.wantErr("Resume", err, ErrForeign)
			target.want(l)
			must(t, os.RemoveAll(l.target))
			must(t, l.resume().Close())
			l.wantDone()
		})
	}
}

// Resume fails early if Finish could not succeed, and changes nothing.
func TestResumeForeignTarget(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 70_000)
			must(t, p.Close(), os.Truncate(l.target+".part", 50_000))
			target.put(l)
			_, err := l.store.Resume(l.onRecord().ID)
			l.wantErr("Resume", err, ErrForeign)
			target.want(l)
			if held := l.onRecord().Held; held.String() != "0+70000" {
				t.Errorf("held: got %s, want 0+70000 still", held)
			}
			must(t, os.RemoveAll(l.target))
			p = l.resume()
			if p.Lost() != 20_000 {
				t.Errorf("Lost: got %d, want 20000", p.Lost())
			}
			l.complete(p)
		})
	}
}

// The user may allow the replacement later.
func TestAllowReplace(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 100_000)
			target.put(l)
			l.wantErr("Finish", p.Finish(time.Time{}), ErrForeign)
			id := p.Record().ID
			must(t, p.Close(), l.store.AllowReplace(id))
			if name == "directory" {
				_, err := l.store.Resume(id)
				l.wantErr("Resume", err, ErrForeign)
				target.want(l)
				return
			}
			must(t, l.resume().Close())
			l.wantDone()
		})
	}
	l := newFixture(t)
	l.wantErr("AllowReplace of nothing", l.store.AllowReplace("0123456789abcdef"), ErrNotFound)
}

// Replace allows to replace a file or a symbolic link, but not a directory.
func TestReplace(t *testing.T) {
	for name, target := range targets() {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			rec := l.record()
			rec.Replace = true
			target.put(l)
			p, err := l.store.Create(rec)
			if name == "directory" {
				l.wantErr("Create", err, ErrForeign)
				target.want(l)
				return
			}
			l.opened(p, err)
			l.write(p, 0, 50_000)
			target.want(l)
			l.complete(p)
			if name == "link to a file" {
				l.wantFile(l.target+".linked", "foreign")
			}
			l.wantNo(l.target + ".nowhere")
		})
	}
}

// A directory that appears during the download is not replaced either.
func TestFinishReplacesNoDirectory(t *testing.T) {
	l := newFixture(t)
	rec := l.record()
	rec.Replace = true
	p := l.opened(l.store.Create(rec))
	l.write(p, 0, 100_000)
	must(t, os.Mkdir(l.target, 0o777)) // even if it is empty
	l.wantErr("Finish", p.Finish(time.Time{}), ErrForeign)
	must(t, p.Close(), os.Remove(l.target), l.resume().Close())
	l.wantDone()
}

// A part file that no record names is renamed, each to a name of its own.
func TestUnknownPart(t *testing.T) {
	l := newFixture(t)
	part := l.target + ".part"
	for n, foreign := range []string{"foreign", "foreign too"} {
		l.put(part, foreign)
		l.complete(l.create())
		must(t, os.Remove(l.target))
		l.wantWarnings(n + 1)
	}
	l.wantFile(part+".1", "foreign")
	l.wantFile(part+".2", "foreign too")
	if records, err := l.store.Records(); err != nil || len(records) != 1 {
		t.Errorf("Records: got %d, %v, want only the last of the target", len(records), err)
	}
}

// An empty one is used, because nothing is lost.
func TestEmptyPart(t *testing.T) {
	l := newFixture(t)
	l.put(l.target+".part", "")
	l.complete(l.create())
	l.wantWarnings(0)
	l.wantNo(l.target + ".part.1")
}

// The part file of an earlier download of the same target is truncated and used.
func TestCreateAgain(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 70_000)
	old := p.Record().ID
	must(t, p.Close())
	p = l.create()
	if rec := p.Record(); rec.Held.Len() != 0 || rec.ID == old {
		t.Errorf("second record: got %s holding %q, want another than %s, empty", rec.ID, rec.Held, old)
	}
	_, err := l.store.Get(old)
	l.wantErr("Get of the first record", err, ErrNotFound)
	l.complete(p)
	l.wantWarnings(0)
}

// A symbolic link that somebody has planted at the path of the part file is not followed.
func TestPlantedLink(t *testing.T) {
	for _, victim := range []string{"precious", ""} { // "": the link leads to nothing
		l := newFixture(t)
		precious := filepath.Join(t.TempDir(), "precious")
		if victim != "" {
			l.put(precious, victim)
		}
		l.symlink(precious, l.target+".part")
		if _, err := l.store.Create(l.record()); err == nil {
			t.Errorf("Create through a link: got no error")
		}
		must(t, os.Remove(l.target+".part"))
		p := l.create()
		l.write(p, 0, 10)
		must(t, p.Close(), os.Remove(l.target+".part"), os.Symlink(precious, l.target+".part"))
		if _, err := l.store.Resume(l.onRecord().ID); err == nil {
			t.Errorf("Resume through a link: got no error")
		}
		if victim != "" {
			l.wantFile(precious, victim)
		} else {
			l.wantNo(precious)
		}
	}
}

// A hookFS calls a function after each successful lock.
type hookFS struct {
	FS
	locked func()
}

func (h hookFS) Lock(part string, create bool) (io.Closer, error) {
	lock, err := h.FS.Lock(part, create)
	if err == nil {
		h.locked()
	}
	return lock, err
}

// Another process may finish a download of the same target just before Create gets the
// lock.
func TestCreateTooLate(t *testing.T) {
	l := newFixture(t)
	l.store.fs.FS = hookFS{osFS{}, func() { l.put(l.target, "foreign") }}
	_, err := l.store.Create(l.record())
	l.wantErr("Create", err, ErrForeign)
	l.wantFile(l.target, "foreign")
}

// In that case Create leaves nothing behind.
func TestCreateTooLateLeavesNothing(t *testing.T) {
	l := newFixture(t)
	l.store.fs.FS = hookFS{osFS{}, func() { l.put(l.target, "foreign") }}
	if _, err := l.store.Create(l.record()); err == nil {
		t.Errorf("Create: got no error")
	}
	l.wantNo(l.target + ".part")
}

// An lstatFS calls looked after the first Lstat of a path.
type lstatFS struct {
	FS
	path   string
	looked func()
}

func (l *lstatFS) Lstat(name string) (fs.FileInfo, error) {
	info, err := l.FS.Lstat(name)
	if looked := l.looked; name == l.path && looked != nil {
		l.looked = nil
		looked()
	}
	return info, err
}

// A part file that gets its final name while its path is checked as a target does not
// count as foreign.
func TestTargetWasPartFile(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	l.store.fs.FS = &lstatFS{l.store.fs.FS, l.target + ".part", func() {
		if err := errors.Join(p.Finish(time.Time{}), p.Close()); err != nil {
			t.Error(err)
		}
	}}
	if err := l.store.CheckTarget(l.target+".part", false); err != nil {
		t.Errorf("CheckTarget: got %v, want no error", err)
	}
}

// A part file that was just created, and is not locked yet, does not count as foreign. An empty
// file that stays unlocked does.
func TestTargetIsNewPartFile(t *testing.T) {
	l := newFixture(t)
	part := l.target + ".part"
	must(t, os.MkdirAll(filepath.Dir(l.target), 0o777), os.WriteFile(part, nil, 0o600))
	l.store.read(func(tx) error { return nil }) // creates the state file
	synctest.Test(t, func(t *testing.T) {
		l.wantErr("CheckTarget of an empty file", l.store.CheckTarget(part, false), ErrForeign)
		locked := make(chan io.Closer, 1)
		time.AfterFunc(newPartTimeout/2, func() {
			lock, err := osFS{}.Lock(part, false)
			if err != nil {
				t.Error(err)
			}
			locked <- lock
		})
		l.wantErr("CheckTarget of a new part file", l.store.CheckTarget(part, false), ErrPartFile)
		// A program that another test is starting has the lock of the first CheckTarget for a moment, too, so
		// that the second one need not have waited.
		if lock := <-locked; lock != nil {
			must(t, lock.Close())
		}
	})
}

// If another process is about to publish a small file at the path of a part file that was just
// created, the part file gets another name and does not stay there.
func TestPartNameIsPublished(t *testing.T) {
	l := newFixture(t)
	part := l.target + ".part"
	l.store.fs.FS = &lstatFS{l.store.fs.FS, part, func() { // the lock is held, and the part file not recorded
		rec := Record{ID: NewID(), Target: part, State: Done, Named: true, Size: 10, ModTime: time.Unix(1e9, 0), Publishing: true}
		must(t, l.store.write(func(t tx) error { return t.put(&rec) }))
	}}
	p := l.opened(l.store.Create(l.record()))
	rec := p.Record()
	if got, want := rec.Part(), l.target+".1.part"; got != want {
		t.Errorf("got the part file %q, want %q", got, want)
	}
	l.wantNo(part)
}

// A pipe at the path of the part file is not removed.
func TestPipeAtPart(t *testing.T) {
	l := newFixture(t)
	must(t, os.MkdirAll(filepath.Dir(l.target), 0o777))
	makePipe(t, l.target+".part")
	_, err := l.store.Create(l.record())
	l.wantErr("Create", err, ErrForeign)
	if info, err := os.Lstat(l.target + ".part"); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("pipe: got %v, %v, want it still there", info, err)
	}
}
