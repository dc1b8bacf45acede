package store

import (
	"fmt"
	"testing"
	"time"
)

// DiscardFrom removes the held bytes from any offset on, durably, and no others. The
// remaining bytes keep valid checksums, and the discarded ones can be written again.
func TestDiscardFrom(t *testing.T) {
	for _, tc := range []struct {
		off  int64
		held string
	}{
		{0, ""},
		{1, "0+1"},
		{9_999, "0+9999"},
		{10_000, "0+10000"},
		{10_001, "0+10001"},
		{25_000, "0+25000"},
		{30_000, "0+26000"},
		{41_500, "0+26000,41000+500"},
		{45_000, "0+26000,41000+3000"}, // between two ranges of one piece
		{48_000, "0+26000,41000+3000,47000+1000"},
		{60_000, "0+26000,41000+3000,47000+6000"},
		{99_999, "0+26000,41000+3000,47000+6000,90000+9999"},
		{100_000, "0+26000,41000+3000,47000+6000,90000+10000"},
		{1 << 30, "0+26000,41000+3000,47000+6000,90000+10000"},
	} {
		t.Run(fmt.Sprint(tc.off), func(t *testing.T) {
			t.Parallel()
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 26_000)
			l.write(p, 41_000, 44_000)
			l.write(p, 47_000, 53_000)
			_, err := p.WriteAt(l.data[90_000:], 90_000) // not committed
			must(t, err, p.DiscardFrom(tc.off), p.Commit(1))
			l.wantHeld(p, tc.held)
			must(t, p.Close(), l.touch(l.target+".part"))
			p = l.resume()
			l.wantHeld(p, tc.held)
			if lost := l.verifyAll(p); lost != 0 {
				t.Errorf("lost: got %d, want 0", lost)
			}
			if tc.off < 60_000 {
				l.write(p, 60_000, 61_000)
				must(t, p.DiscardFrom(60_000), p.Close(), l.touch(l.target+".part"))
				p = l.resume()
			}
			l.wantHeld(p, tc.held)
			l.complete(p)
		})
	}
}

// The cost of DiscardFrom does not depend on how far beyond the end the offset is.
func TestDiscardFromBeyondEnd(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10_000)
	must(t, p.DiscardFrom(1<<34))
	if n := p.written.sums.Len(); n > 10 {
		t.Errorf("piece checksums: got %d, want 10 at most", n)
	}
	l.complete(p)
}

// DiscardFrom does not compute a new checksum for the rest of a damaged piece.
func TestDiscardFromDamagedPiece(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 50_000)
	must(t, p.Close())
	l.damage(flip(21_000))
	p = l.resume()
	must(t, p.DiscardFrom(25_000))
	l.verifyAll(p)
	l.wantHeld(p, "0+20000")
	l.complete(p)
}

// If DiscardFrom could not be recorded, the next commit records it, and Finish does not
// bring the bytes back.
func TestDiscardFromBrokenState(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	mend := l.breakState()
	l.wantErr("DiscardFrom", p.DiscardFrom(25_000), ErrState)
	mend()
	if err := p.Finish(time.Time{}); err == nil {
		t.Errorf("Finish after a failed DiscardFrom: got no error")
	}
	must(t, p.Commit(1))
	l.wantHeld(p, "0+25000")
	must(t, p.Close(), l.touch(l.target+".part"))
	l.complete(l.resume())
}

// After Restart the checksums of the earlier version are not used.
func TestRestartSums(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	must(t, smallPieces(p, 100)) // several pages of checksums
	l.write(p, 0, 90_000)
	must(t, p.Restart(func(*Record) {}), p.Close())
	for i := range l.data {
		l.data[i] ^= 0xff
	}
	p = l.resume()
	l.wantHeld(p, "")
	for _, off := range []int64{50, 30_050, 95_000} {
		l.write(p, off, off+1_000)
		must(t, p.Close(), l.touch(l.target+".part"))
		p = l.resume()
		if lost := l.verifyAll(p) + p.Lost(); lost != 0 {
			t.Errorf("lost: got %d, want 0", lost)
		}
	}
	l.wantHeld(p, "50+1000,30050+1000,95000+1000")
	l.complete(p)
}
