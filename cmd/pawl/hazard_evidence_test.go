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

// evidence are hazards of TestHazards: servers that do not tell versions apart, or a
// whole file from a part of it.
var evidence = []hazard{
	newBytes("a finished file", false, []string{"URL"}),
	newBytes("a finished file, without ranges", false, []string{"URL"}, faultserver.NoRanges),
	newBytes("a finished file, without length", false, []string{"URL"}, faultserver.NoLength),
	newBytes("a file of a list, with -N", false, []string{"mirror", "-N", "list"}),
	newBytes("a small file of a list, with -N", true, []string{"mirror", "-N", "list"}),
	newBytes("a small file of a list, without length, with -N", true, []string{"mirror", "-N", "list"}, faultserver.NoLength),
	{name: "evidence: no validators, and the same bytes", try: func(tr *trial) {
		f := tr.put("f.bin", tr.version(5<<20, "", never))
		tr.srv.Set(faultserver.NoLength)
		tr.run().good("f.bin", f)
		before := tr.look()
		o := tr.run()
		o.good("f.bin", f)
		o.says("unchanged")
		if tr.look() != before {
			tr.Errorf("the file was replaced")
		}
	}},
	{name: "evidence: no validators, of a list at a URL", try: func(tr *trial) { changedList(tr, "mirror", "LIST") }},
	{name: "evidence: no validators, of a list at a URL, with -N", try: func(tr *trial) { changedList(tr, "mirror", "-N", "LIST") }},
	{name: "evidence: no validators, of a list at a URL, with --restart", try: func(tr *trial) { changedList(tr, "mirror", "--restart", "LIST") }},
	{name: "evidence: no validators, of --checksums at a URL", try: func(tr *trial) {
		f := tr.serve(5000)
		sums := newPage("0000000000000000000000000000000000000000000000000000000000000000  f.bin\n")
		tr.srv.Set(textAt("/SUMS", sums))
		tr.run("--checksums", tr.srv.URL+"/SUMS", tr.url()).fails(32)
		right := strings.TrimPrefix(sumText(tr, f), "sha256:") + "  f.bin\n"
		sums.Store(&right)
		tr.run("--checksums", tr.srv.URL+"/SUMS", tr.url()).good("f.bin", f)
		tr.met()
	}},

	{name: "evidence: no validators, so one connection", try: func(tr *trial) {
		f := tr.serve(24 << 20)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(24<<20))
		o := tr.run()
		o.good("f.bin", f)
		if n := tr.srv.Peak(); n != 1 {
			tr.Errorf("%d connections", n)
		}
		if n := strings.Count(o.stderr, "neither ETag nor Last-Modified"); n != 1 {
			tr.Errorf("it was told %d times", n)
		}
	}},
	{name: "evidence: no validators, changed in place", try: func(tr *trial) {
		tr.put("f.bin", tr.version(24<<20, "", never))
		tr.srv.Set(faultserver.At(6<<20, func() { tr.put("f.bin", tr.version(24<<20, "", never)) }), faultserver.ConnRate(24<<20))
		tr.run().exits(0) // and the file is one of the two versions: see end
	}},
	{name: "evidence: no validators, and a mirror", try: func(tr *trial) {
		f := tr.serve(24 << 20)
		second := faultserver.New()
		tr.Cleanup(second.Close)
		second.Put("f.bin", f)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(24<<20))
		tr.run("--mirror", second.URL+"/f.bin", tr.url()).good("f.bin", f)
		if n := len(second.Requests()); n > 0 {
			tr.Errorf("%d requests to the mirror", n)
		}
	}},
	{name: "evidence: no validators, with a digest", try: func(tr *trial) {
		f := tr.serve(24 << 20)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(8<<20))
		tr.run("--checksum", sumText(tr, f), tr.url()).good("f.bin", f)
		if tr.srv.Peak() < 2 {
			tr.Errorf("only one connection was used")
		}
	}},
	{name: "evidence: no validators, with --split-unverified", try: func(tr *trial) {
		f := tr.serve(24 << 20)
		tr.srv.Set(faultserver.NoValidators, faultserver.ConnRate(8<<20))
		tr.run("--split-unverified", tr.url()).good("f.bin", f)
		if tr.srv.Peak() < 2 {
			tr.Errorf("only one connection was used")
		}
	}},

	{name: "evidence: a mirror that echoes validators and alters large ranges", try: func(tr *trial) { linked(tr, "") }},
	{name: "evidence: a mirror that echoes a digest and alters large ranges", try: func(tr *trial) { linked(tr, "Repr-Digest") }},
	{name: "evidence: a mirror that alters large ranges, and a digest", try: func(tr *trial) { linked(tr, "--checksum") }},

	{name: "evidence: validators are not for mirrors", try: func(tr *trial) {
		f := tr.serve(24 << 20)
		tr.srv.Set(faultserver.ConnRate(4 << 20))
		s := otherSource(tr, f)
		tr.run("-x", "2", "--mirror", s.URL+"/f.bin", tr.url()).good("f.bin", f)
		noValidatorOf(tr, s, f)
		tr.met()
	}},
	{name: "evidence: validators are not for a mirror in place of the URL", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(0)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(404, -1)))
		s := otherSource(tr, f)
		tr.run("--mirror", s.URL+"/f.bin", tr.url()).good("f.bin", f)
		noValidatorOf(tr, s, f)
	}},
	{name: "evidence: a digest, and the URL asked is down after a mismatch", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.CorruptOnce(3<<20)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(404, -1)))
		s := otherSource(tr, f)
		tr.run("-x", "1", "--checksum", sumText(tr, f), "--mirror", s.URL+"/f.bin", tr.url()).good("f.bin", f)
		noValidatorOf(tr, s, f)
	}},
	{name: "evidence: http without an end", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		o := tr.run("--report", "r.json", tr.url())
		o.good("f.bin", f)
		o.says("does not say where the file ends")
		tr.hasText("r.json", `"complete":"unknown"`)
	}},
	{name: "evidence: http without an end, in events", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		o := tr.run("--json", tr.url())
		o.exits(0)
		if !strings.Contains(o.stdout, `"complete":"unknown"`) {
			tr.Errorf("no event has it")
		}
	}},
	{name: "evidence: https without an end, cut", try: func(tr *trial) {
		rude(tr, 3<<20).fails(4)
	}},
	{name: "evidence: https without an end, cut at the end", try: func(tr *trial) { rude(tr, 5<<20).fails(4) }},
	{name: "evidence: https without an end, cut at the start", try: func(tr *trial) { rude(tr, 0).fails(4) }},
	{name: "evidence: https without an end, cut, for a list", try: func(tr *trial) {
		s := overTLS(tr, faultserver.NoCloseNotify(3000))
		tr.writeList("list", s.URL+"/f.bin")
		tr.run("mirror", "-k", "--rounds", "1", "list").fails(4)
	}},
	{name: "evidence: https without an end, cut, a list itself", try: func(tr *trial) {
		s := overTLS(tr, faultserver.NoCloseNotify(3000))
		tr.run("mirror", "-k", "--rounds", "1", s.URL+"/f.bin").fails(4)
	}},
	{name: "evidence: https without an end, in order", try: func(tr *trial) {
		s := overTLS(tr, faultserver.HTTP10, faultserver.NoLength)
		tr.run("-k", s.URL+"/f.bin").good("f.bin", tr.versions["f.bin"][0])
		tr.met()
	}},
	{name: "evidence: http without an end, in a list", try: func(tr *trial) {
		tr.serve(5000)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		tr.writeList("list", tr.url())
		tr.run("mirror", "--report", "r.json", "list").exits(0)
		tr.hasText("r.json", `"complete":"unknown"`)
		tr.run("mirror", "--report", "r.json", "list").exits(0)
		tr.hasText("r.json", `"complete":"unknown"`)
	}},
}

