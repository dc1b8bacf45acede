package downloader

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/sched"
	"pawl/store"
)

// A watched download is under way in a goroutine of its own.
type watched struct {
	*rig
	handle *Handle
	done   chan struct{} // closed at its end
	res    Result
	err    error
}

// watch starts a download of the file called name with a Handle, which changes may set up.
func (r *rig) watch(name string, change ...func(*Request)) *watched {
	w := &watched{rig: r, handle: new(Handle), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.res, w.err = r.get(r.t.Context(), name, append([]func(*Request){func(q *Request) { q.Handle = w.handle }}, change...)...)
	}()
	return w
}

// end waits for the end of the download, and compares the file.
func (w *watched) end(f faultserver.File) {
	w.t.Helper()
	<-w.done
	if w.err != nil {
		w.t.Fatal(w.err)
	}
	w.checkFile(w.res.Target, f)
	if p, runs := w.handle.Progress(); runs {
		w.t.Errorf("after the end: got %+v, want no progress", p)
	}
}

// until waits until ok reports true, or for a minute.
func (w *watched) until(what string, ok func() bool) {
	w.t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			w.t.Fatalf("%s: not within a minute; detail %+v", what, w.handle.Detail())
		}
	}
}

// received returns how many bytes the download has received.
func (w *watched) received() int64 {
	p, _ := w.handle.Progress()
	return p.Received
}

// The rate of one download changes while it runs, and does not concern another one.
func TestHandleLimitRate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size, slow = 8 << 20, 64 << 10
		r := newRig(t)
		r.opts.Timeouts.Stall = time.Minute
		f := faultserver.NewFile(size, 1)
		r.srv.Put("f", f)
		begun := time.Now()
		w := r.watch("f", func(q *Request) { q.Handle.SetLimitRate(slow) })
		r.mustGet("f", f, func(q *Request) { q.Into = File{Dir: t.TempDir()} }) // without a limit
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the other download took %v, want no limit", took)
		}
		time.Sleep(20*time.Second - time.Since(begun))
		if got := w.received(); got > 22*slow || got < 15*slow {
			t.Errorf("got %d bytes after 20 s at %d bytes/s", got, slow)
		}
		w.handle.SetLimitRate(1) // its reads wait for minutes
		time.Sleep(time.Second)
		before := w.received()
		time.Sleep(10 * time.Second)
		if got := w.received() - before; got > minReadOfTest*16 {
			t.Errorf("got %d bytes within 10 s at 1 byte/s", got)
		}
		w.handle.SetLimitRate(0)
		changed := time.Now()
		w.end(f)
		if took := time.Since(changed); took > 5*time.Second {
			t.Errorf("without a limit, the rest took %v", took)
		}
	})
}

// TestHandleParts checks that the limit of a Handle holds for all its parts together, and that it has their sums.
func TestHandleParts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size, rate = 2 << 20, 512 << 10
		r := newRig(t)
		all := new(Handle)
		all.SetLimitRate(rate)
		all.SetConnections(1)
		if _, ok := all.Progress(); ok {
			t.Error("there is progress before the first part")
		}
		begun := time.Now()
		var parts sync.WaitGroup
		for i := range 3 {
			name := fmt.Sprint(i)
			f := faultserver.NewFile(size, uint64(i))
			r.srv.Put(name, f)
			parts.Go(func() { r.mustGet(name, f, func(q *Request) { q.Handle = all.Part() }) })
		}
		time.Sleep(4 * time.Second)
		if p, ok := all.Progress(); !ok || p.Conns != 3 || p.Size != -1 || p.Received < 3*rate || p.Received > 6*rate || p.Have != p.Received {
			t.Errorf("after 4 s: %+v", p)
		}
		parts.Wait()
		if took := time.Since(begun); took < 3*size/rate*time.Second*8/10 {
			t.Errorf("took %v for %d bytes at %d bytes/s", took, 3*size, rate)
		}
		if p, ok := all.Progress(); !ok || p.Conns != 0 || p.Received < 3*size {
			t.Errorf("at the end: %+v", p)
		}
	})
}

// minReadOfTest is the least number of bytes of one read under a limit (package transport).
const minReadOfTest = 256

