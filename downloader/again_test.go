package downloader

import (
	"net/http"
	"net/url"
	"testing"

	"pawl/chunk"
	"pawl/downloader/failure"
)

// TestAgainObeys: a connection that has worked asks again soon when it is refused, but
// not where the server says when, nor while the host is held.
func TestAgainObeys(t *testing.T) {
	for _, after := range []string{"", "2"} {
		j, ws, _ := transferring(t, New(nil, Options{}), 2*mB, 2, start)
		ws[0].Received(1, start)
		u := &url.URL{Scheme: "http", Host: "h"}
		resp := &http.Response{StatusCode: 503, Header: http.Header{}, Request: &http.Request{URL: u}}
		if after != "" {
			resp.Header.Set("Retry-After", after)
		}
		v, instead := j.judge(ws[0], resp, &failure.StatusError{Code: 503, Host: "h"})
		if again := after == ""; v.again != again || (instead == errSteppedDown) == again {
			t.Errorf("Retry-After %q: got %+v, %v", after, v, instead)
		}
	}
}

// TestMirrorHost: a Host field of the user's is for the URL asked, not for mirrors.
func TestMirrorHost(t *testing.T) {
	j, err := newJob(New(nil, Options{}).engine, Request{URL: "http://h/f", Mirrors: []string{"http://m/f"}, Header: http.Header{"Host": {"name"}, "X-Token": {"t"}}})
	if err != nil {
		t.Fatal(err)
	}
	u := j.mirrors[0].url
	for _, tt := range []struct {
		to   target
		want string
	}{{target{url: j.origin.url, asked: j.origin.url}, "name"}, {target{url: u, asked: u}, "m"}} {
		req, err := (&exchange{download: j.download, to: tt.to, r: chunk.Range{End: 1}}).newRequest(t.Context())
		if err != nil || req.Host != tt.want || req.Header.Get("X-Token") != "t" {
			t.Errorf("%s: got Host %q, token %q, %v, want Host %q and the token", tt.to.url, req.Host, req.Header.Get("X-Token"), err, tt.want)
		}
	}
}
