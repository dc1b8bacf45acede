package page

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/cmd/pawl/daemon"
	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/store"
)

// A realDaemon is the server of a queue, with the page, and a server of files.
type realDaemon struct {
	queue   *queue.Queue
	server  *daemon.Server
	address string // http://HOST:PORT
	files   string // URL of the server of files
	root    string
	rate    atomic.Int64  // limit of all downloads
	gate    chan struct{} // closed: slow files are sent to their ends
}

func newRealDaemon(t *testing.T) *realDaemon {
	t.Helper()
	d := &realDaemon{root: t.TempDir(), gate: make(chan struct{})}
	files := httptest.NewServer(d)
	d.files = files.URL
	st, err := store.Open(t.TempDir(), store.Options{Root: d.root})
	if err != nil {
		t.Fatal(err)
	}
	downloads := downloader.New(st, downloader.Options{Retry: downloader.RetryPolicy{Tries: 1, Wait: time.Millisecond}})
	d.queue, err = queue.Open(st, downloads, queue.Options{Root: d.root, Jobs: 1, ExitCode: func(error) int { return 8 }})
	if err != nil {
		t.Fatal(err)
	}
	d.server = daemon.New(d.queue, daemon.Options{
		Version: "1.2.3", Root: d.root, Secret: "the secret of this test, which nobody knows", Page: Handler(),
		LimitRate: d.rate.Load, SetLimitRate: d.rate.Store, Free: func() int64 { return 1 << 40 },
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.server.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		if err := d.queue.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		d.open()
		cancel()
		running.Wait()
		downloads.Close()
		files.CloseClientConnections()
		files.Close()
	})
	return d
}

// open lets slow files come to their ends.
func (d *realDaemon) open() {
	select {
	case <-d.gate:
	default:
		close(d.gate)
	}
}

// slowSize is the size of slow files, in bytes. It is small, because no test should be about speed.
const slowSize = 256 << 10

