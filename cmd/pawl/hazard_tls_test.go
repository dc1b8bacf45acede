package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"pawl/downloader/faultserver"
)

// tlsHazards are servers with old or unusual TLS, and servers on the wrong port.
var tlsHazards = []hazard{
	outdatedTLS("TLS 1.0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}),
	outdatedTLS("TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
	outdatedTLS("RSA key exchange", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}),
	outdatedTLS("3DES", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}}),
	outdatedTLS("RC4", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}),
	{name: "tls: --tls-legacy verifies certificates", run: func(tr *testRun) {
		s, _ := tr.newTLSServer(&tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
		tr.runPawl("--tls-legacy", s.URL+"/f.bin").wantFailure(5)
		tr.markMet()
	}},
	wantsCert("TLS 1.3", &tls.Config{ClientAuth: tls.RequireAnyClientCert}),
	wantsCert("TLS 1.2", &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}),
	{name: "tls: a client certificate is wanted by a status", run: func(tr *testRun) {
		s, ca := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequestClientCert})
		s.Set(faultserver.Status(400, -1))
		o := tr.runPawl("--cacert", ca, s.URL+"/f.bin")
		o.wantFailure(5)
		o.wantOneTry(s.conns())
		o.wantError("the server wants a client certificate")
		s.Set()
		tr.runPawl("--cacert", ca, s.URL+"/f.bin").wantDownloaded("f.bin", s.file) // it is optional
		tr.markMet()
	}},
	{name: "tls: ranges refused by a status, and a client certificate that is optional", run: func(tr *testRun) {
		s, ca := tr.newTLSServer(&tls.Config{ClientAuth: tls.RequestClientCert})
		s.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("Range") != "" {
				http.Error(w, "no ranges", http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		}))
		tr.runPawl("--cacert", ca, s.URL+"/f.bin").wantDownloaded("f.bin", s.file)
		tr.markMet()
	}},
	onlyHTTP2("get", []string{"h2"}, false),
	onlyHTTP2("get, without an alert", nil, false),
	onlyHTTP2("mirror", []string{"h2"}, true),
	{name: "tls: a server wants HTTP/2 by a status", run: func(tr *testRun) {
		s, ca := tr.newTLSServer(nil)
		s.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 1 {
					w.WriteHeader(http.StatusUpgradeRequired)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		tr.runPawl("--cacert", ca, s.URL+"/f.bin").wantDownloaded("f.bin", s.file)
		tr.markMet()
	}},
	{name: "tls: http at an https URL", run: func(tr *testRun) {
		tr.serveFile(5000)
		for _, args := range [][]string{{}, {"mirror"}} {
			if args = append(args, strings.Replace(tr.fileURL(), "http:", "https:", 1)); len(args) > 1 {
				tr.writeList("list", args[1])
				args[1] = "list"
			}
			o := tr.runPawl(args...)
			o.wantFailure(5)
			o.wantError("the server speaks http, not https, on this port")
		}
		tr.markMet()
	}},
	wrongProtocol("another protocol at an https URL", "https", 5, "the server does not speak TLS on this port", "SSH-2.0-OpenSSH_9.2\r\n"),
	wrongProtocol("a TLS alert at an http URL", "http", 7, "the server speaks https, not http, on this port", "\x15\x03\x01\x00\x02\x02\x46"),
	wrongProtocol("nginx with https at an http URL", "http", 7, "the server speaks https, not http, on this port", "HTTP/1.1 400 Bad Request\r\nContent-Length: 74\r\nConnection: close\r\n\r\n<h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</h1>"),
	{name: "tls: https at an http URL", run: func(tr *testRun) {
		s, _ := tr.newTLSServer(nil)
		o := tr.runPawl(strings.Replace(s.URL, "https:", "http:", 1) + "/f.bin")
		o.wantFailure(7)
		o.wantError("the server speaks https, not http, on this port")
		tr.markMet()
	}},
}

// A tlsServer serves f.bin over TLS.
type tlsServer struct {
	*faultserver.Server
	file     faultserver.File
	accepted atomic.Int64
}

// conns returns the number of connections so far.
func (s *tlsServer) conns() int64 { return s.accepted.Load() }

// newTLSServer starts a server with the settings c, and returns the file of its certificate. It
// speaks HTTP/1.1 and HTTP/2.
func (tr *testRun) newTLSServer(c *tls.Config) (s *tlsServer, ca string) {
	tr.Helper()
	inner := faultserver.New()
	s = &tlsServer{Server: inner, file: tr.serveFile(3 << 20)}
	inner.Put("f.bin", s.file)
	inner.Server.Close()
	inner.Server = httptest.NewUnstartedServer(inner)
	inner.EnableHTTP2 = true
	inner.TLS = c
	inner.Config.ErrorLog = log.New(io.Discard, "", 0)
	inner.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.accepted.Add(1)
		}
	}
	inner.StartTLS()
	tr.Cleanup(inner.Close)
	ca = filepath.Join(tr.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o666); err != nil {
		tr.Fatal(err)
	}
	return s, ca
}

