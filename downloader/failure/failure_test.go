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

// kinds are the kinds of which each error has at most one.
var kinds = []error{ErrNetwork, ErrTLS, ErrAuth, ErrRefused, ErrThrottled, ErrProtocol, ErrChecksum, ErrChanged, ErrClaimed, ErrUsage}

// checkKind wants err to be of one kind alone, or of none if kind is nil, and permanent or not.
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

// errTimeout is as the watchdog of a response has it.
var errTimeout = New(ErrSilent, "no byte arrived in time")

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
			if status.retryable() != tt.retryable || MayBeExpired(err) != tt.expired {
				t.Errorf("%d: got retryable %v, expired %v, want %v, %v", code, status.retryable(), MayBeExpired(err), tt.retryable, tt.expired)
			}
		}
	}
	for code, want := range map[int]string{302: "HTTP error 302 Found without a URL from h", 404: "HTTP error 404 Not Found from h", 599: "HTTP error 599 (unknown status) from h"} {
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
		{"stalled", errTimeout, ErrNetwork, false},
		{"redirects", wrap(Permanent(ErrProtocol)), ErrProtocol, true},
		{"wrapped twice", fmt.Errorf("proxy: %w", wrap(errScripted)), ErrNetwork, false},
		{"certificate", wrap(&tls.CertificateVerificationError{Err: errScripted}), ErrTLS, true},
		{"unknown authority", wrap(x509.UnknownAuthorityError{}), ErrTLS, true},
		{"host name", wrap(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), ErrTLS, true},
		{"expired", wrap(x509.CertificateInvalidError{Reason: x509.Expired}), ErrTLS, true},
		{"damaged on the way", wrap(&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}), ErrNetwork, false},
		{"no TLS", wrap(tls.RecordHeaderError{Msg: "x"}), ErrTLS, true},
	}
	for _, tt := range tests {
		err := Explain(tt.err)
		checkKind(t, tt.name, err, tt.kind, tt.permanent)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells a secret: %v", tt.name, err)
		}
		if again := Explain(err); again.Error() != err.Error() {
			t.Errorf("%s: explained again: got %q, want %q", tt.name, again, err)
		}
	}
	if err := Explain(nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
	if !IsUnknownHost(Explain(wrap(noHost))) || IsUnknownHost(Explain(wrap(&net.DNSError{IsTemporary: true}))) || IsUnknownHost(nil) {
		t.Error("an unknown host is not told from other failures")
	}
}

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
			t.Errorf("%v, %d tries: got %d, want %d", tt.err, tt.tries, got, tt.want)
		}
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		err                             error
		limit, otherSource, plainStatus bool
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
			t.Errorf("%v may be a limit: got %v, want %v", tt.err, got, tt.limit)
		}
		if got := TryOtherSource(tt.err); got != tt.otherSource {
			t.Errorf("%v: another source may have the file: got %v, want %v", tt.err, got, tt.otherSource)
		}
		if got := MayRefuseRange(tt.err); got != tt.plainStatus {
			t.Errorf("%v may refuse a range: got %v, want %v", tt.err, got, tt.plainStatus)
		}
	}
}
