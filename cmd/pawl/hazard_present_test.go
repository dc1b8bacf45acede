package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pawl/downloader/faultserver"
)

// present are files that are at their target before the download: another program has put them
// there, somebody has touched or moved them, or they have got other URLs meanwhile.
var present = []hazard{
	{name: "present: a directory of another tool, beside its checksums", run: func(tr *testRun) {
		p := tr.putPresent(12)
		tr.writeList("SHA256SUMS", p.sums...)
		for range 2 { // the second time they are on record
			tr.wantPresent(0, "mirror", "SHA256SUMS", "--base", tr.srv.URL+"/", "-d", "d")
		}
		tr.writeList("SHA256SUMS", p.sums[1:]...)
		tr.wantPresent(0, "mirror", "SHA256SUMS", "--base", tr.srv.URL+"/", "-d", "d", "--prune", "--max-delete", "5")
		p.want(tr, "d") // pawl did not make the file that is no longer listed
	}},
	{name: "present: a directory whose state was lost, with digests in the list", run: func(tr *testRun) {
		p := tr.putPresent(3)
		tr.writeList("list", p.withDigests(tr)...)
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
		tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "state")))
		tr.wantPresent(0, "mirror", "list", "-d", "d")
	}},
	{name: "present: one file with the wanted digest", run: func(tr *testRun) {
		p := tr.putPresent(1)
		sum := checksumOf(tr, p.files[0])
		tr.wantPresent(0, "--checksum", sum, "-d", "d", tr.srv.URL+"/f0")
		tr.wantPresent(0, "--checksum", sum, "-o", "d/f0", tr.srv.URL+"/f0")
	}},
	{name: "present: one file with another digest", run: func(tr *testRun) {
		p := tr.putPresent(1)
		tr.runPawl("--checksum", "sha256:"+strings.Repeat("0", 64), "-o", "d/f0", tr.srv.URL+"/f0").wantRefusal(13)
		p.want(tr, "d")
		tr.markMet()
	}},
	{name: "present: touched files of a list", run: func(tr *testRun) {
		p := tr.putPresent(4)
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
		tr.writeList("list", p.urls(tr)...)
		tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
		tr.touch("d/f0", "d/f3")
		tr.wantPresent(0, "mirror", "list", "-d", "d")
		p.want(tr, "d")
	}},
	{name: "present: a touched large file", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.touch("f.bin")
		tr.wantPresent(1) // whether it has changed
		tr.flipBit(tr.dir+"/f.bin", 5<<20)
		tr.runPawl().wantRefusal(13)
		must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
	}},
	{name: "present: an altered file of a list", run: func(tr *testRun) {
		p := tr.putPresent(1)
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
		tr.writeList("list", p.urls(tr)...)
		tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
		tr.flipBit(tr.dir+"/d/f0", 7)
		tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
		p.want(tr, "d")
		tr.markMet()
	}},
	{name: "present: a moved directory", run: func(tr *testRun) { movedDirectory(tr, os.Rename) }},
	{name: "present: a copied directory", run: func(tr *testRun) {
		movedDirectory(tr, func(from, to string) error { return os.CopyFS(to, os.DirFS(from)) })
	}},
	{name: "present: a new signature in each URL", run: func(tr *testRun) { otherURL(tr, 5, "?sig=1", "?sig=2") }},
	{name: "present: a new signature in each URL, with --update", run: func(tr *testRun) { otherURL(tr, 10, "?sig=1", "?sig=2", "--update") }},
	{name: "present: a new signature for one file", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		for i := range 3 {
			tr.runPawl("-o", "x.bin", fmt.Sprintf("%s?sig=%d", tr.fileURL(), i)).wantDownloaded("x.bin", f)
		}
		tr.wantSentRatio(1.45)
		g := tr.putFile("f.bin", faultserver.NewFile(f.Size, 77))
		tr.runPawl("-o", "x.bin", tr.fileURL()+"?sig=9").wantRefusal(13) // another file of the same size
		tr.putFile("f.bin", g)
		tr.markMet()
	}},
	{name: "present: another host has the same files", run: func(tr *testRun) {
		p := tr.putPresent(3)
		other := newServerWith(tr, faultserver.File{})
		for i, f := range p.files {
			other.Put(fmt.Sprint("f", i), f)
		}
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
		for _, u := range []string{tr.srv.URL, other.URL} {
			tr.writeList("list", u+"/f0", u+"/f1", u+"/f2")
			tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
		}
		if n := other.Sent(); n > 10 {
			tr.Errorf("the other host sent %d bytes of files that are here", n)
		}
		tr.markMet()
	}},
	{name: "present: files of the right size, with --adopt", run: func(tr *testRun) {
		p := tr.putPresent(3)
		tr.writeList("list", p.urls(tr)...)
		tr.wantPresent(3, "mirror", "list", "-d", "d", "--adopt")
		tr.wantPresent(0, "mirror", "list", "-d", "d")
		p.want(tr, "d")
	}},
	{name: "present: a file of another size, with --adopt", run: func(tr *testRun) {
		tr.putPresent(1)
		must(tr, os.Truncate(filepath.Join(tr.dir, "d/f0"), 10))
		tr.runPawl("--adopt", "-d", "d", tr.srv.URL+"/f0").wantRefusal(13)
		tr.markMet()
	}},
	{name: "present: foreign files without a digest", run: func(tr *testRun) {
		p := tr.putPresent(2)
		tr.writeList("list", p.urls(tr)...)
		tr.runPawl("mirror", "list", "-d", "d").wantExit(13)
		p.want(tr, "d")
		tr.markMet()
	}},
}

