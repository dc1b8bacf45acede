package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// credentialHazards are the ways to say who the user is. Each credential must reach the origins that
// the user typed, and no other, and must be found nowhere afterwards.
var credentialHazards = slices.Concat([]hazard{
	authorized("-u", "Basic dTpwdzp4", "-u", "u:pw:x"),
	authorized("-u without a user", "Basic OnB3", "-u", ":pw"),
	authorized("-u with an empty password", "Basic dTo=", "--user=u:"),
	authorized("PAWL_USER", "Basic dTpwdw==", "env", "PAWL_USER=u:pw"),
	authorized("the config file", "Basic dTpwdw==", "write", "config/pawl/config", "user = u:pw"),
	authorized("the config file, a netrc file", "Basic dTpwdw==", "write", "config/pawl/config", "netrc-file = n", "write", "n", "machine 127.0.0.1 login u password pw"),
	authorized("~/.netrc", "Basic dTpwdw==", "write", ".netrc", "machine 127.0.0.1 login u password pw"),
	authorized("~/.netrc, default", "Basic dTpwdw==", "write", ".netrc", "default login u password pw"),
	authorized("~/.netrc, for another host", "", "write", ".netrc", "machine 127.0.0.2 login u password pw"),
	authorized("~/.netrc, with a port", "", "write", ".netrc", "machine 127.0.0.1:80 login u password pw"),
	authorized("--no-netrc", "", "write", ".netrc", "machine 127.0.0.1 login u password pw", "--no-netrc"),
	authorized("--no-netrc, and NETRC", "", "write", "n", "machine 127.0.0.1 login u password pw", "env", "NETRC=n", "--no-netrc"),
	authorized("NETRC", "Basic dTpwdw==", "write", "n", "machine 127.0.0.1 login u password pw", "env", "NETRC=n", "write", ".netrc", "default login x password y"),
	authorized("--netrc-file", "Basic dTpwdw==", "write", "n", "machine 127.0.0.1 login u password pw", "env", "NETRC=missing", "--netrc-file", "n"),
	authorized("the user of the URL, and netrc", "Basic dTpwdw==", "write", ".netrc", "machine 127.0.0.1 login x password y\nmachine 127.0.0.1 login u password pw", "user", "u"),
	authorized("the user of the URL, and -u", "Basic dTpwdw==", "-u", "u:pw", "user", "u"),
	authorized("the user and the password of the URL, and others", "Basic dTpwdw==", "user", "u:pw", "-u", "x:y", "write", ".netrc", "default login z password z"),
	authorized("-u, and netrc", "Basic dTpwdw==", "-u", "u:pw", "write", ".netrc", "machine 127.0.0.1 login z password z"),
	authorized("-H Authorization, and others", "Bearer t", "-H", "Authorization: Bearer t", "-u", "x:y", "write", ".netrc", "machine 127.0.0.1 login z password z"),
	authorized("--bearer-file", "Bearer tok.en~+/=", "write", "t", "tok.en~+/=\n", "--bearer-file", "t"),
	authorized("--bearer-file, and netrc", "Bearer t", "write", "t", "t", "--bearer-file", "t", "write", ".netrc", "machine 127.0.0.1 login z password z"),
	authorized("--bearer-file in the credentials of a unit", "Bearer t", "write", "cred/t", "t", "write", "t", "other", "env", "CREDENTIALS_DIRECTORY=cred", "--bearer-file", "t"),
	authorized("--netrc-file in the credentials of a unit", "Basic dTpwdw==", "write", "cred/n", "default login u password pw", "env", "CREDENTIALS_DIRECTORY=cred", "--netrc-file", "n"),
	authorized("-H @FILE in the credentials of a unit", "Bearer t", "write", "cred/h", "Authorization: Bearer t", "env", "CREDENTIALS_DIRECTORY=cred", "-H", "@h"),
	authorized("a file that is not in the credentials of a unit", "Bearer t", "write", "cred/other", "x", "write", "t", "t", "env", "CREDENTIALS_DIRECTORY=cred", "--bearer-file", "t"),

	refusedCredentials("-u without a terminal", "-u without a password needs a terminal to ask for it", "-u", "u"),
	refusedCredentials("-u and --bearer-file", "--user and --bearer-file exclude each other", "-u", "u:s3cret", "write", "t", "s3cret", "--bearer-file", "t"),
	refusedCredentials("a missing netrc file", `--netrc-file cannot be used: open `, "--netrc-file", "missing"),
	refusedCredentials("a netrc file that was cut", `line 2: "password" has no value`, "write", "n", "machine h login u\npassword", "--netrc-file", "n"),
	refusedCredentials("~/.netrc that was cut", `~/.netrc cannot be used: `, "write", ".netrc", "machine"),
	refusedCredentials("NETRC with an open quotation mark", `NETRC cannot be used: "n" line 1: a quotation mark is not closed`, "write", "n", "machine h login u password \"s3cret", "env", "NETRC=n"),
	refusedCredentials("NETRC that is missing", `NETRC cannot be used: open n: `, "env", "NETRC=n"),
	refusedCredentials("a token of two words", `does not contain one token and nothing else`, "write", "t", "s3cret s3cret", "--bearer-file", "t"),
	refusedCredentials("an empty token", `does not contain one token and nothing else`, "write", "t", "\n", "--bearer-file", "t"),
	refusedCredentials("cookies in JSON", `not a cookie file in Netscape's format`, "write", "c", `[{"name": "a", "value": "s3cret"}]`, "--load-cookies", "c"),
	refusedCredentials("a key without a certificate", "--key needs the certificate in --cert FILE", "write", "k", "x", "--key", "k"),
	refusedCredentials("a certificate that is none", "contains no certificate in PEM form", "write", "k", "s3cret", "--cert", "k"),
	refusedCredentials("a certificate in PKCS#12", "convert PKCS#12 with: openssl", "write", "k", "0\x82s3cret", "--cert", "k"),
	refusedCredentials("a certificate without a key", "contains no private key", "pem", "cert", "--cert", "cert.pem"),
	refusedCredentials("an encrypted key, PKCS#8", "is encrypted", "pem", "cert", "--cert", "cert.pem", "write", "k", pemText("ENCRYPTED PRIVATE KEY", ""), "--key", "k"),
	refusedCredentials("an encrypted key of OpenSSL", "is encrypted", "pem", "cert", "--cert", "cert.pem", "write", "k", pemText("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"), "--key", "k"),
	refusedCredentials("a key of another certificate", "private key does not match public key", "pem", "cert", "--cert", "cert.pem", "pem", "other", "--key", "other-key.pem"),

	withoutUnsafeReach("-u", "Authorization", "-u", "u:pw"),
	withoutUnsafeReach("netrc", "Authorization", "write", ".netrc", "machine 127.0.0.1 login u password pw"),
	withoutUnsafeReach("netrc, default", "Authorization", "write", ".netrc", "default login u password pw"),
	withoutUnsafeReach("--bearer-file", "Authorization", "write", "t", "t", "--bearer-file", "t"),
	withoutUnsafeReach("--load-cookies", "Cookie", "write", "c", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\tb", "--load-cookies", "c"),
	{name: "credentials: --headers-everywhere, and a local list", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.writeList("list", tr.fileURL())
		tr.runPawl("mirror", "-u", "u:pw", "--headers-everywhere", "list").wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "Authorization", "Basic dTpwdw==")
		tr.markMet()
	}},
	{name: "credentials: a list, its files and its checksum file on one origin", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		sums := strings.TrimPrefix(checksumOf(tr, f), "sha256:") + "  f.bin\n"
		tr.srv.Set(requireHeader("Authorization", "Basic dTpwdw=="), servePage("/SHA256SUMS", newPage(sums)))
		tr.runPawl("mirror", "-u", "u:pw", tr.srv.URL+"/SHA256SUMS").wantDownloaded("f.bin", f)
		tr.runPawl("-u", "u:pw", "-o", "g.bin", "--checksums", tr.srv.URL+"/SHA256SUMS", tr.fileURL()).wantDownloaded("g.bin", f)
		tr.markMet()
	}},
	{name: "credentials: a netrc file that others can read", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.writeList(".netrc", "machine 127.0.0.1 login u password pw")
		o := tr.runPawl(tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr(`.netrc" is readable by other users; restrict it with: chmod 600`)
		tr.wantHeader(tr.srv, "Authorization", "Basic dTpwdw==")
		tr.writeList(".netrc", "machine 127.0.0.2 login u password pw")
		if o := tr.runPawl("-o", "g.bin", tr.fileURL()); strings.Contains(o.stderr, "readable") {
			tr.Errorf("a warning of a file that is not used: %s", o.stderr)
		}
		tr.markMet()
	}},
	{name: "credentials: cookies by host, path, scheme and time", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		line := func(host, path, secure string, expires int64, name string) string {
			return fmt.Sprintf("%s\tFALSE\t%s\t%s\t%d\t%s\tv", host, path, secure, expires, name)
		}
		now := time.Now().Unix()
		tr.writeList("c", "# Netscape HTTP Cookie File", line("127.0.0.1", "/", "FALSE", 0, "session"), line("#HttpOnly_127.0.0.1", "/", "FALSE", now+3600, "later"),
			line("127.0.0.1", "/f.bin", "FALSE", 0, "path"), line("127.0.0.1", "/other", "FALSE", 0, "otherpath"), line("127.0.0.1", "/", "TRUE", 0, "secure"),
			line("127.0.0.1", "/", "FALSE", now-10, "expired"), line("127.0.0.2", "/", "FALSE", 0, "otherhost"), "no cookie")
		o := tr.runPawl("--load-cookies", "c", "-H", "Cookie: later=mine", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr(`line 9 is no cookie`)
		tr.wantHeader(tr.srv, "Cookie", "later=mine; path=v; session=v")
		tr.markMet()
	}},
	{name: "credentials: a server changes a cookie of the file", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.writeList("c", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\told")
		tr.srv.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Cookie") == "a=new" {
					next.ServeHTTP(w, r)
					return
				}
				http.SetCookie(w, &http.Cookie{Name: "a", Value: "new"})
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
			})
		})
		tr.runPawl("--load-cookies", "c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "credentials: a server that accepts only Negotiate", run: func(tr *testRun) {
		tr.serveFile(5000)
		tr.srv.Set(faultserver.SetHeader("WWW-Authenticate", "Negotiate"), faultserver.Status(401, -1))
		o := tr.runPawl("-u", "u:pw", tr.fileURL())
		o.wantFailure(6)
		o.wantError("which accepts only Negotiate authentication; pawl does not support that")
		tr.markMet()
	}},
	{name: "credentials: a redirect to another origin that wants a login", run: func(tr *testRun) {
		s := newServerWith(tr, tr.serveFile(5000), requireHeader("Authorization", "Basic dTpwdw=="))
		tr.srv.Set(faultserver.Redirect("/f.bin", s.URL+"/f.bin"))
		for text, args := range map[string][]string{"credentials do not follow a redirect": {"-u", "u:pw"}, "log in with -u USER": nil} {
			o := tr.runPawl(append(args, tr.fileURL())...)
			o.wantFailure(6)
			o.wantError(text)
		}
		tr.dropResults() // their order is random
	}},
	{name: "credentials: hints of 401 and 403", run: func(tr *testRun) {
		tr.serveFile(5000)
		for status, text := range map[int]string{401: "--bearer-file FILE", 403: "-u USER, --bearer-file FILE or --load-cookies FILE"} {
			tr.srv.Set(faultserver.Status(status, -1))
			tr.runPawl(tr.fileURL()).wantError(text)
		}
		tr.dropResults() // their order is random
	}},
	resumedWithout("-u", "-u USER", "-u", "u:pw"),
	resumedWithout("the user of the URL", "-u USER", "user", "u:pw"),
	resumedWithout("--load-cookies and a header", "-H 'X-Token: …' and --load-cookies FILE", "write", "c", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\ts3cret", "--load-cookies", "c", "-H", "X-Token: s3cret"),
	resumedWithout("--bearer-file", "--bearer-file FILE", "write", "t", "s3cret", "--bearer-file", "t"),
	{name: "credentials: resumed without cookies, and a login page", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		args, url := tr.prepare([]string{"write", "c", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\tb", "--load-cookies", "c"})
		tr.srv.Set(faultserver.Rate(24 << 20))
		tr.killOnceRecorded(4<<20, append(args, url)...)
		page := newPage("<!doctype html><title>Log in</title><form>")
		tr.srv.Set(func(next http.Handler) http.Handler {
			login := servePage("/f.bin", page)(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Cookie") != "a=b" {
					login.ServeHTTP(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		o := tr.runPawl("resume", "--tries", "1")
		if o.code == 0 {
			tr.Errorf("exit 0 with a login page")
		}
		tr.wantPartKept()
		o.wantStderr("the download was begun with --load-cookies FILE;")
		tr.runPawl(append([]string{"resume"}, args...)...).wantDownloaded("f.bin", f)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "credentials: a damaged netrc file, and nothing to request", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.runPawl(tr.fileURL()).wantDownloaded("f.bin", f)
		tr.writeFile(filepath.Join(tr.dir, ".netrc"), []byte("machine"))
		verify := tr.startCommand(pawlCommand(tr.dir, "verify", "f.bin"))
		verify.wait().wantExit(0)
		tr.runPawl("list", "--all").wantExit(0)
		tr.markMet()
	}},
	{name: "credentials: resumed with a netrc file that is still there", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.writeFile(filepath.Join(tr.dir, ".netrc"), []byte("machine 127.0.0.1 login u password pw"))
		tr.killHalfway()
		tr.srv.Set(requireHeader("Authorization", "Basic dTpwdw=="))
		tr.runPawl("resume").wantDownloaded("f.bin", f)
		tr.markMet()
	}},
}, certificateHazards)

// prepare carries out the instructions between the arguments of a run: "write" PATH TEXT makes a
// file below the directory, "env" VARIABLE sets a variable, "user" USER puts a user into the URL,
// and "pem" NAME makes a certificate with its key. It returns the arguments, and the URL of f.bin.
func (tr *testRun) prepare(words []string) (args []string, url string) {
	tr.Helper()
	url = tr.fileURL()
	tr.env = nil
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch word {
		case "write":
			path := filepath.Join(tr.dir, words[0])
			must(tr, os.MkdirAll(filepath.Dir(path), 0o700))
			tr.writeFile(path, []byte(words[1]))
			words = words[2:]
		case "env":
			tr.env = append(tr.env, strings.Replace(words[0], "DIRECTORY=", "DIRECTORY="+tr.dir+"/", 1))
			words = words[1:]
		case "user":
			url = strings.Replace(url, "://", "://"+words[0]+"@", 1)
			words = words[1:]
		case "pem":
			tr.makeCertificate(words[0], newECKey(tr), "PRIVATE KEY")
			words = words[1:]
		default:
			args = append(args, word)
		}
	}
	return args, url
}

// authorized returns a hazard of a run that must send an Authorization field with each request; "" means
// none. words are the arguments of prepare.
func authorized(what, want string, words ...string) hazard {
	return hazard{name: "credentials: " + what, run: func(tr *testRun) {
		f := tr.serveFile(5000)
		args, url := tr.prepare(words)
		tr.runPawl(append(args, url)...).wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "Authorization", want)
		tr.markMet()
	}}
}

// refusedCredentials returns a hazard of credentials that cannot be used, so that nothing must be
// requested. The error must not contain "s3cret".
func refusedCredentials(what, text string, words ...string) hazard {
	return hazard{name: "credentials: " + what, run: func(tr *testRun) {
		tr.serveFile(5000)
		args, url := tr.prepare(words)
		o := tr.runPawl(append(args, url)...)
		o.wantFailure(2)
		o.wantError(text)
		if strings.Contains(o.stderr, "s3cret") || len(tr.srv.Requests()) > 0 {
			tr.Errorf("%d requests, and the secret may be in: %s", len(tr.srv.Requests()), o.stderr)
		}
		tr.markMet()
	}}
}

// withoutUnsafeReach returns a hazard of a credential that must not reach an origin which the user
// has not typed: by a redirect, by a redirect and back, by a mirror that the server names, by a
// local list, and by a list at a URL.
func withoutUnsafeReach(what, field string, words ...string) hazard {
	return hazard{name: "credentials: not for other origins, " + what, run: func(tr *testRun) {
		f := tr.putFile("f.bin", faultserver.NewFile(12<<20, 1))
		s := newServerWith(tr, f)
		args, _ := tr.prepare(words)
		run := func(more ...string) runResult { return tr.runPawl(append(more, args...)...) }
		tr.srv.Set(faultserver.Redirect("/f.bin", s.URL+"/f.bin"))
		run(tr.fileURL()).wantDownloaded("f.bin", f)
		tr.srv.Set(faultserver.SetHeader("Link", "<"+s.URL+"/f.bin>; rel=duplicate"), faultserver.Rate(16<<20))
		run("-o", "g.bin", "--checksum", checksumOf(tr, f), tr.fileURL()).wantDownloaded("g.bin", f)
		tr.srv.Set(servePage("/list", newPage(s.URL+"/f.bin\n")))
		run("mirror", "-d", "m", tr.srv.URL+"/list").wantDownloaded("m/f.bin", f)
		tr.writeList("local", s.URL+"/f.bin")
		run("mirror", "-d", "l", "local").wantDownloaded("l/f.bin", f)
		tr.wantHeader(s, field, "")
		for _, r := range tr.srv.Requests() {
			if r.Header.Get(field) == "" {
				tr.Errorf("%s: no %s, although the user typed the origin", r.Path, field)
			}
		}
		tr.putFile("back.bin", f)
		s.Set(faultserver.Redirect("/f.bin", tr.srv.URL+"/back.bin"))
		tr.srv.Set(faultserver.Redirect("/f.bin", s.URL+"/f.bin"))
		run("-o", "h.bin", tr.fileURL()).wantDownloaded("h.bin", f)
		for _, r := range tr.srv.Requests() {
			if r.Path == "/back.bin" && r.Header.Get(field) != "" {
				tr.Errorf("%s came back after a redirect to another origin", field)
			}
		}
	}}
}

// resumedWithout returns a hazard of a download that was begun with credentials, and is resumed
// without them. The hint must say which to give again, and the record must not have them.
func resumedWithout(what, options string, words ...string) hazard {
	return hazard{name: "credentials: resumed without " + what, run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		args, url := tr.prepare(words)
		tr.srv.Set(faultserver.Rate(24 << 20))
		tr.killOnceRecorded(4<<20, append(args, url)...)
		for _, status := range []int{401, 403, 404} {
			tr.srv.Set(faultserver.Status(status, -1))
			o := tr.runPawl("resume")
			if o.code != 6 && o.code != 8 {
				tr.Errorf("exit %d, want 6 or 8", o.code)
			}
			o.wantStderr("the download was begun with " + options + ";")
		}
		if what == "the user of the URL" {
			args = []string{"-u", "u:pw"}
		}
		tr.srv.Set(faultserver.Rate(24 << 20))
		o := tr.signalAt(1<<20, syscall.SIGINT, append([]string{"resume"}, args...)...)
		if o.wantExit(130); !strings.Contains(o.stderr, "resume with: pawl resume -") {
			tr.Errorf("the hint does not name the options: %s", o.stderr)
		}
		tr.wantNoSecrets("s3cret", "dTpwdw")
		tr.srv.Set()
		tr.runPawl(append([]string{"resume"}, args...)...).wantExit(0)
		tr.wantFile("f.bin", f)
		tr.dropResults() // they depend on how far the runs came
	}}
}

