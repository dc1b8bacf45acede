package main

// This file has the options with which commands find the queue of a fleet.

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"pawl/downloader/failure"
	"pawl/downloader/fleet"
)

// QueueOptions name the queue of a fleet, and how to connect to it. Credentials come from files only,
// because others can see the URL in ps, and pawl shows it in messages.
type QueueOptions struct {
	Queue         queueServers `placeholder:"URL" group:"Fleet" help:"The queue of a fleet: a NATS server such as tls://queue.example.org, or several ones of a cluster, separated by commas; see pawl help fleet."`
	QueueCA       string       `name:"queue-ca" placeholder:"FILE" type:"path" group:"Fleet" help:"Trust the certificates in FILE for the queue, in place of the system's."`
	QueueCert     secretFile   `placeholder:"FILE" group:"Fleet" help:"Client certificate for the queue in PEM form."`
	QueueKey      secretFile   `placeholder:"FILE" group:"Fleet" help:"Private key of --queue-cert in PEM form (default: in the same file)."`
	QueueCreds    secretFile   `placeholder:"FILE" group:"Fleet" help:"Log in to the queue with FILE: a JWT and the seed of its nkey, or the seed alone."`
	QueueInsecure bool         `group:"Fleet" help:"Also accept nats:// in --queue, without encryption, for other machines than this one."`
	QueueReplicas int          `default:"1" placeholder:"N" group:"Fleet" help:"Of a queue that is made: how many servers of the cluster keep it, an odd number (default: ${default})."`
}

// QueueSecretOptions are the options of the commands that seal and open secrets of entries.
type QueueSecretOptions struct {
	QueueKeyFile secretFile `placeholder:"FILE" group:"Fleet" help:"Seal the header fields and passwords of entries in the queue with the key in FILE, 64 hex digits, which the submitter and the workers share. Without it, an entry that has any is an error."`
}

// check refuses impossible options.
func (o QueueOptions) check() error {
	if o.QueueReplicas < 1 || o.QueueReplicas > 5 || o.QueueReplicas%2 == 0 {
		return errors.New("--queue-replicas must be 1, 3 or 5")
	}
	if o.QueueKey != "" && o.QueueCert == "" {
		return errors.New("--queue-key needs the certificate in --queue-cert FILE")
	}
	return o.checkEncrypted()
}

// checkEncrypted refuses a server to which credentials and URLs would be sent in clear text.
func (o QueueOptions) checkEncrypted() error {
	for _, s := range o.Queue.urls {
		u, err := url.Parse(s)
		if err != nil {
			return err // queueServers has parsed it before
		}
		if ip := net.ParseIP(u.Hostname()); u.Scheme != "tls" && !o.QueueInsecure && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("--queue: %q is not encrypted; use tls://%s, or allow it with --queue-insecure", s, u.Host)
		}
	}
	return nil
}

// isGiven reports whether there is a queue.
func (o QueueOptions) isGiven() bool { return len(o.Queue.urls) > 0 }

// nats returns the options of the connection. It warns of files that other users can read.
func (o QueueOptions) nats(out *printer) (fleet.NATSOptions, error) {
	if !o.isGiven() {
		return fleet.NATSOptions{}, &settingError{"--queue", "is missing", "name the queue of the fleet, such as --queue tls://queue.example.org, or in PAWL_QUEUE; see: pawl help fleet"}
	}
	if err := o.check(); err != nil {
		return fleet.NATSOptions{}, usageErr{err}
	}
	if o.QueueCA != "" {
		if _, err := os.ReadFile(o.QueueCA); err != nil {
			return fleet.NATSOptions{}, usageErr{fmt.Errorf("--queue-ca: %w", err)}
		}
	}
	for option, path := range map[string]secretFile{"--queue-creds": o.QueueCreds, "--queue-key": cmp.Or(o.QueueKey, o.QueueCert)} {
		if path == "" {
			continue
		}
		if _, err := readSecret(option, path, out); err != nil {
			return fleet.NATSOptions{}, err
		}
	}
	return fleet.NATSOptions{
		URLs: o.Queue.urls, Insecure: o.QueueInsecure, Name: "pawl " + version(), Replicas: o.QueueReplicas,
		CA: o.QueueCA, Cert: string(o.QueueCert), Key: string(cmp.Or(o.QueueKey, o.QueueCert)), Creds: string(o.QueueCreds),
	}, nil
}

