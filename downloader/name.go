package downloader

import (
	"mime"
	"net/url"
	"path"
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
	if name := safeName(path.Base(u.Path)); name != "" {
		return name
	}
	return fallbackName
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

// safeName makes of a name that somebody else chose one that names a plain,
// visible file in one directory on every system, or returns "".
func safeName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		case strings.ContainsRune(`<>:"|?*`, r):
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

// shorten cuts a name to maxName bytes between its stem and its extension.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 20 {
		ext = ""
	}
	cut := maxName - len(ext)
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + ext
}

// NameOf returns the local name of a URL that nobody has been asked about.
func NameOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return fallbackName
	}
	return localName("", u)
}
