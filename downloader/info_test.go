package downloader

import (
	"net/http"
	"slices"
	"testing"

	"pawl/downloader/faultserver"
)

// Info follows redirects, and tells what the header of the response says, with one GET for one byte
// of each URL.
func TestInfo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.srv.Put("f", faultserver.NewFile(1000, 1))
		r.srv.Set(faultserver.Redirect("/start", "/middle?sig=1"), faultserver.Redirect("/middle", "/f"),
			faultserver.SetHeader("Link", `<https://mirror.example/f>; rel=duplicate; pri=1`),
			faultserver.SetHeader("Repr-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"))
		d := New(r.store, r.opts)
		defer d.Close()
		i, err := d.Info(t.Context(), Request{URL: r.srv.URL + "/start", Access: Access{Header: http.Header{"X-Mine": {"1"}}}})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{r.srv.URL + "/middle?sig=1", r.srv.URL + "/f"}; !slices.Equal(i.Redirects, want) || i.Final != want[1] {
			t.Errorf("redirects: got %q, final %q, want %q", i.Redirects, i.Final, want)
		}
		if !slices.Equal(i.Mirrors, []string{"https://mirror.example/f"}) || len(i.Digests) != 1 || i.Digests[0].Algorithm() != "sha256" {
			t.Errorf("mirrors: got %q, digests: got %v", i.Mirrors, i.Digests)
		}
		if i.Size != 1000 || i.Ranges != RangesYes || i.ETag == "" || i.LastModified == "" || i.Name != "start" || i.Status != 206 {
			t.Errorf("got %+v", i)
		}
		for _, q := range r.srv.Requests() {
			if q.Method != "GET" || q.Range != "bytes=0-0" || q.Header.Get("Want-Repr-Digest") == "" || q.Header.Get("X-Mine") != "1" {
				t.Errorf("request: got %s %s, Range %q, %v", q.Method, q.Path, q.Range, q.Header)
			}
		}
		if left, err := r.store.Unfinished(); err != nil || len(left) > 0 {
			t.Errorf("unfinished downloads: %v, %v", left, err)
		}
	})
}
