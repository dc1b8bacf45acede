package downloader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// kinds are all that a download's error may be, of this package.
var kinds = []error{ErrNetwork, ErrTLS, ErrAuth, ErrRefused, ErrThrottled, ErrProtocol, ErrChecksum, ErrChanged, ErrClaimed, ErrUsage}

// checkKind wants err to be of one kind alone, and permanent or not.
func checkKind(t *testing.T, name string, err, kind error, permanent bool) {
	t.Helper()
	for _, k := range kinds {
		if got, want := errors.Is(err, k), k == kind; got != want {
			t.Errorf("%s: %v is %q: got %v, want %v", name, err, k, got, want)
		}
	}
	if got := isPermanent(err); got != permanent {
		t.Errorf("%s: %v is permanent: got %v, want %v", name, err, got, permanent)
	}
}

func TestStatusError(t *testing.T) {
	tests := []struct {
		codes     []int
		kind      error
		retryable bool
		expired   bool
	}{
		{[]int{401}, ErrAuth, false, true},
		{[]int{407}, ErrAuth, false, false},
		{[]int{403, 404, 410}, ErrRefused, false, true},
		{[]int{202, 408, 425, 429, 503}, ErrThrottled, true, false},
		{[]int{500, 502, 504, 520, 521, 522, 523, 524, 525, 526, 530}, ErrRefused, true, false},
		{[]int{100, 204, 300, 304}, ErrProtocol, false, false},
		{[]int{400, 405, 406, 416, 451, 501, 505, 519, 531, 999}, ErrRefused, false, false},
	}
	for _, tt := range tests {
		for _, code := range tt.codes {
			status := &StatusError{Code: code, Host: "h"}
			err := fmt.Errorf("a file: %w", status)
			checkKind(t, fmt.Sprint(code), err, tt.kind, !tt.retryable)
			if status.retryable() != tt.retryable || status.expired() != tt.expired {
				t.Errorf("%d: got retryable %v, expired %v, want %v, %v", code, status.retryable(), status.expired(), tt.retryable, tt.expired)
			}
		}
	}
	for code, want := range map[int]string{404: "h answered 404 Not Found", 599: "h answered 599 unknown status"} {
		if got := (&StatusError{Code: code, Host: "h"}).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestIsPermanent(t *testing.T) {
	tests := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errScripted, false},
		{permanentError{errScripted}, true},
		{fmt.Errorf("file: %w", permanentError{errScripted}), true},
		{permanentError{errStalled}, true},
		{errStalled, false},
		{errLie, false},
		{io.ErrUnexpectedEOF, false},
		{&StatusError{Code: 404}, true},
		{&StatusError{Code: 500}, false},
		{errors.Join(errScripted, &StatusError{Code: 404}), true},
	}
	for _, tt := range tests {
		if got := isPermanent(tt.err); got != tt.want {
			t.Errorf("%v: got permanent %v, want %v", tt.err, got, tt.want)
		}
	}
	if err := (permanentError{errScripted}); !errors.Is(err, errScripted) || err.Error() != errScripted.Error() {
		t.Errorf("a permanent error hides what it is: %v", err)
	}
}

func TestExplain(t *testing.T) {
	const secret = "http://user:hunter2@h/f?sig=hunter2"
	wrap := func(err error) error { return &url.Error{Op: "Get", URL: secret, Err: err} }
	noHost := &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}
	tests := []struct {
		name      string
		err       error
		kind      error // nil for none of the kinds
		permanent bool
	}{
		{"cancelled", wrap(context.Canceled), nil, false},
		{"deadline", wrap(context.DeadlineExceeded), ErrNetwork, false},
		{"broken off", wrap(io.ErrUnexpectedEOF), ErrNetwork, false},
		{"unknown host", wrap(&net.OpError{Op: "dial", Err: noHost}), ErrNetwork, false},
		{"stalled", errStalled, ErrNetwork, false},
		{"redirects", wrap(permanentError{ErrProtocol}), ErrProtocol, true},
		{"wrapped twice", fmt.Errorf("proxy: %w", wrap(errScripted)), ErrNetwork, false},
		{"certificate", wrap(&tls.CertificateVerificationError{Err: errScripted}), ErrTLS, true},
		{"unknown authority", wrap(x509.UnknownAuthorityError{}), ErrTLS, true},
		{"host name", wrap(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), ErrTLS, true},
		{"expired", wrap(x509.CertificateInvalidError{Reason: x509.Expired}), ErrTLS, true},
		{"damaged on the way", wrap(&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}), ErrNetwork, false},
		{"no TLS", wrap(tls.RecordHeaderError{Msg: "x"}), ErrTLS, true},
	}
	for _, tt := range tests {
		err := explain(tt.err)
		checkKind(t, tt.name, err, tt.kind, tt.permanent)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells a secret: %v", tt.name, err)
		}
		if again := explain(err); again.Error() != err.Error() {
			t.Errorf("%s: explained again: got %q, want %q", tt.name, again, err)
		}
	}
	if err := explain(nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
	if !isUnknownHost(explain(wrap(noHost))) || isUnknownHost(explain(wrap(&net.DNSError{IsTemporary: true}))) || isUnknownHost(nil) {
		t.Error("an unknown host is not told from other failures")
	}
}

