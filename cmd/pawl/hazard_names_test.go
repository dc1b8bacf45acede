package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"pawl/downloader/faultserver"
)

// names are file names that come from a server or a URL, and targets that exist already.
var names = slices.Concat(namesOfServers(), namesRaw, namesOfURLs(), namesBytes, namesTaken)

// dispositions are Content-Disposition fields for /f.bin, and the name that the file must
// get. OUTSIDE stands for the directory above the hazard's, and CODED for the same
// percent-encoded.
var dispositions = []struct{ name, field, want string }{
	{"path traversal", `attachment; filename="../../evil"`, "evil"},
	{"path traversal, backslashes", `attachment; filename="..\..\evil"`, "evil"},
	{"path traversal, escaped backslashes", `attachment; filename="..\\..\\evil"`, "evil"},
	{"path traversal, not quoted", `attachment; filename=../../evil`, "evil"},
	{"only dots and slashes", `attachment; filename="../.."`, "f.bin"},
	{"absolute", `attachment; filename="OUTSIDE/evil"`, "evil"},
	{"absolute, encoded", `attachment; filename*=UTF-8''CODED%2Fevil`, "evil"},
	{"a UNC path", `attachment; filename="\\\\host\\share\\evil"`, "evil"},
	{"a drive letter", `attachment; filename="C:\evil.bin"`, "evil.bin"},
	{"a drive letter without a slash", `attachment; filename="C:evil"`, "C_evil"},
	{"an NTFS stream", `attachment; filename="a.txt:evil"`, "a.txt_evil"},
	{"percent signs", `attachment; filename="%2e%2e%2fevil"`, "evil"},
	{"percent-encoded", `attachment; filename="My%20File%20%E2%82%AC.bin"`, "My File €.bin"},
	{"encoded, with brackets", `attachment; filename*=UTF-8''a%20(1).bin`, "a (1).bin"},
	{"encoded words", `attachment; filename="=?UTF-8?B?5rWL6K+VLmJpbg==?="`, "测试.bin"},
	{"encoded, a broken escape", `attachment; filename*=UTF-8''50%.bin`, "50%.bin"},
	{"encoded path traversal", `attachment; filename*=UTF-8''..%2F..%2Fevil`, "evil"},
	{"encoded path traversal, dots too", `attachment; filename*=UTF-8''%2e%2e%5c%2e%2e%5cevil`, "evil"},
	{"encoded twice", `attachment; filename*=UTF-8''%252e%252e%252fevil`, "%2e%2e%2fevil"},
	{"encoded UTF-8", `attachment; filename*=UTF-8''%E2%82%AC%20rates.bin`, "€ rates.bin"},
	{"encoded UTF-8 and a plain name", `attachment; filename="plain.bin"; filename*=UTF-8''%C3%A9.bin`, "é.bin"},
	{"raw UTF-8", `attachment; filename="日本語 é.bin"`, "日本語 é.bin"},
	{"raw UTF-8, not quoted", `attachment; filename=é.bin`, "é.bin"},
	{"raw Latin-1", "attachment; filename=\"na\xefve.bin\"", "naïve.bin"},
	{"raw GBK", "attachment; filename=\"\xb2\xe2\xca\xd4\xce\xc4\xbc\xfe.zip\"", "%B2%E2%CA%D4%CE%C4%BC%FE.zip"},
	{"raw Shift-JIS, not quoted", "attachment; filename=\x95\\\x83|.zip", "%95%5C%83%7C.zip"},
	{"raw Latin-1, path traversal", "attachment; filename=\"..\\..\\na\xefve.bin\"", "naïve.bin"},
	{"a replacement character", "attachment; filename=\"a\ufffdb.bin\"", "a\ufffdb.bin"},
	{"encoded, not UTF-8", `attachment; filename*=UTF-8''a%ff%feb.bin`, "a%FF%FEb.bin"},
	{"encoded, an incomplete character", `attachment; filename*=UTF-8''ab%e2%82`, "ab%E2%82"},
	{"in continuations", `attachment; filename*0="../a"; filename*1=".bin"`, "a.bin"},
	{"two filename parameters", `attachment; filename=a.bin; filename=b.bin`, "a.bin"},
	{"empty", `attachment; filename=""`, "f.bin"},
	{"encoded, empty", `attachment; filename*=UTF-8''`, "f.bin"},
	{"only dots", `attachment; filename="..."`, "f.bin"},
	{"only a dot", `attachment; filename="."`, "f.bin"},
	{"only spaces", `attachment; filename="   "`, "f.bin"},
	{"only control characters", `attachment; filename*=UTF-8''%01%02%7f`, "f.bin"},
	{"300 bytes", `attachment; filename="` + strings.Repeat("x", 296) + `.bin"`, strings.Repeat("x", 236) + ".bin"},
	{"300 bytes of multi-byte characters", `attachment; filename*=UTF-8''` + strings.Repeat("%E2%82%AC", 100), strings.Repeat("€", 80)},
	{"10000 bytes", `attachment; filename="` + strings.Repeat("a.", 5000) + `bin"`, strings.Repeat("a.", 118) + ".bin"},
	{"NUL", `attachment; filename*=UTF-8''a%00b.bin`, "ab.bin"},
	{"NUL before a slash", `attachment; filename*=UTF-8''..%00%2Fevil%00.bin`, "evil.bin"},
	{"an escape sequence", `attachment; filename*=UTF-8''a%1B%5D0%3Bpwned%07b.bin`, "a]0;pwnedb.bin"},
	{"a C1 control", `attachment; filename*=UTF-8''a%C2%9B31mb.bin`, "a31mb.bin"},
	{"a bell", `attachment; filename*=UTF-8''a%07b.bin`, "ab.bin"},
	{"a carriage return", `attachment; filename*=UTF-8''a%0Db.bin`, "ab.bin"},
	{"a newline", `attachment; filename*=UTF-8''a%0Apawl%3A%20error%3A%20b.bin`, "apawl_ error_ b.bin"},
	{"a right-to-left override", `attachment; filename*=UTF-8''a%E2%80%AEnib.exe`, "anib.exe"},
	{"a line separator", `attachment; filename*=UTF-8''a%E2%80%A8b%E2%80%A9c.bin`, "abc.bin"},
	{"zero-width characters", `attachment; filename*=UTF-8''%E2%80%8Ba%EF%BB%BFb.bin`, "ab.bin"},
	{"a hidden file", `attachment; filename=".bashrc"`, "bashrc"},
	{"a hidden file behind invisible characters", `attachment; filename*=UTF-8''%E2%80%8B.%00.bashrc`, "bashrc"},
	{"a command-line option", `attachment; filename="-rf"`, "-rf"},
	{"a home directory", `attachment; filename="~/.ssh/authorized_keys"`, "authorized_keys"},
	{"CON", `attachment; filename="CON"`, "_CON"},
	{"aux.txt", `attachment; filename="aux.txt"`, "_aux.txt"},
	{"COM1.bin", `attachment; filename="COM1.bin"`, "_COM1.bin"},
	{"nul", `attachment; filename="nul"`, "_nul"},
	{"nul and a space", `attachment; filename="nul .x"`, "_nul .x"},
	{"trailing dots and spaces", `attachment; filename="evil. . "`, "evil"},
	{"characters that Windows forbids", `attachment; filename="a<b>c|d?e*f.bin"`, "a_b_c_d_e_f.bin"},
	{"the name of a part file", `attachment; filename="x.part"`, "x.part"},
	{"the name of its own part file", `attachment; filename="f.bin.part"`, "f.bin.part"},
	{"not a valid field", `;;;=`, "f.bin"},
	{"a quote that never ends", `attachment; filename="evil`, "evil"},
}

