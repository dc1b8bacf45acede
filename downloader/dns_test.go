package downloader

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// A dnsRig downloads the file f from the host files.example, whose DNS server can forget the
// name for a while.
type dnsRig struct {
	*testing.T
	srv     *faultserver.Server
	d       *Downloader
	st      *store.Store
	dir     string
	addr    string       // host and port of the URLs
	failing atomic.Int64 // number of further DNS queries that get NXDOMAIN

	mu     sync.Mutex
	events []Event // guarded by mu
}

func newDNSRig(t *testing.T, o Options) *dnsRig {
	t.Helper()
	r := &dnsRig{T: t, srv: faultserver.New(), dir: t.TempDir()}
	t.Cleanup(r.srv.Close)
	_, port, _ := net.SplitHostPort(r.srv.Listener.Addr().String())
	r.addr = net.JoinHostPort("files.example", port)
	st, err := store.Open(filepath.Join(r.dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Retry.Wait, o.Retry.MaxWait = time.Millisecond, 5*time.Millisecond
	o.OnEvent = func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
	r.st, r.d = st, New(st, o)
	t.Cleanup(r.d.Close)
	system := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = system })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serveDNS(server, func() bool { return r.failing.Add(-1) < 0 })
		return client, nil
	}}
	return r
}

// loseName makes the next lookups fail. Each one sends two DNS queries, for IPv4 and IPv6
// addresses.
func (r *dnsRig) loseName(lookups int64) {
	r.failing.Store(2 * lookups)
	r.d.transport.Address(&url.URL{Scheme: "http", Host: r.addr}).Forget()
}

func (r *dnsRig) get() error {
	_, err := r.d.Get(r.Context(), Request{URL: "http://" + r.addr + "/f", Into: File{Dir: r.dir}})
	return err
}

// retries returns the highest attempt number of the Retrying events, and the number of allowed
// tries in the same event.
func (r *dnsRig) retries() (attempt, tries int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == Retrying && e.Retry.Attempt > attempt {
			attempt, tries = e.Retry.Attempt, e.Retry.Tries
		}
	}
	return attempt, tries
}

// If a name had an address in this run, a failing lookup is repeated as often as any other
// request.
func TestLostNameRetried(t *testing.T) {
	r := newDNSRig(t, Options{Connections: 1})
	f := faultserver.NewFile(8<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.CutAt(3<<20, func() { r.loseName(6) }))
	if err := r.get(); err != nil {
		t.Fatal(err)
	}
	if n, tries := r.retries(); n < 5 || tries != 10 {
		t.Errorf("got attempt %d of %d, want 5 or 6 of 10", n, tries)
	}
}

// The same is true if the name had an address in an earlier run, which has begun the download.
func TestLostNameRetriedOnResume(t *testing.T) {
	r := newDNSRig(t, Options{Connections: 1, Retry: RetryPolicy{Tries: 2}})
	f := faultserver.NewFile(8<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.CutAt(3<<20, func() { r.loseName(1000) }))
	if err := r.get(); err == nil {
		t.Fatal("first run: got no error")
	}
	again := newDNSRig(t, Options{Connections: 1})
	again.dir, again.srv, again.addr, again.d.store = r.dir, r.srv, r.addr, r.st
	r.srv.Set()
	again.loseName(6)
	if err := again.get(); err != nil {
		t.Fatal(err)
	}
}

// A name that never had an address is given up after three tries, and the events report the
// same number of tries as the error.
func TestUnknownNameGivenUp(t *testing.T) {
	r := newDNSRig(t, Options{})
	r.failing.Store(1 << 40)
	err := r.get()
	if !errors.Is(err, failure.ErrNetwork) || !strings.Contains(err.Error(), "after 3 tries") {
		t.Errorf("got error %v, want an ErrNetwork after 3 tries", err)
	}
	if n, tries := r.retries(); n != 2 || tries != 3 {
		t.Errorf("got attempt %d of %d, want 2 of 3", n, tries)
	}
}

// serveDNS answers the queries on c, a DNS connection over TCP (RFC 1035 §4.2.2). It calls
// exists for each query. If that returns true, the name has the IPv4 address 127.0.0.1;
// otherwise it does not exist.
func serveDNS(c net.Conn, exists func() bool) {
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
		end := 12         // of the header; the name follows
		for q[end] != 0 { // a label: its length, then its bytes
			end += 1 + int(q[end])
		}
		end += 5 // the zero byte, type and class
		known := exists()
		isA := known && q[end-3] == 1
		a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if !known {
			a[3] = 0x83 // NXDOMAIN
		}
		if isA {
			a[7] = 1
			a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
		}
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
	}
}