// A connCounter counts the open connections of a server.
type connCounter struct {
	mu   sync.Mutex
	open int
	peak int
}

// countConns returns a server with the files and faults of r.srv that counts its connections.
func (r *rig) countConns() (url string, n *connCounter) {
	n = new(connCounter)
	front := httptest.NewUnstartedServer(r.srv)
	front.Listener.Close()
	front.Listener = r.net.Listen()
	front.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch s {
		case http.StateNew:
			n.open++
			n.peak = max(n.peak, n.open)
		case http.StateClosed:
			n.open--
		}
	}
	front.Start()
	r.t.Cleanup(front.Close)
	return front.URL, n
}

func (n *connCounter) now() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open
}

// Eight connections become one, without a byte that is lost, and one becomes six again. The server counts
// the connections that are open.
func TestHandleConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size, perConn = 48 << 20, 512 << 10
		r := newRig(t)
		f := faultserver.NewFile(size, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.ConnRate(perConn))
		url, conns := r.countConns()
		w := r.watch("f", func(q *Request) {
			q.URL = url + "/f"
			q.Handle.SetConnections(8)
		})
		w.until("8 connections", func() bool { return conns.now() == 8 })
		time.Sleep(3 * time.Second)
		w.handle.SetConnections(1)
		held := w.handle.Detail().Held
		time.Sleep(500 * time.Millisecond)
		if p, _ := w.handle.Progress(); conns.now() != 1 || p.Conns != 1 {
			t.Errorf("half a second after the change to 1: the server has %d connections, and the download %d", conns.now(), p.Conns)
		}
		now := w.handle.Detail().Held
		for b := range held.All() {
			if !now.Contains(b) {
				t.Errorf("bytes %v were lost", b)
			}
		}
		before := w.received()
		time.Sleep(10 * time.Second)
		if got := w.received() - before; got < 8*perConn || got > 12*perConn || conns.now() != 1 {
			t.Errorf("got %d bytes in 10 s over %d connections, want about %d over 1", got, conns.now(), 10*perConn)
		}
		w.handle.SetConnections(6)
		w.until("6 connections", func() bool { return conns.now() == 6 })
		w.end(f)
		if conns.peak != 8 {
			t.Errorf("got %d connections at the same time, want 8", conns.peak)
		}
		if sent := r.srv.Sent(); sent > size+7*(512<<10) { // of each connection that was closed, what was on its way
			t.Errorf("the server sent %d bytes, want at most 3.5 MiB more than the %d of the file", sent, size)
		}
	})
}

// With a limit of connections, the mirrors get some of them, and all together are no more.
func TestHandleConnectionsOfMirrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 3
		r := newMirrorRig(t, 48<<20)
		r.opts.Connections = 16
		r.srv.Set(faultserver.ConnRate(1 << 20))
		r.mirror.Set(faultserver.ConnRate(1 << 20))
		w := r.watch("f", func(q *Request) {
			q.Mirrors = []string{r.mirrorURL()}
			q.Handle.SetConnections(most)
		})
		w.until("two sources", func() bool {
			all := w.handle.Detail().Sources
			return len(all) == 2 && all[1].Received > 1<<20
		})
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			all := w.handle.Detail().Sources
			if n := all[0].Conns + all[1].Conns; n > most || all[0].Conns == 0 || all[1].Conns == 0 {
				t.Fatalf("got %d and %d connections, want at most %d, and some to each", all[0].Conns, all[1].Conns, most)
			}
		}
		w.handle.SetConnections(1)
		time.Sleep(500 * time.Millisecond)
		if p, _ := w.handle.Progress(); p.Conns != 1 {
			t.Errorf("got %d connections, want 1", p.Conns)
		}
		w.handle.SetConnections(0)
		w.until("more connections", func() bool { p, _ := w.handle.Progress(); return p.Conns > most })
		w.end(r.f)
		if n := r.srv.Sent() + r.mirror.Sent(); n > r.f.Size+4<<20 {
			t.Errorf("the servers sent %d bytes, want at most 4 MiB more than the %d of the file", n, r.f.Size)
		}
	})
}