// namesOfServers returns a hazard for each of the dispositions.
func namesOfServers() []hazard {
	var all []hazard
	for _, d := range dispositions {
		all = append(all, hazard{name: "names: from a server, " + d.name, run: func(tr *testRun) {
			f := tr.serveFile(100 << 10)
			above := filepath.Dir(tr.dir)
			field := strings.NewReplacer("OUTSIDE", above, "CODED", url.QueryEscape(above)).Replace(d.field)
			tr.srv.Set(faultserver.SetHeader("Content-Disposition", field))
			tr.downloadAndCheckName(tr.fileURL(), d.want, f)
		}})
	}
	return all
}

// namesRaw have unencoded control characters, which no header field may contain (RFC 9110,
// section 5.5). net/http rejects most of them.
var namesRaw = []hazard{
	rawControls("a raw escape sequence", "attachment; filename=\"a\x1b]0;pwned\x07b.bin\""),
	{name: "names: an ETag with control characters", run: func(tr *testRun) {
		tr.putFile("f.bin", tr.newVersion(12<<20, `"a"`, noTime))
		tr.killHalfway()
		f := tr.putFile("f.bin", tr.newVersion(12<<20, "\"\u009b31m\u202eb\u2028\"", noTime))
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		if out := strings.ReplaceAll(o.stdout+o.stderr, "\n", ""); !isPlain(out) || !strings.Contains(out, "31m") {
			tr.Errorf("output has control characters, or not the ETag: %q", out)
		}
		tr.markMet()
	}},
	rawControls("a raw NUL", "attachment; filename=\"a\x00b.bin\""),
}

