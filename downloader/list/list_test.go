package list

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pawl/chunk"
)

// Digests in hex, of the right lengths and arbitrary.
var (
	hex32  = strings.Repeat("0123456789abcdef", 2)
	hex40  = strings.Repeat("01234567", 5)
	hex64  = strings.Repeat("0123456789abcdef", 4)
	hexB64 = strings.Repeat("fedcba9876543210", 4)
	hex128 = strings.Repeat("0123456789abcdef", 8)
)

// summary returns an entry in one line: its line number, its URLs, then every other
// field that it has.
func summary(e Entry) string {
	b := fmt.Sprintf("%d: %s", e.Line, strings.Join(e.URLs, " "))
	if e.Dir != "" {
		b += " dir=" + e.Dir
	}
	if e.Out != "" {
		b += " out=" + e.Out
	}
	if !e.Sum.IsZero() {
		b += " " + e.Sum.String()
	}
	if e.Size != -1 {
		b += fmt.Sprint(" size=", e.Size)
	}
	if !e.Pieces.IsZero() {
		b += fmt.Sprintf(" pieces=%d*%s/%d", e.Pieces.Size(), e.Pieces.Algorithm(), e.Pieces.Length())
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		b += fmt.Sprintf(" %s=%q", name, e.Header[name])
	}
	return b
}

// readAll returns the values of Read as text: the summary of an entry, a problem after
// "! ", a warning after "? ", and the error that ends the list after "end ".
func readAll(name string, r io.Reader, o Options) (got []string) {
	for e, err := range Read(name, r, o) {
		var p *Problem
		switch {
		case err == nil:
			got = append(got, summary(e))
		case !errors.As(err, &p):
			got = append(got, "end "+err.Error())
		case p.Warning:
			got = append(got, "? "+err.Error())
		default:
			got = append(got, "! "+err.Error())
		}
	}
	return got
}

// A readCase is a list with the values that readAll must return for it.
type readCase struct {
	name string
	list string // name of the list; "L" if empty
	text string
	o    Options
	want []string
}

func checkCases(t *testing.T, cases []readCase) {
	t.Helper()
	for _, tc := range cases {
		if tc.list == "" {
			tc.list = "L"
		}
		got := readAll(tc.list, strings.NewReader(tc.text), tc.o)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got\n\t%s\nwant\n\t%s", tc.name, strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
		}
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// The format is detected whether or not the text has a byte order mark, CR LF or gzip, and
// however it is split into reads.
func TestReadDetectsFormat(t *testing.T) {
	lists := []struct{ name, text, want string }{
		{"aria2", "http://h/x\n  out=y\n", "1: http://h/x out=y"},
		{"plain", "http://h/x\n", "1: http://h/x"},
		{"sums", hex64 + "  x\n", "1: http://b/x out=x sha256:" + hex64},
		{"tagged sums", "MD5 (x) = " + hex32 + "\n", "1: http://b/x out=x md5:" + hex32},
		{"json", "{ \"url\": \"http://h/x\" }\n", "1: http://h/x"},
		{"metalink", "<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='x'><url>http://h/x</url></file></metalink>\n", "1: http://h/x out=x"},
	}
	variants := []struct {
		name string
		make func(string) string
	}{
		{"unchanged", func(s string) string { return s }},
		{"with a BOM", func(s string) string { return bomUTF8 + s }},
		{"with CR LF", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }},
		{"without the last line end", func(s string) string { return strings.TrimSuffix(s, "\n") }},
		{"with trailing blanks", func(s string) string { return strings.ReplaceAll(s, "\n", " \t\n") }},
		{"gzipped", gzipped},
		{"gzipped with a BOM", func(s string) string { return gzipped(bomUTF8 + s) }},
	}
	for _, l := range lists {
		for _, variant := range variants {
			if l.name == "sums" && variant.name == "with trailing blanks" {
				continue // trailing blanks belong to the name
			}
			text := variant.make(l.text)
			for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
				if got := readAll("L", r, Options{Base: "http://b/"}); !slices.Equal(got, []string{l.want}) {
					t.Errorf("%s %s: got %q, want %q", l.name, variant.name, got, l.want)
				}
			}
		}
	}
}

