package downloader

import (
	"net/http"
	"testing"

	"pawl/downloader/faultserver"
)

// Later requests go to the final URL. If the final URL expires, the original URL is requested
// once more. Secret header fields are not sent to another origin.
func TestRedirect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		other := r.newServer()
		f := faultserver.NewFile(16<<20, 1)
		other.Put("real", f)
		r.srv.Set(faultserver.Redirect("/f", other.URL+"/real?token=1"))
		other.Set(faultserver.Rate(64<<20), faultserver.Only(func(n int) bool { return n == 2 }, faultserver.Status(403, -1)))
		r.mustGet("f", f, func(q *Request) {
			q.Access.Header = http.Header{"Authorization": {"secret"}, "X-Token": {"secret"}, "Accept": {"x/y"}}
		})
		if n := len(r.srv.Requests()); n != 1 && n != 2 {
			t.Errorf("got %d requests to the original URL, want 1, or 2 after the final URL expired", n)
		}
		for _, q := range other.Requests() {
			if q.Header.Get("Authorization") != "" || q.Header.Get("X-Token") != "" || q.Header.Get("Referer") != "" {
				t.Errorf("another origin got secrets: %v", q.Header)
			}
			if q.Header.Get("Accept") != "x/y" {
				t.Errorf("Accept: got %q, want %q", q.Header.Get("Accept"), "x/y")
			}
		}
		if got := r.srv.Requests()[0].Header.Get("Authorization"); got != "secret" {
			t.Errorf("Authorization for the original URL: got %q, want %q", got, "secret")
		}
	})
}