// tlsServer starts a server of its own certificate, and returns its URL and the
// roots that know it.
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

// failingServer fails at /silent and /abort, and redirects elsewhere to what
// the query says.
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

// closedPort returns the URL of a port on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// failWith gets u, which must fail, and returns the explained error, which must
// not tell what the user and the query are.
func failWith(t *testing.T, name, u string, o Options) error {
	t.Helper()
	shared := newSlots(nil, 1)
	defer shared.close()
	hc := newHTTPClient(o.withDefaults(), &dialer{}, shared, nil, false)
	resp, err := hc.Get(strings.Replace(u, "//", "//user:hunter2@", 1))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("%s: got status %d, want an error", name, resp.StatusCode)
	}
	if err = explain(err); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%s: the error tells a secret: %v", name, err)
	}
	return err
}

// TestExplainReal: how real requests fail.
func TestExplainReal(t *testing.T) {
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
		{"refused", closedPort(t) + "/f", Options{}, ErrNetwork, false},
		{"silent", srv + "/silent", Options{StallTimeout: 20 * time.Millisecond}, ErrNetwork, false},
		{"abort", srv + "/abort", Options{}, ErrNetwork, false},
		{"endless redirects", srv + "/loop", Options{}, ErrProtocol, true},
		{"unknown authority", known + "/f", Options{}, ErrTLS, true},
		{"no common version", old + "/f", Options{RootCAs: roots}, ErrTLS, true},
		{"https to a server of http", strings.Replace(srv, "http:", "https:", 1) + "/f", Options{}, ErrTLS, true},
	}
	for _, tt := range tests {
		err := failWith(t, tt.name, tt.url+"?sig=hunter2", tt.opts)
		checkKind(t, tt.name, err, tt.kind, tt.permanent)
	}
}

// TestExplainRedirect: where a redirect leads may be secret, too.
func TestExplainRedirect(t *testing.T) {
	srv := failingServer(t)
	for _, location := range []string{
		strings.Replace(closedPort(t), "//", "//user:hunter2@", 1) + "/?sig=hunter2",
		"ftp://user:hunter2@h/?sig=hunter2",
		"http://user:hunter2@[h/?sig=hunter2", // not a URL
		"http://h/?sig=hunter2%zz#%zz",
	} {
		failWith(t, location, srv+"/?to="+url.QueryEscape(location), Options{})
	}
}

// TestParseURL: what is no URL for us is refused, without telling the password.
func TestParseURL(t *testing.T) {
	for _, s := range []string{
		"", "f", "/f", "//h/f", "http:", "http:///f", "http:f", "file:///f", "h:80/f",
		"ftp://user:hunter2@h/f", "user:hunter2@h/f", "//user:hunter2@h/f",
		"http://user:hunter2@h:port/", "http://user:hunter2@h h/", "http://user:hunter2@[h/", "http://user:hunter2@h/\n",
		"http://user:hunter2%zz@h/", "http://user:@hunter2 @h/",
		"http://user:hunter2/x@h/", "http://user:hunter2?x@h/", "http://user:hunter2#x@h/", // a password that is not escaped
	} {
		u, err := parseURL(s)
		if !errors.Is(err, ErrUsage) || u != nil {
			t.Errorf("%q: got %v, %v, want %v", s, u, err, ErrUsage)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error tells the password: %v", s, err)
		}
	}
	u, err := parseURL("HTTP://user:password@H:80/a%20b?q#fragment")
	if want := "http://user:password@H:80/a%20b?q"; err != nil || u.String() != want {
		t.Errorf("got %v, %v, want %s", u, err, want)
	}
}
