package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"reflect"
	"syscall"
	"testing"
)

// decisions are all functions that decide something about an error.
var decisions = map[string]func(error) bool{
	"IsPermanent": IsPermanent, "MayBeLimit": MayBeLimit, "OfConnection": OfConnection, "TryOtherSource": TryOtherSource,
	"MayBeExpired": MayBeExpired, "IsRefusal": IsRefusal, "IsGone": IsGone, "MayBeBan": MayBeBan, "MayRefuseRange": MayRefuseRange,
	"MayRefuseCondition": MayRefuseCondition, "IsPreparing": IsPreparing, "IsBrokenOff": IsBrokenOff, "IsUnknownHost": IsUnknownHost,
}

// An error that comes by its name from another process has the same text, is of the same kinds, and leads to the same decisions.
func TestNamed(t *testing.T) {
	dns := &net.DNSError{Name: "h", Err: "no such host", IsNotFound: true}
	all := []error{
		errScripted, fmt.Errorf("a file: %w", errScripted), Permanent(errScripted), context.Canceled, errTimeout,
		Explain(dns), Explain(&net.OpError{Op: "dial", Addr: &net.TCPAddr{}, Err: syscall.ECONNREFUSED}), Explain(&net.OpError{Op: "read", Err: syscall.ECONNRESET}),
		errBrokenOff, errHugeHeader, errNotHTTP, ErrCut, ErrSpeaksTLS, ErrNotTLS, errSpeaksHTTP, ErrWantsCert, ErrRefusesCert, ErrNoHTTP,
		WantsUser("p:1", true, nil), RefusedTunnel("p:1", 403), RefusedTunnel("p:1", 503),
		Explain(&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}}),
		Explain(x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}), Explain(x509.InsecureAlgorithmError(x509.SHA1WithRSA)),
		&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, &fs.PathError{Op: "write", Path: "/x\xff", Err: syscall.ENOSPC},
		fmt.Errorf("x: %w", syscall.EDQUOT), &fs.PathError{Op: "mkdir", Path: "x", Err: syscall.ENAMETOOLONG}, syscall.EROFS, syscall.EMFILE,
		errors.Join(New(ErrChecksum, "a"), &StatusError{Code: 500, Host: "h"}),
		&StatusError{Code: 401, Host: "h", Scheme: "NTLM, or, something=else", Redirected: true}, &StatusError{Code: 403, Host: "[::1]:80", RetryAfter: true},
		&StatusError{Code: 202, Host: "h"}, &StatusError{Code: 302, RetryAfter: true}, &StatusError{Code: 404}, &StatusError{Code: 407}, &StatusError{Code: 503, Host: "h"},
	}
	for _, k := range kindNames {
		all = append(all, k.kind, Wrap(k.kind, errScripted), Permanent(New(k.kind, "text")))
	}
	for _, err := range all {
		got := Named(Name(err), err.Error())
		if got.Error() != err.Error() || Name(got) != Name(err) {
			t.Errorf("%v (%s): got %v (%s)", err, Name(err), got, Name(got))
		}
		for _, k := range kindNames {
			if errors.Is(got, k.kind) != errors.Is(err, k.kind) {
				t.Errorf("%v is %v: got %v", err, k.kind, errors.Is(got, k.kind))
			}
		}
		for name, decide := range decisions {
			if decide(got) != decide(err) {
				t.Errorf("%s(%v): got %v", name, err, decide(got))
			}
		}
		if MaxTries(got, 10) != MaxTries(err, 10) {
			t.Errorf("MaxTries(%v): got %d, want %d", err, MaxTries(got, 10), MaxTries(err, 10))
		}
		var a, b *StatusError
		if errors.As(err, &a) != errors.As(got, &b) || a != nil && *a != *b {
			t.Errorf("%v: got status %+v, want %+v", err, b, a)
		}
	}
}

// The names are stored in logs of runs, so they stay as they are.
func TestNamesAreStable(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""}, {errScripted, ""},
		{New(ErrSilent, "x"), "network silent"},
		{&StatusError{Code: 404, Host: "h:80"}, "refused status=404,host=h%3A80"},
		{&StatusError{Code: 403, RetryAfter: true, Redirected: true, Scheme: "NTLM"}, "throttled status=403,retry-after,redirected,scheme=NTLM"},
		{Permanent(Wrap(ErrTLS, http.ErrSchemeMismatch)), "tls scheme-mismatch permanent"},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "no-space file"},
	} {
		if got := Name(tt.err); got != tt.want {
			t.Errorf("Name(%v): got %q, want %q", tt.err, got, tt.want)
		}
	}
	// Words of a newer version, or of nobody, are ignored.
	err := Named("refused new-kind status=x status= status=404,new-field=1 status=1e3", "text")
	var status *StatusError
	if !errors.Is(err, ErrRefused) || !errors.As(err, &status) || !reflect.DeepEqual(*status, StatusError{Code: 404}) || err.Error() != "text" {
		t.Errorf("got %v, %+v", err, status)
	}
}
