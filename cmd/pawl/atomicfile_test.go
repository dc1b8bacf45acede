package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// holds checks that dir holds the named files and no others, and what is in them.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, known := want[e.Name()]
		if !known {
			t.Errorf("there is a file %q", e.Name())
		} else if got, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && string(got) != text {
			t.Errorf("%s: got %.99q, want %.99q", e.Name(), got, text)
		}
	}
	if len(entries) < len(want) {
		t.Errorf("got %d files, want %d", len(entries), len(want))
	}
}

// begun returns an atomicFile for f, which is "old", with some bytes in it.
func begun(t *testing.T) (a *atomicFile, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	a, err := newAtomicFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a.Write([]byte("new"))
	return a, dir
}

// TestAtomicFile: under its name there is the old file until all of the new one
// is there, and beside it nothing is left.
func TestAtomicFile(t *testing.T) {
	a, dir := begun(t)
	a.Write(make([]byte, 1<<20)) // more than a buffer
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != "old" {
		t.Errorf("before commit: got %.9q", got)
	}
	if err := a.commit(); err != nil {
		t.Fatal(err)
	}
	a.abort()
	holds(t, dir, map[string]string{"f": "new" + string(make([]byte, 1<<20))})
	if info, err := os.Stat(filepath.Join(dir, "f")); runtime.GOOS != "windows" && (err != nil || info.Mode() != 0o600) {
		t.Errorf("mode: got %v, %v", info.Mode(), err)
	}

	a, dir = begun(t)
	a.abort()
	a.abort()
	holds(t, dir, map[string]string{"f": "old"})

	var none *atomicFile
	none.Write([]byte("x"))
	none.abort()
	if err := none.commit(); err != nil {
		t.Errorf("nil: got %v", err)
	}
}

// TestAtomicFileFailures: a failure leaves what was there, and nothing else; it
// names the file, and is of the file system.
func TestAtomicFileFailures(t *testing.T) {
	tests := map[string]func(a *atomicFile){
		"write": func(a *atomicFile) {
			a.tmp.Close()
			if _, err := a.Write(make([]byte, 1<<20)); err == nil {
				t.Error("no error of a write")
			}
			a.Write([]byte("more"))
		},
		"flush": func(a *atomicFile) { a.tmp.Close() },
		"rename": func(a *atomicFile) {
			os.Remove(a.path)
			os.Mkdir(a.path, 0o777)
		},
	}
	for name, harm := range tests {
		a, dir := begun(t)
		harm(a)
		err := a.commit()
		if err == nil || !strings.Contains(err.Error(), `"`+a.path+`"`) || exitCode(err) != 3 {
			t.Errorf("%s: got %v, exit %d", name, err, exitCode(err))
		}
		if hint(err, "") != "choose another file" {
			t.Errorf("%s: hint %q", name, hint(err, ""))
		}
		holds(t, dir, map[string]string{"f": "old"})
	}
}

// TestAtomicFileRefusals: what can never be written is an error at once.
func TestAtomicFileRefusals(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o666)
	for _, path := range []string{dir, filepath.Join(dir, "none", "f"), filepath.Join(dir, "file", "f"), filepath.Join(dir, strings.Repeat("x", 300)), os.DevNull} {
		if a, err := newAtomicFile(path); err == nil {
			t.Errorf("%.99q: no error", path)
			a.abort()
		} else if !strings.Contains(err.Error(), `"`+path+`"`) || exitCode(err) != 3 {
			t.Errorf("%.99q: got %v, exit %d", path, err, exitCode(err))
		}
	}
	holds(t, dir, map[string]string{"file": ""})
}

// TestAtomicFileLink: what a symbolic link leads to is replaced, not the link.
func TestAtomicFileLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(t.TempDir(), "link")
	os.WriteFile(real, []byte("old"), 0o666)
	if err := os.Symlink(real, link); err != nil {
		t.Skip(err)
	}
	a, err := newAtomicFile(link)
	if err != nil {
		t.Fatal(err)
	}
	a.Write([]byte("new"))
	if err := a.commit(); err != nil {
		t.Error(err)
	}
	holds(t, dir, map[string]string{"real": "new"})
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, errors.Unwrap(err))
	}
}
