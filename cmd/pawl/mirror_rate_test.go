package main

import (
	"math"
	"net/http"
	"sync"
	"testing"
	"time"
)

// arrivals records the times of requests.
type arrivals struct {
	mu    sync.Mutex
	times []time.Time
}

func (a *arrivals) fault(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.times = append(a.times, time.Now())
		a.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// wantRate checks that a rate differs from the wanted rate by at most 5 %.
func (s *site) wantRate(what string, got, want float64) {
	s.Helper()
	s.Logf("%s: %.4f of the wanted rate", what, got/want)
	if math.Abs(got/want-1) > 0.05 {
		s.Errorf("%s: got %.1f, want %.1f", what, got, want)
	}
}

// TestMirrorRate checks that --limit-rate applies to many small files together.
func TestMirrorRate(t *testing.T) {
	s := newSite(t)
	const files, size, rate = 400, 20 << 10, 2 << 20
	s.addMany(files, sameSize(size))
	s.writeListOfAll("list")
	var a arrivals
	s.srv.Set(a.fault)
	o := s.runMirror("-q", "--limit-rate", "2M", "--report", "report", "list").wantExit(0)
	s.wantFiles()
	if o.elapsed < 7*time.Second/2 {
		t.Errorf("%d bytes took %v, want at least 3.5 s", files*size, o.elapsed)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	first, last := files/10, files-1 // measures between these requests, so that neither start nor end counts
	s.wantRate("bytes per second", float64((last-first)*size)/a.times[last].Sub(a.times[first]).Seconds(), rate)
	s.wantRate("bytes per second of the whole", float64(s.report("report").Summary.Bytes)/s.report("report").Summary.Seconds, rate)
}

// TestMirrorRequestRate checks that --max-request-rate applies to all files of a host
// together.
func TestMirrorRequestRate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const files, rate = 60, 25
	s.addMany(files, sameSize(1000))
	s.writeListOfAll("list")
	var a arrivals
	s.srv.Set(a.fault)
	s.runMirror("-q", "--max-request-rate", "25/s", "list").wantExit(0)
	s.wantFiles()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.times) != files {
		t.Errorf("%d requests, want %d", len(a.times), files)
	}
	s.wantRate("requests per second", float64(len(a.times)-1)/a.times[len(a.times)-1].Sub(a.times[0]).Seconds(), rate)
}
