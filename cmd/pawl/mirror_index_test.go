package main

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pawl/downloader/faultserver"
)

// indexPage returns the index page of a directory with these names, as nginx would send it. A name
// that ends in a slash is a directory.
func indexPage(names ...string) string {
	var b strings.Builder
	b.WriteString("<html>\r\n<head><title>Index of /</title></head>\r\n<body>\r\n<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\r\n")
	for _, name := range names {
		fmt.Fprintf(&b, "<a href=\"%s\">%s</a>   29-Nov-2026 18:16   2\r\n", html.EscapeString((&url.URL{Path: name}).String()), html.EscapeString(name))
	}
	return b.String() + "</pre><hr></body>\r\n</html>\r\n"
}

// An indexSite is a site with index pages.
type indexSite struct {
	*site
	pages map[string]string // HTML by path without the first slash, for example "pub/"
}

// newIndexSite returns a site with an index at /pub/. Its files have 10 bytes.
//
//	a.bin  b.iso  sub/c.bin  sub/deep/d.bin  sub/deep/e.iso  old/f.bin
//
// Beside the links to them, it has links to sort, to directories above and to other hosts.
func newIndexSite(t *testing.T) *indexSite {
	s := &indexSite{newSite(t), make(map[string]string)}
	for _, name := range []string{"a.bin", "b.iso", "sub/c.bin", "sub/deep/d.bin", "sub/deep/e.iso", "old/f.bin"} {
		s.add("pub/"+name, 10)
	}
	s.add("above.bin", 10)
	s.pages["pub/"] = indexPage("a.bin", "b.iso", "sub/", "old/") + `<a href="?C=N;O=D">Name</a><a href="/above.bin">above.bin</a><a href="/">/</a>` +
		`<a href="http://other.invalid/pub/x">x</a><a href="sub/?C=M;O=A">x</a><a href="/pub/./sub/../sub/">sub</a>`
	s.setPage("pub/sub/", indexPage("c.bin", "deep/")+`<a href="/pub/">pub</a><a href="./">.</a><a href="/pub/old/">old</a>`)
	s.setPage("pub/sub/deep/", indexPage("d.bin", "e.iso"))
	s.setPage("pub/old/", indexPage("f.bin"))
	s.serve()
	return s
}

// setPage changes a page, also while the server runs.
func (s *indexSite) setPage(path, html string) {
	textsMu.Lock()
	defer textsMu.Unlock()
	s.pages[path] = html
}

// serve makes the server send the pages.
func (s *indexSite) serve(faults ...faultserver.Fault) {
	s.srv.Set(append(faults, serveTexts(s.pages))...)
}

func (s *indexSite) url() string { return s.srv.URL + "/pub/" }

// wantOut checks that exactly these files of the index are in out.
func (s *indexSite) wantOut(names ...string) {
	s.Helper()
	for _, name := range names {
		if !hasContent(s.path(name), s.files["pub/"+name]) {
			s.Errorf("%s does not have the served bytes", name)
		}
	}
	s.wantFileCount(len(names))
}

// wantRequested checks that exactly these paths were requested, and each of them once.
func (s *indexSite) wantRequested(paths ...string) {
	s.Helper()
	counts := s.requestCounts()
	for path, n := range counts {
		if n != 1 || !slices.Contains(paths, path) {
			s.Errorf("/%s: %d requests", path, n)
		}
	}
	if len(counts) != len(paths) {
		s.Errorf("%d paths were requested, want %d", len(counts), len(paths))
	}
	s.srv.Reset()
}

// TestIndexDepth checks which pages and files of an index are requested: each once, and nothing else.
func TestIndexDepth(t *testing.T) {
	t.Parallel()
	s := newIndexSite(t)
	s.runMirror(s.url()).wantExit(0).wantStderr("names directories, which are not followed; see --depth")
	s.wantOut("a.bin", "b.iso")
	s.wantRequested("pub/", "pub/a.bin", "pub/b.iso")
	s.runMirror("-q", "--depth", "1", s.url()).wantExit(0)
	s.wantOut("a.bin", "b.iso", "sub/c.bin", "old/f.bin")
	s.wantRequested("pub/", "pub/sub/", "pub/old/", "pub/sub/c.bin", "pub/old/f.bin")
	s.runMirror("-q", "--depth", "9", s.url()).wantExit(0)
	s.wantOut("a.bin", "b.iso", "sub/c.bin", "old/f.bin", "sub/deep/d.bin", "sub/deep/e.iso")
	s.wantRequested("pub/", "pub/sub/", "pub/old/", "pub/sub/deep/", "pub/sub/deep/d.bin", "pub/sub/deep/e.iso")
	s.runMirror("--depth", "-1", s.url()).wantExit(2)
	s.runMirror("--include", "[", s.url()).wantExit(2)
}

