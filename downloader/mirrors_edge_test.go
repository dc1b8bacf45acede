package downloader

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

func TestEdgeUserinfo(t *testing.T) {
	r := newMirrorRig(t, 24<<20)
	r.mirrored(func(q *Request) { q.URL = strings.Replace(q.URL, "http://", "http://me:secret@", 1) })
	for _, q := range r.srv.Requests() {
		if q.Header.Get("Authorization") == "" {
			t.Fatal("the URL asked got none")
		}
	}
	for _, q := range r.second.Requests() {
		if a := q.Header.Get("Authorization"); a != "" {
			t.Fatalf("the mirror got %q", a)
		}
	}
}

func TestEdgeManyMirrors(t *testing.T) {
	r := newMirrorRig(t, 48<<20)
	r.srv.Set(faultserver.Rate(4 << 20))
	var all []*faultserver.Server
	var urls []string
	for range 14 {
		s := faultserver.New()
		t.Cleanup(s.Close)
		s.Put("f", r.f)
		s.Set(faultserver.Rate(1 << 20))
		all = append(all, s)
		urls = append(urls, s.URL+"/f")
	}
	r.mirrored(func(q *Request) { q.Mirrors = urls })
	n := 0
	for _, s := range all {
		if s.Sent() > 200<<10 {
			n++
		}
	}
	if n > maxActiveMirrors {
		t.Errorf("%d mirrors were used", n)
	}
}

func TestEdgeMirrorSlots(t *testing.T) {
	r := newMirrorRig(t, 48<<20)
	r.opts.Connections = 8
	r.srv.Set(faultserver.Rate(5 << 20))
	r.second.Set(faultserver.Slots(func() int64 { return 2 }, faultserver.Status(503, -1)), faultserver.Rate(20<<20))
	r.mirrored()
	if r.warned("is not used") {
		t.Errorf("put aside: %v", r.events)
	}
	t.Log(r.srv.Sent()>>20, r.second.Sent()>>20)
}

func TestEdgeMirrorRetryAfter(t *testing.T) {
	r := newMirrorRig(t, 48<<20)
	r.opts.Connections = 4
	r.srv.Set(faultserver.Rate(10 << 20))
	r.second.Set(faultserver.Only(func(n int) bool { return n == 6 }, faultserver.Status(429, 25)), faultserver.Rate(10<<20))
	begun := time.Now()
	r.mirrored()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	t.Log(len(r.second.Requests()), time.Since(begun))
}

func TestEdgeCompareDead(t *testing.T) {
	r := newMirrorRig(t, 24<<20)
	r.opts.Tries = -1
	r.second.Set(faultserver.SetHeader("ETag", `"own"`), faultserver.Rate(20<<20))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		if r.second.WaitSent(4<<20, stop) {
			r.srv.Set(faultserver.Status(503, -1))
			r.srv.CloseClientConnections()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := r.get(ctx, "f", func(q *Request) { q.Mirrors = []string{r.url()} })
	if err != nil {
		t.Error(err, r.second.Sent()>>20, r.srv.Sent()>>20)
	}
}

func TestEdgeOtherMirrorWrong(t *testing.T) {
	r := newMirrorRig(t, 24<<20)
	wrong := faultserver.New()
	t.Cleanup(wrong.Close)
	wrong.Put("f", faultserver.NewFile(24<<20, 7))
	r.srv.Set(faultserver.CutAt(4<<20, func() { r.srv.Set(faultserver.Status(503, -1)) }))
	r.opts.Tries = 2
	_, err := r.get(t.Context(), "f", func(q *Request) { q.Mirrors = []string{wrong.URL + "/f", r.url()} })
	if err != nil {
		t.Error(err)
	}
	for _, e := range r.events {
		t.Log(e.Kind, e.Err)
	}
}

func TestEdgeSameETag(t *testing.T) {
	r := newMirrorRig(t, 24<<20)
	r.second.Put("f", faultserver.File{Size: 24 << 20, Seed: 9, ETag: r.f.ETag, Modified: r.f.Modified})
	r.mirrored()
}

// A cancelled outage is not noted as a limit of the host.
func TestEdgeOutageNote(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(200<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.ConnRate(4 << 20))
	r.opts.Tries = -1
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		if r.srv.WaitSent(24<<20, stop) {
			r.srv.Set(faultserver.NoResponse)
			r.srv.Set(faultserver.ResetFirst)
			r.srv.CloseClientConnections()
			time.Sleep(2 * time.Second)
			cancel()
		}
	}()
	_, err := r.get(ctx, "f")
	n, _ := r.store.Host("http://" + strings.TrimPrefix(r.srv.URL, "http://"))
	t.Logf("%v %+v", err, n)
	if n.Limit != 0 {
		t.Errorf("an outage is noted as a limit: %+v", n)
	}
}

