package list

import (
	"fmt"
	"strings"
	"testing"
)

func TestReadAria2(t *testing.T) {
	checkCases(t, []readCase{
		{name: "example of the manual", text: "# comment\nhttp://a/x.iso\thttp://b/x.iso\n  dir=/data\n  out=x.iso\n  checksum=sha-256=" + hex64 + "\n\n" +
			"  header=Authorization: Bearer T\n# between\n  # indented\nhttp://a/y.iso\n", want: []string{
			`2: http://a/x.iso http://b/x.iso dir=/data out=x.iso sha256:` + hex64 + ` Authorization=["Bearer T"]`,
			"10: http://a/y.iso"}},
		{name: "saved session", text: "http://h/x\t\n gid=2089b05ecca3d829\n split=5\n out= x y \n", want: []string{"1: http://h/x out=x y"}},
		{name: "last option wins, header adds", text: "http://h/x\n out=a\n out=./b/c\n header=X-A: 1\n header=x-a:2\n header=Empty:\n header=Tab: a\tb\n", want: []string{
			`1: http://h/x out=b/c Empty=[""] Tab=["a\tb"] X-A=["1" "2"]`}},
		{name: "an empty value resets the option", text: "http://h/x\n out=a\n out=\n checksum=md5:" + hex32 + "\n checksum=\n size=1\n size=\n", want: []string{"1: http://h/x"}},
		{name: "options of the request", text: "https://h/x\n referer=http://r/\n user-agent=A/1\n http-user=u\n http-passwd=p:=\n", want: []string{
			`1: https://h/x Authorization=["Basic dTpwOj0="] Referer=["http://r/"] User-Agent=["A/1"]`}},
		{name: "header takes precedence over options", text: "http://h/x\n user-agent=A\n http-user=u\n header=User-Agent: B\n header=authorization: C\n", want: []string{
			`1: http://h/x Authorization=["C"] User-Agent=["B"]`}},
		{name: "referer * is the URL", text: "http://u:p@h/x#f\n referer=*\n", want: []string{`1: http://u:p@h/x#f Referer=["http://h/x"]`}},
		{name: "referer * keeps the query", text: "http://h/x?sig=1\n referer=*\n", want: []string{`1: http://h/x?sig=1 Referer=["http://h/x?sig=1"]`}},
		{name: "referer * drops the query if there are mirrors", text: "http://h/x?sig=1\thttp://i/x\n referer=*\n", want: []string{`1: http://h/x?sig=1 http://i/x Referer=["http://h/x"]`}},
		{name: "size", text: "http://h/x\n size=9223372036854775807\n", want: []string{"1: http://h/x size=9223372036854775807"}},
		{name: "blanks", text: "\t\nhttp://h/a b \t  \thttp://g/\t\n \tout = n\n", want: []string{"2: http://h/a b http://g/ out=n"}},
		{name: "unknown and unsupported options", text: "http://h/x\n foo=1\n foo=2\n pause=true\n bar\nhttp://h/y\n foo=3\n all-proxy=p\n", want: []string{
			`? L:2: unknown option "foo" ignored`, `? L:4: unsupported option "pause" ignored`, `! L:5: indented line is not of the form name=value`,
			`? L:8: unsupported option "all-proxy" ignored`, "6: http://h/y"}},
		{name: "indented URL", text: "  http://u:p@h/x\nhttp://h/y\n  http://u:p@h/z?a=b\n", want: []string{
			"1: http://u:p@h/x", "2: http://h/y", "3: http://u:p@h/z?a=b"}},
		{name: "all indented, with options", text: "\thttp://h/x\n\t\tout=a\n  HTTPS://h/y  \n\n\t out=b\n  ftp://u:p@h/z?a=b\n", want: []string{
			"1: http://h/x out=a", `! L:6: "ftp://h/z?a=b" is indented, but only options may be`, "3: HTTPS://h/y out=b"}},
		{name: "indented option without a URL", text: "  out=a\nhttp://h/y\n", want: []string{
			"! L:1: indented line is an option, but there is no URL above it", "2: http://h/y"}},
		{name: "other schemes", text: "ftp://h/x\tHTTP://h/x\nftp://u:p@h/y\n out=y\nmagnet:?xt=urn:btih:0\nhttp:///x\nhttp://h:99999/x\nhttp://h/%zz\n", want: []string{
			`? L:1: "ftp://h/x" is not an http or https URL; mirror ignored`, "1: HTTP://h/x",
			`! L:2: "ftp://h/y" is not an http or https URL`,
			`! L:4: "magnet:?xt=urn:btih:0" is not an http or https URL`,
			`! L:5: "http:///x" is not an http or https URL`,
			`! L:6: port in "http://h:99999/x" is not from 0 to 65535`,
			"7: http://h/%zz"}},
		{name: "base", text: "x.iso\thttp://h/x.iso\n/y?q\n//g/z\n", o: Options{Base: "https://u:p@b/d/list.txt?q"}, want: []string{
			"1: https://u:p@b/d/x.iso http://h/x.iso", "2: https://u:p@b/y?q", "3: https://g/z"}},
	})
}