// TestIndexGlobs checks --include and --exclude. A directory that is left out is not visited.
func TestIndexGlobs(t *testing.T) {
	s := newIndexSite(t)
	s.runMirror("-q", "--depth", "9", "--include", "*.iso", "--include", "/sub/*", "--exclude", "old", s.url()).wantExit(0)
	s.wantOut("b.iso", "sub/c.bin", "sub/deep/d.bin", "sub/deep/e.iso")
	s.wantRequested("pub/", "pub/sub/", "pub/sub/deep/", "pub/b.iso", "pub/sub/c.bin", "pub/sub/deep/d.bin", "pub/sub/deep/e.iso")
	s.runMirror("-q", "--depth", "9", "--exclude", "sub/deep/", "--exclude", "*.iso", s.url()).wantExit(0)
	s.wantOut("a.bin", "b.iso", "sub/c.bin", "sub/deep/d.bin", "sub/deep/e.iso", "old/f.bin")
	s.wantRequested("pub/", "pub/sub/", "pub/old/", "pub/a.bin", "pub/old/f.bin")
	s.writeList("list", s.srv.URL+"/pub/a.bin")
	s.runMirror("--include", "*.iso", "list").wantExit(0).wantStderr("no index page", "--include")
}

// TestIndexNarrowed checks that a run with narrower options deletes only files that it would have named: the
// others may still be on the server.
func TestIndexNarrowed(t *testing.T) {
	sampled(t, 8)
	for _, tt := range []struct {
		name   string
		narrow []string
		kept   []string // files that the server no longer has, and that the options leave out
		pruned []string
	}{
		{"depth", nil, []string{"sub/c.bin", "sub/deep/d.bin", "old/f.bin"}, []string{"a.bin"}},
		{"less depth", []string{"--depth", "1"}, []string{"sub/deep/d.bin"}, []string{"a.bin", "sub/c.bin", "old/f.bin"}},
		{"include", []string{"--depth", "9", "--include", "d.*", "--include", "e.*"}, []string{"a.bin", "sub/c.bin", "old/f.bin"}, []string{"sub/deep/d.bin"}},
		{"exclude", []string{"--depth", "9", "--exclude", "/a.bin"}, []string{"a.bin"}, []string{"sub/c.bin", "sub/deep/d.bin", "old/f.bin"}},
		{"exclude a directory", []string{"--depth", "9", "--exclude", "sub/"}, []string{"sub/c.bin", "sub/deep/d.bin"}, []string{"a.bin", "old/f.bin"}},
		{"the same name", []string{"--list-name", "x", "--include", "*.iso"}, []string{"a.bin", "sub/c.bin", "sub/deep/d.bin", "old/f.bin"}, nil},
		{"none", []string{"--depth", "2"}, nil, []string{"a.bin", "sub/c.bin", "sub/deep/d.bin", "old/f.bin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newIndexSite(t)
			wide := []string{"-q", "--depth", "2"}
			if slices.Contains(tt.narrow, "--list-name") {
				wide = append(wide, "--list-name", "x")
			}
			s.runMirror(append(wide, s.url())...).wantExit(0)
			s.setPage("pub/", indexPage("b.iso", "sub/"))
			s.setPage("pub/sub/", indexPage("deep/"))
			s.setPage("pub/sub/deep/", indexPage("e.iso"))
			dry := s.runMirror(append(tt.narrow, "--prune", "--dry-run", s.url())...).wantExit(0)
			out := s.runMirror(append(tt.narrow, "--prune", s.url())...).wantExit(0)
			for _, name := range append(tt.kept, "b.iso", "sub/deep/e.iso") {
				if !exists(s.path(name)) {
					t.Errorf("%s was deleted", name)
				}
			}
			for _, name := range tt.pruned {
				if exists(s.path(name)) {
					t.Errorf("%s was not deleted", name)
				}
			}
			if kept := strings.Contains(out.stderr, "left out by --depth, --include or --exclude"); kept != (len(tt.kept) > 0) {
				t.Errorf("kept files are mentioned: %v\n%s", kept, out.stderr)
			}
			if len(tt.kept) > 0 {
				dry.wantStderr("left out by --depth")
			}
			s.runMirror(append(wide, "--prune", s.url())...).wantExit(0)
			s.wantOut("b.iso", "sub/deep/e.iso")
		})
	}
}

