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

// links are redirects, links that expire, and secrets in URLs and headers.
var links = slices.Concat(linksRedirected, linksToElsewhere, linksThatExpire, linksWithSecrets, linksShown, linksToFollow)

// newServer starts another server that serves f as f.bin.
func (tr *testRun) newServer(f faultserver.File) *faultserver.Server {
	srv := faultserver.New()
	tr.Cleanup(srv.Close)
	srv.Put("f.bin", f)
	return srv
}

// countStatus returns the number of requests to which srv has responded with the status.
func countStatus(srv *faultserver.Server, status int) int {
	n := 0
	for _, r := range srv.Requests() {
		if r.Status == status {
			n++
		}
	}
	return n
}

// wantEarlyGiveUp checks that pawl sent at most this many requests.
func (o runResult) wantEarlyGiveUp(requests int) {
	o.tr.Helper()
	if n := len(o.tr.srv.Requests()); n > requests {
		o.tr.Errorf("%d requests, want at most %d", n, requests)
	}
}

// refusedRedirect returns a hazard of a redirect that pawl must not follow. It must fail
// with the code.
func refusedRedirect(name string, code int, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: " + name, run: func(tr *testRun) {
		tr.serveFile(1 << 20)
		tr.srv.Set(faults...)
		o := tr.runPawl()
		o.wantFailure(code)
		o.wantEarlyGiveUp(25)
	}}
}

var linksRedirected = []hazard{
	{name: "links: ten redirects of all kinds", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Chain(301, 302, 303, 307, 308, 308, 307, 303, 302, 301), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		if n := countStatus(tr.srv, 301); n > 2 {
			tr.Errorf("the chain of redirects was followed %d times, want once", n/2)
		}
	}},
	{name: "links: redirects and a kill", run: func(tr *testRun) {
		f := tr.serveFile(32 << 20)
		tr.killHalfwayUnder(faultserver.Chain(302, 307))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
	}},
	refusedRedirect("a redirect to itself", 7, faultserver.Redirect("/f.bin", "/f.bin")),
	refusedRedirect("a redirect loop", 7, faultserver.Redirect("/f.bin", "/g.bin"), faultserver.Redirect("/g.bin", "/f.bin")),
	refusedRedirect("a redirect to a file", 7, faultserver.RawRedirect(302, "file:///etc/passwd")),
	refusedRedirect("a redirect to FTP", 7, faultserver.RawRedirect(302, "ftp://127.0.0.1/f.bin")),
	refusedRedirect("a redirect to an invalid URL", 7, faultserver.RawRedirect(302, "http://[::1/%zz")),
	refusedRedirect("a redirect to a scheme without a host", 7, faultserver.RawRedirect(302, "http://")),
	refusedRedirect("a redirect without Location", 7, faultserver.RawRedirect(302, "")),
	{name: "links: a redirect from https to http", run: func(tr *testRun) {
		_, srv, cert := tr.redirectingTLSServer()
		tr.runPawl("--cacert", cert, srv.URL+"/f.bin").wantFailure(5)
		tr.markMetBy(srv)
		if n := len(tr.srv.Requests()); n > 0 {
			tr.Errorf("%d requests over http, want none", n)
		}
	}},
	{name: "links: a redirect from https to http with --insecure", run: func(tr *testRun) {
		f, srv, _ := tr.redirectingTLSServer()
		tr.runPawl("--insecure", srv.URL+"/f.bin").wantDownloaded("f.bin", f)
		tr.markMetBy(srv)
	}},
	{name: "links: a redirect from https to http with --allow-http", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		u := strings.Replace(srv.URL, "://", "://u:pw@", 1) + "/f.bin"
		tr.runPawl("--allow-http", "--cacert", cert, "-H", "Cookie: c=t", "-H", "X-Token: t", u).wantDownloaded("f.bin", f)
		tr.markMetBy(srv)
		tr.wantHeader(srv, "Authorization", "Basic dTpwdw==")
		for _, name := range []string{"Authorization", "Cookie", "X-Token", "Referer"} {
			tr.wantHeader(tr.srv, name, "")
		}
	}},
	{name: "links: --allow-http verifies certificates", run: func(tr *testRun) {
		_, srv, _ := tr.redirectingTLSServer()
		tr.runPawl("--allow-http", srv.URL+"/f.bin").wantFailure(5)
		tr.markMet()
	}},
	{name: "links: a redirect from https to http, and a digest", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		tr.runPawl("--checksum", checksumOf(tr, f), "--cacert", cert, srv.URL+"/f.bin").wantDownloaded("f.bin", f)
		tr.markMetBy(srv)
	}},
	{name: "links: a redirect from https to http, and another digest", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		tr.serveFile(9 << 20)
		tr.runPawl("--checksum", checksumOf(tr, f), "--cacert", cert, srv.URL+"/f.bin").wantFailure(32)
		tr.markMetBy(srv)
	}},
	{name: "links: a redirect from https to http, and the digest of a list", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		g := tr.putFile("g.bin", faultserver.NewFile(5000, 7))
		srv.Set(faultserver.Redirect("/f.bin", tr.fileURL()), faultserver.Redirect("/g.bin", tr.srv.URL+"/g.bin"))
		tr.writeList("list", strings.TrimPrefix(checksumOf(tr, f), "sha256:")+"  f.bin", strings.TrimPrefix(checksumOf(tr, g), "sha256:")+"  g.bin")
		o := tr.runPawl("mirror", "--cacert", cert, "--base", srv.URL+"/", "list")
		o.wantDownloaded("f.bin", f)
		o.wantDownloaded("g.bin", g)
		tr.markMetBy(srv)
	}},
	{name: "links: a list without digests redirects from https to http", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		tr.writeList("list", srv.URL+"/f.bin")
		o := tr.runPawl("mirror", "--cacert", cert, "list")
		o.wantFailure(5)
		o.wantStderrAny("in its list, or follow the redirect anyway with --allow-http")
		tr.runPawl("mirror", "--cacert", cert, "--allow-http", "list").wantDownloaded("f.bin", f)
		tr.markMetBy(srv)
	}},
	{name: "links: resume of a redirect from https to http", run: func(tr *testRun) {
		f, srv, cert := tr.redirectingTLSServer()
		tr.killHalfway("--checksum", checksumOf(tr, f), "--cacert", cert, srv.URL+"/f.bin")
		tr.runPawl("resume", "--cacert", cert).wantDownloaded("f.bin", f)
		tr.markMetBy(srv)
	}},
	{name: "links: an unknown certificate", run: func(tr *testRun) {
		_, srv, _ := tr.redirectingTLSServer()
		tr.runPawl(srv.URL + "/f.bin").wantFailure(5)
		if len(srv.Requests()) > 0 {
			tr.Errorf("pawl sent a request although it does not trust the certificate")
		}
		tr.markMet()
	}},
}