// A digest of an unknown kind is a warning, as in the other formats.
func TestReadAria2UnknownChecksum(t *testing.T) {
	for value, want := range map[string][]string{
		"blake3=" + hex64:   {`? L:2: unknown kind of digest "blake3" ignored; the file is not verified`, "1: http://h/x out=a"},
		"sha3-256=" + hex64: {`? L:2: unknown kind of digest "sha3-256" ignored; the file is not verified`, "1: http://h/x out=a"},
		"crc-32=01234567":   {`? L:2: unknown kind of digest "crc-32" ignored; the file is not verified`, "1: http://h/x out=a"},
		"adler-32=01234567": {"1: http://h/x out=a adler32:01234567"},
		"SHA2-256:" + hex64: {"1: http://h/x out=a sha256:" + hex64},
	} {
		checkCases(t, []readCase{{name: value, text: "http://h/x\n checksum=" + value + "\n out=a\n", want: want}})
	}
}

// An entry with an invalid option is not yielded, and its remaining options do not apply to
// another entry.
func TestReadAria2InvalidOption(t *testing.T) {
	for option, want := range map[string]string{
		"checksum=sha-256=00":      `checksum "sha-256=00" does not have the 64 hex digits of sha256`,
		"checksum=" + hex64:        `checksum "` + hex64 + `" is not of the form ALGO:HEX`,
		"out=/etc/passwd":          `file name "/etc/passwd" is an absolute path`,
		"out=a/../../b":            `file name "a/../../b" contains the path element ".."`,
		`out=\b`:                   `file name "\\b" is an absolute path`,
		"out=C:/x":                 `file name "C:/x" is an absolute path`,
		"out=a/":                   `file name "a/" names a directory`,
		"out=./.":                  `file name "./." names a directory`,
		"out=a\x00b":               `file name "a\x00b" contains a control character`,
		"out=a\u009bb":             `file name "a\u009bb" contains a control character`,
		"dir=a\x1bb":               `directory "a\x1bb" contains a control character`,
		"size=-1":                  `size "-1" is not a number of bytes`,
		"size=+1":                  `size "+1" is not a number of bytes`,
		"size=1K":                  `size "1K" is not a number of bytes`,
		"size=9223372036854775808": `size "9223372036854775808" is not a number of bytes`,
		"header=secret":            "header is not of the form Name: value",
		"header=X Y: secret":       "header is not of the form Name: value",
		"header=: secret":          "header is not of the form Name: value",
		"header=X-A: sec\rret":     "value of header X-A contains a control character",
		"header=X-A: sec\x7fret":   "value of header X-A contains a control character",
		"user-agent=a\x00b":        "value of header user-agent contains a control character",
		"referer=a\x00b":           "value of header referer contains a control character",
		"http-user=a:b":            "http-user contains a colon (RFC 7617 section 2)",
		"http-user=a\x01b":         "value of header http-user contains a control character",
		"http-passwd=a\x01b":       "value of header http-passwd contains a control character",
		"hello":                    "indented line is not of the form name=value",
	} {
		checkCases(t, []readCase{{name: option, text: "http://h/w\nhttp://h/x\n " + option + "\n out=good\nhttp://h/y\n", want: []string{
			"1: http://h/w", "! L:3: " + want, "5: http://h/y"}}})
	}
}

// A line of exactly the maximum length is read. A longer line is reported and skipped, and
// its entry is dropped, unless the line is a comment.
func TestReadLongLines(t *testing.T) {
	url := "http://h/" + strings.Repeat("x", maxLine-len("http://h/"))
	long := fmt.Sprintf("line is longer than %d bytes", maxLine)
	checkCases(t, []readCase{
		{name: "longest", text: url + "\r\nhttp://h/y\n", want: []string{"1: " + url, "2: http://h/y"}},
		{name: "longest at the end", text: url, want: []string{"1: " + url}},
		{name: "URL", text: "http://h/a\n" + url + "x\n out=b\nhttp://h/c\n", want: []string{"! L:2: " + long, "1: http://h/a", "4: http://h/c"}},
		{name: "first", text: url + "x\n out=b\nhttp://h/c\n", want: []string{"! L:1: " + long, "3: http://h/c"}},
		{name: "last", text: "http://h/a\n" + url + "xx", want: []string{"! L:2: " + long, "1: http://h/a"}},
		{name: "option", text: "http://h/a\n foo=" + url + "\n out=b\nhttp://h/c\n", want: []string{"! L:2: " + long, "4: http://h/c"}},
		{name: "comment", text: "http://h/a\n#" + url + "\n out=b\n", want: []string{"! L:2: " + long, "1: http://h/a out=b"}},
		{name: "much longer", text: "http://h/a\n" + strings.Repeat(url, 5) + "\nhttp://h/b", want: []string{"! L:2: " + long, "1: http://h/a", "3: http://h/b"}},
	})
}

