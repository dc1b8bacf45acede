package downloader

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/sched"
	"pawl/store"
)

// Empty files and files of sizes around sched.FirstRange are complete, whether or not the
// server has ranges, a Content-Length or validators.
func TestSizes(t *testing.T) {
	servers := map[string][]faultserver.Fault{
		"ranges":        nil,
		"no ranges":     {faultserver.NoRanges},
		"no length":     {faultserver.NoLength},
		"no validators": {faultserver.NoValidators},
	}
	sizes := []int64{0, 1, sched.FirstRange - 1, sched.FirstRange, sched.FirstRange + 1, 3*sched.FirstRange + 12345}
	for name, faults := range servers {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.srv.Set(faults...)
				for _, size := range sizes {
					f := faultserver.NewFile(size, uint64(size))
					file := fmt.Sprintf("f%d", size)
					r.srv.Put(file, f)
					if name == "no validators" {
						f.Modified = time.Time{}
					}
					res := r.mustGet(file, f)
					if res.Size != size || res.Fetched < size || res.Fetched > size+4<<20 {
						t.Errorf("file of %d bytes: got size %d, fetched %d bytes, want at most 4 MiB more than the size", size, res.Size, res.Fetched)
					}
				}
			})
		})
	}
}

// If one stream would succeed despite a fault of the server, the file is downloaded, and the
// server sends few bytes twice.
func TestFaults(t *testing.T) {
	const size = 24 << 20
	tests := []struct {
		name   string
		faults []faultserver.Fault
		// maxRatio limits the sent bytes divided by the size. It is more than 1, because the first
		// request has no end: its response is cut when other connections have the rest.
		maxRatio float64
	}{
		{"plain", nil, 1.4},
		{"cut every 700 kB", []faultserver.Fault{faultserver.Cut(700_000)}, 1.2},
		{"reset every 900 kB", []faultserver.Fault{faultserver.Reset(900_000)}, 4}, // a reset also loses the bytes in flight
		{"three 503 first", []faultserver.Fault{faultserver.First(3, faultserver.Status(503, -1))}, 1.4},
		{"every third request 500", []faultserver.Fault{faultserver.Only(func(n int) bool { return n%3 == 2 }, faultserver.Status(500, -1))}, 1.4},
		{"two connections, 503 beyond", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(2, faultserver.Status(503, 1))}, 1.2},
		{"two connections, reset beyond", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(2, faultserver.Reset(0))}, 1.2},
		{"two connections, silence beyond", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(2, faultserver.Stall(0))}, 1.25},
		{"first connection stalls", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.First(1, faultserver.Stall(1<<20))}, 1.25},
		{"403 beyond one connection", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(1, faultserver.Status(403, -1))}, 1.2},
		{"one connection slow", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.Only(func(n int) bool { return n == 1 }, faultserver.ConnRate(20<<10))}, 1.2},
		{"ranges shifted", []faultserver.Fault{faultserver.SetHeader("Content-Range", "bytes 7-9/100")}, 3},
		{"ranges sometimes ignored", []faultserver.Fault{faultserver.Only(func(n int) bool { return n%2 == 1 }, faultserver.NoRanges)}, 4},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(size, uint64(i))
				r.srv.Put("f", f)
				r.srv.Set(tt.faults...)
				r.mustGet("f", f)
				if ratio := float64(r.srv.Sent()) / size; ratio > tt.maxRatio+0.001 { // the bodies of HTTP errors count, too
					t.Errorf("sent bytes / size: got %.3f, want at most %v", ratio, tt.maxRatio)
				}
			})
		})
	}
}

