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

// A nameRig downloads from a name whose server of names may lose it.
type nameRig struct {
	*testing.T
	srv  *faultserver.Server
	d    *Downloader
	st   *store.Store
	dir  string
	addr string       // host and port, as in URLs
	left atomic.Int64 // queries that are still answered with NXDOMAIN

	mu     sync.Mutex
	events []Event
}

func newNameRig(t *testing.T, o Options) *nameRig {
	t.Helper()
	r := &nameRig{T: t, srv: faultserver.New(), dir: t.TempDir()}
	t.Cleanup(r.srv.Close)
	_, port, _ := net.SplitHostPort(r.srv.Listener.Addr().String())
	r.addr = net.JoinHostPort("files.example", port)
	st, err := store.Open(filepath.Join(r.dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.RetryWait, o.RetryMaxWait = time.Millisecond, 5*time.Millisecond
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
		ours, theirs := net.Pipe()
		go answerNames(theirs, func() bool { return r.left.Add(-1) < 0 })
		return ours, nil
	}}
	return r
}

// lose loses the name for so many lookups, each of which asks for two types of address.
func (r *nameRig) lose(lookups int64) {
	r.left.Store(2 * lookups)
	r.d.transport.Address(&url.URL{Scheme: "http", Host: r.addr}).Forget()
}

func (r *nameRig) get() error {
	_, err := r.d.Get(r.Context(), Request{URL: "http://" + r.addr + "/f", Dir: r.dir})
	return err
}

// retries returns the highest attempt that was reported, and out of how many.
func (r *nameRig) retries() (attempt, tries int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == Retrying && e.Attempt > attempt {
			attempt, tries = e.Attempt, e.Tries
		}
	}
	return attempt, tries
}

// TestNameLost: a name that has had an address in this run is looked up for as long as
// there are tries.
func TestNameLost(t *testing.T) {
	r := newNameRig(t, Options{Connections: 1})
	f := faultserver.NewFile(8<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.CutAt(3<<20, func() { r.lose(6) }))
	if err := r.get(); err != nil {
		t.Fatal(err)
	}
	if n, tries := r.retries(); n < 5 || tries != 10 {
		t.Errorf("got %d tries of %d, want 5 or 6 of 10", n, tries)
	}
}

// TestNameLostOnResume: the same for a download that an earlier run has begun.
func TestNameLostOnResume(t *testing.T) {
	r := newNameRig(t, Options{Connections: 1, Tries: 2})
	f := faultserver.NewFile(8<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.CutAt(3<<20, func() { r.lose(1000) }))
	if err := r.get(); err == nil {
		t.Fatal("it did not fail")
	}
	again := newNameRig(t, Options{Connections: 1})
	again.dir, again.srv, again.addr, again.d.store = r.dir, r.srv, r.addr, r.st
	r.srv.Set()
	again.lose(6)
	if err := again.get(); err != nil {
		t.Fatal(err)
	}
}

// TestNameNever: a name that never had an address is given up soon, and the count that
// is reported is the one that ends it.
func TestNameNever(t *testing.T) {
	r := newNameRig(t, Options{})
	r.left.Store(1 << 40)
	err := r.get()
	if !errors.Is(err, failure.ErrNetwork) || !strings.Contains(err.Error(), "after 3 tries") {
		t.Errorf("got %v, want an failure.ErrNetwork after 3 tries", err)
	}
	if n, tries := r.retries(); n != 2 || tries != 3 {
		t.Errorf("reported %d of %d, want 2 of 3", n, tries)
	}
}

// answerNames answers the DNS queries on c, a stream (RFC 1035 §4.2.2): every name has the IPv4
// address 127.0.0.1 if exists, which is called once for each query, returns true.
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
