package transport

import (
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// storeSlots returns the slots of a process on a state directory.
func storeSlots(t testing.TB, state string) func(addr string, n int) Slots {
	t.Helper()
	st, err := store.Open(state, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(addr string, n int) Slots { return st.Slots(addr, n) }
}

// openLimiter returns the limiter of a process on a state directory.
func openLimiter(t testing.TB, state string, n int) *connLimiter {
	t.Helper()
	l := newConnLimiter(storeSlots(t, state), false, func(string) int { return n }, func(string) int { return n })
	t.Cleanup(l.close)
	return l
}

// fakeSlots always grant a slot, and have a share that the test changes.
type fakeSlots struct{ share, held atomic.Int32 }

type fakeSlot struct {
	*fakeSlots
	once sync.Once
}

func (s *fakeSlots) Try() (io.Closer, bool) { s.held.Add(1); return &fakeSlot{fakeSlots: s}, true }
func (s *fakeSlot) Close() error            { s.once.Do(func() { s.held.Add(-1) }); return nil }
func (s *fakeSlots) Share() int             { return int(s.share.Load()) }
func (s *fakeSlots) Held() int              { return int(s.held.Load()) }
func (s *fakeSlots) Close() error           { return nil }

// fakeIdle is a transport whose idle connections are closed by a function.
type fakeIdle struct {
	http.RoundTripper
	close func()
}

func (f fakeIdle) CloseIdleConnections() { f.close() }

// countDrops counts how often the limiter closes idle connections.
func countDrops(l *connLimiter) *atomic.Int32 {
	drops := new(atomic.Int32)
	l.wrap(fakeIdle{close: func() { drops.Add(1) }}, nil)
	return drops
}

// pipe is a dial that always succeeds. The peer reads everything.
func pipe() (net.Conn, error) {
	ours, theirs := net.Pipe()
	go io.Copy(io.Discard, theirs)
	return ours, nil
}

// startDial starts a dial to h:80. The result reports the outcome, if there is one.
func startDial(ctx context.Context, l *connLimiter) (outcome func() (net.Conn, error, bool)) {
	type result struct {
		conn net.Conn
		err  error
	}
	ended := make(chan result, 1)
	go func() { // joined by the end of the bubble
		conn, err := l.limiter("h:80").dial(ctx, pipe)
		ended <- result{conn, err}
	}()
	return func() (net.Conn, error, bool) {
		synctest.Wait()
		select {
		case r := <-ended:
			return r.conn, r.err, true
		default:
			return nil, nil, false
		}
	}
}

// dialNow is a dial that must succeed at once.
func dialNow(t *testing.T, l *connLimiter) net.Conn {
	t.Helper()
	conn, err, ok := startDial(t.Context(), l)()
	if err != nil || !ok {
		t.Fatalf("dial: got %v, done %v", err, ok)
	}
	return conn
}

// bubble runs a test with the limiters of two processes on one state directory, at a fake time.
// All connections are closed at its end.
func bubble(t *testing.T, n int, test func(t *testing.T, a, b *connLimiter)) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, b := openLimiter(t, state, n), openLimiter(t, state, n)
		defer func() {
			a.close()
			b.close()
			for _, l := range []*connLimiter{a, b} {
				for addr := range l.addrs.All() {
					for c := range addr.conns {
						c.Conn.Close()
					}
				}
			}
		}()
		test(t, a, b)
	})
}

// TestUnlimited: without locks, and without slots, there is no limit.
func TestUnlimited(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "hosts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bubbleState(t, state, 2, func(t *testing.T, l *connLimiter) {
		for range 20 {
			dialNow(t, l)
		}
		time.Sleep(time.Minute)
		if l.limiter("h:80").mustRelease(false) {
			t.Error("a connection must be released for nobody")
		}
	})
	none := newConnLimiter(nil, false, func(string) int { return 2 }, func(string) int { return 2 })
	if a := none.limiter("h:80"); a != nil || a.mustRelease(true) || a.isQueued() || a.share() != math.MaxInt {
		t.Error("without slots there is a limit")
	}
	none.close()
	none.close()
	var nowhere *Address
	nowhere.Forget()
	if nowhere.MustRelease(true) || nowhere.IsQueued() || nowhere.HasResolved() || nowhere.Share() != math.MaxInt {
		t.Error("the nil Address has a limit")
	}
}

