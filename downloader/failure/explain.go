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
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &permanent), errors.Is(err, ErrNetwork), errors.Is(err, ErrMalformed):
		return err
	case errors.Is(err, ErrUsage): // from the function that chooses the proxy
		return permanentError{err}
	case strings.HasPrefix(err.Error(), "failed to parse Location header"): // the text quotes the URL, which may be signed
		return Permanent(New(ErrProtocol, "the server redirects to an invalid URL"))
	case isTLS(err):
		return Permanent(Wrap(ErrTLS, err))
	case errors.As(err, &dns) && dns.IsNotFound:
		return Wrap(ErrNetwork, Wrap(dns, fmt.Errorf("%q has %s", dns.Name, missing(err, dns))))
	case errors.As(err, &dns):
		return Wrap(ErrNetwork, Wrap(dns, fmt.Errorf("the address of %q cannot be found: %s", dns.Name, dns.Err)))
	case errors.As(err, &op) && op.Op == "dial" && op.Addr != nil:
		return Wrap(ErrNetwork, fmt.Errorf("cannot connect to %v: %w", op.Addr, withoutCall(op.Err)))
	case errors.As(err, &op) && (op.Op == "read" || op.Op == "write"):
		return Wrap(ErrNetwork, Wrap(op, fmt.Errorf("the connection broke: %w", withoutCall(op.Err))))
	case isHugeHeader(err):
		return errHugeHeader
	}
	for _, m := range malformed { // the texts quote the header, which may be of any length
		if strings.Contains(err.Error(), m.text) {
			return m.err
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errBrokenOff
	}
	return Wrap(ErrNetwork, err)
}

// withoutCall returns err without the name of a system call.
func withoutCall(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}

// NoFamily returns the text of a net.DNSError for a host that has no address of a family, such as
// IPv6, for Explain.
func NoFamily(family string) string { return "no " + family + " address" }

// SOCKSLookup is the Op of a net.OpError for a name that pawl has looked up, and not the SOCKS
// proxy that the connection goes through.
const SOCKSLookup = "socks lookup"

// missing returns the text behind "HOST has" for a lookup that failed with err, which wraps dns: for
// example "no IPv6 address".
func missing(err error, dns *net.DNSError) string {
	var op *net.OpError
	switch {
	case dns.Err == NoFamily("IPv4"), dns.Err == NoFamily("IPv6"):
		return dns.Err
	case errors.As(err, &op) && op.Op == SOCKSLookup:
		return "no address here; with socks5h, the proxy looks it up"
	}
	return "no address"
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

// malformed are the responses that net/http refuses, by a part of its text, because it has no error
// values for them (Go 1.26). The first match counts. An ErrMalformed is not permanent, because the
// cause may be surplus bytes of the response before. Framing that the server has chosen is.
var malformed = []struct {
	text string
	err  error
}{
	{"unsupported transfer encoding", errCoding},
	{"too many transfer encodings", errCoding},
	{"multiple Content-Length", Permanent(New(ErrProtocol, "the server sends two values of Content-Length"))},
	{"bad Content-Length", errLength},
	{"invalid empty Content-Length", errLength},
	{`malformed HTTP response "\x15\x03`, ErrSpeaksTLS}, // a TLS alert
	{"malformed HTTP", errNotHTTP},
	{"readLoopPeekFailLocked: %!w(<nil>)", errNotHTTP}, // bytes before the request was sent
	{"malformed chunked", errChunks},
	{"in chunk length", errChunks},  // an invalid byte
	{"for chunk length", errChunks}, // no number
	{"chunk length too large", errChunks},
	{"chunked line", errChunks},     // ends without CR
	{"chunked encoding", errChunks}, // too much besides the data
	{"header line too long", errChunks},
	{"malformed ", New(ErrMalformed, "the server sends a malformed header")},
}

var (
	errCoding  = Permanent(New(ErrProtocol, "the server uses a transfer coding that is not chunked"))
	errLength  = Permanent(New(ErrProtocol, "the server sends an invalid Content-Length"))
	errNotHTTP = New(ErrMalformed, "the server sends something that is not HTTP")
	errChunks  = New(ErrMalformed, "the server sends malformed chunks")
)

// IsBadHeader reports whether err of net/http means that it refuses the header of a response.
func IsBadHeader(err error) bool {
	for _, m := range malformed {
		if strings.Contains(err.Error(), m.text) {
			return m.err != errChunks
		}
	}
	return false
}
