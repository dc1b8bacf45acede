package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/weburl"
)

// isURL reports whether name is a URL and not a path.
func isURL(name string) bool { return strings.Contains(name, "://") }

// listIdentity returns the name that identifies a list from run to run: its URL without
// user and password, its absolute path, or "-" for standard input.
func listIdentity(name string) string {
	switch {
	case isURL(name):
		return weburl.WithoutUser(name)
	case name == "-":
		return name
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// maxLinks is how many symbolic links in a row are followed, as many as Linux follows. A
// smaller number would refuse paths that the system can open; a larger one only costs time
// on links that form a circle.
const maxLinks = 40

// isNameless reports whether a list has no name of its own, because it is standard input, a
// pipe, a device or an open file of a process, for example "-" or the /dev/fd/63 of
// <(command). Another run may read another list under the same path, so such a list must
// not prune files.
func isNameless(name string) bool {
	if name == "-" {
		return true
	}
	if isURL(name) {
		return false
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return true
	}
	for range maxLinks { // a link may lead to a regular file through /dev/stdin
		if isOpenFile(name) {
			return true
		}
		to, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
	return false
}

// isOpenFile reports whether a path names a file that a process has open: /dev/stdin, or a
// file in /dev/fd or below /proc.
func isOpenFile(name string) bool {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return false
	}
	isDir := func(dir string) bool {
		return dir == "/dev/fd" || strings.HasPrefix(filepath.ToSlash(dir)+"/", "/proc/")
	}
	real, err := filepath.EvalSymlinks(dir)
	return isDir(dir) || err == nil && isDir(real) || dir == "/dev" && filepath.Base(name) == "stdin"
}

// A listName is the argument of --list-name.
type listName string

// UnmarshalText refuses an empty name.
func (n *listName) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("a list name must not be empty")
	}
	*n = listName(text)
	return nil
}
