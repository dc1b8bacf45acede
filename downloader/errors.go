package downloader

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
	"slices"
	"strings"
	"syscall"

	"pawl/store"
)

// The kinds of failure; every error that a download ends with is one of these,
// one of package store's, a context's, or one of the file system.
var (
	// ErrNetwork says that the server could not be reached or broke off.
	ErrNetwork = errors.New("network")
	// ErrSilent says that no response, or no next byte, came in time. It is an ErrNetwork.
	ErrSilent = fmt.Errorf("%w: silent", ErrNetwork)
	// ErrTrickle says that the bytes came more slowly than Options.MinRate. It is an ErrNetwork.
	ErrTrickle = fmt.Errorf("%w: trickle", ErrNetwork)
	// ErrTLS says that the server could not prove who it is.
	ErrTLS = errors.New("tls")
	// ErrDowngrade says that a server redirects from https to http.
	ErrDowngrade = fmt.Errorf("%w: downgrade", ErrTLS)
	// ErrPage says that a web page came in place of the file.
	ErrPage = fmt.Errorf("%w: web page", ErrProtocol)
	// ErrAuth says that the server wants other credentials.
	ErrAuth = errors.New("authentication")
	// ErrRefused says that the server answered with a status that is final.
	ErrRefused = errors.New("refused by the server")
	// ErrThrottled says that the server asked to come again later, and still
	// did when patience was at its end.
	ErrThrottled = errors.New("the server asks to come later")
	// ErrProtocol says that the server's answers make no sense.
	ErrProtocol = errors.New("protocol")
	// ErrTooLarge says that the file is larger than Request.MaxSize. It is an ErrProtocol.
	ErrTooLarge = fmt.Errorf("%w: too large", ErrProtocol)
	// ErrChecksum says that the bytes do not have the digest asked for.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrChanged says that the remote file changed and what was written cannot
	// be taken back.
	ErrChanged = errors.New("the remote file changed")
	// ErrClaimed says that the target belongs to a download of another URL.
	ErrClaimed = errors.New("belongs to a download of another URL")
	// ErrUsage says that a request cannot be meant so.
	ErrUsage = errors.New("bad request")
)

// A StatusError is an answer whose status ends an exchange. It is ErrAuth,
// ErrThrottled or ErrRefused to errors.Is.
type StatusError struct {
	Code int    // HTTP status
	Host string // that answered
}

func (e *StatusError) Error() string {
	text := http.StatusText(e.Code)
	if e.Code >= 300 && e.Code < 304 {
		text += " without an address"
	}
	if text == "" {
		text = "unknown status"
	}
	return fmt.Sprintf("%s answered %d %s", e.Host, e.Code, text)
}

// Is says which kind of failure the status is.
func (e *StatusError) Is(kind error) bool {
	switch e.Code {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return kind == ErrAuth
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusAccepted:
		return kind == ErrThrottled
	}
	if e.Code < 400 { // a redirect to nowhere, or what answers no GET
		return kind == ErrProtocol
	}
	return kind == ErrRefused
}

// retryable reports whether the same request may be answered well later
// (202 with Retry-After, 408, 425, 429, 500, 502, 503, 504, 509 and the gateway codes 520 to 530).
func (e *StatusError) retryable() bool {
	return slices.Contains([]int{202, 408, 425, 429, 500, 502, 503, 504, 509}, e.Code) || e.Code >= 520 && e.Code <= 530
}

// mayRefuseRange reports whether the status may be the answer to the Range field of a
// request, so that the same request without it is served.
func (e *StatusError) mayRefuseRange() bool {
	return slices.Contains([]int{400, 403, 404, 405, 406, 412, 500, 501}, e.Code)
}

// expired reports whether the status may mean that a resolved URL no longer
// holds, while the asked one still does.
func (e *StatusError) expired() bool {
	return slices.Contains([]int{401, 403, 404, 410}, e.Code)
}

// A ClaimedError is an ErrClaimed; it has the download that the target belongs to.
type ClaimedError struct{ Record store.Record }

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("%q %v, %s", e.Record.Target, ErrClaimed, RedactURL(e.Record.URL))
}

// Is is for errors.Is.
func (e *ClaimedError) Is(kind error) bool { return kind == ErrClaimed }

