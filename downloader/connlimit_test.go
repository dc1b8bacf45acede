package downloader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// Three Downloaders on one state directory, as in three processes, together open at most
// Options.Connections connections. They wait for a connection longer than the response timeout,
// which must not count. A machine that pauses for longer than that makes pawl try again, so that is
// a failure only if it happens three times.
func TestProcessesShareConnections(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 4} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			for range 3 {
				peak, retries := shareConnections(t, limit)
				if peak != limit {
					t.Errorf("limit of %d connections: got %d at the same time", limit, peak)
				}
				if retries == 0 || t.Failed() {
					return
				}
			}
			t.Errorf("limit of %d connections: got refusals or retries three times", limit)
		})
	}
}

// shareConnections downloads with three Downloaders. It returns how many connections were open at the
// same time, and the number of refusals and retries.
func shareConnections(t *testing.T, limit int) (peak, retries int) {
	r := newRig(t)
	front := httptest.NewTLSServer(r.srv) // so that opening a connection takes several round trips
	t.Cleanup(front.Close)
	var mu sync.Mutex
	open := 0
	count := func(n int) { // not on the server's side, which may see a connection before the end of the one before
		mu.Lock()
		defer mu.Unlock()
		open += n
		peak = max(peak, open)
	}
	dial := r.opts.Dial
	r.opts.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		count(1)
		ended := sync.OnceFunc(func() { count(-1) })
		c, err := dial(ctx, network, addr)
		if err != nil {
			ended()
			return nil, err
		}
		return closeNotifier{c, ended}, nil
	}
	r.srv.Set(faultserver.ConnRate(4 << 20))
	r.opts.TLS.Insecure, r.opts.Connections, r.opts.Timeouts.Stall, r.opts.Timeouts.Connect = true, limit, time.Second, time.Second
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
			res, err := d.Get(t.Context(), Request{URL: front.URL + "/" + name, Into: File{Dir: r.dir}})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			r.checkFile(res.Target, f)
		})
	}
	all.Wait()
	return peak, r.countEvents(Retrying) + r.countEvents(Limited)
}

// A closeNotifier is a connection that calls a function before it is closed.
type closeNotifier struct {
	net.Conn
	closing func()
}

func (c closeNotifier) Close() error {
	c.closing()
	return c.Conn.Close()
}

// If a host refuses the first connection of a download because other downloads have all
// connections that it grants, the download waits and does not fail.
func TestCrowdedHost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.opts.Retry.Tries = 3
		r.srv.Set(faultserver.Rate(16<<20), faultserver.MoreThan(1, faultserver.Status(503, -1)))
		d := New(r.store, r.opts)
		defer d.Close()
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			f := faultserver.NewFile(8<<20, 1)
			r.srv.Put(name, f)
			wg.Go(func() {
				if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Into: File{Dir: r.dir}}); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				r.checkFile(filepath.Join(r.dir, name), f)
			})
		}
		wg.Wait()
	})
}

// All downloads of a Downloader share the connections to a host.
func TestDownloadsShareConnections(t *testing.T) {
	r := newRig(t)
	r.opts.Connections, r.opts.Timeouts.Stall = 3, time.Minute
	d := New(r.store, r.opts)
	defer d.Close()
	r.srv.Set(faultserver.Rate(100 << 20))
	var wg sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("f%d", i)
		f := faultserver.NewFile(int64(i)<<20+5, uint64(i))
		r.srv.Put(name, f)
		wg.Go(func() {
			if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Into: File{Dir: r.dir}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			r.checkFile(filepath.Join(r.dir, name), f)
		})
	}
	wg.Wait()
	if n := r.srv.Peak(); n > 3 {
		t.Errorf("got %d requests at the same time, want at most 3", n)
	}
	if s := d.Snapshot(); len(s) != 0 {
		t.Errorf("snapshot after the end: got %v, want no downloads", s)
	}
}

// The second run opens as many connections as the server granted in the first run, and none is
// refused.
func TestLimitRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		for run := range 2 {
			f := faultserver.NewFile(24<<20, uint64(run+1))
			name := fmt.Sprintf("f%d", run)
			r.srv.Put(name, f)
			r.srv.Reset()
			r.srv.Set(faultserver.ConnRate(8<<20), faultserver.MoreThan(3, faultserver.Status(503, -1)))
			r.mustGet(name, f)
			refused := 0
			for _, q := range r.srv.Requests() {
				if q.Status == 503 {
					refused++
				}
			}
			// A connection may arrive before the server has noticed that its predecessor is closed,
			// so one refusal is allowed.
			if peak := r.srv.Peak(); run == 0 && refused == 0 || run == 1 && (refused > 1 || peak < 2) {
				t.Errorf("run %d: got %d refusals and %d connections at the same time", run, refused, peak)
			}
		}
		n, err := r.store.Host(Origin(r.srv.URL))
		if err != nil || n.Limit < 2 || n.Limit > 3 {
			t.Errorf("remembered: got %+v, error %v, want limit 3, or 2 on a busy machine", n, err)
		}
	})
}

// A URL that always fails is given up, even while another download has a connection to the same
// host.
func TestBrokenURLOnCrowdedHost(t *testing.T) {
	r := newRig(t)
	r.opts.Retry.Tries = 2
	d := New(r.store, r.opts)
	defer d.Close()
	r.srv.Put("slow", faultserver.NewFile(4<<20, 1))
	release := make(chan struct{})
	r.srv.Set(func(next http.Handler) http.Handler {
		broken := faultserver.Status(500, -1)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "slow") {
				<-release
				next.ServeHTTP(w, q)
				return
			}
			broken.ServeHTTP(w, q)
		})
	})
	d.opts.Timeouts.Stall = time.Minute
	var wg sync.WaitGroup
	wg.Go(func() { d.Get(t.Context(), Request{URL: r.srv.URL + "/slow", Into: File{Dir: r.dir}}) })
	for len(r.srv.Requests()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/broken", Into: File{Dir: r.dir}}); !errors.Is(err, failure.ErrRefused) {
		t.Errorf("got error %v, want ErrRefused", err)
	}
	close(release) // the other download must not end before
	wg.Wait()
}

// If a download is cancelled during an outage of its host, the failures are not remembered as a
// connection limit.
func TestOutageIsNoConnLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(200<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.ConnRate(4 << 20))
		r.opts.Retry.Tries = -1
		ctx, cancel := context.WithCancel(t.Context())
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			if r.srv.WaitSent(24<<20, stop) {
				r.srv.Set(faultserver.ResetFirst)
				r.srv.CloseClientConnections()
				time.Sleep(2 * time.Second)
				cancel()
			}
		}()
		_, err := r.get(ctx, "f")
		n, _ := r.store.Host(Origin(r.srv.URL))
		if n.Limit != 0 {
			t.Errorf("remembered: got %+v, want limit 0; the download ended with %v", n, err)
		}
	})
}
