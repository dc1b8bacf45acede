package daemon

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"pawl/downloader/queue"
)

// withRPC mounts a handler like that of aria2's RPC: each line of the body is a token that it authorizes.
func withRPC(o *Options) {
	o.RPC = func(s *Server) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isUpgrade(r) {
				serveSocket(s, w, r)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), asError(err).Status)
				return
			}
			for token := range strings.SplitSeq(string(body), "\n") {
				fmt.Fprintln(w, s.Authorize(r, token))
			}
		})
	}
}

// serveSocket answers each message of a WebSocket with whether it is the secret.
func serveSocket(s *Server, w http.ResponseWriter, r *http.Request) {
	release, ok := s.AcquireSocket()
	if !ok {
		http.Error(w, "too many", http.StatusServiceUnavailable)
		return
	}
	defer release()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		_, token, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), websocket.MessageText, fmt.Append(nil, s.Authorize(r, string(token)))); err != nil {
			return
		}
	}
}

// TestSockets checks that 200 WebSockets of the RPC handler without the secret are few, that they do not keep out one
// with the secret, and that they do not push out those.
func TestSockets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, withRPC)
		open := func() *websocket.Conn {
			c, _, err := websocket.Dial(t.Context(), "ws://"+r.address+"/jsonrpc", &websocket.DialOptions{HTTPClient: r.client.HTTP})
			if err != nil {
				return nil
			}
			t.Cleanup(func() { c.CloseNow() })
			return c
		}
		authorize := func(c *websocket.Conn, token string) string {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(token)); err != nil {
				return err.Error()
			}
			_, text, err := c.Read(t.Context())
			if err != nil {
				return err.Error()
			}
			return string(text)
		}
		friend := open()
		for token, want := range map[string]string{"wrong": "false", secret: "true"} {
			if got := authorize(friend, token); got != want {
				t.Errorf("%q: got %s", token, got)
			}
		}
		for i := range 200 {
			if open() == nil {
				t.Errorf("the socket %d is refused", i)
			}
		}
		if n := r.server.conns.count(); n > maxStreams+2 {
			t.Errorf("%d connections are open", n)
		}
		second := open()
		if second == nil || authorize(second, secret) != "true" || authorize(friend, secret) != "true" {
			t.Error("there is no socket for somebody with the secret")
		}
		for range maxStreams - 2 {
			if c := open(); c == nil || authorize(c, secret) != "true" {
				t.Fatal("fewer sockets than the limit")
			}
		}
		if open() != nil || authorize(friend, secret) != "true" {
			t.Error("more sockets with the secret than the limit")
		}
	})
}

