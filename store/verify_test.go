package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"pawl/chunk"
)

// damage changes the bytes of the part file without the Store, and its times.
func (l *fixture) damage(change func(data []byte)) {
	l.t.Helper()
	part := l.target + ".part"
	data, err := os.ReadFile(part)
	must(l.t, err)
	change(data)
	must(l.t, os.WriteFile(part, data, 0o666), l.touch(part))
}

// touch sets another modification time, one that every file system can distinguish.
func (l *fixture) touch(name string) error { return os.Chtimes(name, time.Time{}, time.Unix(1e9, 0)) }

// flip returns a function that flips one bit of a byte.
func flip(at int64) func([]byte) {
	return func(data []byte) { data[at] ^= 1 << (at % 8) }
}

// If any byte of a held piece changes, this piece is lost, durably, and no other one.
func TestVerifyFindsDamage(t *testing.T) {
	const held = "12000+24000,41000+3000,47000+2000,90000+10000"
	type tc struct {
		damage func([]byte)
		lost   int64
		held   string
	}
	cases := map[string]tc{
		"nothing":              {func([]byte) {}, 0, held},
		"of no held byte":      {flip(11_999), 0, held},
		"between two held":     {flip(45_000), 0, held},
		"first byte held":      {flip(12_000), 8_000, "20000+16000,41000+3000,47000+2000,90000+10000"},
		"first of a piece":     {flip(20_000), 10_000, "12000+8000,30000+6000,41000+3000,47000+2000,90000+10000"},
		"last of a piece":      {flip(29_999), 10_000, "12000+8000,30000+6000,41000+3000,47000+2000,90000+10000"},
		"end of a range":       {flip(35_999), 6_000, "12000+18000,41000+3000,47000+2000,90000+10000"},
		"first of two ranges":  {flip(43_999), 5_000, "12000+24000,90000+10000"},
		"second of two ranges": {flip(47_000), 5_000, "12000+24000,90000+10000"},
		"last byte":            {flip(99_999), 10_000, "12000+24000,41000+3000,47000+2000"},
		"zeros":                {func(b []byte) { clear(b[94_096:98_192]) }, 10_000, "12000+24000,41000+3000,47000+2000"},
		"a piece of zeros":     {func(b []byte) { clear(b[20_000:30_000]) }, 10_000, "12000+8000,30000+6000,41000+3000,47000+2000,90000+10000"},
		"bytes that moved":     {func(b []byte) { copy(b[95_001:96_000], b[95_000:]) }, 10_000, "12000+24000,41000+3000,47000+2000"},
		"swapped":              {func(b []byte) { b[41_500], b[48_500] = b[48_500], b[41_500] }, 5_000, "12000+24000,90000+10000"},
		"all":                  {func(b []byte) { clear(b) }, 39_000, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newFixture(t)
			p := l.create()
			for _, r := range []chunk.Range{{Off: 47_000, End: 49_000}, {Off: 90_000, End: 100_000}, {Off: 12_000, End: 36_000}, {Off: 41_000, End: 44_000}} {
				l.write(p, r.Off, r.End)
			}
			must(t, p.Close())
			l.damage(c.damage)
			p = l.resume()
			if lost := l.verifyAll(p); lost != c.lost {
				t.Errorf("lost: got %d, want %d", lost, c.lost)
			}
			l.wantHeld(p, c.held)
			must(t, p.Close())
			p = l.resume()
			l.wantHeld(p, c.held)
			l.complete(p)
		})
	}
}

// A single flipped bit is detected at any position.
func TestVerifyFindsFlippedBit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	for range 200 {
		at, bit := rng.Int64N(100_000), byte(1)<<rng.IntN(8)
		_, err := p.file.WriteAt([]byte{l.data[at] ^ bit}, at)
		must(t, err)
		lost := l.verifyAll(p)
		_, err = p.WriteAt(l.data[at/10_000*10_000:][:10_000], at/10_000*10_000) // the whole piece
		if lost != 10_000 || err != nil {
			t.Fatalf("byte %d, bit %#x: got %d lost, and to write it again %v, want 10000", at, bit, lost, err)
		}
	}
	must(t, p.Commit(1))
	l.complete(p)
}