func TestEdgeMirrorOne(t *testing.T) {
	r := newMirrorRig(t, 48<<20)
	r.opts.Connections = 8
	r.srv.Set(faultserver.Rate(5 << 20))
	r.second.Set(faultserver.Delay(100*time.Millisecond), faultserver.Slots(func() int64 { return 1 }, faultserver.Status(503, -1)), faultserver.Rate(10<<20))
	r.mirrored()
	if r.warned("is not used") {
		t.Errorf("put aside: %v", r.events)
	}
	t.Log(r.srv.Sent()>>20, r.second.Sent()>>20)
}

func TestEdgeGaveKept(t *testing.T) {
	const size = 48 << 20
	r := newMirrorRig(t, size)
	third := faultserver.New()
	t.Cleanup(third.Close)
	third.Put("f", r.f)
	var asked atomic.Int64
	var dead atomic.Bool
	r.srv.Set(faultserver.Rate(5 << 20))
	r.second.Set(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if asked.Add(1) > 5 {
				r.second.Put("f", faultserver.File{Size: size, Seed: 2, Modified: r.f.Modified})
			}
			if dead.Load() {
				w.WriteHeader(404)
				return
			}
			next.ServeHTTP(w, q)
		})
	}, faultserver.SetHeader("ETag", `"of its own"`), faultserver.Rate(5<<20))
	third.Set(faultserver.CutAt(1<<20, func() { dead.Store(true); third.Put("f", faultserver.NewFile(size, 3)) }), faultserver.Rate(5<<20))
	r.mirrored(func(q *Request) { q.Mirrors = []string{r.url(), third.URL + "/f"} })
	for _, e := range r.events {
		t.Log(e.Kind, e.Err)
	}
}

// TestEdgeMixedKept: after an interruption bytes of a mirror that only samples have
// proven are compared again, and the mirrors are known without being named.
func TestEdgeMixedKept(t *testing.T) {
	const size = 24 << 20
	r := newMirrorRig(t, size)
	r.second.Set(faultserver.SetHeader("ETag", `"of its own"`), faultserver.Rate(40<<20))
	mirror := func(q *Request) { q.Mirrors = []string{r.url()} }
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		if r.second.WaitSent(3<<20, stop) {
			cancel(errTestCancel)
		}
	}()
	if _, err := r.get(ctx, "f", mirror); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	rec := r.record()
	if !rec.Mixed || len(rec.Mirrors) != 1 || rec.Mirrors[0] != r.url() {
		t.Fatalf("on record: mixed %v, mirrors %q", rec.Mixed, rec.Mirrors)
	}
	r.srv.Reset()
	r.second.Reset()
	r.mustGet("f", r.f, func(q *Request) { q.ID, q.URL = rec.ID, "" })
	small := 0
	for _, q := range r.srv.Requests() {
		if q.Bytes == sampleSize {
			small++
		}
	}
	if small < 4 || r.second.Sent() == 0 {
		t.Errorf("%d samples were compared, and %d bytes came from the mirror", small, r.second.Sent())
	}
}