// With one connection, no mirror is tried out beside the origin.
func TestHandleOneConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 8<<20)
		r.mustGetMirrored(func(q *Request) {
			q.Handle = new(Handle)
			q.Handle.SetConnections(1)
		})
		if n := len(r.mirror.Requests()); n > 0 || r.srv.Peak() != 1 {
			t.Errorf("got %d requests to the mirror and %d at once to the origin, want 0 and 1", n, r.srv.Peak())
		}
	})
}

// sourcesOf returns the sources of a Detail, and checks that their bytes are all bytes.
func (w *watched) sources() []Source {
	w.t.Helper()
	all, sum := w.handle.Detail().Sources, int64(0)
	for _, s := range all {
		sum += s.Received
	}
	if after := w.received(); sum > after {
		w.t.Errorf("the sources have %d bytes, and the download %d", sum, after)
	}
	return all
}

// A mirror that is put aside is named with the reason; the bytes of each source are its own. A URL that the
// user has typed with a password is shown without it.
func TestHandleSources(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 32<<20)
		other := r.newServer()
		other.Set(faultserver.Status(404, -1))
		w := r.watch("f", func(q *Request) {
			q.URL = strings.Replace(q.URL, "://", "://user:secret@", 1)
			q.Mirrors = []string{other.URL + "/f", r.mirrorURL()}
			q.Access.Header = http.Header{"X-Test": {"1"}}
		})
		w.until("bytes of the mirror", func() bool {
			all := w.sources()
			return len(all) == 3 && all[1].Err != nil && all[2].Received > 4<<20
		})
		all := w.sources()
		if all[0].URL != r.srv.URL+"/f" || all[1].URL != other.URL+"/f" || all[2].URL != r.mirrorURL() {
			t.Errorf("got sources %v, want the URL and its mirrors in order", all)
		}
		if all[0].Err != nil || all[2].Err != nil || !strings.Contains(all[1].Err.Error(), "404") {
			t.Errorf("got errors %v, %v, %v, want one for the second source", all[0].Err, all[1].Err, all[2].Err)
		}
		if all[0].Conns == 0 || all[1].Conns != 0 || all[2].Conns == 0 {
			t.Errorf("got %d, %d and %d connections, want some to the first and the third source", all[0].Conns, all[1].Conns, all[2].Conns)
		}
		if got, sent := all[2].Received, r.mirror.Sent(); got > sent || got < sent-1<<20 {
			t.Errorf("the mirror has sent %d bytes, and %d are shown", sent, got)
		}
		d := w.handle.Detail()
		if p, _ := w.handle.Progress(); d.Held.Len() > p.Have || d.Held.Len() == 0 || d.Waiting != (Pause{}) {
			t.Errorf("got %d held bytes of %d, and the pause %v", d.Held.Len(), p.Have, d.Waiting)
		}
		w.end(r.f)
	})
}

// The Handle stays valid when a mirror goes on instead of a URL that fails.
func TestHandleFallback(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 16<<20)
		r.srv.Set(faultserver.Status(404, -1))
		w := r.watch("f", func(q *Request) { q.Mirrors = []string{r.mirrorURL()} })
		w.until("the mirror", func() bool { all := w.sources(); return len(all) == 2 && all[1].Received > 1<<20 })
		all := w.sources()
		if all[0].Err == nil || !strings.Contains(all[0].Err.Error(), "404") || all[1].Err != nil || all[1].Conns == 0 {
			t.Errorf("got sources %+v, want an error of the first, and connections to the second", all)
		}
		w.end(r.f)
	})
}

// The Handle stays valid when the file is fetched again because its digest is wrong.
func TestHandleWrongDigest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 16 << 20
		r := newMirrorRig(t, size)
		wrong := faultserver.NewFile(size, 2)
		r.srv.Put("f", wrong)
		r.mirror.Close()
		right := r.newServer()
		right.Put("f", r.f)
		right.Set(faultserver.Rate(10 << 20))
		w := r.watch("f", func(q *Request) {
			q.Mirrors = []string{right.URL + "/f"}
			q.Sum = digestOf(t, "sha256", r.f)
		})
		w.until("the second source", func() bool { all := w.sources(); return len(all) == 2 && all[1].Received > 1<<20 })
		if all := w.sources(); all[0].Received < size || w.received() < size {
			t.Errorf("got sources %+v and %d bytes in all, want the bytes of the first download, too", all, w.received())
		}
		w.end(r.f)
		if w.res.Retries != 1 {
			t.Errorf("got %d retries, want 1", w.res.Retries)
		}
	})
}

