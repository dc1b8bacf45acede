package main

// This file is about the names by which lists are known from run to run.

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader"
)

// isURL reports whether a list is fetched from a server.
func isURL(name string) bool { return strings.Contains(name, "://") }

// identity is what a list is known by from run to run: its URL, without user and
// password, or its absolute path.
func listIdentity(name string) string {
	switch {
	case isURL(name):
		return downloader.WithoutUser(name)
	case name == "-":
		return name
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// mostLinks is how many symbolic links are followed; Linux follows 40.
const maxLinks = 40

// isNameless reports whether a list has no name of its own: it is standard input, a
// pipe, a device or an open file of a process. Another run may read another list
// under the same path.
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
	for range maxLinks { // a link may lead to a regular file by way of /dev/stdin
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

// isOpenFile reports whether a path is in a directory of files that processes have
// open.
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

// A listName is a name that the user has given to lists.
type listName string

// UnmarshalText refuses an empty name.
func (n *listName) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("a list name is not empty")
	}
	*n = listName(text)
	return nil
}