// presentFiles are files that the server has as /f0, /f1, …
type presentFiles struct {
	files []faultserver.File
	sums  []string // lines of SHA256SUMS
}

// putPresent serves n files, and writes them to the directory d, as another program would.
func (tr *testRun) putPresent(n int) (p presentFiles) {
	must(tr, os.Mkdir(filepath.Join(tr.dir, "d"), 0o777))
	for i := range n {
		name := fmt.Sprint("f", i)
		f := tr.putFile(name, faultserver.NewFile(10_000+int64(i), 500+uint64(i)))
		b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
		must(tr, err)
		must(tr, os.WriteFile(filepath.Join(tr.dir, "d", name), b, 0o666))
		p.files = append(p.files, f)
		p.sums = append(p.sums, strings.TrimPrefix(sha256Of(b), "sha256:")+"  "+name)
	}
	return p
}

func (p presentFiles) urls(tr *testRun) (urls []string) {
	for i := range p.files {
		urls = append(urls, fmt.Sprintf("%s/f%d", tr.srv.URL, i))
	}
	return urls
}

func (p presentFiles) withDigests(tr *testRun) (lines []string) {
	for i, u := range p.urls(tr) {
		lines = append(lines, u, " checksum="+strings.Replace(checksumOf(tr, p.files[i]), "sha256:", "sha-256=", 1))
	}
	return lines
}

// want checks that all files are in dir.
func (p presentFiles) want(tr *testRun, dir string) {
	tr.Helper()
	for i, f := range p.files {
		tr.wantFile(fmt.Sprintf("%s/f%d", dir, i), f)
	}
}

// wantPresent runs pawl, which must succeed with at most n requests, of one byte each.
func (tr *testRun) wantPresent(n int, args ...string) {
	tr.Helper()
	tr.markMet()
	requests, sent := len(tr.srv.Requests()), tr.srv.Sent()
	tr.runPawl(args...).wantExit(0)
	if got := len(tr.srv.Requests()) - requests; got > n {
		tr.Errorf("pawl %q sent %d requests, want at most %d", args, got, n)
	}
	if got := tr.srv.Sent() - sent; got > int64(n) {
		tr.Errorf("pawl %q: the server sent %d bytes, want at most %d", args, got, n)
	}
}

// touch sets the modification time of files.
func (tr *testRun) touch(paths ...string) {
	tr.Helper()
	at := time.Now().Add(-time.Hour)
	for _, p := range paths {
		must(tr, os.Chtimes(filepath.Join(tr.dir, p), at, at))
	}
}

// movedDirectory mirrors a list, moves the directory, and mirrors the list there.
func movedDirectory(tr *testRun, move func(from, to string) error) {
	p := tr.putPresent(3)
	must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
	big := tr.putFile("big", faultserver.NewFile(3<<20, 9))
	tr.writeList("list", append(p.urls(tr), tr.srv.URL+"/big")...)
	tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
	must(tr, move(filepath.Join(tr.dir, "d"), filepath.Join(tr.dir, "e")))
	for range 2 {
		tr.wantPresent(0, "mirror", "list", "-d", "e")
	}
	p.want(tr, "e")
	tr.wantFile("e/big", big)
}

// otherURL mirrors the same files from URLs with other queries. At most n requests of one byte may
// be sent for that.
func otherURL(tr *testRun, n int, first, second string, args ...string) {
	p := tr.putPresent(5)
	must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
	list := func(query string) {
		tr.writeList("list", strings.Split(strings.Join(p.urls(tr), query+"\n")+query, "\n")...)
	}
	list(first)
	tr.runPawl("mirror", "list", "-d", "d").wantExit(0)
	list(second)
	tr.wantPresent(n, append([]string{"mirror", "list", "-d", "d"}, args...)...)
	tr.wantPresent(n, append([]string{"mirror", "list", "-d", "d"}, args...)...)
	p.want(tr, "d")
}
