package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// MaxHeaderBytes limits the header of a response, together with the interim responses
// before it, and a trailer. net/http allows 10 MB, which 320 responses at once would
// multiply to 3 GiB; curl stops at 300 KiB, and servers send a few KiB. Half of it would
// still be enough for known servers, double would double the memory that a hostile server
// can use.
const MaxHeaderBytes = 256 << 10

// ErrCut means that a body without a length ended without the close_notify alert of TLS, as
// a body does that somebody has cut (RFC 8446 §6.1). It is an ErrNetwork.
var ErrCut = New(ErrNetwork, "the connection was cut before the end of the file was certain: the server sent no length and no close_notify")

var (
	errBrokenOff = New(ErrNetwork, "the server closed the connection too early")
	// errHugeHeader is permanent, because the same server sends the same header again.
	errHugeHeader = Permanent(New(ErrProtocol, fmt.Sprintf("the server sends a header of more than %d KiB", MaxHeaderBytes>>10)))
)

// Explain turns an error of net/http into an error of one of the kinds, without the URL.
// It leaves an error that has a kind as it is.
func Explain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var permanent permanentError
	if errors.Is(err, ErrPrivate) && errors.As(err, &permanent) {
		return permanent // without the words about the connection attempt around it
	}
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &permanent), errors.Is(err, ErrNetwork):
		return err
	case errors.Is(err, ErrUsage): // from the function that chooses the proxy
		return permanentError{err}
	case strings.HasPrefix(err.Error(), "failed to parse Location header"): // the text quotes the URL, which may be signed
		return Permanent(New(ErrProtocol, "the server redirects to an invalid URL"))
	case isTLS(err):
		return Permanent(Wrap(ErrTLS, err))
	case errors.As(err, &dns) && dns.IsNotFound:
		return Wrap(ErrNetwork, Wrap(dns, fmt.Errorf("%q has no address", dns.Name)))
	case errors.As(err, &dns):
		return Wrap(ErrNetwork, Wrap(dns, fmt.Errorf("the address of %q cannot be found: %s", dns.Name, dns.Err)))
	case errors.As(err, &op) && op.Op == "dial" && op.Addr != nil:
		cause := op.Err
		if errno := syscall.Errno(0); errors.As(cause, &errno) { // without the name of the system call
			cause = errno
		}
		return Wrap(ErrNetwork, fmt.Errorf("cannot connect to %v: %w", op.Addr, cause))
	case isHugeHeader(err):
		return errHugeHeader
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`): // a TLS alert
		return ErrSpeaksTLS
	case isMalformed(err): // the text quotes the header, which may be of any length
		return New(ErrMalformed, "the server sends a malformed header")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errBrokenOff
	}
	return Wrap(ErrNetwork, err)
}

// ExplainBody is Explain for an error of reading a body. A TLS error is an ErrNetwork there,
// because the server has proved its identity already.
func ExplainBody(err error) error {
	if isTLS(err) {
		return Wrap(ErrNetwork, err)
	}
	return Explain(err)
}

func isTLS(err error) bool {
	var (
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		header  tls.RecordHeaderError
		alert   tls.AlertError
	)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return true // an alert of the server, whose type crypto/tls does not export
	}
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) ||
		errors.As(err, &invalid) || errors.As(err, &header) || errors.As(err, &alert)
}

// isHugeHeader reports whether a header was longer than MaxHeaderBytes. net/http has no error
// value for that. Its texts are, in this order, for HTTP/1, for HTTP/2, and for interim
// responses over HTTP/2 (Go 1.26).
func isHugeHeader(err error) bool {
	for _, text := range []string{"response headers exceeded", "header list larger than", "header list too large"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// isMalformed reports whether the server did not send HTTP. The cause may be surplus bytes of
// the response before, so the error is not permanent. net/http has no error value for it.
func isMalformed(err error) bool {
	return strings.Contains(err.Error(), "malformed ") || strings.Contains(err.Error(), "bad Content-Length")
}
