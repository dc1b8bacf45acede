package weburl

import (
	"net/url"
	"testing"
)

// Escape writes URLs and relative references as browsers send them.
func TestEscape(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"http://h/f?a=b#c", "http://h/f?a=b#c"},
		{"http://h/My File.bin", "http://h/My%20File.bin"},
		{"/get?name=My File.bin", "/get?name=My%20File.bin"},
		{"?name=My File", "?name=My%20File"},
		{"My File", "My%20File"},
		{"//h/a b", "//h/a%20b"},
		{"http://h/ä?ö=\xe9", "http://h/%C3%A4?%C3%B6=%E9"},
		{"http://bücher.example/ü", "http://bücher.example/%C3%BC"},
		{"http://h/{GUID}?d={GUID}", "http://h/%7BGUID%7D?d={GUID}"},
		{"http://h/a%2Fb/{x}", "http://h/a%2Fb/%7Bx%7D"},
		{"http://h/[1]?a[]=1|2^`", "http://h/[1]?a[]=1|2^`"},
		{"http://h/1|2^`", "http://h/1%7C2%5E%60"},
		{`http://h/"a"?"b"<c>'d'`, "http://h/%22a%22?%22b%22%3Cc%3E%27d%27"},
		{"http://h/100%?100%", "http://h/100%25?100%"},
		{"http://h/%zz%4#%", "http://h/%25zz%254#%25"},
		{`\a\b?c\d`, `/a/b?c\d`},
		{`http:\\h\a`, "http://h/a"},
		{" \t http://h/a \r\n", "http://h/a"},
		{"http://h/a\n\tb", "http://h/ab"},
		{"http://h/\x01\x7f", "http://h/%01%7F"},
		{"http://h?a b", "http://h?a%20b"},
		{"http://h/a?u=http://x/y z", "http://h/a?u=http://x/y%20z"},
		{"a//b c", "a//b%20c"},
		{"/a//b c", "/a//b%20c"},
	} {
		if got := Escape(tt.in); got != tt.want {
			t.Errorf("Escape(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Parse accepts a URL in the wrappings that people paste.
func TestParseUnwraps(t *testing.T) {
	for _, s := range []string{" http://h/a b", "<http://h/a b>", "<URL:http://h/a b>", ` "http://h/a b" `, "“http://h/a b”", "\ufeffhttp://h/a b\u00a0", "< http://h/a b >"} {
		if got := Canonical(s); got != "http://h/a%20b" {
			t.Errorf("%q: got %q", s, got)
		}
	}
}

// What Escape returns stays the same if it is escaped again, and url.Parse accepts its path.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"http://h/a b%2?c d#e f", `\\h\a`, "//h", "a:b", "%", "http://h/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := Escape(s)
		if twice := Escape(once); twice != once {
			t.Errorf("%q: got %q, and escaped again %q", s, once, twice)
		}
		if _, err := url.Parse(Escape("http://h/" + s)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}
