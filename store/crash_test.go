package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"pawl/chunk"
)

// A scenario is a sequence of calls in the first process, until the power fails.
type scenario struct {
	name  string
	etag  string // version that the download must end with
	old   bool   // another file is at the target and must be replaced
	first func(*session)
	lacks map[string]error // limitations of the file system, see crashFS
}

var scenarios = []scenario{
	{name: "straight", etag: "v1", first: straight},
	{name: "replace", etag: "v1", old: true, first: straight},
	{name: "restart", etag: "v2", first: func(s *session) {
		s.create("v1", 2900)
		s.write(0, 1100)
		s.write(2500, 2900)
		s.commit()
		s.restart("v2")
		s.write(1500, 2300) // the first page of the file has bytes of v1, or is a hole
		s.commit()
		s.completeRest()
		s.close()
	}},
	{name: "resume", etag: "v1", first: func(s *session) {
		s.create("v1", 2900)
		s.write(900, 1300)
		s.commit()
		s.write(1300, 1500) // never committed, so the restart loses it
		s.update(func(r *Record) { r.State = Paused })
		s.close()
		s.written = chunk.Set{}
		s.resume()
		s.completeRest()
		s.close()
	}},
	{name: "again", etag: "v2", first: func(s *session) {
		s.create("v1", 2900)
		s.write(0, 2000)
		s.commit()
		s.close()
		s.create("v2", 2300)
		s.write(1700, 2300)
		s.commit()
		s.completeRest()
		s.close()
	}},
	{name: "unknown size", etag: "v1", first: func(s *session) {
		s.create("v1", -1)
		s.write(0, 1400)
		s.commit()
		s.write(1400, 2900)
		s.commit()
		s.update(func(r *Record) { r.Size = 2900 })
		s.finish()
		s.close()
	}},
	{name: "too long", etag: "v1", first: func(s *session) {
		s.create("v1", 2900)
		s.write(0, 2900)
		s.do("WriteAt", func() error {
			_, err := s.part.file.WriteAt(make([]byte, 900), 2900) // somebody else makes the file too long
			return err
		})
		s.commit()
		s.finish()
		s.close()
	}},
	{name: "cut", etag: "v1", first: func(s *session) {
		s.create("v1", 2900)
		s.write(0, 1700)
		s.write(2100, 2900)
		s.commit()
		s.write(1700, 1900) // in the piece that discardFrom cuts in two
		s.discardFrom(1100)
		s.write(1100, 1500)
		s.commit()
		s.completeRest()
		s.close()
	}},
	{name: "repair", etag: "v1", first: func(s *session) {
		straight(s)
		s.reopen(chunk.Range{Off: 1000, End: 2000})
		s.resume()
		s.write(1400, 2000)
		s.commit()
		s.completeRest()
		s.close()
	}},
	{name: "repair given up", etag: "v1", first: func(s *session) {
		straight(s)
		id := s.reopen(chunk.Range{Off: 1000, End: 2000})
		s.resume()
		s.close()
		s.do("PutBack", func() error { return s.w.store.PutBack(id) })
	}},
	{name: "take over", etag: "v1", first: func(s *session) {
		s.takeOver(".crdownload", chunk.NewSet(chunk.Range{End: 900}, chunk.Range{Off: 1100, End: 1700}))
		s.completeRest()
		s.close()
	}},
	{name: "take over of a part file", etag: "v1", first: func(s *session) {
		s.takeOver(".part", chunk.NewSet(chunk.Range{End: 1700}))
		s.write(2000, 2300)
		s.commit()
		s.close()
	}},
}

func straight(s *session) {
	s.create("v1", 2900)
	s.write(1400, 2100)
	s.write(0, 700)
	s.commit()
	s.write(2800, 2900)
	s.write(700, 1400)
	s.commit()
	s.write(2100, 2800)
	s.commit()
	s.finish()
	s.close()
}

// TestCrashEverywhere cuts the power before and after sampled operations of each scenario.
func TestCrashEverywhere(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			crashEverywhere(t, sc)
		})
	}
}

// An empty file is finished without any commit.
func TestCrashEmptyFile(t *testing.T) {
	t.Parallel()
	crashEverywhere(t, scenario{name: "empty", etag: "empty", first: func(s *session) {
		s.create("empty", 0)
		s.finish()
		s.close()
	}})
}

