package main

import (
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// digests are hazards of TestHazards: complete downloads that do not have the digest
// that they should have.
var digests = []hazard{
	{name: "digests: one wrong byte, once", try: func(tr *trial) { heals(tr, 1, "--checksum", "SUM") }},
	{name: "digests: one wrong byte, twice", try: func(tr *trial) { heals(tr, 2, "--checksum", "SUM") }},
	{name: "digests: one wrong byte, once, no validators", try: func(tr *trial) {
		heals(tr, 1, "--checksum", "SUM", "NOVALIDATORS")
	}},
	{name: "digests: one wrong byte, once, no ranges", try: func(tr *trial) { heals(tr, 1, "--checksum", "SUM", "NORANGES") }},
	{name: "digests: one wrong byte, once, for a list", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.CorruptTimes(1, 3<<20))
		tr.writeList("list", tr.url(), "  checksum="+sumText(tr, f))
		tr.run("mirror", "list").good("f.bin", f)
	}},
	{name: "digests: one wrong byte, once, for a small file of a list", try: func(tr *trial) {
		f := tr.serve(50_000)
		tr.srv.Set(faultserver.CorruptTimes(1, 30_000))
		tr.writeList("list", tr.url(), "  checksum="+sumText(tr, f))
		tr.run("mirror", "list").good("f.bin", f)
	}},
	{name: "digests: a wrong byte, then a kill, then a digest", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.CorruptTimes(1, 1<<20), faultserver.Rate(16<<20))
		tr.signalAt(6<<20, 9)
		tr.srv.Set()
		tr.run("--checksum", sumText(tr, f), tr.url()).good("f.bin", f)
		tr.met()
	}},
	{name: "digests: a finished file that is wrong", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		delete(tr.versions, "f.bin")
		tr.srv.Set(faultserver.CorruptTimes(1, 3<<20))
		tr.run().exits(0)
		tr.run("--checksum", sumText(tr, f), tr.url()).good("f.bin", f)
	}},
	{name: "digests: the server has another file", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		other := sumText(tr, faultserver.NewFile(1, 99))
		o := tr.run("--checksum", other, tr.url())
		o.fails(32)
		o.says("the server has another file")
		tr.noPart()
		if sent := tr.srv.Sent(); sent < 3*f.Size || sent > 3*f.Size+f.Size/2 {
			tr.Errorf("%d bytes were sent, want three times %d", sent, f.Size)
		}
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "digests: the server has another file than the list says", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.writeList("list", tr.url(), "  checksum="+sumText(tr, faultserver.NewFile(1, 99)))
		o := tr.run("mirror", "list")
		o.fails(32)
		o.says("the server has another file")
		tr.met()
	}},
	{name: "digests: a finished file stays if the digest is wrong", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.run().good("f.bin", f)
		tr.run("--checksum", sumText(tr, faultserver.NewFile(1, 99)), tr.url()).exits(32)
		if !isFile(filepath.Join(tr.dir, "f.bin"), f) {
			tr.Errorf("the finished file is gone")
		}
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "digests: a finished file of a list stays if the digest is wrong", try: func(tr *trial) { staysListed(tr, 5<<20) }},
	{name: "digests: a small finished file of a list stays if the digest is wrong", try: func(tr *trial) { staysListed(tr, 5000) }},
	{name: "digests: the server's own digest is wrong", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Repr-Digest", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"))
		tr.run().fails(32)
	}},

	blamed("the first mirror", 1, "get"),
	blamed("the second mirror", 2, "get"),
	blamed("the URL asked", 0, "get"),
	blamed("the first mirror of a list", 1, "mirror"),
	blamed("the URL asked, of a list", 0, "mirror"),
}

// heals downloads with a digest from a server that sends a wrong byte so many times.
func heals(tr *trial, times int64, args ...string) {
	f := tr.serve(5 << 20)
	faults := []faultserver.Fault{faultserver.CorruptTimes(times, 3<<20)}
	var rest []string
	for _, a := range args {
		switch a {
		case "SUM":
			rest = append(rest, sumText(tr, f))
		case "NOVALIDATORS":
			faults = append(faults, faultserver.NoValidators)
		case "NORANGES":
			faults = append(faults, faultserver.NoRanges)
		default:
			rest = append(rest, a)
		}
	}
	tr.srv.Set(faults...)
	o := tr.run(append(rest, tr.url())...)
	o.good("f.bin", f)
	o.says("checksum mismatch")
}

// staysListed mirrors a file of a list, which another list then gives a wrong digest.
func staysListed(tr *trial, size int64) {
	f := tr.serve(size)
	tr.writeList("list", tr.url())
	tr.run("mirror", "list").good("f.bin", f)
	tr.writeList("wrong", tr.url(), "  checksum="+sumText(tr, faultserver.NewFile(1, 99)))
	tr.run("mirror", "wrong").exits(32)
	tr.noPart()
	n := len(tr.srv.Requests())
	tr.run("mirror", "list").good("f.bin", f)
	if got := len(tr.srv.Requests()); got != n {
		tr.Errorf("%d requests for a file that was here", got-n)
	}
	tr.met()
}

// sumText is the digest of f, as options take it.
func sumText(tr *trial, f faultserver.File) string {
	tr.Helper()
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	return sha256Of(b)
}

// writeList writes a list of these lines.
func (tr *trial) writeList(name string, lines ...string) {
	tr.Helper()
	must(tr, os.WriteFile(filepath.Join(tr.dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

// blamed is a hazard of three sources, one of which always sends wrong bytes: that one
// is named, whatever its validators, and no other.
func blamed(what string, guilty int, command string) hazard {
	return hazard{name: "digests: wrong bytes of " + what, try: func(tr *trial) {
		f := tr.serve(24 << 20)
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
		args := []string{"-x", "2", "--checksum", sumText(tr, f), "--mirror", urls[1], "--mirror", urls[2], urls[0]}
		if command == "mirror" {
			tr.writeList("list", strings.Join(urls, "\t"), "  checksum="+sumText(tr, f))
			args = []string{"mirror", "-x", "2", "list"}
		}
		o := tr.run(args...)
		o.good("f.bin", f)
		for i, u := range urls {
			if named := strings.Contains(o.stderr, "wrong bytes came from "+u+";"); named != (i == guilty) {
				tr.Errorf("source %d was blamed: %v", i, named)
			}
		}
		tr.met()
	}}
}
