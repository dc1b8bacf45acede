package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pawl/chunk"
)

func TestDownload(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 60_000, 80_000)
	l.write(p, 0, 30_000)
	got := make([]byte, 100)
	if _, err := p.ReadAt(got, 29_900); err != nil || !bytes.Equal(got, l.data[29_900:30_000]) {
		t.Errorf("ReadAt: got %v, or other bytes than were written", err)
	}
	must(t, p.Update(func(r *Record) { r.State, r.Reason = Failed, "for a test" }), p.Close())
	l.open()
	if rec := l.onRecord(); rec.State != Failed || rec.Held.String() != "0+30000,60000+20000" || rec.Rate != 1 {
		t.Errorf("record of another process: got %s, held %s, rate %d", rec.State, rec.Held, rec.Rate)
	}
	p = l.resume()
	if rec := p.Record(); rec.State != Active || rec.Reason != "" || p.Lost() != 0 {
		t.Errorf("resumed: got %s, reason %q, lost %d, want active", rec.State, rec.Reason, p.Lost())
	}
	l.wantNo(l.target)
	l.complete(p)
	l.wantWarnings(0)
}

func TestFinishModTime(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	want := time.Date(2011, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, p.Finish(want), p.Close())
	l.wantDone()
	info, err := os.Lstat(l.target)
	must(t, err)
	if !info.ModTime().Equal(want) || !l.onRecord().ModTime.Equal(want) {
		t.Errorf("modification time: got %v, on record %v, want %v", info.ModTime(), l.onRecord().ModTime, want)
	}
	must(t, os.Chtimes(l.target, want, want.Add(time.Second)))
	if l.store.Intact(l.onRecord()) {
		t.Errorf("Intact of a file that was touched: got true")
	}
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions")
	}
	l := newFixture(t)
	l.complete(l.create())
	for name, want := range map[string]os.FileMode{l.state: 0o700, l.dbPath(): 0o600, filepath.Join(l.state, lockName): 0o600} {
		info, err := os.Stat(name)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got %v, want %v", filepath.Base(name), got, want)
		}
	}
}

// Finish fails if bytes are missing or the size is unknown.
func TestFinishTooEarly(t *testing.T) {
	for _, size := range []int64{-1, 100_000} {
		l := newFixture(t)
		rec := l.record()
		rec.Size = size
		p := l.opened(l.store.Create(rec))
		l.write(p, 0, 99_999)
		if err := p.Finish(time.Time{}); err == nil {
			t.Errorf("Finish, size %d: got no error", size)
		}
		l.wantNo(l.target)
		must(t, p.Update(func(r *Record) { r.Size = 100_000 }))
		l.complete(p)
	}
}

// A server that sends too much does not make the file longer.
func TestFinishTruncates(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	if _, err := p.WriteAt([]byte("too much"), 100_000); err == nil {
		t.Errorf("WriteAt beyond the end: got no error")
	}
	_, err := p.file.WriteAt([]byte("too much"), 100_000) // somebody else writes beyond the end
	must(t, err)
	l.complete(p)
}

func TestFinishEmpty(t *testing.T) {
	l := newFixture(t)
	l.data = nil
	l.complete(l.create())
}

func TestRestart(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 70_000)
	id := p.Record().ID
	must(t, p.Restart(func(r *Record) { r.ETag, r.Size = `"new"`, 50_000 }))
	if info, err := os.Lstat(l.target + ".part"); err != nil || info.Size() != 0 {
		t.Errorf("part file: got %v, %v, want it empty", info, err)
	}
	rec := l.onRecord()
	if rec.ID != id || rec.ETag != `"new"` || rec.Size != 50_000 || rec.Held.Len() != 0 {
		t.Errorf("record: got %+v, want the new version of %s, nothing held", rec, id)
	}
	l.data = l.data[50_000:]
	l.complete(p)
}

// If Restart finds no disk space, it returns an error, but discards the bytes all the
// same.
func TestRestartNoSpace(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 70_000)
	l.wantErr("Restart", p.Restart(func(r *Record) { r.Size = 1 << 60 }), ErrNoSpace)
	if rec := l.onRecord(); rec.Held.Len() != 0 {
		t.Errorf("held: got %s, want nothing", rec.Held)
	}
}

func TestNoSpace(t *testing.T) {
	l := newFixture(t)
	rec := l.record()
	rec.Size = 1 << 60
	_, err := l.store.Create(rec)
	l.wantErr("Create", err, ErrNoSpace)
	l.wantNo(l.target)
	l.wantNo(l.target + ".part")
	_, err = l.store.ByTarget(l.target)
	l.wantErr("ByTarget", err, ErrNotFound)
	if records, err := l.store.Records(); err != nil || len(records) != 0 {
		t.Errorf("Records: got %d, %v, want none", len(records), err)
	}
}

