package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"pawl/chunk"
)

// repairFixture returns a finished file of 100,000 bytes in pieces of 10,000, of which the bytes
// at the offsets are flipped, and its record.
func repairFixture(t *testing.T, offsets ...int64) (*fixture, Record) {
	t.Helper()
	l := newFixture(t)
	p := l.create()
	l.complete(p)
	data := bytes.Clone(l.data)
	for _, off := range offsets {
		data[off]++
	}
	rec := l.onRecord()
	must(t, os.WriteFile(l.target, data, 0o666), os.Chtimes(l.target, rec.ModTime, rec.ModTime))
	return l, rec
}

// wantDamaged checks which ranges of the finished file Damaged returns.
func (l *fixture) wantDamaged(rec Record, want chunk.Set) {
	l.t.Helper()
	got, err := l.store.Damaged(l.t.Context(), rec, rec.Target)
	if err != nil || !got.Equal(want) {
		l.t.Errorf("Damaged: got %v, %v, want %v", got, err, want)
	}
}

// A repair holds everything but the wrong pieces. It verifies nothing again if nothing has touched
// the file, and ends with the right file under another ID.
func TestRepair(t *testing.T) {
	l, rec := repairFixture(t, 12_345, 99_999)
	wrong := chunk.NewSet(chunk.Range{Off: 10_000, End: 20_000}, chunk.Range{Off: 90_000, End: 100_000})
	l.wantDamaged(rec, wrong)
	id, err := l.store.Reopen(rec, wrong)
	must(t, err)
	if _, err := l.store.Reopen(rec, wrong); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Reopen: got %v, want ErrBusy", err)
	}
	if place := l.store.Place(l.onRecord()); place != l.target {
		t.Errorf("the place of the file before Resume: got %q", place)
	}
	p := l.opened(l.store.Resume(id))
	if p.Lost() != 0 || p.Dirty() {
		t.Errorf("got %d lost, dirty %t, want 0 and clean", p.Lost(), p.Dirty())
	}
	l.wantHeld(p, "0+10000,20000+70000")
	l.wantNo(l.target)
	l.write(p, 10_000, 20_000)
	_, err = p.WriteAt(make([]byte, 10_000), 90_000) // of another version
	must(t, err, p.Commit(1))
	if got, err := p.Differs(); err != nil || !got.Equal(chunk.NewSet(chunk.Range{Off: 90_000, End: 100_000})) {
		t.Errorf("Differs: got %v, %v, want the last piece", got, err)
	}
	must(t, p.DiscardFrom(90_000))
	l.complete(p)
	l.wantDone()
	if got := l.onRecord(); got.ID != id || got.IsRepair() {
		t.Errorf("the record at the end: %+v", got)
	}
	l.wantDamaged(l.onRecord(), chunk.Set{})
}

// If somebody changes the file between Reopen and Resume, its pieces are verified. If somebody
// replaces it, nothing of it is held, and it stays.
func TestRepairOfChangedFile(t *testing.T) {
	l, rec := repairFixture(t, 5)
	id, err := l.store.Reopen(rec, chunk.NewSet(chunk.Range{End: 10_000}))
	must(t, err, l.touch(l.target), os.Chtimes(l.target, rec.ModTime, rec.ModTime))
	p := l.opened(l.store.Resume(id))
	if !p.Dirty() {
		t.Error("the file was touched, and nothing is verified")
	}
	must(t, p.Close(), l.store.PutBack(id))

	id, err = l.store.Reopen(l.onRecord(), chunk.NewSet(chunk.Range{End: 10_000}))
	must(t, err, os.WriteFile(l.target, []byte("another file"), 0o666))
	if p, err := l.store.Resume(id); !errors.Is(err, ErrForeign) {
		t.Errorf("Resume: got %v, %v, want ErrForeign", p, err)
	}
	l.wantFile(l.target, "another file")
}

// PutBack restores the file and its record. It leaves any other download alone.
func TestPutBack(t *testing.T) {
	l, rec := repairFixture(t, 12_345)
	before, err := os.ReadFile(l.target)
	must(t, err)
	for _, moved := range []bool{false, true} {
		id, err := l.store.Reopen(rec, chunk.NewSet(chunk.Range{Off: 10_000, End: 20_000}))
		must(t, err)
		if moved {
			p := l.opened(l.store.Resume(id))
			must(t, p.Close())
		}
		must(t, l.store.PutBack(id))
		after, err := os.ReadFile(l.target)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("moved %t: the file is not as before: %v", moved, err)
		}
		if got := l.onRecord(); got.ID != rec.ID || got.State != Done || !l.store.Intact(got) {
			t.Errorf("moved %t: the record is not as before: %+v", moved, got)
		}
		l.wantNo(l.target + ".part")
		if info, err := os.Stat(l.target); err != nil || info.Mode().Perm() == partMode {
			t.Errorf("moved %t: mode %v, %v", moved, info.Mode(), err)
		}
	}
	must(t, l.store.PutBack(rec.ID))
	id, err := l.store.Reopen(rec, chunk.NewSet(chunk.Range{Off: 10_000, End: 20_000}))
	must(t, err)
	p := l.opened(l.store.Resume(id))
	must(t, p.Close())
	l.put(l.target, "x")
	if err := l.store.PutBack(id); !errors.Is(err, fs.ErrExist) {
		t.Errorf("PutBack over another file: got %v", err)
	}
	l.wantFile(l.target, "x")
}

// A file that has another name, too, is not repaired, because the other name would change.
func TestRepairOfLinkedFile(t *testing.T) {
	l, rec := repairFixture(t, 12_345)
	if err := os.Link(l.target, l.target+".link"); err != nil {
		t.Skip(err)
	}
	if _, err := l.store.Reopen(rec, chunk.NewSet(chunk.Range{Off: 10_000, End: 20_000})); !errors.Is(err, ErrCannotRepair) {
		t.Errorf("Reopen: got %v, want ErrCannotRepair", err)
	}
	if got := l.onRecord(); got.ID != rec.ID {
		t.Errorf("the record has changed: %+v", got)
	}
}

// A Check of an unfinished file covers the held ranges.
func TestCheckOfUnfinishedFile(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 14_000)
	l.write(p, 30_000, 50_000)
	must(t, p.Commit(1), p.Close())
	l.damage(flip(12_000))
	rec := l.onRecord()
	c, err := l.store.NewCheck(rec)
	must(t, err)
	data, err := os.ReadFile(l.store.Place(rec))
	must(t, err)
	held := c.Held()
	for r := range held.All() {
		c.Add(r.Off, data[r.Off:min(r.End, 45_000)]) // the end cannot be read
	}
	want := chunk.NewSet(chunk.Range{Off: 10_000, End: 14_000}, chunk.Range{Off: 40_000, End: 50_000})
	if got := c.Wrong(); !got.Equal(want) {
		t.Errorf("Wrong: got %v, want %v", got, want)
	}
}
