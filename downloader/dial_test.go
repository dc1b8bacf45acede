package downloader

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"pawl/downloader/hosts"
	"sync/atomic"
	"testing"
	"time"
)

// answerDNS answers the queries on c, of a stream (RFC 1035 §4.2.2): every name has the
// IPv4 address 127.0.0.1.
func answerDNS(c net.Conn) { answerNames(c, func() bool { return true }) }

// answerNames is answerDNS for names that exist only if exists says so, once a query.
func answerNames(c net.Conn, exists func() bool) {
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
		there := exists()
		is4 := q[end-3] == 1 && there
		a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if !there {
			a[3] = 0x83 // NXDOMAIN
		}
		if is4 {
			a[7] = 1
			a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
		}
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
	}
}

// TestDialer: a name is looked up once for many connections, and again when its address
// is old or does not answer.
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
	var lookups atomic.Int32
	d := &dialer{Dialer: net.Dialer{Timeout: 5 * time.Second, Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		lookups.Add(1)
		ours, theirs := net.Pipe()
		go answerDNS(theirs)
		return ours, nil
	}}}}
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
	if dial(named, true) == 0 {
		t.Fatal("the name was not looked up")
	}
	for range 5 {
		if dial(named, true) != 0 {
			t.Error("the name was looked up again")
		}
	}
	d.known[named] = address{d.known[named].ipPort, time.Now().Add(-time.Second)}
	if dial(named, true) == 0 {
		t.Error("an old address was used")
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	d.known[named] = address{gone.Addr().String(), time.Now().Add(time.Minute)}
	if dial(named, true) == 0 {
		t.Error("no lookup, though the address does not answer")
	}
	if got := d.known[named].ipPort; got != l.Addr().String() {
		t.Errorf("then: got %s, want %s", got, l.Addr())
	}
	l.Close()
	if dial(named, false); d.known[named] != (address{}) {
		t.Error("an address that does not answer is remembered")
	}
	if dial(gone.Addr().String(), false) != 0 || len(d.known) != 0 {
		t.Error("an address needs no lookup, nor to be remembered")
	}
}

// TestMachineForgotten: after an error of a machine, its name is looked up again.
func TestMachineForgotten(t *testing.T) {
	for code, want := range map[int]bool{200: false, 206: false, 404: false, 500: true, 503: true} {
		d := New(nil, Options{})
		const addr = "files.example:80"
		h := hosts.New(hosts.Options{Address: hostAddress{hostPort: addr, dialer: d.dialer}})
		d.dialer.remember(addr, "127.0.0.1:1", time.Now())
		resp := &http.Response{StatusCode: code, Request: &http.Request{URL: &url.URL{Host: "files.example"}}}
		(&job{d: d}).outcome(h, resp, nil)
		if got := d.dialer.recall(addr, time.Now()) == ""; got != want {
			t.Errorf("after %d: forgotten: got %v, want %v", code, got, want)
		}
		d.dialer.remember(addr, "127.0.0.1:1", time.Now())
		if (&job{d: d}).outcome(h, nil, io.EOF); d.dialer.recall(addr, time.Now()) != "" {
			t.Error("a broken connection leaves its address")
		}
	}
}
