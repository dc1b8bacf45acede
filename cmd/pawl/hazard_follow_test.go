package main

import (
	"strings"

	"pawl/downloader/faultserver"
)

// linksToFollow are URLs from servers and lists that --proto or --no-server-mirrors
// forbids to follow.
var linksToFollow = []hazard{
	{name: "links: --proto and the typed URL", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl("--proto", "https", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.runPawl("--proto", "ftp", tr.fileURL()).wantExit(2)
		tr.runPawl("--proto", "", tr.fileURL()).wantExit(2)
		tr.markMet()
	}},
	{name: "links: --proto and a redirect", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.Redirect("/f.bin", "/g.bin"))
		tr.putFile("g.bin", f)
		o := tr.runPawl("--proto", "https", tr.fileURL())
		o.wantFailure(7)
		o.wantEarlyGiveUp(1)
		tr.runPawl("--proto", "HTTP", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "links: --proto and a list", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		srv.Set()
		srv.Put("f.bin", f)
		list := srv.URL + "/f.bin\t" + tr.fileURL() + "\n" + tr.srv.URL + "/g.bin\n"
		tr.srv.Set(servePage("/list", newPage(list)))
		tr.runPawl("mirror", "--rounds", "1", "--proto", "https", "--cacert", cert, tr.srv.URL+"/list").wantExit(7)
		tr.wantFile("f.bin", f)
		for _, r := range tr.srv.Requests() {
			if r.Path != "/list" {
				tr.Errorf("%s was requested over http", r.Path)
			}
		}
		tr.markMet()
	}},
	serverMirror("is used", true),
	serverMirror("is not used with --proto", false, "--proto", "https"),
	serverMirror("is not used with --no-server-mirrors", false, "--no-server-mirrors"),
}

// serverMirror returns a hazard of a slow server that names a mirror in a Link header. used
// reports whether pawl may use the mirror with args.
func serverMirror(what string, used bool, args ...string) hazard {
	return hazard{name: "links: a mirror that the server names " + what, run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		s := newServerWith(tr, f)
		tr.srv.Set(faultserver.SetHeader("Link", "<"+s.URL+"/f.bin>; rel=duplicate"), faultserver.Rate(8<<20))
		o := tr.runPawl(append(args, "--checksum", checksumOf(tr, f), tr.fileURL())...)
		o.wantDownloaded("f.bin", f)
		if got := len(s.Requests()) > 0; got != used || strings.Contains(o.stderr, "warning") {
			tr.Errorf("requests to the mirror: got %v, want %v, and no warning", got, used)
		}
		tr.markMet()
	}}
}