func TestReserve(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	must(t, p.Reserve())
	if info, err := os.Lstat(l.target + ".part"); err != nil || info.Size() != 10 {
		t.Errorf("part file after Reserve: got %v, %v, want 10 bytes", info, err)
	}
	l.complete(p)
}

// The caller may change the result of Record.
func TestRecordIsACopy(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	rec := p.Record()
	rec.Held.Remove(chunk.Range{End: 5})
	if now := p.Record(); now.Held.String() != "0+10" {
		t.Errorf("held: got %s, want 0+10", now.Held)
	}
}

// A record that could not be read again is not written, because its held bytes would be
// lost with it.
func TestCommitBeyondSize(t *testing.T) {
	l := newFixture(t)
	rec := l.record()
	rec.Size = -1
	p := l.opened(l.store.Create(rec))
	l.write(p, 0, 10)
	_, err := p.WriteAt(l.data[10:20], 10)
	must(t, err, p.Update(func(r *Record) { r.Size = 15 }))
	if err := p.Commit(1); err == nil {
		t.Errorf("Commit beyond the size: got no error")
	}
	l.wantHeld(p, "0+10")
}

// The Part of a finished download accepts no bytes, and its record stays.
func TestPartAfterFinish(t *testing.T) {
	l := newFixture(t)
	l.complete(l.create())
	p := l.resume()
	if rec := p.Record(); rec.State != Done {
		t.Fatalf("resumed: got %s, want %s", rec.State, Done)
	}
	for _, tc := range []struct {
		method string
		refuse bool // must return an error; else it must only not panic
		call   func() error
	}{
		{"WriteAt", true, func() error { _, err := p.WriteAt([]byte{1}, 0); return err }},
		{"Commit", true, func() error { return p.Commit(0) }},
		{"Restart", true, func() error { return p.Restart(func(*Record) {}) }},
		{"ReadAt", false, func() error { _, err := p.ReadAt([]byte{1}, 0); return err }},
		{"Reserve", false, func() error { return p.Reserve() }},
		{"Finish", false, func() error { return p.Finish(time.Time{}) }},
	} {
		if err := panicking(tc.call); errors.Is(err, errPanicked) || tc.refuse && err == nil {
			t.Errorf("%s: got %v, want an error and no panic", tc.method, err)
		}
		if rec := l.onRecord(); rec.State != Done {
			t.Errorf("%s: record of the finished file: got %s, held %q, want %s", tc.method, rec.State, rec.Held, Done)
			must(t, p.Update(func(r *Record) { r.State, r.Held = Done, chunk.NewSet(chunk.Range{End: r.Size}) }))
		}
	}
}

// OpenDone opens for reading, so it also works for a file that cannot be written, such as
// a running program.
func TestOpenDone(t *testing.T) {
	l := newFixture(t)
	l.complete(l.create())
	program, err := os.Executable()
	must(t, err)
	for _, rec := range []Record{l.onRecord(), {Target: program}} {
		want, err := os.ReadFile(rec.Target)
		must(t, err)
		f, err := l.store.OpenDone(rec)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(rec.Target), err)
			continue
		}
		got := make([]byte, 1000)
		if _, err := f.ReadAt(got, 500); err != nil || !bytes.Equal(got, want[500:1500]) {
			t.Errorf("%s: ReadAt: got %v, or other bytes than are there", filepath.Base(rec.Target), err)
		}
		must(t, f.Close())
	}
	if _, err := l.store.OpenDone(Record{Target: l.target + ".nowhere"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v, want %v", err, fs.ErrNotExist)
	}
}

// OpenDone does not wait for a pipe.
func TestOpenDonePipe(t *testing.T) {
	l := newFixture(t)
	must(t, os.MkdirAll(filepath.Dir(l.target), 0o777))
	makePipe(t, l.target)
	done := make(chan error, 1)
	go func() { // joined below
		_, err := l.store.OpenDone(l.record())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Errorf("OpenDone of a pipe: got no error")
		}
	case <-time.After(time.Minute):
		t.Errorf("OpenDone of a pipe waits for a writer")
		f, err := os.OpenFile(l.target, os.O_RDWR, 0) // unblocks it
		must(t, err)
		<-done
		f.Close()
	}
}

// After a Finish that failed at the rename, Finish may be called again. It need not
// succeed.
func TestFinishAgain(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	l.put(l.target, "foreign")
	l.wantErr("Finish", p.Finish(time.Time{}), ErrForeign)
	if err := panicking(func() error { return p.Finish(time.Time{}) }); err == nil || errors.Is(err, errPanicked) {
		t.Errorf("Finish again: got %v, want an error and no panic", err)
	}
}
