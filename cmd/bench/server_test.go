package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// startTestServer starts a server that is closed at the end of the test.
func startTestServer(t *testing.T, c serverConfig) *server {
	t.Helper()
	s, err := startServer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// get sends a GET request, for the byte range span (such as "0-99") unless it is "", and
// returns the response with its body. A failure is an error of the test.
func get(t *testing.T, client *http.Client, url, span string) (*http.Response, string) {
	t.Helper()
	req, _ := http.NewRequest("GET", url, nil)
	if span != "" {
		req.Header.Set("Range", "bytes="+span)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return &http.Response{}, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(body)
}

// TestServedBytes checks that the bytes are the same generated or from a real file, with
// a relay or without.
func TestServedBytes(t *testing.T) {
	c := content{noise(), 1, 100_000}
	real := filepath.Join(t.TempDir(), "real")
	if err := c.write(real); err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(c.reader())
	for _, shape := range []Shape{{}, {RTT: time.Millisecond, SlowStart: true}} {
		for _, file := range []string{"", real} {
			s := startTestServer(t, serverConfig{Shape: shape, Files: map[string]content{"f": c}, RealFile: file})
			client := &http.Client{Transport: &http.Transport{}}
			if _, body := get(t, client, s.baseURL+"/f", ""); body != string(all) {
				t.Errorf("%+v, real file %q: the body differs from the content", shape, file)
			}
			resp, body := get(t, client, s.baseURL+"/f", "5000-5999")
			if resp.StatusCode != 206 || body != string(all[5000:6000]) {
				t.Errorf("%+v, real file %q: range 5000-5999: got %s and %d bytes, want 206 and 1000 bytes", shape, file, resp.Status, len(body))
			}
			if _, body := get(t, client, s.baseURL+"/", ""); !strings.Contains(body, `href="f"`) {
				t.Errorf("index: got %q, want a link to f", body)
			}
			if n := s.conns.Load(); n != 1 {
				t.Errorf("connections: got %d, want 1", n)
			}
			client.CloseIdleConnections()
		}
	}
}

// TestMaxRequestsIsEnforced checks that the third of three concurrent requests gets 503
// if two are allowed, and that a later request succeeds.
func TestMaxRequestsIsEnforced(t *testing.T) {
	t.Parallel()
	s := startTestServer(t, serverConfig{Shape: Shape{ConnRate: mega}, MaxRequests: 2, Files: map[string]content{"f": {noise(), 1, 300_000}}})
	status := make([]int, 3)
	var all sync.WaitGroup
	for i := range status {
		all.Go(func() {
			resp, _ := get(t, http.DefaultClient, s.baseURL+"/f", "")
			status[i] = resp.StatusCode
		})
	}
	all.Wait()
	if slices.Sort(status); !slices.Equal(status, []int{200, 200, 503}) || s.refused.Load() != 1 {
		t.Errorf("got statuses %v and %d refused, want 200, 200, 503 and 1", status, s.refused.Load())
	}
	if resp, _ := get(t, http.DefaultClient, s.baseURL+"/f", ""); resp.StatusCode != 200 {
		t.Errorf("afterwards: got %d, want 200", resp.StatusCode)
	}
	s.reset()
	if s.refused.Load() != 0 || s.sent.Load() != 0 {
		t.Error("counters are not 0 after reset")
	}
}

// TestMaxConnsIsEnforced checks that a second connection is reset if one is allowed.
func TestMaxConnsIsEnforced(t *testing.T) {
	s := startTestServer(t, serverConfig{MaxConns: 1, Files: map[string]content{"f": {noise(), 1, 100}}})
	first, second := &http.Client{Transport: &http.Transport{}}, &http.Client{Transport: &http.Transport{}}
	get(t, first, s.baseURL+"/f", "")
	if resp, err := second.Get(s.baseURL + "/f"); err == nil {
		t.Errorf("second connection: got %s, want an error", resp.Status)
	}
	get(t, first, s.baseURL+"/f", "")
	if s.conns.Load() != 1 || s.refused.Load() == 0 {
		t.Errorf("got %d connections and %d refused, want 1 and at least 1", s.conns.Load(), s.refused.Load())
	}
	first.CloseIdleConnections()
}

func TestTLS(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert, err := newCert(ca)
	if err != nil {
		t.Fatal(err)
	}
	pem, _ := os.ReadFile(ca)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, http2 := range []bool{false, true} {
		s := startTestServer(t, serverConfig{Shape: Shape{RTT: time.Millisecond}, Cert: cert, HTTP2: http2,
			Files: map[string]content{"f": {noise(), 1, 1000}}})
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
		resp, body := get(t, client, s.baseURL+"/f", "")
		if len(body) != 1000 || (resp.ProtoMajor == 2) != http2 {
			t.Errorf("got %d bytes by %s, want 1000, HTTP/2: %v", len(body), resp.Proto, http2)
		}
		client.CloseIdleConnections()
	}
}

// TestShapeOnRealSockets checks rate and round trip on real sockets, where the other
// tests use fake time. The best of several tries counts, because the machine may be busy.
func TestShapeOnRealSockets(t *testing.T) {
	if os.Getenv("PAWL_TEST_LONG") == "" {
		t.Skip("PAWL_TEST_LONG is not set: this test needs an otherwise idle machine")
	}
	shape := Shape{ConnRate: 4 * mega}
	for _, conns := range []int{1, 16} {
		checkBestOf(t, "rate", 3, 25*time.Millisecond, func() time.Duration {
			s := startTestServer(t, serverConfig{Shape: shape, Files: map[string]content{"f": {noise(), 1, 2 * mega}}})
			client := &http.Client{Transport: &http.Transport{}}
			var all sync.WaitGroup
			begin := time.Now()
			for range conns {
				all.Go(func() {
					resp, err := client.Get(s.baseURL + "/f")
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				})
			}
			all.Wait()
			return time.Since(begin) - time.Second/2
		})
	}
	s := startTestServer(t, serverConfig{Shape: Shape{RTT: 40 * time.Millisecond}, Files: map[string]content{"f": {noise(), 1, 10}}})
	client := &http.Client{Transport: &http.Transport{}}
	get(t, client, s.baseURL+"/f", "")
	checkBestOf(t, "round trip", 10, 2*time.Millisecond, func() time.Duration {
		begin := time.Now()
		get(t, client, s.baseURL+"/f", "")
		return time.Since(begin) - 40*time.Millisecond
	})
}

// checkBestOf calls deviation up to tries times, and fails the test if no result is
// within ±bound.
func checkBestOf(t *testing.T, what string, tries int, bound time.Duration, deviation func() time.Duration) {
	t.Helper()
	smallest := time.Hour
	for range tries {
		if d := deviation(); d.Abs() < smallest.Abs() {
			smallest = d
		}
		if smallest.Abs() <= bound {
			return
		}
	}
	t.Errorf("%s: got a deviation of %v, want within %v", what, smallest, bound)
}