// redirectingTLSServer serves f.bin over HTTP and starts a TLS server that redirects to
// it. cert is the path of the TLS server's certificate.
func (tr *testRun) redirectingTLSServer() (f faultserver.File, srv *faultserver.Server, cert string) {
	f = tr.serveFile(9 << 20)
	srv = faultserver.NewTLS()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	tr.Cleanup(srv.Close)
	srv.Set(faultserver.Redirect("/f.bin", tr.fileURL()))
	cert = filepath.Join(tr.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(cert, block, 0o666); err != nil {
		tr.Fatal(err)
	}
	return f, srv, cert
}

// markMetBy marks the hazard as met if a fault of srv has acted.
func (tr *testRun) markMetBy(srv *faultserver.Server) {
	if srv.FaultCount() > 0 {
		tr.markMet()
	}
}

// secretOnRedirect returns a hazard of a redirect to another host. The first host must get
// the header field with the secret, the other host must not. Without args the secret is
// the password in the URL.
func secretOnRedirect(name, field, secret string, args ...string) hazard {
	return hazard{name: "links: " + name + " on a redirect to another host", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		other := tr.newServer(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", other.URL+"/f.bin"))
		url := tr.fileURL()
		if len(args) == 0 { // the secret is in the URL
			url = strings.Replace(url, "http://", "http://user:pass@", 1)
		}
		tr.runPawl(append(slices.Clone(args), url)...).wantDownloaded("f.bin", f)
		if got := tr.srv.Requests()[0].Header.Get(field); got != secret {
			tr.Errorf("the first host got %q, want %q", got, secret)
		}
		for _, r := range other.Requests() {
			if got := r.Header.Get(field); got != "" {
				tr.Errorf("the other host got %q, want no field", got)
			}
		}
		if len(other.Requests()) == 0 {
			tr.Errorf("the other host got no request")
		}
	}}
}

var linksToElsewhere = []hazard{
	secretOnRedirect("the URL's password", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("user:pass"))),
	secretOnRedirect("Authorization", "Authorization", "Bearer x", "-H", "Authorization: Bearer x"),
	secretOnRedirect("a cookie", "Cookie", "x=y", "-H", "Cookie: x=y"),
	secretOnRedirect("a custom header", "X-Token", "x", "-H", "X-Token: x"),
	{name: "links: the URL's password on a redirect to the same host", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Chain(302, 307))
		tr.runPawl(strings.Replace(tr.fileURL(), "http://", "http://user:pass@", 1)).wantDownloaded("f.bin", f)
		for _, r := range tr.srv.Requests() {
			if r.Header.Get("Authorization") == "" {
				tr.Errorf("%s was requested without the password", r.Path)
			}
		}
	}},
	{name: "links: the target is down on resume, and another takes over", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		target := tr.newServer(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", target.URL+"/f.bin"))
		tr.killOnceSent(target, 6<<20)
		target.Close()
		next := tr.newServer(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", next.URL+"/f.bin"))
		tr.runPawl().wantDownloaded("f.bin", f)
		if n := next.Sent(); n == 0 || n > 14<<20 {
			tr.reportExcess("the other target sent %d bytes of %d", n, f.Size)
		}
	}},
	{name: "links: the target has another version on resume", run: func(tr *testRun) {
		target := tr.newServer(tr.serveFile(16 << 20))
		tr.srv.Set(faultserver.Redirect("/f.bin", target.URL+"/f.bin"))
		tr.killOnceSent(target, 6<<20)
		f := tr.serveFile(16 << 20)
		target.Put("f.bin", f)
		target.Set()
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "links: the target answers 403 during the download, and another takes over", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		target, next := tr.newServer(f), tr.newServer(f)
		tr.srv.Set(faultserver.Redirect("/f.bin", target.URL+"/f.bin"))
		target.Set(faultserver.CutAt(1<<20, func() {
			tr.srv.Set(faultserver.Redirect("/f.bin", next.URL+"/f.bin"))
			target.Set(faultserver.Status(403, -1))
		}), firstConnRate())
		tr.runPawl().wantDownloaded("f.bin", f)
		if target.FaultCount() < 2 || next.Sent() == 0 {
			tr.Errorf("the other target got no request")
		}
	}},
}

