package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// sizes are hazards of TestHazards: files, lists and codings that are larger than they may be.
var sizes = []hazard{
	{name: "limits: a file beyond --max-size", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.met()
		tr.run("--max-size", "5000K", tr.url()).fails(7)
		tr.absent("f.bin.part")
		if n := tr.srv.Sent(); n > 4<<20 { // what was under way when the header came
			tr.Errorf("%d bytes were sent", n)
		}
		tr.run("--max-size", "5M", tr.url()).good("f.bin", tr.versions["f.bin"][0])
	}},
	{name: "limits: a file of unknown size beyond --max-size", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.run("--max-size", "1M", tr.url()).fails(7)
		tr.absent("f.bin.part")
		tr.run("--max-size", "5M", tr.url()).good("f.bin", f)
	}},
	{name: "limits: a stream beyond --max-size", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoLength)
		o := tr.run("--max-size", "1M", "-o", "-", tr.url())
		o.fails(7)
		if len(o.stdout) > 2<<20 {
			tr.Errorf("%d bytes were written", len(o.stdout))
		}
	}},
	{name: "limits: files of a list beyond --max-size", try: func(tr *trial) {
		f := tr.put("g.bin", faultserver.NewFile(5000, 7))
		h := tr.put("h.bin", faultserver.NewFile(6000, 8))
		tr.serve(5 << 20)
		tr.writeList("list", tr.url(), tr.srv.URL+"/h.bin", tr.srv.URL+"/g.bin")
		tr.met()
		o := tr.run("mirror", "--max-size", "5500", "--tries", "2", "list")
		o.fails(7)
		if !isFile(filepath.Join(tr.dir, "g.bin"), f) || isFile(filepath.Join(tr.dir, "h.bin"), h) {
			tr.Errorf("g.bin must be there, and h.bin must not")
		}
		tr.absent("f.bin.part")
	}},
	{name: "limits: resume with --max-size keeps what is held", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interrupt()
		tr.run("resume", "--max-size", "1M").fails(7)
		tr.kept()
		tr.met()
		tr.run("resume").good("f.bin", f)
	}},
	{name: "limits: an endless list", try: func(tr *trial) {
		f := tr.put("g.bin", faultserver.NewFile(5000, 7))
		tr.srv.Set(endlessAt("/list", "http://h.invalid/x\n"))
		tr.writeList("good", tr.srv.URL+"/g.bin")
		tr.met()
		o := tr.run("mirror", "--max-list-size", "4M", tr.srv.URL+"/list", "good")
		o.fails(2)
		o.says("--max-list-size")
		if !isFile(filepath.Join(tr.dir, "g.bin"), f) {
			tr.Errorf("the other list was not fetched")
		}
		if n := tr.stateSize(); n > 1<<20 {
			tr.Errorf("%d bytes of state", n)
		}
	}},
	{name: "limits: an endless checksum file", try: func(tr *trial) {
		tr.serve(5000)
		tr.srv.Set(endlessAt("/SUMS", strings.Repeat("0", 64)+"  x\n"))
		tr.met()
		tr.run("--max-list-size", "4M", "--checksums", tr.srv.URL+"/SUMS", tr.url()).fails(2)
		if n := tr.stateSize(); n > 1<<20 {
			tr.Errorf("%d bytes of state", n)
		}
	}},
	{name: "limits: a list of gzip that unfolds a thousandfold", try: func(tr *trial) {
		out, err := os.Create(filepath.Join(tr.dir, "list"))
		if err != nil {
			tr.Fatal(err)
		}
		z := gzip.NewWriter(out)
		io.CopyN(z, repeatedText("# nothing\n"), 128<<20)
		z.Close()
		out.Close()
		tr.met()
		o := tr.run("mirror", "--max-list-size", "1M", "list")
		o.fails(2)
		o.says("--max-list-size")
		tr.run("mirror", "--max-list-size", "2M", "list").exits(0)
	}},
	{name: "limits: gzip that unfolds a thousandfold", try: func(tr *trial) {
		if raceEnabled {
			tr.Skip("a GiB takes too long under the race detector")
		}
		tr.srv.Set(bombAt("/f.bin"))
		tr.met()
		o := tr.run()
		o.fails(7)
		tr.absent("f.bin.part")
	}},
	{name: "limits: gzip beyond --max-size", try: func(tr *trial) {
		tr.srv.Set(bombAt("/f.bin"))
		tr.met()
		tr.run("--max-size", "10M", tr.url()).fails(7)
		tr.absent("f.bin.part")
	}},
}

// repeatedText is a text without end.
type repeatedText string

func (t repeatedText) Read(p []byte) (int, error) {
	n := copy(p, t) // all of p, even if it is short
	for n+len(t) <= len(p) {
		n += copy(p[n:], t)
	}
	return n, nil
}

// at serves what serve writes at a path, and everything else as before.
func at(path string, serve http.HandlerFunc) faultserver.Fault {
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

// endlessAt serves a text without end.
func endlessAt(path, text string) faultserver.Fault {
	return at(path, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, repeatedText(text)) })
}

// bombAt serves a gzip coding of zeros without end.
func bombAt(path string) faultserver.Fault {
	return at(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 8 << 10 {
			if _, err := z.Write(zeros); err != nil {
				return
			}
		}
	})
}

// absent checks that a file of the trial's directory is not there.
func (tr *trial) absent(name string) {
	tr.Helper()
	if _, err := os.Lstat(filepath.Join(tr.dir, name)); err == nil {
		tr.Errorf("%s is there", name)
	}
}

// stateSize returns the bytes of all files of the state directory.
func (tr *trial) stateSize() (n int64) {
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
