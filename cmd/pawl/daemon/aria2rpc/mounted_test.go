package aria2rpc

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"pawl/cmd/pawl/daemon"
)

// mount serves the handler of a rig as pawl daemon does, and makes the client of the rig use that.
func mount(t *testing.T, r *rig) (stop func()) {
	t.Helper()
	s := daemon.New(r.queue, daemon.Options{Secret: secret, Root: r.root, LimitRate: r.rate.Load, SetLimitRate: r.rate.Store, RPC: func(s *daemon.Server) http.Handler {
		return New(r.queue, Options{Authorize: s.Authorize, AcquireSocket: s.AcquireSocket, CheckOrigin: s.CheckOrigin, Stats: s.Rate, LimitRate: r.rate.Load, SetLimitRate: r.rate.Store})
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + l.Addr().String() + "/jsonrpc"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = func() {
		if cancel(); ended == nil {
			return
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended = nil
	}
	t.Cleanup(stop)
	return stop
}

// TestMounted drives the handler in the server of pawl daemon, with its checks.
func TestMounted(t *testing.T) {
	t.Parallel()
	o, r := newOrigin(t), newRig(t, 2)
	stop := mount(t, r)
	if _, err := exec.LookPath("python3"); err == nil {
		runClient(t, r, o, "python3", "testdata/websocket.py")
	}
	info := func(token string) string { return request("aria2.getSessionInfo", "token:"+token) }
	for _, c := range []struct {
		name, text string
		header     [2]string
		status     int
		want       string
	}{
		{"secret", info(secret), [2]string{}, 200, "sessionId"},
		{"wrong secret", info("x"), [2]string{}, 400, "Unauthorized"},
		{"Bearer", info(""), [2]string{"Authorization", "Bearer " + secret}, 200, "sessionId"},
		{"another page", info(secret), [2]string{"Origin", "https://evil.example"}, 403, ""},
		{"extension", info(secret), [2]string{"Origin", "chrome-extension://abc"}, 200, "sessionId"},
		{"too large", "[" + strings.Repeat(" ", maxRequest) + "]", [2]string{}, 413, ""},
	} {
		req, _ := http.NewRequest("POST", r.url, strings.NewReader(c.text))
		if c.header[0] != "" {
			req.Header.Set(c.header[0], c.header[1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		b := new(strings.Builder)
		res.Write(b)
		res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: got %s", c.name, b)
		}
	}
	_, res, err := websocket.Dial(t.Context(), r.url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || res == nil || res.StatusCode != 403 {
		t.Errorf("a WebSocket of another page: %v", err)
	}
	conn, _, err := websocket.Dial(t.Context(), r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the WebSocket outlives the server: %v", err)
	}
}
