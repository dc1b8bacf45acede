package main

import (
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"pawl/downloader/faultserver"
	"pawl/downloader/fleet/natstest"
)

// TestMirrorQueueParts checks that a run goes on with what an earlier one has left of a file that failed in the middle, whether
// workers or the command itself have fetched it, and leaves no part file behind.
func TestMirrorQueueParts(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	for name, tt := range map[string]struct{ first, second bool }{ // through the queue
		"queue, queue": {true, true},
		"queue, alone": {true, false},
		"alone, queue": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newQueueSite(t, natstest.Options{Roles: true})
			s.add("big", size)
			s.add("small", 100)
			s.writeListOfAll("list")
			var repaired atomic.Bool
			fault := faultserver.First(1, faultserver.Cut(size/2))
			gone := faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(http.StatusNotFound, -1))
			s.srv.Set(onSitePath("/big", func(next http.Handler) http.Handler {
				faulty := fault(gone(next))
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if repaired.Load() {
						next.ServeHTTP(w, r)
						return
					}
					faulty.ServeHTTP(w, r)
				})
			}))
			mirror := func(queued bool, state string, exit int) {
				t.Helper()
				if !queued {
					s.runMirror("--tries", "1", "--rounds", "1", "list").wantExit(exit)
					return
				}
				p := s.startMirror(s.withQueue("--rounds", "1", "list")...)
				s.run()
				stop := s.startWorker("--state", state)
				p.wait().wantExit(exit)
				stop()
			}
			mirror(tt.first, "state-one", 8)
			repaired.Store(true)
			before := s.srv.Sent()
			mirror(tt.second, "state-two", 0)
			s.wantFiles("big", "small")
			if sent := s.srv.Sent() - before; sent > size*3/4 {
				t.Errorf("%d bytes of %d were sent again", sent, size)
			}
			if parts, _ := filepath.Glob(filepath.Join(s.dir, "out", "*.part*")); len(parts) > 0 {
				t.Errorf("part files are left: %q", parts)
			}
		})
	}
}
