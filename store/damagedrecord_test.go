package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A flipped bit or a missing byte at any position of a record is detected.
func TestRecordChecksum(t *testing.T) {
	rec := fullRecord(t)
	sealed, err := rec.encode()
	must(t, err)
	for at := range sealed {
		for bit := range 8 {
			b := bytes.Clone(sealed)
			b[at] ^= 1 << bit
			if got, err := decodeRecord(b); err == nil || errors.Is(err, ErrNewer) {
				t.Errorf("byte %d, bit %d: got %+v, %v, want another error", at, bit, got, err)
			}
		}
		if got, err := decodeRecord(sealed[:at]); err == nil {
			t.Errorf("truncated to %d bytes: got %+v, want an error", at, got)
		}
	}
}

// damageRecord flips a bit in the record of a download.
func (l *fixture) damageRecord(id ID) {
	l.t.Helper()
	must(l.t, l.store.write(func(t tx) error {
		b := bytes.Clone(t.Bucket(recordBucket).Get([]byte(id)))
		b[len(b)/2] ^= 8
		return t.Bucket(recordBucket).Put([]byte(id), b)
	}))
}

// Any access to a damaged record warns once and deletes the record with its checksums.
// The part file is kept.
func TestDamagedRecord(t *testing.T) {
	for name, meet := range map[string]func(*fixture, ID) error{
		"Get":      func(l *fixture, id ID) error { _, err := l.store.Get(id); return err },
		"ByTarget": func(l *fixture, _ ID) error { _, err := l.store.ByTarget(l.target); return err },
		"ByURL": func(l *fixture, _ ID) error {
			_, err := l.store.ByURL(filepath.Dir(l.target), l.record().URL)
			return err
		},
		"Resume":       func(l *fixture, id ID) error { _, err := l.store.Resume(id); return err },
		"Remove":       func(l *fixture, id ID) error { return l.store.Remove(id, true) },
		"AllowReplace": func(l *fixture, id ID) error { return l.store.AllowReplace(id) },
		"Records": func(l *fixture, _ ID) error {
			records, err := l.store.Records()
			if len(records) != 0 || err != nil {
				l.t.Errorf("Records: got %v, %v, want none", records, err)
			}
			return ErrNotFound
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 50_000)
			must(t, p.Close())
			id := p.Record().ID
			l.damageRecord(id)
			for range 2 {
				l.wantErr(name, meet(l, id), ErrNotFound)
			}
			l.wantWarnings(1)
			must(t, l.store.read(func(tx tx) error {
				if pages := tx.pages(id); len(pages) != 0 {
					t.Errorf("sums: got %d pages, want none", len(pages))
				}
				return nil
			}))
			l.wantFile(l.target+".part", string(l.data[:50_000]))
			l.complete(l.create())
			l.wantWarnings(2) // the second one says that the part file was renamed
			l.wantFile(l.target+".part.1", string(l.data[:50_000]))
		})
	}
}

// A damaged record does not keep Create from working, with or without a part file.
func TestCreateOverDamagedRecord(t *testing.T) {
	for _, part := range []func(name string) error{
		func(string) error { return nil },
		func(name string) error { return os.Truncate(name, 0) },
		os.Remove,
	} {
		l := newFixture(t)
		p := l.create()
		l.write(p, 0, 50_000)
		must(t, p.Close(), part(l.target+".part"))
		l.damageRecord(p.Record().ID)
		p, err := l.store.Create(l.record())
		if err != nil {
			t.Errorf("Create: %v", err)
			continue
		}
		l.complete(p)
	}
}

// A damaged record does not affect other records, and a running download writes its own
// record again.
func TestDamagedRecordBesides(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 50_000)
	other := l.record()
	other.Target += "2"
	q := l.opened(l.store.Create(other))
	l.damageRecord(p.Record().ID)
	records, err := l.store.Records()
	if err != nil || len(records) != 1 || records[0].ID != q.Record().ID {
		t.Errorf("Records: got %v, %v, want the other one", records, err)
	}
	l.wantWarnings(1)
	l.write(p, 50_000, 60_000)
	l.wantHeld(p, "0+60000")
	must(t, p.Close(), l.touch(l.target+".part"))
	l.complete(l.resume())
}

// An index key that leads to the record of another target finds nothing.
func TestIndexOfAnotherRecord(t *testing.T) {
	l := newFixture(t)
	id := l.create().Record().ID
	other := ID(strings.Repeat("0", 16))
	must(t, l.store.write(func(t tx) error {
		b := t.Bucket(recordBucket)
		return b.Put([]byte(other), bytes.Clone(b.Get([]byte(id))))
	}))
	_, err := l.store.Get(other)
	l.wantErr("Get", err, ErrNotFound)
	l.wantWarnings(1)
	if got := l.onRecord(); got.ID != id {
		t.Errorf("ByTarget: got %s, want %s", got.ID, id)
	}
}

// ByURL finds the latest download of a URL, whatever happens to earlier ones.
func TestByURLLatest(t *testing.T) {
	l := newFixture(t)
	first := l.create()
	other := l.record()
	other.Target += "2"
	second := l.opened(l.store.Create(other))
	l.write(first, 0, 10)
	got, err := l.store.ByURL(filepath.Dir(l.target), other.URL)
	if err != nil || got.ID != second.Record().ID {
		t.Errorf("ByURL: got %s, %v, want %s", got.Target, err, other.Target)
	}
}
