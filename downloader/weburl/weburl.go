// Package weburl parses, compares and redacts the URLs of downloads. It is the one place that
// decides which URLs can be downloaded, and which parts of a URL may be shown.
package weburl

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxLength limits a URL, in bytes, as the entry of a list is limited. Servers accept 8 KiB to
// 64 KiB, so double helps nobody, and half may refuse a test server.
const maxLength = 1 << 20

// Parse parses an http or https URL with a host, as people type and paste it: it is escaped as
// Escape does, and blanks, angle brackets and quotation marks around it are removed. Parse drops
// the fragment. User and password stay, and are escaped as far as it is clear where they end. Errors
// quote the beginning of the URL, redacted.
func Parse(s string) (*url.URL, error) {
	if len(s) > maxLength {
		return nil, fmt.Errorf("a URL of %d bytes is longer than %d", len(s), maxLength)
	}
	typed := Unwrap(s)
	if err := checkUser(typed); err != nil {
		return nil, err
	}
	u, err := url.Parse(Escape(escapeUser(typed)))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%.200q is not an http or https URL", Redact(s))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, fmt.Errorf("port in %.200q is not from 0 to 65535", Redact(s))
	}
	u.Fragment = ""
	return u, nil
}

// Check returns the error of Parse.
func Check(s string) error {
	if isPlain(s) {
		return nil
	}
	_, err := Parse(s)
	return err
}

// Canonical returns a URL as records have it: without user, password and fragment. It returns ""
// if Parse fails.
func Canonical(s string) string {
	u, err := Parse(s)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// Key returns a form of a URL that is equal for all its spellings that differ in escapes, in the case
// of the host, or in the fragment. It returns s if Parse fails.
func Key(s string) string {
	if isPlain(s) && strings.IndexByte(s, '#') < 0 && !strings.ContainsAny(s, escapedByBrowsers) {
		return s
	}
	u, err := Parse(s)
	if err != nil {
		return s
	}
	u.User, u.Host = nil, strings.ToLower(u.Host)
	u.RawPath = "" // the default encoding of the decoded path
	if strings.Contains(strings.ToUpper(s), "%2F") {
		return u.String() + "\x00" + s // a slash within a segment is another path
	}
	return u.String()
}

// escapedByBrowsers are the characters that isPlain allows and that Escape may change.
const escapedByBrowsers = "\"'<>\\^`{|}"

// isPlain reports whether s is certainly valid: a plain host, followed by printable ASCII without
// "%". Most URLs of a list are, so this spares parsing them. A "%" may begin an invalid escape, so
// only url.Parse can decide then.
func isPlain(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	host := 0
	for host < len(rest) && isHostByte(rest[host]) {
		host++
	}
	if !ok || host == 0 || host < len(rest) && rest[host] != '/' || len(s) > maxLength {
		return false
	}
	for i := host; i < len(rest); i++ {
		if c := rest[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return false
		}
	}
	return true
}

func isHostByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-'
}
