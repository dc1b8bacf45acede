package list

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"pawl/chunk"
	"pawl/downloader/weburl"
)

func TestWrite(t *testing.T) {
	e := Entry{
		URLs: []string{"http://a/x", "https://b/x y"}, Dir: "/d", Out: "o/p", Sum: mustParseSum(t, "sha256:"+hex64), Size: 0, List: "L", Line: 9,
		Header: http.Header{"Referer": {"r"}, "Authorization": {"Bearer T"}, "X-A": {"1", ""}},
	}
	want := "http://a/x\thttps://b/x y\n  dir=/d\n  out=o/p\n  checksum=sha-256=" + hex64 +
		"\n  size=0\n  header=Authorization: Bearer T\n  header=Referer: r\n  header=X-A: 1\n  header=X-A: \n"
	var b bytes.Buffer
	if err := Write(&b, e); b.String() != want || err != nil {
		t.Errorf("got %q, %v, want %q", b.String(), err, want)
	}
	b.Reset()
	if err := Write(&b, Entry{URLs: []string{"http://a/x"}, Size: -1}); b.String() != "http://a/x\n" || err != nil {
		t.Errorf("smallest entry: got %q, %v", b.String(), err)
	}
}

// Write refuses an entry that Read would not read back unchanged.
func TestWriteRefuses(t *testing.T) {
	for name, change := range map[string]func(e *Entry){
		"no URL":             func(e *Entry) { e.URLs = nil },
		"scheme":             func(e *Entry) { e.URLs = append(e.URLs, "ftp://h/x") },
		"tab in URL":         func(e *Entry) { e.URLs[0] += "\tx" },
		"blank after URL":    func(e *Entry) { e.URLs[0] += " " },
		"long URL":           func(e *Entry) { e.URLs[0] += strings.Repeat("x", maxLine) },
		"line end in out":    func(e *Entry) { e.Out = "a\nb" },
		"outside":            func(e *Entry) { e.Out = "../a" },
		"unclean":            func(e *Entry) { e.Out = "./a" },
		"blank after out":    func(e *Entry) { e.Out = "a " },
		"line end in dir":    func(e *Entry) { e.Dir = "a\nb" },
		"blank before dir":   func(e *Entry) { e.Dir = " a" },
		"line end in header": func(e *Entry) { e.Header = http.Header{"A": {"b\n out=x"}} },
		"blank in header":    func(e *Entry) { e.Header = http.Header{"A": {"b "}} },
		"header name":        func(e *Entry) { e.Header = http.Header{"A:": {"b"}} },
		"referer":            func(e *Entry) { e.Header = http.Header{"Referer": {"*"}} },
	} {
		e := Entry{URLs: []string{"http://h/x"}, Size: -1}
		change(&e)
		var b bytes.Buffer
		if err := Write(&b, e); err == nil || b.Len() > 0 {
			t.Errorf("%s: got %d bytes, %v, want an error", name, b.Len(), err)
		}
	}
}

func TestWriteError(t *testing.T) {
	full := errors.New("full")
	if err := Write(writerFunc(func([]byte) (int, error) { return 0, full }), Entry{URLs: []string{"http://h/"}}); err != full {
		t.Errorf("got %v, want %v", err, full)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// readBack writes entries and returns what Read returns for them.
func readBack(t *testing.T, entries []Entry) []string {
	t.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		if err := Write(&b, e); err != nil {
			t.Fatalf("Write of %s: %v", summary(e), err)
		}
	}
	return readAll("L", &b, Options{})
}

// sameEntries checks that got, from readBack, equals want except for the lists and lines.
func sameEntries(t *testing.T, got []string, want []Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q for %d entries", got, len(want))
	}
	for i, e := range want {
		_, g, _ := strings.Cut(got[i], ": ")
		if _, w, _ := strings.Cut(summary(e), ": "); g != w {
			t.Errorf("got %q, want %q", g, w)
		}
	}
}

func TestWriteRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]rune, 1+r.IntN(8))
		for i := range b {
			b[i] = []rune("abcXYZ019=:#{}[]*%,;é世")[r.IntN(21)]
		}
		return "ww" + string(b)
	}
	sums := []chunk.Sum{{}, mustParseSum(t, "md5:"+hex32), mustParseSum(t, "sha1:"+hex40), mustParseSum(t, "blake2b:"+hex128), mustParseSum(t, "crc32c:01234567"), mustParseSum(t, "adler32:01234567")}
	for range 200 {
		var entries []Entry
		for range 1 + r.IntN(4) {
			e := Entry{Sum: sums[r.IntN(len(sums))], Size: r.Int64N(1<<62)>>r.IntN(62) - 1}
			for range 1 + r.IntN(3) {
				e.URLs = append(e.URLs, "http://h/"+strings.ReplaceAll(word(), "%", "%25"))
			}
			if r.IntN(2) == 0 {
				e.Dir, e.Out = "/"+word()+" "+word(), word()+"/"+word()
			}
			for range r.IntN(3) {
				if e.Header == nil {
					e.Header = make(http.Header)
				}
				e.Header.Add([]string{"Referer", "User-Agent", "X-A"}[r.IntN(3)], word())
			}
			entries = append(entries, e)
		}
		sameEntries(t, readBack(t, entries), entries)
	}
}