// TestIndexNarrowedPart checks that the part file of a file that the options leave out is kept as well.
func TestIndexNarrowedPart(t *testing.T) {
	s := newIndexSite(t)
	s.add("pub/sub/c.bin", 4<<20)
	s.serve(faultserver.CutAt(3<<20, func() { s.srv.Set(faultserver.Status(500, 0)) }))
	s.runMirror("-q", "--depth", "1", "--tries", "1", "--rounds", "1", s.url()).wantExit(75)
	if !exists(s.path("sub/c.bin.part")) {
		t.Fatal("no part file")
	}
	s.serve()
	s.runMirror("-q", "--prune", s.url()).wantExit(0)
	if !exists(s.path("sub/c.bin.part")) {
		t.Error("the part file was deleted")
	}
}

// TestPatternsWithoutGlob checks that a run without --glob does not delete the files of a pattern.
func TestPatternsWithoutGlob(t *testing.T) {
	for _, pattern := range []string{"f000[0-3]", "f000{0,1,2,3}"} {
		s := newSite(t)
		s.addMany(5, sameSize(10))
		s.writeList("list", s.srv.URL+"/"+pattern, s.srv.URL+"/f0004")
		s.runMirror("-q", "--glob", "list").wantExit(0)
		s.wantFileCount(5)
		s.runMirror("--prune", "list").wantExit(8).wantStderr("nothing is pruned")
		s.wantFileCount(5)
		s.writeList("list", s.srv.URL+"/f0004", s.srv.URL+"/f000[0-2]")
		s.runMirror("-q", "--glob", "--prune", "list").wantExit(0)
		s.wantFileCount(4)
	}
}

// TestIndexAsList checks that an index works with the other options of mirror as any list does.
func TestIndexAsList(t *testing.T) {
	t.Parallel()
	s := newIndexSite(t)
	args := func(more ...string) []string { return append(more, "--depth", "9", s.url()) }
	s.runMirror(args("--dry-run")...).wantExit(0).wantStderr("sub/deep/d.bin: would be fetched")
	s.wantFileCount(0)
	s.runMirror(args("-q", "--report", "report")...).wantExit(0)
	for _, f := range s.report("report").Files {
		dir := f.URL[:strings.LastIndexByte(f.URL, '/')+1]
		if f.Outcome != outcomeFetched || f.List != dir || f.Line < 1 {
			t.Errorf("report: %+v", f)
		}
	}

	// The server's page is requested again as a whole, and its files are not.
	s.srv.Reset()
	s.runMirror(args("-q")...).wantExit(0)
	s.wantRequested("pub/", "pub/sub/", "pub/old/", "pub/sub/deep/")
	s.add("pub/sub/c.bin", 11)
	s.runMirror(args("-q", "--update")...).wantExit(0)
	if !hasContent(s.path("sub/c.bin"), s.files["pub/sub/c.bin"]) {
		t.Error("--update did not replace sub/c.bin")
	}

	// A file that the page no longer names is pruned, with its directory, and a new one is fetched.
	s.add("pub/new.bin", 10)
	s.setPage("pub/", indexPage("a.bin", "new.bin", "sub/"))
	s.runMirror(args("--prune", "--dry-run")...).wantExit(0).wantStderr("b.iso: would be deleted", "old/f.bin: would be deleted")
	s.runMirror(args("-q", "--prune")...).wantExit(0)
	s.wantOut("a.bin", "new.bin", "sub/c.bin", "sub/deep/d.bin", "sub/deep/e.iso")
	if exists(s.path("old")) {
		t.Error("the empty directory old is left")
	}

	// A file that the page names and that is missing fails, and the list of --failed names it in its
	// directory.
	s.setPage("pub/sub/", indexPage("c.bin", "deep/", "x y.bin"))
	s.runMirror(args("-q", "--failed", "failed")...).wantExit(8)
	s.add("pub/sub/x y.bin", 10)
	s.runMirror("-q", "failed").wantExit(0)
	s.wantOut("a.bin", "new.bin", "sub/c.bin", "sub/deep/d.bin", "sub/deep/e.iso", "sub/x y.bin")
}

