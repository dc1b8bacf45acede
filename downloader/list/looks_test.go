package list

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"strings"
	"testing"
)

// A text that cannot be a list is refused by its first bytes; a list of any format is not.
func TestCheck(t *testing.T) {
	random := make([]byte, 64<<10)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(random); i++ {
		random[i] = byte(r.Uint32())
	}
	zip := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(text))
		w.Close()
		return b.String()
	}
	prose := strings.Repeat("This is a text about downloads.\n", 4000)
	urls := strings.Repeat("https://h/x\n", 10_000)
	for _, tt := range []struct {
		name, text string
		whole      bool
		refused    string // in the error, "" for none
	}{
		{"empty", "", true, ""},
		{"URLs", urls[:64<<10], false, ""},
		{"a URL without a line end", "https://h/x", true, ""},
		{"comments", strings.Repeat("# comment\n", 6554)[:64<<10], false, ""},
		{"gzip of URLs, cut", zip(urls)[:100], false, ""},
		{"digests", strings.Repeat(hex64+"  a.iso\n", 800), false, ""},
		{"JSON lines", `{"url":"https://h/x"}` + "\n", true, ""},
		{"JSON over lines", "[\n" + strings.Repeat(" {\n", 2000), false, ""},
		{"metalink", "<?xml version=\"1.0\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">" + strings.Repeat(" ", 64<<10), false, ""},
		{"an index page", "<!DOCTYPE html>\n" + strings.Repeat("<p>", 30_000), false, ""},
		{"a long entry", "https://h/" + strings.Repeat("x", 64<<10), false, ""},
		{"Latin-1", "# caf\xe9\nhttps://h/caf\xe9\n", true, ""},
		{"a few faulty lines", "a\nb\nc\n", true, ""},
		{"entries behind faulty lines", "a b\nc d\nhttps://h/x\n" + prose[:64<<10], false, ""},
		{"random bytes", string(random), false, "binary"},
		{"an image of a disk", strings.Repeat("\x00", 64<<10), false, "binary"},
		{"a small binary", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xff", true, "binary"},
		{"an archive in gzip", zip("a.txt" + strings.Repeat("\x00", 1000) + "text\n"), true, "binary"},
		{"xz", "\xfd7zXZ\x00\x00\x04" + string(random), false, "compressed"},
		{"zstd", "\x28\xb5\x2f\xfd\x00\x01" + string(random), false, "compressed"},
		{"prose", prose[:64<<10], false, "does not look like a list"},
		{"short prose", prose[:1000], true, "L:1"},
		{"digests of an unknown algorithm", strings.Repeat(hex64+"00  a\n", 20), true, "does not look like a list"},
		{"gzip of prose", zip(prose), true, "does not look like a list"},
		{"one long line", strings.Repeat("x", 64<<10), false, "does not look like a list"},
		{"XML", "<?xml version=\"1.0\"?>\n<rss>" + strings.Repeat("<x/>", 64<<10), false, "no metalink"},
	} {
		err := Check("L", []byte(tt.text), tt.whole, Options{})
		if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.refused)
		}
	}
}