// If the committed bytes of a piece are damaged, they are lost. Bytes that are written to
// the piece later are not.
func TestVerifyKeepsUncommitted(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 14_000)
	must(t, p.Close())
	l.damage(flip(12_000))
	p = l.resume()
	if lost, more, err := p.VerifyNext(1); lost != 4_000 || more || err != nil {
		t.Errorf("VerifyNext: got %d lost, more %t, %v, want 4000", lost, more, err)
	}
	l.write(p, 15_000, 20_000)
	must(t, p.Close(), l.touch(l.target+".part"))
	p = l.resume()
	l.wantHeld(p, "0+10000,15000+5000")
	l.complete(p)
}

// Pieces are verified while other bytes of theirs arrive and are committed. No checksum
// is mixed up, and only the damaged bytes are lost.
func TestVerifyWhileWriting(t *testing.T) {
	for seed := range uint64(8) {
		l := newFixture(t)
		p := l.create()
		for i := range int64(10) {
			l.write(p, i*10_000+2_500, i*10_000+5_000)
		}
		must(t, p.Close())
		bad := int64(rand.New(rand.NewPCG(seed, 0)).IntN(10))
		l.damage(flip(bad*10_000 + 3_000))
		p = l.resume()
		done := make(chan error)
		for start := range int64(2) { // every other 500 bytes of the missing ranges
			go func() { // joined by the receives below
				for off := start * 500; off < 100_000; off += 1_000 {
					if in := off % 10_000; in >= 2_500 && in < 5_000 {
						continue
					}
					if _, err := p.WriteAt(l.data[off:off+500], off); err != nil {
						done <- fmt.Errorf("WriteAt: %w", err)
						return
					}
				}
				done <- nil
			}()
		}
		go func() { // joined by the receives below
			for range 3 {
				if err := p.Commit(1); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		lost := l.verifyAll(p)
		must(t, <-done, <-done, <-done, p.Commit(1))
		held := p.Record().Held
		held.Add(chunk.Range{Off: bad * 10_000, End: (bad + 1) * 10_000})
		if lost < 2_500 || lost > 10_000 || held.Len() != 100_000 {
			t.Errorf("seed %d: got %d lost and %s held, want piece %d lost, and no other", seed, lost, p.Record().Held, bad)
		}
		must(t, p.Close(), l.touch(l.target+".part"))
		l.complete(l.resume())
	}
}

// No byte can be written twice, whether it is committed or not.
func TestWriteTwice(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 10_000, 20_000)
	_, err := p.WriteAt(l.data[30_000:40_000], 30_000)
	must(t, err)
	for _, r := range []chunk.Range{{Off: 10_000, End: 20_000}, {Off: 15_000, End: 15_001}, {Off: 9_000, End: 10_001}, {Off: 19_999, End: 25_000}, {Off: 5_000, End: 50_000}, {Off: 39_999, End: 41_000}} {
		if _, err := p.WriteAt(make([]byte, r.Len()), r.Off); err == nil {
			t.Errorf("WriteAt of %s: got no error", r)
		}
	}
	must(t, p.Commit(1))
	l.wantHeld(p, "10000+10000,30000+10000")
	must(t, p.Close(), l.touch(l.target+".part"))
	l.complete(l.resume())
}

// Zeros are bytes, too: a piece of zeros has the checksum 0 and counts as held.
func TestZeros(t *testing.T) {
	l := newFixture(t)
	clear(l.data[20_000:])
	p := l.create()
	l.write(p, 0, 90_000)
	_, err := p.WriteAt(l.data[90_000:95_000], 90_000) // not committed
	must(t, err, p.Close())
	p = l.resume()
	if p.Lost() != 0 || !p.Dirty() {
		t.Errorf("resumed: lost %d, Dirty %v, want 0, true", p.Lost(), p.Dirty())
	}
	l.verifyAll(p)
	must(t, p.DiscardFrom(50_000))
	l.wantHeld(p, "0+50000")
	l.complete(p)
}

// A new state file gets all checksums, whatever the first transaction is.
func TestNewStateGetsSums(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 40_000)
	must(t, os.Remove(l.dbPath()), p.Update(func(r *Record) { r.State = Paused }), p.Commit(1), p.Close())
	p = l.resume()
	if p.Lost() != 0 {
		t.Errorf("lost %d bytes that were recorded and durable", p.Lost())
	}
	l.wantHeld(p, "0+40000")
	l.complete(p)
}
