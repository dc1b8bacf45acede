package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serveNames answers the DNS queries on c, a stream (RFC 1035 §4.2.2): every name has the
// IPv4 address 127.0.0.1.
func serveNames(c net.Conn) {
	defer c.Close()
	for {
		var n uint16
		if binary.Read(c, binary.BigEndian, &n) != nil {
			return
		}
		q := make([]byte, n)
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		end := 12
		for q[end] != 0 { // the labels of the name
			end += 1 + int(q[end])
		}
		end += 5
		a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if q[end-3] == 1 { // type A
			a[7] = 1
			a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
		}
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
	}
}

// nameEverything gives every name the address 127.0.0.1 until the test ends. It returns the
// number of look-ups.
func nameEverything(t *testing.T) (lookups *atomic.Int32) {
	lookups = new(atomic.Int32)
	system := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = system })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		lookups.Add(1)
		ours, theirs := net.Pipe()
		go serveNames(theirs)
		return ours, nil
	}}
	return lookups
}

// TestDialerAsksSystem: the system's resolver is asked once for many connections.
func TestDialerAsksSystem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lookups := nameEverything(t)
	d := newDialer(5*time.Second, nil, Addressing{})
	defer d.resolver.close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	named := net.JoinHostPort("files.example", port)
	if d.hasResolved(named) {
		t.Error("an address is known before the first dial")
	}
	var once int32
	for range 5 {
		c, err := d.dial(t.Context(), "tcp", named)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if once == 0 {
			once = lookups.Load()
		}
	}
	if n := lookups.Load(); n == 0 || n != once || !d.hasResolved(named) {
		t.Errorf("got %d look-ups, %d for the first connection", n, once)
	}
}

// A fakeNet has addresses that accept connections after a time, or fail.
type fakeNet struct {
	*dialer
	dns *fakeDNS

	mu       sync.Mutex
	after    map[string]time.Duration // an address accepts connections after it; silent without it; guarded by mu
	errs     map[string]error         // an address fails at once; guarded by mu
	attempts map[string]int           // by address; guarded by mu
	open     map[string]int           // accepted connections that are not closed; guarded by mu
}

// newFakeNet returns a network with the names, each "name address address …".
func newFakeNet(t *testing.T, names ...string) *fakeNet {
	n := &fakeNet{dns: newFakeDNS(names...), after: make(map[string]time.Duration), errs: make(map[string]error), attempts: make(map[string]int), open: make(map[string]int)}
	n.dialer = newDialer(30*time.Second, n.connect, Addressing{})
	n.dialer.resolver.ask = n.dns.ask
	t.Cleanup(n.dialer.resolver.close)
	return n
}

// connect is the dialFunc of the network.
func (n *fakeNet) connect(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	n.mu.Lock()
	n.attempts[host]++
	after, accepts := n.after[host]
	err := n.errs[host]
	n.mu.Unlock()
	if !accepts && err == nil {
		after = time.Hour
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	select {
	case <-time.After(after):
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open[host]++
		ours, theirs := net.Pipe()
		theirs.Close()
		return &fakeConn{ours, n, host}, nil
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
}

// A fakeConn counts its end.
type fakeConn struct {
	net.Conn
	net  *fakeNet
	host string
}

func (c *fakeConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.open[c.host]--
	return c.Conn.Close()
}

// dialTo dials a host and returns the address of the connection, or the error, and the time.
func (n *fakeNet) dialTo(t *testing.T, hostPort string, public bool) (host string, took time.Duration) {
	t.Helper()
	begun := time.Now()
	c, err := n.dialHost(t.Context(), "tcp", hostPort, public)
	if err != nil {
		return err.Error(), time.Since(begun)
	}
	return c.(*fakeConn).host, time.Since(begun)
}

// TestDialerSpreads: the connections to a host go to all its addresses, of both families.
func TestDialerSpreads(t *testing.T) {
	for _, names := range []string{"a.test 192.0.2.1 192.0.2.2 192.0.2.3", "a.test 2001:db8::1 2001:db8::2 192.0.2.1", "a.test 192.0.2.1"} {
		t.Run(names, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newFakeNet(t, names)
				addrs := strings.Fields(names)[1:]
				for _, a := range addrs {
					n.after[a] = time.Millisecond
				}
				const each = 10
				var all sync.WaitGroup
				for range each * len(addrs) {
					all.Go(func() { n.dialTo(t, "a.test:80", false) })
				}
				all.Wait()
				for _, a := range addrs {
					if n.open[a] != each || n.attempts[a] != each {
						t.Errorf("%s: got %d connections in %d attempts, want %d", a, n.open[a], n.attempts[a], each)
					}
				}
				if lookups := n.dns.count("a.test"); lookups != 1 {
					t.Errorf("got %d lookups, want 1", lookups)
				}
			})
		})
	}
}

