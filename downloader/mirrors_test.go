package downloader

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// A mirrorRig has a second server of the same file.
type mirrorRig struct {
	*rig
	second *faultserver.Server
	f      faultserver.File
}

// newMirrorRig serves f by the first server at 10 MiB/s and connection, and by the
// second one without a limit, both with the faults.
func newMirrorRig(t *testing.T, size int64) *mirrorRig {
	r := &mirrorRig{rig: newRig(t), second: faultserver.New(), f: faultserver.NewFile(size, 1)}
	t.Cleanup(r.second.Close)
	r.opts.Connections = 2
	r.srv.Put("f", r.f)
	r.second.Put("f", r.f)
	r.srv.Set(faultserver.Rate(10 << 20))
	r.second.Set(faultserver.Rate(40 << 20))
	return r
}

func (r *mirrorRig) url() string { return r.second.URL + "/f" }

// mirrored downloads f and checks it.
func (r *mirrorRig) mirrored(change ...func(*Request)) Result {
	r.t.Helper()
	return r.mustGet("f", r.f, append([]func(*Request){func(q *Request) { q.Mirrors = []string{r.url()} }}, change...)...)
}

// TestMirrors: a mirror is used beside the URL asked, and most comes from the faster
// one, by whatever proof that it has the same bytes.
func TestMirrors(t *testing.T) {
	const size = 24 << 20
	digest := faultserver.SetHeader("Repr-Digest", "sha-256=:AAAA:")
	otherTag := faultserver.SetHeader("ETag", `"another"`)
	tests := map[string]struct {
		first, second []faultserver.Fault
	}{
		"an equal ETag":           {},
		"an equal digest":         {[]faultserver.Fault{digest}, []faultserver.Fault{otherTag, digest}},
		"bytes":                   {nil, []faultserver.Fault{otherTag}},
		"bytes, no validators":    {[]faultserver.Fault{faultserver.NoValidators}, []faultserver.Fault{faultserver.NoValidators}},
		"bytes, by a weak entity": {nil, []faultserver.Fault{faultserver.SetHeader("ETag", `W/"1"`)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newMirrorRig(t, size)
			r.srv.Set(append(tt.first, faultserver.Rate(10<<20))...)
			r.second.Set(append(tt.second, faultserver.Rate(40<<20))...)
			if name == "bytes, no validators" {
				r.f.Modified = time.Time{}
			}
			r.mirrored(func(q *Request) {
				if name == "bytes, no validators" { // else one connection is used
					q.Sum = digestOf(t, "sha256", r.f)
				}
			})
			if first, second := r.srv.Sent(), r.second.Sent(); second < first || first == 0 || first+second > size*14/10 {
				t.Errorf("got %d bytes of the first, and %d of the mirror", first, second)
			}
		})
	}
}

// TestMirrorRefused: a mirror that has not the same file, or does not say so in a way
// that can be proven, gives nothing, and is named.
func TestMirrorRefused(t *testing.T) {
	const size = 6 << 20
	other := faultserver.NewFile(size, 2)
	tests := map[string]struct {
		file  faultserver.File
		fault faultserver.Fault
		why   string
	}{
		"other bytes":    {other, faultserver.NoValidators, "it has other bytes"},
		"other ETag too": {other, nil, "it has other bytes"},
		"another size":   {faultserver.NewFile(size+1, 1), nil, "its size was"},
		"no ranges":      {faultserver.NewFile(size, 1), faultserver.NoRanges, "whole files"},
		"not there":      {faultserver.NewFile(size, 1), faultserver.Status(404, -1), "404"},
		"a login page":   {faultserver.NewFile(size, 1), faultserver.LoginPart(true), "page"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newMirrorRig(t, size)
			r.second.Put("f", tt.file)
			if tt.fault != nil {
				r.second.Set(tt.fault)
			}
			r.mirrored()
			if !r.warned(tt.why) || !r.warned(r.url()) {
				t.Errorf("it was not told that %q: %v", tt.why, r.events)
			}
			if n := len(r.second.Requests()); n > 5 {
				t.Errorf("%d requests to it", n)
			}
		})
	}
}

