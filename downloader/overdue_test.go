package downloader

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/store"
)

// brokenServer returns a server of a file that ends its connection after each quarter
// of it, and does what later says from the second request on.
func brokenServer(later func(http.ResponseWriter) (done bool)) *httptest.Server {
	const size = 4 << 20
	var n atomic.Int32
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 && later(w) {
			return
		}
		from, to := 0, size-1
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
		w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(make([]byte, min(to-from+1, size/4)))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
}

// getOverdue gets the file of s over one connection.
func getOverdue(t *testing.T, s *httptest.Server, o Options) error {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Connections = 1
	d := New(st, o)
	defer d.Close()
	_, err = d.Get(t.Context(), Request{URL: s.URL + "/f", Dir: t.TempDir()})
	return err
}

// TestOverdueBackoff: the wait for the next try is not one for an answer.
func TestOverdueBackoff(t *testing.T) {
	s := brokenServer(func(w http.ResponseWriter) bool { http.Error(w, "down", http.StatusServiceUnavailable); return true })
	s.Start()
	defer s.Close()
	begun, waits := time.Now(), time.Duration(0)
	err := getOverdue(t, s, Options{Tries: 4, RetryWait: 400 * time.Millisecond, OnEvent: func(e Event) {
		if e.Kind == Retrying {
			waits += e.Wait
		}
	}})
	if took := time.Since(begun); err == nil || waits < time.Second || took < waits {
		t.Errorf("gave up after %v (%v), where the waits are of %v", took, err, waits)
	}
}

// TestOverdueConnect: nor is the time that a connection takes to be there.
func TestOverdueConnect(t *testing.T) {
	s := brokenServer(func(http.ResponseWriter) bool { return false })
	l := &slowListener{Listener: s.Listener}
	s.Listener = l
	s.StartTLS()
	defer s.Close()
	if err := getOverdue(t, s, Options{Insecure: true}); err != nil || l.n.Load() > 5 {
		t.Errorf("%d connections for 4 requests; %v", l.n.Load(), err)
	}
}

// A slowListener has connections that take long until TLS.
type slowListener struct {
	net.Listener
	n atomic.Int32
}

func (l *slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.n.Add(1)
	return &slowConn{Conn: c}, err
}

type slowConn struct {
	net.Conn
	once sync.Once
}

func (c *slowConn) Read(b []byte) (int, error) {
	c.once.Do(func() { time.Sleep(700 * time.Millisecond) })
	return c.Conn.Read(b)
}
