package downloader

import (
	"net/http"
	"net/url"
	"testing"

	"pawl/downloader/failure"
)

// A connection that has received bytes repeats a refused request soon, unless the response has
// a Retry-After field.
func TestRefusedConnRetries(t *testing.T) {
	for _, retryAfter := range []string{"", "2"} {
		j, conns, _ := newTestTransfer(t, New(nil, Options{}), 2*mB, 2, start)
		conns[0].Received(1, start)
		u := &url.URL{Scheme: "http", Host: "h"}
		resp := &http.Response{StatusCode: 503, Header: http.Header{}, Request: &http.Request{URL: u}}
		if retryAfter != "" {
			resp.Header.Set("Retry-After", retryAfter)
		}
		v, instead := j.judge(conns[0], resp, &failure.StatusError{Code: 503, Host: "h"})
		if again := retryAfter == ""; v.again != again || (instead == errSteppedDown) == again {
			t.Errorf("Retry-After %q: got %+v, error %v, want again %v", retryAfter, v, instead, again)
		}
	}
}