// wantError checks that pawl has printed an error with the text, and a hint.
func (o runResult) wantError(text string) {
	o.tr.Helper()
	if !strings.Contains(o.stderr, text) || !strings.Contains(o.stderr, "pawl: hint: ") {
		o.tr.Errorf("got %s, want %q and a hint", o.stderr, text)
	}
}

// wantOneTry checks that the failure was permanent: two connections are enough for a request with
// a range and one without. A list asks over HTTP/2 before, and with TLS 1.3 the refusal comes after the
// handshake, so that it may look like a lost connection.
func (o runResult) wantOneTry(conns int64) {
	o.tr.Helper()
	if conns > 4 {
		o.tr.Errorf("%d connections, want one try", conns)
	}
}

// outdatedTLS returns a hazard of a server that supports nothing better than c.
func outdatedTLS(what string, c *tls.Config) hazard {
	return hazard{name: "tls: only " + what, run: func(tr *testRun) {
		s, ca := tr.newTLSServer(c)
		o := tr.runPawl("--cacert", ca, s.URL+"/f.bin")
		o.wantFailure(5)
		o.wantOneTry(s.conns())
		o.wantError("--tls-legacy")
		tr.runPawl("--tls-legacy", "--cacert", ca, s.URL+"/f.bin").wantDownloaded("f.bin", s.file)
		tr.writeList("list", s.URL+"/f.bin")
		tr.runPawl("mirror", "--overwrite", "-d", "m", "--tls-legacy", "--cacert", ca, "list").wantDownloaded(filepath.Join("m", "f.bin"), s.file)
		tr.markMet()
	}}
}

// wantsCert returns a hazard of a server that wants a client certificate.
func wantsCert(what string, c *tls.Config) hazard {
	return hazard{name: "tls: a client certificate is wanted, " + what, run: func(tr *testRun) {
		s, ca := tr.newTLSServer(c)
		tr.writeList("list", s.URL+"/f.bin")
		for _, args := range [][]string{{s.URL + "/f.bin"}, {"mirror", "list"}} {
			before := s.conns()
			o := tr.runPawl(append(args, "--cacert", ca)...)
			o.wantFailure(5)
			o.wantOneTry(s.conns() - before)
			o.wantError("the server wants a client certificate")
		}
		tr.markMet()
	}}
}

// onlyHTTP2 returns a hazard of a server that speaks only HTTP/2. It offers protos by ALPN and
// refuses others or, if there are none, lets every client connect.
func onlyHTTP2(what string, protos []string, mirror bool) hazard {
	return hazard{name: "tls: only HTTP/2, " + what, run: func(tr *testRun) {
		s, ca := tr.newTLSServer(nil)
		s.Server.Server.Close()
		srv := httptest.NewUnstartedServer(s.Server)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP2(true)
		srv.EnableHTTP2 = true
		if protos != nil {
			srv.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				c := srv.TLS.Clone()
				c.GetConfigForClient = nil
				if !slices.Contains(hello.SupportedProtos, "h2") {
					c.NextProtos = []string{"h3"} // without a common protocol, crypto/tls sends the alert
				}
				return c, nil
			}}
		}
		srv.StartTLS()
		tr.Cleanup(srv.Close)
		args := []string{"--cacert", ca, srv.URL + "/f.bin"}
		if mirror {
			tr.writeList("list", srv.URL+"/f.bin")
			args = []string{"mirror", "--cacert", ca, "list"}
		}
		tr.runPawl(args...).wantDownloaded("f.bin", s.file)
		ranges := 0
		for _, r := range s.Requests() {
			if r.Header.Get("Range") != "" {
				ranges++
			}
		}
		if ranges == 0 {
			tr.Error("no range was requested")
		}
		tr.markMet()
	}}
}

// A byteServer answers each request on each connection with the same bytes, and then closes the
// connection.
type byteServer struct {
	host, url string // url is the http URL of f.bin
	conns     atomic.Int64
}

// serveBytes starts a byteServer.
func (tr *testRun) serveBytes(response string) *byteServer {
	tr.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tr.Fatal(err)
	}
	tr.Cleanup(func() { l.Close() })
	s := &byteServer{host: l.Addr().String(), url: fmt.Sprintf("http://%s/f.bin", l.Addr())}
	go func() { // ends when the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			c.Read(make([]byte, 4096))
			io.WriteString(c, response)
			c.Close()
		}
	}()
	return s
}

// wrongProtocol returns a hazard of a server that answers each request with the bytes of response.
// pawl must name the reason, and not try ten times.
func wrongProtocol(what, scheme string, code int, text, response string) hazard {
	return hazard{name: "tls: " + what, run: func(tr *testRun) {
		s := tr.serveBytes(response)
		o := tr.runPawl(scheme + "://" + s.host + "/f.bin")
		o.wantFailure(code)
		o.wantOneTry(s.conns.Load())
		o.wantError(text)
		tr.markMet()
	}}
}
