package main

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"syscall"

	"pawl/downloader/faultserver"
)

// origins are credentials, which must go to the origins that the user typed and to no
// other: to the list, the checksum file and the files on their origin, but not to other
// hosts that a list names.
var origins = []hazard{
	listWithCredentials("-H", "mirror", []string{"-H", "Authorization: Bearer t"}, "Authorization", "Bearer t"),
	listWithCredentials("another header", "mirror", []string{"-H", "X-Token: t"}, "X-Token", "t"),
	listWithCredentials("--referer", "mirror", []string{"--referer", "http://from.example/"}, "Referer", "http://from.example/"),
	listWithCredentials("-U", "mirror", []string{"-U", "agent"}, "User-Agent", "agent"),
	listWithCredentials("the URL", "mirror", nil, "Authorization", "Basic dTpwdw=="),
	listWithCredentials("-H", "get", []string{"-H", "Authorization: Bearer t"}, "Authorization", "Bearer t"),
	listWithCredentials("the URL", "get", nil, "Authorization", "Basic dTpwdw=="),
	listWithCredentials("-H", "mirror --checksums", []string{"-H", "X-Token: t"}, "X-Token", "t"),
	userList("no secret", "X-Tag", "", []string{"-H", "X-Tag: t"}),
	userList("a secret", "", "X-Token", []string{"-H", "X-Token: t"}),
	userList("Cookie", "", "Cookie", []string{"-H", "Cookie: t"}),
	userList("a secret and --headers-everywhere", "Authorization", "", []string{"-H", "Authorization: t", "--headers-everywhere"}),
	userList("a secret for its host", "X-Token", "Authorization", []string{"-H", "Authorization: t", "-H", "127.0.0.1=X-Token: t"}),
	userList("a secret for another host", "", "X-Token", []string{"-H", "127.0.0.2=X-Token: t"}),
	{name: "origins: a list at a URL, and a header for a host that it names", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		s := newServerWith(tr, f)
		list := s.URL + "/f.bin\n"
		tr.srv.Set(servePage("/list", newPage(list)))
		tr.runPawl("mirror", "-H", "X-Token: mine", "-H", strings.TrimPrefix(s.URL, "http://")+"=X-Token: its", tr.srv.URL+"/list").wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "X-Token", "mine")
		tr.wantHeader(s, "X-Token", "its")
		tr.markMet()
	}},
	{name: "origins: --headers-everywhere, and a list at a URL", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		s := newServerWith(tr, f)
		list := s.URL + "/f.bin\n"
		tr.srv.Set(servePage("/list", newPage(list)))
		tr.runPawl("mirror", "--headers-everywhere", "-H", "X-Token: t", tr.srv.URL+"/list").wantDownloaded("f.bin", f)
		tr.wantHeader(s, "X-Token", "")
		tr.markMet()
	}},
	{name: "origins: --base counts as typed", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.writeList("list", strings.TrimPrefix(checksumOf(tr, f), "sha256:")+"  f.bin")
		tr.runPawl("mirror", "-H", "X-Token: t", "--base", tr.srv.URL+"/", "list").wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "X-Token", "t")
		tr.markMet()
	}},
	{name: "origins: -H overrides the password of the URL", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.runPawl("-H", "Authorization: Bearer t", strings.Replace(tr.fileURL(), "http://", "http://u:pw@", 1)).wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "Authorization", "Bearer t")
		tr.markMet()
	}},
	{name: "origins: headers from a file", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.writeList("headers", "# secrets", "X-Token: tok4711", "127.0.0.1=Cookie: c=cook4711", "127.0.0.2=X-Tag: no")
		o := tr.runPawl("-v", "-H", "@headers", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "X-Token", "tok4711")
		tr.wantHeader(tr.srv, "Cookie", "c=cook4711")
		tr.wantHeader(tr.srv, "X-Tag", "")
		if readable := strings.Contains(o.stderr, `"headers" is readable by other users`); readable == (runtime.GOOS == "windows") {
			tr.Errorf("warning that others may read the file: got %v", readable)
		}
		tr.wantNoSecrets("tok4711", "cook4711")
		tr.markMet()
	}},
	resumedWithSecret("of a URL", true, func(tr *testRun, _ string) []string { return []string{tr.fileURL()} }),
	resumedWithSecret("of a list", false, func(tr *testRun, list string) []string { return []string{"mirror", tr.srv.URL + list} }),
	{name: "origins: redirected away and back", run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		s := newServerWith(tr, f)
		tr.putFile("g.bin", f)
		s.Set(faultserver.Redirect("/away", tr.srv.URL+"/g.bin"))
		tr.srv.Set(faultserver.Redirect("/f.bin", s.URL+"/away"))
		args := []string{"-H", "Authorization: Bearer t", "-H", "Cookie: c=t", "-H", "X-Token: t", "-H", "Host: h.example", "--referer", "http://from.example/", "-o", "f.bin"}
		args = append(args, strings.Replace(tr.fileURL(), "http://", "http://u:pw@", 1))
		tr.runPawl(args...).wantDownloaded("f.bin", f)
		tr.runPawl(args...).wantDownloaded("f.bin", f) // asks whether the file has changed
		back := 0
		for _, r := range append(tr.srv.Requests(), s.Requests()...) {
			if r.Path == "/f.bin" {
				continue
			}
			back++
			for _, name := range []string{"Authorization", "Cookie", "X-Token"} {
				if got := r.Header.Get(name); got != "" {
					tr.Errorf("%s got %s: %s", r.Path, name, got)
				}
			}
		}
		if back < 4 {
			tr.Errorf("%d requests to the targets of redirects, want at least 4", back)
		}
	}},
	{name: "origins: a list at a URL redirects elsewhere", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		s := newServerWith(tr, f)
		s.Set(servePage("/list", newPage(tr.fileURL()+"\n")))
		tr.srv.Set(faultserver.Redirect("/list", s.URL+"/list"))
		tr.runPawl("mirror", "-H", "X-Token: t", tr.srv.URL+"/list").wantDownloaded("f.bin", f)
		for _, r := range s.Requests() {
			if r.Header.Get("X-Token") != "" {
				tr.Errorf("%s: the header followed the redirect", r.Path)
			}
		}
	}},
}