// newBytes is a hazard of a finished file that gets other bytes of the same size, on a
// server without validators. args run the program again, for f.bin or a list of it.
func newBytes(what string, small bool, args []string, faults ...faultserver.Fault) hazard {
	return hazard{name: "evidence: no validators, and other bytes of " + what, try: func(tr *trial) {
		size := int64(5 << 20)
		if small {
			size = 5000
		}
		f := tr.put("f.bin", tr.version(size, "", never))
		tr.srv.Set(faults...)
		tr.writeList("list", tr.url())
		for i, a := range args {
			if a == "URL" {
				args[i] = tr.url()
			}
		}
		tr.run(args...).good("f.bin", f)
		f = tr.put("f.bin", tr.version(size, "", never))
		tr.run(args...).good("f.bin", f)
		tr.met()
	}}
}

// A page is a text that a server has, and that may change.
type page struct{ atomic.Pointer[string] }

func newPage(text string) *page {
	p := new(page)
	p.Store(&text)
	return p
}

// textAt serves a page without validators and length, and everything else as before.
func textAt(path string, p *page) faultserver.Fault {
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

// changedList mirrors a list at a URL that has changed since, on a server that tells
// nothing about it.
func changedList(tr *trial, args ...string) {
	f := tr.serve(5000)
	g := tr.put("g.bin", faultserver.NewFile(5000, 7))
	text := tr.srv.URL + "/f.bin\n"
	list := newPage(text)
	tr.srv.Set(textAt("/list", list))
	for i, a := range args {
		if a == "LIST" {
			args[i] = tr.srv.URL + "/list"
		}
	}
	tr.run(args...).good("f.bin", f)
	text += tr.srv.URL + "/g.bin\n"
	list.Store(&text)
	tr.run(args...).good("g.bin", g)
	tr.met()
}

// hasText checks that a file in the trial's directory has a text.
func (tr *trial) hasText(name, text string) {
	tr.Helper()
	if b, err := os.ReadFile(filepath.Join(tr.dir, name)); err != nil || !strings.Contains(string(b), text) {
		tr.Errorf("%s does not have %q: %v\n%s", name, text, err, b)
	}
}

// linked downloads from a server that names a mirror, which has the same validators and
// answers samples correctly, and alters all else. proof is what proves the bytes.
func linked(tr *trial, proof string) {
	f := tr.serve(24 << 20)
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
		args = append(args, proof, sumText(tr, f))
	}
	tr.srv.Set(faults...)
	second.Set(echo...)
	o := tr.run(append(args, tr.url())...)
	o.good("f.bin", f)
	if used := len(second.Requests()) > 0; used != (proof != "") {
		tr.Errorf("the mirror was asked: %v", used)
	}
	tr.met()
}