// bubbleState is bubble with one process.
func bubbleState(t *testing.T, state string, n int, test func(t *testing.T, l *connLimiter)) {
	synctest.Test(t, func(t *testing.T) {
		l := openLimiter(t, state, n)
		defer func() {
			l.close()
			for addr := range l.addrs.All() {
				for c := range addr.conns {
					c.Conn.Close()
				}
			}
		}()
		test(t, l)
	})
}

// TestDialedAddress: the address is the one of the proxy if there is one.
func TestDialedAddress(t *testing.T) {
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
		if got := dialedAddress(u, via(c.proxy)); got != c.want {
			t.Errorf("%s by %q: got %s, want %s", c.u, c.proxy, got, c.want)
		}
	}
}

// TestDialWaits: a dial waits for a slot as long as it takes. A connection that is closed twice
// releases one slot, when the server has noticed; sooner if the server has closed it itself.
func TestDialWaits(t *testing.T) {
	for _, gone := range []bool{false, true} {
		bubble(t, 2, func(t *testing.T, a, b *connLimiter) {
			ours, theirs := net.Pipe()
			first, err := a.limiter("h:80").dial(t.Context(), func() (net.Conn, error) { return ours, nil })
			if err != nil {
				t.Fatal(err)
			}
			dialNow(t, a)
			one, two := startDial(t.Context(), b), startDial(t.Context(), b)
			time.Sleep(time.Minute)
			if _, _, ok := one(); ok {
				t.Fatal("connected beyond the limit")
			}
			wait := CloseNoticeDelay
			if gone {
				theirs.Close()
				if _, err := first.Read(make([]byte, 1)); err != io.EOF {
					t.Fatal(err)
				}
				wait = serverCloseDelay
			}
			first.Close()
			first.Close()
			time.Sleep(wait - 1)
			if got := a.limiter("h:80").slots.Held(); got != 2 {
				t.Errorf("just closed: got %d held, want 2", got)
			}
			time.Sleep(minPoll + pollSpread + time.Millisecond)
			_, _, ok1 := one()
			_, _, ok2 := two()
			if held := a.limiter("h:80").slots.Held(); ok1 == ok2 || held != 1 {
				t.Errorf("closed: got connected %v, %v, %d held, want one of two and 1", ok1, ok2, held)
			}
		})
	}
}

