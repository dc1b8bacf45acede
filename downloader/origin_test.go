package downloader

import (
	"net/http"
	"net/url"
	"testing"

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
