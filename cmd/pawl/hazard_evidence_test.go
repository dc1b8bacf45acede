package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"pawl/downloader/faultserver"
)

// evidence are servers whose responses do not distinguish one version from another, or a
// whole file from a part of it.
var evidence = []hazard{
	changedContent("a finished file", false, []string{"URL"}),
	changedContent("a finished file, without ranges", false, []string{"URL"}, faultserver.NoRanges),
	changedContent("a finished file, without length", false, []string{"URL"}, faultserver.NoLength),
	changedContent("a file of a list, with -N", false, []string{"mirror", "-N", "list"}),
	changedContent("a small file of a list, with -N", true, []string{"mirror", "-N", "list"}),
	changedContent("a small file of a list, without length, with -N", true, []string{"mirror", "-N", "list"}, faultserver.NoLength),
	{name: "evidence: no validators, and the same bytes", run: func(tr *testRun) {
		f := tr.putFile("f.bin", tr.newVersion(5<<20, "", noTime))
		tr.srv.Set(faultserver.NoLength)
		tr.runPawl().wantDownloaded("f.bin", f)
		before := tr.describeTarget()
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		o.wantStderr("unchanged")
		if tr.describeTarget() != before {
			tr.Errorf("the file was replaced")
		}
	}},
	{name: "evidence: no validators, of a list at a URL", run: func(tr *testRun) { changedList(tr, "mirror", "LIST") }},
	{name: "evidence: no validators, of a list at a URL, with -N", run: func(tr *testRun) { changedList(tr, "mirror", "-N", "LIST") }},
	{name: "evidence: no validators, of a list at a URL, with --restart", run: func(tr *testRun) { changedList(tr, "mirror", "--restart", "LIST") }},
	{name: "evidence: no validators, of --checksums at a URL", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		sums := newPage("0000000000000000000000000000000000000000000000000000000000000000  f.bin\n")
		tr.srv.Set(servePage("/SUMS", sums))
		tr.runPawl("--checksums", tr.srv.URL+"/SUMS", tr.fileURL()).wantFailure(32)
		right := strings.TrimPrefix(checksumOf(tr, f), "sha256:") + "  f.bin\n"
		sums.Store(&right)
		tr.runPawl("--checksums", tr.srv.URL+"/SUMS", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},

	{name: "evidence: no validators, so one connection", run: func(tr *testRun) {
		f := tr.serveFile(24 << 20)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(24<<20))
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		if n := tr.srv.Peak(); n != 1 {
			tr.Errorf("%d connections at once, want 1", n)
		}
		if n := strings.Count(o.stderr, "neither ETag nor Last-Modified"); n != 1 {
			tr.Errorf("pawl warned %d times, want once", n)
		}
	}},
	{name: "evidence: no validators, changed in place", run: func(tr *testRun) {
		tr.putFile("f.bin", tr.newVersion(24<<20, "", noTime))
		tr.srv.Set(faultserver.At(6<<20, func() { tr.putFile("f.bin", tr.newVersion(24<<20, "", noTime)) }), faultserver.ConnRate(24<<20))
		tr.runPawl().wantExit(0) // checkEnd checks that the file is one of the two versions
	}},
	{name: "evidence: no validators, and a mirror", run: func(tr *testRun) {
		f := tr.serveFile(24 << 20)
		second := faultserver.New()
		tr.Cleanup(second.Close)
		second.Put("f.bin", f)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(24<<20))
		tr.runPawl("--mirror", second.URL+"/f.bin", tr.fileURL()).wantDownloaded("f.bin", f)
		if n := len(second.Requests()); n > 0 {
			tr.Errorf("%d requests to the mirror, want none", n)
		}
	}},
	{name: "evidence: no validators, with a digest", run: func(tr *testRun) {
		f := tr.serveFile(24 << 20)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(8<<20))
		tr.runPawl("--checksum", checksumOf(tr, f), tr.fileURL()).wantDownloaded("f.bin", f)
		if tr.srv.Peak() < 2 {
			tr.Errorf("only one connection was used")
		}
	}},
	{name: "evidence: no validators, with --split-unverified", run: func(tr *testRun) {
		f := tr.serveFile(24 << 20)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(8<<20))
		tr.runPawl("--split-unverified", tr.fileURL()).wantDownloaded("f.bin", f)
		if tr.srv.Peak() < 2 {
			tr.Errorf("only one connection was used")
		}
	}},

	{name: "evidence: a mirror that echoes validators and alters large ranges", run: func(tr *testRun) { alteringMirror(tr, "") }},
	{name: "evidence: a mirror that echoes a digest and alters large ranges", run: func(tr *testRun) { alteringMirror(tr, "Repr-Digest") }},
	{name: "evidence: a mirror that alters large ranges, and a digest", run: func(tr *testRun) { alteringMirror(tr, "--checksum") }},

	{name: "evidence: validators are not sent to mirrors", run: func(tr *testRun) {
		f := tr.serveFile(24 << 20)
		tr.srv.Set(faultserver.ConnRate(4 << 20))
		s := newServerWith(tr, f)
		tr.runPawl("-x", "2", "--mirror", s.URL+"/f.bin", tr.fileURL()).wantDownloaded("f.bin", f)
		wantNoValidators(tr, s, f)
		tr.markMet()
	}},
	{name: "evidence: validators are not sent to a mirror that replaces the URL", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(0)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(404, -1)))
		s := newServerWith(tr, f)
		tr.runPawl("-x", "1", "--mirror", s.URL+"/f.bin", tr.fileURL()).wantDownloaded("f.bin", f) // further requests would have the mirror's own
		wantNoValidators(tr, s, f)
	}},
	{name: "evidence: a digest, and the URL is down after a mismatch", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.CorruptOnce(3<<20)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(404, -1)))
		s := newServerWith(tr, f)
		tr.runPawl("-x", "1", "--checksum", checksumOf(tr, f), "--mirror", s.URL+"/f.bin", tr.fileURL()).wantDownloaded("f.bin", f)
		wantNoValidators(tr, s, f)
	}},
	{name: "evidence: http without framing", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		o := tr.runPawl("--report", "r.json", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr("does not say where the file ends")
		tr.wantFileText("r.json", `"complete":"unknown"`)
	}},
	{name: "evidence: http without framing, in events", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		o := tr.runPawl("--json", tr.fileURL())
		o.wantExit(0)
		if !strings.Contains(o.stdout, `"complete":"unknown"`) {
			tr.Errorf("no event says that the end is unknown")
		}
	}},
	{name: "evidence: https without framing, cut", run: func(tr *testRun) {
		cutTLS(tr, 3<<20).wantFailure(4)
	}},
	{name: "evidence: https without framing, cut at the end", run: func(tr *testRun) { cutTLS(tr, 5<<20).wantFailure(4) }},
	{name: "evidence: https without framing, cut at the start", run: func(tr *testRun) { cutTLS(tr, 0).wantFailure(4) }},
	{name: "evidence: https without framing, cut, a file of a list", run: func(tr *testRun) {
		s := serveTLS(tr, faultserver.NoCloseNotify(3000))
		tr.writeList("list", s.URL+"/f.bin")
		tr.runPawl("mirror", "-k", "--rounds", "1", "list").wantFailure(4)
	}},
	{name: "evidence: https without framing, cut, the list itself", run: func(tr *testRun) {
		text := strings.Repeat("http://127.0.0.1:1/g.bin\n", 200)
		s := serveTLS(tr, faultserver.NoCloseNotify(3000), serveTexts(map[string]string{"list": text}))
		tr.runPawl("mirror", "-k", "--rounds", "1", s.URL+"/list").wantFailure(4)
	}},
	{name: "evidence: https without framing, closed properly", run: func(tr *testRun) {
		s := serveTLS(tr, faultserver.HTTP10, faultserver.NoLength)
		tr.runPawl("-k", s.URL+"/f.bin").wantDownloaded("f.bin", tr.served["f.bin"][0])
		tr.markMet()
	}},
	{name: "evidence: http without framing, a file of a list", run: func(tr *testRun) {
		tr.serveFile(5000)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		tr.writeList("list", tr.fileURL())
		tr.runPawl("mirror", "--report", "r.json", "list").wantExit(0)
		tr.wantFileText("r.json", `"complete":"unknown"`)
		tr.runPawl("mirror", "--report", "r.json", "list").wantExit(0)
		tr.wantFileText("r.json", `"complete":"unknown"`)
	}},
}