// TestForeign checks which Hosts and Origins are refused, on all paths and before anything else.
func TestForeign(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			withRPC(o)
			o.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the page") })
			o.Hosts, o.Origins = []string{"NAS.example"}, []string{"https://ariang.example", "null"}
		})
		_, port, _ := strings.Cut(r.address, ":")
		requests := []struct {
			method, path, body string
			fields             []string
		}{
			{"GET", "/", "", nil},
			{"GET", "/open?token=x", "", nil},
			{"GET", "/api/v1/tasks", "", []string{withSecret}},
			{"POST", "/api/v1/tasks", `{"urls":["http://127.0.0.1/f"]}`, []string{withSecret, "Content-Type: text/plain"}},
			{"POST", "/api/v1/tasks/pause", "a=b", []string{withSecret, "Content-Type: application/x-www-form-urlencoded"}},
			{"DELETE", "/api/v1/history", "", []string{withSecret}},
			{"GET", "/api/v1/events", "", []string{withSecret, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}},
			{"POST", "/jsonrpc", secret, []string{"Content-Type: text/plain"}},
			{"GET", "/jsonrpc?method=aria2.getVersion&jsoncallback=f", "", nil},
			{"OPTIONS", "/jsonrpc", "", []string{"Access-Control-Request-Method: POST"}},
		}
		foreign := []string{
			"Host: evil.example", "Host: evil.example:" + port, "Host: 127.0.0.1.evil.example", "Host: localhost.evil.example", "Host: 192.168.1.1", "Host: 0.0.0.0",
			"Host: 127.0.0.2", "Host: [::2]:" + port, "Host: 2130706433", "Host: x.localhost", "Host: nas.example.evil.example",
			"Origin: http://evil.example", "Origin: http://localhost:3000", "Origin: http://127.0.0.1", "Origin: http://localhost:" + port, // not the Host of the request
			"Origin: https://ariang.example.evil.example", "Origin: http://ariang.example", "Origin: file://", "Origin: ", "Origin: chrome-extension://", "Origin: ftp://" + r.address,
			"Sec-Fetch-Mode: no-cors\nSec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Site: same-site",
		}
		for _, f := range foreign {
			for _, req := range requests {
				a := r.send(req.method, req.path, req.body, append(req.fields, strings.Split(f, "\n")...)...)
				if a.status != 403 || a.errorCode() != "origin" || a.header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s %s with %q: got %d %s, want 403", req.method, req.path, f, a.status, a.body)
				}
			}
		}
		if unfinished, ended := r.queue.IDs(); len(unfinished)+len(ended) > 0 {
			t.Error("a foreign page has added a task")
		}
		for _, f := range []string{
			"Host: localhost", "Host: LOCALHOST:" + port, "Host: localhost.:" + port, "Host: 127.0.0.1:1", "Host: [::1]:" + port, "Host: nas.example:80",
			"Origin: http://" + r.address, "Origin: https://" + r.address, "Origin: chrome-extension://abcdef", "Origin: moz-extension://0-1-2", "Origin: https://ariang.example", "Origin: null",
			"Sec-Fetch-Mode: no-cors\nSec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate\nSec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors\nSec-Fetch-Site: none",
		} {
			a := r.send("GET", "/api/v1/status", "", append(strings.Split(f, "\n"), withSecret)...)
			if a.status != 200 {
				t.Errorf("%q: got %d %s", f, a.status, a.body)
			}
			origin, isOrigin := strings.CutPrefix(f, "Origin: ")
			cors := a.header.Get("Access-Control-Allow-Origin")
			if own := strings.HasSuffix(origin, r.address); isOrigin && !own && cors != origin || (!isOrigin || own) && cors != "" {
				t.Errorf("%q: Access-Control-Allow-Origin is %q", f, cors)
			}
			if !strings.Contains(a.header.Get("Vary"), "Origin") || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%q: got the header %v", f, a.header)
			}
		}
		pre := r.send("OPTIONS", "/api/v1/tasks", "", "Origin: https://ariang.example", "Access-Control-Request-Method: POST",
			"Access-Control-Request-Headers: authorization", "Access-Control-Request-Private-Network: true")
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": "https://ariang.example", "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
			"Access-Control-Allow-Headers": "Authorization, Content-Type, X-Pawl", "Access-Control-Allow-Private-Network": "true",
		} {
			if got := pre.header.Get(name); pre.status != 204 || got != want {
				t.Errorf("preflight: %d with %s: %q, want %q", pre.status, name, got, want)
			}
		}
		if a := r.send("POST", "/jsonrpc", secret, "Origin: chrome-extension://abcdef"); a.body != "true\n" {
			t.Errorf("RPC of an extension: %+v", a)
		}
	})
}

