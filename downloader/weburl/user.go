package weburl

import (
	"fmt"
	"strings"
)

// escapeUser escapes the user and password of a URL as people type them, such as "p%ss" and "p ä|ß".
// As with curl, they end with the last "@" before the path. A "%" that begins an escape stays.
func escapeUser(s string) string {
	start, end, ok := authority(s)
	if !ok {
		return s
	}
	at := strings.LastIndexByte(s[start:end], '@')
	if at < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:start])
	writeEscaped(&b, lineBreaks.Replace(s[start:start+at]), inPath+"[]%")
	b.WriteString(s[start+at:])
	return b.String()
}

// authority returns the offsets of the authority of an absolute URL: user, password, host and port.
func authority(s string) (start, end int, ok bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, "/?#@ ") {
		return 0, 0, false
	}
	start = len(scheme) + len("://")
	if end = strings.IndexAny(rest, delimiters); end < 0 {
		end = len(rest)
	}
	return start, start + end, true
}

// delimiters end the host of a URL, so that they cannot be in a password as they are.
const delimiters = `/?#\`

// checkUser returns an error if a URL seems to have a password with a delimiter: an "@" follows, and
// the text before is no port. The error does not contain the password.
func checkUser(s string) error {
	start, end, ok := authority(s)
	at := strings.LastIndexByte(s, '@')
	if !ok || at < end || strings.ContainsAny(s[start:end], "@[") {
		return nil
	}
	_, port, hasPort := strings.Cut(s[start:end], ":")
	if !hasPort || strings.Trim(port, "0123456789") == "" && port != "" {
		return nil
	}
	var escapes []string
	for _, c := range delimiters {
		if strings.ContainsRune(s[start:at], c) {
			escapes = append(escapes, fmt.Sprintf("%c as %%%02X", c, c))
		}
	}
	return fmt.Errorf("user and password in the URL of %.200q must be percent-encoded: %s", Redact(s[at+1:]), strings.Join(escapes, ", "))
}
