package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
	"pawl/store"
)

// secret is the secret of all tests.
const secret = "5ec2e7-of-this-daemon-0123456789"

// A rig is a daemon with connections in memory, and a server of files.
type rig struct {
	t       testing.TB
	net     *faultserver.Network
	files   *faultserver.Server
	state   string
	root    string
	queue   *queue.Queue
	server  *Server
	scheme  string // http:// or https://
	address string // HOST:PORT
	client  *Client
	log     *syncBuffer
	stop    func()
}

// A syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inBubble runs a test with a fake clock.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // what was closed or cancelled just now ends
		test(t)
	})
}

// newRig starts a daemon. change may be nil.
func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, scheme: "http://", net: faultserver.NewNetwork(), state: t.TempDir(), root: t.TempDir(), log: new(syncBuffer)}
	r.files = r.net.New()
	t.Cleanup(r.files.Close)
	st, err := store.Open(r.state, store.Options{Root: r.root})
	if err != nil {
		t.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{Dial: r.net.Dial, Retry: downloader.RetryPolicy{Tries: 1, Wait: time.Millisecond}})
	r.queue, err = queue.Open(st, d, queue.Options{
		Root: r.root, Jobs: 1,
		RunList: func(context.Context, queue.Task, *downloader.Handle, func(queue.Files)) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var rate int64
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{
		Version: "1.2.3", Root: r.root, Secret: secret, Stop: cancel,
		LimitRate: func() int64 { return rate }, SetLimitRate: func(n int64) { rate = n },
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	r.server = New(r.queue, o)
	l := r.net.Listen()
	r.address = l.Addr().String()
	r.client = &Client{Address: "http://" + r.address, Secret: secret, HTTP: r.newClient()}
	ended := make(chan error, 2)
	go func() { ended <- r.server.Serve(ctx, l) }()
	go func() { ended <- r.queue.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		d.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// newClient returns an HTTP client that reaches the servers of the rig, and follows no redirects.
func (r *rig) newClient() *http.Client {
	t := &http.Transport{DialContext: r.net.Dial}
	r.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// dial opens a connection to the daemon.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := r.net.Dial(r.t.Context(), "tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// An answer is the answer to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// errorCode returns the code of the error that a is, "" if it is none.
func (a answer) errorCode() string {
	var body struct{ Error Error }
	json.Unmarshal([]byte(a.body), &body)
	return body.Error.Code
}

// send sends a request with header fields of the form "Name: value"; Host is one of them.
func (r *rig) send(method, path, body string, fields ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.scheme+r.address+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if req.Header.Add(name, value); name == "Host" {
			req.Host = value
		}
	}
	res, err := r.client.HTTP.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// withSecret is the header field that has the right secret.
const withSecret = "Authorization: Bearer " + secret

// api sends a request to the API with the secret.
func (r *rig) api(method, path, body string) answer {
	r.t.Helper()
	return r.send(method, apiPrefix+path, body, withSecret)
}

// put puts a file on the server of files and returns its URL.
func (r *rig) put(name string, size int64) string {
	r.files.Put(name, faultserver.NewFile(size, 1))
	return r.files.URL + "/" + name
}

// await waits until a task has a state.
func (r *rig) await(id store.ID, want queue.State) {
	r.t.Helper()
	for range 1000 {
		synctest.Wait()
		if task, err := r.queue.Task(id); err == nil && task.State == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	task, err := r.queue.Task(id)
	r.t.Fatalf("%s: %s (%s, %v), want %s", id, task.State, task.Reason, err, want)
}

// transactions returns how many transactions have changed the state file: bbolt numbers them, in its two meta
// pages by turns.
func (r *rig) transactions() uint64 {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.state, "pawl.db"))
	if err != nil {
		r.t.Fatal(err)
	}
	const magic, pageSize, number = 16, 24, 64 // offsets in a meta page
	if binary.NativeEndian.Uint32(data[magic:]) != 0xED0CDAED {
		r.t.Fatal("the state file has another format, so this test is out of date")
	}
	size := binary.NativeEndian.Uint32(data[pageSize:])
	return max(binary.NativeEndian.Uint64(data[number:]), binary.NativeEndian.Uint64(data[size+number:]))
}
