package store

import (
	"bytes"
	"fmt"
	"testing"

	"pawl/chunk"
)

// A hookFile calls a function at the end of each DataSync.
type hookFile struct {
	File
	synced func()
}

func (f hookFile) DataSync() error {
	err := f.File.DataSync()
	f.synced()
	return err
}

// The recorded checksums cover the recorded bytes, not those that arrive during a commit.
func TestCommitSumsWhileWriting(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	_, err := p.WriteAt(l.data[:4_000], 0)
	p.file = hookFile{p.file, func() {
		_, err := p.WriteAt(l.data[4_000:6_000], 4_000)
		must(t, err)
	}}
	must(t, err, p.Commit(1), p.Close(), l.touch(l.target+".part"))
	p = l.resume()
	l.wantHeld(p, "0+4000")
	l.complete(p)
}

// If bytes are discarded while others are not yet committed, these are committed along
// with the change.
func TestDiscardSums(t *testing.T) {
	for name, giveUp := range map[string]func(*Part) error{
		"DiscardFrom": func(p *Part) error { return p.DiscardFrom(30_000) },
		"VerifyNext":  func(p *Part) error { _, _, err := p.VerifyNext(3); return err },
	} {
		l := newFixture(t)
		p := l.create()
		l.write(p, 0, 14_000)
		l.write(p, 30_000, 40_000)
		must(t, p.Close())
		l.damage(flip(35_000))
		p = l.resume()
		_, err := p.WriteAt(l.data[14_000:16_000], 14_000)
		must(t, err, giveUp(p), p.Close(), l.touch(l.target+".part"))
		p = l.resume()
		l.wantHeld(p, "0+16000")
		if lost := l.verifyAll(p); lost != 0 {
			t.Errorf("%s: lost after it: got %d, want 0", name, lost)
		}
		l.complete(p)
	}
}

// If discarding a piece could not be recorded, the next attempt discards it.
func TestVerifyBrokenState(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	must(t, p.Close())
	l.damage(flip(35_000))
	p = l.resume()
	mend := l.breakState()
	_, _, err := p.VerifyNext(3)
	l.wantErr("VerifyNext", err, ErrState)
	mend()
	if lost := l.verifyAll(p); lost != 10_000 {
		t.Errorf("lost: got %d, want 10000", lost)
	}
	l.wantHeld(p, "0+30000,40000+60000")
	l.complete(p)
}

// manyPages creates a download with four pages of checksums and some held bytes in each.
// The ranges of the second and third page meet in one piece.
func manyPages(t *testing.T) (*fixture, ID) {
	l := newFixture(t)
	p := l.create()
	must(t, smallPieces(p, 100))
	for _, r := range []chunk.Range{{Off: 50, End: 150}, {Off: 25_550, End: 25_650}, {Off: 60_000, End: 60_010}, {Off: 99_990, End: 100_000}} {
		l.write(p, r.Off, r.End)
	}
	must(t, p.Close())
	return l, p.Record().ID
}

const manyHeld = "50+100,25550+100,60000+10,99990+10"

// Checksums are stored in pages and read again.
func TestSumPages(t *testing.T) {
	l, _ := manyPages(t)
	must(t, l.touch(l.target+".part"))
	p := l.resume()
	if lost := l.verifyAll(p) + p.Lost(); lost != 0 {
		t.Errorf("lost: got %d, want 0", lost)
	}
	l.wantHeld(p, manyHeld)
	l.complete(p)
	must(t, l.store.Remove(p.Record().ID, true), l.store.read(func(tx tx) error {
		if k, _ := tx.Bucket(pieceBucket).Cursor().First(); k != nil {
			t.Errorf("pages after Remove: got %q, want none", k)
		}
		return nil
	}))
}

// A damaged or missing page loses the pieces whose checksums it has, and no others, even
// if everything else is intact.
func TestDamagedSumPage(t *testing.T) {
	held := []string{ // without page n
		"25600+50,60000+10,99990+10",
		"50+100,25550+50,60000+10,99990+10",
		"50+100,25550+100,99990+10",
		"50+100,25550+100,60000+10",
	}
	for n, want := range held {
		for name, damage := range map[string]func([]byte) []byte{
			"flipped": func(b []byte) []byte { b[n] ^= 4; return b },
			"cut":     func(b []byte) []byte { return b[:len(b)-4] },
			"empty":   func([]byte) []byte { return nil },
			"zeroed":  func(b []byte) []byte { clear(b); b[0] = 1; return b },
		} {
			t.Run(fmt.Sprintf("%d %s", n, name), func(t *testing.T) {
				t.Parallel()
				l, id := manyPages(t)
				must(t, l.store.write(func(t tx) error {
					b := t.Bucket(pieceBucket)
					return b.Put(pageKey(id, n), damage(bytes.Clone(b.Get(pageKey(id, n)))))
				}))
				l.wantPageLost(want)
			})
		}
		t.Run(fmt.Sprintf("%d missing", n), func(t *testing.T) {
			t.Parallel()
			l, id := manyPages(t)
			must(t, l.store.write(func(t tx) error { return t.Bucket(pieceBucket).Delete(pageKey(id, n)) }))
			l.wantPageLost(want)
		})
	}
}

// wantPageLost resumes and checks the held ranges.
func (l *fixture) wantPageLost(want string) {
	l.t.Helper()
	p := l.resume()
	l.wantHeld(p, want)
	var left chunk.Set
	must(l.t, left.UnmarshalText([]byte(want)))
	if lost := 220 - left.Len(); p.Lost() != lost {
		l.t.Errorf("Lost: got %d, want %d", p.Lost(), lost)
	}
	must(l.t, p.Close(), l.touch(l.target+".part"))
	p = l.resume()
	l.wantHeld(p, want)
	l.complete(p)
}

// While the size is unknown, bytes are accepted at any offset.
func TestUnknownSize(t *testing.T) {
	l := newFixture(t)
	rec := l.record()
	rec.Size = -1
	p := l.opened(l.store.Create(rec))
	if got := p.Record().PieceLength; got != chunk.PieceLength(chunk.Unbounded) {
		t.Errorf("piece: got %d bytes, want %d", got, chunk.PieceLength(chunk.Unbounded))
	}
	l.write(p, 0, 60_000)
	must(t, p.Close(), l.touch(l.target+".part"))
	p = l.resume()
	if lost := l.verifyAll(p); lost != 0 || p.Record().Size != -1 {
		t.Errorf("resumed: got %d lost, size %d, want 0, -1", lost, p.Record().Size)
	}
	must(t, p.Update(func(r *Record) { r.Size = 100_000 }))
	if _, err := p.WriteAt([]byte("too much"), 99_999); err == nil {
		t.Errorf("WriteAt beyond the end that is known now: got no error")
	}
	l.complete(p)
}

// A record whose size is smaller than its held ranges is refused, because it could not be
// read again.
func TestUpdateSizeBelowHeld(t *testing.T) {
	l := newFixture(t)
	rec := l.record()
	rec.Size = -1
	p := l.opened(l.store.Create(rec))
	l.write(p, 0, 60_000)
	err := p.Update(func(r *Record) { r.Size = 50_000 })
	if rec, getErr := l.store.Get(p.Record().ID); getErr != nil {
		t.Errorf("record after Update (%v): got %v, %v, want it readable", err, rec, getErr)
	}
}
