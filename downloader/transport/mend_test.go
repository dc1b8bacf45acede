package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pawl/downloader/failure"
)

// TestMend: headers whose meaning is plain become headers that net/http reads as curl does. Others
// stay as they are.
func TestMend(t *testing.T) {
	const close = "Connection: close\r\n"
	for in, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n":                                        "",
		"HTTP/1.1 200 OK\nContent-Length: 5\n\n":                                              "",
		"HTTP/1.1 200\r\n\r\n":                                                                "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n":          "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n":                         "",
		"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n":                                     "",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n":                   "",
		"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n":                                       "",
		"HTTP/1.1 200 OK\r\nX-Name: M\xfcnchen\r\n\r\n":                                       "",
		"HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\n\r\n":                                          "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n":         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity\r\n\r\n":                              "HTTP/1.1 200 OK\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n":                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\n":                  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":                               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n":                                     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\nContent-Length: 5\r\n\r\n":                 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n":                                       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n":                                          "HTTP/1.1 200 OK\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5, 6\r\n\r\n":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 5\r\nX-A\t: b\r\n\r\n":                           "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\nno field\r\nX Y: z\r\n: z\r\nX-A: b\r\n\r\n":                      "HTTP/1.1 200 OK\r\nX-A: b\r\n" + close + "\r\n",
		"HTTP/1.1 200 OK\r\n folded\r\nX-A: b\x00\x7fc\r\n\r\n":                               "HTTP/1.1 200 OK\r\nX-A: b\x00\x7fc\r\n" + close + "\r\n",
		"\r\n\r\nICY 200 OK\r\nContent-Length: 5\r\n\r\n":                                     "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n" + close + "\r\n",
		"HTTP/2.0 200 OK\r\n\r\n":                                                             "HTTP/1.0 200 OK\r\n" + close + "\r\n",
		"http/1.1 206 Partial Content\nContent-Range: bytes 0-4/9\n\n":                        "HTTP/1.0 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\n" + close + "\r\n",
	} {
		if want == "" {
			want = in
		}
		if got := string(mend([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if end := headerEnd([]byte(in+"\r\nbody"), skipEmptyLines([]byte(in), 0)); end != len(in) {
			t.Errorf("%q: the header ends at %d, want %d", in, end, len(in))
		}
	}
}

// fixedConn is a connection from which Reader is read.
type fixedConn struct {
	net.Conn
	io.Reader
}

func (c fixedConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// TestMendedConn: only the first header that is not interim is mended, however its bytes arrive,
// and everything else stays as it is.
func TestMendedConn(t *testing.T) {
	const odd, even = "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
	const interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	huge := "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", failure.MaxHeaderBytes/6) + odd // takes minutes if each byte looks at all bytes before
	const blank = "\r\n\r\r\n\n\n"
	for in, want := range map[string]string{
		odd + "\n\nb" + odd:                    even + "\n\nb" + odd,
		interim + interim + odd + "xx":         interim + interim + even + "xx",
		even + odd:                             even + odd,
		"\x16\x03\x01" + odd:                   "\x16\x03\x01" + odd,
		"\x05\x00" + odd:                       "\x05\x00" + odd,
		"HTTP/1.1 200 OK\r\nContent-Length":    "HTTP/1.1 200 OK\r\nContent-Length",
		"HELO\r\n" + odd:                       "HELO\r\n" + odd,
		"HTTP/1.1 101 Switching\r\n\r\n" + odd: "HTTP/1.1 101 Switching\r\n\r\n" + odd,
		"":                                     "",
		huge:                                   huge,
		strings.Repeat("\n", 1<<18) + odd:      strings.Repeat("\n", 1<<18) + odd,
		blank + even + odd:                     blank + even + odd,
		blank + odd + odd:                      even + odd,
		blank + interim + blank + odd + "x":    blank + interim + even + "x",
	} {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(in), "in bytes": iotest.OneByteReader(strings.NewReader(in)), "with the end": iotest.DataErrReader(strings.NewReader(in))} {
			got, err := io.ReadAll(&mendedConn{Conn: fixedConn{nil, r}})
			if err != nil || string(got) != want {
				t.Errorf("%.60q %s: got %.200q, %v, want %.200q", in, name, got, err, want)
			}
		}
	}
}

// TestMendFolded: the parts of a folded field are not copied again for each part.
func TestMendFolded(t *testing.T) {
	const lines = 20_000
	header := []byte("HTTP/1.1 200 OK\r\nX: a\r\n" + strings.Repeat(" a\r\n", lines) + "Content-Length: 2, 2\r\n\r\n")
	want := "HTTP/1.1 200 OK\r\nX: a" + strings.Repeat(" a", lines) + "\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := string(mend(header)); got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 100*uint64(len(header)) {
		t.Errorf("%d bytes allocated for a header of %d", n, len(header))
	}
}

