package downloader

import (
	"net/url"
	"path/filepath"

	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/transport"
	"pawl/downloader/weburl"
)

// parseURL is weburl.Parse with an error of kind failure.ErrUsage.
func parseURL(s string) (*url.URL, error) {
	u, err := weburl.Parse(s)
	if err != nil {
		return nil, failure.Wrap(failure.ErrUsage, err)
	}
	return u, nil
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

// FilenameWithQuery returns the local name of a file by its URL, including the query.
func FilenameWithQuery(s string) string { return response.FilenameWithQuery(s) }

// TreePath returns the local path of a file by the host and the directories of its URL, without the
// first cut directories.
func TreePath(s string, cut int) string { return response.TreePath(s, cut) }

// NumberedName returns a path with the number n before the extension, for example "a.1.tar.gz".
func NumberedName(path string, n int) string { return response.Numbered(path, n) }

// absTarget returns the absolute path of name in dir.
func absTarget(dir, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return filepath.Abs(name)
}
