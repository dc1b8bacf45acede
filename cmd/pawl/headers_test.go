package main

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

// oneField returns the value of -H "name: value".
func oneField(name, value string) header {
	return header{fields: []headerField{{name: name, value: value}}}
}

// TestHeaderHosts checks which values of -H are for one host only, and to which origins
// such a field belongs.
func TestHeaderHosts(t *testing.T) {
	for text, want := range map[string]headerField{
		"A: b":                    {"", "A", "b"},
		"A: b=c: d":               {"", "A", "b=c: d"},
		"A:b=c: d":                {"", "A", "b=c: d"},
		"A: 80=c: d":              {"", "A", "80=c: d"},
		"Cookie: a=b":             {"", "Cookie", "a=b"},
		"Host.Example=A: b":       {"host.example", "A", "b"},
		"host.example:8080=A: b":  {"host.example:8080", "A", "b"},
		"[::1]=A: b":              {"[::1]", "A", "b"},
		"[::1]:80=Cookie: c=d":    {"[::1]:80", "Cookie", "c=d"},
		"127.0.0.1=Referer:http:": {"127.0.0.1", "Referer", "http:"},
	} {
		var h header
		if err := h.UnmarshalText([]byte(text)); err != nil || !slices.Equal(h.fields, []headerField{want}) {
			t.Errorf("%q: got %v, %v, want %v", text, h.fields, err, want)
		}
	}
	for _, text := range []string{"host=", "host=A", "=A: b", "host=A B: c", "user@host=A: b", "host:x=A: b=c:d\n"} {
		if err := new(header).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
	for _, tt := range []struct {
		host, origin string
		want         bool
	}{
		{"a.example", "https://a.example:443", true},
		{"a.example", "http://a.example:8080", true},
		{"a.example:443", "https://a.example:443", true},
		{"a.example:443", "https://a.example:8443", false},
		{"a.example", "https://b.a.example:443", false},
		{"example", "https://a.example:443", false},
		{"[::1]", "http://[::1]:80", true},
		{"[::1]:80", "http://[::1]:80", true},
		{"[::1]:81", "http://[::1]:80", false},
		{"", "http://a.example:80", false},
	} {
		if got := (headerField{host: tt.host}).matchesOrigin(tt.origin); got != tt.want {
			t.Errorf("%q for %s: got %v, want %v", tt.host, tt.origin, got, tt.want)
		}
	}
}

// TestHeaderFile checks that -H @FILE reads one field per line, that pawl notices if other
// users may read the file, and that an error does not repeat the line.
func TestHeaderFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "headers")
	os.WriteFile(path, []byte("# mine\n\nA: b\n  h=C: d\r\n"), 0o600)
	var h header
	want := header{fields: []headerField{{"", "A", "b"}, {"h", "C", "d"}}}
	if err := h.UnmarshalText([]byte("@" + path)); err != nil || !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, %v", h, err)
	}
	os.Chmod(path, 0o640)
	h = header{}
	if err := h.UnmarshalText([]byte("@" + path)); err != nil || runtime.GOOS != "windows" && h.exposed != path {
		t.Errorf("got %v, %v", h, err)
	}
	os.WriteFile(path, []byte("A: b\nsecret4711\n"), 0o600)
	if err := new(header).UnmarshalText([]byte("@" + path)); err == nil || err.Error() != `"`+path+`" line 2: header is not of the form 'Name: value' or 'HOST=Name: value'` {
		t.Errorf("got %v", err)
	}
	if err := new(header).UnmarshalText([]byte("@" + path + "-not")); err == nil {
		t.Error("a missing file: got no error")
	}
}

// TestSecretNames checks which header fields are treated as secrets.
func TestSecretNames(t *testing.T) {
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "Private-Token", "X-Amz-Security-Token", "X-My-SESSION", "X-Password", "Client-Secret"} {
		if !isSecretName(name) {
			t.Errorf("%s: got no secret, want a secret", name)
		}
	}
	for _, name := range []string{"Accept", "Referer", "X-Tag", "User-Agent", "Range"} {
		if isSecretName(name) {
			t.Errorf("%s: got a secret, want none", name)
		}
	}
}

// TestOriginHeaders checks which header fields are sent to which origin.
func TestOriginHeaders(t *testing.T) {
	tr := &Transfer{RequestOptions: RequestOptions{Referer: "http://r/"}}
	for _, text := range []string{"X-Tag: t", "Authorization: a", "X-Tag: u", "c=Authorization: c", "d:81=X-Tag: d", "d=Cookie: d"} {
		var h header
		if err := h.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		tr.Header = append(tr.Header, h)
	}
	o := tr.originHeaders("http://a/list", "http://u:p@b/x", "")
	everywhere := o
	everywhere.everywhere = true
	for _, tt := range []struct {
		o                            originHeaders
		list, origin                 string
		tag, auth, cookie, refererIs string
	}{
		{o, "http://a/list", "http://a:80", "t", "a", "", "http://r/"},
		{o, "http://a/list", "http://b:80", "t", "a", "", "http://r/"},
		{o, "http://a/list", "http://z:80", "", "", "", ""},
		{everywhere, "http://a/list", "http://z:80", "", "", "", ""},
		{o, "http://a/list", "http://c:80", "", "c", "", ""},
		{o, "http://a/list", "http://a:81", "", "", "", ""},
		{o, "list", "http://a:80", "t", "a", "", "http://r/"},
		{o, "list", "http://z:80", "t", "", "", "http://r/"},
		{o, "standard input", "http://c:8080", "t", "c", "", "http://r/"},
		{o, "list", "http://d:81", "d", "", "d", "http://r/"},
		{o, "list", "http://d:80", "t", "", "d", "http://r/"},
		{everywhere, "list", "http://z:80", "t", "a", "", "http://r/"},
		{everywhere, "list", "http://c:80", "t", "c", "", "http://r/"},
	} {
		h := tt.o.forList(tt.list, tt.origin).Header
		got := []string{h.Get("X-Tag"), h.Get("Authorization"), h.Get("Cookie"), h.Get("Referer")}
		if want := []string{tt.tag, tt.auth, tt.cookie, tt.refererIs}; !slices.Equal(got, want) {
			t.Errorf("%s of %s: got %q, want %q", tt.origin, tt.list, got, want)
		}
	}
	if got := o.forTyped("http://a:80").Header.Values("X-Tag"); !slices.Equal(got, []string{"t", "u"}) {
		t.Errorf("repeated field: got %q", got)
	}
	if got := o.requestURL("http://u:p@b/x"); got != "http://b/x" {
		t.Errorf("with -H Authorization: got URL %s, want it without user and password", got)
	}
	tr.Header = nil
	if got := tr.originHeaders("http://u:p@b/x", "http://v:q@b/y").requestURL("http://v:q@b/y"); got != "http://v:q@b/y" {
		t.Errorf("without -H: got URL %s, want it with user and password", got)
	}
}
