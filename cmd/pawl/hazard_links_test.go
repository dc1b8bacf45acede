package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// links are hazards of TestHazards: where a URL leads to, and who may know what.
var links = slices.Concat(linksRedirected, linksToElsewhere, linksThatExpire, linksWithSecrets, linksShown, linksToFollow)

// another starts a second server that serves f as f.bin too.
func (tr *trial) another(f faultserver.File) *faultserver.Server {
	srv := faultserver.New()
	tr.Cleanup(srv.Close)
	srv.Put("f.bin", f)
	return srv
}

// answered counts the requests that got the status.
func answered(srv *faultserver.Server, status int) int {
	n := 0
	for _, r := range srv.Requests() {
		if r.Status == status {
			n++
		}
	}
	return n
}

// soon checks that the run gave up without many requests.
func (o outcome) soon(requests int) {
	o.tr.Helper()
	if n := len(o.tr.srv.Requests()); n > requests {
		o.tr.Errorf("%d requests, want at most %d", n, requests)
	}
	if o.elapsed > soon(10*time.Second) {
		o.tr.Errorf("it took %v", o.elapsed)
	}
}

// refused is a hazard of a redirect that must not be followed.
func refused(name string, code int, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: " + name, try: func(tr *trial) {
		tr.serve(1 << 20)
		tr.srv.Set(faults...)
		o := tr.run()
		o.fails(code)
		o.soon(25)
	}}
}

var linksRedirected = []hazard{
	{name: "links: ten redirects of all kinds", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.Chain(301, 302, 303, 307, 308, 308, 307, 303, 302, 301))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
		if n := answered(tr.srv, 301); n > 2 {
			tr.Errorf("the chain was followed %d times", n/2)
		}
	}},
	{name: "links: redirects and a kill", try: func(tr *trial) {
		f := tr.serve(32 << 20)
		tr.interruptUnder(faultserver.Chain(302, 307))
		tr.run().good("f.bin", f)
		tr.overhead(1.5)
	}},
	refused("a redirect to itself", 7, faultserver.Redirect("/f.bin", "/f.bin")),
	refused("a redirect in a circle", 7, faultserver.Redirect("/f.bin", "/g.bin"), faultserver.Redirect("/g.bin", "/f.bin")),
	refused("a redirect to a file", 7, faultserver.RawRedirect(302, "file:///etc/passwd")),
	refused("a redirect to FTP", 7, faultserver.RawRedirect(302, "ftp://127.0.0.1/f.bin")),
	refused("a redirect to no URL", 7, faultserver.RawRedirect(302, "http://[::1/%zz")),
	refused("a redirect to a scheme alone", 7, faultserver.RawRedirect(302, "http://")),
	refused("a redirect without Location", 7, faultserver.RawRedirect(302, "")),
	{name: "links: https to http", try: func(tr *trial) {
		_, srv, cert := tr.secure()
		tr.run("--cacert", cert, srv.URL+"/f.bin").fails(5)
		tr.metAt(srv)
		if n := len(tr.srv.Requests()); n > 0 {
			tr.Errorf("%d requests over http", n)
		}
	}},
	{name: "links: https to http with --insecure", try: func(tr *trial) {
		f, srv, _ := tr.secure()
		tr.run("--insecure", srv.URL+"/f.bin").good("f.bin", f)
		tr.metAt(srv)
	}},
	{name: "links: a certificate that nobody knows", try: func(tr *trial) {
		_, srv, _ := tr.secure()
		tr.run(srv.URL + "/f.bin").fails(5)
		if len(srv.Requests()) > 0 {
			tr.Errorf("it was asked nevertheless")
		}
		tr.met()
	}},
}

