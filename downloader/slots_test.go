package downloader

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// openSlots returns the slots of one process, as it were, on a state directory.
func openSlots(t testing.TB, state string, most int) *slots {
	t.Helper()
	st, err := store.Open(state, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSlots(st, most)
	t.Cleanup(s.close)
	return s
}

// pipe is a dial that always succeeds.
func pipe() (net.Conn, error) {
	c, _ := net.Pipe()
	return c, nil
}

// dials starts a dial to h:80, and returns what tells its outcome, if there is one.
func dials(ctx context.Context, s *slots) (done func() (net.Conn, error, bool)) {
	type outcome struct {
		conn net.Conn
		err  error
	}
	ended := make(chan outcome, 1)
	go func() { // joined by the end of the bubble
		conn, err := s.group("h:80").dial(ctx, pipe)
		ended <- outcome{conn, err}
	}()
	return func() (net.Conn, error, bool) {
		synctest.Wait()
		select {
		case o := <-ended:
			return o.conn, o.err, true
		default:
			return nil, nil, false
		}
	}
}

// dialNow is a dial that must succeed at once.
func dialNow(t *testing.T, s *slots) net.Conn {
	t.Helper()
	conn, err, ok := dials(t.Context(), s)()
	if err != nil || !ok {
		t.Fatalf("dial: got %v, done %v", err, ok)
	}
	return conn
}

// bubble runs a test with two processes on one state directory, at a fake time.
func bubble(t *testing.T, most int, test func(t *testing.T, a, b *slots)) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, b := openSlots(t, state, most), openSlots(t, state, most)
		defer b.close()
		defer a.close()
		test(t, a, b)
	})
}

// TestSlotsUnshared: without locks and without a store there is no limit.
func TestSlotsUnshared(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "hosts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := openSlots(t, state, 2)
		defer s.close()
		for range 20 {
			dialNow(t, s)
		}
		time.Sleep(time.Minute)
		if g := s.group("h:80"); g.owes(false) {
			t.Error("owes a connection to nobody")
		}
	})
	none := newSlots(nil, 2)
	if g := none.group("h:80"); g != nil || g.owes(true) || g.queued() {
		t.Error("without a store there is a group")
	}
	none.close()
	none.close()
}

func TestDialed(t *testing.T) {
	via := func(s string) func(*http.Request) (*url.URL, error) {
		return func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "http" || s == "" {
				return nil, nil
			}
			return url.Parse(s)
		}
	}
	for _, c := range []struct{ u, proxy, want string }{
		{"http://a/x", "", "a:80"}, {"https://a/x", "", "a:443"}, {"http://a:81/x", "http://p", "a:81"},
		{"https://a", "http://p", "p:80"}, {"https://a", "https://p:3128", "p:3128"}, {"https://a", "socks5://p", "p:1080"},
		{"https://[::1]/", "", "[::1]:443"},
	} {
		u, err := url.Parse(c.u)
		if err != nil {
			t.Fatal(err)
		}
		if got := dialed(u, via(c.proxy)); got != c.want {
			t.Errorf("%s by %q: got %s, want %s", c.u, c.proxy, got, c.want)
		}
	}
}

// TestRequestEndsConnection: while too many connections are open, a request is the
// last one of its connection; the address is the one that is dialed.
func TestRequestEndsConnection(t *testing.T) {
	var addrs []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { addrs = append(addrs, r.RemoteAddr) }))
	defer srv.Close()
	s := openSlots(t, t.TempDir(), 4)
	hc := newHTTPClient(Options{}.withDefaults(), &dialer{}, s, nil, false)
	u, _ := url.Parse(srv.URL)
	for i := range 4 {
		if i == 1 {
			s.group(dialed(u, nil)).debt = 1
		}
		resp, err := hc.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if addrs[0] != addrs[1] || addrs[1] == addrs[2] || addrs[2] != addrs[3] || s.groups.Len() != 1 {
		t.Errorf("got connections from %q, %d groups", addrs, s.groups.Len())
	}
}

// TestDownloadersShare: three Downloaders on one state directory, over TLS, with
// less time for an answer than they have to wait for a connection.
func TestDownloadersShare(t *testing.T) {
	for most, want := range map[int]int{1: 1, 4: 4} {
		r := newRig(t)
		var mu sync.Mutex
		open, peak := 0, 0
		front := httptest.NewUnstartedServer(r.srv)
		front.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			switch s {
			case http.StateNew:
				open++
				peak = max(peak, open)
			case http.StateClosed:
				open--
			}
		}
		front.StartTLS()
		t.Cleanup(front.Close)
		r.srv.Set(faultserver.ConnRate(4 << 20))
		r.opts.Insecure, r.opts.Connections, r.opts.StallTimeout, r.opts.ConnectTimeout = true, most, time.Second, time.Second
		var all sync.WaitGroup
		for i, name := range []string{"a", "b", "c"} {
			f := faultserver.NewFile(6<<20, uint64(i))
			r.srv.Put(name, f)
			all.Go(func() {
				st, err := store.Open(r.state, store.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				d := New(st, r.opts)
				defer d.Close()
				res, err := d.Get(t.Context(), Request{URL: front.URL + "/" + name, Dir: r.dir})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				r.check(res.Target, f)
			})
		}
		all.Wait()
		if n := r.count(Retrying) + r.count(Limited); peak != want || n > 0 {
			t.Errorf("-x %d: got %d connections at most, %d retries, want %d, 0", most, peak, n, want)
		}
	}
}
