package list

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// readIndexText reads a page as readAll does, without lines and URLs. A directory is "dir/ URL".
func readIndexText(page Page, text string, format Format) (got []string) {
	page.Dir = func(path, url string) { got = append(got, path+"/ "+url) }
	for e, err := range Read("L", strings.NewReader(text), Options{Page: &page, Format: format}) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		line := e.Out + " " + e.URLs[0]
		if !e.Sum.IsZero() {
			line += " " + e.Sum.String()
		}
		got = append(got, line)
	}
	return got
}

// TestIndexOfServers reads the pages of real servers for one directory, and for an empty one. The
// directory has names with all kinds of characters; the one with a backslash must be refused on Windows.
func TestIndexOfServers(t *testing.T) {
	names := []string{
		"100%.bin", "a-very-long-name-that-is-longer-than-the-columns-of-the-listing-of-any-server.tar.gz", "a.bin", "b b.bin",
		"c&d.bin", "colon:1.bin", "empty/", "it's.bin", "latin%E9.bin", "plus+1;2=3.bin", `q"uo<te.bin`, "sub dir/", "sub/",
		"tilde~1[2]{3}.bin", "x#y?z.bin", "é.bin",
	}
	for server, charset := range map[string]string{
		"nginx": "", "apache-plain": "ISO-8859-1", "apache-fancy": "ISO-8859-1", "apache-table": "UTF-8", "lighttpd": "", "caddy": "utf-8", "go": "utf-8", "python": "utf-8",
	} {
		want := slices.Clone(names)
		if server != "nginx" && server != "lighttpd" {
			want = append(want, ".hidden")
		}
		if server == "python" { // it decodes names that are not UTF-8 in a way of its own
			want[slices.Index(want, "latin%E9.bin")] = "latin%ED%B3%A9.bin"
		}
		if runtime.GOOS != "windows" {
			want = append(want, `back\slash.bin`)
		}
		slices.Sort(want)
		var got []string
		problems := 0
		page := Page{URL: "http://h/pub/", Charset: charset, Dir: func(path, url string) { got = append(got, path+"/") }}
		for e, err := range Read("L", strings.NewReader(indexFile(t, server)), Options{Page: &page}) {
			if err != nil {
				problems++
				if !strings.Contains(err.Error(), `back\\slash.bin" contains a backslash`) {
					t.Errorf("%s: %v", server, err)
				}
				continue
			}
			if !strings.HasPrefix(e.URLs[0], "http://h/pub/") || strings.Contains(e.URLs[0], "?") || e.Size != -1 || e.Line < 1 {
				t.Errorf("%s: %+v", server, e)
			}
			got = append(got, e.Out)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) || (problems > 0) != (runtime.GOOS == "windows") { // Apache links twice to each file
			t.Errorf("%s: %d problems, got\n\t%s\nwant\n\t%s", server, problems, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		if got := readIndexText(Page{URL: "http://h/pub/empty/", Charset: charset}, indexFile(t, server+"-empty"), ""); len(got) > 0 {
			t.Errorf("%s, empty directory: got %q", server, got)
		}
	}
}

func indexFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "index", name+".html"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestIndex reads pages with the liberties that HTML and URLs allow. Each is the index of
// http://h/pub/.
func TestIndex(t *testing.T) {
	gzipped := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		return b.String()
	}
	const head = "<html><title>Index of /pub/</title>"
	for _, tt := range []struct {
		name, text string
		page       Page
		want       []string
	}{
		{name: "upper case, no quotes, single quotes", text: head + "<A HREF=a.bin>a.bin</A><A\nHREF = 'b.bin' >b.bin</A>",
			want: []string{"a.bin http://h/pub/a.bin", "b.bin http://h/pub/b.bin"}},
		{name: "character references", text: head + `<a href="a&amp;b.bin">x</a><a href='&#99;&#x64;.bin'>x</a><a href="caf&eacute;.bin">x</a>`,
			want: []string{"a&b.bin http://h/pub/a&b.bin", "cd.bin http://h/pub/cd.bin", "café.bin http://h/pub/caf%C3%A9.bin"}},
		{name: "absolute links, with any scheme", text: head + `<a href="/pub/a">a</a><a href="http://h/pub/b">b</a><a href="https://h:443/pub/c">c</a><a href="//h/pub/d">d</a><a href="HTTP://H/pub/e/">e</a>`,
			want: []string{"a http://h/pub/a", "b http://h/pub/b", "c http://h/pub/c", "d http://h/pub/d", "e/ http://h/pub/e/"}},
		{name: "links elsewhere", text: head + `<a href="../">..</a><a href="/">x</a><a href="/pub">x</a><a href="/public/x">x</a><a href="http://g/pub/x">x</a>` +
			`<a href="http://h:81/pub/x">x</a><a href="ftp://h/pub/x">x</a><a href="mailto:x@h">x</a><a href="javascript:x">x</a><a href="">x</a><a href=".">x</a>` +
			`<a href="#x">x</a><a href="./">x</a><a href="../pub/">x</a><a name="x">x</a><a href="http://[h/pub/x">x</a><link href="x.css"><img src="x.png">`},
		{name: "links with a query", text: head + `<a href="?C=N;O=D">Name</a><a href="/pub/?C=M&amp;O=A">Date</a><a href="./?sort=name">Name</a><a href="sub/?C=S;O=A">x</a><a href="a.bin?view=log">log</a><a href="b.bin?">x</a><a href="a.bin">a.bin</a>`,
			want: []string{"a.bin http://h/pub/a.bin"}},
		{name: "base", text: "<base href='/pub/sub/'><base href='/x/'>" + head + `<a href="a.bin">a.bin</a><a href="../b.bin">b.bin</a><a href="../../c.bin">c.bin</a>`,
			want: []string{"sub/a.bin http://h/pub/sub/a.bin", "b.bin http://h/pub/b.bin"}},
		{name: "base without a link", text: "<base target=_top><BASE HREF=http://h/pub/>" + head + "<a href=a.bin>a.bin</a>", want: []string{"a.bin http://h/pub/a.bin"}},
		{name: "base on another host", text: "<base href='http://g/pub/'>" + head + `<a href="a.bin">a.bin</a>`},
		{name: "names that leave the directory", text: head + `<a href="..%2fx">x</a><a href="%2e%2e/x">x</a><a href="a%2Fb">x</a><a href="%2e%2e/">x</a><a href="a%00b">x</a><a href="%5Cb">x</a><a href="..%5Cb">x</a><a href="%2e/">x</a><a href="C%3A%5Cx">x</a><a href="a%20">x</a>`,
			want: []string{
				`L:1: file name "../x" contains a slash`, `L:1: file name "../x" contains the path element ".."`, `L:1: file name "a/b" contains a slash`, `L:1: file name ".." contains the path element ".."`,
				`L:1: file name "a\x00b" contains a control character`, `L:1: file name "\\b" is an absolute path`, `L:1: file name "..\\b" contains the path element ".."`, `L:1: file name "C:\\x" is an absolute path`, `L:1: file name "a " begins or ends with white space`,
			}},
		{name: "careless addresses", text: head + "<a href=' a b.bin '>x</a><a href='100%.bin'>x</a><a href='c%zz.bin'>x</a><a href='d\n.bin'>x</a><a href='1:2.bin'>x</a>",
			want: []string{"a b.bin http://h/pub/a%20b.bin", "100%.bin http://h/pub/100%25.bin", "c%zz.bin http://h/pub/c%25zz.bin", "d.bin http://h/pub/d.bin", "1:2.bin http://h/pub/1:2.bin"}},
		{name: "open elements", text: head + "<a href=a.bin>a.bin<li><a href=b.bin>b", want: []string{"a.bin http://h/pub/a.bin", "b.bin http://h/pub/b.bin"}},
		{name: "comments and scripts", text: "<!-- <a href=x>x</a> -->" + head + `<script>"<a href=x>x</a>"</script><style><a href=x></style><a href=a.bin>a.bin</a>`, want: []string{"a.bin http://h/pub/a.bin"}},
		{name: "without scripts", text: "<html><script>show()</script><noscript><a href=a.bin>a.bin</a></noscript>", want: []string{"a.bin http://h/pub/a.bin"}},
		{name: "a digest", text: head + "<a href='a.whl#sha256=" + hex64 + "'>a</a><a href='b.whl#egg=x'>b</a>", want: []string{"a.whl http://h/pub/a.whl sha256:" + hex64, "b.whl http://h/pub/b.whl"}},
		{name: "ISO-8859-1 in the response", page: Page{Charset: "iso-8859-1"}, text: head + "<a href='caf\xe9.bin'>x</a>", want: []string{"café.bin http://h/pub/caf%C3%A9.bin"}},
		{name: "Shift_JIS in the page", text: head + "<meta charset=shift_jis><a href='\x83\x65.bin'>x</a>", want: []string{"テ.bin http://h/pub/%E3%83%86.bin"}},
		{name: "no charset, UTF-8", text: head + "<a href='é.bin'>x</a>", want: []string{"é.bin http://h/pub/%C3%A9.bin"}},
		{name: "no charset, no UTF-8", text: head + "<a href='\xe9.bin'>x</a>", want: []string{"%E9.bin http://h/pub/%E9.bin"}},
		{name: "an unknown charset", page: Page{Charset: "x-nonsense"}, text: head + "<a href='é.bin'>x</a>", want: []string{"é.bin http://h/pub/%C3%A9.bin"}},
		{name: "byte order mark", text: bomUTF8 + head + "<a href='é.bin'>x</a>", want: []string{"é.bin http://h/pub/%C3%A9.bin"}},
		{name: "gzip", text: gzipped(head + "<a href=a.bin>x</a>"), want: []string{"a.bin http://h/pub/a.bin"}},
		{name: "XHTML", text: `<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "x"><html><body><h2>Index of /pub/</h2><a href="a.bin"/>`, want: []string{"a.bin http://h/pub/a.bin"}},
		{name: "pre first", text: "<pre>\n<a href=\"a\">a</a>\n<a href=\"b/\">b/</a>\n</pre>\n", want: []string{"a http://h/pub/a", "b/ http://h/pub/b/"}},
		{name: "IIS", text: `<html><head><title>h - /pub/</title></head><body><H1>h - /pub/</H1><hr><pre><A HREF="/">[To Parent Directory]</A><br><br> 1/2/2024  3:04 AM        &lt;dir&gt; <A HREF="/pub/sub/">sub</A><br> 1/2/2024  3:04 AM            5 <A HREF="/pub/web.config">web.config</A><br></pre><hr></body></html>`,
			want: []string{"sub/ http://h/pub/sub/", "web.config http://h/pub/web.config"}},
		{name: "an empty directory of IIS", text: `<html><head><title>h - /pub/</title></head><body><H1>h - /pub/</H1><hr><pre><A HREF="/">[To Parent Directory]</A><br><br></pre><hr></body></html>`},
		{name: "Jetty", text: `<!DOCTYPE html><html><head><title>Directory: /pub/</title></head><body><h1>Directory: /pub/</h1><table><tr><th><a href="?C=N&O=A">Name</a></th></tr><tr><td class="name"><a href="/pub/README">README&nbsp;</a></td></tr></table></body></html>`,
			want: []string{"README http://h/pub/README"}},
		{name: "a page of downloads", text: `<html><title>Data</title><p>Our data:<a href="d1.zip">first part</a> <a href="d2.zip">second</a> <a href="about.html">About</a>`,
			want: []string{"d1.zip http://h/pub/d1.zip", "d2.zip http://h/pub/d2.zip", "about.html http://h/pub/about.html"}},
		{name: "below another directory", page: Page{URL: "http://h/pub/a%20b/", Root: "http://h/pub/"}, text: head + "<a href=x>x</a><a href=/pub/y>y</a><a href=../z/>z</a>", want: []string{"a b/x http://h/pub/a%20b/x"}},
		{name: "only what is wanted", page: Page{Wanted: func(path string, isDir bool) bool { return path == "a" && !isDir || path == "d" && isDir }}, text: head + "<a href=a>a</a><a href=b>b</a><a href=d/>d</a><a href=e/>e</a><a href='%2e%2e/x'>x</a>",
			want: []string{"a http://h/pub/a", "d/ http://h/pub/d/"}},
	} {
		if tt.page.URL == "" {
			tt.page.URL = "http://h/pub/"
		}
		if got := readIndexText(tt.page, tt.text, ""); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got\n\t%s\nwant\n\t%s", tt.name, strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
		}
	}
}

