package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// sizes are files, lists and decoded bodies that exceed a limit.
var sizes = []hazard{
	{name: "limits: a file larger than --max-size", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.markMet()
		o := tr.runBeside(func(r *pawlProcess, n int64) { // a pawl that waits for the file would hang
			tr.srv.HoldAt(n, r.exited)
			<-r.exited
			tr.srv.Open()
		}, 1<<20, []string{"--max-size", "5000K", tr.fileURL()})
		o.wantFailure(7)
		tr.wantAbsent("f.bin.part")
		tr.runPawl("--max-size", "5M", tr.fileURL()).wantDownloaded("f.bin", tr.served["f.bin"][0])
	}},
	{name: "limits: a file of unknown size larger than --max-size", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.runPawl("--max-size", "1M", tr.fileURL()).wantFailure(7)
		tr.wantAbsent("f.bin.part")
		tr.runPawl("--max-size", "5M", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "limits: a stream larger than --max-size", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoLength)
		o := tr.runPawl("--max-size", "1M", "-o", "-", tr.fileURL())
		o.wantFailure(7)
		if len(o.stdout) > 2<<20 {
			tr.Errorf("%d bytes were written, want at most 2 MiB", len(o.stdout))
		}
	}},
	{name: "limits: files of a list larger than --max-size", run: func(tr *testRun) {
		f := tr.putFile("g.bin", faultserver.NewFile(5000, 7))
		h := tr.putFile("h.bin", faultserver.NewFile(6000, 8))
		tr.serveFile(5 << 20)
		tr.writeList("list", tr.fileURL(), tr.srv.URL+"/h.bin", tr.srv.URL+"/g.bin")
		tr.markMet()
		o := tr.runPawl("mirror", "--max-size", "5500", "--tries", "2", "list")
		o.wantFailure(7)
		if !hasContent(filepath.Join(tr.dir, "g.bin"), f) || hasContent(filepath.Join(tr.dir, "h.bin"), h) {
			tr.Errorf("g.bin is not downloaded, or h.bin is")
		}
		tr.wantAbsent("f.bin.part")
	}},
	{name: "limits: resume with --max-size keeps the held bytes", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.runPawl("resume", "--max-size", "1M").wantFailure(7)
		tr.wantPartKept()
		tr.markMet()
		tr.runPawl("resume").wantDownloaded("f.bin", f)
	}},
	{name: "limits: an endless list", run: func(tr *testRun) {
		f := tr.putFile("g.bin", faultserver.NewFile(5000, 7))
		tr.srv.Set(endlessAt("/list", "http://h.invalid/x\n"))
		tr.writeList("good", tr.srv.URL+"/g.bin")
		tr.markMet()
		o := tr.runPawl("mirror", "--max-list-size", "4M", tr.srv.URL+"/list", "good")
		o.wantFailure(2)
		o.wantStderr("--max-list-size")
		if !hasContent(filepath.Join(tr.dir, "g.bin"), f) {
			tr.Errorf("the file of the other list was not downloaded")
		}
		if n := tr.stateSize(); n > 1<<20 {
			tr.Errorf("the state has %d bytes, want at most 1 MiB", n)
		}
	}},
	{name: "limits: an endless checksum file", run: func(tr *testRun) {
		tr.serveFile(5000)
		tr.srv.Set(endlessAt("/SUMS", strings.Repeat("0", 64)+"  x\n"))
		tr.markMet()
		tr.runPawl("--max-list-size", "4M", "--checksums", tr.srv.URL+"/SUMS", tr.fileURL()).wantFailure(2)
		if n := tr.stateSize(); n > 1<<20 {
			tr.Errorf("the state has %d bytes, want at most 1 MiB", n)
		}
	}},
	{name: "limits: a gzip list that expands a thousandfold", run: func(tr *testRun) {
		out, err := os.Create(filepath.Join(tr.dir, "list"))
		if err != nil {
			tr.Fatal(err)
		}
		z := gzip.NewWriter(out)
		io.CopyN(z, repeatedText("# nothing\n"), 32<<20)
		z.Close()
		out.Close()
		tr.markMet()
		o := tr.runPawl("mirror", "--max-list-size", "200K", "list")
		o.wantFailure(2)
		o.wantStderr("--max-list-size")
		tr.runPawl("mirror", "--max-list-size", "2M", "--allow-empty", "list").wantExit(0)
	}},
	{name: "limits: gzip that expands a thousandfold", run: func(tr *testRun) {
		if raceEnabled {
			tr.Skip("a GiB takes too long under the race detector")
		}
		tr.srv.Set(bombAt("/f.bin"))
		tr.markMet()
		o := tr.runPawl()
		o.wantFailure(7)
		tr.wantAbsent("f.bin.part")
	}},
	{name: "limits: gzip larger than --max-size", run: func(tr *testRun) {
		tr.srv.Set(bombAt("/f.bin"))
		tr.markMet()
		tr.runPawl("--max-size", "10M", tr.fileURL()).wantFailure(7)
		tr.wantAbsent("f.bin.part")
	}},
}

// repeatedText is a reader that repeats a text without end.
type repeatedText string

func (t repeatedText) Read(p []byte) (int, error) {
	n := copy(p, t) // fills p if it is shorter than t
	for n+len(t) <= len(p) {
		n += copy(p[n:], t)
	}
	return n, nil
}

// handleAt calls serve for requests for path and passes on all others.
func handleAt(path string, serve http.HandlerFunc) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				serve(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// endlessAt serves text, repeated without end, at path.
func endlessAt(path, text string) faultserver.Fault {
	return handleAt(path, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, repeatedText(text)) })
}

// bombAt serves 8 GiB of zeros in a gzip coding at path, about a thousandth of that size.
func bombAt(path string) faultserver.Fault {
	return handleAt(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		var member bytes.Buffer // 16 MiB of zeros; a gzip file may consist of several members
		z := gzip.NewWriter(&member)
		z.Write(make([]byte, 16<<20))
		z.Close()
		for range 512 {
			if _, err := w.Write(member.Bytes()); err != nil {
				return
			}
		}
	})
}

// wantAbsent checks that a file of the directory does not exist.
func (tr *testRun) wantAbsent(name string) {
	tr.Helper()
	if _, err := os.Lstat(filepath.Join(tr.dir, name)); err == nil {
		tr.Errorf("%s exists", name)
	}
}

// stateSize returns the total size in bytes of all files in the state directory.
func (tr *testRun) stateSize() (n int64) {
	tr.Helper()
	err := filepath.Walk(filepath.Join(tr.dir, "state"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		tr.Error(fmt.Errorf("state: %w", err))
	}
	return n
}