// changedContent returns a hazard in which a finished file gets other bytes of the same
// size, on a server without validators. pawl runs twice with args, in which URL stands for
// f.bin; a file named list names f.bin, too. The second run must download the new bytes.
func changedContent(what string, small bool, args []string, faults ...faultserver.Fault) hazard {
	return hazard{name: "evidence: no validators, and other bytes of " + what, run: func(tr *testRun) {
		size := int64(5 << 20)
		if small {
			size = 5000
		}
		f := tr.putFile("f.bin", tr.newVersion(size, "", noTime))
		tr.srv.Set(faults...)
		tr.writeList("list", tr.fileURL())
		for i, a := range args {
			if a == "URL" {
				args[i] = tr.fileURL()
			}
		}
		tr.runPawl(args...).wantDownloaded("f.bin", f)
		f = tr.putFile("f.bin", tr.newVersion(size, "", noTime))
		tr.runPawl(args...).wantDownloaded("f.bin", f)
		tr.markMet()
	}}
}

// A page is a served text that may change during the test.
type page struct{ atomic.Pointer[string] }

func newPage(text string) *page {
	p := new(page)
	p.Store(&text)
	return p
}

// servePage serves a page at path, chunked and without validators, and passes on all other
// requests.
func servePage(path string, p *page) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				next.ServeHTTP(w, r)
				return
			}
			http.NewResponseController(w).Flush()
			fmt.Fprint(w, *p.Load())
		})
	}
}