// TestUnauthorized checks that nothing of the API is answered without the secret.
func TestUnauthorized(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, route := range apiRoutes {
			path := apiPrefix + strings.ReplaceAll(route.path, "{id}", "0123456789abcdef")
			for f, wait := range map[string]time.Duration{
				"X-Nothing: x": 0, "Authorization: Basic dXNlcjpwYXNz": 0, "Cookie: " + r.server.keeper.cookieName() + "=x": 0,
				"Authorization: Bearer " + secret[1:]: guessTime, "Authorization: Bearer " + secret + "0": guessTime, "Authorization: Bearer": 0,
			} {
				start := time.Now()
				a := r.send(route.method, path, "{}", f)
				if a.status != 401 || a.errorCode() != "auth" || a.header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s %s with %q: %d %s", route.method, path, f, a.status, a.body)
				}
				if took := time.Since(start); took < wait || took > wait+100*time.Millisecond {
					t.Errorf("%s %s with %q: the answer took %v, want %v", route.method, path, f, took, wait)
				}
			}
		}
		if New(r.queue, Options{}).keeper.isSecret("") {
			t.Error("without a secret, an empty one is right")
		}
	})
}

// TestWrongSecrets checks that 1,000 wrong secrets at a time neither take more than the connections and
// goroutines that are allowed, nor keep the right one waiting.
func TestWrongSecrets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, withRPC)
		synctest.Wait()
		goroutines, memory := runtime.NumGoroutine(), heap()
		for i := range 1000 {
			c := r.dial()
			if i%2 == 0 {
				fmt.Fprintf(c, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-%d\r\n\r\n", i)
			} else {
				fmt.Fprintf(c, "POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nwrong")
			}
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - goroutines; n > 2*maxConns+10 {
			t.Errorf("%d more goroutines", n)
		}
		if n := r.server.conns.count(); n > maxConns {
			t.Errorf("%d connections, want at most %d", n, maxConns)
		}
		t.Logf("1,000 wrong secrets: %d connections, %d goroutines, %d KiB", r.server.conns.count(), runtime.NumGoroutine()-goroutines, (heap()-memory)>>10)
		start := time.Now()
		if a := r.api("GET", "/status", ""); a.status != 200 || time.Since(start) > 100*time.Millisecond {
			t.Errorf("the right secret: %d after %v", a.status, time.Since(start))
		}
		time.Sleep(2 * idleTime)
		if n := r.server.conns.count(); n > 0 || len(r.server.keeper.guesses) > 0 {
			t.Errorf("later: %d connections, %d wait", n, len(r.server.keeper.guesses))
		}
		if lines := strings.Count(r.log.String(), "\n"); lines > 10 {
			t.Errorf("%d lines of log: %s", lines, r.log)
		}
	})
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestGuessesInOneRequest checks that a request with many tokens, as in system.multicall, is one guess.
func TestGuessesInOneRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, withRPC)
		for _, tt := range []struct {
			tokens string
			want   string
			wait   time.Duration
		}{
			{secret + "\n" + secret, "true\ntrue\n", 0},
			{strings.Repeat("wrong\n", 1000) + secret, strings.Repeat("false\n", 1001), guessTime},
			{secret + "\nwrong\n" + secret, "true\nfalse\nfalse\n", guessTime},
		} {
			start := time.Now()
			a := r.send("POST", "/jsonrpc", tt.tokens)
			if took := time.Since(start); a.body != tt.want || took < tt.wait || took > tt.wait+100*time.Millisecond {
				t.Errorf("%.20q: got %.40q after %v, want %.40q after %v", tt.tokens, a.body, took, tt.want, tt.wait)
			}
		}
		if a := r.send("POST", "/jsonrpc", "", withSecret); a.body != "true\n" {
			t.Errorf("the secret in the header: %+v", a)
		}
	})
}

