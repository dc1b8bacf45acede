package main

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"syscall"

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
	ownList("no secret", "X-Tag", "", []string{"-H", "X-Tag: t"}),
	ownList("a secret", "", "X-Token", []string{"-H", "X-Token: t"}),
	ownList("Cookie", "", "Cookie", []string{"-H", "Cookie: t"}),
	ownList("a secret and --headers-everywhere", "Authorization", "", []string{"-H", "Authorization: t", "--headers-everywhere"}),
	ownList("a secret for its host", "X-Token", "Authorization", []string{"-H", "Authorization: t", "-H", "127.0.0.1=X-Token: t"}),
	ownList("a secret for another host", "", "X-Token", []string{"-H", "127.0.0.2=X-Token: t"}),
	{name: "origins: a list at a URL, and a header for a host that it names", try: func(tr *trial) {
		f := tr.serve(5000)
		s := otherSource(tr, f)
		list := s.URL + "/f.bin\n"
		tr.srv.Set(textAt("/list", newPage(list)))
		tr.run("mirror", "-H", "X-Token: mine", "-H", strings.TrimPrefix(s.URL, "http://")+"=X-Token: its", tr.srv.URL+"/list").good("f.bin", f)
		tr.sees(tr.srv, "X-Token", "mine")
		tr.sees(s, "X-Token", "its")
		tr.met()
	}},
	{name: "origins: --headers-everywhere, and a list at a URL", try: func(tr *trial) {
		f := tr.serve(5000)
		s := otherSource(tr, f)
		list := s.URL + "/f.bin\n"
		tr.srv.Set(textAt("/list", newPage(list)))
		tr.run("mirror", "--headers-everywhere", "-H", "X-Token: t", tr.srv.URL+"/list").good("f.bin", f)
		tr.sees(s, "X-Token", "")
		tr.met()
	}},
	{name: "origins: --base is typed", try: func(tr *trial) {
		f := tr.serve(5000)
		tr.writeList("list", strings.TrimPrefix(sumText(tr, f), "sha256:")+"  f.bin")
		tr.run("mirror", "-H", "X-Token: t", "--base", tr.srv.URL+"/", "list").good("f.bin", f)
		tr.sees(tr.srv, "X-Token", "t")
		tr.met()
	}},
	{name: "origins: -H overrides the password of the URL", try: func(tr *trial) {
		f := tr.serve(5000)
		tr.run("-H", "Authorization: Bearer t", strings.Replace(tr.url(), "http://", "http://u:pw@", 1)).good("f.bin", f)
		tr.sees(tr.srv, "Authorization", "Bearer t")
		tr.met()
	}},
	{name: "origins: headers of a file", try: func(tr *trial) {
		f := tr.serve(5000)
		tr.writeList("headers", "# secrets", "X-Token: tok4711", "127.0.0.1=Cookie: c=cook4711", "127.0.0.2=X-Tag: no")
		o := tr.run("-v", "-H", "@headers", tr.url())
		o.good("f.bin", f)
		tr.sees(tr.srv, "X-Token", "tok4711")
		tr.sees(tr.srv, "Cookie", "c=cook4711")
		tr.sees(tr.srv, "X-Tag", "")
		if readable := strings.Contains(o.stderr, `"headers" is readable by other users`); readable == (runtime.GOOS == "windows") {
			tr.Errorf("warned that others may read the file: %v", readable)
		}
		tr.silentAbout("tok4711", "cook4711")
		tr.met()
	}},
	resumed("of a URL", true, func(tr *trial, _ string) []string { return []string{tr.url()} }),
	resumed("of a list", false, func(tr *trial, list string) []string { return []string{"mirror", tr.srv.URL + list} }),
	{name: "origins: away and back", try: func(tr *trial) {
		f := tr.serve(12 << 20)
		s := otherSource(tr, f)
		tr.put("g.bin", f)
		s.Set(faultserver.Redirect("/away", tr.srv.URL+"/g.bin"))
		tr.srv.Set(faultserver.Redirect("/f.bin", s.URL+"/away"))
		args := []string{"-H", "Authorization: Bearer t", "-H", "Cookie: c=t", "-H", "X-Token: t", "-H", "Host: h.example", "--referer", "http://from.example/", "-o", "f.bin"}
		args = append(args, strings.Replace(tr.url(), "http://", "http://u:pw@", 1))
		tr.run(args...).good("f.bin", f)
		tr.run(args...).good("f.bin", f) // asks whether it has changed
		back := 0
		for _, r := range append(tr.srv.Requests(), s.Requests()...) {
			if r.Path == "/f.bin" {
				continue
			}
			back++
			for _, name := range []string{"Authorization", "Cookie", "X-Token", "Referer"} {
				if got := r.Header.Get(name); got != "" {
					tr.Errorf("%s got %s: %s", r.Path, name, got)
				}
			}
		}
		if back < 4 {
			tr.Errorf("%d requests after the redirects", back)
		}
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

// ownList is a hazard of a list of the user's own that names another host. That must see
// one header field, and not another.
func ownList(what, seen, unseen string, args []string) hazard {
	return hazard{name: "origins: a list of the user's own names other hosts, " + what, try: func(tr *trial) {
		f := tr.serve(5000)
		s := otherSource(tr, f)
		tr.writeList("list", s.URL+"/f.bin")
		tr.run(append([]string{"mirror", "list"}, args...)...).good("f.bin", f)
		if seen != "" {
			tr.sees(s, seen, "t")
		}
		if unseen != "" {
			tr.sees(s, unseen, "")
		}
		tr.met()
	}}
}

// resumed is a hazard of a download that is resumed with a secret header, which must be
// sent only if the user typed the URL.
func resumed(what string, sent bool, args func(tr *trial, list string) []string) hazard {
	return hazard{name: "origins: a download " + what + " is resumed", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		s := otherSource(tr, f)
		list := s.URL + "/f.bin\n"
		tr.srv.Set(textAt("/list", newPage(list)), faultserver.Rate(16<<20))
		s.Set(faultserver.Rate(16 << 20))
		from := tr.srv
		if !sent {
			from = s
		}
		r := tr.start(args(tr, "/list")...)
		go from.DoAt(4<<20, r.exited, func() { r.end(syscall.SIGKILL) })
		if o := r.wait(); o.code != -1 {
			tr.Fatalf("exit %d before it was killed", o.code)
		}
		before := len(from.Requests())
		tr.run("resume", "-H", "X-Token: t").good("f.bin", f)
		want := ""
		if sent {
			want = "t"
		}
		for _, r := range from.Requests()[before:] {
			if got := r.Header.Get("X-Token"); got != want {
				tr.Errorf("%s got %q, want %q", r.Path, got, want)
			}
		}
		tr.met()
	}}
}

// sees checks that all requests to a server have a header field, or none with value "".
func (tr *trial) sees(s *faultserver.Server, name, value string) {
	tr.Helper()
	if len(s.Requests()) == 0 {
		tr.Errorf("the server was not asked")
	}
	for _, r := range s.Requests() {
		if got := r.Header.Get(name); got != value {
			tr.Errorf("%s: %s: got %q, want %q", r.Path, name, got, value)
		}
	}
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
