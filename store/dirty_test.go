package store

import (
	"os"
	"testing"
	"time"
)

// wantDirty checks the result of Dirty.
func wantDirty(t *testing.T, when string, p *Part, want bool) {
	t.Helper()
	if got := p.Dirty(); got != want {
		t.Errorf("Dirty, %s: got %t, want %t", when, got, want)
	}
}

// A part file is Dirty if and only if it was changed after the last commit.
func TestDirty(t *testing.T) {
	for _, tc := range []struct {
		name  string
		last  func(*session) // last operations of the process
		touch bool           // somebody else changes the file after the process has ended
		want  bool
	}{
		{"closed in order", (*session).close, false, false},
		{"killed after a commit", func(*session) {}, false, false},
		{"touched", (*session).close, true, true},
		{"killed before a commit", func(s *session) { s.write(1500, 1900) }, false, true},
		{"closed before a commit", func(s *session) { s.write(1500, 1900); s.close() }, false, true},
		{"killed after another commit", func(s *session) { s.write(1500, 1900); s.commit() }, false, false},
		{"updated", func(s *session) { s.update(func(r *Record) { r.State = Paused }) }, false, false},
		{"restarted", func(s *session) { s.restart("v2"); s.write(0, 700) }, false, false}, // nothing is held
		{"restarted and committed", func(s *session) { s.restart("v2"); s.write(0, 700); s.commit() }, false, false},
		{"all given up", func(s *session) { s.write(1500, 1900); s.discardFrom(0) }, false, false},
	} {
		w := newWorld(t, scenarioNamed(t, "straight"), 1)
		s := &session{w: w}
		s.create("v1", 2900)
		wantDirty(t, tc.name+", new", s.part, false)
		s.write(0, 1500)
		s.commit()
		if tc.last(s); s.err != nil {
			t.Fatalf("%s: %v", tc.name, s.err)
		}
		wantDirty(t, tc.name+", before", s.part, false)
		next := w.reboot(killed[0], killed[1])
		next.story = tc.name
		if tc.touch {
			node := next.fs.names[next.target+".part"]
			node.setTime(next.fs.now())
		}
		rec, err := next.store.ByTarget(next.target)
		must(t, err)
		p, err := next.store.Resume(rec.ID)
		must(t, err)
		wantDirty(t, tc.name, p, tc.want)
		must(t, p.Close())
		next.etag = rec.ETag
		next.complete()
	}
}

// If only the times of a file have changed, no byte is lost. Finish refuses the Part
// until that is verified.
func TestDirtyFinish(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	must(t, p.Close(), l.touch(l.target+".part"))
	p = l.resume()
	wantDirty(t, "touched", p, true)
	if err := p.Finish(time.Time{}); err == nil {
		t.Errorf("Finish of a Dirty Part: got no error")
	}
	l.wantNo(l.target)
	l.wantHeld(p, "0+100000")
	l.complete(p)
}

// Neither a commit nor an incomplete verification clears Dirty.
func TestDirtyUntilAllVerified(t *testing.T) {
	for _, checked := range []int{0, 1, 5} { // number of verified pieces, of 6
		l := newFixture(t)
		p := l.create()
		l.write(p, 0, 60_000)
		must(t, p.Close())
		l.damage(flip(55_000))
		p = l.resume()
		for i := range checked {
			if lost, more, err := p.VerifyNext(i); lost != 0 || !more || err != nil {
				t.Errorf("VerifyNext of piece %d: got %d lost, more %t, %v, want none, and more", i, lost, more, err)
			}
		}
		l.write(p, 70_000, 80_000)
		wantDirty(t, "after a commit", p, true)
		must(t, p.Close())
		p = l.resume()
		wantDirty(t, "resumed after a commit", p, true)
		must(t, p.Close())
		p = l.resume()
		wantDirty(t, "resumed once more", p, true)
		if lost := l.verifyAll(p); lost != 10_000 {
			t.Errorf("lost: got %d, want 10000", lost)
		}
		l.write(p, 80_000, 90_000)
		must(t, p.Close())
		p = l.resume()
		wantDirty(t, "after a check and a commit", p, false)
		l.wantHeld(p, "0+50000,70000+20000")
		l.complete(p)
	}
}

// A complete part file whose bytes were changed before the rename does not get its final
// name. If only its times were changed, it gets the name after a verification.
func TestFinishingChanged(t *testing.T) {
	for _, tc := range []struct {
		damage func([]byte)
		lost   int64
	}{{func([]byte) {}, 0}, {flip(34_567), 10_000}} {
		l := finishing(t, 100_000)
		l.damage(tc.damage)
		must(t, os.Chtimes(l.target+".part", time.Time{}, time.Unix(2e9, 0))) // another time than that of finishing
		p := l.resume()
		wantDirty(t, "finishing", p, true)
		if rec := p.Record(); rec.State != Active {
			t.Errorf("state: got %s, want %s", rec.State, Active)
		}
		l.wantNo(l.target)
		if lost := l.verifyAll(p); lost != tc.lost {
			t.Errorf("lost: got %d, want %d", lost, tc.lost)
		}
		l.complete(p)
	}
}
