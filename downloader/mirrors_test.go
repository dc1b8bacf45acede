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

// A mirrorRig has a second server, which is a mirror of the file f of the first one.
type mirrorRig struct {
	*rig
	mirror *faultserver.Server
	f      faultserver.File
}

// newMirrorRig returns a rig with a file of size bytes. The origin sends 10 MiB/s and the
// mirror 40 MiB/s. The download may open two connections to each.
func newMirrorRig(t *testing.T, size int64) *mirrorRig {
	r := &mirrorRig{rig: newRig(t), f: faultserver.NewFile(size, 1)}
	r.mirror = r.newServer()
	r.opts.Connections = 2
	r.srv.Put("f", r.f)
	r.mirror.Put("f", r.f)
	r.srv.Set(faultserver.Rate(10 << 20))
	r.mirror.Set(faultserver.Rate(40 << 20))
	return r
}

// mirrorURL returns the URL of f at the mirror.
func (r *mirrorRig) mirrorURL() string { return r.mirror.URL + "/f" }

// mustGetMirrored downloads f with the mirror, and checks it.
func (r *mirrorRig) mustGetMirrored(change ...func(*Request)) Result {
	r.t.Helper()
	return r.mustGet("f", r.f, append([]func(*Request){func(q *Request) { q.Mirrors = []string{r.mirrorURL()} }}, change...)...)
}

// A mirror is used beside the origin once its samples are equal, whether or not the validators
// of both are. The faster server sends more of the file.
func TestMirrors(t *testing.T) {
	const size = 24 << 20
	digest := faultserver.SetHeader("Repr-Digest", "sha-256=:AAAA:")
	otherETag := faultserver.SetHeader("ETag", `"another"`)
	tests := map[string]struct {
		origin, mirror []faultserver.Fault
	}{
		"equal ETags":     {},
		"equal digests":   {[]faultserver.Fault{digest}, []faultserver.Fault{otherETag, digest}},
		"different ETags": {nil, []faultserver.Fault{otherETag}},
		"no validators":   {[]faultserver.Fault{faultserver.NoValidators}, []faultserver.Fault{faultserver.NoValidators}},
		"a weak ETag":     {nil, []faultserver.Fault{faultserver.SetHeader("ETag", `W/"1"`)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newMirrorRig(t, size)
				r.srv.Set(append(tt.origin, faultserver.Rate(10<<20))...)
				r.mirror.Set(append(tt.mirror, faultserver.Rate(40<<20))...)
				if name == "no validators" {
					r.f.Modified = time.Time{}
				}
				r.mustGetMirrored(func(q *Request) {
					if name == "no validators" { // without a digest, the download would use one connection
						q.Sum = digestOf(t, "sha256", r.f)
					}
				})
				if origin, mirror := r.srv.Sent(), r.mirror.Sent(); mirror < origin || origin == 0 || origin+mirror > size*14/10 {
					t.Errorf("got %d bytes from the origin and %d from the mirror, want more from the mirror, and at most %d in all", origin, mirror, size*14/10)
				}
			})
		})
	}
}

// A mirror is not used if it has other bytes, another size, no ranges, no file or a web page. A
// warning names the mirror and the reason.
func TestMirrorNotUsed(t *testing.T) {
	const size = 6 << 20
	other := faultserver.NewFile(size, 2)
	tests := map[string]struct {
		file  faultserver.File
		fault faultserver.Fault
		why   string // in the warning
	}{
		"other bytes":          {other, faultserver.NoValidators, "it has other bytes"},
		"other bytes and ETag": {other, nil, "it has other bytes"},
		"another size":         {faultserver.NewFile(size+1, 1), nil, "its size was"},
		"no ranges":            {faultserver.NewFile(size, 1), faultserver.NoRanges, "whole files"},
		"no file":              {faultserver.NewFile(size, 1), faultserver.Status(404, -1), "404"},
		"a login page":         {faultserver.NewFile(size, 1), faultserver.LoginPart(true), "page"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newMirrorRig(t, size)
				r.mirror.Put("f", tt.file)
				if tt.fault != nil {
					r.mirror.Set(tt.fault)
				}
				r.mustGetMirrored()
				if !r.warned(tt.why) || !r.warned(r.mirrorURL()) {
					t.Errorf("got events %v, want a warning with %q and the URL", r.events, tt.why)
				}
				if n := len(r.mirror.Requests()); n > 5 {
					t.Errorf("got %d requests to the mirror, want at most 5", n)
				}
			})
		})
	}
}