// userList returns a hazard of a local list that names another host. That host must get the
// header field seen, and must not get unseen; "" checks nothing.
func userList(what, seen, unseen string, args []string) hazard {
	return hazard{name: "origins: a local list names other hosts, " + what, run: func(tr *testRun) {
		f := tr.serveFile(5000)
		s := newServerWith(tr, f)
		tr.writeList("list", s.URL+"/f.bin")
		tr.runPawl(append([]string{"mirror", "list"}, args...)...).wantDownloaded("f.bin", f)
		if seen != "" {
			tr.wantHeader(s, seen, "t")
		}
		if unseen != "" {
			tr.wantHeader(s, unseen, "")
		}
		tr.markMet()
	}}
}

// resumedWithSecret returns a hazard of a download that is resumed with a secret header.
// pawl must send the header only if the user typed the URL, which sent says.
func resumedWithSecret(what string, sent bool, args func(tr *testRun, list string) []string) hazard {
	return hazard{name: "origins: a download " + what + " is resumed", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		s := newServerWith(tr, f)
		list := s.URL + "/f.bin\n"
		tr.srv.Set(servePage("/list", newPage(list)), faultserver.Rate(32<<20))
		s.Set(faultserver.Rate(32 << 20))
		from := tr.srv
		if !sent {
			from = s
		}
		r := tr.startPawl(args(tr, "/list")...)
		go from.DoAt(4<<20, r.exited, func() { r.signalAndWait(syscall.SIGKILL) })
		if o := r.wait(); o.code != -1 {
			tr.Fatalf("exit %d before the kill", o.code)
		}
		tr.runPawl("resume", "-U", "second", "-H", "X-Token: t").wantDownloaded("f.bin", f)
		want := ""
		if sent {
			want = "t"
		}
		for _, r := range from.Requests() {
			if r.Header.Get("User-Agent") != "second" { // of the killed run, perhaps read only now
				continue
			}
			if got := r.Header.Get("X-Token"); got != want {
				tr.Errorf("%s got %q, want %q", r.Path, got, want)
			}
		}
		tr.markMet()
	}}
}

// wantHeader checks that s got requests, and that all of them have the header field with
// this value. The value "" means that no request may have the field.
func (tr *testRun) wantHeader(s *faultserver.Server, name, value string) {
	tr.Helper()
	if len(s.Requests()) == 0 {
		tr.Errorf("the server got no request")
	}
	for _, r := range s.Requests() {
		if got := r.Header.Get(name); got != value {
			tr.Errorf("%s: %s: got %q, want %q", r.Path, name, got, value)
		}
	}
}

// listWithCredentials returns a hazard of a server that requires a header field for
// everything. Its list and checksum file name a file on the server and one on another host.
// command is pawl's command, and args give it the credentials; without args they are in the
// URL. pawl must download both files and must not send the field to the other host.
func listWithCredentials(what, command string, args []string, name, value string) hazard {
	return hazard{name: "origins: credentials from " + what + " for " + command, run: func(tr *testRun) {
		f, g := tr.serveFile(5000), tr.putFile("g.bin", faultserver.NewFile(5000, 5))
		other := newServerWith(tr, g)
		other.Put("g.bin", g)
		sums := strings.TrimPrefix(checksumOf(tr, f), "sha256:") + "  f.bin\n" + strings.TrimPrefix(checksumOf(tr, g), "sha256:") + "  g.bin\n"
		list := fmt.Sprintf("%s\n%s/g.bin\n", tr.fileURL(), other.URL)
		tr.srv.Set(requireHeader(name, value), servePage("/SHA256SUMS", newPage(sums)), servePage("/list", newPage(list)))
		base := tr.srv.URL
		if args == nil {
			base = strings.Replace(base, "http://", "http://u:pw@", 1)
		}
		switch command {
		case "mirror":
			tr.runPawl(append([]string{"mirror"}, append(args, base+"/list")...)...).wantExit(0)
		case "mirror --checksums":
			tr.runPawl(append([]string{"mirror"}, append(args, "--checksums", base+"/SHA256SUMS", base+"/list")...)...).wantExit(0)
		case "get":
			tr.runPawl(append(args, "--checksums", base+"/SHA256SUMS", tr.fileURL())...).wantDownloaded("f.bin", f)
			tr.markMet()
			return
		}
		for _, r := range other.Requests() {
			if got := r.Header.Get(name); got == value && name != "User-Agent" {
				tr.Errorf("the other host got %s: %s", name, got)
			}
		}
		if len(other.Requests()) == 0 {
			tr.Errorf("the other host got no request")
		}
		tr.wantFile("f.bin", f)
		tr.wantFile("g.bin", g)
		if args == nil {
			tr.runPawl("mirror", base+"/SHA256SUMS", "-d", "sums").wantExit(0)
			tr.wantFile("sums/f.bin", f)
		}
		tr.markMet()
	}}
}

// requireHeader responds with 401 to requests without the header field.
func requireHeader(name, value string) faultserver.Fault {
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