// rawControls returns a hazard of a Content-Disposition field that net/http rejects. pawl
// must fail and create no file.
func rawControls(name, field string) hazard {
	return hazard{name: "names: from a server, " + name, run: func(tr *testRun) {
		tr.serveFile(100 << 10)
		tr.srv.Set(faultserver.SetHeader("Content-Disposition", field))
		before := tr.listTree()
		o := tr.runPawl()
		o.wantFailure(7)
		o.wantEarlyGiveUp(25)
		if after := tr.listTree(); !slices.Equal(after, before) {
			tr.Errorf("files: got %q, want %q as before", after, before)
		}
		if out := strings.ReplaceAll(o.stdout+o.stderr, "\n", ""); !isPlain(out) {
			tr.Errorf("output has control characters: %q", out)
		}
	}}
}

// urls are the parts of URLs after the host, the path that the server must receive, and the
// name that the file must get.
var urls = []struct{ name, url, path, want string }{
	{"no path", "", "/", "index.html"},
	{"a slash", "/", "/", "index.html"},
	{"a directory", "/dir/", "/dir/", "dir"},
	{"only a query", "/?q=1", "/", "index.html"},
	{"a query with a slash", "/f.bin?q=/../evil", "/f.bin", "f.bin"},
	{"a fragment", "/f.bin#/../evil", "/f.bin", "f.bin"},
	{"an encoded slash", "/a%2Fb.bin", "/a/b.bin", "b.bin"},
	{"an encoded NUL", "/%00", "/\x00", "index.html"},
	{"an encoded NUL within the name", "/a%00b.bin", "/a\x00b.bin", "ab.bin"},
	{"encoded path traversal", "/..%2f..%2fevil", "/../../evil", "evil"},
	{"encoded path traversal, backslashes", "/..%5c..%5cevil", `/..\..\evil`, "evil"},
	{"trailing dots", "/a/..", "/a/..", "index.html"},
	{"an encoded newline", "/a%0ab.bin", "/a\nb.bin", "ab.bin"},
	{"an encoded escape sequence", "/a%1b%5b31mb.bin", "/a\x1b[31mb.bin", "a[31mb.bin"},
	{"a parameter", "/f.bin;type=a", "/f.bin;type=a", "f.bin;type=a"},
	{"a colon", "/C:evil", "/C:evil", "C_evil"},
	{"a hidden file", "/.bashrc", "/.bashrc", "bashrc"},
	{"raw UTF-8", "/日本語.bin", "/日本語.bin", "日本語.bin"},
	{"not UTF-8", "/a%ffb.bin", "/a\xffb.bin", "a%ffb.bin"},
	{"not UTF-8, raw", "/a\xffb.bin", "/a\xffb.bin", "a%FFb.bin"},
	{"GBK", "/%B2%E2%CA%D4%CE%C4%BC%FE.zip", "/\xb2\xe2\xca\xd4\xce\xc4\xbc\xfe.zip", "%B2%E2%CA%D4%CE%C4%BC%FE.zip"},
	{"Shift-JIS", "/%95%5c%20a.zip", "/\x95\\ a.zip", "%95%5c a.zip"},
	{"not UTF-8, path traversal", "/%ff%2f..%2f..%5cevil%fe", "/\xff/../..\\evil\xfe", "evil%fe"},
}

