package weburl

import "strings"

// Escape returns a URL or a relative reference as browsers send it (WHATWG URL Standard §4.4):
// people and servers write blanks, quotation marks and letters beyond ASCII into URLs. Blanks
// and control characters around it are removed, and so are line feeds and tabs within it. A
// backslash before the query is a slash. Escapes that are there already stay, and so does the
// name of the host.
//
// Beyond the standard, a "%" in the path or fragment that begins no escape becomes "%25", because
// url.Parse accepts no other.
func Escape(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	if !mayNeedEscape(s) {
		return s
	}
	s = lineBreaks.Replace(s)
	rest, fragment, hasFragment := strings.Cut(s, "#")
	front, query, hasQuery := strings.Cut(rest, "?")
	front = strings.ReplaceAll(front, `\`, "/")
	path := pathOffset(front)
	var b strings.Builder
	b.WriteString(front[:path])
	writeEscaped(&b, front[path:], inPath+"%")
	if hasQuery {
		b.WriteByte('?')
		writeEscaped(&b, query, inQuery)
	}
	if hasFragment {
		b.WriteByte('#')
		writeEscaped(&b, fragment, inFragment+"%")
	}
	return b.String()
}

// Characters that are escaped besides blanks, control characters and those beyond ASCII.
const (
	inPath     = "\"<>^`{|}"
	inQuery    = `"'<>`
	inFragment = "\"<>`"
)

// lineBreaks removes the characters that browsers ignore within a URL.
var lineBreaks = strings.NewReplacer("\t", "", "\n", "", "\r", "")

// mayNeedEscape reports whether Escape may change s.
func mayNeedEscape(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '\\' || c == '\'' || strings.IndexByte(inPath, c) >= 0 {
			return true
		}
	}
	return false
}

// pathOffset returns where the path of a URL without query begins: behind the host, or at 0 in a
// relative reference.
func pathOffset(s string) int {
	host := strings.Index(s, "//")
	if host < 0 || host > 0 && (s[host-1] != ':' || strings.Contains(s[:host], "/")) {
		return 0
	}
	host += len("//")
	if i := strings.IndexByte(s[host:], '/'); i >= 0 {
		return host + i
	}
	return len(s)
}

// isEscape reports whether s begins with "%" and two hexadecimal digits.
func isEscape(s string) bool {
	return len(s) >= 3 && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// writeEscaped appends s to b, and escapes the special characters. A special "%" is escaped only
// if it begins no escape.
func writeEscaped(b *strings.Builder, s, special string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f && (strings.IndexByte(special, c) < 0 || c == '%' && isEscape(s[i:])) {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
}

// Unwrap returns a URL without the blanks, angle brackets and quotation marks that people
// paste around it, and without the tabs and line breaks in it (RFC 3986, appendix C).
func Unwrap(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune(invisible, r) })
	for _, pair := range []string{"<>", `""`, "''", "“”", "«»"} {
		open, end := pair[:len(pair)/2], pair[len(pair)/2:]
		if strings.HasPrefix(s, open) && strings.HasSuffix(s, end) && len(s) > len(pair) {
			s = strings.TrimPrefix(strings.TrimSpace(s[len(open):len(s)-len(end)]), "URL:")
		}
	}
	return lineBreaks.Replace(s)
}

// invisible are a no-break space, a zero-width space, and a byte order mark.
const invisible = "\u00a0\u200b\ufeff"
