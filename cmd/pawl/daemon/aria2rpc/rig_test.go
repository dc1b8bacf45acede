package aria2rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/store"
)

// secret is the secret of all servers in the tests.
const secret = "secret-of-test"

// patience is how long a test waits for an event. It is long, because machines may be slow.
const patience = time.Minute

// An origin is a server of files. Its files /slow… take minutes, all connections together, and all others come at
// once. Those with 404 in their names are not there.
type origin struct {
	*httptest.Server
	ctx  context.Context // of the test
	turn sync.Mutex      // held while a piece of a slow file is sent

	mu   sync.Mutex
	seen []http.Header // of the requests; guarded by mu
}

const (
	slowSize  = 64 << 20
	quickSize = 300_000
)

func newOrigin(t *testing.T) *origin {
	o := &origin{ctx: t.Context()}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.seen = append(o.seen, r.Header)
	o.mu.Unlock()
	slow := strings.HasPrefix(r.URL.Path, "/slow")
	switch {
	case strings.Contains(r.URL.Path, "404"):
		http.NotFound(w, r)
		return
	case slow:
		w = &slowWriter{w, o, r.Context()}
	}
	size := quickSize
	if slow {
		size = slowSize
	}
	w.Header().Set("ETag", `"1"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, size)))
}

// A slowWriter sends 20 kB in 20 ms at most.
type slowWriter struct {
	http.ResponseWriter
	origin  *origin
	request context.Context
}

func (w *slowWriter) Write(b []byte) (n int, err error) {
	for piece := 20_000; len(b) > 0; b = b[min(piece, len(b)):] {
		if err := w.wait(); err != nil {
			return n, err
		}
		m, err := w.ResponseWriter.Write(b[:min(piece, len(b))])
		if n += m; err != nil {
			return n, err
		}
		w.ResponseWriter.(http.Flusher).Flush()
	}
	return n, nil
}

func (w *slowWriter) wait() error {
	w.origin.turn.Lock()
	defer w.origin.turn.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-w.request.Done():
		return w.request.Err()
	case <-w.origin.ctx.Done():
		return w.origin.ctx.Err()
	}
}

// A rig is a queue, a handler for it, and its client.
type rig struct {
	*client
	queue *queue.Queue
	root  string
	log   *lockedBuffer
	state *store.Store
	dir   string       // of state
	rate  atomic.Int64 // limit of all downloads, set by the handler
	stops atomic.Int64 // calls of Options.Stop
}

// A lockedBuffer is a buffer for a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig runs a queue with so many jobs; 0 for a queue that does not run.
func newRig(t testing.TB, jobs int) *rig {
	t.Helper()
	r := &rig{root: t.TempDir(), log: new(lockedBuffer)}
	r.dir = t.TempDir()
	st, err := store.Open(r.dir, store.Options{Root: r.root, Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	r.state = st
	d := downloader.New(st, downloader.Options{Retry: downloader.RetryPolicy{Tries: 2, Wait: 10 * time.Millisecond}})
	r.queue, err = queue.Open(st, d, queue.Options{Root: r.root, Jobs: max(1, jobs), ExitCode: func(error) int { return 8 }})
	if err != nil {
		t.Fatal(err)
	}
	h := New(r.queue, Options{
		Authorize: func(r *http.Request, token string) bool {
			return token == secret || token == "" && r.Header.Get("Authorization") == "Bearer "+secret
		},
		Version:      "test",
		LimitRate:    r.rate.Load,
		SetLimitRate: r.rate.Store,
		Stop:         func() { r.stops.Add(1) },
		Log:          slog.New(slog.NewTextHandler(r.log, nil)),
	})
	srv := httptest.NewServer(h)
	r.client = &client{t: t, url: srv.URL + "/jsonrpc"}
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if jobs > 0 {
			if err := r.queue.Run(ctx); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		d.Close()
	})
	return r
}

// A client calls aria2's RPC, of pawl or of aria2.
type client struct {
	t   testing.TB
	url string
}

// A reply is the reply to one call.
type reply struct {
	ID     any `json:"id"`
	Result any `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`

	status int
}

// post sends a text, and returns the status and the body of the answer.
func (c *client) post(text string) (int, string) {
	c.t.Helper()
	res, err := http.Post(c.url, "application/json", strings.NewReader(text))
	if err != nil {
		c.t.Fatalf("%.200s: %v", text, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// call calls a method with the secret.
func (c *client) call(method string, params ...any) (r reply) {
	c.t.Helper()
	status, body := c.post(request(method, append([]any{"token:" + secret}, params...)...))
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		c.t.Fatalf("%s: %d %s", method, status, body)
	}
	r.status = status
	return r
}

// request returns the text of a call.
func request(method string, params ...any) string {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// must returns the result of a call that must not fail.
func (c *client) must(method string, params ...any) any {
	c.t.Helper()
	r := c.call(method, params...)
	if r.Error != nil {
		c.t.Fatalf("%s %v: %s", method, params, r.Error.Message)
	}
	return r.Result
}

// add adds a download and returns its GID.
func (c *client) add(uri string, options map[string]any) string {
	c.t.Helper()
	if options == nil {
		options = map[string]any{}
	}
	return c.must("aria2.addUri", []string{uri}, options).(string)
}

// await waits until a download has a status and, if it is an active one, some bytes.
func (c *client) await(gid, status string) map[string]any {
	c.t.Helper()
	var s map[string]any
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s = c.must("aria2.tellStatus", gid).(map[string]any)
		if s["status"] == status && (status != "active" || s["completedLength"] != "0") {
			return s
		}
	}
	c.t.Fatalf("%s is not %s: %v", gid, status, s)
	return nil
}

// A listener is a WebSocket that collects notifications.
type listener struct {
	conn *websocket.Conn
	mu   sync.Mutex
	got  map[string][]string // names of the notifications by GID; guarded by mu
	ids  []string            // ids of the answers; guarded by mu
}

// listen opens a WebSocket, and collects the messages until the test ends.
func (c *client) listen() *listener {
	c.t.Helper()
	conn, _, err := websocket.Dial(context.Background(), strings.Replace(c.url, "http", "ws", 1), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	l := &listener{conn: conn, got: make(map[string][]string)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_, text, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			l.note(text)
		}
	}()
	c.t.Cleanup(func() {
		conn.CloseNow()
		<-ended
	})
	return l
}

func (l *listener) note(text []byte) {
	var m struct {
		ID     any
		Method string
		Params []struct{ GID string }
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := json.Unmarshal(text, &m); err != nil || m.Method == "" || len(m.Params) != 1 {
		l.ids = append(l.ids, fmt.Sprint(m.ID))
		return
	}
	gid := m.Params[0].GID
	l.got[gid] = append(l.got[gid], strings.TrimPrefix(m.Method, "aria2.onDownload"))
}

// of returns the notifications of a download.
func (l *listener) of(gid string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.got[gid], " ")
}

// await waits until a download has had notifications.
func (l *listener) await(t testing.TB, gid, want string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end) && l.of(gid) != want; time.Sleep(10 * time.Millisecond) {
	}
	if got := l.of(gid); got != want {
		t.Errorf("notifications: got %q, want %q", got, want)
	}
}

// needProgram skips the test if a program is missing. With PAWL_TEST_SERVERS=required that fails it.
func needProgram(t *testing.T, missing error, reason string) {
	t.Helper()
	switch {
	case missing == nil:
	case os.Getenv("PAWL_TEST_SERVERS") == "required":
		t.Fatalf("%s: %v", reason, missing)
	default:
		t.Skipf("%s: %v", reason, missing)
	}
}

// dial opens a WebSocket, and returns a function that sends a request and returns the answer to it.
func (c *client) dial() func(text string) string {
	c.t.Helper()
	conn, _, err := websocket.Dial(context.Background(), strings.Replace(c.url, "http", "ws", 1), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	c.t.Cleanup(func() { conn.CloseNow() })
	return func(text string) string {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			c.t.Fatal(err)
		}
		for {
			_, answer, err := conn.Read(ctx)
			if err != nil {
				c.t.Fatal(err)
			}
			if !bytes.Contains(answer, []byte(`"method":"aria2.on`)) {
				return string(answer)
			}
		}
	}
}