func TestReadHeaderLimit(t *testing.T) {
	field := " header=X: " + strings.Repeat("x", 1000) + "\n"
	text := "http://h/x\n" + strings.Repeat(field, 1100) + "http://h/y\n"
	got := readAll("L", strings.NewReader(text), Options{})
	if len(got) < 2 || !strings.Contains(got[0], "header fields of the entry are longer") || got[len(got)-1] != "1102: http://h/y" {
		t.Errorf("got %d items, first %.100q", len(got), got[:1])
	}
}

func TestReadGlob(t *testing.T) {
	g := Options{Glob: true}
	checkCases(t, []readCase{
		{name: "one URL", text: "http://h/[1-2]{a,b}\n header=A: b\n dir=d\n", o: g, want: []string{
			`1: http://h/1a dir=d A=["b"]`, `1: http://h/1b dir=d A=["b"]`, `1: http://h/2a dir=d A=["b"]`, `1: http://h/2b dir=d A=["b"]`}},
		{name: "header is not shared", text: "http://h/{a,b}\n referer=*\n", o: g, want: []string{
			`1: http://h/a Referer=["http://h/a"]`, `1: http://h/b Referer=["http://h/b"]`}},
		{name: "mirrors", text: "http://{g,h}/x\thttp://[1-2]/x\n", o: g, want: []string{"1: http://g/x http://1/x", "1: http://h/x http://2/x"}},
		{name: "other files", text: "http://{g,h}/x\thttp://i/[1-2]\n", o: g, want: []string{"1: http://g/x", "1: http://h/x", "1: http://i/1", "1: http://i/2"}},
		{name: "mirrors of different counts", text: "http://{g,h}/x\thttp://i/x\n", o: g, want: []string{"! L:1: mirrors of one file expand to different numbers of URLs: 2 and 1"}},
		{name: "out of one", text: "http://h/[1-1]\n out=b\n", o: g, want: []string{"1: http://h/1 out=b"}},
		{name: "out of two", text: "http://h/{a,b}\n out=b\n", o: g, want: []string{"! L:1: a name, checksum or size applies to one file, but the URL expands to 2"}},
		{name: "sum of two", text: "http://h/{a,b}\n checksum=md5=" + hex32 + "\n", o: g, want: []string{"! L:1: a name, checksum or size applies to one file, but the URL expands to 2"}},
		{name: "size of two", text: "http://h/{a,b}\n size=0\n", o: g, want: []string{"! L:1: a name, checksum or size applies to one file, but the URL expands to 2"}},
		{name: "malformed", text: "http://u:p@h/[2-1]\nhttp://h/x\n", o: g, want: []string{
			`! L:1: invalid pattern in "http://h/[2-1]": "2-1" is not a range such as 1-20, 001-100:2 or a-z`, "2: http://h/x"}},
		{name: "host", text: "http://sv[1-2].h:[80-81]/\n", o: g, want: []string{
			"1: http://sv1.h:80/", "1: http://sv1.h:81/", "1: http://sv2.h:80/", "1: http://sv2.h:81/"}},
		{name: "base", text: "{a,b}/[1-1]\n", o: Options{Glob: true, Base: "http://b/"}, want: []string{"1: http://b/a/1", "1: http://b/b/1"}},
		{name: "JSON", text: `{"url":"http://h/[1-2]"}`, o: g, want: []string{"1: http://h/1", "1: http://h/2"}},
		{name: "off", text: "http://h/[1-2]{a,b}\n", want: []string{"1: http://h/[1-2]{a,b}"}},
		{name: "not in checksum files", text: hex64 + "  [1-2]{a,b}\n", o: Options{Glob: true, Base: "http://b/"}, want: []string{
			"1: http://b/%5B1-2%5D%7Ba,b%7D out=[1-2]{a,b} sha256:" + hex64}},
	})
}