// If a mirror shows another version after it has sent bytes, it is no longer used, and its
// bytes are discarded and fetched again.
func TestMirrorChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 24 << 20
		r := newMirrorRig(t, size)
		r.mirror.Set(faultserver.CutAt(300<<10, func() { r.mirror.Put("f", faultserver.NewFile(size, 2)) }), faultserver.Rate(20<<20))
		r.mustGetMirrored()
		if !r.warned("is not used") || r.countEvents(Lost) == 0 {
			t.Errorf("got events %v, want a warning and Lost", r.events)
		}
	})
}

// A mirror whose samples are right and whose other bytes are wrong is found by the digest, or
// without a digest by samples at the end. All its bytes are fetched again.
func TestMirrorLies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 24 << 20
		for _, withDigest := range []bool{true, false} {
			r := newMirrorRig(t, size)
			r.mirror.Set(func(next http.Handler) http.Handler {
				var requests atomic.Int64
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if requests.Add(1) > 5 { // the samples before were right
						r.mirror.Put("f", faultserver.File{Size: size, Seed: 2, ETag: r.f.ETag, Modified: r.f.Modified})
					}
					next.ServeHTTP(w, q)
				})
			}, faultserver.SetHeader("ETag", `"of its own"`), faultserver.Rate(40<<20))
			r.mustGetMirrored(func(q *Request) {
				if withDigest {
					q.Sum = digestOf(t, "sha256", r.f)
				}
			})
			if r.mirror.Sent() < 1<<20 {
				t.Errorf("got %d bytes from the mirror, want at least 1 MiB", r.mirror.Sent())
			}
			switch {
			case withDigest && (!r.warned("wrong bytes came from "+r.mirrorURL()+";") || r.countEvents(Restarted) != 1):
				t.Errorf("got events %v, want a warning that blames the mirror, and one Restarted", r.events)
			case !withDigest && (!r.warned("is not used") || r.countEvents(Lost) == 0):
				t.Errorf("got events %v, want a warning that the mirror is not used, and Lost", r.events)
			}
		}
	})
}

// If the origin fails during a download, the mirror sends the rest. If the mirror fails, the
// origin does.
func TestOneSourceFails(t *testing.T) {
	const size = 24 << 20
	tests := map[string]func(r *mirrorRig){
		"the origin is busy":     func(r *mirrorRig) { r.srv.Set(faultserver.Status(503, -1)) },
		"the origin has no file": func(r *mirrorRig) { r.srv.Set(faultserver.Status(404, -1)) },
		"the mirror is busy":     func(r *mirrorRig) { r.mirror.Set(faultserver.Status(503, -1)) },
		"the mirror is gone":     func(r *mirrorRig) { r.mirror.Close() },
	}
	for name, fail := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newMirrorRig(t, size)
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					if r.mirror.WaitSent(4<<20, stop) {
						fail(r)
						r.srv.CloseClientConnections()
					}
				}()
				r.mustGetMirrored()
			})
		})
	}
}

// A mirror from a Link field is used only if a digest proves its bytes. It does not get the
// headers of the user.
func TestMirrorFromLinkField(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 24<<20)
		link := faultserver.SetHeader("Link", "<"+r.mirrorURL()+">; rel=duplicate")
		r.srv.Set(link, faultserver.Rate(40<<20))
		r.mustGet("f", r.f)
		if n := len(r.mirror.Requests()); n > 0 {
			t.Errorf("without a digest: got %d requests to the mirror, want 0", n)
		}
		r.srv.Set(link, faultserver.SetHeader("Repr-Digest", reprDigestOf(t, r.f)), faultserver.Rate(10<<20))
		r.mustGet("f", r.f, func(q *Request) {
			q.Access.Header, q.Existing.Restart, q.Existing.InTheWay = http.Header{"X-Secret": {"s"}}, true, Replace
		})
		if r.mirror.Sent() < 1<<20 {
			t.Errorf("with a digest: got %d bytes from the mirror, want at least 1 MiB", r.mirror.Sent())
		}
		for _, q := range r.mirror.Requests() {
			if q.Header.Get("X-Secret") != "" {
				t.Fatal("the mirror got a header of the user")
			}
		}
	})
}

