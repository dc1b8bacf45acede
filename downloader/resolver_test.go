package downloader

import (
	"net/http"
	"testing"

	"pawl/downloader/faultserver"
)

// TestRedirect: later requests go where the asked URL led; when that link
// expires, the asked one is resolved anew; credentials stay at home.
func TestRedirect(t *testing.T) {
	r := newRig(t)
	other := faultserver.New()
	defer other.Close()
	f := faultserver.NewFile(16<<20, 1)
	other.Put("real", f)
	r.srv.Set(faultserver.Redirect("/f", other.URL+"/real?token=1"))
	other.Set(faultserver.Rate(64<<20), faultserver.Only(func(n int) bool { return n == 2 }, faultserver.Status(403, -1)))
	r.mustGet("f", f, func(q *Request) {
		q.Header = http.Header{"Authorization": {"secret"}, "X-Token": {"secret"}, "Accept": {"x/y"}}
	})
	if n := len(r.srv.Requests()); n != 1 && n != 2 {
		t.Errorf("the asked URL was asked %d times, want once, and again when the link expired", n)
	}
	for _, q := range other.Requests() {
		if q.Header.Get("Authorization") != "" || q.Header.Get("X-Token") != "" || q.Header.Get("Referer") != "" {
			t.Errorf("a secret went to another host: %v", q.Header)
		}
		if q.Header.Get("Accept") != "x/y" {
			t.Errorf("Accept: got %q", q.Header.Get("Accept"))
		}
	}
	if got := r.srv.Requests()[0].Header.Get("Authorization"); got != "secret" {
		t.Errorf("Authorization at home: got %q", got)
	}
}
