package downloader

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"pawl/downloader/recent"
	"pawl/store"
)

// errClosedSlots says that a dial had to wait when the Downloader was closed.
var errClosedSlots = errors.New("the downloader was closed")

// slots limits how many TCP connections there are to each address, together with
// the other processes of the state directory. Each connection holds a slot of its
// address from before it is dialed until the server knows that it is closed. An
// address is what is dialed: that of the proxy, where there is one.
//
// A process over its share closes idle connections first; then requests end their
// connections, and workers end their requests (owes). Safe for concurrent use.
type slots struct {
	store     *store.Store // nil: nothing is shared
	most      int          // per address
	closeIdle []func()     // of all transports that dial through it; immutable once one does

	mu         sync.Mutex
	groups     recent.Map[*group] // by address; guarded by mu
	lastClosed time.Time          // when closeIdle was called; guarded by mu
	ended      bool               // guarded by mu

	done    chan struct{}  // closed by close
	keepers sync.WaitGroup // one for each address that is in use
	dials   sync.WaitGroup // that wait for a slot
}

func newSlots(s *store.Store, most int) *slots {
	return &slots{store: s, most: most, groups: recent.NewMap((*group).idle), done: make(chan struct{})}
}

// A transport is what slots are shared by.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// share makes t take slots for its connections, and returns what is to be used in
// place of over, which is t or uses it. It is called before the first request.
func (s *slots) share(t *http.Transport, over transport) http.RoundTripper {
	s.closeIdle = append(s.closeIdle, over.CloseIdleConnections)
	if s.store == nil {
		return over
	}
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return s.group(addr).dial(ctx, func() (net.Conn, error) { return dial(ctx, network, addr) })
	}
	return sharing{s, over, t.Proxy}
}

// sharing is a transport whose requests end their connections, in order, while
// too many are open.
type sharing struct {
	slots *slots
	next  http.RoundTripper
	proxy func(*http.Request) (*url.URL, error)
}

func (s sharing) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.slots.group(dialed(req.URL, s.proxy)).owes(false) {
		req = req.WithContext(req.Context()) // a copy: the caller's is not ours to change
		req.Close = true
	}
	return s.next.RoundTrip(req)
}

// dialed returns the address that is dialed for u: host and port of it or of its
// proxy.
func dialed(u *url.URL, proxy func(*http.Request) (*url.URL, error)) string {
	if proxy != nil {
		if p, err := proxy(&http.Request{URL: u}); err == nil && p != nil {
			u = p
		}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// group returns that of an address, or nil where nothing is shared.
func (s *slots) group(addr string) *group {
	if s.store == nil {
		return nil
	}
	addr = strings.ToLower(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups.Get(addr, func() *group {
		return &group{owner: s, slots: s.store.Slots(addr, s.most), turn: make(chan struct{}, 1), conns: make(map[*slotConn]struct{})}
	})
}

// dropIdle closes the idle connections of all transports, unless it just did, and
// with them ends dials that no request waits for any more.
func (s *slots) dropIdle() {
	s.mu.Lock()
	soon := time.Since(s.lastClosed) < keepEvery
	if !soon {
		s.lastClosed = time.Now()
	}
	s.mu.Unlock()
	if soon {
		return
	}
	for _, closeIdle := range s.closeIdle {
		closeIdle()
	}
}

// close closes idle connections and gives all slots back. No request may be under
// way. It may be called again.
func (s *slots) close() {
	for _, closeIdle := range s.closeIdle {
		closeIdle()
	}
	s.mu.Lock()
	ended := s.ended
	s.ended = true
	s.mu.Unlock()
	if ended {
		return
	}
	close(s.done)
	s.dials.Wait()
	s.keepers.Wait()
	shared := false
	for g := range s.groups.All() { // no more are made
		shared = shared || g.slots.Held() > 0 && g.slots.Share() < s.most
	}
	if shared {
		time.Sleep(afterClose) // or another process connects before the server has noticed
	}
	for g := range s.groups.All() {
		g.slots.Close()
	}
}