// reprDigestOf returns the value of the Repr-Digest field of f.
func reprDigestOf(t *testing.T, f faultserver.File) string {
	t.Helper()
	digest, err := hex.DecodeString(strings.TrimPrefix(digestOf(t, "sha256", f).String(), "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(digest) + ":"
}

// User and password in the URL of the origin are not sent to mirrors.
func TestMirrorGetsNoPassword(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 24<<20)
		r.mustGetMirrored(func(q *Request) { q.URL = strings.Replace(q.URL, "http://", "http://user:password@", 1) })
		for _, q := range r.srv.Requests() {
			if q.Header.Get("Authorization") == "" {
				t.Fatal("the origin got no Authorization field")
			}
		}
		for _, q := range r.mirror.Requests() {
			if got := q.Header.Get("Authorization"); got != "" {
				t.Fatalf("the mirror got Authorization %q", got)
			}
		}
	})
}

// A download uses at most maxActiveMirrors of its mirrors at the same time.
func TestMaxActiveMirrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 48<<20)
		r.srv.Set(faultserver.Rate(4 << 20))
		var mirrors []*faultserver.Server
		var urls []string
		for range 14 {
			s := r.newServer()
			s.Put("f", r.f)
			s.Set(faultserver.Rate(1 << 20))
			mirrors = append(mirrors, s)
			urls = append(urls, s.URL+"/f")
		}
		r.mustGetMirrored(func(q *Request) { q.Mirrors = urls })
		used := 0
		for _, s := range mirrors {
			if s.Sent() > 200<<10 { // more than the samples
				used++
			}
		}
		if used > maxActiveMirrors {
			t.Errorf("got bytes from %d mirrors, want at most %d", used, maxActiveMirrors)
		}
	})
}

// A mirror that grants two connections and refuses more is still used.
func TestMirrorWithTwoConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 48<<20)
		r.opts.Connections = 8
		r.srv.Set(faultserver.Rate(5 << 20))
		r.mirror.Set(faultserver.Slots(func() int64 { return 2 }, faultserver.Status(503, -1)), faultserver.Rate(20<<20))
		r.mustGetMirrored()
		if r.warned("is not used") {
			t.Errorf("the mirror is no longer used: %v", r.events)
		}
		t.Logf("%d MiB from the origin, %d MiB from the mirror", r.srv.Sent()>>20, r.mirror.Sent()>>20)
	})
}

// While a mirror asks for a long pause with Retry-After, the origin sends the rest.
func TestMirrorRetryAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 48<<20)
		r.opts.Connections = 4
		r.srv.Set(faultserver.Rate(10 << 20))
		r.mirror.Set(faultserver.Only(func(n int) bool { return n == 6 }, faultserver.Status(429, 25)), faultserver.Rate(10<<20))
		began := time.Now()
		r.mustGetMirrored()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the download took %v, want at most 10s", took)
		}
		t.Logf("%d requests to the mirror", len(r.mirror.Requests()))
	})
}

// If the origin fails for good, a mirror with another ETag sends the rest, and the download
// does not wait for the origin in order to compare the bytes at the end.
func TestMirrorWithOwnETagAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 24<<20)
		r.opts.Retry.Tries = -1
		r.mirror.Set(faultserver.SetHeader("ETag", `"own"`), faultserver.Rate(20<<20))
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			if r.mirror.WaitSent(4<<20, stop) {
				r.srv.Set(faultserver.Status(503, -1))
				r.srv.CloseClientConnections()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := r.get(ctx, "f", func(q *Request) { q.Mirrors = []string{r.mirrorURL()} })
		if err != nil {
			t.Errorf("got error %v after %d MiB from the origin and %d MiB from the mirror", err, r.srv.Sent()>>20, r.mirror.Sent()>>20)
		}
	})
}