// TestDialEnds: a dial that waits ends with its context, and with the limiter, and takes nothing
// with it; neither does a dial that fails.
func TestDialEnds(t *testing.T) {
	bubble(t, 1, func(t *testing.T, a, b *connLimiter) {
		refused := errors.New("refused")
		if _, err := a.limiter("h:80").dial(t.Context(), func() (net.Conn, error) { return nil, refused }); err != refused {
			t.Errorf("got %v, want its error", err)
		}
		conn := dialNow(t, a)
		cause := errors.New("the cause")
		for _, behindOther := range []bool{false, true} { // then it is not its turn yet
			if behindOther {
				startDial(t.Context(), b)()
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			waits := startDial(ctx, b)
			waits()
			cancel(cause)
			if _, err, ok := waits(); err != cause {
				t.Errorf("cancelled: got %v, %v, want the cause", err, ok)
			}
		}
		waits := startDial(t.Context(), b)
		waits()
		go b.close()
		if _, err, _ := waits(); err != errClosed {
			t.Errorf("closed: got %v", err)
		}
		conn.Close()
		time.Sleep(time.Second)
		dialNow(t, a)
	})
}

// TestDialDropsIdle: an idle connection of the same process makes room for a dial.
func TestDialDropsIdle(t *testing.T) {
	bubble(t, 1, func(t *testing.T, a, _ *connLimiter) {
		idle := dialNow(t, a)
		a.wrap(fakeIdle{close: func() { idle.Close() }}, nil)
		waits := startDial(t.Context(), a)
		time.Sleep(CloseNoticeDelay + minPoll + pollSpread)
		if _, _, ok := waits(); !ok {
			t.Error("still waits for the slot of an idle connection")
		}
	})
}

// TestOverShare: a process that has all slots while another one has none first closes idle
// connections, then one that is in use, and the only one of a download last.
func TestOverShare(t *testing.T) {
	bubble(t, 4, func(t *testing.T, a, b *connLimiter) {
		drops := countDrops(a)
		var conns []net.Conn
		for range 4 {
			conns = append(conns, dialNow(t, a))
		}
		at := a.limiter("h:80")
		time.Sleep(10 * time.Second)
		if drops.Load() > 0 || at.mustRelease(false) || at.share() != 4 || at.isQueued() {
			t.Fatalf("alone: %d drops, share %d", drops.Load(), at.share())
		}
		waits := startDial(t.Context(), b)
		waits()
		if !b.limiter("h:80").isQueued() {
			t.Error("nothing is queued")
		}
		for drops.Load() == 0 {
			time.Sleep(maintainInterval / 4)
		}
		if at.mustRelease(false) {
			t.Error("a connection must be released before the idle ones are closed")
		}
		time.Sleep(maintainInterval + time.Millisecond)
		synctest.Wait()
		if at.mustRelease(true) || !at.mustRelease(false) || at.mustRelease(false) || at.share() != 3 {
			t.Errorf("it is not one that must be released; share %d", at.share())
		}
		time.Sleep(lastReleaseAfter)
		synctest.Wait()
		if !at.mustRelease(true) {
			t.Error("the only connection of a download is not released")
		}
		conns[0].Close()
		time.Sleep(2 * maintainInterval)
		synctest.Wait()
		if at.mustRelease(true) {
			t.Error("a connection must be released although the other process has one")
		}
		if _, _, ok := waits(); !ok {
			t.Error("nobody took what was released")
		}
	})
}

// firstConn lets a process without a connection dial, while one that has conns closes them as it
// must. It returns the new connection, which must come within ten seconds.
func firstConn(t *testing.T, holder, newcomer *connLimiter, conns []net.Conn) net.Conn {
	t.Helper()
	waits := startDial(t.Context(), newcomer)
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		if conn, err, ok := waits(); ok && err == nil {
			return conn
		} else if ok {
			t.Fatal(err)
		}
		if len(conns) > 0 && holder.limiter("h:80").mustRelease(len(conns) == 1) {
			conns[0].Close()
			conns = conns[1:]
		}
	}
	t.Fatal("no connection within ten seconds")
	return nil
}

// TestFirstConnection: a process that has no connection gets one within ten seconds, even if there
// is only one, which then goes to and fro.
func TestFirstConnection(t *testing.T) {
	for _, slots := range []int{1, 2, 8} {
		bubble(t, slots, func(t *testing.T, a, b *connLimiter) {
			var conns []net.Conn
			for range slots {
				conns = append(conns, dialNow(t, a))
			}
			conn := firstConn(t, a, b, conns)
			if slots > 1 {
				return
			}
			for range 3 {
				conn = firstConn(t, b, a, []net.Conn{conn})
				conn = firstConn(t, a, b, []net.Conn{conn})
			}
		})
	}
}

// TestUnused: idle connections are closed soon if other processes have some, and not if none has.
func TestUnused(t *testing.T) {
	bubble(t, 4, func(t *testing.T, a, b *connLimiter) {
		drops := countDrops(a)
		conn := dialNow(t, a)
		time.Sleep(10*time.Second + maintainInterval/2) // between two calls of rebalance
		if drops.Load() > 0 {
			t.Error("alone: idle connections are closed")
		}
		if _, err := conn.Write([]byte("used")); err != nil {
			t.Fatal(err)
		}
		dialNow(t, b)
		time.Sleep(unusedAfter)
		if drops.Load() > 0 {
			t.Error("in use: idle connections are closed")
		}
		time.Sleep(2 * maintainInterval)
		if drops.Load() == 0 {
			t.Error("idle connections are kept though others want them")
		}
	})
}