// TestIndexBroken checks that a directory that cannot be read is a problem, with the exit code of its
// error, that the others are mirrored, and that nothing is pruned.
func TestIndexBroken(t *testing.T) {
	sampled(t, 8)
	broken := func(path string, h http.HandlerFunc) faultserver.Fault {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == path {
					h(w, req)
					return
				}
				next.ServeHTTP(w, req)
			})
		}
	}
	answer := func(status int, mediaType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, to, http.StatusFound) }
	}
	s := newIndexSite(t)
	other := faultserver.New()
	defer other.Close()
	all := []string{"a.bin", "b.iso", "sub/c.bin", "sub/deep/d.bin", "sub/deep/e.iso", "old/f.bin"}
	args := []string{"--prune", "--max-delete", "inf", "--tries", "2", "--retry-wait", "0", "--depth", "9", s.url()}
	s.runMirror(append(args, "-q")...).wantExit(0)
	for _, tt := range []struct {
		name   string
		h      http.HandlerFunc
		code   int
		stderr string
	}{
		{"404", answer(404, "text/html", "<html><h1>404</h1>"), 8, "HTTP error 404"},
		{"500", answer(500, "text/html", "<html><h1>500</h1>"), 8, "HTTP error 500"},
		{"403", answer(403, "text/plain", "no"), 8, "HTTP error 403"},
		{"a login page", answer(200, "text/html", "<html><form><input type=password></form>"), 2, "asks for a password"},
		{"an error page", answer(200, "text/html", "<html><h1>404 Not Found</h1><a href=help.html>Help</a>"), 2, "is a web page, but not an index"},
		{"another list", answer(200, "text/plain", s.srv.URL+"/above.bin\n"), 2, "is not a web page"},
		{"nothing", answer(200, "text/html", ""), 2, "is not a web page"},
		{"a redirect to another host", redirect(other.URL + "/pub/sub/"), 7, "redirects to a page that is not below the index"},
		{"a redirect above", redirect("/login/"), 7, "redirects to a page that is not below the index"},
		{"a redirect to a file", redirect("/pub/index.html"), 7, "redirects to a page that is not below the index"},
	} {
		s.setPage("pub/old/", indexPage()) // would be pruned
		s.serve(broken("/pub/sub/", tt.h))
		s.srv.Reset()
		s.runMirror(args...).wantExit(tt.code).wantStderr(tt.stderr, "pub/sub/")
		s.wantOut(all...)
		if len(other.Requests()) > 0 || s.requestCounts()["above.bin"] > 0 || s.requestCounts()["login/"] > 0 {
			t.Errorf("%s: a request went outside of the index", tt.name)
		}
		if t.Failed() {
			t.Fatal(tt.name)
		}
	}
	// A directory without a length may be truncated, so nothing is pruned either.
	s.serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			h := next
			if req.URL.Path == "/pub/sub/" {
				h = faultserver.HTTP10(faultserver.NoLength(next))
			}
			h.ServeHTTP(w, req)
		})
	})
	s.runMirror(args...).wantExit(0).wantStderr("came without a length")
	s.wantOut(all...)
	// Without faults, the empty directory is pruned.
	s.serve()
	s.runMirror(args...).wantExit(0)
	s.wantOut(all[:5]...)
}

// TestIndexRefused checks that a web page that is no index is an error, by the URL or by the text.
func TestIndexRefused(t *testing.T) {
	s := newIndexSite(t)
	s.setPage("page", indexPage("a.bin"))
	s.setPage("login/", "<html><form method=post action=in><input type=password></form><a href=x.zip>x.zip</a>")
	s.setPage("error/", "<html><h1>Gone</h1><a href=/>Home</a>")
	s.add("a.bin", 10)
	s.runMirror(s.srv.URL + "/page").wantExit(2).wantStderr("is a web page, not a list")
	s.runMirror(s.srv.URL + "/login/").wantExit(2).wantStderr("asks for a password, not an index")
	s.runMirror(s.srv.URL + "/error/").wantExit(2).wantStderr("is a web page, but not an index of files")
	s.wantRequested("page", "login/", "error/")
	s.runMirror("-q", "--format", "index", s.srv.URL+"/page").wantExit(0)
	s.wantRequested("page", "a.bin")
	s.runMirror("--format", "index", s.srv.URL+"/above.bin").wantExit(2)
	s.wantRequested("above.bin")
}