// TestBodies checks that huge and deeply nested bodies are refused, and that few of them are in memory.
func TestBodies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, withRPC)
		deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
		for _, tt := range []struct {
			body   string
			status int
			word   string
		}{
			{strings.Repeat(" ", maxBody+1), 413, "bytes"},
			{`{"urls":["` + strings.Repeat("x", maxBody) + `"]}`, 413, "bytes"},
			{deep(maxDepth + 1), 400, "in each other"},
			{deep(maxBody / 2), 400, "in each other"},
			{strings.Repeat(`{"a":`, maxBody/5), 400, "in each other"},
			{deep(maxDepth), 400, "array"},
			{`{"name":"` + strings.Repeat("[", 1000) + `"}`, 400, "no URL"},
			{`{"name":"\"` + strings.Repeat("[", 1000) + `"}`, 400, "no URL"},
			{`{"list":true,"text":"` + strings.Repeat("x", maxBody-100) + `"}`, 201, ""},
		} {
			a := r.api("POST", "/tasks", tt.body)
			if a.status != tt.status || !strings.Contains(a.body, tt.word) {
				t.Errorf("%.20q of %d bytes: got %d %.100s", tt.body, len(tt.body), a.status, a.body)
			}
		}
		// A length that is not announced is no way around the limit.
		c := r.dial()
		fmt.Fprintf(c, "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n", withSecret)
		go func() {
			for i := 0; i < 2*maxBody; i += 1 << 10 {
				fmt.Fprintf(c, "400\r\n%s\r\n", strings.Repeat(" ", 1<<10))
			}
		}()
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 413 {
			t.Errorf("chunked: %v, %v", res, err)
		}
		memory := heap()
		large := strings.Repeat("x", 100<<10)
		for range maxConns + 20 {
			fmt.Fprintf(r.dial(), "POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", maxBody, large)
		}
		time.Sleep(time.Second)
		if n := len(r.server.unknownBodies); n == 0 || n > maxUnknownBodies {
			t.Errorf("%d large bodies are in memory, want at most %d", n, maxUnknownBodies)
		}
		t.Logf("%d bodies: %d KiB", maxConns+20, (heap()-memory)>>10)
		if a := r.send("POST", "/jsonrpc", secret); a.body != "true\n" {
			t.Errorf("a small body: %+v", a)
		}
		if a := r.send("POST", "/jsonrpc", secret+strings.Repeat("\n", 100<<10)); a.status != 503 {
			t.Errorf("another large body: %d", a.status)
		}
		if a := r.api("POST", "/tasks", `{"list":true,"text":"`+strings.Repeat("x", maxBody-100)+`"}`); a.status != 201 {
			t.Errorf("a large body with the secret: %+v", a)
		}
		for range maxLargeBodies {
			fmt.Fprintf(r.dial(), "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: %d\r\n\r\n%s", withSecret, maxBody, large)
		}
		time.Sleep(time.Second)
		if a := r.api("POST", "/tasks", large); a.status != 503 || a.errorCode() != "busy" || a.header.Get("Retry-After") == "" {
			t.Errorf("one large body more: %+v", a)
		}
		time.Sleep(2 * requestTime)
		if n := len(r.server.unknownBodies) + len(r.server.largeBodies); n != 0 {
			t.Errorf("%d large bodies are still in memory", n)
		}
	})
}

