package downloader

import (
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
)

// enterNow takes n connections that are free.
func enterNow(t *testing.T, h *host, n int) {
	t.Helper()
	for range n {
		if err := h.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostGrowth: further connections up to the ceiling; after a refusal none
// for a while, longer each time, and then one more than there are.
func TestHostGrowth(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := newHost("h", 4)
	enterNow(t, h, 1)
	more := func(at time.Time, want bool) {
		t.Helper()
		if got := h.TryOpen(at); got != want {
			t.Fatalf("a further connection at %v with %d open, limit %d: got %v, want %v", at.Sub(now), h.open, h.limit, got, want)
		}
	}
	for range 3 {
		more(now, true)
	}
	more(now, false)

	wait := firstPenalty
	for range 10 { // each time the third is refused
		for h.open > 3 {
			h.Release()
		}
		h.refused(now)
		h.Release()
		more(now, false)
		more(now.Add(wait-1), false)
		now = now.Add(wait)
		more(now, true)
		wait = min(2*wait, maxPenalty)
	}
	h.refused(now)
	h.recovered()
	h.Release()
	more(now, true)
	more(now, true)
	more(now, false)
	h.Release()
	h.refused(now)
	h.Release()
	more(now.Add(firstPenalty-1), false) // as after the first
	more(now.Add(firstPenalty), true)
}

// TestHostRefusedLast: a limit is never less than one connection.
func TestHostRefusedLast(t *testing.T) {
	h := newHost("h", 4)
	enterNow(t, h, 1)
	for range 3 {
		if h.refused(time.Unix(1, 0)); h.limit != 1 {
			t.Errorf("limit: got %d, want 1", h.limit)
		}
	}
	h.Release()
	enterNow(t, h, 1)
}

func TestHostHold(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := newHost("h", 4)
	enterNow(t, h, 1)
	if d := h.held(now); d != 0 {
		t.Errorf("held: got %v, want 0", d)
	}
	h.hold(now.Add(time.Minute))
	h.hold(now.Add(time.Second)) // never shortens
	for after, want := range map[time.Duration]time.Duration{
		0: time.Minute, time.Minute - 1: 1, time.Minute: 0, time.Hour: 0,
	} {
		if d := h.held(now.Add(after)); d != want {
			t.Errorf("held after %v: got %v, want %v", after, d, want)
		}
	}
	if h.TryOpen(now.Add(time.Minute - 1)) {
		t.Error("a further connection while all requests are held")
	}
	h.holdGrowth(now.Add(time.Hour))
	h.holdGrowth(now)
	if d := h.held(now.Add(time.Minute)); d != 0 {
		t.Errorf("held by a limit of growth: got %v, want 0", d)
	}
	if h.TryOpen(now.Add(time.Hour - 1)) {
		t.Error("a further connection while growth is held")
	}
	if !h.TryOpen(now.Add(time.Hour)) {
		t.Error("no further connection after growth was held")
	}
	enterNow(t, h, 1) // a download's first is not growth
}

// TestStepDownLimit: after a refusal the host has as many connections as work.
func TestStepDownLimit(t *testing.T) {
	j, ws, _ := transferring(t, New(nil, Options{}), 3*mB, 3, start)
	if !ws[2].stepDown(errScripted) || j.first.host.limit != 2 || j.first.host.open != 2 {
		t.Errorf("a third connection was refused: got limit %d, %d open, want 2, 2", j.first.host.limit, j.first.host.open)
	}
}

// waiting starts a goroutine that enters, and returns what tells whether it has
// come in, and with what error.
func waiting(ctx context.Context, h *host) (entered func() (bool, error)) {
	done := make(chan error, 1)
	go func() { done <- h.enter(ctx) }()
	return func() (bool, error) {
		synctest.Wait()
		select {
		case err := <-done:
			return true, err
		default:
			return false, nil
		}
	}
}

// TestHostEnterWaits: a download without a connection waits until one is given
// back, and until then nobody gets a second one.
func TestHostEnterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost("h", 4)
		enterNow(t, h, 2)
		h.limit, h.growAfter = 2, time.Now().Add(time.Hour)
		entered := waiting(t.Context(), h)
		if ok, _ := entered(); ok || !h.OverShare() {
			t.Errorf("got entered %v, crowded %v, want false, true", ok, h.OverShare())
		}
		if h.TryOpen(time.Now().Add(time.Hour)) {
			t.Error("a further connection while a download has none")
		}
		h.Release()
		if ok, err := entered(); !ok || err != nil || h.OverShare() || h.open != 2 {
			t.Errorf("got entered %v, %v, crowded %v, %d open", ok, err, h.OverShare(), h.open)
		}
		if !h.TryOpen(time.Now().Add(time.Hour)) {
			t.Error("no further connection when nobody waits")
		}
	})
}

// TestHostEnterLater: a refusal that has grown old keeps nobody waiting.
func TestHostEnterLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost("h", 4)
		enterNow(t, h, 2)
		h.Release()
		h.refused(time.Now())
		entered := waiting(t.Context(), h)
		time.Sleep(firstPenalty - 1)
		if ok, _ := entered(); ok {
			t.Error("came in beyond the limit while the refusal was fresh")
		}
		time.Sleep(time.Nanosecond)
		if ok, err := entered(); !ok || err != nil || h.open != 2 || h.limit != 2 {
			t.Errorf("got entered %v, %v, %d open, limit %d, want true, nil, 2, 2", ok, err, h.open, h.limit)
		}
	})
}

func TestHostEnterCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		h := newHost("h", 1)
		enterNow(t, h, 1)
		entered := waiting(ctx, h)
		entered()
		cancel(cause)
		if ok, err := entered(); !ok || err != cause {
			t.Errorf("got returned %v, %v, want the context's cause", ok, err)
		}
		if h.OverShare() || h.open != 1 {
			t.Errorf("got crowded %v, %d open, want false, 1", h.OverShare(), h.open)
		}
		h.Release()
		enterNow(t, h, 1) // nothing was lost to who went away
	})
}