// TestMirrorChanges: what a mirror gave that has another version later is fetched again.
func TestMirrorChanges(t *testing.T) {
	const size = 24 << 20
	r := newMirrorRig(t, size)
	r.second.Set(faultserver.CutAt(300<<10, func() { r.second.Put("f", faultserver.NewFile(size, 2)) }), faultserver.Rate(20<<20))
	r.mirrored()
	if !r.warned("is not used") || r.countEvents(Lost) == 0 {
		t.Errorf("it was not told: %v", r.events)
	}
}

// TestMirrorLies: a mirror whose beginning and end are right and whose other bytes are
// not is found out by the digest, or else by bytes at the end, and then all that it gave
// is fetched again.
func TestMirrorLies(t *testing.T) {
	const size = 24 << 20
	for _, sum := range []bool{true, false} {
		r := newMirrorRig(t, size)
		r.second.Set(func(next http.Handler) http.Handler {
			var asked atomic.Int64
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if asked.Add(1) > 5 { // the samples are right
					r.second.Put("f", faultserver.File{Size: size, Seed: 2, ETag: r.f.ETag, Modified: r.f.Modified})
				}
				next.ServeHTTP(w, q)
			})
		}, faultserver.SetHeader("ETag", `"of its own"`), faultserver.Rate(40<<20))
		r.mirrored(func(q *Request) {
			if sum {
				q.Sum = digestOf(t, "sha256", r.f)
			}
		})
		if r.second.Sent() < 1<<20 {
			t.Error("it was not used at all")
		}
		switch {
		case sum && (!r.warned("wrong bytes came from "+r.url()+";") || r.countEvents(Restarted) != 1):
			t.Errorf("it was not blamed: %v", r.events)
		case !sum && (!r.warned("is not used") || r.countEvents(Lost) == 0):
			t.Errorf("it was not told: %v", r.events)
		}
	}
}

// TestMirrorAlone: a mirror goes on where the URL asked fails, and it where the mirror
// fails.
func TestMirrorAlone(t *testing.T) {
	const size = 24 << 20
	tests := map[string]func(r *mirrorRig){
		"the first is gone": func(r *mirrorRig) { r.srv.Set(faultserver.Status(503, -1)) },
		"it refuses":        func(r *mirrorRig) { r.srv.Set(faultserver.Status(404, -1)) },
		"the mirror":        func(r *mirrorRig) { r.second.Set(faultserver.Status(503, -1)) },
		"the mirror dies":   func(r *mirrorRig) { r.second.Close() },
	}
	for name, fail := range tests {
		t.Run(name, func(t *testing.T) {
			r := newMirrorRig(t, size)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				if r.second.WaitSent(4<<20, stop) {
					fail(r)
					r.srv.CloseClientConnections()
				}
			}()
			r.mirrored()
		})
	}
}

// TestMirrorLinked: mirrors that the server names are used only if a digest proves what
// they send; what the user sends is not for them.
func TestMirrorLinked(t *testing.T) {
	r := newMirrorRig(t, 24<<20)
	link := faultserver.SetHeader("Link", "<"+r.url()+">; rel=duplicate")
	r.srv.Set(link, faultserver.Rate(40<<20))
	r.mustGet("f", r.f)
	if n := len(r.second.Requests()); n > 0 {
		t.Errorf("%d requests to a mirror that nobody vouches for", n)
	}
	r.srv.Set(link, faultserver.SetHeader("Repr-Digest", reprDigestOf(t, r.f)), faultserver.Rate(10<<20))
	r.mustGet("f", r.f, func(q *Request) { q.Header, q.Restart, q.Overwrite = http.Header{"X-Secret": {"s"}}, true, true })
	if r.second.Sent() < 1<<20 {
		t.Errorf("%d bytes came from it", r.second.Sent())
	}
	for _, q := range r.second.Requests() {
		if q.Header.Get("X-Secret") != "" {
			t.Fatal("it was told what is for the first one")
		}
	}
}

// reprDigestOf is the Repr-Digest field of f.
func reprDigestOf(t *testing.T, f faultserver.File) string {
	t.Helper()
	digest, err := hex.DecodeString(strings.TrimPrefix(digestOf(t, "sha256", f).String(), "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(digest) + ":"
}

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