// TestSlowClients checks that connections that are slow in any phase are closed in time, and that they do not
// keep out somebody with the secret.
func TestSlowClients(t *testing.T) {
	for name, tt := range map[string]struct {
		text  string
		after time.Duration
	}{
		"nothing":       {"", headerTime},
		"line":          {"GET / HTT", headerTime},
		"header":        {"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", headerTime},
		"body":          {"POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nab", requestTime},
		"body with key": {"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n" + withSecret + "\r\nContent-Length: 100\r\n\r\nab", requestTime},
		"next request":  {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", idleTime},
		"TLS":           {"\x16\x03\x01", headerTime},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) {
					if withRPC(o); name == "TLS" {
						o.TLS = &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}
					}
				})
				start := time.Now()
				n := maxConns + 50
				if strings.Contains(tt.text, secret) { // those with the secret may keep out others
					n = 10
				}
				for range n {
					io.WriteString(r.dial(), tt.text)
				}
				last := r.dial()
				io.WriteString(last, tt.text)
				synctest.Wait()
				if n := r.server.conns.count(); n > maxConns {
					t.Errorf("%d connections", n)
				}
				if name == "TLS" {
					t := &http.Transport{DialContext: r.net.Dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
					defer t.CloseIdleConnections()
					r.client.HTTP, r.scheme = &http.Client{Transport: t}, "https://"
				}
				if a := r.api("GET", "/status", ""); a.status != 200 || time.Since(start) > headerTime/2 {
					t.Errorf("somebody with the secret: %d after %v", a.status, time.Since(start))
				}
				io.Copy(io.Discard, last)
				if took := time.Since(start); took < tt.after || took > tt.after+2*time.Second {
					t.Errorf("closed after %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// TestSlowReader checks that a client that does not read its answer is cut off.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		var all []Addition
		for i := range 500 { // about 1 MiB
			all = append(all, Addition{URLs: []string{fmt.Sprintf("http://127.0.0.1/%d%s", i, strings.Repeat("x", 1000))}, Paused: true})
		}
		if _, err := r.client.Add(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		r.client.HTTP.CloseIdleConnections()
		synctest.Wait()
		memory := heap()
		for range 50 {
			fmt.Fprintf(r.dial(), "GET /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", withSecret)
		}
		time.Sleep(answerTime - time.Second)
		if n := r.server.conns.count(); n != 50 {
			t.Errorf("%d connections before the end of the time", n)
		}
		t.Logf("50 clients that do not read 1 MiB: %d KiB, of which %d KiB are on the wire", (heap()-memory)>>10, 50*128)
		time.Sleep(2 * time.Second)
		if n := r.server.conns.count(); n != 0 {
			t.Errorf("%d connections after it", n)
		}
	})
}

// TestTooManyWithSecret checks that connections with the secret are closed for new ones only if they wait for
// their next request.
func TestTooManyWithSecret(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.server.conns.max = 10
		var idle []net.Conn
		for range 10 {
			c := r.dial()
			fmt.Fprintf(c, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", withSecret)
			idle = append(idle, c)
		}
		time.Sleep(time.Second)
		for range 10 {
			fmt.Fprintf(r.dial(), "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", withSecret)
			time.Sleep(time.Second)
		}
		for _, c := range idle {
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Error(err)
			}
		}
		if n, err := io.Copy(io.Discard, r.dial()); n != 0 || err != nil || r.server.conns.count() != 10 || len(r.server.streams) != 10 {
			t.Errorf("the next connection: %d bytes, %v; %d are open with %d streams", n, err, r.server.conns.count(), len(r.server.streams))
		}
	})
}

// TestLargeHeader checks the limit of the header.
func TestLargeHeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		if a := r.send("GET", "/api/v1/status", "", withSecret, "X-A: "+strings.Repeat("x", maxHeaderBytes-2000)); a.status != 200 {
			t.Errorf("below the limit: %d", a.status)
		}
		if a := r.send("GET", "/api/v1/status", "", withSecret, "X-A: "+strings.Repeat("x", maxHeaderBytes+20_000)); a.status != 431 {
			t.Errorf("above the limit: %d", a.status)
		}
	})
}

// TestPanic checks that a mistake in a handler ends its request only, and is in the log.
func TestPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Page = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })
		})
		c := r.dial()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if n, _ := io.Copy(io.Discard, c); n != 0 {
			t.Errorf("got %d bytes", n)
		}
		if a := r.api("GET", "/status", ""); a.status != 200 || !strings.Contains(r.log.String(), "level=ERROR") || !strings.Contains(r.log.String(), "a mistake") {
			t.Errorf("got %d, and the log %s", a.status, r.log)
		}
	})
}

