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

// wantDirFiles checks that dir contains exactly the files in want, with these contents.
func wantDirFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, known := want[e.Name()]
		if !known {
			t.Errorf("unexpected file %q", e.Name())
		} else if got, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && string(got) != text {
			t.Errorf("%s: got %.99q, want %.99q", e.Name(), got, text)
		}
	}
	if len(entries) < len(want) {
		t.Errorf("got %d files, want %d", len(entries), len(want))
	}
}

// startedAtomicFile returns an atomicFile for dir/f, whose content is "old". "new" has been
// written to the atomicFile.
func startedAtomicFile(t *testing.T) (a *atomicFile, dir string) {
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

// TestAtomicFile checks that the old file keeps its name until the new one is committed,
// and that no temporary file is left.
func TestAtomicFile(t *testing.T) {
	a, dir := startedAtomicFile(t)
	a.Write(make([]byte, 1<<20)) // larger than the buffer
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != "old" {
		t.Errorf("before commit: got %.9q", got)
	}
	if err := a.commit(); err != nil {
		t.Fatal(err)
	}
	a.abort()
	wantDirFiles(t, dir, map[string]string{"f": "new" + string(make([]byte, 1<<20))})
	if info, err := os.Stat(filepath.Join(dir, "f")); runtime.GOOS != "windows" && (err != nil || info.Mode() != 0o600) {
		t.Errorf("mode: got %v, %v", info.Mode(), err)
	}

	a, dir = startedAtomicFile(t)
	a.abort()
	a.abort()
	wantDirFiles(t, dir, map[string]string{"f": "old"})

	var none *atomicFile
	none.Write([]byte("x"))
	none.abort()
	if err := none.commit(); err != nil {
		t.Errorf("nil: got %v", err)
	}
}

// TestAtomicFileFailureKeepsOldFile checks that a failure keeps the old file and leaves no
// other, and that the error names the file and has the exit code of a file system error.
func TestAtomicFileFailureKeepsOldFile(t *testing.T) {
	tests := map[string]func(a *atomicFile){
		"write": func(a *atomicFile) {
			a.tmp.Close()
			if _, err := a.Write(make([]byte, 1<<20)); err == nil {
				t.Error("write: got no error")
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
		a, dir := startedAtomicFile(t)
		harm(a)
		err := a.commit()
		if err == nil || !strings.Contains(err.Error(), `"`+a.path+`"`) || exitCode(err) != 3 {
			t.Errorf("%s: got %v, exit %d", name, err, exitCode(err))
		}
		if hint(err, "") != "choose another file" {
			t.Errorf("%s: hint %q", name, hint(err, ""))
		}
		wantDirFiles(t, dir, map[string]string{"f": "old"})
	}
}

// TestAtomicFileUnwritablePaths checks that newAtomicFile fails at once for paths that can
// never be written.
func TestAtomicFileUnwritablePaths(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o666)
	for _, path := range []string{dir, filepath.Join(dir, "none", "f"), filepath.Join(dir, "file", "f"), filepath.Join(dir, strings.Repeat("x", 300)), os.DevNull} {
		if a, err := newAtomicFile(path); err == nil {
			t.Errorf("%.99q: got no error", path)
			a.abort()
		} else if !strings.Contains(err.Error(), `"`+path+`"`) || exitCode(err) != 3 {
			t.Errorf("%.99q: got %v, exit %d", path, err, exitCode(err))
		}
	}
	wantDirFiles(t, dir, map[string]string{"file": ""})
}

// TestAtomicFileReplacesLinkTarget checks that commit replaces the target of a symbolic
// link and not the link.
func TestAtomicFileReplacesLinkTarget(t *testing.T) {
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
	wantDirFiles(t, dir, map[string]string{"real": "new"})
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("link: got %v, %v, want a symbolic link", info, errors.Unwrap(err))
	}
}