// FuzzMend: a mended header is not mended again, and net/http reads no other length from it than
// from the original header if it accepts that.
func FuzzMend(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nTransfer-Encoding: identity\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA : b\r\n c\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		start := skipEmptyLines(in, 0)
		end := headerEnd(in, start)
		if end < 0 || !mayBeResponse(in[start:]) {
			return
		}
		header := in[:end]
		out := mend(header)
		if again := mend(out); !bytes.Equal(again, out) {
			t.Errorf("%q becomes %q, and then %q", header, out, again)
		}
		before, err1 := http.ReadResponse(bufio.NewReader(bytes.NewReader(header)), nil)
		after, err2 := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
		if err1 != nil || before.ProtoMajor != 1 || before.ProtoMinor != 1 || before.ContentLength < 0 {
			return
		}
		if err2 != nil || after.StatusCode != before.StatusCode || after.ContentLength != before.ContentLength {
			t.Errorf("%q becomes %q: %v", header, out, err2)
		}
	})
}

// oddServer answers each request with raw and closes the connection, over TLS if secure is true.
func oddServer(t *testing.T, secure bool, raw string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/good" {
			io.WriteString(w, "good")
			return
		}
		c, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		buf.WriteString(raw)
		buf.Flush()
	}))
	if s.Start(); secure {
		s.Close()
		s = httptest.NewUnstartedServer(s.Config.Handler)
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

// TestMender: responses are mended over TLS, and after another one over the same connection, too.
func TestMender(t *testing.T) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"ICY 200 OK\r\n\r\nbody",
	} {
		for _, secure := range []bool{false, true} {
			for _, streams := range []bool{false, true} {
				s := oddServer(t, secure, raw)
				tr := New(Options{Connections: 4, ConnectTimeout: time.Minute, StallTimeout: time.Minute, Insecure: true}, nil)
				for _, path := range []string{"/good", "/odd", "/odd", "/good"} {
					req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL+path, nil)
					resp, err := tr.Client(streams).Do(req)
					if err != nil {
						t.Errorf("%.60q, TLS %v, streams %v, %s: %v", raw, secure, streams, path, err)
						continue
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if want := map[string]string{"/good": "good", "/odd": "body"}[path]; err != nil || string(body) != want || (resp.TLS != nil) != secure {
						t.Errorf("%.60q, TLS %v, streams %v, %s: got %q, %v, TLS %v", raw, secure, streams, path, body, err, resp.TLS != nil)
					}
				}
				tr.Close()
			}
		}
	}
}

// TestMenderKeepsResponse: a response over TLS with HTTP/1.0 and without a length is requested again
// only if its body may be chunks.
func TestMenderKeepsResponse(t *testing.T) {
	for body, repeats := range map[string]bool{
		"body":               false,
		"":                   false,
		"\r\n":               false,
		"f":                  false, // perhaps the beginning of a size
		"face":               false,
		"10 green bottles":   false,
		"1;2;3\r\n":          false, // a table
		"2024\n2025\n":       false,
		"f\r":                false,
		"0123456789abcdef01": false, // longer than a size
		"4\r\nbody\r\n":      true,  // and yet no chunks
		"1000   \r\nbody":    true,
	} {
		var requests int // not guarded, because the requests are sent one after another
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			c, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			buf.WriteString("HTTP/1.0 200 OK\r\n\r\n" + body)
			buf.Flush()
		}))
		tr := New(Options{Connections: 4, ConnectTimeout: time.Minute, StallTimeout: time.Minute, Insecure: true}, nil)
		resp, err := tr.Client(false).Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != body {
			t.Errorf("%q: got %q, %v", body, got, err)
		}
		if want := map[bool]int{false: 1, true: 2}[repeats]; requests != want {
			t.Errorf("%q: %d requests, want %d", body, requests, want)
		}
		tr.Close()
		s.Close()
	}
}

// A reusedFailing is a transport whose connections are used again, and whose responses net/http
// refuses.
type reusedFailing struct{ roundTripFunc }

func (reusedFailing) CloseIdleConnections() {}

// TestMenderRemembers: an origin is remembered if a header of it had to be mended, and not if
// something else of its connection was at fault.
func TestMenderRemembers(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := oddServer(t, secure, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody")
		base := &http.Transport{
			DialContext:     tracked(mended((&net.Dialer{}).DialContext)),
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, TLSHandshakeTimeout: time.Minute,
		}
		var sent int
		m := newMender(reusedFailing{func(req *http.Request) (*http.Response, error) {
			sent++
			attemptOf(req.Context()).reused.Store(true)
			return nil, errors.New("net/http: HTTP/1.x transport connection broken: malformed HTTP response \"x\"")
		}}, base)
		for i, tt := range []struct {
			path string
			sent int // over the connections that are used again
		}{{"/good", 1}, {"/good", 2}, {"/odd", 3}, {"/odd", 3}} {
			ctx := withAttempt(t.Context(), &attempt{notSilent: func(bool) {}})
			resp, err := m.RoundTrip(newRequest(t, ctx, s.URL+tt.path))
			if err != nil {
				t.Fatalf("TLS %v: %v", secure, err)
			}
			resp.Body.Close()
			if sent != tt.sent {
				t.Errorf("TLS %v, request %d: %d requests over connections that are used again, want %d", secure, i, sent, tt.sent)
			}
		}
	}
}
