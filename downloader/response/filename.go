package response

import (
	"fmt"
	"hash/crc32"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fallbackName is the local name if neither the server nor the URL has one.
const fallbackName = "index.html"

// maxName limits a local name, in bytes, so that ".part" and a number fit behind it in the 255
// bytes of common file systems. Double would fail there; half would cut names that are used.
const maxName = 240

// Filename returns a safe name for a file in one directory: from the Content-Disposition field
// (RFC 6266), or else from the last segment of the URL.
func Filename(disposition string, u *url.URL) string {
	if name := ServerName(disposition); name != "" {
		return name
	}
	if name := safeName(lastSegment(u)); name != "" {
		return name
	}
	return fallbackName
}

// ServerName returns a safe name from the Content-Disposition field, "" if it has none.
func ServerName(disposition string) string { return safeName(dispositionName(disposition)) }

// verbs are last segments that many servers put behind the name of a file, for example in
// "x.tar.gz/download" and "data.zip/content".
var verbs = []string{"attachment", "blob", "content", "download", "export", "file", "get", "media", "original", "raw", "stream", "view"}

// lastSegment returns the last segment of the path of u, decoded, or the one before it if the last is a
// verb and the one before it has an extension. If the path is not UTF-8, only a part of its escapes is
// decoded: see halfDecoded.
func lastSegment(u *url.URL) string {
	full := u.Path
	if !utf8.ValidString(full) {
		full = halfDecoded(u.EscapedPath())
	}
	name := path.Base(full)
	if slices.Contains(verbs, strings.ToLower(name)) {
		before := path.Base(path.Dir(full))
		if ext := path.Ext(before); len(ext) > 1 && ext != before && strings.Trim(ext, ".0123456789") != "" {
			return before
		}
	}
	return name
}

// FilenameWithQuery is FilenameFromURL with the query, for example "get.php_id=1", for URLs that differ
// in their queries only.
func FilenameWithQuery(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.RawQuery == "" {
		return FilenameFromURL(s)
	}
	query := strings.NewReplacer("/", "%2F", `\`, "%5C").Replace(u.RawQuery)
	return safeName(Filename("", u) + "?" + query)
}

// TreePath returns the local path of a file by the host and the directories of its URL, with slashes,
// without the first cut directories, for example "example.org/pub/x.iso". Each segment is a safe name;
// segments without a safe character are left out.
func TreePath(s string, cut int) string {
	u, err := url.Parse(s)
	if err != nil {
		return fallbackName
	}
	full := u.Path
	if !utf8.ValidString(full) {
		full = halfDecoded(u.EscapedPath())
	}
	dirs, name := path.Split(path.Clean("/" + full))
	if strings.HasSuffix(full, "/") || name == "" { // the page of a directory, in which other files may be
		dirs, name = path.Join(dirs, name), fallbackName
	} else {
		name = Filename("", u)
	}
	parts := []string{safeName(strings.ReplaceAll(u.Host, ":", "_"))}
	for _, dir := range strings.Split(dirs, "/") {
		if dir = safeName(dir); dir == "" {
			continue
		}
		if cut > 0 {
			cut--
			continue
		}
		parts = append(parts, dir)
	}
	return path.Join(append(parts, name)...)
}

// halfDecoded decodes the ASCII escapes of a path that is not UTF-8. The encoding of the other
// bytes is unknown, so their escapes stay: "%B2%E2%20a.zip", which may be GBK for "测 a.zip",
// becomes "%B2%E2 a.zip". The escapes of characters that safeName would replace or drop stay,
// too, and so does a backslash behind a byte beyond ASCII: in Shift-JIS and GBK it is the
// second byte of a character.
func halfDecoded(escaped string) string {
	var b strings.Builder
	beyond := false // the byte before was not ASCII
	for i := 0; i < len(escaped); i++ {
		c, spelled := escaped[i], escaped[i:i+1]
		if c == '%' {
			n, _ := strconv.ParseUint(escaped[i+1:i+3], 16, 8) // url.URL contains only valid escapes
			c, spelled = byte(n), escaped[i:i+3]
			i += 2
		}
		switch {
		case c >= utf8.RuneSelf, c == '%', unicode.IsControl(rune(c)), strings.IndexByte(forbidden, c) >= 0, c == '\\' && beyond:
			b.WriteString(spelled)
		default:
			b.WriteByte(c)
		}
		beyond = c >= utf8.RuneSelf
	}
	return b.String()
}

// forbidden are the characters that Windows allows in no name.
const forbidden = `<>:"|?*`

// safeName turns a name from a server into the name of a plain, visible file in one directory,
// valid on every system and in UTF-8. It returns "" if nothing is left of the name.
func safeName(name string) string {
	if !utf8.ValidString(name) {
		name = halfDecoded(url.PathEscape(name))
	}
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case isUnprintable(r):
			return -1
		case strings.ContainsRune(forbidden, r):
			return '_'
		}
		return r
	}, name)
	name = strings.TrimLeft(name, ". ")
	if isReserved(name) {
		name = "_" + name
	}
	return strings.TrimRight(shorten(name), ". ")
}

