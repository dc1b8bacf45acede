package downloader

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pawl/chunk"
	"pawl/downloader/faultserver"
	"pawl/downloader/hosts"
	"pawl/downloader/transport"
)

// A redirect to the same origin gets all header fields of the request, and a redirect to
// another origin only those that are not secret. The same is true for the next request, which
// goes to the final URL at once.
func TestRedirectSecrets(t *testing.T) {
	seen := make(map[string]http.Header) // by path; not guarded, because the requests are sent one after another
	record := func(w http.ResponseWriter, r *http.Request) {
		seen[r.URL.Path] = r.Header.Clone()
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}
	origin, other := httptest.NewServer(http.HandlerFunc(record)), httptest.NewServer(http.HandlerFunc(record))
	defer origin.Close()
	defer other.Close()
	d := New(nil, Options{})
	defer d.Close()
	check := func(path, authorization string) {
		t.Helper()
		want := map[string]string{"Authorization": authorization, "Cookie": "c=1", "X-Token": "secret"}
		if path == "/away" {
			want = map[string]string{"Authorization": "", "Cookie": "", "X-Token": ""}
		}
		want["Accept"], want["Range"], want["Accept-Encoding"], want["Referer"] = "x/y", "bytes=0-4", "identity", ""
		for name, value := range want {
			if got := seen[path].Get(name); got != value {
				t.Errorf("%s: %s: got %q, want %q", path, name, got, value)
			}
		}
	}
	for path, to := range map[string]string{"/abs": origin.URL + "/abs", "/rel": "/rel", "/away": other.URL + "/away"} {
		for base, authorization := range map[string]string{
			origin.URL: "Bearer secret",
			strings.Replace(origin.URL, "//", "//user:password@", 1): "Basic dXNlcjpwYXNzd29yZA==",
		} {
			header := http.Header{"Cookie": {"c=1"}, "X-Token": {"secret"}, "Accept": {"x/y"}}
			if base == origin.URL {
				header.Set("Authorization", authorization)
			}
			j, err := newJob(d.engine, Request{URL: base + "/start?to=" + url.QueryEscape(to), Access: Access{Header: header}})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(j.origin.recorded, "password") {
				t.Errorf("the recorded URL contains the password: %s", j.origin.recorded)
			}
			clear(seen)
			u := j.origin.url
			for range 2 {
				info := new(transport.RequestInfo)
				req, err := (&exchange{download: j.download, to: j.target(destination{url: u}), r: chunk.Range{End: 5}, info: info}).newRequest(transport.WithRequest(t.Context(), info))
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

// A fakeAddress records whether its name must be looked up again.
type fakeAddress struct {
	hosts.Address
	forgotten bool
}

func (a *fakeAddress) Forget() { a.forgotten = true }

// outcome lets an exchange with a host at addr handle the outcome of an attempt.
func outcome(d *Downloader, addr hosts.Address, resp *http.Response, err error) {
	h := hosts.New(hosts.Options{Origin: "http://h", Ceiling: 1, Address: addr})
	(&exchange{download: &download{engine: d.engine}, to: target{host: h}}).outcome(resp, err)
}

// After an HTTP error 5xx or a broken connection, the name is looked up again, because another
// machine may work.
func TestAddressForgottenAfterError(t *testing.T) {
	d := New(nil, Options{})
	for code, want := range map[int]bool{200: false, 206: false, 404: false, 500: true, 503: true} {
		addr := &fakeAddress{}
		resp := &http.Response{StatusCode: code, Request: &http.Request{URL: &url.URL{Host: "files.example"}}}
		outcome(d, addr, resp, nil)
		if addr.forgotten != want {
			t.Errorf("status %d: got forgotten %v, want %v", code, addr.forgotten, want)
		}
	}
	addr := &fakeAddress{}
	if outcome(d, addr, nil, io.EOF); !addr.forgotten {
		t.Error("broken connection: got forgotten false, want true")
	}
}

// A Host field of the user is for the origin, and not for mirrors. Other fields are for both.
func TestHostFieldNotForMirrors(t *testing.T) {
	j, err := newJob(New(nil, Options{}).engine, Request{URL: "http://h/f", Mirrors: []string{"http://m/f"}, Access: Access{Header: http.Header{"Host": {"name"}, "X-Token": {"t"}}}})
	if err != nil {
		t.Fatal(err)
	}
	mirror := j.mirrors[0].url
	for _, tt := range []struct {
		to   target
		want string
	}{{target{url: j.origin.url, asked: j.origin.url}, "name"}, {target{url: mirror, asked: mirror}, "m"}} {
		req, err := (&exchange{download: j.download, to: tt.to, r: chunk.Range{End: 1}, info: new(transport.RequestInfo)}).newRequest(t.Context())
		if err != nil || req.Host != tt.want || req.Header.Get("X-Token") != "t" {
			t.Errorf("%s: got Host %q, X-Token %q, error %v, want Host %q, X-Token %q", tt.to.url, req.Host, req.Header.Get("X-Token"), err, tt.want, "t")
		}
	}
}

// A direct request to the URL to which a redirect leads has the Referer that the redirect would have:
// that of the user, for the origin that the user typed.
func TestRefererOfFinalURL(t *testing.T) {
	for _, tt := range []struct {
		name        string
		url, final  string
		credentials map[string]string // Referer by origin
		header      string            // Referer of Access.Header
		strayed     bool
		want        string
	}{
		{"another host", "http://h/f", "http://o/f", map[string]string{"http://h:80": "http://r/"}, "", false, "http://r/"},
		{"another host after others", "http://h/f", "http://o/f", map[string]string{"http://h:80": "http://r/"}, "", true, "http://r/"},
		{"home again", "http://h/f", "http://h/g", map[string]string{"http://h:80": "http://r/"}, "", true, "http://r/"},
		{"the same host", "http://h/f", "http://h/g", map[string]string{"http://h:80": "http://r/"}, "", false, "http://r/"},
		{"to https", "http://h/f", "https://h/f", map[string]string{"http://h:80": "https://r/"}, "", false, "https://r/"},
		{"https over http", "https://h/f", "http://o/f", map[string]string{"https://h:443": "https://r/"}, "", false, ""},
		{"https over http, of Access.Header", "https://h/f", "http://o/f", nil, "https://r/", false, ""},
		{"as the user typed it", "http://h/f", "http://h/f", map[string]string{"http://h:80": "https://r/"}, "", false, "https://r/"},
		{"of another origin", "http://h/f", "http://o/f", map[string]string{"http://x:80": "http://r/"}, "", false, ""},
		{"of the final origin", "http://h/f", "http://o/f", map[string]string{"http://h:80": "http://r/", "http://o:80": "http://s/"}, "", false, "http://s/"},
		{"of Access.Header", "http://h/f", "http://o/f", map[string]string{"http://h:80": "http://r/"}, "http://s/", true, "http://s/"},
		{"none", "http://h/f", "http://o/f", nil, "", false, ""},
	} {
		access := Access{Header: make(http.Header), Credentials: func(origin string) Credentials {
			h := http.Header{"X-Token": {"secret"}}
			if ref := tt.credentials[origin]; ref != "" {
				h.Set("Referer", ref)
			}
			return Credentials{Header: h}
		}}
		if tt.header != "" {
			access.Header.Set("Referer", tt.header)
		}
		d := New(nil, Options{})
		j, err := newJob(d.engine, Request{URL: tt.url, Access: access})
		if err != nil {
			t.Fatal(err)
		}
		final, _ := url.Parse(tt.final)
		req, err := (&exchange{download: j.download, to: j.target(destination{url: final, strayed: tt.strayed}), r: chunk.Range{End: 1}, info: new(transport.RequestInfo)}).newRequest(t.Context())
		if err != nil || req.Header.Get("Referer") != tt.want {
			t.Errorf("%s: got Referer %q, error %v, want %q", tt.name, req.Header.Get("Referer"), err, tt.want)
		}
		if got, want := req.Header.Get("X-Token") != "", !tt.strayed && transport.SameOrigin(final, j.origin.url); got != want {
			t.Errorf("%s: a secret is sent: %v, want %v", tt.name, got, want)
		}
		d.Close()
	}
}

// A Range field of the user is dropped, so that a part does not pass for the whole file.
func TestUserRange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(6<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.SetHeader("Content-Range", "bytes 7-9/100")) // so that the whole file is requested in the end
		r.mustGet("f", f, func(q *Request) { q.Access.Header = http.Header{"Range": {"bytes=0-99"}} })
	})
}
