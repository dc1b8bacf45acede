package main

import (
	"strings"

	"pawl/downloader/faultserver"
)

// linksToFollow are hazards of where servers and lists lead, and of what the user lets them.
var linksToFollow = []hazard{
	{name: "links: --proto and the URL that was typed", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		tr.run("--proto", "https", tr.url()).good("f.bin", f)
		tr.run("--proto", "ftp", tr.url()).exits(2)
		tr.run("--proto", "", tr.url()).exits(2)
		tr.met()
	}},
	{name: "links: --proto and a redirect", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		tr.srv.Set(faultserver.Redirect("/f.bin", "/g.bin"))
		tr.put("g.bin", f)
		o := tr.run("--proto", "https", tr.url())
		o.fails(7)
		o.soon(1)
		tr.run("--proto", "HTTP", tr.url()).good("f.bin", f)
	}},
	{name: "links: --proto and a list", try: func(tr *trial) {
		f, srv, cert := tr.secure()
		srv.Set()
		srv.Put("f.bin", f)
		list := srv.URL + "/f.bin\t" + tr.url() + "\n" + tr.srv.URL + "/g.bin\n"
		tr.srv.Set(textAt("/list", newPage(list)))
		tr.run("mirror", "--rounds", "1", "--proto", "https", "--cacert", cert, tr.srv.URL+"/list").exits(7)
		tr.hereAre("f.bin", f)
		for _, r := range tr.srv.Requests() {
			if r.Path != "/list" {
				tr.Errorf("asked for %s over http", r.Path)
			}
		}
		tr.met()
	}},
	serverMirror("is used", true),
	serverMirror("is not used with --proto", false, "--proto", "https"),
	serverMirror("is not used with --no-server-mirrors", false, "--no-server-mirrors"),
}

// serverMirror is a hazard of a slow server that names a mirror.
func serverMirror(what string, used bool, args ...string) hazard {
	return hazard{name: "links: a mirror that the server names " + what, try: func(tr *trial) {
		f := tr.serve(12 << 20)
		s := otherSource(tr, f)
		tr.srv.Set(faultserver.SetHeader("Link", "<"+s.URL+"/f.bin>; rel=duplicate"), faultserver.Rate(8<<20))
		o := tr.run(append(args, "--checksum", sumText(tr, f), tr.url())...)
		o.good("f.bin", f)
		if got := len(s.Requests()) > 0; got != used || strings.Contains(o.stderr, "warning") {
			tr.Errorf("the mirror was asked: got %v, want %v", got, used)
		}
		tr.met()
	}}
}
