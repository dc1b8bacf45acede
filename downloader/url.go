package downloader

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/transport"
)

// maxURL limits a URL, in bytes, as the entry of a list is limited. Servers accept 8 KiB to
// 64 KiB, so double helps nobody, and half may refuse a test server.
const maxURL = 1 << 20

// parseURL parses a URL that can be downloaded, and drops its fragment. User and password stay. Its
// errors quote the URL without them.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("a URL of %d bytes is longer than %d", len(s), maxURL))
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("%q is not an http or https URL", RedactURL(s)))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("port in %q is not from 0 to 65535", RedactURL(s)))
	}
	u.Fragment = ""
	return u, nil
}

// CheckURL returns an error if s cannot be downloaded.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

// CanonicalURL returns a URL as records have it: without user, password and fragment. It returns
// "" if s cannot be downloaded.
func CanonicalURL(s string) string {
	u, err := parseURL(s)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// Origin returns the origin of a URL, by which connections are limited, for example
// "https://example.com:443" (RFC 6454 §4). It returns "" if s cannot be downloaded.
func Origin(s string) string {
	u, err := parseURL(s)
	if err != nil {
		return ""
	}
	return transport.Origin(u)
}

// FilenameFromURL returns the local name of a file by its URL alone.
func FilenameFromURL(s string) string { return response.FilenameFromURL(s) }

// absTarget returns the absolute path of name in dir.
func absTarget(dir, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return filepath.Abs(name)
}
