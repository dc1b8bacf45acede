package main

// This file is about the header fields that -H gives.

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// A header is the argument of one -H: a header field, or @FILE.
type header struct {
	fields  []headerField
	exposed string // FILE, if other users of the machine may read it
}

// A headerField is a header field for the origins that the user typed, or for one host.
type headerField struct {
	host        string // in lower case, with a port or without; "" for all
	name, value string
}

// UnmarshalText accepts "N: V", "HOST=N: V", "HOST:PORT=N: V" and "@FILE". An error must not
// contain the value, because it may be a secret.
func (h *header) UnmarshalText(text []byte) error {
	if path, ok := strings.CutPrefix(string(text), "@"); ok {
		return h.readFile(path)
	}
	f, err := parseField(string(text))
	h.fields = []headerField{f}
	return err
}

// read takes the fields of a file, one a line. Empty lines, and lines that begin with #,
// are skipped.
func (h *header) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode()&0o077 != 0 && runtime.GOOS != "windows" {
		h.exposed = path
	}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20) // a cookie may be longer than the 64 KiB of a Scanner
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		field, err := parseField(line)
		if err != nil {
			return fmt.Errorf("%q line %d: %w", path, n, err)
		}
		h.fields = append(h.fields, field)
	}
	return in.Err()
}

// forHost matches a field for one host. After "N:" a value of the form "80=N: V" would look
// the same as a port, but for the blank that is usual there.
var hostFieldPattern = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\](?::\d+)?|[^\s=:@/\[\]]+(?::\d+)?)=([^=:\s]+:.*)$`)

// parseField parses "N: V" or "HOST=N: V".
func parseField(text string) (f headerField, err error) {
	if m := hostFieldPattern.FindStringSubmatch(text); m != nil {
		f.host, text = strings.ToLower(m[1]), m[2]
	}
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsFunc(name, notToken) || strings.ContainsAny(value, "\r\n\x00") {
		return f, errors.New("header is not of the form 'Name: value' or 'HOST=Name: value'")
	}
	f.name, f.value = name, strings.TrimSpace(value)
	return f, nil
}

// isFor reports whether the field is for the host of an origin, for example
// "https://example.com:443". Without a port it is for all ports of the host.
func (f headerField) matchesOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || f.host == "" {
		return false
	}
	return f.host == u.Host || strings.Trim(f.host, "[]") == u.Hostname() ||
		u.Port() != "" && f.host == net.JoinHostPort(u.Hostname(), u.Port())
}

// secretWords are parts of the names of header fields whose values may be secrets, such as
// Authorization, X-Api-Key, X-Amz-Security-Token and Cookie.
var secretWords = []string{"auth", "cookie", "credential", "key", "password", "secret", "session", "signature", "token"}

// isSecret reports whether the value of a header field may be a secret, by its name.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// warnLoose warns of files of -H @FILE that other users may read.
func (t *Transfer) warnExposedHeaders(say *printer) {
	for _, h := range t.Header {
		if h.exposed != "" {
			say.warn("%q may be read by other users; take that away with: chmod 600", h.exposed)
		}
	}
}