// Detail says why a download waits, and until when, and no longer when it runs again.
func TestHandleWaiting(t *testing.T) {
	const size = 4 << 20
	tests := map[string]struct {
		prepare func(r *rig)
		err     string        // part of the reason
		until   time.Duration // from the begin; 0 if it is not known
	}{
		"a failure": {func(r *rig) {
			r.opts.Retry.Wait, r.opts.Retry.MaxWait = time.Minute, time.Minute
			r.srv.Set(faultserver.First(2, faultserver.Status(500, -1))) // the second answers the request without a range
		}, "500", time.Minute},
		"Retry-After":       {func(r *rig) { r.srv.Set(faultserver.First(1, faultserver.Status(503, 90))) }, "503", 90 * time.Second},
		"too many requests": {func(r *rig) { r.srv.Set(faultserver.First(1, faultserver.Status(429, 60))) }, "429", time.Minute},
		"not ready":         {func(r *rig) { r.srv.Set(faultserver.First(1, faultserver.Status(202, 30))) }, "202", 30 * time.Second},
		"the request rate": {func(r *rig) {
			r.opts.RequestRate = 0.01
			r.srv.Put("g", faultserver.NewFile(size, 1))
			r.srv.Set(faultserver.Redirect("/f", "/g"))
		}, "limit of requests", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(size, 1)
				r.srv.Put("f", f)
				tt.prepare(r)
				begun := time.Now()
				w := r.watch("f")
				time.Sleep(5 * time.Second)
				got := w.handle.Detail().Waiting
				if got.Err == nil || !strings.Contains(got.Err.Error(), tt.err) {
					t.Errorf("got %v, want %q", got.Err, tt.err)
				}
				if until := got.Until.Sub(begun); !got.Until.IsZero() && (until < tt.until*2/3 || until > tt.until*3/2) || got.Until.IsZero() != (tt.until == 0) {
					t.Errorf("got a wait until %v, want about %v", until, tt.until)
				}
				w.end(f)
			})
		})
	}
}

// A download that waits for a connection says so.
func TestHandleWaitsForConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.opts.Connections = 1
		f := faultserver.NewFile(4<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.ConnRate(1 << 20))
		d := New(r.store, r.opts)
		defer d.Close()
		var handles [2]Handle
		var all sync.WaitGroup
		for i := range handles {
			all.Go(func() {
				if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/f", Into: File{Dir: t.TempDir()}, Handle: &handles[i]}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		waiting := 0
		for i := range handles {
			if err := handles[i].Detail().Waiting.Err; err != nil && err != errNoRoom {
				t.Errorf("got %v, want %v", err, errNoRoom)
			} else if err != nil {
				waiting++
			}
		}
		if waiting != 1 {
			t.Errorf("got %d downloads that wait, want 1", waiting)
		}
		all.Wait()
	})
}

// The events of a request are those of Options.OnEvent that concern it. A Handle that is in use is refused.
func TestRequestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.srv.Put("a", faultserver.NewFile(2<<20, 1))
		r.srv.Put("b", faultserver.NewFile(2<<20, 2))
		r.srv.Set(faultserver.ConnRate(64<<10), faultserver.First(1, faultserver.Status(503, -1)))
		d := New(r.store, r.opts)
		defer d.Close()
		h := new(Handle)
		events := make(map[string][]Event) // by name; guarded as Options.OnEvent says
		var all sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			all.Go(func() {
				req := Request{URL: r.srv.URL + "/" + name, Into: File{Dir: r.dir}}
				req.OnEvent = func(e Event) { events[name] = append(events[name], e) }
				if name == "a" {
					req.Handle = h
				}
				if _, err := d.Get(t.Context(), req); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/b", Into: File{Dir: t.TempDir()}, Handle: h}); !errors.Is(err, failure.ErrUsage) {
			t.Errorf("a Handle in use: got error %v, want ErrUsage", err)
		}
		all.Wait()
		if len(events["a"])+len(events["b"]) != len(r.events) {
			t.Errorf("got %d and %d events, want %d in all", len(events["a"]), len(events["b"]), len(r.events))
		}
		for name, es := range events {
			if len(es) < 2 || es[len(es)-1].Kind != Finished || es[0].URL != r.srv.URL+"/"+name {
				t.Errorf("%s: got events %v", name, es)
			}
		}
		r.srv.Put("c", faultserver.NewFile(1000, 3))
		r.mustGet("c", faultserver.NewFile(1000, 3), func(q *Request) { q.Handle = h }) // it is free again
	})
}