// TestIndexLoops checks that no page is requested twice, whatever its links and redirects are, and that
// the number of pages is bounded by the depth if each page has a new URL.
func TestIndexLoops(t *testing.T) {
	s := newIndexSite(t)
	s.setPage("pub/", indexPage("sub/", "moved/", "again/", "a.bin"))
	s.setPage("pub/sub/", indexPage("c.bin")+`<a href="/pub/sub/%2e/">x</a><a href="//`+s.srv.Listener.Addr().String()+`/pub//sub//">x</a><a href="/pub/s%75b/">sub</a>`)
	s.srv.Set(redirects(map[string]string{"/pub/moved/": "/pub/there/", "/pub/again/": "/pub/sub/"}), serveTexts(s.pages))
	s.setPage("pub/there/", indexPage("f.bin"))
	s.add("pub/there/f.bin", 10)
	s.runMirror("-q", "--depth", "9", s.url()).wantExit(0)
	s.wantOut("a.bin", "sub/c.bin", "there/f.bin")
	s.wantRequested("pub/", "pub/sub/", "pub/moved/", "pub/again/", "pub/there/", "pub/a.bin", "pub/sub/c.bin", "pub/there/f.bin")

	s.srv.Set(func(http.Handler) http.Handler { // a symbolic link to the directory itself
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, indexPage("loop/")) })
	})
	s.runMirror("-q", "--depth", "30", "--allow-empty", s.url()).wantExit(0)
	if n := len(s.srv.Requests()); n != 31 {
		t.Errorf("%d requests, want 31", n)
	}
}

// redirects redirects paths.
func redirects(to map[string]string) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if target := to[req.URL.Path]; target != "" {
				http.Redirect(w, req, target, http.StatusMovedPermanently)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
}

// TestIndexRedirected checks that an index is read relative to the URL that answered, in each run, and
// that its response names its encoding.
func TestIndexRedirected(t *testing.T) {
	s := newIndexSite(t)
	s.add("v2/caf\u00e9.bin", 10)
	s.srv.Set(redirects(map[string]string{"/latest": "/v2/"}), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/v2/" {
				w.Header().Set("Content-Type", "text/html; charset=ISO-8859-1")
				w.Header().Set("ETag", `"1"`)
				fmt.Fprint(w, "<html><title>Index of /v2</title><a href=\"caf\xe9.bin\">caf\xe9.bin</a>")
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	for range 2 {
		s.runMirror("-q", s.srv.URL+"/latest").wantExit(0)
		if !hasContent(s.path("café.bin"), s.files["v2/café.bin"]) {
			t.Error("café.bin does not have the served bytes")
		}
		s.wantFileCount(1)
	}
}

// TestIndexCredentials checks that the directories and files of an index get the user and password of
// its URL, and that no message shows them.
func TestIndexCredentials(t *testing.T) {
	s := newIndexSite(t)
	s.serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if user, password, _ := req.BasicAuth(); user != "me" || password != "hunter2" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	u := strings.Replace(s.url(), "://", "://me:hunter2@", 1)
	s.runMirror("-v", "--depth", "1", u).wantExit(0)
	s.wantOut("a.bin", "b.iso", "sub/c.bin", "old/f.bin")
	s.wantNoSecrets("hunter2")
}

// TestIndexNames checks that names that leave the directory are refused one by one.
func TestIndexNames(t *testing.T) {
	s := newIndexSite(t)
	s.setPage("pub/", indexPage("a.bin", "b c+d&e%f#g?h.bin")+`<a href="..%2f..%2fx.bin">x.bin</a><a href="%2e%2e/x.bin">x.bin</a><a href="a%00.bin">a.bin</a><a href="%2e%2e%2f/">up</a>`)
	s.add("pub/b c+d&e%f#g?h.bin", 10)
	s.runMirror("--depth", "2", s.url()).wantExit(2).wantStderr("../../x.bin", "contains the path element", "contains a slash", "contains a control character")
	s.wantOut("a.bin", "b c+d&e%f#g?h.bin")
}