// namesOfURLs returns a hazard for each of the urls.
func namesOfURLs() []hazard {
	var all []hazard
	for _, u := range urls {
		all = append(all, hazard{name: "names: from a URL, " + u.name, run: func(tr *testRun) {
			f := faultserver.NewFile(100<<10, tr.rand.Uint64N(1<<40))
			tr.srv.Put(strings.TrimPrefix(u.path, "/"), f)
			tr.downloadAndCheckName(tr.srv.URL+u.url, u.want, f)
			tr.wantRequest(0, "for "+u.path, func(r faultserver.Request) bool { return r.Path == u.path })
		}})
	}
	return all
}

// downloadAndCheckName downloads asked into a directory two levels down. It checks that f
// gets the wanted name there, that no other file is new, and that the output contains
// nothing that acts on a terminal.
func (tr *testRun) downloadAndCheckName(asked, want string, f faultserver.File) {
	tr.Helper()
	below := filepath.Join(tr.dir, "down", "load")
	if err := os.MkdirAll(below, 0o777); err != nil {
		tr.Fatal(err)
	}
	before := tr.listTree()
	o := tr.runPawl("-d", below, asked)
	if o.code != 0 {
		tr.Errorf("exit %d, want 0", o.code)
	}
	new := slices.DeleteFunc(tr.listTree(), func(path string) bool { return slices.Contains(before, path) })
	if path := filepath.Join(below, want); !slices.Equal(new, []string{path}) {
		tr.Errorf("new files: got %q, want %q", new, path)
	} else if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || !hasContent(path, f) {
		tr.Errorf("%q does not have the served bytes", path)
	}
	for _, path := range new {
		if base := filepath.Base(path); strings.HasPrefix(base, ".") || !isPlain(base) {
			tr.Errorf("name %q is hidden or has control characters", base)
		}
	}
	if out := strings.ReplaceAll(o.stdout+o.stderr, "\n", ""); !isPlain(out) {
		tr.Errorf("output has control characters: %q", out)
	}
	if shown, _ := filepath.Rel(tr.dir, filepath.Join(below, want)); o.stdout != shown+"\n" {
		tr.Errorf("stdout: got %q, want only the path %q", o.stdout, shown)
	}
}

// isPlain reports whether text is valid UTF-8 without control characters, invisible
// characters and line separators.
func isPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}

// listTree lists the files in the hazard's directory and beside it, without pawl's state.
func (tr *testRun) listTree() []string {
	tr.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Dir(tr.dir), func(path string, d fs.DirEntry, err error) error {
		if path == filepath.Join(tr.dir, "state") {
			return fs.SkipDir
		}
		all = append(all, path)
		return err
	})
	if err != nil {
		tr.Fatal(err)
	}
	return all
}

// describePaths describes the file at each path by its mode, time, and bytes or link target.
func (tr *testRun) describePaths(paths []string) string {
	tr.Helper()
	var b strings.Builder
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", path, err)
			continue
		}
		var content string
		switch info.Mode().Type() {
		case 0:
			data, _ := os.ReadFile(path)
			content = info.ModTime().String() + string(data)
		case fs.ModeSymlink:
			content, _ = os.Readlink(path)
		}
		fmt.Fprintf(&b, "%s: %v %s\n", path, info.Mode(), content)
	}
	return b.String()
}

