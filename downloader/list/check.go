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

// blanks are what is trimmed around anything; CR is there for stray line ends.
const blanks = " \t\r"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// localPath returns a name of a list as a clean local path, slash-separated, or
// says why it may not be one (RFC 5854 §4.1.2.1, for every format). What is
// harmless on one system and not on another is refused on all.
func localPath(name string) (string, error) {
	why := ""
	switch {
	case name == "":
		return "", errors.New("a file name is empty")
	case strings.ContainsFunc(name, unicode.IsControl):
		why = "has a control character"
	case strings.Contains(name, `\`):
		why = "has a backslash"
	case name[0] == '/', len(name) > 1 && name[1] == ':' && isLetter(name[0]):
		why = "is an absolute path"
	case name != strings.Trim(name, blanks):
		why = "begins or ends with a blank"
	case isOutside(name):
		why = `has a ".." in its path`
	case name[len(name)-1] == '/', path.Clean(name) == ".":
		why = "is the name of a directory"
	default:
		return path.Clean(name), nil
	}
	return "", fmt.Errorf("file name %q %s", short(name), why)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isOutside(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == ".." {
			return true
		}
	}
	return false
}

// checkURL says why s is nothing that can be downloaded, nil if it may be.
func checkURL(s string) error {
	if isPlainURL(s) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q is not an http or https URL", shownURL(s))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return fmt.Errorf("%q has no port from 0 to 65535", shownURL(s))
	}
	return nil
}

// isPlainURL reports whether s surely is a good URL: most are, and are not parsed
// for it. Behind a plain host, all that is printed in ASCII is good, but for a
// percent, which may be the beginning of something else.
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

// shownURL returns a URL, or what should be one, without user and password.
func shownURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		s = s[strings.LastIndexByte(s, '@')+1:]
	case u.User != nil:
		u.User = nil
		s = u.String()
	}
	return short(s)
}

// short cuts a text that is to be shown.
func short(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// checkField says what is wrong with a header field (RFC 9110 §5). Its value may
// be a secret and is not told.
func checkField(name, value string) error {
	if name == "" || strings.ContainsFunc(name, notToken) {
		return errors.New("header is not of the form Name: value")
	}
	if strings.ContainsFunc(value, notText) {
		return fmt.Errorf("header %s has a control character in its value", name)
	}
	return nil
}

// notToken reports whether r cannot be in the name of a field (RFC 9110 §5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// notText reports whether r cannot be in the value of a field (RFC 9110 §5.5).
func notText(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// checkDir says what is wrong with a directory of a list. Whether it is a good
// place is for the caller.
func checkDir(dir string) error {
	if strings.ContainsFunc(dir, unicode.IsControl) {
		return fmt.Errorf("directory %q has a control character", short(dir))
	}
	return nil
}

// parseSize reads a number of bytes.
func parseSize(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' {
		return -1, fmt.Errorf("size %q is not a number of bytes", short(text))
	}
	return n, nil
}
