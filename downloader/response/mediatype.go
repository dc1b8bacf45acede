package response

import (
	"bytes"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// IsPage reports whether a media type means a web page.
func IsPage(media string) bool {
	return media == "text/html" || media == "application/xhtml+xml" || media == "application/vnd.wap.xhtml+xml"
}

// parseType returns the media type and the charset of the Content-Type fields, "" if they are
// unknown. Servers and proxies between repeat the type, after a comma or in a field of its own; the
// first type counts. A syntax error behind the type does not matter.
func parseType(h http.Header) (media, charset string) {
	for value := range strings.SplitSeq(strings.Join(h.Values("Content-Type"), ","), ",") {
		media, _, _ := strings.Cut(strings.TrimSpace(value), ";")
		media, _, _ = strings.Cut(strings.TrimSpace(media), " ")
		if media, _, err := mime.ParseMediaType(media); err == nil && strings.Contains(media, "/") {
			_, params, _ := mime.ParseMediaType(value)
			return bounded(media, maxMediaType), bounded(params["charset"], maxMediaType)
		}
	}
	return "", ""
}

// SniffPage returns the media type of a web page that begins with these bytes, "" for anything
// else: it begins with a tag of HTML (WHATWG MIME Sniffing Standard §7.1), perhaps behind the
// declaration of XML.
func SniffPage(beginning []byte) string {
	text := bytes.TrimSpace(bytes.TrimPrefix(beginning, []byte("\ufeff")))
	if bytes.HasPrefix(text, []byte("<?xml")) {
		_, text, _ = bytes.Cut(text, []byte("?>"))
		text = bytes.TrimSpace(text)
	}
	if media, _, _ := strings.Cut(http.DetectContentType(text), ";"); media == "text/html" {
		return media
	}
	return ""
}

var (
	// pageSuffixes are extensions of web pages.
	pageSuffixes = []string{".html", ".htm", ".xhtml", ".xht", ".shtml", ".shtm", ".dhtml", ".phtml", ".html5", ".htmls", ".stm"}
	// programSuffixes are extensions of programs whose output is mostly a web page, but may be any
	// file.
	programSuffixes = []string{".php", ".php3", ".php4", ".php5", ".asp", ".aspx", ".jsp", ".jspx", ".jsf", ".do", ".action", ".cgi", ".fcgi", ".pl", ".cfm", ".ashx", ".dll", ".exe"}
)

// IsUnexpectedPage reports whether a response of this media type is a web page, although neither
// the local name of the file nor its URL promises one: most likely a login page, an error page or
// the page of a captive portal. A name without an extension promises nothing. The URL of a
// directory promises a page, and so does the URL of a program, unless its query names another file.
func IsUnexpectedPage(media, name string, u *url.URL) bool {
	name = strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
	last := strings.ToLower(path.Base(u.Path))
	switch {
	case !IsPage(media), slices.Contains(pageSuffixes, path.Ext(name)), slices.Contains(pageSuffixes, path.Ext(last)):
		return false
	case strings.HasSuffix(u.Path, "/") || u.Path == "":
		return name != strings.ToLower(Filename("", u))
	case slices.Contains(programSuffixes, path.Ext(name)) && path.Ext(name) == path.Ext(last):
		for _, values := range u.Query() {
			if slices.ContainsFunc(values, namesFile) {
				return true
			}
		}
		return false
	}
	return true
}

// namesFile reports whether the value of a parameter looks like the name of a file that is no web
// page: it has a short extension that begins with a letter.
func namesFile(value string) bool {
	ext := strings.ToLower(path.Ext(value))
	if len(ext) < 2 || len(ext) > 9 || ext[1] < 'a' || ext[1] > 'z' || strings.Contains(value, "://") {
		return false
	}
	return !slices.Contains(pageSuffixes, ext) && !slices.Contains(programSuffixes, ext) && strings.Trim(ext[1:], "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// MatchesType reports whether a media type, "" if it is unknown, fits the patterns: it must match
// one of those without an exclamation mark, if there are any, and none of the others. A pattern is
// a media type such as "application/zip", or has "*" as its subtype or as both parts, such as
// "image/*" and "!text/*". It must be in lower case. Each type of a web page counts as text/html.
func MatchesType(media string, patterns []string) bool {
	allowed, wanted := false, false
	for _, p := range patterns {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if matchesOne(media, not) {
				return false
			}
			continue
		}
		wanted = true
		allowed = allowed || matchesOne(media, p)
	}
	return allowed || !wanted
}

// matchesOne reports whether a media type matches a pattern without an exclamation mark.
func matchesOne(media, pattern string) bool {
	if IsPage(media) && media != "text/html" && matchesOne("text/html", pattern) {
		return true
	}
	kind, isKind := strings.CutSuffix(pattern, "/*")
	switch {
	case pattern == "*/*":
		return media != ""
	case isKind:
		return strings.HasPrefix(media, kind+"/")
	}
	return media == pattern
}

// maxExcerpt limits the columns of an excerpt: a message with it fits into two lines of a terminal.
const maxExcerpt = 60

// Excerpt returns the beginning of a text for a message: one line without control characters, of
// at most 60 columns. Bytes that are not UTF-8 are left out.
func Excerpt(text []byte) string {
	var b strings.Builder
	columns := 0
	for word := range strings.FieldsSeq(strings.ToValidUTF8(string(text), "")) {
		if columns > 0 {
			word = " " + word
		}
		for _, r := range word {
			width := 1
			if r >= 0x1100 { // from here on, many characters are twice as wide
				width = 2
			}
			if isUnprintable(r) {
				continue
			}
			if columns += width; columns > maxExcerpt {
				return b.String() + "…"
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}