// takenTarget returns a hazard of a foreign file at the target or at the path of the part
// file. make creates it in dir; outside is the path of a user's file elsewhere, for links.
// pawl must refuse with code 13 and a hint, and leave all files as they are.
func takenTarget(name string, make func(dir, outside string) error, args ...string) hazard {
	return hazard{name: "names: already taken, " + name, run: func(tr *testRun) {
		tr.serveFile(100 << 10)
		outside := filepath.Join(tr.TempDir(), "precious")
		if err := os.WriteFile(outside, []byte("precious"), 0o644); err != nil {
			tr.Fatal(err)
		}
		if err := make(tr.dir, outside); err != nil {
			tr.Fatal(err)
		}
		delete(tr.served, "f.bin") // f.bin is foreign and must stay
		before := tr.listTree()
		was := tr.describePaths(before)
		o := tr.runPawl(append(slices.Clone(args), tr.fileURL())...)
		if o.code != 13 {
			tr.Errorf("exit %d, want 13", o.code)
		}
		if !strings.Contains(o.stderr, "pawl: error: ") || !strings.Contains(o.stderr, "pawl: hint: ") {
			tr.Errorf("pawl printed no error or no hint")
		}
		if is := tr.describePaths(before); is != was {
			tr.Errorf("files: got\n%swant, as before,\n%s", is, was)
		}
		if after := tr.listTree(); !slices.Equal(after, before) {
			tr.Errorf("files: got %q, want %q as before", after, before)
		}
		tr.markMet()
	}}
}

var namesTaken = []hazard{
	takenTarget("a file", func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "f.bin"), []byte("mine"), 0o644) }),
	takenTarget("an empty file", func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "f.bin"), nil, 0o644) }),
	takenTarget("a directory", func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "f.bin"), 0o755) }),
	takenTarget("a directory, --overwrite", func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "f.bin"), 0o755) }, "--overwrite"),
	takenTarget("a link to a file", func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "f.bin")) }),
	takenTarget("a link to a directory", func(dir, outside string) error { return os.Symlink(filepath.Dir(outside), filepath.Join(dir, "f.bin")) }),
	takenTarget("a link to nothing", func(dir, outside string) error { return os.Symlink(outside+".not", filepath.Join(dir, "f.bin")) }),
	takenTarget("a link to itself", func(dir, _ string) error { return os.Symlink("f.bin", filepath.Join(dir, "f.bin")) }),
	takenTarget("the part file is a link to a file", func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "f.bin.part")) }),
	takenTarget("the part file is a link to nothing", func(dir, outside string) error {
		return os.Symlink(outside+".not", filepath.Join(dir, "f.bin.part"))
	}),
	takenTarget("the part file is a directory", func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "f.bin.part"), 0o755) }),
	{name: "names: already taken, a link to a file, --overwrite", run: func(tr *testRun) {
		f := tr.serveFile(100 << 10)
		outside := filepath.Join(tr.TempDir(), "precious")
		if err := os.WriteFile(outside, []byte("precious"), 0o644); err != nil {
			tr.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(tr.dir, "f.bin")); err != nil {
			tr.Fatal(err)
		}
		tr.runPawl("--overwrite", tr.fileURL()).wantDownloaded("f.bin", f)
		if info, err := os.Lstat(filepath.Join(tr.dir, "f.bin")); err != nil || !info.Mode().IsRegular() {
			tr.Errorf("f.bin is not a regular file: %v", err)
		}
		if data, err := os.ReadFile(outside); err != nil || string(data) != "precious" {
			tr.Errorf("the target of the link: got %q, %v, want it unchanged", data, err)
		}
		tr.markMet()
	}},
	{name: "names: already taken, the part file becomes a link on resume", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		tr.killHalfway()
		part, outside := filepath.Join(tr.dir, "f.bin.part"), filepath.Join(tr.TempDir(), "precious")
		if err := os.Rename(part, outside); err != nil {
			tr.Fatal(err)
		}
		if err := os.Symlink(outside, part); err != nil {
			tr.Fatal(err)
		}
		all := []string{part, outside}
		was := tr.describePaths(all)
		tr.runPawl().wantFailure(13)
		if tr.describePaths(all) != was {
			tr.Errorf("the link or its target has changed")
		}
		tr.markMet()
	}},
}
