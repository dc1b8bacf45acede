package failure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
)

// TestExplainTLS: alerts and errors of crypto/tls have the kinds that hints are for.
func TestExplainTLS(t *testing.T) {
	alert := func(op, text string) error { return &net.OpError{Op: op, Err: errors.New("tls: " + text)} }
	none, asked, legacy, given := Handshake{}, Handshake{WantsCert: true}, Handshake{Legacy: true}, Handshake{WantsCert: true, GaveCert: true}
	for _, tt := range []struct {
		err  error
		h    Handshake
		is   error // nil if the error stays as it is
		text string
	}{
		{alert("remote error", "handshake failure"), none, ErrOutdated, ""},
		{alert("remote error", "protocol version not supported"), asked, ErrOutdated, ""},
		{alert("remote error", "handshake failure"), legacy, ErrTLS, "no TLS version, key exchange, cipher or signature in common with the server (handshake failure)"},
		{alert("remote error", "handshake failure"), asked, ErrWantsCert, ""},
		{alert("remote error", "bad certificate"), asked, ErrWantsCert, ""},
		{alert("remote error", "bad certificate"), none, ErrTLS, "the server ended the TLS connection: bad certificate"},
		{alert("remote error", "certificate required"), none, ErrWantsCert, ""},
		{alert("remote error", "bad certificate"), given, ErrRefusesCert, "the server does not accept the client certificate (TLS alert: bad certificate)"},
		{alert("remote error", "expired certificate"), given, ErrRefusesCert, ""},
		{alert("remote error", "protocol version not supported"), given, ErrOutdated, ""},
		{alert("remote error", "no application protocol"), none, ErrNoHTTP, ""},
		{alert("remote error", "unrecognized name"), none, ErrTLS, "the server does not know this host name (TLS alert: unrecognized name)"},
		{alert("local error", "bad record MAC"), none, nil, ""},
		{alert("local error", "no renegotiation"), none, ErrOutdated, ""},
		{errors.New("tls: server selected unsupported protocol version 301"), none, ErrOutdated, ""},
		{errors.New("tls: server chose an unconfigured cipher suite"), legacy, ErrTLS, ""},
		{errors.New("tls: server's Finished message was incorrect"), none, ErrTLS, "the TLS handshake failed: server's Finished message was incorrect"},
		{tls.RecordHeaderError{Msg: "x", RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}, none, http.ErrSchemeMismatch, ""},
		{tls.RecordHeaderError{Msg: "x", RecordHeader: [5]byte{'S', 'S', 'H', '-', '2'}}, none, ErrNotTLS, ""},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, asked, nil, ""},
		{&net.OpError{Op: "proxyconnect", Err: tls.RecordHeaderError{}}, none, nil, ""},
		{&net.OpError{Op: "dial", Err: errScripted}, none, nil, ""},
		{errScripted, none, nil, ""},
	} {
		got := ExplainTLS(tt.err, tt.h)
		switch {
		case tt.is == nil && got != tt.err:
			t.Errorf("%v becomes %v", tt.err, got)
		case tt.is != nil && (!errors.Is(got, tt.is) || !errors.Is(got, ErrTLS) || !IsPermanent(got) || Explain(got) != got):
			t.Errorf("%v: got %v, permanent %v, want %v", tt.err, got, IsPermanent(got), tt.is)
		case tt.h.Legacy && errors.Is(got, ErrOutdated):
			t.Errorf("%v: got %v although everything was offered", tt.err, got)
		case tt.text != "" && got.Error() != tt.text:
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.text)
		}
	}
}

// TestExplainProxy: failures of a proxy are of its kinds, and others stay as they are.
func TestExplainProxy(t *testing.T) {
	socks := func(text string) error {
		return fmt.Errorf("get: %w", &net.OpError{Op: "socks connect", Err: errors.New(text)})
	}
	dial := &net.OpError{Op: "dial", Addr: &net.TCPAddr{Port: 1}, Err: errScripted}
	for _, tt := range []struct {
		err       error
		given     bool
		kind      error
		permanent bool
		text      string
	}{
		{socks("no acceptable authentication methods"), false, ErrAuth, true, "the proxy p:1 wants a user and a password"},
		{socks("username/password authentication failed"), true, ErrAuth, true, "the proxy p:1 does not accept the user and the password"},
		{socks("unknown error connection not allowed by ruleset"), false, ErrRefused, true, "the proxy p:1 refused: connection not allowed by ruleset"},
		{socks("unknown error general SOCKS server failure"), false, ErrNetwork, false, "the proxy p:1 refused: general SOCKS server failure"},
		{socks("unexpected protocol version 72"), false, ErrProtocol, true, "the proxy p:1 does not speak SOCKS5"},
		{socks("EOF"), false, ErrNetwork, false, "the proxy p:1 did not connect: get: EOF"},
		{&net.OpError{Op: "proxyconnect", Err: dial}, false, ErrNetwork, false, "the proxy p:1 cannot be used: cannot connect to :1: a scripted error"},
		{RefusedTunnel("p:1", 403), false, ErrRefused, true, "the proxy p:1 refused: 403 Forbidden"},
		{RefusedTunnel("p:1", 503), false, ErrNetwork, false, "the proxy p:1 refused: 503 Service Unavailable"},
		{RefusedTunnel("p:1", 998), false, ErrRefused, true, "the proxy p:1 refused: 998"},
		{WantsUser("p:1", true, []string{"NTLM", "Negotiate"}), true, ErrAuth, true, "the proxy p:1 accepts only Negotiate authentication, which pawl does not support"},
		{WantsUser("p:1", true, []string{"Negotiate", `basic realm="x"`}), true, ErrAuth, true, "the proxy p:1 does not accept the user and the password"},
	} {
		got := ExplainProxy(tt.err, "p:1", tt.given)
		checkKind(t, tt.text, got, tt.kind, tt.permanent)
		if got.Error() != tt.text && tt.text != "the proxy p:1 did not connect: get: EOF" || !errors.As(got, new(*ProxyError)) || Explain(got) != got {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.text)
		}
	}
	if got := ExplainProxy(errScripted, "p:1", false); got != errScripted {
		t.Errorf("got %v for an error of the server", got)
	}
}
