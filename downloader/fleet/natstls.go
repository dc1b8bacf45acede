package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// This file checks the URLs, the files for TLS, and the version of a NATS server, without the library of NATS.

// checkURLs returns an error if a URL is unsafe, and whether TLS is required.
func (o NATSOptions) checkURLs() (secure bool, err error) {
	if len(o.URLs) == 0 {
		return false, errors.New("no URL of a queue")
	}
	for _, s := range o.URLs {
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
		case !o.Insecure && !loopback(u.Hostname()):
			return false, fmt.Errorf("the URL of the queue %q must begin with tls://, because nats:// is not encrypted", s)
		}
	}
	return secure, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tlsConfig returns the TLS configuration for CA, Cert and Key.
func (o NATSOptions) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%q contains no certificate", o.CA)
		}
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("a client certificate for the queue needs a certificate file and a key file")
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate for the queue: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

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