// TestSession checks that a one-time link opens the page once and in time, and what its session may do.
func TestSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		open := func(path string) answer { return r.send("GET", path, "") }
		link, err := r.client.OpenURL(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(link, "http://"+r.address)
		a := open(path)
		cookie, attributes, _ := strings.Cut(a.header.Get("Set-Cookie"), "; ")
		if a.status != 303 || a.header.Get("Location") != "/" || a.header.Get("Referrer-Policy") != "no-referrer" {
			t.Fatalf("got %+v", a)
		}
		if attributes != "Path=/api/v1/; Max-Age=2592000; HttpOnly; SameSite=Strict" {
			t.Errorf("the cookie has %q", attributes)
		}
		if again := open(path); again.status != 403 || again.header.Get("Set-Cookie") != "" {
			t.Errorf("the second time: %+v", again)
		}
		late := r.server.OpenPath()
		time.Sleep(tokenLife)
		for _, path := range []string{late, "/open", "/open?token=", "/open?token=x"} {
			if a := open(path); a.status != 403 || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %+v", path, a)
			}
		}
		first := r.server.OpenPath()
		for range maxTokens {
			r.server.OpenPath()
		}
		if a := open(first); a.status != 403 {
			t.Error("more links than the limit are valid")
		}
		cookie = "Cookie: " + cookie
		own, upgrade := "Origin: http://"+r.address, []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
		for _, tt := range []struct {
			method, path string
			fields       []string
			status       int
		}{
			{"GET", "/status", []string{cookie}, 200},
			{"GET", "/status", []string{cookie, "Sec-Fetch-Site: same-origin"}, 200},
			{"GET", "/status", []string{cookie, "Sec-Fetch-Site: none"}, 200},
			{"GET", "/status", []string{cookie, "Sec-Fetch-Site: same-site"}, 401}, // another port of the same host
			{"GET", "/status", []string{cookie, "Sec-Fetch-Site: cross-site"}, 401},
			{"GET", "/status", []string{cookie + "0"}, 401},
			{"GET", "/status", []string{strings.Replace(cookie, "=9", "=8", 1)}, 401},
			{"GET", "/status", []string{cookie, "Origin: chrome-extension://x"}, 401},
			{"POST", "/tasks/pause", []string{cookie}, 401},
			{"POST", "/tasks/pause", []string{cookie, own}, 401},
			{"POST", "/tasks/pause", []string{cookie, own, "X-Pawl: 1"}, 200},
			{"POST", "/tasks/pause", []string{cookie, "X-Pawl: 1", "Sec-Fetch-Site: same-site"}, 401},
			{"POST", "/tasks/pause", []string{cookie, "X-Pawl: 1", "Origin: moz-extension://x"}, 401},
			{"DELETE", "/history", []string{cookie}, 401},
			{"DELETE", "/history", []string{cookie, "X-Pawl: 1"}, 204},
			{"GET", "/events", append(upgrade, cookie), 401},
			{"GET", "/events", append(upgrade, cookie, "Origin: chrome-extension://x"), 401},
		} {
			if a := r.send(tt.method, apiPrefix+tt.path, "", tt.fields...); a.status != tt.status {
				t.Errorf("%s %s with %q: got %d %s, want %d", tt.method, tt.path, tt.fields, a.status, a.body, tt.status)
			}
		}
		c, _, err := websocket.Dial(t.Context(), "ws://"+r.address+apiPrefix+"/events", &websocket.DialOptions{
			HTTPClient: r.client.HTTP, HTTPHeader: http.Header{"Cookie": {strings.TrimPrefix(cookie, "Cookie: ")}, "Origin": {"http://" + r.address}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		other := newKeeper("another-secret-of-some-length", false, nil).newSession()
		if r.server.keeper.isSession(other.Value) || other.Name == r.server.keeper.cookieName() {
			t.Error("the session of another secret is valid")
		}
		time.Sleep(sessionLife)
		if a := r.send("GET", apiPrefix+"/status", "", cookie); a.status != 401 {
			t.Errorf("after its life: %d", a.status)
		}
	})
}

