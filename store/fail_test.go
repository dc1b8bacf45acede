package store

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"pawl/chunk"
)

// TestFailEverywhere lets each operation of each scenario fail once.
func TestFailEverywhere(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			fresh := newWorld(t, sc, 0)
			n, step := sampled(4)
			n++ // operations count from 1
			for ; failOnce(fresh.anew(uint64(n)), sc, n) && !t.Failed(); n += step {
			}
		})
	}
}

// failOnce lets operation n fail and reports whether there was one.
func failOnce(w *world, sc scenario, n int) bool {
	w.fs.trap = trap{n: n, does: "fail"}
	s := &session{w: w}
	sc.first(s)
	op := w.fs.trap.last
	w.story += ", " + w.fs.trap.String()
	w.fs.trap = trap{}
	// These failures must not be reported. Unknown free space is no error. All bytes
	// that matter were synced before a close. The end of the process releases a lock.
	// A piece that cannot be read is discarded. If the part file is missing or no
	// regular file, a later operation finds it out.
	harmless := slices.Contains([]string{"", "free", "close", "unlock", "read", "lstat part"}, op)
	if want := !harmless; want && !errors.Is(s.err, errInjected) {
		w.errorf("got error %v, want %v", s.err, errInjected)
	}
	if s.part != nil {
		s.part.Close()
	}
	w.check()
	w.reboot(0, 0).check()
	w.complete()
	w.reboot(0, 0).check() // a failed sync must not lead to a record
	return op != ""
}

// TestFailures checks which method returns which failure, and what the Part can still do
// after it.
func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		scenario string
		op       string
		n        int
		from     string // method that returns the error
		broken   bool   // the Part refuses further work
		state    State  // of the record; "" if there is none
	}{
		{"straight", "mkdir", 2, "Create", false, ""},
		{"straight", "lock", 1, "Create", false, ""},
		{"straight", "open", 1, "Create", false, ""},
		{"again", "truncate", 1, "Create", false, ""},
		{"straight", "write", 3, "WriteAt", false, Active},
		{"straight", "datasync", 1, "Commit", true, Active},
		{"straight", "datasync", 2, "Commit", true, Active},
		{"straight", "syncdir", 3, "Commit", true, Active},
		{"restart", "truncate", 1, "Restart", true, Active},
		{"resume", "lock", 2, "Resume", false, Paused},
		{"resume", "open", 2, "Resume", false, Paused},
		{"straight", "stat", 2, "Commit", false, Active},
		{"resume", "stat", 3, "Resume", false, Paused},
		{"too long", "truncate", 1, "Finish", true, Active},
		{"straight", "settime", 1, "Finish", false, Active},
		{"straight", "sync", 1, "Finish", true, Active},
		{"straight", "stat", 5, "Finish", false, Active},
		{"straight", "stat", 6, "Finish", false, Active},
		{"straight", "rename", 1, "Finish", false, Finishing},
		{"replace", "rename", 1, "Finish", false, Finishing},
		{"straight", "syncdir", 4, "Finish", false, Finishing},
	} {
		w := newWorld(t, scenarioNamed(t, tc.scenario), 1)
		w.fs.trap = trap{op: tc.op, n: tc.n, does: "fail"}
		s := &session{w: w}
		scenarioNamed(t, tc.scenario).first(s)
		w.story = tc.scenario + ", " + w.fs.trap.String()
		if !errors.Is(s.err, errInjected) || !strings.HasPrefix(s.err.Error(), tc.from) {
			w.errorf("got error %v, want %v from %s", s.err, errInjected, tc.from)
			continue
		}
		if rec, _ := w.store.ByTarget(w.target); rec.State != tc.state {
			w.errorf("state: got %q, want %q", rec.State, tc.state)
		}
		if s.part != nil {
			s.checkBroken(tc.broken)
			s.part.Close()
		}
		w.complete()
	}
}

func scenarioNamed(t *testing.T, name string) scenario {
	t.Helper()
	for _, sc := range scenarios {
		if sc.name == name {
			return sc
		}
	}
	t.Fatalf("no scenario %q", name)
	return scenario{}
}

// checkBroken checks that the Part refuses all work with its first error, and that the
// record lists only bytes that were committed before. If want is false, it checks that
// the Part still accepts bytes.
func (s *session) checkBroken(want bool) {
	s.w.t.Helper()
	rec := s.part.Record()
	if rec.State != Active {
		return // all bytes are written
	}
	if !rec.Held.Equal(s.w.promised) {
		s.w.errorf("held: got %s, want %s", rec.Held, s.w.promised)
	}
	if !want {
		s.err = nil
		for gap := range s.part.written.set.Missing(chunk.Range{End: rec.Size}) {
			s.write(gap.Off, gap.End)
		}
		if s.commit(); s.err != nil {
			s.w.errorf("got %v, want the Part to go on", s.err)
		}
		return
	}
	for method, call := range map[string]func() error{
		"WriteAt": func() error { _, err := s.part.WriteAt([]byte{1}, 0); return err },
		"Commit":  func() error { return s.part.Commit(0) },
		"Finish":  func() error { return s.part.Finish(modified(rec.ETag)) },
		"Restart": func() error { return s.part.Restart(func(*Record) {}) },
	} {
		if err := panicking(call); !errors.Is(err, errInjected) {
			s.w.errorf("%s on a broken Part: got %v, want %v", method, err, errInjected)
		}
	}
	if now, err := s.w.store.Get(rec.ID); err != nil || !now.Held.Equal(rec.Held) {
		s.w.errorf("held on record: got %s, %v, want %s", now.Held, err, rec.Held)
	}
}

