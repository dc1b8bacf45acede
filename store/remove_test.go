package store

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRemove(t *testing.T) {
	for _, files := range []bool{false, true} {
		l := newFixture(t)
		p := l.create()
		l.write(p, 0, 10)
		rec := p.Record()
		must(t, p.Close(), l.store.Remove(rec.ID, files))
		_, err := l.store.Get(rec.ID)
		l.wantErr("Get", err, ErrNotFound)
		_, err = l.store.ByTarget(rec.Target)
		l.wantErr("ByTarget", err, ErrNotFound)
		_, err = l.store.ByURL(filepath.Dir(rec.Target), rec.URL)
		l.wantErr("ByURL", err, ErrNotFound)
		must(t, l.store.read(func(tx tx) error {
			for _, name := range [][]byte{recordBucket, targetBucket, urlBucket} {
				if key, _ := tx.Bucket(name).Cursor().First(); key != nil {
					t.Errorf("bucket %s: got %q left in it", name, key)
				}
			}
			return nil
		}))
		if files {
			l.wantNo(rec.Part())
		} else {
			l.wantFile(rec.Part(), string(l.data[:10]))
		}
	}
}

// Remove never deletes a finished file, and a missing part file is no error.
func TestRemoveSpares(t *testing.T) {
	l := newFixture(t)
	l.complete(l.create())
	l.put(l.target+".part", "of someone else")
	must(t, l.store.Remove(l.onRecord().ID, true))
	l.wantFile(l.target, string(l.data))
	l.wantFile(l.target+".part", "of someone else")

	l = newFixture(t)
	must(t, l.create().Close(), os.Remove(l.target+".part"), l.store.Remove(l.onRecord().ID, true))

	l = finishing(t, 100_000)
	must(t, os.Rename(l.target+".part", l.target), l.store.Remove(l.onRecord().ID, true))
	l.wantFile(l.target, string(l.data))
}

// The index by URL is per directory and leads to the latest download.
func TestByURL(t *testing.T) {
	l := newFixture(t)
	first := l.record()
	for i, name := range []string{"a", "b"} {
		rec := l.record()
		rec.Target = filepath.Join(filepath.Dir(l.target), name)
		p := l.opened(l.store.Create(rec))
		must(t, p.Close())
		got, err := l.store.ByURL(filepath.Dir(l.target), rec.URL)
		if err != nil || got.Target != rec.Target || got.ID != p.Record().ID {
			t.Errorf("ByURL after %d: got %s, %v, want %s", i+1, got.Target, err, rec.Target)
		}
	}
	_, err := l.store.ByURL(l.state, first.URL)
	l.wantErr("ByURL in another directory", err, ErrNotFound)
	records, err := l.store.Records()
	if err != nil || len(records) != 2 || filepath.Base(records[0].Target) != "a" {
		t.Fatalf("Records: got %d, %v, want 2, oldest first", len(records), err)
	}
	must(t, l.store.Remove(records[0].ID, false))
	if got, err := l.store.ByURL(filepath.Dir(l.target), first.URL); err != nil || got.ID != records[1].ID {
		t.Errorf("ByURL after the first was removed: got %s, %v, want %s", got.ID, err, records[1].ID)
	}
}

// A download whose URL changes is found by the new URL only.
func TestByURLAfterUpdate(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	old := p.Record()
	l.wantErr("Update", p.Update(func(r *Record) { r.URL = "https://example.org/moved" }), nil)
	got, err := l.store.ByURL(filepath.Dir(l.target), "https://example.org/moved")
	if err != nil || got.ID != old.ID {
		t.Errorf("ByURL of the new URL: got %s, %v, want %s", got.ID, err, old.ID)
	}
	_, err = l.store.ByURL(filepath.Dir(l.target), old.URL)
	l.wantErr("ByURL of the old URL", err, ErrNotFound)
	if rec := l.onRecord(); rec.ID != old.ID || rec.URL != "https://example.org/moved" {
		t.Errorf("ByTarget: got %s of %s, want %s", rec.ID, rec.URL, old.ID)
	}
}
