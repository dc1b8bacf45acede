package transport

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"pawl/downloader/failure"
)

// TestSpeaksTLS: a page which says that the port is for https is an error, and any other page is
// complete although its beginning was looked at.
func TestSpeaksTLS(t *testing.T) {
	for page, want := range map[string]error{
		"Client sent an HTTP request to an HTTPS server.\n":                          failure.ErrSpeaksTLS,
		"<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />": failure.ErrSpeaksTLS,
		"<center>The plain HTTP request was sent to HTTPS port</center>":             failure.ErrSpeaksTLS,
		"Bad Request\nThis combination of host and port requires TLS.\n":             failure.ErrSpeaksTLS,
		"no such file": nil,
		strings.Repeat("x", 3*maxNotice) + "the end": nil,
		"": nil,
	} {
		s := secured{next: roundTripFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusBadRequest, Body: io.NopCloser(strings.NewReader(page))}, nil
		})}
		resp, err := s.RoundTrip(newRequest(t, t.Context(), "http://h/"))
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%.50q: got %v, want %v", page, err, want)
		}
		if err == nil {
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != page {
				t.Errorf("%.50q: got %d bytes, %v, want %d", page, len(got), err, len(page))
			}
		}
	}
}

// TestWantsCert: a status means that a certificate is missing only if the server has asked for one,
// and if the Range field cannot be the cause.
func TestWantsCert(t *testing.T) {
	const nginx = "<center>No required SSL certificate was sent</center>"
	for _, tt := range []struct {
		asked  bool
		ranged string // the Range field
		status int
		page   string
		want   error
	}{
		{true, "", 400, "no", failure.ErrWantsCert},
		{true, "bytes=0-", 400, "no", nil},
		{true, "bytes=0-", 400, nginx, failure.ErrWantsCert},
		{true, "bytes=0-", 400, "<center>The SSL certificate error</center>", failure.ErrWantsCert},
		{true, "bytes=0-", 496, "", failure.ErrWantsCert},
		{true, "bytes=0-", 495, "", failure.ErrWantsCert},
		{true, "", 403, "no", nil},
		{true, "", 200, nginx, nil},
		{false, "", 400, "no", nil},
		{false, "", 400, nginx, nil},
	} {
		s := secured{next: roundTripFunc(func(req *http.Request) (*http.Response, error) {
			c := new(trackedConn)
			c.wantsCert.Store(tt.asked)
			attemptOf(req.Context()).conn.Store(c)
			return &http.Response{StatusCode: tt.status, Body: io.NopCloser(strings.NewReader(tt.page))}, nil
		})}
		req := newRequest(t, withAttempt(t.Context(), new(attempt)), "https://h/")
		req.Header.Set("Range", tt.ranged)
		resp, err := s.RoundTrip(req)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%+v: got %v", tt, err)
		}
		if err == nil {
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != tt.page {
				t.Errorf("%+v: got page %q, %v", tt, got, err)
			}
		}
	}
}

// TestHTTP2Only: HTTP/2 is tried once for an origin that may need it, and used from then on if it
// helps.
func TestHTTP2Only(t *testing.T) {
	errBroken, errDown := errors.New("broken off"), errors.New("down")
	answer := func(proto, status int, err error, n *int) http.RoundTripper {
		return roundTripFunc(func(*http.Request) (*http.Response, error) {
			if *n++; err != nil {
				return nil, err
			}
			return &http.Response{StatusCode: status, ProtoMajor: proto, Body: http.NoBody}, nil
		})
	}
	for _, tt := range []struct {
		name         string
		status       int // over HTTP/1.1
		err1, err2   error
		want         error
		sent1, sent2 int // of three requests
	}{
		{"speaks HTTP/1.1", 200, nil, nil, nil, 3, 0},
		{"refuses the handshake", 0, needsHTTP2{failure.ErrNoHTTP}, nil, nil, 1, 3},
		{"breaks off", 0, needsHTTP2{errBroken}, nil, nil, 1, 3},
		{"breaks off, and HTTP/2 too", 0, needsHTTP2{errBroken}, errDown, errBroken, 3, 1},
		{"refuses the handshake, and is down", 0, needsHTTP2{failure.ErrNoHTTP}, errDown, errDown, 3, 3},
		{"wants it by a status", 426, nil, nil, nil, 1, 3},
		{"another error", 0, errDown, nil, errDown, 3, 0},
	} {
		var sent1, sent2 int
		s := newHTTP2Only(answer(1, tt.status, tt.err1, &sent1), answer(2, 200, tt.err2, &sent2))
		for range 3 {
			if _, err := s.RoundTrip(newRequest(t, t.Context(), "https://h/")); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		}
		if sent1 != tt.sent1 || sent2 != tt.sent2 {
			t.Errorf("%s: got %d requests over HTTP/1.1 and %d over HTTP/2, want %d and %d", tt.name, sent1, sent2, tt.sent1, tt.sent2)
		}
	}
}