// secure serves f.bin, starts a TLS server that redirects to it over plain
// HTTP, and writes its certificate.
func (tr *trial) secure() (f faultserver.File, srv *faultserver.Server, cert string) {
	f = tr.serve(9 << 20)
	srv = faultserver.NewTLS()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	tr.Cleanup(srv.Close)
	srv.Set(faultserver.Redirect("/f.bin", tr.url()))
	cert = filepath.Join(tr.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(cert, block, 0o666); err != nil {
		tr.Fatal(err)
	}
	return f, srv, cert
}

// metAt says that the hazard was met if the server has redirected.
func (tr *trial) metAt(srv *faultserver.Server) {
	if srv.FaultCount() > 0 {
		tr.met()
	}
}

// secretFor is a hazard of a redirect to another host, which must not see what
// the field says; the first one must.
func secretFor(name, field, secret string, args ...string) hazard {
	return hazard{name: "links: " + name + " on a redirect to another host", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		other := tr.another(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", other.URL+"/f.bin"))
		url := tr.url()
		if len(args) == 0 { // it is in the URL
			url = strings.Replace(url, "http://", "http://user:pass@", 1)
		}
		tr.run(append(slices.Clone(args), url)...).good("f.bin", f)
		if got := tr.srv.Requests()[0].Header.Get(field); got != secret {
			tr.Errorf("the host that was asked got %q, want %q", got, secret)
		}
		for _, r := range other.Requests() {
			if got := r.Header.Get(field); got != "" {
				tr.Errorf("the other host got %q", got)
			}
		}
		if len(other.Requests()) == 0 {
			tr.Errorf("the other host was not asked")
		}
	}}
}

var linksToElsewhere = []hazard{
	secretFor("the URL's password", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("user:pass"))),
	secretFor("Authorization", "Authorization", "Bearer x", "-H", "Authorization: Bearer x"),
	secretFor("a cookie", "Cookie", "x=y", "-H", "Cookie: x=y"),
	secretFor("a header of the user's", "X-Token", "x", "-H", "X-Token: x"),
	secretFor("the Referer", "Referer", "http://secret/", "--referer", "http://secret/"),
	{name: "links: the URL's password on a redirect to the same host", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.Chain(302, 307))
		tr.run(strings.Replace(tr.url(), "http://", "http://user:pass@", 1)).good("f.bin", f)
		for _, r := range tr.srv.Requests() {
			if r.Header.Get("Authorization") == "" {
				tr.Errorf("%s was asked without the password", r.Path)
			}
		}
	}},
	{name: "links: the target is down on resume, and there is another", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		target := tr.another(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", target.URL+"/f.bin"))
		tr.killFrom(target, 6<<20)
		target.Close()
		next := tr.another(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", next.URL+"/f.bin"))
		tr.run().good("f.bin", f)
		if n := next.Sent(); n == 0 || n > 14<<20 {
			tr.Errorf("the other target sent %d bytes of %d", n, f.Size)
		}
	}},
	{name: "links: the target has another version on resume", try: func(tr *trial) {
		target := tr.another(tr.serve(16 << 20))
		tr.srv.Set(faultserver.Redirect("/f.bin", target.URL+"/f.bin"))
		tr.killFrom(target, 6<<20)
		f := tr.serve(16 << 20)
		target.Put("f.bin", f)
		target.Set()
		tr.run().good("f.bin", f)
	}},
	{name: "links: the target closes its doors in mid-download, and there is another", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		target, next := tr.another(f), tr.another(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", target.URL+"/f.bin"))
		target.Set(faultserver.CutAt(1<<20, func() {
			tr.srv.Set(faultserver.Redirect("/f.bin", next.URL+"/f.bin"))
			target.Set(faultserver.Status(403, -1))
		}), early())
		tr.run().good("f.bin", f)
		if target.FaultCount() < 2 || next.Sent() == 0 {
			tr.Errorf("the other target was not needed")
		}
	}},
}

// killFrom gets f.bin by way of another server, and kills the program when that
// has sent n bytes.
func (tr *trial) killFrom(srv *faultserver.Server, n int64) {
	tr.Helper()
	srv.Set(faultserver.Rate(16 << 20))
	r := tr.start()
	go func() {
		srv.DoAt(n, r.exited, func() { r.end(syscall.SIGKILL) })
	}()
	if o := r.wait(); o.code != -1 {
		tr.Fatalf("exit %d before it was killed", o.code)
	}
}

// expiring is a hazard of a link that leads to signed targets which hold only
// for a while: few resolutions must do. Bodies are cut, so that some are needed.
func expiring(name string, most int, fault func() faultserver.Fault) hazard {
	return hazard{name: "links: " + name, try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(fault(), faultserver.Cut(3<<20), faultserver.Rate(7<<20))
		tr.run().good("f.bin", f)
		tr.overhead(1.3)
		if answered(tr.srv, 403)+answered(tr.srv, 410) == 0 {
			tr.Errorf("no signature has expired")
		}
		if n := answered(tr.srv, http.StatusFound); n < 2 || n > most {
			tr.Errorf("the link was resolved %d times, want 2 to %d", n, most)
		}
	}}
}