// A new download has the ID of the request: a large and a small file, an interrupted one that another
// process resumes, one that is there already, one that has changed, and one that a mirror sends.
func TestRequestID(t *testing.T) {
	const id = store.ID("0123456789abcdef")
	withID := func(q *Request) { q.ID = id }
	tests := map[string]func(r *rig, f faultserver.File) Result{
		"large": func(r *rig, f faultserver.File) Result { return r.mustGet("f", f, withID) },
		"small": func(r *rig, f faultserver.File) Result {
			f.Size = 1000
			r.srv.Put("f", f)
			return r.mustGet("f", f, withID, func(q *Request) { q.Into = File{Dir: r.dir, Released: func() {}} })
		},
		"interrupted": func(r *rig, f faultserver.File) Result {
			r.srv.Set(faultserver.Rate(8 << 20))
			if err := r.getUntilSent(1<<20, "f", withID); !errors.Is(err, errTestCancel) {
				r.t.Fatal(err)
			}
			if rec := r.record(); rec.ID != id {
				r.t.Errorf("after the interruption: got ID %s", rec.ID)
			}
			var err error
			if r.store, err = store.Open(r.state, store.Options{}); err != nil {
				r.t.Fatal(err)
			}
			return r.mustGet("f", f, func(q *Request) { q.ID = "fedcba9876543210" }) // a download on record keeps its own
		},
		"there already": func(r *rig, f faultserver.File) Result {
			b := make([]byte, f.Size)
			f.ReadAt(b, 0)
			if err := os.WriteFile(filepath.Join(r.dir, "f"), b, 0o600); err != nil {
				r.t.Fatal(err)
			}
			res, err := r.get(r.t.Context(), "f", withID, func(q *Request) { q.Sum = digestOf(r.t, "sha256", f) })
			if err != nil || !res.Current {
				r.t.Errorf("got %+v, error %v, want the file that is there", res, err)
			}
			return res
		},
		"changed": func(r *rig, f faultserver.File) Result {
			r.mustGet("f", f, withID)
			f = faultserver.NewFile(f.Size, 2)
			r.srv.Put("f", f)
			return r.mustGet("f", f, withID)
		},
		"changed and interrupted": func(r *rig, f faultserver.File) Result {
			r.mustGet("f", f, withID)
			r.srv.Put("f", faultserver.NewFile(f.Size, 2))
			r.srv.Set(faultserver.Rate(8 << 20))
			if err := r.getUntilSent(r.srv.Sent()+1<<20, "f", withID); !errors.Is(err, errTestCancel) {
				r.t.Fatal(err)
			}
			rec := r.record()
			for old := range r.store.Finished("") { // the file of the first download is as it was, under another ID
				if damaged, err := r.store.Damaged(r.t.Context(), old, old.Target); old.ID == id || err != nil || damaged.Len() > 0 {
					r.t.Errorf("the finished file: got ID %s, damage %v, error %v", old.ID, damaged, err)
				}
			}
			return Result{ID: rec.ID}
		},
		"a mirror": func(r *rig, f faultserver.File) Result {
			m := r.newServer()
			m.Put("f", f)
			r.srv.Set(faultserver.Status(404, -1))
			return r.mustGet("f", f, withID, func(q *Request) { q.Mirrors = []string{m.URL + "/f"} })
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(3<<20, 1)
				r.srv.Put("f", f)
				res := do(r, f)
				rec, err := r.store.Get(id)
				if err != nil || res.ID != id || filepath.Base(rec.Target) != "f" {
					t.Errorf("got the result %+v, the record %+v, error %v", res, rec, err)
				}
			})
		})
	}
}

