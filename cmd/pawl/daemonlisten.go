package main

// This file opens the sockets of the daemon.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// defaultListen is the address of the daemon without --listen: the port that every client of aria2 tries first.
const defaultListen = "127.0.0.1:6800"

// isWebOrigin reports whether a text is an origin of web pages, as browsers send it (RFC 6454 §6.1).
func isWebOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme != "" && u.Host != "" && u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
}

// checkListenAddress returns an error if a text is neither HOST:PORT nor unix:PATH.
func checkListenAddress(addr string) error {
	if path, isUnix := strings.CutPrefix(addr, "unix:"); isUnix {
		if path == "" {
			return errors.New("--listen: unix: needs a path, such as unix:/run/pawl.sock")
		}
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port != "0" && !isPort(port) {
		return fmt.Errorf("--listen: %q is neither HOST:PORT, such as 127.0.0.1:6800, nor unix:PATH", addr)
	}
	return nil
}

// listen opens the sockets, or takes the ones that systemd passes (LISTEN_FDS). config is nil without TLS.
func (c *DaemonCmd) listen() (listeners []net.Listener, config *tls.Config, err error) {
	if config, err = c.tlsConfig(); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	given, err := activation.Listeners()
	if err != nil {
		return nil, nil, fmt.Errorf("sockets of systemd: %w", err)
	}
	for _, l := range given {
		if l == nil {
			return given, nil, errors.New("systemd has passed a socket that is not a stream")
		}
		listeners = append(listeners, l)
		if err := c.checkReach(l.Addr().String(), l.Addr()); err != nil {
			return listeners, nil, err
		}
	}
	if len(listeners) > 0 {
		return listeners, config, nil
	}
	addrs := c.Listen
	if len(addrs) == 0 {
		addrs = []string{defaultListen}
	}
	for _, addr := range addrs {
		l, err := c.listenAt(addr)
		if err != nil {
			return listeners, nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, config, nil
}

// tlsConfig returns the configuration of https, nil for http.
func (c *DaemonCmd) tlsConfig() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	key := c.TLSKey
	if key == "" {
		key = c.TLSCert
	}
	pair, err := tls.LoadX509KeyPair(string(c.TLSCert), string(key))
	if err != nil {
		return nil, &settingError{"--tls-cert", "cannot be used: " + strings.TrimPrefix(err.Error(), "tls: "), "give a certificate in PEM form, and its key with --tls-key FILE"}
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// listenAt opens one socket.
func (c *DaemonCmd) listenAt(addr string) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(addr, "unix:"); isUnix {
		return listenUnix(path)
	}
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, usageErr{fmt.Errorf("--listen: %w", err)}
	}
	if err := c.checkReach(addr, at); err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp", at)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &settingError{"--listen", fmt.Sprintf("cannot be used: another program listens at %s", at), "is it aria2, or another daemon of pawl? stop it, or use another port with --listen 127.0.0.1:PORT"}
	case err != nil:
		return nil, &settingError{"--listen", "cannot be used: " + err.Error(), "use another address, such as --listen " + defaultListen}
	}
	return l, nil
}

// checkReach returns an error if other machines could reach the address and read the secret and the headers
// of downloads on their way.
func (c *DaemonCmd) checkReach(text string, at net.Addr) error {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || c.TLSCert != "" || tcp.IP.IsLoopback() {
		return nil
	}
	return &settingError{"--listen", fmt.Sprintf("cannot be used: other machines can reach %q, and without TLS, the secret of the daemon can be read on its way", text),
		"give a certificate with --tls-cert FILE and --tls-key FILE, or listen at " + defaultListen + " and let a reverse proxy or ssh -L 6800:127.0.0.1:6800 lead there"}
}

// listenUnix opens a Unix socket that only the user can access. It replaces the socket of a daemon that was
// killed.
func listenUnix(path string) (net.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			return nil, &settingError{"--listen", fmt.Sprintf("cannot be used: another program listens at %q", path), "stop it, or use another path"}
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(path)
		}
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		if err = os.Chmod(path, 0o600); err != nil {
			l.Close()
		}
	}
	if err != nil {
		return nil, &settingError{"--listen", "cannot be used: " + err.Error(), "use another path for the socket"}
	}
	return l, nil
}