// A permanentError is one that asking again will not mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// A kindError is an error of elsewhere that is one of our kinds, too; its words
// stay as they are.
type kindError struct {
	error
	kind error
}

func (e kindError) Unwrap() []error { return []error{e.error, e.kind} }

// errMalformed says that an answer was no HTTP.
var errMalformed = fmt.Errorf("%w: malformed", ErrProtocol)

// errTrickle is the cause of an attempt whose body came more slowly than is worth waiting for.
var errTrickle error = kindError{errors.New("it arrives more slowly than the least rate"), ErrTrickle}

// errBrokeOff says that the connection ended in the middle of a response, or before it.
var errBrokeOff error = kindError{errors.New("the server broke off"), ErrNetwork}

// errStalled is the cause of an attempt whose body was silent for too long, and
// errNoAnswer of one without a response header.
var (
	errStalled  error = kindError{errors.New("no byte arrived in time"), ErrSilent}
	errNoAnswer error = kindError{errors.New("no answer in time"), ErrSilent}
)

// explain turns an error of net/http into one of the kinds, without the URL,
// which may carry a secret.
func explain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var perm permanentError
	if errors.Is(err, ErrPrivate) && errors.As(err, &perm) {
		return perm // without the dial that it ended
	}
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &perm), errors.Is(err, ErrNetwork):
		return err
	case errors.Is(err, ErrUsage): // of Options.Proxy
		return permanentError{err}
	case strings.HasPrefix(err.Error(), "failed to parse Location header"): // which it quotes, and which may be signed
		return permanentError{kindError{errors.New("the server redirects to what is no URL"), ErrProtocol}}
	case isTLS(err):
		return permanentError{kindError{err, ErrTLS}}
	case errors.As(err, &dns) && dns.IsNotFound:
		return kindError{kindError{fmt.Errorf("%q has no address", dns.Name), dns}, ErrNetwork}
	case errors.As(err, &dns):
		return kindError{kindError{fmt.Errorf("the address of %q cannot be found: %s", dns.Name, dns.Err), dns}, ErrNetwork}
	case errors.As(err, &op) && op.Op == "dial" && op.Addr != nil:
		cause := op.Err
		if errno := syscall.Errno(0); errors.As(cause, &errno) { // without the name of the system call
			cause = errno
		}
		return kindError{fmt.Errorf("cannot connect to %v: %w", op.Addr, cause), ErrNetwork}
	case isHugeHeader(err):
		return errHugeHeader
	case isMalformed(err): // it quotes the header, of any length
		return kindError{errors.New("the server sends a malformed header"), errMalformed}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errBrokeOff
	}
	return kindError{err, ErrNetwork}
}

// explainBody is explain for a read of a body: a server that has proved who it is
// can only break off.
func explainBody(err error) error {
	if isTLS(err) {
		return kindError{err, ErrNetwork}
	}
	return explain(err)
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
		return true // an alert, of a type that crypto/tls keeps to itself
	}
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) ||
		errors.As(err, &invalid) || errors.As(err, &header) || errors.As(err, &alert)
}

// errHugeHeader is permanent, because the same server sends the same header again.
var errHugeHeader error = permanentError{kindError{fmt.Errorf("the server sends more than %d KiB of header", maxHeader>>10), ErrProtocol}}

// isHugeHeader reports whether a header was longer than maxHeader. net/http has no error
// value for it. Its texts are, in this order, those of HTTP/1, of HTTP/2, and of interim
// responses over HTTP/2 (Go 1.26).
func isHugeHeader(err error) bool {
	for _, text := range []string{"response headers exceeded", "header list larger than", "header list too large"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// isMalformed reports whether the answer was no HTTP. That may come from bytes
// too many of the answer before, and so does not count as final at once.
func isMalformed(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "malformed ") || strings.Contains(err.Error(), "bad Content-Length")) // net/http has no error value for it
}

// isUnknownHost reports whether the name has no address, which rarely mends
// itself.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// isPermanent reports whether asking again will not mend err.
func isPermanent(err error) bool {
	var perm permanentError
	var status *StatusError
	return errors.As(err, &perm) || errors.As(err, &status) && !status.retryable()
}
