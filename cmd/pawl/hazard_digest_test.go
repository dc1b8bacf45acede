package main

import (
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// digests are complete downloads whose digest differs from the expected one.
var digests = []hazard{
	{name: "digests: one wrong byte, once", run: func(tr *testRun) { healsWrongByte(tr, 1, "--checksum", "SUM") }},
	{name: "digests: one wrong byte, twice", run: func(tr *testRun) { healsWrongByte(tr, 2, "--checksum", "SUM") }},
	{name: "digests: one wrong byte, once, no validators", run: func(tr *testRun) {
		healsWrongByte(tr, 1, "--checksum", "SUM", "NOVALIDATORS")
	}},
	{name: "digests: one wrong byte, once, no ranges", run: func(tr *testRun) { healsWrongByte(tr, 1, "--checksum", "SUM", "NORANGES") }},
	{name: "digests: one wrong byte, once, for a list", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.CorruptTimes(1, 3<<20))
		tr.writeList("list", tr.fileURL(), "  checksum="+checksumOf(tr, f))
		tr.runPawl("mirror", "list").wantDownloaded("f.bin", f)
	}},
	{name: "digests: one wrong byte, once, for a small file of a list", run: func(tr *testRun) {
		f := tr.serveFile(50_000)
		tr.srv.Set(faultserver.CorruptTimes(1, 30_000))
		tr.writeList("list", tr.fileURL(), "  checksum="+checksumOf(tr, f))
		tr.runPawl("mirror", "list").wantDownloaded("f.bin", f)
	}},
	{name: "digests: a wrong byte, then a kill, then a digest", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.CorruptTimes(1, 1<<20), faultserver.Rate(32<<20))
		tr.signalAt(6<<20, 9)
		tr.srv.Set()
		tr.runPawl("--checksum", checksumOf(tr, f), tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "digests: a finished file with a wrong byte", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		delete(tr.served, "f.bin")
		tr.srv.Set(faultserver.CorruptTimes(1, 3<<20))
		tr.runPawl().wantExit(0)
		tr.runPawl("--checksum", checksumOf(tr, f), tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "digests: the server has another file", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		other := checksumOf(tr, faultserver.NewFile(1, 99))
		o := tr.runPawl("-x", "1", "--checksum", other, tr.fileURL())
		o.wantFailure(32)
		o.wantStderr("the server has another file")
		tr.wantNoPartFiles()
		if sent := tr.srv.Sent(); sent < 3*f.Size || sent > 3*f.Size+f.Size/2 {
			tr.reportExcess("%d bytes were sent, want three times the size of %d", sent, f.Size)
		}
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "digests: the server has another file than the list says", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.writeList("list", tr.fileURL(), "  checksum="+checksumOf(tr, faultserver.NewFile(1, 99)))
		o := tr.runPawl("mirror", "list")
		o.wantFailure(32)
		o.wantStderr("the server has another file")
		tr.markMet()
	}},
	{name: "digests: a finished file stays if the digest is wrong", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.runPawl("--checksum", checksumOf(tr, faultserver.NewFile(1, 99)), tr.fileURL()).wantExit(32)
		if !hasContent(filepath.Join(tr.dir, "f.bin"), f) {
			tr.Errorf("the finished file has changed or is gone")
		}
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "digests: a finished file of a list stays if the digest is wrong", run: func(tr *testRun) { keptAfterWrongDigest(tr, 5<<20) }},
	{name: "digests: a small finished file of a list stays if the digest is wrong", run: func(tr *testRun) { keptAfterWrongDigest(tr, 5000) }},
	{name: "digests: the server's own digest is wrong", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Repr-Digest", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"))
		tr.runPawl().wantFailure(32)
	}},

	{name: "digests: one wrong byte at the requested URL, always", run: func(tr *testRun) { fetchesSuspects(tr, 0) }},
	{name: "digests: one wrong byte at the requested URL, always, and the next mirror has another file", run: func(tr *testRun) { fetchesSuspects(tr, 1) }},

	blamedSource("the first mirror", 1, "get"),
	blamedSource("the second mirror", 2, "get"),
	blamedSource("the requested URL", 0, "get"),
	blamedSource("the first mirror, in a list", 1, "mirror"),
	blamedSource("the requested URL, in a list", 0, "mirror"),
}

// healsWrongByte downloads with args from a server that sends one wrong byte in the first
// times responses for it. pawl must notice and download again. In args, SUM stands for the
// digest, and NOVALIDATORS and NORANGES are faults of the server.
func healsWrongByte(tr *testRun, times int64, args ...string) {
	f := tr.serveFile(5 << 20)
	faults := []faultserver.Fault{faultserver.CorruptTimes(times, 3<<20)}
	var rest []string
	for _, a := range args {
		switch a {
		case "SUM":
			rest = append(rest, checksumOf(tr, f))
		case "NOVALIDATORS":
			faults = append(faults, faultserver.NoValidators)
		case "NORANGES":
			faults = append(faults, faultserver.NoRanges)
		default:
			rest = append(rest, a)
		}
	}
	tr.srv.Set(faults...)
	o := tr.runPawl(append(rest, "-x", "1", tr.fileURL())...) // no other connection fetches the wrong byte again
	o.wantDownloaded("f.bin", f)
	o.wantStderr("checksum mismatch")
}