// TestIndexRefused reads pages that are no index.
func TestIndexRefused(t *testing.T) {
	const page, notList, password = "L: is a web page, but not an index of files", "L: is a web page, not a list", "L: is a web page that asks for a password, not an index"
	for _, tt := range []struct{ name, text, url, want string }{
		{"no slash", "<html><title>Index of /pub</title><a href=a.bin>a.bin</a>", "http://h/pub", notList},
		{"no slash before the query", "<html><title>Index of /pub</title><a href=a.bin>a.bin</a>", "http://h/pub?dir=/", notList},
		{"a login page", "<html><title>Log in</title><form method=post action=login><input name=user><input type=PASSWORD name=p></form><a href=forgot>forgot</a><a href=logo.svg>x</a>", "", password},
		{"a login page under the name of an index", "<html><title>Index of /pub/</title><a href=a.bin>a.bin</a><input type=password>", "", password},
		{"the first page of a login", "<html><form method=post><input name=user></form><a href=help>help</a>", "", page},
		{"an error page", "<html><title>404 Not Found</title><h1>Not Found</h1><p>The requested URL was not found. <a href='/'>Home</a> <a href=contact.html>Contact us</a>", "", page},
		{"an error page without links", "<html><h1>Error</h1>", "", page},
		{"a page without anything", "<!doctype html><html><body></body></html>", "", page},
		{"a page made by a script", "<!doctype html><title>x</title><div id=root></div><pre></pre><script src=/app.js></script>", "", page},
		{"a home page", "<html><title>Home</title><a href=about/>About us</a><a href=news.html>News</a><a href=download/>Downloads</a><a href=img.png><img src=img.png></a>", "", page},
		{"a single sign-on", "<html><a href=/pub/sso/start>Sign in with your account</a>", "", page},
	} {
		if tt.url == "" {
			tt.url = "http://h/pub/"
		}
		if got := readIndexText(Page{URL: tt.url}, tt.text, ""); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	// Format Index allows any URL, but not any page, and no other text.
	if got := readIndexText(Page{URL: "http://h/pub/x.html"}, "<html><h1>Index of x</h1><a href=a>a</a>", Index); !slices.Equal(got, []string{"a http://h/pub/a"}) {
		t.Errorf("index by its format: got %q", got)
	}
	if got := readIndexText(Page{URL: "http://h/x"}, "<html><a href=a>b</a>", Index); !slices.Equal(got, []string{page}) {
		t.Errorf("page by its format: got %q", got)
	}
	if got := readIndexText(Page{URL: "http://h/"}, "http://h/a\n", Index); !slices.Equal(got, []string{"L: is not a web page, so it is no index"}) {
		t.Errorf("a text as an index: got %q", got)
	}
	// A forced format of another kind is not overruled, and other formats are read as always.
	if got := readIndexText(Page{URL: "http://h/"}, "<html><h1>Index of x</h1>", Aria2); !slices.Equal(got, []string{notList}) {
		t.Errorf("index with format aria2: got %q", got)
	}
	if got := readIndexText(Page{URL: "http://h/"}, "http://h/a\n", ""); !slices.Equal(got, []string{" http://h/a"}) {
		t.Errorf("a list of URLs: got %q", got)
	}
}

// TestIndexHuge checks that a long page is read as a stream, that a login field far into it ends it, and
// that a page without sense is refused early.
func TestIndexHuge(t *testing.T) {
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i, i)
		}
		return b.String()
	}
	if got := readIndexText(Page{URL: "http://h/"}, "<html>"+many("<a href=%d.bin>%d</a>\n", 5000), ""); len(got) != 5000 {
		t.Errorf("got %d entries, want 5000", len(got))
	}
	got := readIndexText(Page{URL: "http://h/"}, "<html>"+many("<a href=%d.html>about %d</a>\n", 5000), "")
	if len(got) != 1 || !strings.Contains(got[0], "not an index") {
		t.Errorf("got %d values, want one error", len(got))
	}
	got = readIndexText(Page{URL: "http://h/"}, "<html><a href='"+strings.Repeat("x", 2*maxLine)+"'>", "")
	if len(got) != 1 || !strings.Contains(got[0], "longer than") {
		t.Errorf("an endless tag: got %d values", len(got))
	}
}

// FuzzIndex checks that whatever a page contains, its entries and directories stay below it, on the same
// host, without a query.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{"a.bin", "../x", "//g/x", "http://h/pub/x", "%2e%2e/x", "..%2fx", "a?b", "a#b", "\\\\g\\x", "sub/%2e%2e/%2e%2e/x", "/pub/a/../../x", "http:a", "http:///pub/x", "x\x00", "%zz/"} {
		f.Add("/pub/", s)
		f.Add(s, "a.bin")
	}
	f.Fuzz(func(t *testing.T, base, href string) {
		text := "<html><title>Index of x</title><base href='" + base + "'><a href='" + href + "'>x</a>"
		check := func(path, u string) {
			if !strings.HasPrefix(u, "http://h/pub/") || strings.ContainsAny(u, "?#") || !filepath.IsLocal(path) || hasDotDot(path) {
				t.Errorf("base %q, link %q: got %q at %q", base, href, path, u)
			}
		}
		for e, err := range Read("L", strings.NewReader(text), Options{Page: &Page{URL: "http://h/pub/", Dir: check}}) {
			if err == nil {
				check(e.Out, e.URLs[0])
			}
		}
	})
}