// killOnceSent downloads f.bin and kills pawl when it has recorded n bytes, which srv has sent,
// to which the URL redirects.
func (tr *testRun) killOnceSent(srv *faultserver.Server, n int64) {
	tr.Helper()
	srv.Set(faultserver.Rate(32 << 20))
	r := tr.startPawl()
	go func() {
		holdUntil(srv, n+maxUnrecorded, r.exited, func() bool { return tr.recordedBytes() >= n })
		r.signalAndWait(syscall.SIGKILL)
		srv.Open()
	}()
	if o := r.wait(); o.code != -1 {
		tr.Fatalf("exit %d before the kill", o.code)
	}
}

// expiringLink returns a hazard of a link that redirects to signed URLs, which expire. The
// server cuts bodies, so pawl must resolve the link again, but at most
// maxResolutions times.
func expiringLink(name string, maxResolutions int, fault func() faultserver.Fault) hazard {
	return hazard{name: "links: " + name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(fault(), faultserver.Cut(3<<20), faultserver.Rate(7<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		if countStatus(tr.srv, 403)+countStatus(tr.srv, 410) == 0 {
			tr.Errorf("no signed URL has expired")
		}
		if n := countStatus(tr.srv, http.StatusFound); n < 2 || n > maxResolutions {
			tr.Errorf("the link was resolved %d times, want 2 to %d", n, maxResolutions)
		}
	}}
}

var linksThatExpire = []hazard{
	expiringLink("signed targets that expire by time", 200, func() faultserver.Fault { return faultserver.SignedUntil(300 * time.Millisecond) }),
	expiringLink("signed targets valid for two requests, then 403", 200, func() faultserver.Fault { return faultserver.SignedFor(2, 403) }),
	expiringLink("signed targets valid for two requests, then 410", 200, func() faultserver.Fault { return faultserver.SignedFor(2, 410) }),
	expiringLink("signed targets valid for one request, then 403", 200, func() faultserver.Fault { return faultserver.SignedFor(1, 403) }),
	expiringLink("signed targets valid for one request, then 410", 200, func() faultserver.Fault { return faultserver.SignedFor(1, 410) }),
	{name: "links: signed targets that expire, and a kill", run: func(tr *testRun) {
		f := tr.serveFile(32 << 20)
		fault := faultserver.SignedFor(1, 403)
		tr.killHalfwayUnder(fault)
		tr.srv.Set(fault, faultserver.First(1, faultserver.Cut(2<<20)))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
	}},
	singleUseLink("a single-use link", faultserver.SingleUse(410), faultserver.Rate(32<<20)),
	singleUseLink("a single-use link, fast", faultserver.SingleUse(410)),
	singleUseLink("a single-use link, then 403", faultserver.SingleUse(403), faultserver.Rate(32<<20)),
}

// singleUseLink returns a hazard of a link that works for one request only. pawl must
// download the whole file over that request.
func singleUseLink(name string, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: " + name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faults...)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.wantRequest(0, "delivered the whole file", func(r faultserver.Request) bool { return r.Bytes == f.Size })
	}}
}