// TestRequestReleasesConnection: while too many connections are open, a request is the last one
// of its connection. The limit is the one of the address that is dialed.
func TestRequestReleasesConnection(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var closes atomic.Bool // the last request asked for the end of its connection
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if w.(http.Flusher).Flush(); r.URL.Path == "/held" {
			<-hold
			return
		}
		closes.Store(r.Close)
	}))
	defer srv.Close()
	var slots fakeSlots
	slots.share.Store(2)
	known := make(map[string]bool)
	tr := New(withTestDefaults(Options{Connections: 2}), func(addr string, n int) Slots { known[addr] = true; return &slots })
	defer tr.Close()
	get := func(path string) *http.Response {
		t.Helper()
		resp, err := tr.Client(false).Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	held := []*http.Response{get("/held"), get("/held")}
	time.Sleep(3 * maintainInterval)
	if drain(get("/f")); closes.Load() {
		t.Error("a connection is closed without need")
	}
	slots.share.Store(1)
	time.Sleep(3 * maintainInterval)
	if drain(get("/f")); !closes.Load() {
		t.Error("no connection is closed though there are too many")
	}
	close(hold)
	for _, resp := range held {
		drain(resp)
	}
	if host := srv.Listener.Addr().String(); len(known) != 1 || !known[host] {
		t.Errorf("got limits of %v, want of %s", known, host)
	}
}

// TestSlotNotSilence: a request that waits for a slot, also behind another one, or over HTTP/2,
// does not wait for a silent server.
func TestSlotNotSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, streams := range []bool{false, true} {
			const addr = "127.0.0.1:1"
			state := t.TempDir()
			slot, err := openLimiter(t, state, 1).limiter(addr).acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer slot.Close()
			tr := New(Options{Connections: 1, ConnectTimeout: 400 * time.Millisecond, StallTimeout: 400 * time.Millisecond, Insecure: true}, storeSlots(t, state))
			defer tr.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the clock of the watchdog would end after 1.2 s
			defer cancel()
			ends := make(chan error)
			for range 2 {
				go func() {
					_, err := tr.Client(streams).Do(newRequest(t, ctx, "https://"+addr))
					ends <- err
				}()
			}
			for range 2 {
				if err := <-ends; !errors.Is(err, context.DeadlineExceeded) || ctx.Err() == nil {
					t.Errorf("streams %t: got %v", streams, err)
				}
			}
		}
	})
}

// TestSlotsOfBothProtocols: HTTP/1.1 and HTTP/2 share the connections to an address. An idle
// connection of one protocol makes room for the other.
func TestSlotsOfBothProtocols(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	open, peak := 0, 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.EnableHTTP2 = true
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
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
	srv.StartTLS()
	defer srv.Close()
	tr := New(withTestDefaults(Options{Connections: 1, Insecure: true}), storeSlots(t, t.TempDir()))
	defer tr.Close()
	for i := range 6 {
		resp, err := tr.Client(i%2 == 0).Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		drain(resp)
		if want := 2 - i%2; resp.ProtoMajor != want {
			t.Errorf("request %d: got HTTP/%d, want HTTP/%d", i+1, resp.ProtoMajor, want)
		}
	}
	if peak != 1 {
		t.Errorf("got %d connections at once, want 1", peak)
	}
}

// BenchmarkDial measures the cost of a slot for a dial.
func BenchmarkDial(b *testing.B) {
	a := openLimiter(b, b.TempDir(), 16).limiter("h:80")
	for b.Loop() {
		slot, err := a.acquire(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		slot.Close()
	}
}

// TestShareOfNothing: with slots of the state directory, a share of 0 means that the connections are given back
// in turn; they are not closed.
func TestShareOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newConnLimiter(func(string, int) Slots { return new(fakeSlots) }, false, func(string) int { return 2 }, func(string) int { return 2 })
		conn := dialNow(t, l)
		time.Sleep(time.Minute)
		if _, err := conn.Write([]byte("used")); err != nil || !l.limiter("h:80").mustRelease(true) {
			t.Errorf("got %v, want an open connection that must be released", err)
		}
		conn.Close()
		l.close()
	})
}

