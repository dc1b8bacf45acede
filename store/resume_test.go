package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pawl/chunk"
)

// A part file that was truncated or deleted loses only the pieces that are no longer
// complete, and Lost reports them.
func TestResumeTruncatedPart(t *testing.T) {
	for _, tc := range []struct {
		size int64 // of the part file; -1 if it is deleted
		lost int64
		held string
	}{
		{100_000, 0, "0+20000,50000+27000"},
		{77_000, 0, "0+20000,50000+27000"},
		{76_999, 7_000, "0+20000,50000+20000"},
		{50_001, 27_000, "0+20000"},
		{50_000, 27_000, "0+20000"},
		{30_000, 27_000, "0+20000"},
		{10_001, 37_000, "0+10000"},
		{1, 47_000, ""},
		{0, 47_000, ""},
		{-1, 47_000, ""},
	} {
		l := newFixture(t)
		p := l.create()
		l.write(p, 0, 20_000)
		l.write(p, 50_000, 77_000)
		must(t, p.Close())
		if part := l.target + ".part"; tc.size < 0 {
			dir := filepath.Dir(part)
			must(t, os.RemoveAll(dir))
			_, err := l.store.Resume(p.Record().ID)
			l.wantErr("Resume without a directory", err, ErrNoDirectory)
			l.wantNo(dir)
			must(t, os.MkdirAll(dir, 0o777))
		} else {
			must(t, os.Truncate(part, tc.size))
		}
		p = l.resume()
		if got := p.Record().Held; got.String() != tc.held || p.Lost() != tc.lost {
			t.Errorf("truncated to %d: got held %s, lost %d, want %s, %d", tc.size, got, p.Lost(), tc.held, tc.lost)
		}
		if got := l.onRecord().Held; got.String() != tc.held {
			t.Errorf("truncated to %d: held on record: got %s, want %s", tc.size, got, tc.held)
		}
		l.complete(p)
		if t.Failed() {
			return
		}
	}
}

// finishing returns a fixture whose process was killed in step 5, before the rename of a
// file of the given size.
func finishing(t *testing.T, size int64) *fixture {
	l := newFixture(t)
	l.data = l.data[:size]
	p := l.create()
	l.write(p, 0, size)
	l.put(l.target, "in the way") // lets Finish stop before the rename
	l.wantErr("Finish", p.Finish(time.Unix(1e9, 0)), ErrForeign)
	must(t, p.Close(), os.Remove(l.target))
	if rec := l.onRecord(); rec.State != Finishing {
		t.Fatalf("state: got %s, want %s", rec.State, Finishing)
	}
	return l
}

func TestResumeFinishing(t *testing.T) {
	for _, tc := range []struct {
		name    string
		happens func(part, target string) error
		lost    int64 // -1 if the download is done
	}{
		{"nothing", func(part, target string) error { return nil }, -1},
		{"renamed", os.Rename, -1},
		{"linked under both names", os.Link, -1},
		{"part cut", func(part, target string) error { return os.Truncate(part, 90_000) }, 10_000},
		{"part deleted", func(part, target string) error { return os.Remove(part) }, 100_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := finishing(t, 100_000)
			must(t, tc.happens(l.target+".part", l.target))
			p := l.resume()
			if tc.lost >= 0 {
				if rec := p.Record(); rec.State != Active || p.Lost() != tc.lost {
					t.Fatalf("resumed: got %s, lost %d, want %s, %d", rec.State, p.Lost(), Active, tc.lost)
				}
				l.complete(p)
				return
			}
			if rec := p.Record(); rec.State != Done || p.Lost() != 0 {
				t.Errorf("resumed: got %s, lost %d, want %s, 0", rec.State, p.Lost(), Done)
			}
			must(t, p.Close())
			l.wantDone()
		})
	}
}

// If the part file of an empty file is deleted, no bytes are lost, but the modification
// time is.
func TestResumeFinishingEmpty(t *testing.T) {
	l := finishing(t, 0)
	must(t, os.Remove(l.target+".part"))
	p := l.resume()
	if rec := p.Record(); rec.State == Active {
		l.complete(p)
	}
	l.wantDone()
}

