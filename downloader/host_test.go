package downloader

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pawl/chunk"
)

// TestRedirectSecrets: what servers see of a request that is redirected, and of
// the next one, which goes where the first one led.
func TestRedirectSecrets(t *testing.T) {
	seen := make(map[string]http.Header) // by path; requests come one by one
	note := func(w http.ResponseWriter, r *http.Request) {
		seen[r.URL.Path] = r.Header.Clone()
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}
	home, other := httptest.NewServer(http.HandlerFunc(note)), httptest.NewServer(http.HandlerFunc(note))
	defer home.Close()
	defer other.Close()
	d := New(nil, Options{})
	defer d.Close()
	check := func(path, authorization string) {
		t.Helper()
		wants := map[string]string{"Authorization": authorization, "Cookie": "c=1", "X-Token": "secret"}
		if path == "/away" {
			wants = map[string]string{"Authorization": "", "Cookie": "", "X-Token": ""}
		}
		wants["Accept"], wants["Range"], wants["Accept-Encoding"], wants["Referer"] = "x/y", "bytes=0-4", "identity", ""
		for name, want := range wants {
			if got := seen[path].Get(name); got != want {
				t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
			}
		}
	}
	for path, to := range map[string]string{"/abs": home.URL + "/abs", "/rel": "/rel", "/away": other.URL + "/away"} {
		for base, authorization := range map[string]string{
			home.URL: "Bearer secret",
			strings.Replace(home.URL, "//", "//user:password@", 1): "Basic dXNlcjpwYXNzd29yZA==",
		} {
			header := http.Header{"Cookie": {"c=1"}, "X-Token": {"secret"}, "Accept": {"x/y"}}
			if base == home.URL {
				header.Set("Authorization", authorization)
			}
			j, err := newJob(d.engine, Request{URL: base + "/start?to=" + url.QueryEscape(to), Header: header})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(j.origin.recorded, "password") {
				t.Errorf("recorded and shown: %s", j.origin.recorded)
			}
			clear(seen)
			u := j.origin.url
			for range 2 {
				req, err := (&exchange{download: j.download, to: j.target(destination{url: u}), r: chunk.Range{End: 5}}).newRequest(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				resp, err := d.transport.Client(false).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				check("/start", authorization)
				check(path, authorization)
				u = resp.Request.URL
				delete(seen, path)
			}
		}
	}
}