// certificateHazards are client certificates.
var certificateHazards = []hazard{
	certified("PKCS#8, an elliptic curve", func(tr *testRun) (any, string) { return newECKey(tr), "PRIVATE KEY" }),
	certified("SEC 1, an elliptic curve", func(tr *testRun) (any, string) { return newECKey(tr), "EC PRIVATE KEY" }),
	certified("PKCS#1, RSA", func(tr *testRun) (any, string) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(tr, err)
		return key, "RSA PRIVATE KEY"
	}),
	{name: "credentials: a client certificate that the server does not accept", run: func(tr *testRun) {
		s, ca := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert})
		tr.makeCertificate("cert", newECKey(tr), "PRIVATE KEY")
		o := tr.runPawl("--cacert", ca, "--cert", "cert.pem", "--key", "cert-key.pem", s.URL+"/f.bin")
		o.wantFailure(5)
		o.wantOneTry(s.conns())
		o.wantError("the server does not accept the client certificate")
		tr.markMet()
	}},
	{name: "credentials: a client certificate is not for an https proxy", run: func(tr *testRun) {
		pool := tr.makeCertificate("cert", newECKey(tr), "PRIVATE KEY")
		s, ca := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		p := &testProxy{to: s.Listener.Addr().String()}
		proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.TLS.PeerCertificates) > 0 {
				tr.Errorf("the proxy got the certificate")
			}
			p.ServeHTTP(w, r)
		}))
		proxy.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		proxy.StartTLS()
		tr.Cleanup(proxy.Close)
		tr.env = []string{"https_proxy=" + proxy.URL, "no_proxy="}
		args := []string{"--insecure", "--cert", "cert.pem", "--key", "cert-key.pem"}
		tr.runPawl(append(args, "https://example.com/f.bin")...).wantDownloaded("f.bin", s.file)
		tr.runPawl(append([]string{"mirror", "-d", "m", "--base", "https://example.com/", "--cacert", ca, "https://example.com/f.bin"}, args...)...).wantExit(2) // f.bin is no list
		if p.requests.Load() == 0 {
			tr.Errorf("the proxy got no request")
		}
		tr.dropResults()
		tr.markMet()
	}},
	{name: "credentials: a client certificate is not for other origins", run: func(tr *testRun) {
		pool := tr.makeCertificate("cert", newECKey(tr), "PRIVATE KEY")
		s, ca := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		other, otherCA := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequestClientCert})
		tr.writeFile(filepath.Join(tr.dir, "both"), slices.Concat(tr.readFile(ca), tr.readFile(otherCA)))
		f := other.file
		s.Put("f.bin", f)
		s.Set(faultserver.Redirect("/f.bin", other.URL+"/f.bin"))
		other.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(r.TLS.PeerCertificates) > 0 {
					tr.Errorf("another origin got the certificate")
				}
				next.ServeHTTP(w, r)
			})
		})
		args := []string{"--cacert", "both", "--cert", "cert.pem", "--key", "cert-key.pem"}
		tr.runPawl(append(args, s.URL+"/f.bin")...).wantDownloaded("f.bin", f)
		tr.writeList("list", other.URL+"/f.bin")
		tr.runPawl(append([]string{"mirror", "-d", "m", "list"}, args...)...).wantDownloaded("m/f.bin", f)
		tr.markMet()
	}},
}

