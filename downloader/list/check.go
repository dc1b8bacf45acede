package list

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// blanks is the white space that is trimmed around names, values and URLs. It contains CR
// because some lists have stray ones before their line ends.
const blanks = " \t\r"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// localPath returns a file name of a list as a clean, relative, slash-separated path:
// "./a//b" becomes "a/b". It returns an error if the name is unsafe (RFC 5854 section
// 4.1.2.1, applied to every format). A name that is unsafe on any system, such as "C:x", is
// rejected on all, so that a list means the same everywhere.
func localPath(name string) (string, error) {
	reason := ""
	switch {
	case name == "":
		return "", errors.New("file name is empty")
	case strings.ContainsFunc(name, unicode.IsControl):
		reason = "contains a control character"
	case strings.Contains(name, `\`):
		reason = "contains a backslash"
	case name[0] == '/', len(name) > 1 && name[1] == ':' && isLetter(name[0]):
		reason = "is an absolute path"
	case name != strings.Trim(name, blanks):
		reason = "begins or ends with white space"
	case hasDotDot(name):
		reason = `contains the path element ".."`
	case name[len(name)-1] == '/', path.Clean(name) == ".":
		reason = "names a directory"
	default:
		return path.Clean(name), nil
	}
	return "", fmt.Errorf("file name %q %s", truncate(name), reason)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// hasDotDot reports whether a path has the element "..". Even "a/../b" must be rejected,
// although it stays inside (RFC 5854 section 4.1.2.1).
func hasDotDot(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return true
		}
	}
	return false
}

// checkURL returns an error if s is not a valid http or https URL with a host. The error
// does not contain the password.
func checkURL(s string) error {
	if isPlainURL(s) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q is not an http or https URL", redactURL(s))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return fmt.Errorf("port in %q is not from 0 to 65535", redactURL(s))
	}
	return nil
}

// isPlainURL reports whether s is certainly valid: a plain host, followed by printable
// ASCII without "%". Most URLs of a list are, so this spares parsing them. A "%" may begin
// an invalid escape, so only url.Parse can decide then.
func isPlainURL(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	host := 0
	for host < len(rest) && isHostByte(rest[host]) {
		host++
	}
	if !ok || host == 0 || host < len(rest) && rest[host] != '/' {
		return false
	}
	for i := host; i < len(rest); i++ {
		if c := rest[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return false
		}
	}
	return true
}

func isHostByte(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' || c == '.' || c == '-' }

// redactURL returns s for a message: without user and password, and truncated. If s is not
// a URL, only the part after the last "@" is returned, because the part before it may be a
// password.
func redactURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		s = s[strings.LastIndexByte(s, '@')+1:]
	case u.User != nil:
		u.User = nil
		s = u.String()
	}
	return truncate(s)
}

// truncate shortens a text for a message to 200 bytes and "…". It does not cut a character
// in two.
func truncate(s string) string {
	const maxBytes = 200
	if len(s) <= maxBytes {
		return s
	}
	cut := maxBytes
	for cut > maxBytes-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// checkHeaderField returns an error if a header field is not valid (RFC 9110 section 5). A
// control character in a value could start another field, so it must be rejected. The error
// does not contain the value, which may be a secret.
func checkHeaderField(name, value string) error {
	if name == "" || strings.ContainsFunc(name, notTokenChar) {
		return errors.New("header is not of the form Name: value")
	}
	if strings.ContainsFunc(value, notValueChar) {
		return fmt.Errorf("value of header %s contains a control character", name)
	}
	return nil
}

// notTokenChar reports whether r is not allowed in the name of a header field (RFC 9110
// section 5.6.2).
func notTokenChar(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// notValueChar reports whether r is not allowed in the value of a header field (RFC 9110
// section 5.5).
func notValueChar(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// checkDir returns an error if a directory of a list contains a control character. Whether
// the list may write to the directory is the caller's decision.
func checkDir(dir string) error {
	if strings.ContainsFunc(dir, unicode.IsControl) {
		return fmt.Errorf("directory %q contains a control character", truncate(dir))
	}
	return nil
}

// parseSize parses a size in bytes: decimal digits without a sign or a unit.
func parseSize(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' {
		return -1, fmt.Errorf("size %q is not a number of bytes", truncate(text))
	}
	return n, nil
}