// secretsUnprinted returns a hazard of a run with secrets in the URL and the headers,
// which ends with the code. pawl must neither print nor record them.
func secretsUnprinted(name string, code int, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: secrets are not shown, " + name, run: func(tr *testRun) {
		tr.serveFile(9 << 20)
		tr.srv.Set(faults...)
		url := strings.Replace(tr.fileURL(), "http://", "http://jane:hun%40ter2@", 1)
		o := tr.runPawl("-v", "-H", "X-Token: tok4711", "-H", "Cookie: c=cook4711", url)
		if o.code != code {
			tr.Errorf("exit %d, want %d", o.code, code)
		}
		basic := base64.StdEncoding.EncodeToString([]byte("jane:hun@ter2"))
		if got := tr.srv.Requests()[0].Header.Get("Authorization"); got != "Basic "+basic {
			tr.Errorf("Authorization: got %q, want the URL's user and password", got)
		}
		tr.wantNoSecrets("hun%40ter2", "hun@ter2", "hunter2", basic, "tok4711", "cook4711", "sig4711")
		tr.markMet()
	}}
}

// wantNoSecrets checks that no run of pawl has printed a secret, that pawl list does not
// print one, and that no file in the state directory contains one.
func (tr *testRun) wantNoSecrets(secrets ...string) {
	tr.Helper()
	tr.runPawl("list", "--all", "--json")
	tr.runPawl("list", "--all")
	look := func(where string, text []byte) {
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				tr.Errorf("%s contains the secret %q", where, s)
			}
		}
	}
	for _, o := range tr.results {
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
		tr.Errorf("reading the state directory: got %d files and %v, want at least one", files, err)
	}
}

var linksWithSecrets = []hazard{
	secretsUnprinted("success", 0),
	secretsUnprinted("404", 8, faultserver.Status(404, -1)),
	secretsUnprinted("401", 6, faultserver.Status(401, -1)),
	secretsUnprinted("503", 75, faultserver.Status(503, -1)),
	secretsUnprinted("connection closed early", 4, faultserver.Cut(0)),
	secretsUnprinted("a redirect loop", 7, faultserver.Redirect("/f.bin", "/f.bin?sig=sig4711")),
	secretsUnprinted("a signed target that fails", 8, faultserver.Only(func(n int) bool { return n%2 == 1 }, faultserver.Status(404, -1)),
		faultserver.Redirect("/f.bin", "/g.bin?sig=sig4711")),
	secretsUnprinted("a target that is not a URL", 7, faultserver.RawRedirect(302, "http://[::1/%zz?sig=sig4711")),
	secretsUnprinted("a target of another scheme", 7, faultserver.RawRedirect(302, "ftp://127.0.0.1/?sig=sig4711")),
	secretsUnprinted("a target with a password that is down", 4, faultserver.RawRedirect(302, "http://bob:sig4711@127.0.0.1:1/")),
	secretsUnprinted("a target that is down", 4, faultserver.RawRedirect(302, "http://127.0.0.1:1/?sig=sig4711")),
	{name: "links: secrets are not shown, interrupted", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		url := strings.Replace(tr.fileURL(), "http://", "http://jane:hunter2@", 1)
		if o := tr.signalAt(6<<20, syscall.SIGINT, "-H", "X-Token: tok4711", url); o.code != 130 {
			tr.Errorf("exit %d, want 130", o.code)
		}
		tr.wantNoSecrets("hunter2", base64.StdEncoding.EncodeToString([]byte("jane:hunter2")), "tok4711")
		tr.wantPartKept()
		tr.markMet()
	}},
}