// isUnprintable reports whether r acts on a terminal or cannot be seen.
func isUnprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// isReserved reports whether Windows treats the name as a device, with any extension.
func isReserved(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	stem = strings.TrimRight(stem, " ")
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	number, device := strings.CutPrefix(stem, "COM")
	if !device {
		number, device = strings.CutPrefix(stem, "LPT")
	}
	return device && utf8.RuneCountInString(number) == 1 && strings.Contains("123456789¹²³", number)
}

// shorten cuts the stem of a name, so that the name has at most maxName bytes. A name with
// escapes also gets a checksum of the whole name before its extension. Such a name is long
// although it has few characters (41 characters of GBK are cut), and the names of a series
// often differ in the last characters only.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 20 {
		ext = ""
	}
	if strings.Contains(name, "%") {
		ext = fmt.Sprintf("-%08x%s", crc32.ChecksumIEEE([]byte(name)), ext)
	}
	cut := maxName - len(ext)
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	if escape := strings.LastIndexByte(name[:cut], '%'); escape > cut-len("%XX") {
		cut = escape
	}
	return name[:cut] + ext
}

// FilenameFromURL returns the local name of a file by its URL alone.
func FilenameFromURL(s string) string {
	if name := plainName(s); name != "" {
		return name
	}
	u, err := url.Parse(s)
	if err != nil {
		return fallbackName
	}
	return Filename("", u)
}

// plainName returns the last segment of a URL if it is certainly a safe name: letters, digits, "-", "_"
// and dots within. It returns "" for all others. Most names of a list are plain, so this spares parsing
// their URLs.
func plainName(s string) string {
	slash := strings.LastIndexByte(s, '/')
	name := s[slash+1:]
	if slash < len("https://") || strings.IndexByte(s, '?') >= 0 || strings.IndexByte(s, '#') >= 0 || len(name) < len("1234567") || len(name) > maxName || !isPlainByte(name[0]) || !isPlainByte(name[len(name)-1]) {
		return ""
	}
	dots := 0
	for i := range len(name) {
		if name[i] == '.' {
			dots++
		} else if !isPlainByte(name[i]) {
			return ""
		}
	}
	if dots == 0 || strings.IndexByte(name, '.') < len("COM1xxx") { // perhaps a verb, or a device
		return ""
	}
	return name
}

func isPlainByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Numbered returns a path of a file with the number n in front of the extension of its name, for example
// "get.1.php" or "a.1.tar.gz". The text behind the last dot is no extension if it has only digits, or
// is too long.
func Numbered(file string, n int) string {
	dir, name := filepath.Split(file)
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	if stem == "" || len(ext) > 20 || strings.Trim(ext, ".0123456789") == "" || strings.ContainsAny(ext, " ") {
		stem, ext = name, ""
	} else if inner, ok := strings.CutSuffix(stem, ".tar"); ok && inner != "" {
		stem, ext = inner, ".tar"+ext
	}
	return fmt.Sprintf("%s%s.%d%s", dir, stem, n, ext)
}