// certified returns a hazard of a server that wants a certificate, over HTTP/1.1 and over HTTP/2.
func certified(what string, newKey func(*testRun) (key any, kind string)) hazard {
	return hazard{name: "credentials: a client certificate, " + what, run: func(tr *testRun) {
		key, kind := newKey(tr)
		pool := tr.makeCertificate("cert", key, kind)
		s, ca := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		tr.runPawl("--cacert", ca, "--cert", "cert.pem", "--key", "cert-key.pem", s.URL+"/f.bin").wantDownloaded("f.bin", s.file)
		tr.writeFile(filepath.Join(tr.dir, "both.pem"), slices.Concat(tr.readFile(filepath.Join(tr.dir, "cert-key.pem")), tr.readFile(filepath.Join(tr.dir, "cert.pem"))))
		s.Set(servePage("/list", newPage("f.bin\n")))
		tr.runPawl("mirror", "-d", "m", "--base", s.URL+"/", "--cacert", ca, "--cert", "both.pem", s.URL+"/list").wantDownloaded("m/f.bin", s.file)
		tr.markMet()
	}}
}

func newECKey(tr *testRun) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tr, err)
	return key
}

// makeCertificate makes a certificate NAME.pem, and NAME-key.pem with its key in a form of PEM. It returns
// the certificates that a server must trust.
func (tr *testRun) makeCertificate(name string, key any, kind string) *x509.CertPool {
	tr.Helper()
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	var public any
	var der []byte
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		public = &k.PublicKey
		if der, err = x509.MarshalPKCS8PrivateKey(k); kind == "EC PRIVATE KEY" {
			der, err = x509.MarshalECPrivateKey(k)
		}
	case *rsa.PrivateKey:
		public, der = &k.PublicKey, x509.MarshalPKCS1PrivateKey(k)
	}
	must(tr, err)
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, public, key)
	must(tr, err)
	tr.writeFile(filepath.Join(tr.dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	tr.writeFile(filepath.Join(tr.dir, name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(tr.readFile(filepath.Join(tr.dir, name+".pem")))
	return pool
}

// pemText returns a PEM block that has no useful content.
func pemText(kind, headers string) string {
	return "-----BEGIN " + kind + "-----\n" + headers + "czNjcmV0\n-----END " + kind + "-----\n"
}

// plantedSecrets returns a hazard that plants secrets in a run, which ends with the code, and
// searches everything that pawl leaves behind for them.
func plantedSecrets(name string, code int, run func(tr *testRun, args []string) runResult) hazard {
	return hazard{name: "credentials: planted secrets, " + name, run: func(tr *testRun) {
		tr.serveFile(9 << 20)
		proxy := newTestProxy(tr.T, "http", tr.srv.Listener.Addr().String())
		for _, way := range []struct {
			field string
			words []string
		}{
			{"", []string{"user", "jane-s3cret:url%40s3cret-plant"}},
			{"", []string{"-u", "jane-s3cret:user@s3cret-plant"}},
			{"", []string{"env", "PAWL_USER=jane-s3cret:variable@s3cret-plant"}},
			{"", []string{"write", "in/netrc", "machine 127.0.0.1 login jane-s3cret password netrc@s3cret-plant", "--netrc-file", "in/netrc"}},
			{"", []string{"write", "in/token", "bearer/s3cret+plant=", "--bearer-file", "in/token"}},
			{"Cookie", []string{"write", "in/cookies", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\tcookie@s3cret-plant", "--load-cookies", "in/cookies"}},
			{"X-Api-Key", []string{"-H", "X-Api-Key: header@s3cret-plant"}},
			{"X-Api-Key", []string{"write", "in/headers", "X-Api-Key: headerfile@s3cret-plant", "-H", "@in/headers"}},
		} {
			args, url := tr.prepare(way.words)
			tr.env = append(tr.env, "http_proxy=http://proxy-s3cret:proxy%40s3cret-plant@"+strings.TrimPrefix(proxy.url, "http://"), "no_proxy=")
			os.Remove(filepath.Join(tr.dir, "f.bin"))
			n := len(tr.srv.Requests())
			o := run(tr, slices.Concat([]string{"--restart", "-v"}, args, []string{url + "?X-Amz-Signature=signed-s3cret-plant"}))
			if o.code != code {
				tr.Errorf("%s: exit %d, want %d", way.words[0], o.code, code)
			}
			sent := func(r faultserver.Request) bool { return r.Header.Get(orAuthorization(way.field)) != "" }
			if !slices.ContainsFunc(tr.srv.Requests()[n:], sent) { // the first one may be a late one of the run before
				tr.Errorf("%q: the secret was not sent", way.words)
			}
		}
		tr.env = nil
		tr.wantNothingPlanted()
		tr.dropResults()
		tr.markMet()
	}}
}

func orAuthorization(field string) string {
	if field == "" {
		return "Authorization"
	}
	return field
}

// wantNothingPlanted searches the output of all runs, and all files but those in the directory
// "in", with their names, for planted secrets: as they are, percent-encoded, and in base64. The
// signed URL is in the records, and in the output for programs.
func (tr *testRun) wantNothingPlanted() {
	tr.Helper()
	needles := []string{"s3cret", "s%33cret", "%40s3cret", url.QueryEscape("@s3cret-plant"), "plant="}
	for _, whole := range []string{"jane-s3cret:url@s3cret-plant", "jane-s3cret:user@s3cret-plant", "jane-s3cret:variable@s3cret-plant", "jane-s3cret:netrc@s3cret-plant", "proxy-s3cret:proxy@s3cret-plant"} {
		needles = append(needles, strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(whole)), "="))
	}
	for shift := range 3 { // a secret in the middle of a longer text
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + "s3cret-plant"))
		needles = append(needles, text[4:len(text)-4])
	}
	signed := []byte("X-Amz-Signature=signed-s3cret-plant")
	look := func(where string, text []byte, hasURLs bool) {
		if hasURLs {
			text = bytes.ReplaceAll(text, signed, nil)
		}
		for _, s := range needles {
			if i := bytes.Index(text, []byte(s)); i >= 0 {
				tr.Errorf("%s contains %q: …%q…", where, s, text[max(0, i-60):min(len(text), i+60)])
			}
		}
	}
	for _, o := range tr.results {
		look("stderr", []byte(o.stderr), false)
		look("stdout", []byte(o.stdout), true)
	}
	files := 0
	must(tr, filepath.WalkDir(tr.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "in" {
			return filepath.SkipDir
		}
		look("the name of "+path, []byte(path), false)
		if d.Type().IsRegular() && filepath.Ext(path) != ".bin" {
			files++
			look(path, tr.readFile(path), true)
		}
		return nil
	}))
	if files < 2 {
		tr.Errorf("%d files were searched", files)
	}
}