// changedList mirrors a list at a URL twice with args, in which LIST stands for the URL.
// The list changes between the runs, and the server sends no validators for it. The second
// run must use the new list.
func changedList(tr *testRun, args ...string) {
	f := tr.serveFile(5000)
	g := tr.putFile("g.bin", faultserver.NewFile(5000, 7))
	text := tr.srv.URL + "/f.bin\n"
	list := newPage(text)
	tr.srv.Set(servePage("/list", list))
	for i, a := range args {
		if a == "LIST" {
			args[i] = tr.srv.URL + "/list"
		}
	}
	tr.runPawl(args...).wantDownloaded("f.bin", f)
	text += tr.srv.URL + "/g.bin\n"
	list.Store(&text)
	tr.runPawl(args...).wantDownloaded("g.bin", g)
	tr.markMet()
}

// wantFileText checks that a file contains text.
func (tr *testRun) wantFileText(name, text string) {
	tr.Helper()
	if b, err := os.ReadFile(filepath.Join(tr.dir, name)); err != nil || !strings.Contains(string(b), text) {
		tr.Errorf("%s does not contain %q: %v\n%s", name, text, err, b)
	}
}

// alteringMirror downloads from a server that names a mirror in a Link header. The mirror
// sends the same validators and correct samples, but alters one byte in each large range.
// proof is the evidence that pawl has of the right bytes: "" for none, "Repr-Digest" for
// a digest in the response, "--checksum" for the user's digest. Without proof pawl must not
// use the mirror.
func alteringMirror(tr *testRun, proof string) {
	f := tr.serveFile(24 << 20)
	second := faultserver.New()
	tr.Cleanup(second.Close)
	second.Put("f.bin", f)
	link := faultserver.SetHeader("Link", "<"+second.URL+"/f.bin>; rel=duplicate")
	faults, args := []faultserver.Fault{link, faultserver.ConnRate(4 << 20)}, []string{"-x", "2"}
	echo := []faultserver.Fault{faultserver.CorruptEvery(1<<20, 400_000)}
	switch proof {
	case "Repr-Digest":
		digest := faultserver.SetHeader(proof, reprDigest(tr, f))
		faults, echo = append(faults, digest), append(echo, digest)
	case "--checksum":
		args = append(args, proof, checksumOf(tr, f))
	}
	tr.srv.Set(faults...)
	second.Set(echo...)
	o := tr.runPawl(append(args, tr.fileURL())...)
	o.wantDownloaded("f.bin", f)
	if used := len(second.Requests()) > 0; used != (proof != "") {
		tr.Errorf("requests to the mirror: got %v, want %v", used, proof != "")
	}
	tr.markMet()
}

// reprDigest returns the Repr-Digest field of f (RFC 9530, section 3).
func reprDigest(tr *testRun, f faultserver.File) string {
	tr.Helper()
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	sum := sha256.Sum256(b)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// serveTLS starts a TLS server with faults that serves 5 MiB as f.bin, and marks the
// hazard as met.
func serveTLS(tr *testRun, faults ...faultserver.Fault) *faultserver.Server {
	s := faultserver.NewTLS()
	tr.Cleanup(s.Close)
	s.Put("f.bin", tr.serveFile(5<<20))
	s.Set(faults...)
	tr.markMet()
	return s
}

// cutTLS downloads a file of 5 MiB over TLS. The server closes the connection after n
// bytes without a close_notify alert.
func cutTLS(tr *testRun, n int64) runResult {
	s := serveTLS(tr, faultserver.NoCloseNotify(n))
	return tr.runPawl("-k", s.URL+"/f.bin")
}

// newServerWith starts another server with faults that serves f as f.bin.
func newServerWith(tr *testRun, f faultserver.File, faults ...faultserver.Fault) *faultserver.Server {
	s := faultserver.New()
	tr.Cleanup(s.Close)
	s.Put("f.bin", f)
	s.Set(faults...)
	return s
}

// wantNoValidators checks that no request to s contains a validator of f.
func wantNoValidators(tr *testRun, s *faultserver.Server, f faultserver.File) {
	tr.Helper()
	for _, r := range s.Requests() {
		for _, name := range []string{"If-Range", "If-Match", "If-None-Match", "If-Modified-Since"} {
			if v := r.Header.Get(name); v == f.ETag || v != "" && strings.Contains(v, "GMT") {
				tr.Errorf("the server got %s: %s", name, v)
			}
		}
	}
}
