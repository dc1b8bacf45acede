package fleet_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/mirror"
)

// partBytes returns how many bytes the part file of a file has.
func (r *fleetRig) partBytes(name string) int64 {
	info, err := os.Stat(filepath.Join(r.dir, name+".part"))
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestPartsOfKilledWorkers: the part file of a worker that ends soon after its first byte is continued by the next one. None is left
// behind, and nothing is renamed.
func TestPartsOfKilledWorkers(t *testing.T) {
	const size = 2 << 20
	for name, tt := range map[string]struct {
		files  []string
		faults faultserver.Fault
		kills  int
	}{
		"one file":    {[]string{"f"}, faultserver.Rate(size / 20), 1},
		"six files":   {[]string{"a", "b", "c", "d", "e", "f"}, faultserver.Rate(size / 20), 1},
		"two workers": {[]string{"f"}, faultserver.Rate(size / 20), 2},
		"no size":     {[]string{"f"}, both(faultserver.NoLength, faultserver.Rate(size/20)), 1},
		"no ranges":   {[]string{"f"}, both(faultserver.NoRanges, faultserver.Rate(size/20)), 1},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
				var items []fleet.Item
				for _, name := range tt.files {
					items = append(items, r.item(name, size))
				}
				r.publish(items...)
				r.srv.Set(tt.faults)
				for i := range tt.kills {
					w := r.start(string(rune('a' + i)))
					before := r.partBytes("f")
					for r.partBytes("f") <= before { // as soon as it has written something
						time.Sleep(time.Millisecond)
					}
					w.kill()
					<-w.done
				}
				r.srv.Set()
				r.start("last").wait()
				r.wantFetched(len(tt.files))
				r.wantNothingLeft()
			})
		})
	}
}

func both(outer, inner faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler { return outer(inner(next)) }
}

// TestPartsOfRounds: a worker that fails in the middle of a file leaves the part file to the one that tries the file in the next round.
func TestPartsOfRounds(t *testing.T) {
	const size = 2 << 20
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				t.Cleanup(func() { time.Sleep(time.Minute) })
				r := newFleetRig(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, local)
				r.publish(r.item("good", 100), r.item("f", size), r.item("g", size))
				r.srv.Set(breaksDown(size / 2))
				named := func(name string) func(o *fleet.WorkerOptions) {
					return func(o *fleet.WorkerOptions) { o.Request.Access.Header = http.Header{"Worker": {name}} }
				}
				a := r.start("a", named("a"))
				if !local {
					time.Sleep(5 * time.Second)
					r.start("b", named("b")).wait()
				} else {
					time.Sleep(9 * time.Second)
					r.srv.Set()
				}
				a.wait()
				r.wantFetched(3)
				r.wantNothingLeft()
				if got, _ := r.ended(); got["f"].Rounds != 2 {
					r.Errorf("f: %d rounds, error %q", got["f"].Rounds, got["f"].Error)
				}
				if sent := r.srv.Sent(); sent > 2*size*5/4 {
					r.Errorf("%d bytes were sent for two files of %d", sent, size)
				}
			})
		})
	}
}

// breaksDown makes the server fail for worker "a" once it has sent it n bytes of a file.
func breaksDown(n int64) faultserver.Fault {
	var mu sync.Mutex
	broken := make(map[string]bool)
	return func(next http.Handler) http.Handler {
		cut := faultserver.Cut(n)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			mu.Lock()
			first := !broken[req.URL.Path]
			if req.URL.Path != "/good" {
				broken[req.URL.Path] = true
			}
			mu.Unlock()
			switch {
			case req.Header.Get("Worker") != "a" || req.URL.Path == "/good":
				next.ServeHTTP(w, req)
			case first:
				cut.ServeHTTP(w, req)
			default:
				w.WriteHeader(http.StatusBadGateway)
			}
		})
	}
}

// TestPartsOfFailed: the log says what there is of a file that has failed for good, so that a later run goes on with it.
func TestPartsOfFailed(t *testing.T) {
	const size = 2 << 20
	t.Run("gone", func(t *testing.T) {
		inFleet(t, fleet.Settings{Rounds: 2, RoundWait: 10 * time.Second}, func(r *fleetRig) {
			r.publish(r.item("f", size), r.itemAt(r.srv.URL+"/none", "none"))
			r.srv.Set(onPath("/f", both(faultserver.First(1, faultserver.Cut(size/2)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(http.StatusNotFound, -1)))))
			r.start("a").wait()
			r.wantPart("f", size/4)
			r.wantPart("none", -1)
		})
	})
	t.Run("poison", func(t *testing.T) {
		inFleet(t, fleet.Settings{Rounds: 2, RoundWait: 10 * time.Second}, func(r *fleetRig) {
			r.publish(r.item("f", size))
			var mu sync.Mutex
			var current *fleetWorker
			begun := time.Now()
			late := func(int) bool { return time.Since(begun) > 12*time.Second }
			r.srv.Set(faultserver.Rate(size/20), faultserver.Only(late, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
					mu.Lock()
					current.kill()
					mu.Unlock()
					<-req.Context().Done()
				})
			}))
			for i := range 10 {
				w := r.start(string(rune('a' + i)))
				mu.Lock()
				current = w
				mu.Unlock()
				if i == 0 {
					time.Sleep(13 * time.Second)
					w.kill()
				}
				<-w.done
				if w.err == nil {
					break
				}
			}
			r.wantPart("f", size/4)
		})
	})
}