func TestReadRejects(t *testing.T) {
	checkCases(t, []readCase{
		{name: "empty"},
		{name: "blank", text: "\n \n\t\r\n# only a comment\n  # and another"},
		{name: "web page", text: "\n <!DOCTYPE HTML>\n<html lang=en>", want: []string{"end L: is a web page, not a list"}},
		{name: "web page without type", text: "<HTML><body>", want: []string{"end L: is a web page, not a list"}},
		{name: "XHTML", text: "<?xml version='1.0'?><!-- x --><html xmlns='http://www.w3.org/1999/xhtml'/>", want: []string{"end L: is a web page, not a list"}},
		{name: "web page as aria2", text: "<html>", o: Options{Format: Aria2}, want: []string{"end L: is a web page, not a list"}},
		{name: "feed", text: "<?xml version='1.0'?><rss/>", want: []string{"end L: is XML, but not a Metalink"}},
		{name: "UTF-16", text: "\xff\xfeh\x00t\x00", want: []string{`! L:1: "ht" is not an http or https URL`}},
		{name: "format", o: Options{Format: "torrent"}, want: []string{`end list format "torrent" is not one of aria2, sums, metalink, json, csv, curl, index`}},
		{name: "base", o: Options{Base: "ftp://u:p@h/"}, want: []string{`end base URL of L: "ftp://h/" is not an http or https URL`}},
		{name: "sums without base", text: hex64 + "  x\n", want: []string{"end L: is a checksum file, so its file names need a base URL"}},
		{name: "sums without a valid line", text: "x\n", o: Options{Format: Checksum, Base: "http://b"}, want: []string{
			"end L: has no valid checksum line"}},
		{name: "junk", text: "hello\nhttp://h/x\n", want: []string{`! L:1: "hello" is not an http or https URL`, "2: http://h/x"}},
	})
}

// If reading fails, the unfinished entry is not yielded, because its checksum option may
// be missing.
func TestReadErrorDropsEntry(t *testing.T) {
	fails := func(text string) io.Reader {
		return io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("disk on fire")))
	}
	for text, want := range map[string][]string{
		"http://h/x\nhttp://h/y\n out=z\n check": {"1: http://h/x", "end L: reading failed after line 3: disk on fire"},
		"http://h/x\nhttp://h/y":                 {"end L: reading failed after line 1: disk on fire"},
		"":                                       {"end L: reading failed after line 0: disk on fire"},
		"<metalink xmlns='http://www.metalinker.org/'>": {"end L: disk on fire"},
	} {
		if got := readAll("L", fails(text), Options{}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	z := gzipped("http://h/x\nhttp://h/y\n")
	got := readAll("L", strings.NewReader(z[:len(z)-9]), Options{})
	if len(got) == 0 || got[len(got)-1] != "end L: reading failed after line 2: unexpected EOF" {
		t.Errorf("truncated gzip: got %q", got)
	}
}

func TestReadStopsWithConsumer(t *testing.T) {
	text := "http://h/1\n bad\nhttp://h/2\nx\nhttp://h/3\n foo=bar\nhttp://h/4\n"
	for _, text := range []string{text, strings.ReplaceAll(hex64+"  x\n", "\n", "\n"+hex64+"  y\nbad\n")} {
		for n := 1; n < 5; n++ {
			i := 0
			for range Read("L", strings.NewReader(text), Options{Base: "http://b/"}) {
				if i++; i == n {
					break // calling yield after this panics
				}
			}
		}
	}
}

func TestProblemMessage(t *testing.T) {
	cause := errors.New("cause")
	var err error = &Problem{List: "a b", Line: 7, Err: cause}
	if got := err.Error(); got != "a b:7: cause" || !errors.Is(err, cause) {
		t.Errorf("got %q", got)
	}
}

func mustParseSum(t testing.TB, text string) chunk.Sum {
	t.Helper()
	s, err := chunk.ParseSum(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
