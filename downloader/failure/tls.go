package failure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A Handshake describes the TLS handshake of a connection that failed.
type Handshake struct {
	Legacy    bool // we offered outdated versions and ciphers, too
	WantsCert bool // the server asked for a client certificate
	GaveCert  bool // and got one
}

// ErrWantsCert means that the server wants a client certificate. It is permanent, and an ErrTLS.
var ErrWantsCert = Permanent(New(ErrTLS, "the server wants a client certificate"))

// ErrRefusesCert means that the server does not accept the client certificate. It is permanent, and an ErrTLS.
var ErrRefusesCert = Permanent(New(ErrTLS, "the server does not accept the client certificate"))

// ErrNoHTTP means that the server speaks none of the versions of HTTP that the connection offered by
// ALPN (RFC 7301). It is permanent, and an ErrTLS.
var ErrNoHTTP = Permanent(New(ErrTLS, "the server speaks no common version of HTTP over TLS"))

// ErrSpeaksTLS means that the server of an http URL speaks TLS. It is permanent, and an ErrProtocol.
var ErrSpeaksTLS = Permanent(New(ErrProtocol, "the server speaks https, not http, on this port"))

// ErrNotTLS means that the server of an https URL does not speak TLS. It is permanent, and an ErrTLS.
var ErrNotTLS = Permanent(New(ErrTLS, "the server does not speak TLS on this port"))

// errSpeaksHTTP means that the server of an https URL speaks http.
var errSpeaksHTTP = Permanent(Wrap(http.ErrSchemeMismatch, New(ErrTLS, "the server speaks http, not https, on this port")))

// certAlerts are the alerts with which servers refuse a handshake without a client certificate
// (RFC 8446 §6.2). The first is only for that purpose; TLS 1.2 does not have it.
var certAlerts = []string{"certificate required", "handshake failure", "bad certificate", "unknown certificate", "unknown certificate authority", "access denied"}

// refusedCertAlerts are further alerts of servers that do not accept a certificate (RFC 8446 §6.2).
var refusedCertAlerts = []string{"expired certificate", "revoked certificate", "unsupported certificate", "error decrypting message"}

// outdatedAlerts are the alerts of a server that accepts no version, key exchange or cipher of ours.
var outdatedAlerts = []string{"handshake failure", "protocol version not supported", "insufficient security level"}

// outdatedTexts are errors of crypto/tls for a server that insists on a version, cipher or signature
// that we did not offer. crypto/tls has no error values for them (Go 1.26).
var outdatedTexts = []string{"server selected unsupported protocol version", "server chose an unconfigured cipher suite", "invalid signature algorithm", "no renegotiation"}

// ExplainTLS is Explain for an error of crypto/tls. It leaves other errors, errors of certificates,
// and errors of the way to a proxy as they are.
func ExplainTLS(err error, h Handshake) error {
	var header tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var op *net.OpError
	isOp := errors.As(err, &op)
	switch {
	case isOp && op.Op == "proxyconnect", errors.As(err, &verify):
		return err
	case errors.As(err, &header) && string(header.RecordHeader[:]) == "HTTP/":
		return errSpeaksHTTP
	case errors.As(err, &header):
		return ErrNotTLS
	case isOp && op.Op == "remote error":
		return explainAlert(strings.TrimPrefix(op.Err.Error(), "tls: "), h)
	}
	_, text, isLocal := strings.Cut(err.Error(), "tls: ")
	switch {
	case !isLocal || isOp && op.Op != "local error":
		return err
	case slices.ContainsFunc(outdatedTexts, func(s string) bool { return strings.Contains(text, s) }):
		return outdated(text, h)
	case isOp: // damaged records, which another connection need not have
		return err
	}
	return Permanent(New(ErrTLS, "the TLS handshake failed: "+text))
}

// explainAlert returns the error for an alert of the server, for example "handshake failure".
func explainAlert(alert string, h Handshake) error {
	switch {
	case h.GaveCert && (slices.Contains(certAlerts, alert) || slices.Contains(refusedCertAlerts, alert)):
		return fmt.Errorf("%w (TLS alert: %s)", ErrRefusesCert, alert)
	case alert == certAlerts[0], h.WantsCert && slices.Contains(certAlerts, alert):
		return ErrWantsCert
	case slices.Contains(outdatedAlerts, alert):
		return outdated(alert, h)
	case alert == "no application protocol":
		return ErrNoHTTP
	case alert == "unrecognized name":
		return Permanent(New(ErrTLS, "the server does not know this host name (TLS alert: unrecognized name)"))
	}
	return Permanent(New(ErrTLS, fmt.Sprintf("the server ended the TLS connection: %s", alert)))
}

// outdated returns the error for a server with which we have nothing in common.
func outdated(why string, h Handshake) error {
	err := fmt.Errorf("no TLS version, key exchange, cipher or signature in common with the server (%s)", why)
	if h.Legacy {
		return Permanent(Wrap(ErrTLS, err))
	}
	return Permanent(Wrap(ErrOutdated, err))
}
