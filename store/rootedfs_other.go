//go:build !linux

package store

import (
	"os"
	"path/filepath"
)

// fdDir is empty: open files have no paths on this system.
const fdDir = ""

// openDirNoFollow checks that no directory of rel, a path below root, is a symbolic link,
// and returns the ordinary path. A link that somebody creates after the check is
// followed.
func (b rootedFS) openDirNoFollow(rel string) (path string, done func(), err error) {
	return filepath.Join(b.root, rel), func() {}, checkNoSymlinks(b.root, rel)
}

// reopenAs returns f, which was opened under that name already.
func reopenAs(f *os.File, name string) (*os.File, error) { return f, nil }
