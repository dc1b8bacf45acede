package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"pawl/downloader/failure"
)

// A socksServer is a SOCKS5 proxy (RFC 1928) in front of a web server that it is itself.
type socksServer struct {
	refuse map[string]byte // reply to a request for a host, 0 if it connects; immutable
	user   bool            // it wants a user

	mu    sync.Mutex
	asked []string // hosts and ports; guarded by mu
}

// start starts the proxy and returns its host and port.
func (s *socksServer) start(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return l.Addr().String()
}

// serve serves one connection.
func (s *socksServer) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	take := func(n int) []byte {
		b := make([]byte, n)
		io.ReadFull(in, b)
		return b
	}
	take(int(take(2)[1]))
	if s.user {
		c.Write([]byte{5, 0xff})
		return
	}
	c.Write([]byte{5, 0})
	host := ""
	switch take(4)[3] {
	case 1:
		host = net.IP(take(net.IPv4len)).String()
	case 3:
		host = string(take(int(take(1)[0])))
	case 4:
		host = net.IP(take(net.IPv6len)).String()
	}
	port := take(2)
	s.mu.Lock()
	s.asked = append(s.asked, net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1]))))
	s.mu.Unlock()
	c.Write([]byte{5, s.refuse[host], 0, 1, 0, 0, 0, 0, 0, 0})
	if s.refuse[host] != 0 {
		return
	}
	if req, err := http.ReadRequest(in); err == nil {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(req.Host), req.Host)
	}
}

// TestSOCKS checks who looks up the names of servers behind a SOCKS proxy, that all their addresses
// are tried, and that private ones are not requested for a public source.
func TestSOCKS(t *testing.T) {
	const unreachable, refused = 4, 5
	for _, tt := range []struct {
		name, scheme, host string
		public             bool
		asked              string // of the proxy, in two requests
		err                error
		private            bool
	}{
		{"the proxy looks up", "socks5h", "two.test", false, "two.test:80 two.test:80", nil, false},
		{"an address and socks5h", "socks5h", "203.0.113.1", false, "203.0.113.1:80 203.0.113.1:80", nil, false},
		{"all addresses in turn", "socks5", "two.test", false, "203.0.113.1:80 203.0.113.2:80", nil, false},
		{"dead ones once", "socks5", "dead.test", false, "203.0.113.8:80 203.0.113.9:80 203.0.113.1:80 203.0.113.1:80", nil, false},
		{"IPv6", "socks5", "six.test", false, "[2001:db8::1]:80 [2001:db8::1]:80", nil, false},
		{"all dead", "socks5", "gone.test", false, "203.0.113.8:80 203.0.113.8:80", failure.ErrNetwork, false},
		{"no such host", "socks5", "none.test", false, "", failure.ErrNetwork, false},
		{"a private address", "socks5", "inside.test", false, "10.0.0.1:80 10.0.0.1:80", nil, true},
		{"a private address and a public source", "socks5", "inside.test", true, "", failure.ErrPrivate, false},
		{"a private address in the URL", "socks5", "10.0.0.1", true, "", failure.ErrPrivate, false},
		{"a private address in the URL and socks5h", "socks5h", "10.0.0.1", true, "", failure.ErrPrivate, false},
		{"public addresses only", "socks5", "mixed.test", true, "203.0.113.1:80 203.0.113.1:80", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &socksServer{refuse: map[string]byte{"203.0.113.8": unreachable, "203.0.113.9": refused}}
			u := &url.URL{Scheme: tt.scheme, Host: s.start(t)}
			tr := newTestTransport(t, Options{Proxy: http.ProxyURL(u)})
			tr.dialer.resolver.ask = newFakeDNS("two.test 203.0.113.1 203.0.113.2", "dead.test 203.0.113.8 203.0.113.9 203.0.113.1", "six.test 2001:db8::1",
				"gone.test 203.0.113.8", "inside.test 10.0.0.1", "mixed.test 10.0.0.1 203.0.113.1").ask
			for _, streams := range []bool{false, true} {
				info := &RequestInfo{Public: tt.public}
				resp, err := tr.Client(streams).Do(newRequest(t, WithRequest(t.Context(), info), "http://"+tt.host+"/"))
				body := ""
				if err == nil {
					b, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					body = string(b)
				}
				if err = failure.Explain(err); !errors.Is(err, tt.err) || tt.err == nil && body != tt.host || info.Private() != tt.private {
					t.Errorf("got %q, %v, private %v", body, err, info.Private())
				}
				if tt.host == "none.test" && !strings.Contains(err.Error(), "socks5h") {
					t.Errorf("got %v, want the advice to let the proxy look up the name", err)
				}
			}
			if got := strings.Join(s.asked, " "); got != tt.asked {
				t.Errorf("the proxy was asked for %q, want %q", got, tt.asked)
			}
		})
	}
}

// TestSOCKSUser checks that a proxy that refuses the user is not asked for another address, and that
// what is known of servers behind a proxy does not affect direct connections.
func TestSOCKSUser(t *testing.T) {
	s := &socksServer{user: true}
	u := &url.URL{Scheme: "socks5", Host: s.start(t)}
	tr := newTestTransport(t, Options{Proxy: http.ProxyURL(u), Address: Addressing{Fixed: map[string]FixedAddresses{
		"two.test:80": {Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}},
	}}})
	_, err := tr.Client(false).Do(newRequest(t, t.Context(), "http://two.test/"))
	if err := failure.Explain(err); !errors.Is(err, failure.ErrAuth) || len(s.asked) > 0 {
		t.Errorf("got %v after %q", err, s.asked)
	}
	target, _ := url.Parse("http://two.test/")
	if a := tr.Address(target); !a.HasResolved() || a.hostPort != "two.test:80" {
		t.Errorf("the addresses of %s are known: %v", a.hostPort, a.HasResolved())
	}
	if names := []string{hostPort(u), dialedAddress(target, http.ProxyURL(u)), lookedUpAddress(target, http.ProxyURL(&url.URL{Scheme: "socks5h", Host: u.Host}))}; !slices.Equal(names, []string{u.Host, u.Host, u.Host}) {
		t.Errorf("got %q, want the proxy", names)
	}
	tr.tunnels.noteFailed(netip.MustParseAddrPort("203.0.113.1:80"), nil)
	if len(tr.dialer.routes.known) != 1 { // the proxy
		t.Errorf("got %v", tr.dialer.routes.known)
	}
}
