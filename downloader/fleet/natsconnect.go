package fleet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"pawl/downloader/failure"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// This file connects to NATS servers, and verifies that they can be used.

// oldestNATS is the first version with markers for expired keys (ADR-43).
const oldestNATS = "2.11"

// options returns the options of the connection.
func (b *natsBroker) options() ([]nats.Option, error) {
	all := []nats.Option{
		nats.Name(cmp.Or(b.o.Name, "pawl")),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.ReconnectBufSize(-1), // requests fail at once and are sent again here, none twice
		nats.Timeout(attempt),
		nats.PingInterval(10 * time.Second), // a dead server is noticed before sessions end
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.onRefused(err) }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { b.abort(nats.ErrDisconnected, "") }),
	}
	secure, err := b.checkURLs()
	if err != nil {
		return nil, err
	}
	config, err := b.tlsConfig()
	if err != nil {
		return nil, err
	}
	// If one server needs TLS, all need it, including the servers that the cluster adds.
	if secure || b.o.CA != "" || b.o.Cert != "" {
		all = append(all, nats.Secure(config))
	}
	if b.o.Creds != "" {
		creds, err := credentialsOption(b.o.Creds)
		if err != nil {
			return nil, err
		}
		all = append(all, creds)
	}
	return all, nil
}

// checkURLs returns an error if a URL is unsafe, and whether TLS is required.
func (b *natsBroker) checkURLs() (secure bool, err error) {
	if len(b.o.URLs) == 0 {
		return false, errors.New("no URL of a queue")
	}
	for _, s := range b.o.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return false, fmt.Errorf("the URL of the queue must be like tls://host:4222")
		}
		switch {
		case u.User != nil:
			return false, fmt.Errorf("the URL of the queue %q must not contain credentials; put them into a file", u.Redacted())
		case u.Scheme == "tls":
			secure = true
		case u.Scheme != "nats":
			return false, fmt.Errorf("the URL of the queue %q must begin with tls://", s)
		case !b.o.Insecure && !loopback(u.Hostname()):
			return false, fmt.Errorf("the URL of the queue %q must begin with tls://, because nats:// is not encrypted", s)
		}
	}
	return secure, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (b *natsBroker) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if b.o.CA != "" {
		pem, err := os.ReadFile(b.o.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%q contains no certificate", b.o.CA)
		}
	}
	if (b.o.Cert == "") != (b.o.Key == "") {
		return nil, errors.New("a client certificate for the queue needs a certificate file and a key file")
	}
	if b.o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(b.o.Cert, b.o.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate for the queue: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// credentialsOption reads a file of credentials: a JWT with its seed, or a seed alone, for servers
// that list the public keys of users.
func credentialsOption(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		return nats.UserCredentials(file), nil
	}
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil { // its text could contain the seed
		return nil, fmt.Errorf("%q contains neither NATS credentials nor an nkey seed", file)
	}
	return option, nil
}

// connect connects until ctx ends.
func (b *natsBroker) connect(ctx context.Context, options []nats.Option) error {
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() { // nats.Connect knows no context, but ends by its timeout
		nc, err := nats.Connect(strings.Join(b.o.URLs, ","), options...)
		done <- result{nc, err}
	}()
	var r result
	select {
	case <-ctx.Done():
		go func() {
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return ctx.Err()
	case r = <-done:
	}
	if r.err != nil {
		return connectError(r.err, strings.Join(b.o.URLs, ", "))
	}
	b.nc = r.nc
	b.js, r.err = jetstream.New(b.nc)
	return r.err
}

// connectError says why there is no connection to servers, and is of one of the kinds of package failure.
func connectError(err error, servers string) error {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return kindError{fmt.Errorf("no NATS server answers at %s: %w", servers, err), failure.ErrNetwork}
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return kindError{fmt.Errorf("the NATS server at %s refuses the credentials: %w", servers, err), failure.ErrAuth}
	case errors.Is(err, nats.ErrSecureConnWanted):
		return kindError{fmt.Errorf("the NATS server at %s has no TLS: %w", servers, err), failure.ErrTLS}
	case errors.As(err, &certificate):
		return kindError{fmt.Errorf("the NATS server at %s does not prove its identity: %w", servers, err), failure.ErrTLS}
	}
	return kindError{fmt.Errorf("the NATS server at %s: %w", servers, err), failure.ErrNetwork}
}

// A kindError is an error that is also of another kind.
type kindError struct {
	error
	kind error
}

func (e kindError) Unwrap() []error { return []error{e.error, e.kind} }

// verify returns an error if the server cannot be used.
func (b *natsBroker) verify(ctx context.Context) error {
	if v := b.nc.ConnectedServerVersion(); older(v, oldestNATS) {
		return fmt.Errorf("the NATS server has version %s, and pawl needs %s or newer", v, oldestNATS)
	}
	if !b.nc.HeadersSupported() {
		return errors.New("the NATS server does not support headers")
	}
	return b.do(ctx, []string{"$JS.API.INFO"}, func(ctx context.Context) error {
		_, err := b.js.AccountInfo(ctx)
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return errNoJetStream
		}
		return err
	})
}

var errNoJetStream = errors.New("the NATS server has no JetStream, or not for this account; add \"jetstream { }\" to its configuration")

// older reports whether version v is older than the version than, as far as both have the same parts.
// Versions that are not numbers are never older.
func older(v, than string) bool {
	a, b := strings.Split(v, "."), strings.Split(than, ".")
	for i := range min(len(a), len(b)) {
		x, err := strconv.Atoi(a[i])
		y, err2 := strconv.Atoi(b[i])
		if err != nil || err2 != nil || x > y {
			return false
		}
		if x < y {
			return true
		}
	}
	return false
}