// An ID that another download has, or that is none, is refused, and nothing is left behind.
func TestRequestIDRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const id = store.ID("0123456789abcdef")
		r := newRig(t)
		for name, size := range map[string]int64{"f": 1000, "g": 3 << 20, "h": 500} {
			r.srv.Put(name, faultserver.NewFile(size, 1))
		}
		r.mustGet("f", faultserver.NewFile(1000, 1), func(q *Request) { q.ID = id })
		for _, name := range []string{"g", "h"} {
			_, err := r.get(t.Context(), name, func(q *Request) { q.ID, q.Into = id, File{Dir: r.dir, Released: func() {}} })
			if !errors.Is(err, store.ErrIDTaken) {
				t.Errorf("%s with the ID of another: got error %v, want ErrIDTaken", name, err)
			}
		}
		for _, bad := range []store.ID{"1", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef0"} {
			if _, err := r.get(t.Context(), "g", func(q *Request) { q.ID = bad }); !errors.Is(err, failure.ErrUsage) {
				t.Errorf("ID %q: got error %v, want ErrUsage", bad, err)
			}
		}
		if all, err := os.ReadDir(r.dir); err != nil || len(all) != 1 {
			t.Errorf("got files %v, error %v, want f alone", all, err)
		}
	})
}

// A download says that its host wants a pause, also if another download was told so, and that other processes
// have all connections.
func TestHandleWaitsForOthers(t *testing.T) {
	tests := map[string]struct {
		fault faultserver.Fault
		err   error
		until bool // the end of the wait is known
	}{
		"the host rests":  {faultserver.First(1, faultserver.Status(429, 8)), errResting, true},
		"other processes": {faultserver.ConnRate(128 << 10), errOthersConnect, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.opts.Connections, r.opts.Timeouts.Stall = 1, time.Minute
				if tt.until {
					r.opts.Connections = 2
				}
				f := faultserver.NewFile(1<<20, 1)
				r.srv.Put("f", f)
				r.srv.Set(tt.fault)
				d := New(r.store, r.opts)
				defer d.Close()
				others := d
				if !tt.until {
					st, err := store.Open(r.state, store.Options{})
					if err != nil {
						t.Fatal(err)
					}
					others = New(st, r.opts)
					defer others.Close()
				}
				var all sync.WaitGroup
				get := func(d *Downloader, h *Handle) {
					if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/f", Into: File{Dir: t.TempDir()}, Handle: h}); err != nil {
						t.Error(err)
					}
				}
				all.Go(func() { get(others, nil) })
				time.Sleep(time.Second)
				h := new(Handle)
				all.Go(func() { get(d, h) })
				time.Sleep(2 * time.Second)
				if got := h.Detail().Waiting; got.Err != tt.err || got.Until.IsZero() == tt.until {
					t.Errorf("got %+v, want %v", got, tt.err)
				}
				all.Wait()
			})
		})
	}
}

// The limits of a Handle are in addition to those of the Downloader.
func TestHandleLimits(t *testing.T) {
	var h Handle
	h.SetConnections(3)
	for _, tt := range []struct {
		set  int64
		l    sched.Limit
		want sched.Limit
	}{
		{0, sched.Limit{Rate: 1e6, Low: true}, sched.Limit{Rate: 1e6, Low: true, Conns: 3}},
		{2e6, sched.Limit{Rate: 1e6}, sched.Limit{Rate: 1e6, Conns: 3}},
		{2e6, sched.Limit{Rate: 3e6}, sched.Limit{Rate: 2e6, Conns: 3}},
		{1000, sched.Limit{}, sched.Limit{Rate: 1000, Low: true, Conns: 3}},
		{-1, sched.Limit{}, sched.Limit{Conns: 3}},
	} {
		h.SetLimitRate(tt.set)
		if got := h.limit(tt.l); got != tt.want {
			t.Errorf("%d with %+v: got %+v, want %+v", tt.set, tt.l, got, tt.want)
		}
	}
}
