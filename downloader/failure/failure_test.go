package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
)

var errScripted = errors.New("a scripted error")

// kinds are the disjoint kinds of errors: each error has at most one of them.
var kinds = []error{ErrNetwork, ErrTLS, ErrAuth, ErrRefused, ErrThrottled, ErrProtocol, ErrChecksum, ErrChanged, ErrClaimed, ErrUsage}

// checkKind reports err if it has other kinds than kind, which is nil for none, or if it is not
// permanent as wanted.
func checkKind(t *testing.T, name string, err, kind error, permanent bool) {
	t.Helper()
	for _, k := range kinds {
		if got, want := errors.Is(err, k), k == kind; got != want {
			t.Errorf("%s: %v is %q: got %v, want %v", name, err, k, got, want)
		}
	}
	if got := IsPermanent(err); got != permanent {
		t.Errorf("%s: %v is permanent: got %v, want %v", name, err, got, permanent)
	}
}

// errTimeout is like the error that the watchdog of a response returns.
var errTimeout = New(ErrSilent, "no byte arrived in time")

// The status determines the kind of the error, whether the request may be repeated, and whether
// a signed URL may have expired.
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
		{[]int{500, 502, 504, 507, 508, 520, 521, 522, 523, 524, 525, 526, 530, 561, 999}, ErrRefused, true, false},
		{[]int{100, 204, 300, 304}, ErrProtocol, false, false},
		{[]int{400, 405, 406, 416, 451, 501, 505, 519, 531}, ErrRefused, false, false},
	}
	for _, tt := range tests {
		for _, code := range tt.codes {
			status := &StatusError{Code: code, Host: "h"}
			err := fmt.Errorf("a file: %w", status)
			checkKind(t, fmt.Sprint(code), err, tt.kind, !tt.retryable)
			if status.retryable() != tt.retryable || MayBeExpired(err) != tt.expired {
				t.Errorf("%d: got retryable %v, expired %v, want %v, %v", code, status.retryable(), MayBeExpired(err), tt.retryable, tt.expired)
			}
		}
	}
	for code, want := range map[int]string{302: "HTTP error 302 Found without a URL from h", 404: "HTTP error 404 Not Found from h", 599: "HTTP error 599 (unknown status) from h"} {
		if got := (&StatusError{Code: code, Host: "h"}).Error(); got != want {
			t.Errorf("status %d: got %q, want %q", code, got, want)
		}
	}
}