// reprDigest is the Repr-Digest field of f (RFC 9530 §3).
func reprDigest(tr *trial, f faultserver.File) string {
	tr.Helper()
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	sum := sha256.Sum256(b)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// overTLS serves 5 MiB as f.bin over TLS, with faults.
func overTLS(tr *trial, faults ...faultserver.Fault) *faultserver.Server {
	s := faultserver.NewTLS()
	tr.Cleanup(s.Close)
	s.Put("f.bin", tr.serve(5<<20))
	s.Set(faults...)
	tr.met()
	return s
}

// rude downloads a file of 5 MiB over TLS, which is cut after n bytes.
func rude(tr *trial, n int64) outcome {
	s := overTLS(tr, faultserver.NoCloseNotify(n))
	return tr.run("-k", s.URL+"/f.bin")
}

// otherSource serves f.bin by a second server, and returns that.
func otherSource(tr *trial, f faultserver.File, faults ...faultserver.Fault) *faultserver.Server {
	s := faultserver.New()
	tr.Cleanup(s.Close)
	s.Put("f.bin", f)
	s.Set(faults...)
	return s
}

// noValidatorOf checks that no request to s has a validator of f.
func noValidatorOf(tr *trial, s *faultserver.Server, f faultserver.File) {
	tr.Helper()
	for _, r := range s.Requests() {
		for _, name := range []string{"If-Range", "If-Match", "If-None-Match", "If-Modified-Since"} {
			if v := r.Header.Get(name); v == f.ETag || v != "" && strings.Contains(v, "GMT") {
				tr.Errorf("%s: %s was sent to it", name, v)
			}
		}
	}
}