// TestHostRecoveredWakes: when the limit rises again, who waits for it comes in.
func TestHostRecoveredWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := newHost("h", 4)
		enterNow(t, h, 1)
		h.refused(time.Now())
		entered := waiting(ctx, h)
		if ok, _ := entered(); ok {
			t.Fatal("entered beyond the limit of 1")
		}
		h.recovered()
		if ok, _ := entered(); !ok {
			t.Errorf("still waits with %d of %d connections open", h.open, h.limit)
		}
	})
}

// TestHostRandom: whatever happens, there are never more connections than the
// ceiling, and everyone who waits comes in in the end.
func TestHostRandom(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			h := newHost("h", 1+r.IntN(5))
			var open, came int // connections as they should be; waiters that have come in
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 200 {
				switch now := time.Now(); r.IntN(7) {
				case 0:
					all.Go(func() {
						if err := h.enter(t.Context()); err != nil {
							t.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						came++
					})
				case 1, 2:
					if h.TryOpen(now) {
						open++
					}
				case 3:
					if open > 0 {
						h.Release()
						open--
					}
				case 4:
					if left := h.refused(now); left < 1 || left > h.ceiling {
						t.Errorf("limit: got %d, ceiling %d", left, h.ceiling)
					}
				case 5:
					h.recovered()
				default:
					time.Sleep(time.Duration(r.IntN(10)) * time.Second)
				}
				synctest.Wait()
				open, came = open+came, 0
				if opened(h) != open || open > h.ceiling {
					t.Fatalf("seed %d: got %d open, want %d, ceiling %d", seed, opened(h), open, h.ceiling)
				}
			}
			for synctest.Wait(); open+came > 0; synctest.Wait() {
				open, came = open+came-1, 0
				h.Release()
			}
			all.Wait()
			if opened(h) != 0 || h.OverShare() {
				t.Errorf("seed %d: at the end %d are open, crowded %v", seed, opened(h), h.OverShare())
			}
		})
	}
}

// opened is h.open, for tests in which others wake by a timer.
func opened(h *host) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// TestRedirectSecrets: what servers see of a request that is redirected, and of
// the next one, which goes where the first one led.
func TestRedirectSecrets(t *testing.T) {
	seen := make(map[string]http.Header) // by path; requests come one by one
	note := func(w http.ResponseWriter, r *http.Request) {
		seen[r.URL.Path] = r.Header.Clone()
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}
	home, other := httptest.NewServer(http.HandlerFunc(note)), httptest.NewServer(http.HandlerFunc(note))
	defer home.Close()
	defer other.Close()
	d := New(nil, Options{})
	defer d.Close()
	check := func(path, authorization string) {
		t.Helper()
		wants := map[string]string{"Authorization": authorization, "Cookie": "c=1", "X-Token": "secret"}
		if path == "/away" {
			wants = map[string]string{"Authorization": "", "Cookie": "", "X-Token": ""}
		}
		wants["Accept"], wants["Range"], wants["Accept-Encoding"], wants["Referer"] = "x/y", "bytes=0-4", "identity", ""
		for name, want := range wants {
			if got := seen[path].Get(name); got != want {
				t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
			}
		}
	}
	for path, to := range map[string]string{"/abs": home.URL + "/abs", "/rel": "/rel", "/away": other.URL + "/away"} {
		for base, authorization := range map[string]string{
			home.URL: "Bearer secret",
			strings.Replace(home.URL, "//", "//user:password@", 1): "Basic dXNlcjpwYXNzd29yZA==",
		} {
			header := http.Header{"Cookie": {"c=1"}, "X-Token": {"secret"}, "Accept": {"x/y"}}
			if base == home.URL {
				header.Set("Authorization", authorization)
			}
			j, err := newJob(d, Request{URL: base + "/start?to=" + url.QueryEscape(to), Header: header})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(j.origin.recorded, "password") {
				t.Errorf("recorded and shown: %s", j.origin.recorded)
			}
			clear(seen)
			u := j.origin.url
			for range 2 {
				req, err := j.newRequest(t.Context(), j.originTarget(destination{url: u}), chunk.Range{End: 5})
				if err != nil {
					t.Fatal(err)
				}
				resp, err := d.http.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				check("/start", authorization)
				check(path, authorization)
				u = resp.Request.URL
				delete(seen, path)
			}
		}
	}
}

// TestOneConnectionEach: a server that would speak HTTP/2 gets HTTP/1.1, each
// request its own connection, and no Accept-Encoding.
func TestOneConnectionEach(t *testing.T) {
	const n = 4
	var mu sync.Mutex
	conns, arrived := make(map[string]bool), 0
	together := make(chan struct{}) // closed when all requests are under way
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.RemoteAddr] = true
		if arrived++; arrived == n {
			close(together)
		}
		mu.Unlock()
		if r.Proto != "HTTP/1.1" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("got %s, Accept-Encoding %q, want HTTP/1.1 and none", r.Proto, r.Header.Get("Accept-Encoding"))
		}
		select {
		case <-together:
		case <-r.Context().Done():
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	hc := newHTTPClient(Options{RootCAs: roots, StallTimeout: 5 * time.Second}.withDefaults(), &dialer{}, newSlots(nil, 16), nil, false)
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() {
			if resp, err := hc.Get(srv.URL); err != nil {
				t.Error(err)
			} else {
				resp.Body.Close()
			}
		})
	}
	clients.Wait()
	if len(conns) != n {
		t.Errorf("got %d connections, want %d", len(conns), n)
	}
}