// TestNoSecrets plants secrets in all requests, and looks for them in all answers, events and the log.
func TestNoSecrets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, withRPC)
		planted := []string{"PLANTED-password", "PLANTED-header", "PLANTED-user", "PLANTED-cookie", "PLANTED-guess", "PLANTED-wrong", secret}
		var seen strings.Builder
		events := make(chan struct{})
		go func() {
			defer close(events)
			for e := range r.client.Events(t.Context()) {
				text, _ := encode(e)
				seen.Write(text)
			}
		}()
		synctest.Wait()
		full := func(u string) string {
			return `{"urls":["` + strings.Replace(u, "://", "://me:PLANTED-password@", 1) + `"],"header":["Authorization: PLANTED-header","Cookie: a=PLANTED-cookie"],"user":"me:PLANTED-user"`
		}
		answers := []answer{
			r.api("POST", "/tasks", full(r.files.URL+"/missing")+`}`),
			r.api("POST", "/tasks", full(r.put("f.bin", 100))+`,"name":"g"}`),
			r.api("POST", "/tasks", full("http://127.0.0.1:1/refused")+`,"paused":true}`),
			r.api("POST", "/tasks", full("ftp://127.0.0.1/f")+`}`),
			r.api("POST", "/tasks", full("http://127.0.0.1:99999/f")+`}`),
			r.api("POST", "/tasks", full("http://[::1/f")+`}`),
			r.api("POST", "/tasks", full("http://127.0.0.1/f")+`,"unknown":"PLANTED-wrong"}`),
			r.api("POST", "/tasks", full("http://127.0.0.1/f")+`,"position":"PLANTED-wrong"}`),
			r.api("POST", "/tasks", `{"urls":["http://127.0.0.1/f"],"header":["PLANTED-wrong"]}`),
			r.api("POST", "/tasks", `{"urls":["http://127.0.0.1/f"],"header":["Cookie: PLANTED-wrong\n"]}`),
			r.api("POST", "/tasks", `{"urls":["http://127.0.0.1/f"],"user":["PLANTED-wrong"]}`),
			r.send("GET", "/api/v1/status", "", "Authorization: Bearer PLANTED-guess"),
			r.send("GET", "/api/v1/status", "", "Cookie: "+r.server.keeper.cookieName()+"=PLANTED-guess"),
			r.send("GET", "/open?token=PLANTED-guess", ""),
			r.send("POST", "/jsonrpc", "PLANTED-guess"),
			r.send("GET", "/api/v1/status", "", withSecret, "Origin: http://evil.example"),
			r.api("GET", "/nothing/PLANTED?x=1", ""),
		}
		time.Sleep(time.Minute)
		answers = append(answers, r.api("GET", "/tasks", ""), r.api("GET", "/status", ""), r.api("POST", "/tasks/resume", ""))
		unfinished, ended := r.queue.IDs()
		for _, id := range append(unfinished, ended...) {
			answers = append(answers, r.api("GET", "/tasks/"+string(id), ""), r.api("PATCH", "/tasks/"+string(id), `{"user":"me:PLANTED-user","header":["X: PLANTED-header"]}`))
		}
		time.Sleep(time.Minute)
		r.stop()
		<-events
		for _, a := range answers {
			fmt.Fprintln(&seen, a.header, a.body)
		}
		seen.WriteString(r.log.String())
		for _, p := range planted {
			if i := strings.Index(seen.String(), p); i >= 0 {
				t.Errorf("%q is shown: …%s…", p, seen.String()[max(0, i-200):min(seen.Len(), i+100)])
			}
		}
		if len(ended) < 2 || !strings.Contains(seen.String(), string(queue.Finished)) || !strings.Contains(seen.String(), "refused: wrong secret") {
			t.Errorf("the test has seen too little: %d ended, %d bytes", len(ended), seen.Len())
		}
	})
}
