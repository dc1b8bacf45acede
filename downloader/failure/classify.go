package failure

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"syscall"
)

// IsPermanent reports whether the same request would fail again in the same way, so that
// it must not be repeated.
func IsPermanent(err error) bool {
	var permanent permanentError
	var status *StatusError
	return errors.As(err, &permanent) || errors.As(err, &status) && !status.retryable()
}

// retryable reports whether a later request may succeed: the server says so, or the status does.
// Beside the statuses of RFC 9110, servers use 420, 430 and 529 for too many requests, 509 for used-up
// bandwidth, 507 and 508 for used-up disks and processes, 520 to 530 if a content delivery network
// cannot reach its origin, 561 if a load balancer cannot reach its identity provider, 598 and 599 for
// a timeout behind them, and 999 for requests that look like requests of a robot.
func (e *StatusError) retryable() bool {
	return e.isPostponed() || e.isPreparing() || slices.Contains([]int{408, 420, 421, 423, 425, 429, 430, 500, 502, 503, 504, 507, 508, 509, 561, 598, 599, 999}, e.Code) || e.Code >= 520 && e.Code <= 530
}

// isPostponed reports whether an error asks for a later request by Retry-After, for example a 403
// of a firewall that counts requests. A file that is not there, or credentials that are wrong, do
// not get better with time.
func (e *StatusError) isPostponed() bool {
	return e.RetryAfter && e.Code >= 400 && !slices.Contains([]int{401, 404, 407, 410}, e.Code)
}

// MayBeLimit reports whether a host may refuse one of several connections with err because
// it grants no more of them.
func MayBeLimit(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return errors.Is(err, ErrThrottled) || status.Code == http.StatusForbidden
	}
	return errors.Is(err, ErrNetwork) && !IsUnknownHost(err)
}

// OfConnection reports whether err, which may be permanent, is about the connection, so that others
// may go on: another machine behind the name has a certificate that works, or the proxy grants no
// further connection.
func OfConnection(err error) bool {
	var proxy *ProxyError
	return errors.Is(err, ErrTLS) || errors.As(err, &proxy)
}

// TryOtherSource reports whether err is about the source that was asked, so that another
// source may have the file.
func TryOtherSource(err error) bool {
	if errors.Is(err, ErrTooLarge) {
		return false
	}
	return slices.ContainsFunc([]error{ErrNetwork, ErrTLS, ErrAuth, ErrRefused, ErrThrottled, ErrProtocol}, func(kind error) bool { return errors.Is(err, kind) })
}

// MayBeExpired reports whether err is a status with which servers refuse a signed link that
// has expired, while the URL that redirected to it still works.
func MayBeExpired(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && slices.Contains([]int{401, 403, 404, 410}, status.Code) && !status.isPostponed()
}

// IsRefusal reports whether err is a status with which a server refuses a request for good, so that
// only another request may succeed.
func IsRefusal(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code != http.StatusProxyAuthRequired && IsPermanent(err)
}

// IsGone reports whether the server says for good that the file is not there.
func IsGone(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusGone)
}

// MayBeBan reports whether err is a status with which servers refuse everything from clients that
// had too many connections, for a while.
func MayBeBan(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && slices.Contains([]int{403, 404, 410}, status.Code)
}

// MayRefuseRange reports whether err is a status with which servers refuse a request for its
// Range field, so that the same request without the field may succeed.
func MayRefuseRange(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && slices.Contains([]int{400, 403, 404, 405, 406, 412, 500, 501}, status.Code) && !status.isPostponed()
}

// MayRefuseCondition reports whether err is a status with which servers and firewalls refuse a
// request for its If-None-Match or If-Modified-Since field.
func MayRefuseCondition(err error) bool {
	var status *StatusError
	return MayRefuseRange(err) && errors.As(err, &status) && status.Code != http.StatusNotFound
}

// IsPreparing reports whether err says that the server is still making the file, for example an
// archive, and asks for another request later (RFC 9110 §15.3.3).
func IsPreparing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.isPreparing()
}

// isPreparing is IsPreparing. Instead of a 202, some servers send no body, or redirect to the same
// URL, with Retry-After.
func (e *StatusError) isPreparing() bool {
	switch e.Code {
	case http.StatusAccepted:
		return true
	case http.StatusNoContent, http.StatusResetContent, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return e.RetryAfter
	}
	return false
}

// IsBrokenOff reports whether the server closed the connection in the middle of a response
// or instead of one.
func IsBrokenOff(err error) bool {
	return errors.Is(err, errBrokenOff) || errors.Is(err, syscall.ECONNRESET)
}

// IsUnknownHost reports whether err says that a host name has no address.
func IsUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

const (
	// maxHopelessTries limits the tries for failures that rarely go away: a name without an
	// address, a server that does not send HTTP, a body that is cut each time. A guess; one
	// try would give up when a single response was damaged, six would double a useless wait.
	maxHopelessTries = 3
	// maxPageTries limits the tries while a web page arrives instead of the file, as during
	// maintenance. A guess; with the default waits, five tries take half a minute, and ten
	// would ask a login page for a quarter of an hour.
	maxPageTries = 5
)

// MaxTries returns how many consecutive failures end a download whose last failure is err,
// if tries are allowed for others. 0 means no limit, for tries and for the result.
func MaxTries(err error, tries int) int {
	switch {
	case tries == 0:
	case IsUnknownHost(err), errors.Is(err, ErrMalformed), errors.Is(err, ErrCut):
		return min(tries, maxHopelessTries)
	case errors.Is(err, ErrPage):
		return min(tries, maxPageTries)
	}
	return tries
}
