package store

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fullEntry returns the record of a finished file in which every field of an entry is
// set.
func fullEntry(t *testing.T) Record {
	r := fullRecord(t)
	r.Size, r.State = 12345, Done
	r.CRC, r.Publishing = 0xfedcba98, true
	r.Replaces = FileStamp{77, r.ModTime.Add(-time.Hour)}
	return r
}

// sameEntry reports whether got has all fields of want that an entry stores.
func sameEntry(got, want Record) bool {
	want.Held, want.ChangeTime, want.Rate, want.Reason, want.Coding, want.Replace, want.PartNumber, want.Root = got.Held, got.ChangeTime, 0, "", "", false, 0, ""
	want.Process, want.Control = Process{}, ""
	want.Mirrors, want.Mixed, want.Repairs, want.ServerSum = nil, false, got.Repairs, got.ServerSum // only kept for unfinished downloads
	same := got.Replaces.Size == want.Replaces.Size && got.Replaces.ModTime.Equal(want.Replaces.ModTime)
	got.Replaces, want.Replaces = FileStamp{}, FileStamp{}
	return same && sameRecord(got, want) && got.Held.Len() == want.Size
}

func TestEntryRoundTrip(t *testing.T) {
	full := fullEntry(t)
	least := Record{ID: newID(), Target: full.Target, State: Done, Created: full.Created, Updated: full.Updated, ModTime: full.ModTime}
	for _, rec := range []Record{full, least} {
		sealed, err := rec.encodeEntry()
		must(t, err)
		got, err := decodeEntry(rec.Target, sealed)
		if err != nil || !sameEntry(got, rec) {
			t.Errorf("round trip: got %+v, %v, want %+v", got, err, rec)
		}
		data, err := checkChecksum(sealed)
		must(t, err)
		for n := range data {
			if _, err := decodeEntry(rec.Target, addChecksum(append([]byte(nil), data[:n]...))); err == nil {
				t.Errorf("an entry truncated to %d of %d bytes: got no error", n, len(data))
			}
		}
		for bit := range 8 * len(sealed) {
			sealed[bit/8] ^= 1 << (bit % 8)
			if _, err := decodeEntry(rec.Target, sealed); err == nil {
				t.Errorf("bit %d flipped: got no error", bit)
			}
			sealed[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func FuzzEntry(f *testing.F) {
	r := Record{ID: newID(), Target: "/a/b", URL: "http://a/b", State: Done, Created: time.Now(), Updated: time.Now(), ModTime: time.Now()}
	sealed, err := r.encodeEntry()
	if err != nil {
		f.Fatal(err)
	}
	data, _ := checkChecksum(sealed)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeEntry("/a/b", addChecksum(data))
		if err != nil {
			return
		}
		again, err := r.encodeEntry()
		must(t, err)
		if got, err := decodeEntry("/a/b", again); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("round trip: got %+v, %v, want %+v", got, err, r)
		}
	})
}

// finish downloads a file of 10 bytes to name and finishes it.
func (l *fixture) finish(name string) Record {
	l.t.Helper()
	p := l.createNamed(name)
	l.write(p, 0, 10)
	must(l.t, p.Update(func(r *Record) { r.Size = 10 }))
	must(l.t, p.Finish(time.Time{}), p.Close())
	return p.Record()
}

// path returns the path of name in the directory of the target.
func (l *fixture) path(name string) string { return filepath.Join(filepath.Dir(l.target), name) }

// createNamed creates a download to name.
func (l *fixture) createNamed(name string) *Part {
	l.t.Helper()
	rec := Record{Target: l.path(name), URL: "https://example.com/" + name, Size: -1}
	p, err := l.store.Create(rec)
	must(l.t, err)
	return p
}

func TestLedger(t *testing.T) {
	l := newFixture(t)
	var want []string
	must(t, l.store.write(func(tx tx) error {
		for i := range 3*ledgerBatch + 7 {
			r := fullEntry(t)
			r.ID, r.Target = newID(), l.path(fmt.Sprintf("many/%04d", i))
			if err := tx.put(&r); err != nil {
				return err
			}
			want = append(want, r.Target)
		}
		return nil
	}))
	var got []string
	for r, err := range l.store.Finished(l.path("many/")) {
		must(t, err)
		got = append(got, r.Target)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Finished: got %d paths, want %d in order", len(got), len(want))
	}
	recs, err := l.store.LookupTargets([]string{want[5], l.path("none"), want[700]})
	if err != nil || recs[0].Target != want[5] || recs[1].ID != "" || recs[2].Target != want[700] {
		t.Errorf("Look: got %v, %v", recs, err)
	}
	if r, err := l.store.Get(recs[2].ID); err != nil || r.Target != want[700] {
		t.Errorf("Get by ID: got %q, %v, want %q", r.Target, err, want[700])
	}
}

// A damaged entry causes a warning and is deleted; the others stay.
func TestLedgerDamage(t *testing.T) {
	l := newFixture(t)
	a, b := l.finish("a"), l.finish("b")
	must(t, l.store.write(func(t tx) error {
		data := append([]byte(nil), t.Bucket(ledgerBucket).Get([]byte(a.Target))...)
		data[3] ^= 1
		return t.Bucket(ledgerBucket).Put([]byte(a.Target), data)
	}))
	recs, err := l.store.LookupTargets([]string{a.Target, b.Target})
	if err != nil || recs[0].ID != "" || recs[1].ID != b.ID {
		t.Errorf("Look: got %v, %v, want nothing and %s", recs, err, b.ID)
	}
	if len(l.warned) != 1 || !strings.Contains(l.warned[0], "damaged") {
		t.Errorf("warnings: got %q, want one of damage", l.warned)
	}
}

// While a finished file is downloaded again, the ledger keeps the old entry.
func TestDownloadAgainKeepsEntry(t *testing.T) {
	l := newFixture(t)
	old := l.finish("f")
	rec := Record{Target: old.Target, URL: old.URL, Size: 10, Replace: true}
	p, err := l.store.Create(rec)
	must(t, err)
	if r, err := l.store.ByTarget(old.Target); err != nil || r.ID != p.Record().ID {
		t.Errorf("ByTarget while it is fetched again: got %s, %v, want %s", r.ID, err, p.Record().ID)
	}
	must(t, p.Close(), l.store.Remove(p.Record().ID, true))
	if r, err := l.store.ByTarget(old.Target); err != nil || r.ID != old.ID || !l.store.Intact(r) {
		t.Errorf("ByTarget after that was removed: got %s, %v, want %s, intact", r.ID, err, old.ID)
	}
	if r, err := l.store.ByURL(filepath.Dir(old.Target), old.URL); err != nil || r.ID != old.ID {
		t.Errorf("ByURL after that was removed: got %s, %v", r.ID, err)
	}
	must(t, os.Remove(old.Target))
}