// If the origin fails and one mirror has another file, the other mirror sends the rest.
func TestOneMirrorWrong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 24<<20)
		wrong := r.newServer()
		wrong.Put("f", faultserver.NewFile(24<<20, 7))
		r.srv.Set(faultserver.CutAt(4<<20, func() { r.srv.Set(faultserver.Status(503, -1)) }))
		r.opts.Retry.Tries = 2
		_, err := r.get(t.Context(), "f", func(q *Request) { q.Mirrors = []string{wrong.URL + "/f", r.mirrorURL()} })
		if err != nil {
			t.Errorf("got error %v, events %v", err, r.events)
		}
	})
}

// If a mirror has the ETag of the origin and other bytes, none of its bytes are used.
func TestMirrorWithSameETagAndOtherBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 24<<20)
		r.mirror.Put("f", faultserver.File{Size: 24 << 20, Seed: 9, ETag: r.f.ETag, Modified: r.f.Modified})
		r.mustGetMirrored()
	})
}

// A mirror that responds slowly and grants one connection is still used.
func TestMirrorWithOneConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 48<<20)
		r.opts.Connections = 8
		r.srv.Set(faultserver.Rate(5 << 20))
		r.mirror.Set(faultserver.Delay(100*time.Millisecond), faultserver.Slots(func() int64 { return 1 }, faultserver.Status(503, -1)), faultserver.Rate(10<<20))
		r.mustGetMirrored()
		if r.warned("is not used") {
			t.Errorf("the mirror is no longer used: %v", r.events)
		}
		t.Logf("%d MiB from the origin, %d MiB from the mirror", r.srv.Sent()>>20, r.mirror.Sent()>>20)
	})
}

// One mirror sends wrong bytes after right samples, and later responds with 404. When another
// mirror changes its version, the wrong bytes of the first one are found, too.
func TestTwoMirrorsChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 48 << 20
		r := newMirrorRig(t, size)
		third := r.newServer()
		third.Put("f", r.f)
		var requests atomic.Int64
		var gone atomic.Bool
		r.srv.Set(faultserver.Rate(5 << 20))
		r.mirror.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if requests.Add(1) > 5 {
					r.mirror.Put("f", faultserver.File{Size: size, Seed: 2, Modified: r.f.Modified}) // the samples before were right
				}
				if gone.Load() {
					w.WriteHeader(404)
					return
				}
				next.ServeHTTP(w, q)
			})
		}, faultserver.SetHeader("ETag", `"of its own"`), faultserver.Rate(5<<20))
		third.Set(faultserver.CutAt(1<<20, func() { gone.Store(true); third.Put("f", faultserver.NewFile(size, 3)) }), faultserver.Rate(5<<20))
		r.mustGetMirrored(func(q *Request) { q.Mirrors = []string{r.mirrorURL(), third.URL + "/f"} })
		t.Logf("events: %v", r.events)
	})
}

// After an interruption, the bytes of a mirror that only samples have proved are compared again
// with the origin. The mirrors are in the record, so the request need not name them again.
func TestResumeWithMirrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 24 << 20
		r := newMirrorRig(t, size)
		r.mirror.Set(faultserver.SetHeader("ETag", `"of its own"`), faultserver.Rate(40<<20))
		withMirror := func(q *Request) { q.Mirrors = []string{r.mirrorURL()} }
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			if r.mirror.WaitSent(3<<20, stop) {
				cancel(errTestCancel)
			}
		}()
		if _, err := r.get(ctx, "f", withMirror); !errors.Is(err, errTestCancel) {
			t.Fatal(err)
		}
		rec := r.record()
		if !rec.Mixed || len(rec.Mirrors) != 1 || rec.Mirrors[0] != r.mirrorURL() {
			t.Fatalf("record: got mixed %v, mirrors %q, want true, %q", rec.Mixed, rec.Mirrors, r.mirrorURL())
		}
		r.srv.Reset()
		r.mirror.Reset()
		r.mustGet("f", r.f, func(q *Request) { q.Into, q.URL = Recorded{rec.ID}, "" })
		samples := 0
		for _, q := range r.srv.Requests() {
			if q.Bytes == sampleSize {
				samples++
			}
		}
		if samples < 4 || r.mirror.Sent() == 0 {
			t.Errorf("got %d samples from the origin and %d bytes from the mirror, want at least 4 and 1", samples, r.mirror.Sent())
		}
	})
}