var plantedHazards = []hazard{
	plantedSecrets("success", 0, func(tr *testRun, args []string) runResult {
		return tr.runPawl(append(args, "--json", "--report", "report.json", "--on-complete", "env | grep ^PAWL_FILE > hook; echo")...)
	}),
	plantedSecrets("401", 6, func(tr *testRun, args []string) runResult {
		tr.srv.Set(faultserver.SetHeader("WWW-Authenticate", `Digest realm="r", nonce="n", qop="auth"`), faultserver.Status(401, -1))
		return tr.runPawl(append(args, "--report", "report.json", "--on-error", "env | grep ^PAWL_FILE > hook; echo")...)
	}),
	plantedSecrets("404", 8, func(tr *testRun, args []string) runResult {
		tr.srv.Set(faultserver.Status(404, -1))
		return tr.runPawl(append(args, "--json", "--report", "report.json")...)
	}),
	plantedSecrets("connection closed", 4, func(tr *testRun, args []string) runResult {
		tr.srv.Set(faultserver.Cut(0))
		return tr.runPawl(append(args, "--report", "report.json", "--tries", "2")...)
	}),
	plantedSecrets("killed", -1, func(tr *testRun, args []string) runResult {
		tr.srv.Set(faultserver.Rate(32 << 20))
		return tr.signalAt(2<<20, syscall.SIGKILL, args...)
	}),
	plantedSecrets("interrupted", 130, func(tr *testRun, args []string) runResult {
		tr.srv.Set(faultserver.Rate(32 << 20))
		return tr.signalAt(2<<20, syscall.SIGINT, append(args, "--report", "report.json")...)
	}),
	plantedSecrets("a list", 0, func(tr *testRun, args []string) runResult {
		last := len(args) - 1
		tr.srv.Set(servePage("/f.bin", newPage(tr.srv.URL+"/g.bin\n")))
		tr.srv.Put("g.bin", faultserver.NewFile(5000, 1))
		return tr.runPawl(append([]string{"mirror", "--json", "--report", "report.json", "--failed", "failed", args[last]}, args[:last]...)...)
	}),
	plantedSecrets("info", 0, func(tr *testRun, args []string) runResult {
		tr.runPawl("list", "--all", "--json") // makes the state directory
		return tr.runPawl(append([]string{"info", "--json"}, args...)...)
	}),
	plantedSecrets("a misspelled option", 2, func(tr *testRun, args []string) runResult {
		tr.runPawl(args...)
		return tr.runPawl(append([]string{"gett"}, args...)...)
	}),
}
