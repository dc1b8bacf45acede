package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A rootedFS has the errors and effects of the real file system. A call through a link
// fails and does not change the file that the link leads to.
func TestRootedFS(t *testing.T) {
	for _, byPath := range []bool{false, true} {
		root, away := t.TempDir(), t.TempDir()
		b := newRootedFS(root)
		b.noProc = b.noProc || byPath
		dir, link := filepath.Join(root, "a", "b"), filepath.Join(root, "a", "link")
		must(t, os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(away, "f"), []byte("mine"), 0o600))
		if err := os.Symlink(away, link); err != nil {
			t.Skip(err)
		}
		name, to := filepath.Join(dir, "f.part"), filepath.Join(dir, "f")
		lock, err := b.Lock(name, true)
		must(t, err)
		f, err := b.Open(name)
		must(t, err)
		_, err = f.WriteAt([]byte("12345"), 0)
		must(t, err, f.SetModTime(time.Unix(1e9, 0)), f.DataSync(), b.SyncDir(dir), b.Rename(name, to, true))
		info, err := b.Lstat(to)
		must(t, err, f.Close(), lock.Close(), b.Mkdir(filepath.Join(dir, "c")))
		if info.Size() != 5 || !info.ModTime().Equal(time.Unix(1e9, 0)) {
			t.Errorf("without /proc %t: got %v", byPath, info)
		}
		_, err = b.Lstat(filepath.Join(dir, "none"))
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
			t.Errorf("without /proc %t: a missing file: got %v", byPath, err)
		}
		if _, err := b.Lstat(filepath.Join(root, "none", "x")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without /proc %t: a missing directory: got %v", byPath, err)
		}
		in := filepath.Join(link, "f")
		for call, do := range map[string]func() error{
			"Lock":       func() error { _, err := b.Lock(in, true); return err },
			"Open":       func() error { _, err := b.Open(in); return err },
			"OpenRead":   func() error { _, err := b.OpenRead(in); return err },
			"CreateTemp": func() error { _, err := b.CreateTemp(link); return err },
			"Lstat":      func() error { _, err := b.Lstat(in); return err },
			"Mkdir":      func() error { return b.Mkdir(filepath.Join(link, "d")) },
			"Rename":     func() error { return b.Rename(to, in, true) },
			"from":       func() error { return b.Rename(in, to, true) },
			"Hardlink":   func() error { return b.Hardlink(to, filepath.Join(link, "g")) },
			"Remove":     func() error { return b.Remove(in) },
			"SyncDir":    func() error { return b.SyncDir(link) },
			"Alone":      func() error { return b.CheckPrivate(in, info) },
		} {
			if err := do(); !errors.Is(err, ErrLink) {
				t.Errorf("without /proc %t: %s: got %v, want ErrLink", byPath, call, err)
			}
		}
		if left, err := os.ReadDir(away); err != nil || len(left) != 1 {
			t.Errorf("without /proc %t: left: %v, %v", byPath, left, err)
		}
	}
}

// A symbolic link that replaces a file is not followed by calls that use the path of the
// file.
func TestNoFollow(t *testing.T) {
	dir := t.TempDir()
	mine, part := filepath.Join(dir, "mine"), filepath.Join(dir, "f.part")
	old := time.Unix(5e8, 0)
	must(t, os.WriteFile(mine, []byte("mine"), 0o600), os.Chtimes(mine, old, old), os.WriteFile(part, nil, 0o600))
	f, err := osFS{}.Open(part)
	must(t, err)
	defer f.Close()
	if err := errors.Join(os.Remove(part), os.Symlink(mine, part)); err != nil {
		t.Skip(err)
	}
	if openNoFollow == 0 {
		t.Skip("no such flag here")
	}
	f.SetModTime(time.Unix(1e9, 0))
	if info, err := os.Stat(mine); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("the time of the other file: got %v, %v", info.ModTime(), err)
	}
	if r, err := (osFS{}).OpenRead(part); err == nil {
		r.Close()
		t.Error("the other file was opened")
	}
}
