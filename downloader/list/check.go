package list

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"pawl/downloader/weburl"
)

// blanks is the white space that is trimmed around names, values and URLs. It contains CR
// because some lists have stray ones before their line ends.
const blanks = " \t\r"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// localPath returns a file name of a list as a clean, relative, slash-separated path:
// "./a//b" becomes "a/b". It returns an error if the name is unsafe (RFC 5854 section
// 4.1.2.1, applied to every format), or if the system cannot have it.
func localPath(name string) (string, error) { return localPathOn(runtime.GOOS, name) }

// localPathOn is localPath for an operating system. An absolute path of any system, and ".." behind any
// separator, is rejected on all. Colons and backslashes are parts of names elsewhere than on Windows.
func localPathOn(goos, name string) (string, error) {
	windows := goos == "windows"
	slashed := strings.ReplaceAll(name, `\`, "/")
	hasDrive := len(name) > 1 && name[1] == ':' && isLetter(name[0])
	reason := ""
	switch {
	case name == "":
		return "", errors.New("file name is empty")
	case strings.ContainsFunc(name, unicode.IsControl):
		reason = "contains a control character"
	case slashed[0] == '/', hasDrive && (windows || len(name) == 2 || slashed[2] == '/'):
		reason = "is an absolute path"
	case windows && name != strings.TrimLeft(name, blanks), windows && path.Clean(name) != strings.TrimLeft(path.Clean(name), blanks),
		path.Clean(name) != strings.TrimRight(path.Clean(name), blanks), strings.Trim(path.Clean(name), blanks) == "":
		reason = "begins or ends with white space"
	case hasDotDot(slashed):
		reason = `contains the path element ".."`
	case windows && strings.Contains(name, `\`):
		reason = "contains a backslash"
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

// redactURL returns s for a message: redacted and truncated.
func redactURL(s string) string { return truncate(weburl.Redact(s)) }

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
	if !httpguts.ValidHeaderFieldName(name) {
		return errors.New("header is not of the form Name: value")
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return fmt.Errorf("value of header %s contains a control character", name)
	}
	return nil
}

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
