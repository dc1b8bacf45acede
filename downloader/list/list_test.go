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

// Digests of nothing in particular, of the right length.
var (
	hex32  = strings.Repeat("0123456789abcdef", 2)
	hex40  = strings.Repeat("01234567", 5)
	hex64  = strings.Repeat("0123456789abcdef", 4)
	hexB64 = strings.Repeat("fedcba9876543210", 4)
	hex128 = strings.Repeat("0123456789abcdef", 8)
)

// brief writes an entry in one line: where it begins, its URLs, and what else
// it has.
func brief(e Entry) string {
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
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		b += fmt.Sprintf(" %s=%q", name, e.Header[name])
	}
	return b
}

// read returns what Read yields in brief: entries, "! " and problems, "? " and
// warnings, "end " and the error that ends the list.
func read(name string, r io.Reader, o Options) (got []string) {
	for e, err := range Read(name, r, o) {
		var p *Problem
		switch {
		case err == nil:
			got = append(got, brief(e))
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

// A listCase is a list and what Read makes of it.
type listCase struct {
	name, list, text string
	o                Options
	want             []string
}

func runCases(t *testing.T, cases []listCase) {
	t.Helper()
	for _, tc := range cases {
		if tc.list == "" {
			tc.list = "L"
		}
		got := read(tc.list, strings.NewReader(tc.text), tc.o)
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

// Each format is told by its content, whatever is around it and however it
// arrives.
func TestReadTellsFormat(t *testing.T) {
	lists := []struct{ name, text, want string }{
		{"aria2", "http://h/x\n  out=y\n", "1: http://h/x out=y"},
		{"plain", "http://h/x\n", "1: http://h/x"},
		{"sums", hex64 + "  x\n", "1: http://b/x out=x sha256:" + hex64},
		{"tagged sums", "MD5 (x) = " + hex32 + "\n", "1: http://b/x out=x md5:" + hex32},
		{"json", "{ \"url\": \"http://h/x\" }\n", "1: http://h/x"},
		{"metalink", "<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='x'><url>http://h/x</url></file></metalink>\n", "1: http://h/x out=x"},
	}
	ways := []struct {
		name string
		make func(string) string
	}{
		{"as it is", func(s string) string { return s }},
		{"with a BOM", func(s string) string { return markUTF8 + s }},
		{"with CR LF", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }},
		{"without the last line end", func(s string) string { return strings.TrimSuffix(s, "\n") }},
		{"with blanks behind", func(s string) string { return strings.ReplaceAll(s, "\n", " \t\n") }},
		{"gzipped", gzipped},
		{"gzipped with a BOM", func(s string) string { return gzipped(markUTF8 + s) }},
	}
	for _, l := range lists {
		for _, way := range ways {
			if l.name == "sums" && way.name == "with blanks behind" {
				continue // they are part of a name
			}
			text := way.make(l.text)
			for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
				if got := read("L", r, Options{Base: "http://b/"}); !slices.Equal(got, []string{l.want}) {
					t.Errorf("%s %s: got %q, want %q", l.name, way.name, got, l.want)
				}
			}
		}
	}
}

func TestReadWhatIsNoList(t *testing.T) {
	runCases(t, []listCase{
		{name: "empty"},
		{name: "blank", text: "\n \n\t\r\n# only a comment\n  # and another"},
		{name: "web page", text: "\n <!DOCTYPE HTML>\n<html lang=en>", want: []string{"end L: is a web page, no list"}},
		{name: "web page without type", text: "<HTML><body>", want: []string{"end L: is a web page, no list"}},
		{name: "XHTML", text: "<?xml version='1.0'?><!-- x --><html xmlns='http://www.w3.org/1999/xhtml'/>", want: []string{"end L: is a web page, no list"}},
		{name: "web page as aria2", text: "<html>", o: Options{Format: Aria2}, want: []string{"end L: is a web page, no list"}},
		{name: "feed", text: "<?xml version='1.0'?><rss/>", want: []string{"end L: is XML, but no Metalink"}},
		{name: "UTF-16", text: "\xff\xfeh\x00t\x00", want: []string{"end L: is UTF-16, where UTF-8 is expected"}},
		{name: "format", o: Options{Format: "torrent"}, want: []string{`end list format "torrent" is not one of aria2, sums, metalink, json`}},
		{name: "base", o: Options{Base: "ftp://u:p@h/"}, want: []string{`end base of L: "ftp://h/" is not an http or https URL`}},
		{name: "sums without base", text: hex64 + "  x\n", want: []string{"end L: is a checksum file, whose names need a base URL"}},
		{name: "sums without a sum", text: "x\n", o: Options{Format: Checksum, Base: "http://b"}, want: []string{
			"! L:1: is no line of a checksum file", "end L: has no valid line of a checksum file"}},
		{name: "junk", text: "hello\nhttp://h/x\n", want: []string{`! L:1: "hello" is not an http or https URL`, "2: http://h/x"}},
	})
}

// What a reader that fails has left of an entry is not yielded: an option might
// be missing, its checksum above all.
func TestReadError(t *testing.T) {
	fails := func(text string) io.Reader {
		return io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("disk on fire")))
	}
	for text, want := range map[string][]string{
		"http://h/x\nhttp://h/y\n out=z\n check": {"1: http://h/x", "end L: after line 3: disk on fire"},
		"http://h/x\nhttp://h/y":                 {"end L: after line 1: disk on fire"},
		"":                                       {"end L: after line 0: disk on fire"},
		"<metalink xmlns='http://www.metalinker.org/'>": {"end L: disk on fire"},
	} {
		if got := read("L", fails(text), Options{}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	z := gzipped("http://h/x\nhttp://h/y\n")
	got := read("L", strings.NewReader(z[:len(z)-9]), Options{})
	if len(got) == 0 || got[len(got)-1] != "end L: after line 2: unexpected EOF" {
		t.Errorf("gzip without its end: got %q", got)
	}
}

func TestReadStops(t *testing.T) {
	text := "http://h/1\n bad\nhttp://h/2\nx\nhttp://h/3\n foo=bar\nhttp://h/4\n"
	for _, text := range []string{text, strings.ReplaceAll(hex64+"  x\n", "\n", "\n"+hex64+"  y\nbad\n")} {
		for n := 1; n < 5; n++ {
			i := 0
			for range Read("L", strings.NewReader(text), Options{Base: "http://b/"}) {
				if i++; i == n {
					break // a yield after that panics
				}
			}
		}
	}
}

func TestProblem(t *testing.T) {
	cause := errors.New("cause")
	var err error = &Problem{List: "a b", Line: 7, Err: cause}
	if got := err.Error(); got != "a b:7: cause" || !errors.Is(err, cause) {
		t.Errorf("got %q", got)
	}
}

func mustSum(t testing.TB, text string) chunk.Sum {
	t.Helper()
	s, err := chunk.ParseSum(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