var linksThatExpire = []hazard{
	expiring("signed targets that expire by time", 20, func() faultserver.Fault { return faultserver.SignedUntil(300 * time.Millisecond) }),
	expiring("signed targets good for two requests, then 403", 40, func() faultserver.Fault { return faultserver.SignedFor(2, 403) }),
	expiring("signed targets good for two requests, then 410", 40, func() faultserver.Fault { return faultserver.SignedFor(2, 410) }),
	expiring("signed targets good for one request, then 403", 60, func() faultserver.Fault { return faultserver.SignedFor(1, 403) }),
	expiring("signed targets good for one request, then 410", 60, func() faultserver.Fault { return faultserver.SignedFor(1, 410) }),
	{name: "links: signed targets that expire, and a kill", try: func(tr *trial) {
		f := tr.serve(32 << 20)
		fault := faultserver.SignedFor(1, 403)
		tr.interruptUnder(fault)
		tr.srv.Set(fault, faultserver.First(1, faultserver.Cut(2<<20)))
		tr.run().good("f.bin", f)
		tr.overhead(1.5)
	}},
	once("a link good for one request", faultserver.SingleUse(410), faultserver.Rate(16<<20)),
	once("a link good for one request, fast", faultserver.SingleUse(410)),
	once("a link good for one request, then 403", faultserver.SingleUse(403), faultserver.Rate(16<<20)),
}

// once is a hazard of a link that may be asked once, which is met when that one
// request brings the whole file.
func once(name string, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: " + name, try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faults...)
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
		tr.meets(0, "brought the whole file", func(r faultserver.Request) bool { return r.Bytes == f.Size })
	}}
}

// unsaid is a hazard of a run with secrets, however it ends: they must be
// neither told nor recorded.
func unsaid(name string, code int, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: secrets unsaid, " + name, try: func(tr *trial) {
		tr.serve(9 << 20)
		tr.srv.Set(faults...)
		url := strings.Replace(tr.url(), "http://", "http://jane:hun%40ter2@", 1)
		o := tr.run("-v", "-H", "X-Token: tok4711", "-H", "Cookie: c=cook4711", url)
		if o.code != code {
			tr.Errorf("exit %d, want %d", o.code, code)
		}
		basic := base64.StdEncoding.EncodeToString([]byte("jane:hun@ter2"))
		if got := tr.srv.Requests()[0].Header.Get("Authorization"); got != "Basic "+basic {
			tr.Errorf("Authorization is %q", got)
		}
		tr.silentAbout("hun%40ter2", "hun@ter2", "hunter2", basic, "tok4711", "cook4711", "sig4711")
		tr.met()
	}}
}

// silentAbout checks that no run has told one of the secrets, that pawl list does
// not, and that no file of the state has them.
func (tr *trial) silentAbout(secrets ...string) {
	tr.Helper()
	tr.run("list", "--all", "--json")
	tr.run("list", "--all")
	look := func(where string, text []byte) {
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				tr.Errorf("%s has %q", where, s)
			}
		}
	}
	for _, o := range tr.outcomes {
		look("stdout", []byte(o.stdout))
		look("stderr", []byte(o.stderr))
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(tr.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		look(path, data)
		files++
		return err
	})
	if err != nil || files == 0 {
		tr.Errorf("%d files of the state, %v", files, err)
	}
}

var linksWithSecrets = []hazard{
	unsaid("done", 0),
	unsaid("404", 8, faultserver.Status(404, -1)),
	unsaid("401", 6, faultserver.Status(401, -1)),
	unsaid("503", 75, faultserver.Status(503, -1)),
	unsaid("ended early", 4, faultserver.Cut(0)),
	unsaid("a circle", 7, faultserver.Redirect("/f.bin", "/f.bin?sig=sig4711")),
	unsaid("a signed target that fails", 8, faultserver.Only(func(n int) bool { return n%2 == 1 }, faultserver.Status(404, -1)),
		faultserver.Redirect("/f.bin", "/g.bin?sig=sig4711")),
	unsaid("a target that is no URL", 7, faultserver.RawRedirect(302, "http://[::1/%zz?sig=sig4711")),
	unsaid("a target of another scheme", 7, faultserver.RawRedirect(302, "ftp://127.0.0.1/?sig=sig4711")),
	unsaid("a target with a password that is down", 4, faultserver.RawRedirect(302, "http://bob:sig4711@127.0.0.1:1/")),
	unsaid("a target that is down", 4, faultserver.RawRedirect(302, "http://127.0.0.1:1/?sig=sig4711")),
	{name: "links: secrets unsaid, interrupted", try: func(tr *trial) {
		tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		url := strings.Replace(tr.url(), "http://", "http://jane:hunter2@", 1)
		if o := tr.signalAt(6<<20, syscall.SIGINT, "-H", "X-Token: tok4711", url); o.code != 130 {
			tr.Errorf("exit %d, want 130", o.code)
		}
		tr.silentAbout("hunter2", base64.StdEncoding.EncodeToString([]byte("jane:hunter2")), "tok4711")
		tr.kept()
		tr.met()
	}},
}
