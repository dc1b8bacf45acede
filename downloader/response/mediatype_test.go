package response

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A web page is unexpected if neither the name of the file nor its URL promises one.
func TestIsUnexpectedPage(t *testing.T) {
	tests := []struct {
		media, name, url string
		want             bool
	}{
		{"text/html", "f.iso", "http://h/f.iso", true},
		{"text/html", "f.tar.gz", "http://h/f.tar.gz", true},
		{"application/xhtml+xml", "f.zip", "http://h/f.zip", true},
		{"text/html", "README", "http://h/README", true},
		{"text/html", "f.html.gz", "http://h/f.html.gz", true},
		{"text/html", "notes.txt", "http://h/notes.txt", true},
		{"text/html", "f.zip", "http://h/get.php?id=1", true}, // from Content-Disposition or the user
		{"text/html", "get.php", "http://h/get.php?file=f.zip", true},
		{"text/html", "f.zip", "http://h/dir/", true},
		{"application/zip", "f.iso", "http://h/f.iso", false},
		{"", "f.iso", "http://h/f.iso", false},
		{"text/html", "f.html", "http://h/f.html", false},
		{"text/html", "F.HTM", "http://h/F.HTM", false},
		{"application/xhtml+xml", "f.xhtml", "http://h/f.xhtml", false},
		{"text/html", "mine", "http://h/f.html", false},
		{"text/html", "mine.html", "http://h/get", false},
		{"text/html", "get.php", "http://h/get.php?id=1", false},
		{"text/html", "get.php", "http://h/get.php?v=1.2&u=http%3A%2F%2Fh%2Fx.zip", false},
		{"text/html", "view.aspx", "http://h/view.aspx", false},
		{"text/html", "index.html", "http://h", false},
		{"text/html", "v1.2", "http://h/v1.2/", false},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := IsUnexpectedPage(tt.media, tt.name, u); got != tt.want {
			t.Errorf("%s as %q from %s: got %t", tt.media, tt.name, tt.url, got)
		}
	}
}

func TestMatchesType(t *testing.T) {
	tests := []struct {
		media, patterns string
		want            bool
	}{
		{"application/zip", "application/zip", true},
		{"application/zip", "application/zip,image/*", true},
		{"image/png", "application/zip,image/*", true},
		{"imagex/png", "image/*", false},
		{"text/html", "application/zip", false},
		{"text/html", "!text/html", false},
		{"text/plain", "!text/html", true},
		{"text/plain", "!text/*", false},
		{"text/html", "text/*,!text/html", false},
		{"text/plain", "text/*,!text/html", true},
		{"", "!text/html", true},
		{"application/xhtml+xml", "!text/html", false},
		{"application/xhtml+xml", "text/html", true},
		{"application/xhtml+xml", "!text/*", false},
		{"text/html", "!application/xhtml+xml", true},
		{"", "*/*", false},
		{"a/b", "*/*", true},
		{"", "application/zip", false},
	}
	for _, tt := range tests {
		if got := MatchesType(tt.media, strings.Split(tt.patterns, ",")); got != tt.want {
			t.Errorf("%q with %s: got %t", tt.media, tt.patterns, got)
		}
	}
	if !MatchesType("text/html", nil) {
		t.Errorf("without patterns: got false")
	}
}

// An excerpt is one line of at most 60 columns that cannot act on a terminal.
func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		" \n\t<html>\r\n  <head>\n":      "<html> <head>",
		"a\x1b[31mb\x00\u202ec\xff\xfed": "a[31mbcd",
		strings.Repeat("x", 100):         strings.Repeat("x", 60) + "…",
		strings.Repeat("日", 100):         strings.Repeat("日", 30) + "…",
		strings.Repeat("ab ", 30):        strings.Repeat("ab ", 20)[:59] + " …",
	} {
		if got := Excerpt([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// A media type is the first one of all fields, whatever is wrong behind it.
func TestParseType(t *testing.T) {
	tests := []struct {
		fields         []string
		media, charset string
	}{
		{[]string{"text/html, text/html"}, "text/html", ""},
		{[]string{"Text/HTML; charset=utf-8, text/html"}, "text/html", "utf-8"},
		{[]string{"text/html", "application/zip"}, "text/html", ""},
		{[]string{"", "text/html"}, "text/html", ""},
		{[]string{"text/html charset=utf-8"}, "text/html", ""},
		{[]string{"text/html;;"}, "text/html", ""},
		{[]string{"application/zip; name=\"a, b.zip\""}, "application/zip", ""},
		{[]string{"zip"}, "", ""},
		{nil, "", ""},
	}
	for _, tt := range tests {
		media, charset := parseType(http.Header{"Content-Type": tt.fields})
		if media != tt.media || charset != tt.charset {
			t.Errorf("%q: got %q and %q, want %q and %q", tt.fields, media, charset, tt.media, tt.charset)
		}
	}
}

// A body without a media type is a web page if it begins with a tag.
func TestSniffPage(t *testing.T) {
	for text, want := range map[string]string{
		"<!DOCTYPE html><p>": "text/html", "\n <html>": "text/html", "\ufeff<HTML lang=de>": "text/html", "<head >": "text/html", "<!-- a --><html>": "text/html",
		"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC>": "text/html", "<?xml version='1.0'?><svg>": "", "PK\x03\x04": "", "": "", "a <html>": "", "<htmlx>": "",
	} {
		if got := SniffPage([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
