// Package failure classifies the errors of a download.
//
// Each error that a download ends with is of one of the kinds below, of package
// store, of a context, or of the file system. [Explain] turns an error of net/http
// into one of the kinds. The functions in classify.go decide the next step
// after an error: whether the request may be repeated, whether the host has enough
// connections, and whether another source may have the file. No other place decides
// that.
//
// The texts of errors contain no URL and no header value, because these may be
// secrets.
package failure

import (
	"errors"
	"fmt"
	"net/http"
)

// The kinds of failure, for errors.Is. Some kinds are part of another one.
var (
	// ErrNetwork means that the server could not be reached, or that it closed the
	// connection too early.
	ErrNetwork = errors.New("network")
	// ErrSilent means that no response header, or no further byte of a body, arrived
	// within the timeout. It is an ErrNetwork.
	ErrSilent = fmt.Errorf("%w: silent", ErrNetwork)
	// ErrTrickle means that the bytes of a body arrived at less than the minimum rate.
	// It is an ErrNetwork.
	ErrTrickle = fmt.Errorf("%w: trickle", ErrNetwork)
	// ErrTLS means that the server could not prove its identity.
	ErrTLS = errors.New("tls")
	// ErrOutdated means that the server may support only outdated versions and ciphers of
	// TLS, which have to be permitted. It is an ErrTLS.
	ErrOutdated = fmt.Errorf("%w: outdated", ErrTLS)
	// ErrDowngrade means that a server redirects from https to http. It is an ErrTLS.
	ErrDowngrade = fmt.Errorf("%w: downgrade", ErrTLS)
	// ErrAuth means that the server, or a proxy, wants other credentials.
	ErrAuth = errors.New("authentication")
	// ErrRefused means that the server responded with an HTTP error.
	ErrRefused = errors.New("refused by the server")
	// ErrThrottled means that the server is busy and asks for a later request, and that
	// the retry budget was used up.
	ErrThrottled = errors.New("the server is busy")
	// ErrProtocol means that the responses of the server contradict HTTP, each other, or
	// the request.
	ErrProtocol = errors.New("protocol")
	// ErrMalformed means that the server did not send HTTP. It is an ErrProtocol.
	ErrMalformed = fmt.Errorf("%w: malformed", ErrProtocol)
	// ErrRedirects means that one redirect followed another without an end. It is an ErrProtocol.
	ErrRedirects = fmt.Errorf("%w: redirects", ErrProtocol)
	// ErrPage means that a web page arrived instead of the file. It is an ErrProtocol.
	ErrPage = fmt.Errorf("%w: web page", ErrProtocol)
	// ErrMediaType means that the file has a media type that the request does not expect. It is
	// an ErrProtocol.
	ErrMediaType = fmt.Errorf("%w: media type", ErrProtocol)
	// ErrTooLarge means that the file is larger than the request allows. It is an
	// ErrProtocol.
	ErrTooLarge = fmt.Errorf("%w: too large", ErrProtocol)
	// ErrPrivate means that a public server or list names a private address. It is an
	// ErrProtocol.
	ErrPrivate = fmt.Errorf("%w: private address", ErrProtocol)
	// ErrScheme means that a server or a list names a URL whose scheme is not allowed. It
	// is an ErrProtocol.
	ErrScheme = fmt.Errorf("%w: scheme", ErrProtocol)
	// ErrChecksum means that the bytes do not have the expected digest or size.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrOtherFile means that each source sent a file with another digest, more than
	// once. It is an ErrChecksum.
	ErrOtherFile = fmt.Errorf("%w from every source", ErrChecksum)
	// ErrServerDigest means that the file does not have the digest that its server names. It is
	// an ErrChecksum.
	ErrServerDigest = fmt.Errorf("%w: the server's own digest", ErrChecksum)
	// ErrChanged means that the remote file has changed, and that the download must not
	// or cannot start over.
	ErrChanged = errors.New("the remote file changed")
	// ErrClaimed means that the target belongs to a download of another URL.
	ErrClaimed = errors.New("belongs to a download of another URL")
	// ErrUsage means that the request itself is wrong, for example its URL.
	ErrUsage = errors.New("bad request")
)

// New returns an error of a kind with this text.
func New(kind error, text string) error { return kindError{errors.New(text), kind} }

// Wrap returns err as an error of a kind. Its text and its other kinds stay.
func Wrap(kind, err error) error { return kindError{err, kind} }

type kindError struct {
	error
	kind error
}

func (e kindError) Unwrap() []error { return []error{e.error, e.kind} }

// Permanent returns err as an error that the same request would meet again. Its text and
// its kinds stay.
func Permanent(err error) error { return permanentError{err} }

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// A MediaTypeError is a response with a media type that the request does not expect. To errors.Is it
// is an ErrMediaType.
type MediaTypeError struct {
	Media string // in lower case and without parameters; "" if the server sends none
	Text  string // of the error
}

func (e *MediaTypeError) Error() string { return e.Text }

// Unwrap returns the kind of the error.
func (e *MediaTypeError) Unwrap() error { return ErrMediaType }

// A StatusError is a response whose status ends an exchange. To errors.Is it is an
// ErrAuth, ErrThrottled, ErrProtocol or ErrRefused.
type StatusError struct {
	Code       int    // HTTP status, for example 404
	Host       string // host and port of the server that responded
	RetryAfter bool   // the response has a valid Retry-After field
	Scheme     string // way to authenticate that a 401 insists on, and that pawl does not support; else ""
	Redirected bool   // a redirect led to the server from another origin, so that it got no credentials
	Wish       int64  // seconds that the field asks to wait, however many; 0 without the field
}

func (e *StatusError) Error() string {
	if e.isPreparing() {
		return fmt.Sprintf("%s is still preparing the file (HTTP status %d)", e.Host, e.Code)
	}
	text := http.StatusText(e.Code)
	if e.Code >= 300 && e.Code < 304 {
		text += " without a URL"
	}
	if text == "" {
		text = "(unknown status)"
	}
	text = fmt.Sprintf("HTTP error %d %s from %s", e.Code, text, e.Host)
	if e.Scheme != "" {
		text += ", which accepts only " + e.Scheme + " authentication; pawl does not support that"
	}
	return text
}

// Is reports whether the status is of a kind.
func (e *StatusError) Is(kind error) bool {
	switch e.Code {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return kind == ErrAuth
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout, http.StatusTooEarly, 420, 430, 529:
		return kind == ErrThrottled
	}
	if e.isPostponed() || e.isPreparing() {
		return kind == ErrThrottled
	}
	if e.Code < 400 { // a redirect without a URL, or a status that must not answer a GET
		return kind == ErrProtocol
	}
	return kind == ErrRefused
}
