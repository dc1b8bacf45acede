package transport

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"

	"pawl/downloader/failure"
)

// tlsConfig returns the settings of TLS for connections over HTTP/1.1 or, if http2 is true, over
// either version.
func (o Options) tlsConfig(http2 bool) *tls.Config {
	c := &tls.Config{RootCAs: o.RootCAs, InsecureSkipVerify: o.Insecure, GetClientCertificate: o.clientCertificate}
	if !http2 { // else net/http sets it; without it, a server that only speaks HTTP/2 would not know better
		c.NextProtos = []string{"http/1.1"}
	}
	if !o.Legacy {
		return c
	}
	c.MinVersion = tls.VersionTLS10
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, s.ID)
	}
	// The key shares of post-quantum algorithms make the first message longer than some old
	// servers and firewalls accept.
	c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	c.Renegotiation = tls.RenegotiateOnceAsClient
	return c
}

// clientCertificate is for tls.Config.GetClientCertificate. It returns the user's certificate for the
// origin, an empty one if there is none, and notes that the server wants one.
func (o Options) clientCertificate(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	none := new(tls.Certificate)
	a := attemptOf(info.Context())
	c := a.dialed.Load()
	if c == nil || o.isProxys(a, c) {
		return none, nil
	}
	c.wantsCert.Store(true)
	if o.Certificate == nil {
		return none, nil
	}
	if cert := o.Certificate(Origin(a.target())); cert != nil {
		c.gaveCert.Store(true)
		return cert, nil
	}
	return none, nil
}

// isProxys reports whether a TLS handshake of an attempt over c is that with an https proxy, and not with
// the server.
func (o Options) isProxys(a *attempt, c *trackedConn) bool {
	if a.target() == nil || a.target().Scheme != "https" {
		return true
	}
	if o.Proxy == nil || c.tunnelled.Load() {
		return false
	}
	proxy, err := o.Proxy(&http.Request{URL: a.target()})
	return err != nil || proxy != nil && proxy.Scheme == "https"
}

// A secured is the stage that explains failures of TLS, and servers that speak http on the port of
// https, or the other way round.
type secured struct {
	legacy bool // see Options.Legacy
	next   http.RoundTripper
}

func (s secured) RoundTrip(req *http.Request) (*http.Response, error) {
	a := attemptOf(req.Context())
	resp, err := s.next.RoundTrip(req)
	conn := a.conn.Load()
	switch {
	case err != nil:
		if conn == nil {
			conn = a.dialed.Load()
		}
		err = s.explain(err, conn)
		if req.URL.Scheme == "https" && mayNeedHTTP2(err, a) {
			err = needsHTTP2{err}
		}
	case req.URL.Scheme == "http" && resp.StatusCode == http.StatusBadRequest && says(resp, httpsNotices):
		err = failure.ErrSpeaksTLS
	case conn != nil && conn.gaveCert.Load():
		if refusesCert(resp) {
			err = failure.ErrRefusesCert
		}
	case conn != nil && conn.wantsCert.Load() && wantsCert(req, resp):
		err = failure.ErrWantsCert
	}
	if err != nil && resp != nil {
		resp.Body.Close()
		resp = nil
	}
	return resp, err
}

// explain explains an error of a connection, which is nil if it is not known.
func (s secured) explain(err error, conn *trackedConn) error {
	return failure.ExplainTLS(err, failure.Handshake{Legacy: s.legacy, WantsCert: conn != nil && conn.wantsCert.Load(), GaveCert: conn != nil && conn.gaveCert.Load()})
}

// wantsCert reports whether resp, from a server that has asked for a client certificate and got none,
// may be the refusal of a request without one. If the request has a Range field, that may be the
// cause, too, and the request without the field shows it.
func wantsCert(req *http.Request, resp *http.Response) bool {
	return resp.StatusCode == http.StatusBadRequest && req.Header.Get("Range") == "" || refusesCert(resp)
}

// refusesCert reports whether resp is the refusal of a request for its client certificate, or for want
// of one. 495 and 496 are nginx's, which sends them as 400.
func refusesCert(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadRequest:
		return says(resp, certNotices)
	case 495, 496:
		return true
	}
	return false
}

// maxNotice is how many bytes of a page are searched for a notice. The pages of nginx, Apache, Go
// and Tomcat have 650 bytes at most; with a tenth the notice is missed, and more only takes time.
const maxNotice = 4 << 10

// httpsNotices are parts of the pages with which servers answer an http request on their port for
// https: nginx, Apache, Go, Tomcat.
var httpsNotices = []string{"plain http request was sent to https port", "speaking plain http to an ssl-enabled", "http request to an https server", "requires tls"}

// certNotices are parts of the pages with which nginx answers a request without a certificate, or with
// a wrong one.
var certNotices = []string{"no required ssl certificate was sent", "the ssl certificate error"}

// says reports whether a page contains one of the notices. The body can still be read from its
// beginning.
func says(resp *http.Response, notices []string) bool {
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxNotice))
	restoreHead(resp, head, err)
	page := strings.ToLower(string(head))
	for _, notice := range notices {
		if strings.Contains(page, notice) {
			return true
		}
	}
	return false
}

// restoreHead gives the first bytes of the body of resp back to it, and the error with which their reading
// ended, if there was one.
func restoreHead(resp *http.Response, head []byte, err error) {
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failedReader{err}
	}
	resp.Body = prefixedBody{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
}

// A prefixedBody is a body whose first bytes have been read.
type prefixedBody struct {
	io.Reader
	io.Closer
}

// A failedReader returns an error that has been met already.
type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }
