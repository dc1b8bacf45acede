package mirror

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/store"
)

// serve starts a server and returns its URL.
func (r *rig) serve(h http.HandlerFunc) string {
	s := r.net.Serve(h)
	r.t.Cleanup(s.Close)
	return s.URL
}

// blob returns n bytes that depend on seed.
func blob(n int, seed byte) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i/251) + seed
	}
	return string(b)
}

// content serves body with a strong ETag and with ranges.
func content(name string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("ETag", `"x"`)
		http.ServeContent(w, q, name, time.Unix(1e9, 0), strings.NewReader(body))
	}
}

// TestDownHostOtherSource: a file of a host that is down is fetched from its second source.
func TestDownHostOtherSource(t *testing.T) {
	r := newRig(t)
	live := r.serve(content("y", "hello"))
	dead := "http://127.0.0.1:1"
	text := dead + "/x1\n" + dead + "/x2\n" + dead + "/y\t" + live + "/y\n"
	c, _ := r.run(t.Context(), text, func(o *Options) { o.Jobs = 1; o.Rounds = 2 })
	if c.Fetched != 1 {
		t.Errorf("got %+v, want y fetched; y: %v", c, r.outcomes["y"].Err)
	}
}

// TestNamesNotUTF8: two names that differ only in bytes that are not UTF-8 are two files, in both
// runs.
func TestNamesNotUTF8(t *testing.T) {
	r := newRig(t)
	live := r.serve(func(w http.ResponseWriter, q *http.Request) { content("x", "of "+q.URL.Path)(w, q) })
	text := live + "/a\n  out=caf\xe9\n" + live + "/b\n  out=caf\xe8\n"
	for _, want := range []Counts{{Fetched: 2}, {Current: 2}} {
		c, err := r.run(t.Context(), text)
		if got := ls(r.dir); err != nil || c.Fetched != want.Fetched || c.Current != want.Current || len(got) != 2 {
			t.Errorf("got %+v, %v, %q, want %+v", c, err, got, want)
		}
	}
}

// TestQueueWithoutFile: if the queue cannot create its file, the run fails, and each item that does
// not fit in memory is reported as Pending.
func TestQueueWithoutFile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		live := r.serve(func(w http.ResponseWriter, q *http.Request) {
			time.Sleep(50 * time.Millisecond)
			content("x", "x")(w, q)
		})
		var text strings.Builder
		for i := range 8000 {
			fmt.Fprintf(&text, "%s/%0700d\n  out=f%d\n", live, i, i)
		}
		c, err := r.run(t.Context(), text.String(), func(o *Options) { o.Temp = filepath.Join(r.dir, "none") })
		if err == nil || len(r.outcomes) != c.Listed || c.Waiting() != 0 {
			t.Errorf("got %v, %+v and %d outcomes, want an error, and one outcome for each file", err, c, len(r.outcomes))
		}
	})
}

// ls returns the files below dir as NAME:SIZE.
func ls(dir string) (names []string) {
	filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, fmt.Sprintf("%s:%d", rel, i.Size()))
		}
		return nil
	})
	return names
}

// TestServerClosesEarly: a server closes each connection after 64 KiB; small files are completed by
// further range requests.
func TestServerClosesEarly(t *testing.T) {
	r := newRig(t)
	body := blob(200<<10, 1)
	live := r.serve(func(w http.ResponseWriter, q *http.Request) {
		content("x", body)(&cutWriter{w, 64 << 10}, q)
	})
	r.opts.Retry.Tries = 5
	c, err := r.run(t.Context(), live+"/x\n", func(o *Options) { o.Rounds = 1 })
	got, _ := os.ReadFile(filepath.Join(r.dir, "x"))
	if string(got) != body {
		t.Errorf("got %d bytes, %+v, %v: %v", len(got), c, err, r.outcomes["x"].Err)
	}
}