// TestDialerDead: an address that refuses connections, or does not respond, costs one dial a
// minute, and the others share the connections equally. It is used again when it is back.
func TestDialerDead(t *testing.T) {
	for name, refusal := range map[string]error{"refused": syscall.ECONNREFUSED, "unreachable": syscall.EHOSTUNREACH, "silent": nil} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newFakeNet(t, "a.test 192.0.2.1 192.0.2.2 192.0.2.3")
				n.after["192.0.2.1"], n.after["192.0.2.3"] = time.Millisecond, time.Millisecond
				if refusal != nil {
					n.errs["192.0.2.2"] = refusal
				}
				slow := 0
				for range 31 {
					_, took := n.dialTo(t, "a.test:80", false)
					if took >= attemptDelay {
						slow++
					}
				}
				if n.attempts["192.0.2.2"] != 1 || n.open["192.0.2.1"]+n.open["192.0.2.3"] != 31 || n.open["192.0.2.1"] < 15 || n.open["192.0.2.3"] < 15 {
					t.Errorf("got the attempts %v and the connections %v", n.attempts, n.open)
				}
				if want := map[bool]int{true: 1, false: 0}[refusal == nil]; slow != want {
					t.Errorf("%d dials were slow, want %d", slow, want)
				}
				time.Sleep(deadTime)
				n.after["192.0.2.2"] = time.Millisecond
				delete(n.errs, "192.0.2.2")
				for range 9 {
					n.dialTo(t, "a.test:80", false)
				}
				if n.open["192.0.2.2"] != 3 {
					t.Errorf("the address that is back has %d connections, want 3", n.open["192.0.2.2"])
				}
			})
		})
	}
}

// TestDialerFamily: a family that cannot be reached costs one attempt, for all hosts together, and
// is still used for a host that has no other address. When it works there, it is used again.
func TestDialerFamily(t *testing.T) {
	for name, refusal := range map[string]error{"no route": syscall.ENETUNREACH, "no support": syscall.EAFNOSUPPORT, "silent": nil, "no way": syscall.EHOSTUNREACH} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newFakeNet(t)
				for i := range 10 {
					n.dns.set(fmt.Sprintf("h%d.test 2001:db8::%d 192.0.2.%d", i, i+1, i+1))
					n.after[fmt.Sprintf("192.0.2.%d", i+1)] = time.Millisecond
					if six := fmt.Sprintf("2001:db8::%d", i+1); refusal != nil {
						n.errs[six] = refusal
					}
				}
				var took time.Duration
				for i := range 10 {
					for range 4 {
						_, d := n.dialTo(t, fmt.Sprintf("h%d.test:80", i), false)
						took += d
					}
				}
				attempts := 0
				for a, k := range n.attempts {
					if strings.Contains(a, ":") {
						attempts += k
					}
				}
				if attempts != 1 || took > time.Second {
					t.Errorf("IPv6 was tried %d times, and 40 connections took %v", attempts, took)
				}
				n.dns.set("six.test 2001:db8::99")
				n.after["2001:db8::99"] = time.Millisecond
				if got, _ := n.dialTo(t, "six.test:80", false); got != "2001:db8::99" {
					t.Errorf("a host with IPv6 only: got %s", got)
				}
				clear(n.errs)
				n.after["2001:db8::5"] = time.Millisecond
				for range 4 {
					n.dialTo(t, "h4.test:80", false)
				}
				if n.open["2001:db8::5"] == 0 {
					t.Error("IPv6 is not used although it works")
				}
			})
		})
	}
	t.Run("refused", func(t *testing.T) { // says nothing about the family
		inBubble(t, func(t *testing.T) {
			n := newFakeNet(t, "a.test 2001:db8::1 192.0.2.1", "b.test 2001:db8::2 192.0.2.2")
			n.errs["2001:db8::1"] = syscall.ECONNREFUSED
			n.after["192.0.2.1"], n.after["192.0.2.2"], n.after["2001:db8::2"] = time.Millisecond, time.Millisecond, time.Millisecond
			one, _ := n.dialTo(t, "a.test:80", false)
			two, _ := n.dialTo(t, "b.test:80", false)
			if one != "192.0.2.1" || two != "2001:db8::2" {
				t.Errorf("got %s and %s", one, two)
			}
		})
	})
}

// TestDialerDelays: the next address is tried after attemptDelay, and later if the first one has
// worked before. All connections but the first are closed.
func TestDialerDelays(t *testing.T) {
	t.Run("slow", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			n := newFakeNet(t, "a.test 192.0.2.1 192.0.2.2")
			n.after["192.0.2.1"], n.after["192.0.2.2"] = 400*time.Millisecond, 150*time.Millisecond
			if got, took := n.dialTo(t, "a.test:80", false); (got != "192.0.2.1" && got != "192.0.2.2") || took != 400*time.Millisecond+n.dns.delay {
				t.Errorf("got %s after %v", got, took)
			}
			if open := n.open["192.0.2.1"] + n.open["192.0.2.2"]; open != 1 {
				t.Errorf("%d connections are open, want 1", open)
			}
		})
	})
	t.Run("known", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			n := newFakeNet(t, "a.test 192.0.2.1 192.0.2.2")
			n.after["192.0.2.1"], n.after["192.0.2.2"] = time.Millisecond, time.Millisecond
			n.dialTo(t, "a.test:80", false)
			n.dialTo(t, "a.test:80", false)
			n.after["192.0.2.1"] = time.Second // a busy server
			if got, took := n.dialTo(t, "a.test:80", false); got != "192.0.2.1" || took != time.Second || n.attempts["192.0.2.2"] != 1 {
				t.Errorf("got %s after %v", got, took)
			}
			n.dialTo(t, "a.test:80", false)
			n.after["192.0.2.1"] = time.Hour // a server that was switched off
			if got, took := n.dialTo(t, "a.test:80", false); got != "192.0.2.2" || took != knownDelay+time.Millisecond {
				t.Errorf("got %s after %v", got, took)
			}
		})
	})
}

