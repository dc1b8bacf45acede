package downloader

import (
	"fmt"
	"hash/crc32"
	"mime"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fallbackName is the local name where neither server nor URL has one.
const fallbackName = "index.html"

// maxName is how many bytes a local name may have, so that ".part" and a number
// fit behind it on common file systems.
const maxName = 240

// localName returns a safe name for a file in one directory, from the
// Content-Disposition field (RFC 6266) or else the last segment of the URL.
func localName(disposition string, u *url.URL) string {
	if name := safeName(dispositionName(disposition)); name != "" {
		return name
	}
	if name := safeName(lastSegment(u)); name != "" {
		return name
	}
	return fallbackName
}

// lastSegment returns the last segment of the path of u, decoded. It returns a segment
// that is not UTF-8 half decoded.
func lastSegment(u *url.URL) string {
	name := path.Base(u.Path)
	if utf8.ValidString(name) {
		return name
	}
	return path.Base(halfDecoded(u.EscapedPath()))
}

// halfDecoded decodes the escapes of a path that is not UTF-8, but not those of bytes
// beyond ASCII, because their encoding is unknown: "%B2%E2%20a.zip", which may be GBK
// for "测 a.zip", becomes "%B2%E2 a.zip". Characters that safeName would replace or drop
// stay percent-encoded too, and so does a backslash behind a byte beyond ASCII: in
// Shift-JIS and GBK it is the second byte of a character.
func halfDecoded(escaped string) string {
	var b strings.Builder
	beyond := false // the last byte was not ASCII
	for i := 0; i < len(escaped); i++ {
		c, spelled := escaped[i], escaped[i:i+1]
		if c == '%' {
			n, _ := strconv.ParseUint(escaped[i+1:i+3], 16, 8) // url.URL has valid escapes only
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

// dispositionName returns the filename parameter, of fields too that are not
// quoted as they should be.
func dispositionName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err == nil {
		return params["filename"]
	}
	_, rest, _ := strings.Cut(disposition, "filename=")
	name, _, _ := strings.Cut(rest, ";")
	return strings.Trim(strings.TrimSpace(name), `"`)
}

// forbidden are the characters that Windows has in no name.
const forbidden = `<>:"|?*`

// safeName makes of a name that somebody else chose one that names a plain,
// visible file in one directory on every system, or returns "". It is UTF-8.
func safeName(name string) string {
	if !utf8.ValidString(name) {
		name = halfDecoded(url.PathEscape(name))
	}
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
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

// isReserved reports whether Windows takes the name for a device, whatever its
// extension.
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

// shorten cuts a name to maxName bytes between its stem and its extension. A name with
// escapes gets a checksum of the whole name there, because it is long for few characters:
// 41 characters of GBK are cut, and the names of a series often differ in the last ones.
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

// FilenameFromURL returns the local name of a URL that nobody has been asked about.
func FilenameFromURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return fallbackName
	}
	return localName("", u)
}