// A download that cannot succeed ends after one request, or after all tries, with an error of
// the right kind. The record keeps the bytes of the first run.
func TestGivesUp(t *testing.T) {
	tests := []struct {
		name  string
		fault faultserver.Fault
		want  error
		retry bool // the failure uses up all tries
	}{
		{"404", faultserver.Status(404, -1), failure.ErrRefused, false},
		{"401", faultserver.Status(401, -1), failure.ErrAuth, false},
		{"503", faultserver.Status(503, -1), failure.ErrThrottled, true},
		{"500", faultserver.Status(500, -1), failure.ErrRefused, true},
		{"reset", faultserver.Reset(0), failure.ErrNetwork, true},
		{"silence", faultserver.Stall(0), failure.ErrNetwork, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.opts.Retry.Tries, r.opts.Timeouts.Stall = 3, 50*time.Millisecond
				r.srv.Put("f", faultserver.NewFile(8<<20, 1))
				r.srv.Set(faultserver.Rate(64 << 20))
				if err := r.getUntilSent(2<<20, "f"); !errors.Is(err, errTestCancel) {
					t.Fatal(err)
				}
				before, _ := r.store.ByURL(r.dir, r.srv.URL+"/f")
				r.srv.Set(tt.fault)
				r.opts.UserAgent = "second run" // a request of the first run may arrive late
				_, err := r.get(t.Context(), "f")
				if !errors.Is(err, tt.want) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				want := 1
				if tt.retry {
					want = 3
				}
				n := 0
				for _, q := range r.srv.Requests() {
					if q.Header.Get("User-Agent") == "second run" {
						n++
					}
				}
				if n != want {
					t.Errorf("requests: got %d, want %d", n, want)
				}
				rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f")
				if err != nil || rec.State != store.Failed || rec.Reason == "" || !rec.Held.Equal(before.Held) {
					t.Errorf("record: got %+v, error %v, want a failed one that holds %v", rec, err, before.Held)
				}
			})
		})
	}
}

// A request is repeated when the Retry-After time has passed. RetryPolicy.MaxRetryAfter limits this
// time.
func TestRetryAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(1<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.First(1, faultserver.Status(429, 1)))
		began := time.Now()
		r.mustGet("f", f)
		if d := time.Since(began); d < time.Second {
			t.Errorf("the download took %v, want at least 1s", d)
		}
		r.opts.Retry.MaxRetryAfter = 10 * time.Millisecond
		r.srv.Put("g", f)
		r.srv.Set(faultserver.First(1, faultserver.Status(429, 3600)))
		r.mustGet("g", f)
	})
}

// If a server sometimes responds to a range request with the whole file or with 416, that costs
// a request, and no held bytes.
func TestOccasionalWrongResponse(t *testing.T) {
	const size = 40 << 20
	sometimes := func(n int) bool { return n%5 == 3 }
	for name, fault := range map[string]faultserver.Fault{
		"200": faultserver.NoRanges,
		"416": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Range", "bytes */41943040")
				w.Header().Set("ETag", faultserver.NewFile(size, 1).ETag)
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(size, 1)
				r.srv.Put("f", f)
				r.srv.Set(faultserver.Rate(100<<20), faultserver.Only(sometimes, fault))
				r.mustGet("f", f)
				if n := r.countEvents(Restarted); n != 0 {
					t.Errorf("the download started over %d times, want 0", n)
				}
				if ratio := float64(r.srv.Sent()) / size; ratio > 1.5 {
					t.Errorf("sent bytes / size: got %.3f, want at most 1.5", ratio)
				}
			})
		})
	}
}

// If a server no longer serves ranges when a download is resumed, one stream brings the whole
// file, whose bytes are compared with the held ones.
func TestRangesSwitchedOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 32 << 20
		r := newRig(t)
		f := faultserver.NewFile(size, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.Rate(100 << 20))
		if err := r.getUntilSent(20<<20, "f"); !errors.Is(err, errTestCancel) {
			t.Fatal(err)
		}
		r.srv.Set(faultserver.NoRanges)
		r.mustGet("f", f)
		if n := r.countEvents(Restarted); n != 0 {
			t.Errorf("the download started over %d times, want 0", n)
		}
	})
}

// If a server lies about ranges, its file is downloaded over one stream, and a second run finds
// the finished file current.
func TestLyingServerSecondRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(6<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.SetHeader("Content-Range", "bytes 7-9/100"))
		r.mustGet("f", f)
		if res := r.mustGet("f", f); !res.Current {
			t.Errorf("second run: got %+v, want a current file", res)
		}
	})
}
