package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestLink measures a link from the client's end. A slow machine can only make it slower.
func TestLink(t *testing.T) {
	s := Shape{RTT: 40 * time.Millisecond, LinkRate: 10 * mega}
	l := testLink(t, s)
	file := content{noise(), 1, 2 * mib}
	srv, err := startServer(serverConfig{Files: map[string]content{"f": file}, Link: l})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.close()
	client := clientAt(l)
	begin := time.Now()
	resp, err := client.Get(srv.url() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if d := time.Since(begin); d < 2*s.RTT { // one for the handshake, one for the request
		t.Errorf("first byte: got it after %v, want at least two round trips of %v", d, s.RTT)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if n != file.size || err != nil {
		t.Errorf("got %d bytes and error %v, want %d bytes", n, err, file.size)
	}
	if d, least := time.Since(begin), s.idealTime(file.size, 1, false); d < least-s.RTT { // the queue passes its first bytes at once
		t.Errorf("got the file after %v, want at least %v", d, least)
	}
}

// TestLinkLoses: TCP repairs the losses of a link, and nginx serves over it where it is installed.
func TestLinkLoses(t *testing.T) {
	l := testLink(t, Shape{RTT: 2 * time.Millisecond, Loss: 0.02})
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("nginx is not installed")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := content{noise(), 1, 4 * mib}
	if err := file.write(dir + "/f"); err != nil {
		t.Fatal(err)
	}
	srv, err := startNginx(l, dir, Shape{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.close()
	srv.reset()
	resp, err := clientAt(l).Get(srv.url() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := sha256Hex(resp.Body)
	want, _ := sha256Hex(file.reader())
	if got != want || err != nil {
		t.Errorf("got other bytes than were served, or error %v", err)
	}
	if c := srv.counts(); c.conns != 1 || c.requests != 1 {
		t.Errorf("got %+v, want one connection and one request", c)
	}
	if l.emulator.directions[0].lost.Load() == 0 {
		t.Error("no segment was lost")
	}
}

// testLink returns a link, or skips the test.
func testLink(t *testing.T, s Shape) *link {
	t.Helper()
	l, err := newLink(s, "reno")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(l.close)
	return l
}

// clientAt returns a client at the client's end of a link.
func clientAt(l *link) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, addr string) (conn net.Conn, err error) {
		inNamespace(l.name+"c", func() error {
			conn, err = net.Dial("tcp", addr)
			return err
		})
		return conn, err
	}}}
}

func TestSegmentsOf(t *testing.T) {
	for _, tc := range []struct {
		kind, header, each byte
		payload            int
		n, size            int
	}{
		{0, 0, 0, 1460, 1, 54 + 1460},
		{1, 54, 100, 100, 1, 154},
		{1, 54, 100, 101, 2, 2*54 + 101},
		{1, 54, 100, 300, 3, 3*54 + 300},
	} {
		data := make([]byte, vnetHeader+54+tc.payload)
		data[1], data[2], data[4] = tc.kind, tc.header, tc.each
		if n, size := segmentsOf(data); n != tc.n || size != tc.size {
			t.Errorf("%s: got %d segments and %d bytes", fmt.Sprintf("%+v", tc), n, size)
		}
	}
}