// After a failure that leaves the part file intact, the same Part can continue.
func TestContinueAfterFailure(t *testing.T) {
	sc := scenarioNamed(t, "straight")
	for _, tr := range []trap{{op: "write", n: 1}, {op: "stat", n: 2}, {op: "settime", n: 1}, {op: "stat", n: 5}} {
		w := newWorld(t, sc, 1)
		w.fs.trap = tr
		w.fs.trap.does = "fail"
		s := &session{w: w}
		sc.first(s)
		w.story = w.fs.trap.String()
		if !errors.Is(s.err, errInjected) {
			t.Fatalf("%s: got error %v, want %v", w.story, s.err, errInjected)
		}
		s.err = nil
		s.commit()
		s.completeRest()
		s.close()
		if s.err != nil {
			w.errorf("continuing: %v", s.err)
		}
		w.complete()
	}
}

// If Create fails at any step, it leaves no part file and no record.
func TestFailedCreateLeavesNothing(t *testing.T) {
	sc := scenarioNamed(t, "straight")
	for n := 1; ; n++ {
		w := newWorld(t, sc, 1)
		w.fs.trap = trap{n: n, does: "fail"}
		s := &session{w: w}
		if s.create("v1", 2900); w.fs.trap.last == "" {
			return
		}
		w.story = w.fs.trap.String()
		if s.err == nil {
			continue
		}
		if rec, err := w.store.ByTarget(w.target); !errors.Is(err, ErrNotFound) {
			w.errorf("record after a failed Create: got %+v, %v, want %v", rec, err, ErrNotFound)
		}
		if _, err := w.fs.Lstat(w.target + ".part"); !errors.Is(err, fs.ErrNotExist) {
			w.errorf("part file after a failed Create: got %v, want it gone", err)
		}
	}
}

// Space that the download has reserved counts as its own, although it is no longer free.
func TestResumeReserved(t *testing.T) {
	w := newWorld(t, scenarioNamed(t, "straight"), 1)
	w.fs.space = 3000
	s := &session{w: w}
	s.create("v1", 2900)
	s.do("Reserve", s.part.Reserve)
	s.write(0, 700)
	s.commit()
	s.close()
	if s.err != nil {
		t.Fatal(s.err)
	}
	w.complete()
}

// Bytes that the part file has lost need disk space again, and Resume checks for it if
// allocated is known. Lost reports them once Resume succeeds.
func TestResumeTruncatedNeedsSpace(t *testing.T) {
	w := newWorld(t, scenarioNamed(t, "straight"), 1)
	s := &session{w: w}
	s.create("v1", 2900)
	s.write(0, 2100)
	s.commit()
	id := s.part.Record().ID
	s.close()
	if s.err != nil {
		t.Fatal(s.err)
	}
	resume := func(space int64) (lost int64, err error) {
		w.fs.space = space
		p, err := w.store.Resume(id)
		if err == nil {
			lost = p.Lost()
			must(t, p.Close())
		}
		return lost, err
	}
	if _, err := resume(100); !errors.Is(err, ErrNoSpace) { // 800 are needed
		t.Skipf("space is not asked for here: %v", err)
	}
	must(t, w.fs.Remove(w.target+".part"))
	if _, err := resume(1000); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Resume with 1000 bytes free, when 2900 are missing: got %v, want %v", err, ErrNoSpace)
	}
	if lost, err := resume(10_000); err != nil || lost != 2100 {
		t.Errorf("Resume with 10000 bytes free: got %d lost, %v, want 2100", lost, err)
	}
}

// After a failed sync nothing is recorded, not even in a new state file that needs the
// record again.
func TestNewStateAfterFailedSync(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10_000)
	p.file = failingSync{p.file, new(bool)}
	if _, err := p.WriteAt(l.data[10_000:20_000], 10_000); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(1); err == nil {
		t.Fatal("Commit with a failed sync: got no error")
	}
	must(t, os.Remove(l.dbPath()))
	if err := p.Update(func(r *Record) { r.State = Failed }); err == nil {
		t.Error("Update: got no error")
	}
	all, err := l.store.Records()
	must(t, err)
	for _, r := range all {
		t.Errorf("%s is held on record", r.Held)
	}
}

// A failingSync is a file whose first sync fails and whose later syncs succeed.
type failingSync struct {
	File
	failed *bool
}

func (f failingSync) DataSync() error {
	if *f.failed {
		return f.File.DataSync()
	}
	*f.failed = true
	return errors.New("injected: the disk is gone")
}
