package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// breakState puts a directory at the path of the state file, and returns a function that
// undoes it.
func (l *fixture) breakState() (mend func()) {
	l.t.Helper()
	aside := l.dbPath() + ".aside"
	must(l.t, os.Rename(l.dbPath(), aside), os.Mkdir(l.dbPath(), 0o700))
	return func() {
		l.t.Helper()
		must(l.t, os.Remove(l.dbPath()), os.Rename(aside, l.dbPath()))
	}
}

// After a failed transaction, Commit may be called again.
func TestCommitBrokenState(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	mend := l.breakState()
	if _, err := p.WriteAt(l.data[10:20], 10); err != nil {
		t.Errorf("WriteAt: %v", err)
	}
	for range 2 {
		l.wantErr("Commit", p.Commit(0), ErrState)
	}
	if held := p.Record().Held; held.String() != "0+10" {
		t.Errorf("held after failed commits: got %s, want 0+10", held)
	}
	mend()
	if held := l.onRecord().Held; held.String() != "0+10" {
		t.Errorf("held on record: got %s, want 0+10", held)
	}
	must(t, p.Commit(0))
	if held := l.onRecord().Held; held.String() != "0+20" {
		t.Errorf("held after the next commit: got %s, want 0+20", held)
	}
	l.complete(p)
	l.wantWarnings(0)
}

// The other methods fail as well, change nothing, and succeed later.
func TestBrokenState(t *testing.T) {
	l := newFixture(t)
	mend := func() {}
	broken := func(what string, f func() error) {
		t.Helper()
		mend = l.breakState()
		l.wantErr(what, f(), ErrState)
		mend()
	}
	must(t, l.create().Close(), l.store.Remove(l.onRecord().ID, true)) // creates the state file
	broken("Create", func() error { _, err := l.store.Create(l.record()); return err })
	l.wantNo(l.target + ".part")
	p := l.create()
	l.write(p, 0, 100_000)
	broken("Restart", func() error { return p.Restart(func(*Record) {}) })
	l.wantFile(l.target+".part", string(l.data))
	broken("Update", func() error { return p.Update(func(r *Record) { r.Reason = "changed" }) })
	if rec := p.Record(); rec.Reason != "" || rec.Held.Len() != 100_000 {
		t.Errorf("record: got reason %q, held %s, want it unchanged", rec.Reason, rec.Held)
	}
	broken("Finish", func() error { return p.Finish(time.Time{}) })
	l.wantNo(l.target)
	l.complete(p)
}

// A directory is not a damaged file and must not be renamed.
func TestReadBrokenState(t *testing.T) {
	l := newFixture(t)
	must(t, l.create().Close())
	id := l.onRecord().ID
	l.breakState()
	l.wantErr("Remove", l.store.Remove(id, true), ErrState)
	_, err := l.store.Records()
	l.wantErr("Records", err, ErrState)
	if info, err := os.Stat(l.dbPath()); err != nil || !info.IsDir() {
		t.Errorf("directory at the state file: got it moved")
	}
	l.wantWarnings(0)
}

// The state of a newer pawl is refused and not changed.
func TestNewerSchema(t *testing.T) {
	l := newFixture(t)
	must(t, l.create().Close())
	id := l.onRecord().ID
	must(t, l.store.write(func(t tx) error { return t.Bucket(metaBucket).Put(versionKey, []byte("2")) }))
	was, err := os.ReadFile(l.dbPath())
	must(t, err)
	_, err = l.store.Records()
	l.wantErr("Records", err, ErrNewer)
	_, err = l.store.Get(id)
	l.wantErr("Get", err, ErrNewer)
	_, err = l.store.Resume(id)
	l.wantErr("Resume", err, ErrNewer)
	_, err = l.store.Create(l.record())
	l.wantErr("Create", err, ErrNewer)
	l.wantErr("Remove", l.store.Remove(id, true), ErrNewer)
	if now, err := os.ReadFile(l.dbPath()); err != nil || !bytes.Equal(now, was) {
		t.Errorf("state file: got it changed (%v)", err)
	}
	l.wantWarnings(0)
}

// A record of a newer pawl does not keep the other records from being read.
func TestNewerRecord(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	must(t, p.Close())
	rec := p.Record()
	newer, err := json.Marshal(storedRecord{V: recordVersion + 1, Record: &rec})
	must(t, err)
	must(t, l.store.write(func(t tx) error { return t.Bucket(recordBucket).Put([]byte(rec.ID), addChecksum(newer)) }))
	_, err = l.store.ByTarget(l.target)
	l.wantErr("ByTarget", err, ErrNewer)
	_, err = l.store.Resume(rec.ID)
	l.wantErr("Resume", err, ErrNewer)
	_, err = l.store.Create(l.record())
	l.wantErr("Create", err, ErrNewer)
	l.wantFile(l.target+".part", string(l.data[:10]))

	newTarget := filepath.Join(filepath.Dir(l.target), "other")
	other := l.record()
	other.Target = newTarget
	must(t, l.opened(l.store.Create(other)).Close())
	records, err := l.store.Records()
	if err != nil || len(records) != 1 || records[0].Target != newTarget {
		t.Errorf("Records: got %d, %v, want the one that can be read", len(records), err)
	}
	l.wantWarnings(1)
}

// Files that an earlier process left when it was killed while it created the state file
// are no obstacle.
func TestCreateStateAfterCrash(t *testing.T) {
	l := newFixture(t)
	l.put(l.dbPath()+".new", "half of a state file")
	l.complete(l.create())
	l.wantNo(l.dbPath() + ".new")
	l.wantWarnings(0)
}

// A Store keeps no file open, so the state file may be deleted between two calls.
func TestStateFileDeleted(t *testing.T) {
	l := newFixture(t)
	must(t, l.create().Close(), os.Remove(l.dbPath()))
	_, err := l.store.ByTarget(l.target)
	l.wantErr("ByTarget", err, ErrNotFound)
	must(t, l.create().Close(), os.RemoveAll(l.state))
	if _, err := l.store.Records(); !errors.Is(err, ErrState) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Records without the state directory: got %v, want %v", err, ErrState)
	}
}

// The goroutines of one process wait for each other's transactions without polling.
func TestTransactionsOfOneProcess(t *testing.T) {
	l := newFixture(t)
	l.create() // so that the state file exists
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if err := l.store.write(func(tx) error { return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the transactions waited %v for timers, want 0", waited)
		}
	})
}