func crashEverywhere(t *testing.T, sc scenario) {
	fresh := newWorld(t, sc, 0)
	n, step := sampled(6)
	n++ // operations count from 1
	for crashed := true; crashed; n += step {
		for _, does := range []string{"before", "after"} {
			if does == "after" && sc.lacks != nil {
				continue // almost the same as before the next one
			}
			w := fresh.anew(uint64(n))
			w.fs.trap = trap{n: n, does: does}
			crashed = crashes(func() { w.firstRun(sc) })
			w.surviveAll() // without a crash, the power fails after the last operation
			w.forget()
		}
		if t.Failed() {
			return // later operations would repeat the same failure many times
		}
	}
	if t.Logf("up to %d operations", n-1); n < 15 {
		t.Errorf("operations: got at most %d, want more: the scenario has ended early", n-1)
	}
}

// sampled returns the first of the cases 0, 1, 2 and so on that a test tries, and the distance to
// the next one: one case in n, in each run from another one on, or all with PAWL_TEST_ALL=1.
func sampled(n int) (first, step int) {
	if os.Getenv("PAWL_TEST_ALL") != "" {
		return 0, 1
	}
	return rand.IntN(n), n
}

// firstRun runs the first process of a scenario.
func (w *world) firstRun(sc scenario) {
	w.t.Helper()
	s := &session{w: w}
	if sc.first(s); s.err != nil {
		w.errorf("%v", s.err)
	}
}

// killed are the probabilities if only the process ends: everything is kept.
var killed = [2]float64{1, 1}

// surviveAll checks the disk after each kind of power failure, and that the download can
// be completed from there.
func (w *world) surviveAll() {
	w.t.Helper()
	for _, k := range w.fs.powerFailures() {
		next := w.reboot(k[0], k[1])
		next.check()
		next.complete()
		next.forget()
	}
}

// powerFailures returns the kinds of power failure that leave different disks: the probabilities that
// changes of names and of data that were not synced are kept.
func (c *crashFS) powerFailures() [][2]float64 {
	names, data := c.unsynced()
	keep := [][2]float64{{0, 0}} // nothing that was not synced
	if names {
		keep = append(keep, [2]float64{1, 0}) // directory entries, but not the data of their files
	}
	if data {
		keep = append(keep, [2]float64{0, 1})
	}
	if data || len(c.pending) > 1 {
		keep = append(keep, [2]float64{.5, .5})
	}
	if names || data {
		keep = append(keep, killed)
	}
	return keep
}

// FuzzCrashes lets the power fail several times, also during recovery. The seed
// determines everything, so the corpus needs no files.
func FuzzCrashes(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		sc := scenarios[rng.IntN(len(scenarios))]
		w := newWorld(t, sc, seed)
		w.story += ", " + sc.name
		run := func() { w.firstRun(sc) }
		for range 6 {
			w.fs.trap = trap{n: 1 + rng.IntN(40), does: []string{"before", "after"}[rng.IntN(2)]}
			if !crashes(run) {
				break
			}
			if keep := killed; rng.IntN(3) == 0 {
				w = w.reboot(keep[0], keep[1])
			} else {
				w = w.reboot(rng.Float64(), rng.Float64())
			}
			w.check()
			run = w.complete
		}
		w.fs.trap = trap{}
		w.complete()
		w = w.reboot(0, 0)
		w.check()
	})
}

// TestCrashInRemove cuts the power before and after each operation of a removal with files. A part
// file must not stay without a record that leads to it.
func TestCrashInRemove(t *testing.T) {
	t.Parallel()
	begun := func(s *session) {
		s.create("v1", 2900)
		s.write(0, 1700)
		s.commit()
		s.close()
	}
	fresh := newWorld(t, scenario{etag: "v1"}, 0)
	n := 1
	for crashed := true; crashed; n++ {
		for _, does := range []string{"before", "after"} {
			w := fresh.anew(uint64(n))
			w.firstRun(scenario{first: begun})
			rec, err := w.store.ByTarget(w.target)
			must(t, err)
			w.promised = chunk.Set{}
			w.fs.trap = trap{n: n, does: does}
			crashes(func() { err = w.store.Remove(rec.ID, true) })
			if crashed = w.fs.down; err != nil && !crashed { // a crash within a transaction is an error
				w.errorf("Remove: %v", err)
			}
			for _, k := range w.fs.powerFailures() {
				next := w.reboot(k[0], k[1])
				_, left := next.fs.peek(rec.Part())
				if p, err := next.store.Resume(rec.ID); err == nil {
					must(t, p.Close())
				} else if left || !errors.Is(err, ErrNotFound) {
					next.errorf("Resume: %v, and a part file: %t", err, left)
				}
				next.forget()
			}
			w.forget()
		}
	}
	if n < 4 {
		t.Errorf("operations: got at most %d, want more", n-1)
	}
}
