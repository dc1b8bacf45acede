package response

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The name comes from Content-Disposition, or else from the last segment of the URL, and has no
// directory.
func TestFilename(t *testing.T) {
	const fromURL = "http://h/dir/url.zip?f=query.zip#fragment"
	tests := []struct{ disposition, url, want string }{
		{"", fromURL, "url.zip"},
		{"", "http://h", fallbackName},
		{"", "http://h/", fallbackName},
		{"", "http://h/?f=query.zip", fallbackName},
		{"", "http://h/..", fallbackName},
		{"", "http://h/%2e%2e", fallbackName},
		{"", "http://h/%00", fallbackName},
		{"", "http://h/dir/", "dir"},
		{"", "http://h/a%20b.txt", "a b.txt"},
		{"", "http://h/a%0Ab.txt", "ab.txt"},
		{"", "http://h/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "passwd"},
		{"", "http://h/..%5c..%5cboot.ini", "boot.ini"},
		{"", "http://h/%252e%252e%252fx", "%2e%2e%2fx"},                               // percent-decoded only once
		{"", "http://h/%B2%E2%CA%D4%CE%C4%BC%FE.zip", "%B2%E2%CA%D4%CE%C4%BC%FE.zip"}, // GBK for 测试文件
		{"", "http://h/%b2%E2%20%41%2e%5f.zip", "%b2%E2 A._.zip"},
		{"", "http://h/caf\xe9.bin", "caf%E9.bin"},
		{"", "http://h/%c3%a9%ff.bin", "%c3%a9%ff.bin"}, // not UTF-8, so "%c3%a9" may not mean "é"
		{"", "http://h/%95%5C.zip", "%95%5C.zip"},       // Shift-JIS for 表
		{"", "http://h/%83%7C%83|.zip", "%83%7C%83%7C.zip"},
		{"", "http://h/%ff%2f..%2f%fe%00%0a%25b", "%fe%00%0a%25b"},
		{"", "http://h/..%5c..%5c%ff%5cb%5cc%fe", "c%fe"},
		{"", "http://h/%ff/", "%ff"},
		{"", "http://h/%ff/a%20b", "a b"},
		{"", "http://h/%ef%bf%bd", "\ufffd"},
		{"", "http://h/x?%ff", "x"},
		{"", "http://h/" + strings.Repeat("%c3%a9", 150), strings.Repeat("é", 120)},
		{"attachment", fromURL, "url.zip"},
		{"attachment; filename=x.bin", fromURL, "x.bin"},
		{`attachment; filename="x y.bin"`, fromURL, "x y.bin"},
		{`ATTACHMENT; FileName="x.bin"`, fromURL, "x.bin"},
		{`inline; filename="x.bin"`, fromURL, "x.bin"},
		{`attachment; filename=x y.bin`, fromURL, "x y.bin"}, // should be quoted
		{`attachment; filename=x y.bin; size=5`, fromURL, "x y.bin"},
		{`attachment; filename=""`, fromURL, "url.zip"},
		{`attachment; filename=".."`, fromURL, "url.zip"},
		{`attachment; filename=`, fromURL, "url.zip"},
		{`attachment; filename="`, fromURL, "url.zip"},
		{`;;;`, fromURL, "url.zip"},
		{`attachment; filename="../../etc/passwd"`, fromURL, "passwd"},
		{`attachment; filename="..\\..\\boot.ini"`, fromURL, "boot.ini"},
		{`attachment; filename=../../x y`, fromURL, "x y"},
		{`attachment; filename="%2e%2e%2fx"`, fromURL, "x"}, // percent-encoded, as browsers decode it
		{`attachment; filename*=UTF-8''%e2%82%ac%20rates.txt`, fromURL, "€ rates.txt"},
		{`attachment; filename="plain"; filename*=UTF-8''%c3%a9`, fromURL, "é"}, // RFC 6266 §4.3
		{`attachment; filename*=UTF-8''%c3%a9; filename="plain"`, fromURL, "é"},
		{`attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd`, fromURL, "passwd"},
		{`attachment; filename*=UTF-8''%00`, fromURL, "url.zip"},
		{`attachment; filename*=UTF-8''%zz; filename=plain`, fromURL, "plain"},
		{`attachment; filename*=unknown''%ff; filename=plain`, fromURL, "plain"},
		{"attachment; filename=\"na\xefve.bin\"", fromURL, "naïve.bin"},
		{"attachment; filename=na\xefve.bin", fromURL, "naïve.bin"},
		{"attachment; filename=\"C:\\dir\\na\xefve.bin\"", fromURL, "naïve.bin"},
		{`attachment; filename*=UTF-8''a%ff`, fromURL, "a%FF"},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := Filename(tt.disposition, u); got != tt.want {
			t.Errorf("Filename(%q, %q): got %q, want %q", tt.disposition, tt.url, got, tt.want)
		}
	}
}

// Names in Content-Disposition that break its rules, as servers send them.
func TestFilenameMistakes(t *testing.T) {
	u := &url.URL{Path: "/url.zip"}
	tests := []struct{ disposition, want string }{
		// Percent escapes in filename.
		{`attachment; filename="My%20File.zip"`, "My File.zip"},
		{`attachment; filename=%E6%B5%8B%E8%AF%95.zip`, "测试.zip"},
		{`attachment; filename="100% of%20it.zip"`, "100% of it.zip"},
		{`attachment; filename="100%25.zip"`, "100%.zip"},
		{`attachment; filename="a+b.zip"`, "a+b.zip"},
		{`attachment; filename="%B2%E2.zip"`, "%B2%E2.zip"}, // GBK
		{`attachment; filename="a%zz%2.zip"`, "a%zz%2.zip"},
		{`attachment; filename="%e2%82%ac.zip"; filename*=UTF-8''%e2%82%ac%20x.zip`, "€ x.zip"},

		// Characters that filename* must encode.
		{`attachment; filename*=UTF-8''a%20(1).zip`, "a (1).zip"},
		{`attachment; filename*=UTF-8''a b (1).zip`, "a b (1).zip"},
		{`attachment; filename*=UTF-8''[a],b@c.zip; size=5`, "[a],b@c.zip"},
		{`attachment; filename*=UTF-8''it's.zip`, "it's.zip"},
		{`attachment; filename*=UTF-8''日本.zip`, "日本.zip"},
		{`attachment; filename*=utf8''a%20b.zip`, "a b.zip"},
		{`attachment; filename*=UTF-8'en'a%20b.zip`, "a b.zip"},
		{`attachment; filename*="UTF-8''a%20b.zip"`, "a b.zip"},
		{`attachment; filename*=UTF-8''"a%20b.zip"`, "a b.zip"},
		{`attachment; filename* = UTF-8''a%20b.zip`, "a b.zip"},
		{`attachment; filename*=a%20b.zip`, "a b.zip"},
		{`attachment; filename*=iso-8859-1'en'na%EFve.zip`, "naïve.zip"},
		{`attachment; filename*=ISO-8859-1''na%EFve%20(1).zip; filename="x"`, "naïve (1).zip"},
		{`attachment; filename*=UTF-8''50%.zip`, "50%.zip"},
		{`attachment; filename*=UTF-8''50%.zip; filename="plain.zip"`, "plain.zip"},
		{`attachment; filename*=UTF-8''%ff.zip; filename="plain.zip"`, "plain.zip"},
		{`attachment; filename*=UTF-8''; filename="plain.zip"`, "plain.zip"},
		{`attachment; filename*0*=UTF-8''a%20; filename*1*=%c3%a9; filename*2=".zip"`, "a é.zip"},

		// Wrong quoting.
		{`attachment; filename='a b.zip'`, "a b.zip"},
		{`attachment; filename="a "b" c.zip"`, "a _b_ c.zip"},
		{`attachment; filename="a \"b\".zip"`, "a _b_.zip"},
		{`attachment; filename="a;b.zip"; size=1`, "a;b.zip"},
		{`attachment; filename="a.zip`, "a.zip"},
		{`attachment; filename="a.zip; size=1`, "a.zip"},
		{`attachment; filename="a.zip";`, "a.zip"},
		{`attachment;filename = "a.zip"`, "a.zip"},
		{`attachment filename="a.zip"`, "a.zip"},
		{`filename=a.zip`, "a.zip"},
		{`attachment; FILENAME=a (1).zip; size=1`, "a (1).zip"},
		{`attachment; size="; filename=b.zip"; filename=a.zip`, "a.zip"},
		{`attachment; xfilename=b.zip; filename=a.zip`, "a.zip"},
		{`attachment; filename="C:\temp\"`, "url.zip"},

		// Encoded words and bytes beyond ASCII.
		{`attachment; filename="=?UTF-8?B?5rWL6K+VLnppcA==?="`, "测试.zip"},
		{`attachment; filename==?utf-8?Q?a=20b=C3=A9.zip?=`, "a bé.zip"},
		{`attachment; filename="=?ISO-8859-1?Q?na=EFve.zip?="`, "naïve.zip"},
		{`attachment; filename="=?UTF-8?B?5rWL?= =?UTF-8?B?6K+VLnppcA==?="`, "测试.zip"},
		{`attachment; filename="=?unknown?B?5rWL?="`, "=_unknown_B_5rWL_="},
		{"attachment; filename=\"Gr\xf6\xdfe.zip\"", "Größe.zip"},
		{"attachment; filename=\"\xc9t\xe9 2024.zip\"", "Été 2024.zip"},
		{"attachment; filename=\"\xb2\xe2.zip\"", "%B2%E2.zip"},
		{"attachment; filename=\"\xd6\xd0\xce\xc4.zip\"", "%D6%D0%CE%C4.zip"},
	}
	for _, tt := range tests {
		if got := Filename(tt.disposition, u); got != tt.want {
			t.Errorf("Filename(%q): got %q, want %q", tt.disposition, got, tt.want)
		}
	}
}

// safeName returns one path element that is valid on each platform, or "".
func TestSafeName(t *testing.T) {
	tests := []struct{ in, want string }{
		{"a.txt", "a.txt"},
		{"-rf", "-rf"},
		{"日本語.tar.gz", "日本語.tar.gz"},
		{"", ""},
		{".", ""},
		{"..", ""},
		{"...", ""},
		{" . ", ""},
		{"/", ""},
		{"a/", ""},
		{"a/..", ""},
		{"../../etc/passwd", "passwd"},
		{"/etc/passwd", "passwd"},
		{`..\..\boot.ini`, "boot.ini"},
		{`a/..\x`, "x"},
		{`C:\dir\x.zip`, "x.zip"},
		{`\\server\share\x.zip`, "x.zip"},
		{"C:x.zip", "C_x.zip"},
		{"x.txt:stream", "x.txt_stream"},
		{`<>:"|?*`, "_______"},
		{".bashrc", "bashrc"},
		{"..a", "a"},
		{". .a", "a"},
		{"a. . ", "a"},
		{"a.b..", "a.b"},
		{"a\x00b", "ab"},
		{".\x00.", ""},
		{"\x00.a", "a"},
		{"a\r\nb\tc\x7f", "abc"},
		{"a\u0085b", "ab"},             // a C1 control character, which some terminals take for a line end
		{"a\x1b[31mb", "a[31mb"},       // would change the colours of the terminal
		{"a\u202egnp.exe", "agnp.exe"}, // shown as "aexe.png"
		{"\u2066a\u2069\u200b\ufeff", "a"},
		{"\u200e.a", "a"}, // a dot behind an invisible character
		{"a\xff\xfeb", "a%FF%FEb"},
		{"\xed\xa0\x80", "%ED%A0%80"},
		{"a\ufffdb", "a\ufffdb"}, // the replacement character itself is valid
		{"caf\xe9 100%é.bin", "caf%E9 100%25%C3%A9.bin"},
		{"..\\..\\na\xefve.bin", "na%EFve.bin"},
		{"../na\xefve\n|.bin", "na%EFve%0A%7C.bin"},
		{"\x95\\\x83|.zip", "%95%5C%83%7C.zip"}, // Shift-JIS for 表ポ
		{"\xff/con", "_con"},
		{"con.\xff", "_con.%FF"},
		{". \xff. ", "%FF"},
	}
	for _, tt := range tests {
		if got := safeName(tt.in); got != tt.want {
			t.Errorf("safeName(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Windows reserves some names for devices, also with an extension, and with blanks before the
// extension.
func TestSafeNameReserved(t *testing.T) {
	for _, name := range []string{
		"con", "CON", "Prn.txt", "aux.tar.gz", "NUL", "com1", "COM9.log", "lpt1", "LPT9.x",
		"con .txt", "nul  .a", "COM¹", "com².txt", "LPT³", "conin$", "CONOUT$.txt",
	} {
		if got, want := safeName(name), "_"+name; got != want {
			t.Errorf("safeName(%q): got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"console", "con-1", "xcon", "com", "com10", "comx", "lpt", "nul_", "_con", "a.con"} {
		if got := safeName(name); got != name {
			t.Errorf("safeName(%q): got %q, want it unchanged", name, got)
		}
	}
}

// A long name is cut to maxName bytes. It keeps a short extension, and no character is cut in two.
func TestSafeNameLong(t *testing.T) {
	long := strings.Repeat("x", 1000)
	tests := []struct{ name, in, want string }{
		{"maximum length", long[:maxName], long[:maxName]},
		{"ascii", long[:300], long[:maxName]},
		{"extension kept", long[:300] + ".tar.zst", long[:maxName-4] + ".zst"},
		{"extension too long to be kept", long[:300] + "." + long[:40], long[:maxName]},
		{"two bytes each", strings.Repeat("é", 150), strings.Repeat("é", 120)},
		{"three bytes each", strings.Repeat("€", 100) + ".txt", strings.Repeat("€", 78) + ".txt"},
		{"four bytes each", "a" + strings.Repeat("😀", 75), "a" + strings.Repeat("😀", 59)},
		{"escapes", strings.Repeat("\xb2\xe2", 60) + ".zip", strings.Repeat("%B2%E2", 37) + "%B2-7073f2a6.zip"},
		{"escapes, cut inside one", "a" + strings.Repeat("\xb2\xe2", 60), "a" + strings.Repeat("%B2%E2", 38) + "-473b1d12"},
		{"percent signs", strings.Repeat("%", 300), strings.Repeat("%", 230) + "-9d63e988"},
		{"reserved", "con." + long[:300], "_con." + long[:maxName-5]},
		{"cut behind a dot", long[:maxName-1] + "." + long[:40], long[:maxName-1]},
		{"cut behind a blank", long[:maxName-1] + " " + long[:40], long[:maxName-1]},
	}
	for _, tt := range tests {
		if got := safeName(tt.in); got != tt.want {
			t.Errorf("%s: got %d bytes that end with %q, want %d that end with %q", tt.name, len(got), got[max(0, len(got)-20):], len(tt.want), tt.want[len(tt.want)-20:])
		}
	}
}

// URLs that differ in a byte that is not UTF-8 get different names, even if the names are cut.
func TestFilenamesDiffer(t *testing.T) {
	seen := make(map[string]string)
	for _, begin := range []string{"%B2", "a%83", strings.Repeat("%B2%E2", 100)} {
		for b := 1; b < 256; b++ {
			if b == '/' || b == '\\' || b == '.' { // separators; and a dot at the end, which is dropped
				continue
			}
			u := fmt.Sprintf("http://h/%s%%%02X", begin, b)
			if b == ' ' {
				u += "x"
			}
			name := FilenameFromURL(u)
			if other, ok := seen[name]; ok || len(name) > maxName {
				t.Errorf("%q: got %q, which has %d bytes, or is the name of %q, too", u, name, len(name), other)
			}
			seen[name] = u
		}
	}
}

// The name of any URL is valid UTF-8, has at most maxName bytes, and is safe, so safeName does
// not change it.
func FuzzFilenameFromURL(f *testing.F) {
	for _, s := range []string{"a", "%B2%E2.zip", "%95%5C.zip", "%ff%2f%00", "caf\xe9|", "%c3%a9%ff", "..%5c%ff", strings.Repeat("%b2", 100), strings.Repeat("%25", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse("http://h/" + s)
		if err != nil {
			return
		}
		name := Filename("", u)
		if again := safeName(name); again != name || !utf8.ValidString(name) || len(name) > maxName {
			t.Errorf("%q: got %q, and from this name %q", s, name, again)
		}
	})
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{
		"", ".", "..", "a/b", `a\b`, "C:a", "a\x00", "a\u202eb", ".a.", " a ", "con.txt", "\xff", "\x95\\", "%\xff", "\xff/..", "~", "a\nb",
		strings.Repeat("é", 150) + ".txt", strings.Repeat("a", 300), strings.Repeat(".a ", 100), "con" + strings.Repeat("\u0301", 150),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := safeName(s)
		if name == "" {
			return
		}
		switch {
		case !filepath.IsLocal(name), filepath.Base(name) != name, strings.ContainsAny(name, `/\:`):
			t.Errorf("%q: got %q, which is not one local path element", s, name)
		case len(name) > maxName:
			t.Errorf("%q: got %d bytes, want at most %d", s, len(name), maxName)
		case !utf8.ValidString(name):
			t.Errorf("%q: got %q, which is not UTF-8", s, name)
		case strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf) }):
			t.Errorf("%q: got %q, with control characters", s, name)
		case strings.TrimLeft(name, ". ") != name, strings.TrimRight(name, ". ") != name:
			t.Errorf("%q: got %q, with a dot or blank at its start or end", s, name)
		case safeName(name) != name:
			t.Errorf("%q: got %q, and from this name %q", s, name, safeName(name))
		}
	})
}

// The number of a name stands in front of its extension.
func TestNumbered(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"get.php", "get.1.php"},
		{"a.tar.gz", "a.1.tar.gz"},
		{"a.b.zip", "a.b.1.zip"},
		{"download", "download.1"},
		{"go1.22.3", "go1.22.3.1"},
		{"a.7z", "a.1.7z"},
		{".tar.gz", ".tar.1.gz"},
		{"Mr. Smith", "Mr. Smith.1"},
		{"x.", "x..1"},
	} {
		dir := filepath.FromSlash("/d.e/")
		if got := Numbered(dir+tt.in, 1); got != dir+tt.want {
			t.Errorf("Numbered(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
	if name := strings.Repeat("x", maxName-4) + ".zip"; len(Numbered(name, 10000))+len(".part") > 255 {
		t.Errorf("the longest name has no room for a number")
	}
}

// The fast path gives the same name as the slow one.
func FuzzPlainName(f *testing.F) {
	for _, s := range []string{"http://h/a/file-1234.bin", "http://h/x?y=/abcdefgh.zip", "http://h/#/abcdefgh.zip", "http://abcdefgh.zip", "http://h/a%2Fabcdefgh.zip", "http://h/CONOUT$.txt", "http://h/abcdefgh..zip"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := plainName(s)
		u, err := url.Parse(s)
		if name == "" || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return
		}
		if want := Filename("", u); name != want {
			t.Errorf("%q: got %q, want %q", s, name, want)
		}
	})
}
