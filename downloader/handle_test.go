package downloader

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
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
