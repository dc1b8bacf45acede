package main

import (
	"fmt"
	"net/http"
	"strings"

	"pawl/downloader/faultserver"
)

// origins are hazards of TestHazards: credentials that must reach the list, the checksum
// file, and the files beside it, and no other host.
var origins = []hazard{
	listCredentials("-H", "mirror", []string{"-H", "Authorization: Bearer t"}, "Authorization", "Bearer t"),
	listCredentials("another header", "mirror", []string{"-H", "X-Token: t"}, "X-Token", "t"),
	listCredentials("--referer", "mirror", []string{"--referer", "http://from.example/"}, "Referer", "http://from.example/"),
	listCredentials("-U", "mirror", []string{"-U", "agent"}, "User-Agent", "agent"),
	listCredentials("the URL", "mirror", nil, "Authorization", "Basic dTpwdw=="),
	listCredentials("-H", "get", []string{"-H", "Authorization: Bearer t"}, "Authorization", "Bearer t"),
	listCredentials("the URL", "get", nil, "Authorization", "Basic dTpwdw=="),
	listCredentials("-H, for --checksums", "mirror --checksums", []string{"-H", "X-Token: t"}, "X-Token", "t"),
	{name: "origins: a list of the user's own names other hosts", try: func(tr *trial) {
		f := tr.serve(5000)
		s := otherSource(tr, f)
		tr.writeList("list", s.URL+"/f.bin")
		tr.run("mirror", "-H", "X-Token: t", "list").good("f.bin", f)
		if got := s.Requests()[0].Header.Get("X-Token"); got != "t" {
			tr.Errorf("X-Token: got %q", got)
		}
		tr.met()
	}},
	{name: "origins: a list at a URL redirects elsewhere", try: func(tr *trial) {
		f := tr.serve(5000)
		s := otherSource(tr, f)
		s.Set(textAt("/list", newPage(tr.url()+"\n")))
		tr.srv.Set(faultserver.Redirect("/list", s.URL+"/list"))
		tr.run("mirror", "-H", "X-Token: t", tr.srv.URL+"/list").good("f.bin", f)
		for _, r := range s.Requests() {
			if r.Header.Get("X-Token") != "" {
				tr.Errorf("%s: the header went along with the redirect", r.Path)
			}
		}
	}},
}

// listCredentials is a hazard of a server that wants a header field for everything, of
// which a list or a checksum file names files beside it and on another host. command is
// that of pawl, and args are what gives it the credentials.
func listCredentials(what, command string, args []string, name, value string) hazard {
	return hazard{name: "origins: credentials by " + what + " of " + command, try: func(tr *trial) {
		f, g := tr.serve(5000), tr.put("g.bin", faultserver.NewFile(5000, 5))
		other := otherSource(tr, g)
		other.Put("g.bin", g)
		sums := strings.TrimPrefix(sumText(tr, f), "sha256:") + "  f.bin\n" + strings.TrimPrefix(sumText(tr, g), "sha256:") + "  g.bin\n"
		list := fmt.Sprintf("%s\n%s/g.bin\n", tr.url(), other.URL)
		tr.srv.Set(wants(name, value), textAt("/SHA256SUMS", newPage(sums)), textAt("/list", newPage(list)))
		base := tr.srv.URL
		if args == nil {
			base = strings.Replace(base, "http://", "http://u:pw@", 1)
		}
		switch command {
		case "mirror":
			tr.run(append([]string{"mirror"}, append(args, base+"/list")...)...).exits(0)
		case "mirror --checksums":
			tr.run(append([]string{"mirror"}, append(args, "--checksums", base+"/SHA256SUMS", base+"/list")...)...).exits(0)
		case "get":
			tr.run(append(args, "--checksums", base+"/SHA256SUMS", tr.url())...).good("f.bin", f)
			tr.met()
			return
		}
		for _, r := range other.Requests() {
			if got := r.Header.Get(name); got == value && name != "User-Agent" {
				tr.Errorf("%s: %s went to another host", name, got)
			}
		}
		if len(other.Requests()) == 0 {
			tr.Errorf("the other host was not asked")
		}
		tr.hereAre("f.bin", f)
		tr.hereAre("g.bin", g)
		if args == nil {
			tr.run("mirror", base+"/SHA256SUMS", "-d", "sums").exits(0)
			tr.hereAre("sums/f.bin", f)
		}
		tr.met()
	}}
}

// hereAre checks that a file is there.
func (tr *trial) hereAre(name string, f faultserver.File) {
	tr.Helper()
	if !isFile(tr.dir+"/"+name, f) {
		tr.Errorf("%s is not what is served", name)
	}
}

// wants answers 401 to requests without a header field.
func wants(name, value string) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(name) != value {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