// connect connects to the queue. The broker must be closed.
func (o QueueOptions) connect(ctx context.Context, out *printer) (fleet.Broker, error) {
	options, err := o.nats(out)
	if err != nil {
		return nil, err
	}
	return connectQueue(ctx, options)
}

// connectQueue connects to a queue.
func connectQueue(ctx context.Context, options fleet.NATSOptions) (fleet.Broker, error) {
	b, err := fleet.ConnectNATS(ctx, options)
	if err != nil {
		return nil, queueError{err}
	}
	return b, nil
}

// A queueError is a failure of the queue of a fleet, and not of a download.
type queueError struct{ error }

func (e queueError) Unwrap() error { return e.error }

// hint returns the hint for the error.
func (e queueError) hint() string {
	switch {
	case errors.Is(e, failure.ErrTLS):
		return "trust the authority of its certificate with --queue-ca FILE, and name the server as its certificate does"
	case errors.Is(e, failure.ErrAuth):
		return "give the credentials of a user who may do this, with --queue-creds FILE; for the three roles see: pawl help fleet"
	case errors.Is(e, failure.ErrNetwork):
		return "check --queue, and whether the server runs; then run the same command again"
	}
	return "check the server with: pawl queue check --queue URL"
}

// queueKeySize is the size of a key for AES-256, in bytes.
const queueKeySize = 32

// queueKey returns the key of --queue-key-file, nil without one. An error must not contain the text of the file.
func (o QueueSecretOptions) queueKey(out *printer) ([]byte, error) {
	if o.QueueKeyFile == "" {
		return nil, nil
	}
	text, err := readSecret("--queue-key-file", o.QueueKeyFile, out)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != queueKeySize {
		return nil, &settingError{"--queue-key-file", fmt.Sprintf("%q does not contain 64 hex digits", string(o.QueueKeyFile)), "make one with: openssl rand -hex 32"}
	}
	return key, nil
}

// queueServers is the argument of --queue: URLs of servers, separated by commas. A server without a scheme has
// the scheme of the server before it, and tls:// if it is the first.
type queueServers struct{ urls []string }

// natsPort is the port of NATS servers.
const natsPort = "4222"

// UnmarshalText accepts for example "tls://a.example.org:4222,b.example.org". An error must not contain a password.
func (q *queueServers) UnmarshalText(text []byte) error {
	q.urls = nil
	if len(text) == 0 {
		return nil
	}
	scheme := "tls"
	for server := range strings.SplitSeq(string(text), ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = scheme + "://" + server
		}
		u, err := parseQueueURL(server)
		if err != nil {
			return err
		}
		scheme = u.Scheme
		q.urls = append(q.urls, u.String())
	}
	return nil
}

// parseQueueURL parses the URL of one server, and adds the default port.
func parseQueueURL(server string) (*url.URL, error) {
	if strings.Contains(server, "@") {
		return nil, errors.New("the URL has a user, a password or a token in it, which others can see in ps; put the login into a file, and name it with --queue-creds FILE")
	}
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Hostname() == "" || !slices.Contains([]string{"", "/"}, u.Path) || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is not the URL of a server such as tls://queue.example.org:4222", server)
	case u.Scheme != "tls" && u.Scheme != "nats":
		return nil, fmt.Errorf("%q must begin with tls://", server)
	case u.Port() == "":
		u.Host = net.JoinHostPort(u.Hostname(), natsPort)
	}
	u.Path = ""
	return u, nil
}

// String returns the URLs as UnmarshalText reads them.
func (q queueServers) String() string { return strings.Join(q.urls, ",") }