// ServeHTTP serves files of a few bytes, and slow files, whose second halves come when the gate is open.
func (d *realDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"1"`)
	switch {
	case strings.HasPrefix(r.URL.Path, "/slow"):
		http.ServeContent(w, r, "", time.Time{}, &slowReader{Reader: bytes.NewReader(make([]byte, slowSize)), flush: w.(http.Flusher).Flush, gate: d.gate, done: r.Context().Done()})
	case strings.HasPrefix(r.URL.Path, "/gone"):
		http.Error(w, "it is not here any more", http.StatusGone)
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("the bytes of "+r.URL.Path))
	}
}

// A slowReader waits in the middle of the file until gate is closed.
type slowReader struct {
	*bytes.Reader
	flush func()
	gate  <-chan struct{}
	done  <-chan struct{} // of the request
}

func (s *slowReader) Read(p []byte) (int, error) {
	at := s.Size() - int64(s.Len())
	if at >= slowSize/2 {
		s.flush()
		select {
		case <-s.gate:
		case <-s.done:
		}
	} else if left := slowSize/2 - at; int64(len(p)) > left {
		p = p[:left]
	}
	return s.Reader.Read(p)
}

// WriteTo hides that of Reader, which would not wait.
func (s *slowReader) WriteTo() {}

// await waits until the queue is as a test wants it.
func (d *realDaemon) await(t *testing.T, what string, is func(unfinished, ended []queue.Task) bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(d.queue.Tasks()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			unfinished, ended := d.queue.Tasks()
			t.Fatalf("this has not happened: %s\n%+v\n%+v", what, unfinished, ended)
		}
	}
}

// named returns an expression for a part of the row with a name.
func named(name, part string) string {
	return fmt.Sprintf("[...document.querySelectorAll('.task')].find(li => li.querySelector('.name bdi').textContent === %q)?.querySelector(%q)", name, part)
}

// TestPageOfDaemon uses the page with the real daemon, which downloads from a server of the test.
func TestPageOfDaemon(t *testing.T) {
	b := newBrowser(t)
	d := newRealDaemon(t)
	stranger := b.open(t, d.address, 800, 600)
	stranger.wait("document.getElementById('login')?.innerText.includes('pawl daemon --open')")

	p := b.open(t, d.address+d.server.OpenPath(), 1200, 900)
	p.wait("document.getElementById('link')?.className === 'on' && !document.getElementById('empty').hidden")
	p.wait("document.getElementById('free').textContent === '1.0 TiB free'")
	p.click("document.getElementById('add')")
	p.write(dialog("add", "[name=urls]"), d.files+"/first.txt\n"+d.files+"/gone.txt\n"+d.files+"/slow.bin\n"+d.files+"/last.txt")
	p.click(dialog("add", "summary"))
	p.write(dialog("add", "[name=dir]"), "sub")
	p.click(dialog("add", ".main"))
	p.wantSection("active", "slow.bin")
	p.wantSection("failed", "gone.txt")
	p.wantSection("done", "first.txt")
	p.wantSection("queue", "last.txt")
	p.wait(named("gone.txt", ".state") + ".textContent.includes('410')")
	p.wait(named("first.txt", ".state") + ".textContent === 'no digest known'")
	p.wait(named("slow.bin", ".pct") + ".textContent === '50.0%'")
	p.click(named("slow.bin", ".name"))
	p.wait(named("slow.bin", "tbody") + "?.textContent.includes('/slow.bin')")
	p.wait(named("slow.bin", ".map path") + ".getAttribute('d')?.startsWith('M0 0h500v10')")

	// Limits of one and of all.
	p.click(named("slow.bin", "[data-do=change]"))
	p.write(dialog("change", "[name=limit]"), "5M")
	p.click(dialog("change", ".main"))
	p.wait(named("slow.bin", "[data-do=change]") + " === document.activeElement") // which has the focus again
	d.await(t, "the task is limited", func(all, _ []queue.Task) bool { return all[0].LimitRate == 5<<20 && all[0].State == queue.Active })
	p.write("document.getElementById('limit')", "20M")
	p.press("Enter")
	d.await(t, "all are limited", func(_, _ []queue.Task) bool { return d.rate.Load() == 20<<20 })

	// Pause, order, resume: the other one runs meanwhile.
	p.click(named("slow.bin", ".toggle"))
	p.wantSection("done", "last.txt first.txt")
	p.wantSection("queue", "slow.bin")
	d.await(t, "it is paused", func(all, _ []queue.Task) bool { return len(all) == 1 && all[0].State == queue.Paused })
	p.click("document.getElementById('add')")
	p.write(dialog("add", "[name=urls]"), d.files+"/a.txt\n"+d.files+"/b.txt")
	p.click(dialog("add", "[name=paused]"))
	p.click(dialog("add", ".main"))
	p.wantSection("queue", "slow.bin a.txt b.txt")
	p.eval(named("slow.bin", ".name")+".focus()", nil)
	p.press("Alt+End")
	p.wantSection("queue", "a.txt b.txt slow.bin")
	d.await(t, "it is the last one", func(all, _ []queue.Task) bool { return len(all) == 3 && strings.HasSuffix(all[2].URL(), "slow.bin") })
	p.click(named("b.txt", ".remove"))
	p.click(dialog("sure", ".end .main"))
	p.wantSection("queue", "a.txt slow.bin")
	d.await(t, "one is removed", func(all, _ []queue.Task) bool { return len(all) == 2 })
	p.click("document.getElementById('resume-all')")
	p.wantSection("active", "slow.bin")
	d.open()
	p.wantSection("done", "slow.bin a.txt last.txt first.txt")

	// A new address for what has failed.
	p.eval(named("gone.txt", ".name")+".focus()", nil)
	p.press("c")
	p.write(dialog("change", "[name=urls]"), d.files+"/found.txt")
	p.click(dialog("change", ".main"))
	p.wait("!document.querySelector('dialog[open]') && " + named("found.txt", ".name") + " === document.activeElement")
	p.press("p")
	p.wait("document.getElementById('s-failed').hidden && document.querySelectorAll('#s-done .task').length === 5")

	// Its file is deleted, the others stay.
	path := filepath.Join(d.root, "sub", "slow.bin")
	if info, err := os.Stat(path); err != nil || info.Size() != slowSize {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	p.click(named("slow.bin", ".remove"))
	p.wait(dialog("sure", "li bdi") + fmt.Sprintf(".textContent === %q", path))
	p.click(dialog("sure", ".danger"))
	p.wait("document.querySelectorAll('#s-done .task').length === 4")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
	p.click("document.getElementById('clear')")
	p.click(dialog("sure", ".end .main"))
	p.wait("!document.getElementById('empty').hidden")
	if _, err := os.Stat(filepath.Join(d.root, "sub", "first.txt")); err != nil {
		t.Error(err)
	}
	for _, problem := range b.takeProblems() {
		if strings.Contains(problem, "401 (Unauthorized)") { // of the stranger
			continue
		}
		t.Errorf("the console says: %s", problem)
	}
}