// A server that asks for a later request, in place of a body, is preparing the file.
func TestIsPreparing(t *testing.T) {
	for _, code := range []int{202, 204, 302, 303, 304, 404, 503} {
		for _, later := range []bool{false, true} {
			err := &StatusError{Code: code, Host: "h", RetryAfter: later}
			want := code == 202 || later && code < 304
			if got := IsPreparing(err); got != want || want && IsPermanent(err) {
				t.Errorf("%d, Retry-After %v: got %v, permanent %v", code, later, got, IsPermanent(err))
			}
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
		{Permanent(errScripted), true},
		{fmt.Errorf("file: %w", Permanent(errScripted)), true},
		{Permanent(errTimeout), true},
		{errTimeout, false},
		{io.ErrUnexpectedEOF, false},
		{&StatusError{Code: 404}, true},
		{&StatusError{Code: 500}, false},
		{errors.Join(errScripted, &StatusError{Code: 404}), true},
	}
	for _, tt := range tests {
		if got := IsPermanent(tt.err); got != tt.want {
			t.Errorf("%v: got permanent %v, want %v", tt.err, got, tt.want)
		}
	}
	if err := (Permanent(errScripted)); !errors.Is(err, errScripted) || err.Error() != errScripted.Error() {
		t.Errorf("got %v, want an error that is and reads like %v", err, errScripted)
	}
}

// Explain gives each error of net/http a kind, and drops the URL, which may contain secrets.
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
		{"connection closed", wrap(io.ErrUnexpectedEOF), ErrNetwork, false},
		{"unknown host", wrap(&net.OpError{Op: "dial", Err: noHost}), ErrNetwork, false},
		{"silent", errTimeout, ErrNetwork, false},
		{"too many redirects", wrap(Permanent(ErrProtocol)), ErrProtocol, true},
		{"inside another error", fmt.Errorf("proxy: %w", wrap(errScripted)), ErrNetwork, false},
		{"certificate", wrap(&tls.CertificateVerificationError{Err: errScripted}), ErrTLS, true},
		{"unknown authority", wrap(x509.UnknownAuthorityError{}), ErrTLS, true},
		{"certificate of another host", wrap(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), ErrTLS, true},
		{"expired certificate", wrap(x509.CertificateInvalidError{Reason: x509.Expired}), ErrTLS, true},
		{"TLS record damaged on its way", wrap(&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}), ErrNetwork, false},
		{"no TLS server", wrap(tls.RecordHeaderError{Msg: "x"}), ErrTLS, true},
	}
	for _, tt := range tests {
		err := Explain(tt.err)
		checkKind(t, tt.name, err, tt.kind, tt.permanent)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error contains a secret: %v", tt.name, err)
		}
		if twice := Explain(err); twice.Error() != err.Error() {
			t.Errorf("%s: explained twice: got %q, want %q", tt.name, twice, err)
		}
	}
	if err := Explain(nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
	if !IsUnknownHost(Explain(wrap(noHost))) || IsUnknownHost(Explain(wrap(&net.DNSError{IsTemporary: true}))) || IsUnknownHost(nil) {
		t.Error("IsUnknownHost: want true for a name without an address only")
	}
}

// Failures that rarely go away get fewer tries.
func TestMaxTries(t *testing.T) {
	tests := []struct {
		err         error
		tries, want int
	}{
		{errScripted, 10, 10},
		{errScripted, 0, 0},
		{New(ErrMalformed, "x"), 0, 0},
		{New(ErrMalformed, "x"), 10, maxHopelessTries},
		{New(ErrMalformed, "x"), 2, 2},
		{ErrCut, 10, maxHopelessTries},
		{&net.DNSError{IsNotFound: true}, 10, maxHopelessTries},
		{&net.DNSError{IsTemporary: true}, 10, 10},
		{New(ErrPage, "x"), 10, maxPageTries},
	}
	for _, tt := range tests {
		if got := MaxTries(tt.err, tt.tries); got != tt.want {
			t.Errorf("MaxTries(%v, %d): got %d, want %d", tt.err, tt.tries, got, tt.want)
		}
	}
}

// An error may be caused by a connection limit, by the source, or by the Range field.
func TestClassify(t *testing.T) {
	tests := []struct {
		err                              error
		limit, otherSource, refusesRange bool
	}{
		{nil, false, false, false},
		{errScripted, false, false, false},
		{&StatusError{Code: 403}, true, true, true},
		{&StatusError{Code: 404}, false, true, true},
		{&StatusError{Code: 429}, true, true, false},
		{&StatusError{Code: 503}, true, true, false},
		{errBrokenOff, true, true, false},
		{Explain(&net.DNSError{IsNotFound: true}), false, true, false},
		{New(ErrTooLarge, "x"), false, false, false},
		{New(ErrPage, "x"), false, true, false},
		{New(ErrChecksum, "x"), false, false, false},
		{New(ErrChanged, "x"), false, false, false},
	}
	for _, tt := range tests {
		if got := MayBeLimit(tt.err); got != tt.limit {
			t.Errorf("MayBeLimit(%v): got %v, want %v", tt.err, got, tt.limit)
		}
		if got := TryOtherSource(tt.err); got != tt.otherSource {
			t.Errorf("TryOtherSource(%v): got %v, want %v", tt.err, got, tt.otherSource)
		}
		if got := MayRefuseRange(tt.err); got != tt.refusesRange {
			t.Errorf("MayRefuseRange(%v): got %v, want %v", tt.err, got, tt.refusesRange)
		}
	}
}