// TestDialerMoved: a host whose remembered addresses no longer accept connections is looked up
// again, once, and its new addresses are tried.
func TestDialerMoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newFakeNet(t, "a.test 192.0.2.1")
		n.after["192.0.2.1"], n.after["192.0.2.2"] = time.Millisecond, time.Millisecond
		n.dialTo(t, "a.test:80", false)
		n.errs["192.0.2.1"] = syscall.ECONNREFUSED
		n.dns.set("a.test 192.0.2.1 192.0.2.2")
		if got, _ := n.dialTo(t, "a.test:80", false); got != "192.0.2.2" || n.dns.count("a.test") != 2 || n.attempts["192.0.2.1"] != 2 {
			t.Errorf("got %s after %d lookups and the attempts %v", got, n.dns.count("a.test"), n.attempts)
		}
		n.errs["192.0.2.2"] = syscall.ECONNREFUSED
		if got, _ := n.dialTo(t, "a.test:80", false); !strings.HasSuffix(got, "connection refused") || n.dns.count("a.test") != 3 {
			t.Errorf("got %q after %d lookups", got, n.dns.count("a.test"))
		}
	})
}

// TestDialerPublic: a dial for a public source uses only the public addresses of a host, and no
// connection is opened if it has none.
func TestDialerPublic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newFakeNet(t, "mixed.test 10.0.0.1 ::1 203.0.113.1", "inside.test 10.0.0.1 fd00::1")
		for _, a := range []string{"10.0.0.1", "::1", "203.0.113.1", "fd00::1"} {
			n.after[a] = time.Millisecond
		}
		for range 6 {
			if got, _ := n.dialTo(t, "mixed.test:80", true); got != "203.0.113.1" {
				t.Errorf("got %s", got)
			}
		}
		for _, host := range []string{"inside.test:80", "127.0.0.1:80", "[::1]:80"} {
			if got, _ := n.dialTo(t, host, true); !strings.Contains(got, "is a private address") {
				t.Errorf("%s: got %s", host, got)
			}
		}
		if len(n.attempts) != 1 {
			t.Errorf("got the attempts %v", n.attempts)
		}
		for range 3 {
			n.dialTo(t, "mixed.test:80", false)
		}
		if len(n.open) != 3 {
			t.Errorf("a source that is not public uses %v, want all addresses", n.open)
		}
	})
}

// TestDialerError: the error of a host is that of an address which is in reach.
func TestDialerError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newFakeNet(t, "a.test 2001:db8::1 192.0.2.1", "b.test 2001:db8::1", "c.test 192.0.2.9 192.0.2.8")
		n.errs["2001:db8::1"], n.errs["192.0.2.1"] = syscall.ENETUNREACH, syscall.ECONNREFUSED
		for host, want := range map[string]string{
			"a.test:80": "dial tcp: connect: connection refused", "b.test:80": "dial tcp: connect: network is unreachable",
			"unknown.test:80": "dial tcp: lookup unknown.test: no such host", "a.test:port": "dial tcp: address a.test:port: invalid port",
		} {
			if got, _ := n.dialTo(t, host, false); got != want {
				t.Errorf("%s: got %q, want %q", host, got, want)
			}
		}
		c, err := n.dial(t.Context(), "tcp", "c.test:80")
		if c != nil || !isTimeout(err) {
			t.Errorf("a host that does not respond: got %v, want a timeout", err)
		}
		if n.hasResolved("unknown.test:80") || !n.hasResolved("c.test:80") {
			t.Error("the dialer does not know which hosts had addresses")
		}
	})
}

// TestRoutesForget: the number of remembered addresses is limited, and a failure for want of
// files says nothing about an address.
func TestRoutesForget(t *testing.T) {
	r := newRoutes()
	for i := range 3 * maxNames {
		r.noteWorked(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, byte(i >> 16), byte(i >> 8), byte(i)}), 80))
	}
	if n := len(r.known); n > maxNames+1 {
		t.Errorf("%d addresses are remembered", n)
	}
	a, b := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")
	r.noteFailed(a, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)})
	if got := r.order([]netip.AddrPort{a, b}, 0); got[0] != a {
		t.Error("too many open files make an address dead")
	}
	r.noteFailed(a, syscall.ECONNREFUSED)
	if got := r.order([]netip.AddrPort{a, b}, 0); got[0] != b {
		t.Error("an address that refuses connections stays the first")
	}
}