// For any text, Read ends, each entry is valid and can be written and read back, and each
// problem has a list and a line.
func FuzzRead(f *testing.F) {
	seeds := []string{
		"http://a/x\thttp://b/x\n  dir=/d\n  out=x\n  checksum=md5=" + hex32 + "\n  header=A: b\n size=1\n referer=*\n http-user=u\n",
		hex64 + "  a\n" + hex64 + " *./b\nSHA256 (c) = " + hex64 + "\n\\" + hex32 + "  a\\n\n",
		pgpMessage + "\nHash: SHA256\n\n- " + hex64 + "  a\n" + pgpSignature,
		metalink4Head + "<file name='x'><size>1</size><hash type='sha-256'>" + hex64 + "</hash><url priority='1'>http://h/x</url></file></metalink>",
		metalink3Head + "<file name='x'><resources><url type='http' preference='1'>http://h/x</url></resources></file></files></metalink>",
		`{"url":"http://h/[1-2]","mirrors":["http://i/{a,b}"],"headers":{"a":["b"]},"size":1}`,
		gzipped("http://h/x\n"), "<html>", bomUTF8 + "x", "a.iso\n b\n#\n",
		"{\"files\":[{\"url\":\"http://h/x\",\"checksum\":{\"type\":\"MD5\",\"value\":\"" + hex32 + "\"}},{\"hits\":[\"http://h/\"]}],\"n\":[1]}",
		hex32 + "  a\n" + hex32 + "  b\n" + hex64 + "  a\n", "SHA256:\n " + hex64 + " 1 a\nMD5Sum:\n " + hex32 + " 1 ./a\n",
		"http://h/1\thttp://h/2\t" + hex32 + "\nhttp://h/3#sha256=" + hex64 + "\nhttp://h/4 xxh64:0123456789abcdef\nwget -O 'a b' http://h/5 \\\n",
		"url,path\n\"http://h/a,b\",c\n", "http://h/1;h.org/2\t" + hex32 + ";" + hex32 + "\n", "run\tx_ftp\tx_md5\na\thttp://h/1;h.org/2\t" + hex32 + ";" + hex32 + "\n",
		"url = \"http://h/x\"\noutput = a\n", "[{\"url\":\"http://h/x\",\"md5\":\"" + hex32 + "\"},\n\"http://h/y,z\"]", utf16Text("http://h/x\n", true),
		"x.iso: 01234567 89ABCDEF 01234567 89ABCDEF\n  01234567 89ABCDEF 01234567\nAlgorithm : MD5\nHash : " + hex32 + "\nPath : C:\\x\nDIST x 5 MD5 " + hex32 + "\n| a | " + hex32 + " |\nMD5 hash of a:\n" + hex32 + "\n",
		"<?xml version='1.0' encoding='ISO-8859-1'?>" + metalink3Head + "<file name='\xe9'><url>http://h/x#" + hex32 + "</url></file></files></metalink>",
	}
	for _, s := range seeds {
		for i := range byte(4 * 7) {
			f.Add([]byte(s), i)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, options byte) {
		formats := []Format{"", Aria2, Checksum, Metalink, JSON, Table, Curl}
		o := Options{Format: formats[options>>2%7], Glob: options&1 != 0}
		if options&2 != 0 {
			o.Base = "https://base/d/list?q"
		}
		n, ended := 0, false
		for e, err := range Read("L", bytes.NewReader(text), o) {
			if n++; n > 2000 {
				break // a pattern may expand to a billion URLs
			}
			var p *Problem
			switch {
			case ended:
				t.Fatalf("got %v, %v after the end", e, err)
			case err == nil:
				checkEntry(t, e)
			case !errors.As(err, &p):
				ended = true
			case p.Line < 1 || p.List != "L" || p.Err == nil || err.Error() != fmt.Sprintf("L:%d: %v", p.Line, p.Err):
				t.Fatalf("got problem %#v", p)
			}
		}
		if s, problems, err := ReadSums("L", bytes.NewReader(text), 0); (s == nil) == (err == nil) || len(problems) > len(text) {
			t.Fatalf("ReadSums: got %v, %d problems, %v", s, len(problems), err)
		}
	})
}

func checkEntry(t *testing.T, e Entry) {
	t.Helper()
	if len(e.URLs) == 0 || e.Line < 1 || e.List != "L" || e.Size < -1 || e.Out != "" && !filepath.IsLocal(e.Out) {
		t.Fatalf("got %#v", e)
	}
	for _, u := range e.URLs {
		if _, err := weburl.Parse(u); err != nil || !strings.HasPrefix(strings.ToLower(u), "http") {
			t.Fatalf("got URL %q: %v", u, err)
		}
	}
	sameEntries(t, readBack(t, []Entry{e}), []Entry{e})
}
