package downloader

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"pawl/downloader/failure"
)

// kinds are the disjoint kinds of errors: each error has at most one of them.
var kinds = []error{failure.ErrNetwork, failure.ErrTLS, failure.ErrAuth, failure.ErrRefused, failure.ErrThrottled, failure.ErrProtocol, failure.ErrChecksum, failure.ErrChanged, failure.ErrClaimed, failure.ErrUsage}

// checkKind reports err if it has other kinds than kind, or if it is not permanent as wanted.
func checkKind(t *testing.T, name string, err, kind error, permanent bool) {
	t.Helper()
	for _, k := range kinds {
		if got, want := errors.Is(err, k), k == kind; got != want {
			t.Errorf("%s: %v is %q: got %v, want %v", name, err, k, got, want)
		}
	}
	if got := failure.IsPermanent(err); got != permanent {
		t.Errorf("%s: %v is permanent: got %v, want %v", name, err, got, permanent)
	}
}

// tlsServer starts a server with its own certificate, and returns its URL and a pool with this
// certificate.
func tlsServer(t *testing.T, c *tls.Config) (string, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = c
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv.URL, roots
}

// failingServer starts a server that never responds to /silent, closes the connection of
// /abort, redirects /loop to itself, and redirects other paths to the URL in the query
// parameter "to".
func failingServer(t *testing.T) string {
	t.Helper()
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-stop
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/loop":
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		default:
			w.Header()["Location"] = r.URL.Query()["to"]
			w.WriteHeader(http.StatusFound)
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(stop) })
	return srv.URL
}

// closedPort returns the URL of a port on which no server listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// mustFail requests u, with a user and the password "hunter2", and returns the explained error.
// The request must fail. The error must not contain "hunter2", which is also the secret in the
// URLs of these tests.
func mustFail(t *testing.T, name, u string, o Options) error {
	t.Helper()
	tr := newTransport(nil, o.withDefaults())
	defer tr.Close()
	resp, err := tr.Client(false).Get(strings.Replace(u, "//", "//user:hunter2@", 1))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("%s: got status %d, want an error", name, resp.StatusCode)
	}
	if err = failure.Explain(err); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%s: the error contains a secret: %v", name, err)
	}
	return err
}

// The errors of real requests have the right kinds.
func TestExplainRequests(t *testing.T) {
	srv := failingServer(t)
	known, _ := tlsServer(t, &tls.Config{})
	old, roots := tlsServer(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	tests := []struct {
		name      string
		url       string
		opts      Options
		kind      error
		permanent bool
	}{
		{"refused", closedPort(t) + "/f", Options{}, failure.ErrNetwork, false},
		{"silent", srv + "/silent", Options{Timeouts: Timeouts{Stall: 20 * time.Millisecond}}, failure.ErrNetwork, false},
		{"connection closed", srv + "/abort", Options{}, failure.ErrNetwork, false},
		{"endless redirects", srv + "/loop", Options{}, failure.ErrProtocol, true},
		{"unknown authority", known + "/f", Options{}, failure.ErrTLS, true},
		{"no common version", old + "/f", Options{TLS: TLSOptions{RootCAs: roots}}, failure.ErrTLS, true},
		{"https to an http server", strings.Replace(srv, "http:", "https:", 1) + "/f", Options{}, failure.ErrTLS, true},
	}
	for _, tt := range tests {
		err := mustFail(t, tt.name, tt.url+"?sig=hunter2", tt.opts)
		checkKind(t, tt.name, err, tt.kind, tt.permanent)
	}
}

// The error of a redirect does not contain the secrets of its URL.
func TestExplainRedirect(t *testing.T) {
	srv := failingServer(t)
	for _, location := range []string{
		strings.Replace(closedPort(t), "//", "//user:hunter2@", 1) + "/?sig=hunter2",
		"ftp://user:hunter2@h/?sig=hunter2",
		"http://user:hunter2@[h/?sig=hunter2", // not a URL
		"http://h/?sig=hunter2%zz#%zz",
	} {
		mustFail(t, location, srv+"/?to="+url.QueryEscape(location), Options{})
	}
}