// A cutWriter aborts the connection after left bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// TestAlteredFileOfGet: a file that was downloaded without a list and then altered by the user is
// left alone.
func TestAlteredFileOfGet(t *testing.T) {
	r := newRig(t)
	a := r.serve(content("x", "from a"))
	b := r.serve(content("x", "from b"))
	d := downloader.New(r.store, r.opts)
	if _, err := d.Get(t.Context(), downloader.Request{URL: a + "/x", Into: downloader.File{Dir: r.dir, Output: "x"}}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	os.WriteFile(filepath.Join(r.dir, "x"), []byte("my own work"), 0o666)
	for _, u := range []string{a, b} {
		c, err := r.run(t.Context(), u+"/x\n")
		got, _ := os.ReadFile(filepath.Join(r.dir, "x"))
		if string(got) != "my own work" {
			t.Errorf("got %+v, %v, and %q in the file, want it unaltered", c, err, got)
		}
	}
}

// TestPartNameIsListed: a list names NAME and NAME.part. Neither replaces the other, and a file that
// is not on disk has failed.
func TestPartNameIsListed(t *testing.T) {
	for _, order := range []string{"part first", "together"} {
		r := newRig(t)
		big := blob(3<<20, 1)
		live := r.serve(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/x" {
				content("x", big)(w, q)
			} else {
				content("x.part", "little")(w, q)
			}
		})
		text := live + "/x.part\n" + live + "/x\n"
		if order == "part first" {
			r.mustRun(live + "/x.part\n")
		}
		c, err := r.run(t.Context(), text)
		if got := ls(r.dir); c.Failed == 0 && len(got) != 2 || len(got) > 1 && strings.HasPrefix(got[1], "x.part.1") {
			t.Errorf("%s: got %+v, %v, and files %q", order, c, err, got)
		}
	}
}

// TestSizeOfUnknownLength: the size in a list is checked even if the response has no length.
func TestSizeOfUnknownLength(t *testing.T) {
	r := newRig(t)
	live := r.serve(func(w http.ResponseWriter, q *http.Request) {
		w.(http.Flusher).Flush()
		w.Write([]byte("short"))
	})
	c, err := r.run(t.Context(), live+"/x\n  size=1000\n")
	if c.Failed != 1 {
		t.Errorf("got %+v, %v, and files %q, want one failure", c, err, ls(r.dir))
	}
}

// TestChecksumRepaired: a large file with the wrong digest fails until the server has the right
// version.
func TestChecksumRepaired(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good, bad := blob(2<<20, 1), blob(2<<20, 9)
	var mended atomic.Bool
	runs := 0
	live := r.serve(func(w http.ResponseWriter, q *http.Request) {
		if mended.Load() {
			w.Header().Set("ETag", `"good"`)
			http.ServeContent(w, q, "x", time.Unix(2e9, 0), strings.NewReader(good))
		} else {
			content("x", bad)(w, q)
		}
	})
	text := fmt.Sprintf("%s/x\n  checksum=sha-256=%x\n", live, sha256.Sum256([]byte(good)))
	for _, want := range []State{Failed, Failed, Fetched, Current} {
		if r.run(t.Context(), text); r.outcomes["x"].State != want {
			t.Errorf("got %s, %v, want %s", r.outcomes["x"].State, r.outcomes["x"].Err, want)
		}
		runs++
		mended.Store(runs >= 2)
	}
}

// TestRedirectDeadlock: with one connection for each host, a redirect to another origin, and broken
// connections, the downloads must not wait for each other's connections.
func TestRedirectDeadlock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.opts.Connections = 1
		r.opts.Retry.Tries = 5
		body := blob(4<<20, 1)
		var n atomic.Int64
		b := r.serve(func(w http.ResponseWriter, q *http.Request) {
			if n.Add(1)%2 == 1 {
				content("x", body)(&slowCut{w, 1 << 20}, q)
				return
			}
			content("x", body)(w, q)
		})
		a := r.serve(func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, b+q.URL.Path, http.StatusFound) })
		var text strings.Builder
		for i := range 4 {
			fmt.Fprintf(&text, "%s/f%d\n", a, i)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		begun := time.Now()
		c, err := r.run(ctx, text.String(), func(o *Options) { o.Rounds = 1 })
		if c.Fetched != 4 {
			t.Errorf("got %+v, %v after %v, want 4 fetched", c, err, time.Since(begun))
		}
	})
}

// A slowCut aborts the connection after left bytes and 700 ms.
type slowCut struct {
	http.ResponseWriter
	left int
}

func (c *slowCut) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.(http.Flusher).Flush()
		time.Sleep(700 * time.Millisecond)
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// TestHTTP2Streams: all files are fetched over HTTP/2 with one stream for each connection, and with
// streams that break.
func TestHTTP2Streams(t *testing.T) {
	t.Parallel()
	for _, streams := range []int{1, 100} {
		r := newRig(t)
		r.opts.Connections = 3
		big := blob(3<<20, 3)
		var n atomic.Int64
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasPrefix(q.URL.Path, "/big") {
				content("x", big)(w, q)
				return
			}
			if n.Add(1)%10 == 3 {
				w.Header().Set("Content-Length", "1000")
				w.Write([]byte("abc"))
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			content("x", blob(1000, 4))(w, q)
		}))
		s.EnableHTTP2 = true
		s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
		s.StartTLS()
		t.Cleanup(s.Close)
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		r.opts.TLS.RootCAs = pool
		var text strings.Builder
		for i := range 100 {
			fmt.Fprintf(&text, "%s/f%d\n", s.URL, i)
			if i%20 == 0 {
				fmt.Fprintf(&text, "%s/big%d\n", s.URL, i)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		c, err := r.run(ctx, text.String())
		if c.Fetched != 105 {
			t.Errorf("%d streams: got %+v, %v, want 105 fetched", streams, c, err)
			for k, o := range r.outcomes {
				if o.Err != nil {
					t.Logf("%s %v", k, o.Err)
				}
			}
		}
	}
}