// A file at the target that is not the finished one is not mistaken for it.
func TestResumeNotIntact(t *testing.T) {
	for name, change := range map[string]func(target string) error{
		"other size": func(target string) error {
			return errors.Join(os.Truncate(target, 99_999), os.Chtimes(target, time.Time{}, time.Unix(1e9, 0)))
		},
		"other time": func(target string) error { return os.Chtimes(target, time.Time{}, time.Unix(5e8, 0)) },
	} {
		l := finishing(t, 100_000)
		must(t, os.Rename(l.target+".part", l.target), change(l.target))
		was, err := os.ReadFile(l.target)
		must(t, err)
		_, err = l.store.Resume(l.onRecord().ID)
		l.wantErr(name, err, ErrForeign)
		l.wantFile(l.target, string(was))
		must(t, os.Remove(l.target))
		p := l.resume()
		if rec := p.Record(); rec.State != Active || p.Lost() != 100_000 {
			t.Errorf("%s: got %s, lost %d, want %s, all lost", name, rec.State, p.Lost(), Active)
		}
	}
}

// A record that Resume has read before it gets the lock may be outdated.
func TestResumeReadsUnderLock(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	must(t, p.Close())
	l.store.fs.FS = hookFS{osFS{}, func() { // another process is faster and ends
		must(t, l.store.write(func(t tx) error {
			rec := p.Record()
			rec.ETag, rec.Held = `"new"`, chunk.NewSet(chunk.Range{End: 5})
			return t.put(&rec)
		}))
	}}
	if rec := l.resume().Record(); rec.ETag != `"new"` || rec.Held.String() != "0+5" {
		t.Errorf("resumed: got %s holding %s, want the record of the other process", rec.ETag, rec.Held)
	}
}

// A finished download stays finished, whatever happens to its file.
func TestResumeDone(t *testing.T) {
	l := newFixture(t)
	l.complete(l.create())
	p := l.resume()
	if rec := p.Record(); rec.State != Done || p.Lost() != 0 {
		t.Errorf("resumed: got %s, lost %d, want %s", rec.State, p.Lost(), Done)
	}
	must(t, p.Close(), os.Remove(l.target))
	if l.store.Intact(l.onRecord()) {
		t.Errorf("Intact of a file that was deleted: got true")
	}
}

func TestUnknownID(t *testing.T) {
	l := newFixture(t)
	_, err := l.store.Get("0123456789abcdef")
	l.wantErr("Get", err, ErrNotFound)
	_, err = l.store.Resume("0123456789abcdef")
	l.wantErr("Resume", err, ErrNotFound)
	l.wantErr("Remove", l.store.Remove("0123456789abcdef", true), ErrNotFound)
	_, err = l.store.ByURL(filepath.Dir(l.target), "https://example.com/")
	l.wantErr("ByURL", err, ErrNotFound)
}

func TestBusy(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	rec := l.onRecord()
	check := func(want bool) {
		t.Helper()
		if got := l.store.Running(rec); got != want {
			t.Errorf("Running: got %t, want %t", got, want)
		}
	}
	check(true)
	_, err := l.store.Create(l.record())
	l.wantErr("Create", err, ErrBusy)
	_, err = l.store.Resume(rec.ID)
	l.wantErr("Resume", err, ErrBusy)
	l.wantErr("Remove", l.store.Remove(rec.ID, true), ErrBusy)
	if now := l.onRecord(); now.ID != rec.ID || now.Held.String() != "0+10" {
		t.Errorf("record: got %s holding %s, want the first record", now.ID, now.Held)
	}
	l.write(p, 10, 20)
	must(t, p.Close())
	check(false)
	p = l.resume()
	check(true)
	l.complete(p)
	check(false)
	rec = l.onRecord()
	check(false)
}

// WriteAt does not wait for a transaction, which may last as long as other processes hold
// the state file.
func TestWriteWhileUpdate(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	must(t, p.Update(func(*Record) {
		done := make(chan error, 1)
		go func() { // joined below, unless it waits
			_, err := p.WriteAt(l.data, 0)
			done <- err
		}()
		select {
		case err := <-done:
			must(t, err)
		case <-time.After(time.Minute):
			t.Error("WriteAt waits for the end of Update")
		}
	}))
	must(t, p.Commit(1))
	l.complete(p)
}

// WriteAt may be called during Commit.
func TestWriteWhileCommit(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	done := make(chan error)
	go func() { // joined by the receive below
		_, err := p.WriteAt(l.data[50_000:], 50_000)
		done <- err
	}()
	for off := int64(0); off < 50_000; off += 10_000 {
		l.write(p, off, off+10_000)
	}
	must(t, <-done, p.Commit(1))
	l.complete(p)
}
