package failure

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A ProxyError is a failure of a proxy, and not of the server behind it.
type ProxyError struct {
	Host string // host and port of the proxy
	text string // follows "the proxy HOST "
	kind error
}

func (e *ProxyError) Error() string { return "the proxy " + e.Host + " " + e.text }

func (e *ProxyError) Unwrap() error { return e.kind }

// WantsUser returns the permanent error for a proxy that refuses a request for want of a user and
// password (status 407, or the replies of RFC 1928 and RFC 1929). given means that the request had
// some. challenges are the values of Proxy-Authenticate.
func WantsUser(proxy string, given bool, challenges []string) error {
	text := "wants a user and a password"
	if scheme := unknownScheme(challenges); scheme != "" {
		text = fmt.Sprintf("accepts only %s authentication, which pawl does not support", scheme)
	} else if given {
		text = "does not accept the user and the password"
	}
	return Permanent(&ProxyError{proxy, text, ErrAuth})
}

// unknownScheme returns the authentication scheme of challenges if none of them is Basic, and one
// of them is known to need more than a user and a password in each request.
func unknownScheme(challenges []string) (found string) {
	for _, c := range challenges {
		for _, scheme := range []string{"Digest", "NTLM", "Kerberos", "Negotiate"} {
			if len(c) >= len(scheme) && strings.EqualFold(c[:len(scheme)], scheme) {
				found = scheme
			}
		}
		if len(c) >= 5 && strings.EqualFold(c[:5], "Basic") {
			return ""
		}
	}
	return found
}

// RefusedTunnel returns the error for a proxy that answers CONNECT with a status other than 200
// and 407. It is an ErrNetwork if the proxy may connect later, else a permanent ErrRefused.
func RefusedTunnel(proxy string, code int) error {
	e := &ProxyError{proxy, strings.TrimSpace(fmt.Sprintf("refused: %d %s", code, http.StatusText(code))), ErrNetwork}
	if (&StatusError{Code: code}).retryable() {
		return e
	}
	e.kind = ErrRefused
	return Permanent(e)
}

// ExplainProxy is Explain for an error of a request through a proxy. given means that the request
// had a user and a password for the proxy. The error is a ProxyError if the proxy has failed, and
// no connection to the server.
func ExplainProxy(err error, proxy string, given bool) error {
	var op *net.OpError
	switch {
	case !errors.As(err, &op):
	case op.Op == "socks connect": // RFC 1928, by net/http
		return explainSOCKS(op.Err, proxy, given)
	case op.Op == "proxyconnect": // the way to the proxy itself
		inner := Explain(op.Err)
		e := &ProxyError{proxy, "cannot be used: " + inner.Error(), inner}
		if IsPermanent(inner) {
			return Permanent(e)
		}
		return e
	}
	return err
}

// socksReplies are net/http's words for the replies of a SOCKS proxy after which the same
// connection will never succeed (RFC 1928 §6).
var socksReplies = []string{"connection not allowed by ruleset", "command not supported", "address type not supported"}

// explainSOCKS returns the error for a SOCKS proxy that did not connect to the server. net/http
// has no error values for its replies.
func explainSOCKS(err error, proxy string, given bool) error {
	text := err.Error()
	reply, refused := strings.CutPrefix(text, "unknown error ")
	switch {
	case text == "no acceptable authentication methods", strings.Contains(text, "username/password"):
		return WantsUser(proxy, given, nil)
	case strings.HasPrefix(text, "unexpected protocol version"), strings.HasPrefix(text, "unknown address type"):
		return Permanent(&ProxyError{proxy, "does not speak SOCKS5", ErrProtocol})
	case refused && slices.Contains(socksReplies, reply):
		return Permanent(&ProxyError{proxy, "refused: " + reply, ErrRefused})
	case refused:
		return &ProxyError{proxy, "refused: " + reply, ErrNetwork}
	}
	return &ProxyError{proxy, "did not connect: " + Explain(err).Error(), ErrNetwork}
}