// wantPart checks that a file has failed, and that the log names its part file with at least so many bytes; none if least is negative.
func (r *fleetRig) wantPart(name string, least int64) {
	r.Helper()
	all, _ := r.ended()
	e := all[name]
	held := int64(-1)
	if e.Part != nil {
		held = e.Part.Record.Held.Len()
	}
	if e.State != mirror.Failed || held < least || least < 0 && held >= 0 {
		r.Errorf("%s: %q, a part of %d bytes, want at least %d; error %q", name, e.State, held, least, e.Error)
	}
}

// TestPartsOnLocalDisks: a worker that comes back removes its part file of a file that has ended elsewhere, and goes on with one that has
// not.
func TestPartsOnLocalDisks(t *testing.T) {
	const size = 2 << 20
	for name, tt := range map[string]struct {
		gone    func(r *fleetRig, w *fleetWorker) // the first worker
		between func(r *fleetRig)
		parts   int   // files with a part in the end
		most    int64 // bytes that the server sends, as a multiple of a file
	}{
		"killed":  {func(_ *fleetRig, w *fleetWorker) { w.kill() }, func(r *fleetRig) { r.start("b").wait() }, 0, 3},
		"stopped": {func(_ *fleetRig, w *fleetWorker) { w.stop() }, func(r *fleetRig) { r.start("b").wait() }, 0, 3},
		"killed, and again when the next round waits": {func(r *fleetRig, w *fleetWorker) {
			w.kill()
			<-w.done
			r.srv.Set(faultserver.Status(http.StatusBadGateway, -1)) // so that no byte is written to the part files
			again := r.start("a")
			for !again.hasNoted("are tried again in round 2") {
				time.Sleep(time.Second)
			}
			time.Sleep(2 * time.Second)
			again.kill()
			<-again.done
		}, func(r *fleetRig) { r.start("b").wait() }, 0, 3},
		"cancelled": {func(_ *fleetRig, w *fleetWorker) { w.kill() }, func(r *fleetRig) { r.change(func(run *fleet.Run) { run.Control = fleet.Cancelled }) }, 0, 1},
		"deleted long ago": {func(_ *fleetRig, w *fleetWorker) { w.kill() }, func(r *fleetRig) {
			if err := fleet.DeleteRun(r.Context(), r.admin, r.run); err != nil {
				r.Error(err)
			}
			old := time.Now().Add(-48 * time.Hour)
			notes, _ := filepath.Glob(filepath.Join(r.states["a"], "*.fleet-parts"))
			for _, n := range notes {
				os.Chtimes(n, old, old)
			}
		}, 0, 1},
		"unknown run": {func(_ *fleetRig, w *fleetWorker) { w.kill() }, func(r *fleetRig) {
			if err := fleet.DeleteRun(r.Context(), r.admin, r.run); err != nil {
				r.Error(err)
			}
			notes, _ := filepath.Glob(filepath.Join(r.states["a"], "*.fleet-parts"))
			for _, n := range notes { // the clock of the test is not that of the files
				os.Chtimes(n, time.Now(), time.Now())
			}
		}, 2, 1},
		"not ended": {func(_ *fleetRig, w *fleetWorker) { w.kill() }, func(*fleetRig) {}, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				t.Cleanup(func() { time.Sleep(time.Minute) })
				r := newFleetRig(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, true)
				r.publish(r.item("f", size), r.item("g", size), r.item("small", 100))
				r.srv.Set(faultserver.Rate(size / 15))
				a := r.start("a")
				time.Sleep(10 * time.Second)
				tt.gone(r, a)
				<-a.done
				if r.partBytes("f") == 0 || r.partBytes("g") == 0 {
					r.Fatal("there is no part file")
				}
				r.srv.Set()
				other := r.dir + ".other" // b has another disk
				swap := func() {
					if err := errors.Join(os.Rename(r.dir, other+".new"), os.MkdirAll(other, 0o777), os.Rename(other, r.dir), os.Rename(other+".new", other)); err != nil {
						r.Fatal(err)
					}
				}
				t.Cleanup(func() { os.RemoveAll(other) })
				swap()
				tt.between(r)
				swap()
				r.start("a").wait()
				parts, _ := filepath.Glob(filepath.Join(r.dir, "*.part*"))
				if len(parts) != tt.parts {
					r.Errorf("part files: %v, want %d", parts, tt.parts)
				}
				if notes, _ := filepath.Glob(filepath.Join(r.states["a"], "*.fleet-parts*")); (len(notes) > 0) != (tt.parts > 0) {
					r.Errorf("notes: %v", notes)
				}
				if sent := r.srv.Sent(); sent > tt.most*size+size/2 {
					r.Errorf("%d bytes were sent, of files of %d", sent, size)
				}
			})
		})
	}
}
