package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/failure"
)

// newTestTransport returns a Transport without slots. Options that must be positive have a
// value for tests if they are 0.
func newTestTransport(t testing.TB, o Options) *Transport {
	t.Helper()
	tr := New(withTestDefaults(o), nil)
	t.Cleanup(tr.Close)
	return tr
}

func withTestDefaults(o Options) Options {
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = 5 * time.Second
	}
	return o
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respondOK responds at once, with an empty body.
func respondOK(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: make(http.Header), Body: http.NoBody, Request: req}, nil
}

var errScripted = errors.New("a scripted error")

// newRequest returns a GET request.
func newRequest(t testing.TB, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// drain reads and closes the body of a response.
func drain(resp *http.Response) {
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// TestHTTP1Connections: without streams, a server that speaks HTTP/2 gets HTTP/1.1, each
// concurrent request has its own connection, and there is no Accept-Encoding.
func TestHTTP1Connections(t *testing.T) {
	const n = 4
	var mu sync.Mutex
	conns, arrived := make(map[string]bool), 0
	together := make(chan struct{}) // closed when all requests are under way
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.RemoteAddr] = true
		if arrived++; arrived == n {
			close(together)
		}
		mu.Unlock()
		if r.Proto != "HTTP/1.1" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("got %s, Accept-Encoding %q, want HTTP/1.1 and none", r.Proto, r.Header.Get("Accept-Encoding"))
		}
		select {
		case <-together:
		case <-r.Context().Done():
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c := newTestTransport(t, Options{RootCAs: roots}).Client(false)
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() {
			if resp, err := c.Get(srv.URL); err != nil {
				t.Error(err)
			} else {
				resp.Body.Close()
			}
		})
	}
	clients.Wait()
	if len(conns) != n {
		t.Errorf("got %d connections, want %d", len(conns), n)
	}
}

// TestClientStreams: with streams, many requests share a connection; through an https proxy
// and after a broken header, HTTP/1.1 is used.
func TestClientStreams(t *testing.T) {
	var mu sync.Mutex
	protos := make(map[string][]string) // by path
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		protos[r.URL.Path] = append(protos[r.URL.Path], r.Proto)
		mu.Unlock()
		if r.URL.Path == "/huge" { // far beyond the limit, which net/http's HTTP/2 takes for a broken connection
			for range 64 {
				w.Header().Add("X", longText)
			}
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	tr := newTestTransport(t, Options{Insecure: true})
	for range 3 {
		resp, err := tr.Client(true).Get(srv.URL + "/f")
		if err != nil {
			t.Fatal(err)
		}
		drain(resp)
	}
	if got := protos["/f"]; !slices.Equal(got, []string{"HTTP/2.0", "HTTP/2.0", "HTTP/2.0"}) {
		t.Errorf("got %q, want HTTP/2.0 each", got)
	}
	resp, err := tr.Client(true).Get(srv.URL + "/huge")
	if err == nil {
		drain(resp)
		t.Error("a header that is too long is accepted")
	}
	if got := protos["/huge"]; !slices.Equal(got, []string{"HTTP/2.0", "HTTP/1.1"}) {
		t.Errorf("a huge header: got %q, want HTTP/2.0, then HTTP/1.1", got)
	}
	proxy, _ := url.Parse(srv.URL)
	over := newTestTransport(t, Options{Insecure: true, Proxy: http.ProxyURL(proxy)})
	if resp, err := over.Client(true).Get("http://files.example/proxied"); err != nil {
		t.Error(err)
	} else {
		drain(resp)
	}
	if got := protos["/proxied"]; !slices.Equal(got, []string{"HTTP/1.1"}) {
		t.Errorf("through an https proxy: got %q, want HTTP/1.1", got)
	}
}

var longText = strings.Repeat("x", 32<<10)

// TestKeptFields: of a response header, only the named fields are kept.
func TestKeptFields(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("X-Other", "b")
	}))
	defer srv.Close()
	for _, fields := range [][]string{nil, {"Etag", "Link"}} {
		resp, err := newTestTransport(t, Options{Fields: fields}).Client(false).Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		drain(resp)
		_, other := resp.Header["X-Other"]
		_, link := resp.Header["Link"]
		if resp.Header.Get("ETag") != `"a"` || other != (fields == nil) || link {
			t.Errorf("fields %q: got %v", fields, resp.Header)
		}
	}
}

// TestLateDial: a request may be sent over a connection that became idle. Then it is not taken
// for a request of the connection that was dialed for it and that opens later: only the first
// connection says whether the body was cut.
func TestLateDial(t *testing.T) {
	arrived, respond, cut := make(chan struct{}), make(chan struct{}), make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/cut" {
			io.WriteString(w, "ok")
			return
		}
		close(arrived)
		<-respond
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		buf.WriteString("HTTP/1.1 200 OK\r\n\r\npart of a body")
		buf.Flush()
		<-cut
		c.(interface{ NetConn() net.Conn }).NetConn().Close() // without close_notify
	}))
	srv.StartTLS()
	defer srv.Close()
	dialing, late, dialed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	first := true
	dial := tracked(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if first {
			first = false
		} else {
			close(dialing)
			<-late
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	})
	base := &http.Transport{
		TLSClientConfig: srv.Client().Transport.(*http.Transport).TLSClientConfig,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			isLate := !first
			c, err := dial(ctx, network, addr)
			if isLate {
				close(dialed)
			}
			return c, err
		},
	}
	defer base.CloseIdleConnections()
	c := &http.Client{Transport: watchdog{next: base, timeout: 5 * time.Second}}
	held, err := c.Get(srv.URL) // has the first connection until its body is read
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		resp, err := c.Get(srv.URL + "/cut")
		if err == nil {
			close(cut)
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		ended <- err
	}()
	<-dialing
	drain(held) // the first connection becomes idle, and carries the request
	<-arrived
	close(late)
	<-dialed
	close(respond)
	if err := <-ended; !errors.Is(err, failure.ErrCut) {
		t.Errorf("got %v, want %v", err, failure.ErrCut)
	}
}

// inBubble runs a test with a fake clock (testing/synctest): its waits take no time, however slow
// the machine is. The test fails if a goroutine is left at its end.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // what was closed or cancelled just now ends
		test(t)
	})
}