// placing marks the record of a finished file as if a crash had interrupted PublishAll before the
// file got its name. change may alter the record further.
func (r *rig) placing(name string, change func(*store.Record)) store.Record {
	r.t.Helper()
	rec, err := r.store.ByTarget(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	rec.Publishing = true
	change(&rec)
	if err := r.store.Amend(rec); err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// TestForeignFileAfterCrash: after a crash before a file got its name, a file that somebody else has
// put there is left alone.
func TestForeignFileAfterCrash(t *testing.T) {
	for _, update := range []bool{false, true} {
		r := newRig(t)
		text := r.put(1)
		r.mustRun(text)
		r.placing("f0000", func(*store.Record) {})
		mine := filepath.Join(r.dir, "f0000")
		os.Remove(mine)
		os.WriteFile(mine, []byte("precious"), 0o666)
		c := r.mustRun(text, func(o *Options) { o.Update = update })
		if got, _ := os.ReadFile(mine); string(got) != "precious" || c.Failed != 1 {
			t.Errorf("update %v: got %+v, %q", update, c, got)
		}
	}
}

// TestReplacementAfterCrash: after a crash between the two renames of a file that replaces another
// file, the next run completes the second rename, with and without Update.
func TestReplacementAfterCrash(t *testing.T) {
	for _, update := range []bool{false, true} {
		r := newRig(t)
		text := r.put(1)
		r.mustRun(text)
		name := filepath.Join(r.dir, "f0000")
		os.Rename(name, name+".part")
		os.WriteFile(name, []byte("the one before"), 0o666)
		info, _ := os.Lstat(name)
		r.placing("f0000", func(rec *store.Record) { rec.Replaces = store.FileStamp{Size: info.Size(), ModTime: info.ModTime()} })
		for range 2 {
			if c := r.mustRun(text, func(o *Options) { o.Update = update }); c.Failed != 0 {
				t.Errorf("update %v: got %+v, %v, want no failure", update, c, r.outcomes["f0000"].Err)
			}
		}
		r.check()
	}
}

// TestFileOfOtherProcess: a file that another process has fetched during the run is current, not
// foreign.
func TestFileOfOtherProcess(t *testing.T) {
	r := newRig(t)
	var begun atomic.Bool
	live := r.serve(func(w http.ResponseWriter, q *http.Request) {
		if !begun.Swap(true) {
			other := &rig{t: t, state: r.state, dir: r.dir, opts: r.opts}
			other.store, _ = store.Open(r.state, store.Options{})
			other.runLists(t.Context(), oneList("bbbbbbbbbbbbbbbb", strings.NewReader("http://"+q.Host+"/x\n")))
		}
		content("x", "x")(w, q)
	})
	c, err := r.run(t.Context(), live+"/x\n")
	if err != nil || c.Current != 1 {
		t.Errorf("got %+v, %v, %v, want one current", c, err, r.outcomes["x"].Err)
	}
}

// TestFileReplacedByLink: if the user has moved a file away and put a symbolic link in its place,
// the link is left alone.
func TestFileReplacedByLink(t *testing.T) {
	r := newRig(t)
	text := r.put(1)
	r.mustRun(text)
	name, moved := filepath.Join(r.dir, "f0000"), filepath.Join(memDir(t), "moved")
	if err := os.Rename(name, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(moved, name); err != nil {
		t.Skip(err)
	}
	c := r.mustRun(text)
	if to, err := os.Readlink(name); c.Failed != 1 || to != moved {
		t.Errorf("got %+v, %q, %v, want the link left alone", c, to, err)
	}
}

// TestNewDigestOfCurrentFile: if the list gains the digest of a file that is there, the file is
// current and not requested.
func TestNewDigestOfCurrentFile(t *testing.T) {
	r := newRig(t)
	live := r.serve(content("x", "x"))
	r.mustRun(live + "/x\n")
	r.mustRun(fmt.Sprintf("%s/x\n  checksum=sha-256=%x\n", live, sha256.Sum256([]byte("x"))))
	if o := r.outcomes["x"]; o.State != Current || o.Record.Size != 1 {
		t.Errorf("got %+v, want it to be current", o)
	}
}
