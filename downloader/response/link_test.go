package response

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

var linkBase = &url.URL{Scheme: "https", Host: "h.example", Path: "/dir/f.iso"}

// Duplicates returns the targets of the links with rel=duplicate as absolute URLs, in order of pri.
func TestDuplicates(t *testing.T) {
	tests := []struct {
		fields []string
		want   []string
	}{
		{nil, nil},
		{[]string{`<https://a.example/f>; rel=duplicate`}, []string{"https://a.example/f"}},
		{[]string{`<https://a.example/f>; rel="duplicate"; pri=2; geo=de, <https://b.example/f>; pri=1; rel=duplicate`}, []string{"https://b.example/f", "https://a.example/f"}},
		{[]string{`<https://a.example/1,2;3>;rel=duplicate`, `</f>; REL="describedby Duplicate"`}, []string{"https://a.example/1,2;3", "https://h.example/f"}},
		{[]string{`<f.torrent>; rel=describedby; type="application/x-bittorrent, duplicate"; title="a\", b"`, `<g>; rel=duplicate`}, []string{"https://h.example/dir/g"}},
		{[]string{`<https://a.example/f>; rel=describedby; rel=duplicate`}, nil}, // only the first rel counts
		{[]string{`<https://a.example/f>; rel = duplicate ; depth`}, []string{"https://a.example/f"}},
		{[]string{`<https://a.example/f`, `x`, `<>; rel=duplicate`, `<%zz>; rel=duplicate`, `<a>; rel="dup`, `<b>;rel=`}, nil},
	}
	for _, tt := range tests {
		if got := Duplicates(http.Header{"Link": tt.fields}, linkBase); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.fields, got, tt.want)
		}
	}
}

// nextLink consumes some of the field in each call, so parsing ends, and all targets are URLs.
func FuzzLink(f *testing.F) {
	f.Add(`<https://a.example/f>; rel="dup\"licate"; pri=2, </g>; rel=duplicate`)
	f.Fuzz(func(t *testing.T, field string) {
		for rest := field; ; {
			target, _, next := nextLink(rest)
			if target == "" {
				break
			}
			if len(next) >= len(rest) {
				t.Fatalf("nextLink(%q) leaves %q, want less than before", rest, next)
			}
			rest = next
		}
		for _, u := range Duplicates(http.Header{"Link": {field}}, linkBase) {
			if _, err := url.Parse(u); err != nil {
				t.Errorf("Link %q: got an invalid URL: %v", field, err)
			}
		}
	})
}