// TestLeasedSlotsWait: a dial waits for a leased slot for longer than for others.
func TestLeasedSlotsWait(t *testing.T) {
	for _, leased := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			slots := &leasedSlots{}
			l := newConnLimiter(func(string, int) Slots { return slots }, leased, func(string) int { return 2 }, func(string) int { return 2 })
			waits := startDial(t.Context(), l)
			time.Sleep(maxSlotWait + time.Minute)
			if _, err, ended := waits(); ended == leased {
				t.Fatalf("leased %t: got %v, ended %t", leased, err, ended)
			}
			if leased {
				time.Sleep(20 * maxSlotWait)
				slots.share.Store(1)
				time.Sleep(minPoll + pollSpread)
				conn, err, _ := waits()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			l.close()
		})
	}
}

// leasedSlots grant as many slots as their share.
type leasedSlots struct{ fakeSlots }

func (s *leasedSlots) Try() (io.Closer, bool) {
	if s.held.Load() >= s.share.Load() {
		return nil, false
	}
	return s.fakeSlots.Try()
}

// TestSlotsTaken: when leased slots are taken away, all connections are closed: idle ones, those with a body, and
// those that wait for a response, whose requests are repeated once there is a slot again.
func TestSlotsTaken(t *testing.T) {
	for name, streams := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) { inBubble(t, func(t *testing.T) { testSlotsTaken(t, streams) }) })
	}
}

func testSlotsTaken(t *testing.T, streams bool) {
	var requests atomic.Int32
	hold := make(chan struct{})
	url, dial, open := countingServer(t, streams, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/body" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
		if r.URL.Path == "/silent" {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	})
	slots := &leasedSlots{}
	slots.share.Store(3)
	tr := New(Options{Connections: 3, ConnectTimeout: time.Second, StallTimeout: time.Hour, Insecure: true, Leased: true, Dial: dial}, func(string, int) Slots { return slots })
	defer tr.Close()
	get := func(path string) (*http.Response, error) {
		return tr.Client(streams).Do(newRequest(t, t.Context(), url+path))
	}
	body, err := get("/body")
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan error, 1)
	go func() {
		resp, err := get("/silent")
		if err == nil {
			resp.Body.Close()
		}
		silent <- err
	}()
	time.Sleep(time.Second)
	idle, err := get("/idle")
	if err != nil {
		t.Fatal(err)
	}
	drain(idle)
	time.Sleep(time.Second)
	before := requests.Load()
	if n := open.Load(); !streams && n != 3 {
		t.Errorf("got %d connections, want 3", n)
	}
	slots.share.Store(0)
	time.Sleep(maintainInterval + CloseNoticeDelay + time.Millisecond)
	if n, held := open.Load(), slots.Held(); n != 0 || held != 0 {
		t.Errorf("got %d connections, %d slots after all were taken away", n, held)
	}
	if _, err := io.ReadAll(body.Body); !errors.Is(err, ErrTaken) {
		t.Errorf("the body ends with %v, want %v", err, ErrTaken)
	}
	body.Body.Close()
	time.Sleep(10 * time.Minute)
	if n := open.Load(); n != 0 || len(silent) != 0 {
		t.Errorf("got %d connections, %d ended requests while there is no slot", n, len(silent))
	}
	slots.share.Store(1)
	time.Sleep(time.Second)
	if n := open.Load(); n != 1 || requests.Load() != before+1 {
		t.Errorf("got %d connections, %d further requests, want 1 each", n, requests.Load()-before)
	}
	close(hold)
	if err := <-silent; err != nil {
		t.Error(err)
	}
}

// countingServer returns the URL of a server, the dial that leads to it, and the number of its open
// connections.
func countingServer(t *testing.T, http2 bool, h http.HandlerFunc) (url string, dial dialFunc, open *atomic.Int32) {
	network := faultserver.NewNetwork()
	srv := httptest.NewUnstartedServer(h)
	open = new(atomic.Int32)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.EnableHTTP2 = http2
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Listener.Close()
	srv.Listener = network.Listen()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, network.Dial, open
}