// fetchesSuspects downloads from three sources, of which the first one always sends a wrong byte.
// pawl must find that, and must not fetch the bytes again about which two sources agree. After the
// first mismatch, this many mirrors get another file.
func fetchesSuspects(tr *testRun, change int) {
	f := tr.serveFile(24 << 20)
	mirrors := []*faultserver.Server{tr.newServer(f), tr.newServer(f)}
	for _, m := range mirrors {
		m.Set(faultserver.Rate(20 << 20))
	}
	other := faultserver.NewFile(f.Size, 99)
	tr.srv.Set(faultserver.CorruptTimes(99, 300_000), faultserver.Rate(20<<20), faultserver.Only(func(n int) bool {
		if n > 0 && tr.srv.Sent()+mirrors[0].Sent()+mirrors[1].Sent() > f.Size+f.Size/4 { // the second download
			for _, m := range mirrors[:change] {
				m.Put("f.bin", other)
			}
		}
		return false
	}, faultserver.NoRanges))
	o := tr.runPawl("-x", "2", "--checksum", checksumOf(tr, f), "--mirror", mirrors[0].URL+"/f.bin", "--mirror", mirrors[1].URL+"/f.bin", tr.fileURL())
	o.wantDownloaded("f.bin", f)
	if change > 0 {
		return
	}
	o.wantStderr("wrong bytes came from " + tr.fileURL() + ";")
	if sent := tr.srv.Sent() + mirrors[0].Sent() + mirrors[1].Sent(); sent > 2*f.Size+f.Size/4 {
		tr.reportExcess("%d bytes were sent, want at most twice the size of %d", sent, f.Size)
	}
}

// keptAfterWrongDigest mirrors a file, and then mirrors a list with a wrong digest for the
// same path. The finished file must stay.
func keptAfterWrongDigest(tr *testRun, size int64) {
	f := tr.serveFile(size)
	tr.writeList("list", tr.fileURL())
	tr.runPawl("mirror", "list").wantDownloaded("f.bin", f)
	tr.writeList("wrong", tr.fileURL(), "  checksum="+checksumOf(tr, faultserver.NewFile(1, 99)))
	tr.runPawl("mirror", "wrong").wantExit(32)
	tr.wantNoPartFiles()
	n := len(tr.srv.Requests())
	tr.runPawl("mirror", "list").wantDownloaded("f.bin", f)
	if got := len(tr.srv.Requests()); got != n {
		tr.Errorf("%d requests for a finished file, want none", got-n)
	}
	tr.markMet()
}

// checksumOf returns the digest of f in the form of --checksum.
func checksumOf(tr *testRun, f faultserver.File) string {
	tr.Helper()
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	return sha256Of(b)
}

// writeList writes a list with these lines.
func (tr *testRun) writeList(name string, lines ...string) {
	tr.Helper()
	must(tr, os.WriteFile(filepath.Join(tr.dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

// blamedSource returns a hazard of three sources, of which the guilty one always sends
// wrong bytes. pawl must warn of that source and of no other.
func blamedSource(what string, guilty int, command string) hazard {
	return hazard{name: "digests: wrong bytes from " + what, run: func(tr *testRun) {
		f := tr.serveFile(24 << 20)
		servers := []*faultserver.Server{tr.srv, faultserver.New(), faultserver.New()}
		var urls []string
		for i, s := range servers {
			if i > 0 {
				tr.Cleanup(s.Close)
				s.Put("f.bin", f)
			}
			faults := []faultserver.Fault{faultserver.Rate(20 << 20)}
			if i == guilty {
				faults = append(faults, faultserver.CorruptEvery(1<<20, 400_000))
			}
			s.Set(faults...)
			urls = append(urls, s.URL+"/f.bin")
		}
		args := []string{"-x", "2", "--checksum", checksumOf(tr, f), "--mirror", urls[1], "--mirror", urls[2], urls[0]}
		if command == "mirror" {
			tr.writeList("list", strings.Join(urls, "\t"), "  checksum="+checksumOf(tr, f))
			args = []string{"mirror", "-x", "2", "list"}
		}
		o := tr.runPawl(args...)
		o.wantDownloaded("f.bin", f)
		for i, u := range urls {
			if named := strings.Contains(o.stderr, "wrong bytes came from "+u+";"); named != (i == guilty) {
				tr.Errorf("source %d: got a warning %v, want %v", i, named, i == guilty)
			}
		}
		if sent := tr.srv.Sent(); guilty > 0 && sent > f.Size+f.Size/8 { // its own bytes are sent once
			tr.reportExcess("the requested URL sent %d bytes, want at most the size of %d", sent, f.Size)
		}
		tr.markMet()
	}}
}
