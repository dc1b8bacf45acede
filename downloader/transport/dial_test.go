package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
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

// TestDialer: a name is looked up once for many connections, and again when its address is old,
// does not accept connections, or is forgotten.
func TestDialer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	lookups := nameEverything(t)
	d := newDialer(5*time.Second, nil)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	named := net.JoinHostPort("files.example", port)
	dial := func(to string, want bool) (asked int32) {
		t.Helper()
		before := lookups.Load()
		c, err := d.dial(t.Context(), "tcp", to)
		if (err == nil) != want {
			t.Errorf("dial %s: got %v, want success %v", to, err, want)
		}
		if c != nil {
			c.Close()
		}
		return lookups.Load() - before
	}
	if d.hasResolved(named) {
		t.Error("an address is known before the first dial")
	}
	if dial(named, true) == 0 || !d.hasResolved(named) {
		t.Fatal("the name was not looked up")
	}
	for range 5 {
		if dial(named, true) != 0 {
			t.Error("the name was looked up again")
		}
	}
	d.remember(named, l.Addr().String(), time.Now().Add(-lookupTTL))
	if dial(named, true) == 0 {
		t.Error("an old address was used")
	}
	d.forget(named)
	if dial(named, true) == 0 {
		t.Error("a forgotten address was used")
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	d.remember(named, gone.Addr().String(), time.Now())
	if dial(named, true) == 0 {
		t.Error("no look-up, though the address does not accept connections")
	}
	if got := d.recall(named, time.Now()); got != l.Addr().String() {
		t.Errorf("then: got %s, want %s", got, l.Addr())
	}
	l.Close()
	if dial(named, false); d.recall(named, time.Now()) != "" {
		t.Error("an address that does not accept connections is remembered")
	}
	if dial(gone.Addr().String(), false) != 0 || d.recall(gone.Addr().String(), time.Now()) != "" {
		t.Error("an IP address is looked up or remembered")
	}
}

// TestDialerForgets: the number of remembered names is limited.
func TestDialerForgets(t *testing.T) {
	d := newDialer(time.Second, nil)
	for i := range 5 * maxNames {
		name := fmt.Sprintf("h%d:443", i)
		d.remember(name, "127.0.0.1:443", time.Now())
		d.noteResolved(name)
		if d.recall(name, time.Now()) == "" || !d.hasResolved(name) {
			t.Fatalf("%s is not remembered", name)
		}
	}
	if len(d.known) > maxNames+1 || len(d.resolved) > maxNames+1 {
		t.Errorf("%d and %d names are remembered", len(d.known), len(d.resolved))
	}
}
