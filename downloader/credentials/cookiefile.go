package credentials

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A FileCookie is a line of a cookie file.
type FileCookie struct {
	Host       string    // in lower case, without a leading dot
	Subdomains bool      // the hosts below Host get it, too
	Path       string    // begins with "/"; the cookie is for this path and those below
	Secure     bool      // https only
	Expires    time.Time // the zero time for a cookie of the session
	Name       string    // may be "", for a cookie that has only a value
	Value      string
}

// ErrNoCookies means that no line of a file is a cookie in Netscape's format.
var ErrNoCookies = errors.New("not a cookie file in Netscape's format, with seven fields separated by tabs in each line")

// httpOnlyPrefix begins the lines of cookies that scripts must not see; other lines with # are
// comments.
const httpOnlyPrefix = "#HttpOnly_"

// ParseCookieFile reads a cookie file in Netscape's format, as browsers and their extensions, curl
// and wget write it. Each line has seven fields, separated by tabs: host, TRUE if hosts below get
// it too, path, TRUE for https only, expiry in seconds since 1970 (0 for the session), name, value.
// bad are the numbers of lines, from 1, that are none of these. A file with lines, of which none is
// a cookie, is an ErrNoCookies.
func ParseCookieFile(text []byte) (cookies []FileCookie, bad []int, err error) {
	n := 0
	for line := range bytes.SplitSeq(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n")) {
		n++
		s := strings.TrimSuffix(string(line), "\r")
		s, isHTTPOnly := strings.CutPrefix(s, httpOnlyPrefix)
		if strings.TrimSpace(s) == "" || s[0] == '#' && !isHTTPOnly {
			continue
		}
		if c, ok := parseCookieLine(s); ok {
			cookies = append(cookies, c)
		} else {
			bad = append(bad, n)
		}
	}
	if len(cookies) == 0 && len(bad) > 0 {
		err = ErrNoCookies
	}
	return cookies, bad, err
}

// parseCookieLine reads the fields of a line. The last one is missing if the value is empty and somebody
// has removed blanks at the ends of lines.
func parseCookieLine(line string) (FileCookie, bool) {
	f := strings.SplitN(line, "\t", 7)
	if len(f) == 6 {
		f = append(f, "")
	}
	if len(f) != 7 {
		return FileCookie{}, false
	}
	c := FileCookie{Host: strings.ToLower(strings.TrimPrefix(f[0], ".")), Path: f[2], Name: f[5], Value: f[6]}
	var ok1, ok2, ok3 bool
	c.Subdomains, ok1 = parseFlag(f[1])
	c.Secure, ok2 = parseFlag(f[3])
	c.Expires, ok3 = parseExpiry(f[4])
	if !strings.HasPrefix(c.Path, "/") {
		c.Path = "/"
	}
	valid := ok1 && ok2 && ok3 && c.Host != "" && !strings.ContainsAny(c.Host, " /@") && c.Name+c.Value != "" &&
		!strings.ContainsAny(c.Name, ";=") && !strings.ContainsRune(c.Value, ';') && !strings.ContainsFunc(c.Name+c.Value, isControl)
	return c, valid
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// parseFlag reads TRUE or FALSE, in any case.
func parseFlag(s string) (value, ok bool) {
	return strings.EqualFold(s, "TRUE"), strings.EqualFold(s, "TRUE") || strings.EqualFold(s, "FALSE")
}

// maxExpiry is the latest expiry, in seconds since 1970: the end of the year 9999. Some browser
// extensions write a time in the distant future for "never", which time.Unix cannot hold.
const maxExpiry = 253402300799

// parseExpiry reads a time in seconds since 1970, which may have a fraction. Nothing, 0 and
// negative numbers mean the session.
func parseExpiry(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(seconds) {
		return time.Time{}, false
	}
	if seconds <= 0 {
		return time.Time{}, true
	}
	return time.Unix(int64(min(seconds, maxExpiry)), 0), true
}

// HTTP returns the cookie as a server of Host would set it by a response from Host (RFC 6265 §5.3).
func (c FileCookie) HTTP() *http.Cookie {
	h := &http.Cookie{Name: c.Name, Value: c.Value, Path: c.Path, Secure: c.Secure, Expires: c.Expires}
	if c.Subdomains {
		h.Domain = c.Host
	}
	return h
}
