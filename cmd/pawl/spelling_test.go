package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command line that pawl does not understand gets the command that was meant.
func TestSpelling(t *testing.T) {
	skipUnderRace(t)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"LIST.txt": "https://h/x\n", "urls": " https://h/x\n", "f.iso": "\x00\x01\x02"} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	app := newCommandLine(&printer{stdout: io.Discard, stderr: io.Discard}, "").Kong
	for _, tt := range sample(3, []struct {
		args []string
		want string // "" for no idea
	}{
		{[]string{"-i", "LIST.txt"}, "pawl mirror LIST.txt"},
		{[]string{"-iLIST.txt", "-P", "d"}, "pawl mirror LIST.txt -d d"},
		{[]string{"-i"}, "pawl mirror LIST"},
		{[]string{"-i", "-"}, "pawl mirror -"},
		{[]string{"--input-file=my list"}, "pawl mirror 'my list'"},
		{[]string{"get", "-j", "5", "-i", "a", "-i", "b"}, "pawl mirror a b -j 5"},
		{[]string{"mirror", "-N", "-i", "urls"}, "pawl mirror urls -N"},
		{[]string{"-x16", "-s", "16", "-i", "urls", "-o", "d/"}, "pawl mirror urls -x16 -d d/"},
		{[]string{"get", "LIST.txt"}, "pawl mirror LIST.txt"},
		{[]string{"LIST.txt", "urls", "-d", "x"}, "pawl mirror LIST.txt urls -d x"},
		{[]string{"file://LIST.txt"}, "pawl mirror LIST.txt"},
		{[]string{"-"}, "pawl mirror -"},
		{[]string{"-nc", "http://h/x"}, "pawl http://h/x"},
		{[]string{"get", "--no-clobber", "http://h/x", "-O", "y"}, "pawl get http://h/x --no-clobber -o y"},
		{[]string{"mirror", "-nc", "urls"}, "pawl mirror urls"},
		{[]string{"-nv", "-N", "http://h/x"}, "pawl http://h/x -q"},
		{[]string{"-fsSLO", "http://h/x"}, "pawl http://h/x -q"},
		{[]string{"-O", "http://h/x"}, "pawl http://h/x"},
		{[]string{"-C", "-", "-LO", "http://h/x"}, "pawl http://h/x"},
		{[]string{"-s", "http://h/x"}, "pawl http://h/x -q"},
		{[]string{"-r", "http://h/pub/"}, "pawl mirror http://h/pub/"},
		{[]string{"-t", "5", "http://h/x"}, "pawl http://h/x --tries 5"},
		{[]string{"-O", "y", "http://h/x"}, "pawl http://h/x -o y"},
		{[]string{"-n", "8", "--max-tries=5", "--out", "y", "http://h/x"}, "pawl http://h/x -x 8 --tries 5 -o y"},
		{[]string{"-L", "-f", "http://h/x"}, "pawl http://h/x"},
		{[]string{"--no-check-certificate", "--bwlimit", "5M", "http://h/x"}, "pawl http://h/x --insecure --limit-rate 5M"},
		{[]string{"curl", "-H", "A: geheim", "-O", "http://h/x"}, "pawl as curl …"},
		{[]string{"download", "http://h/x"}, "pawl get http://h/x"},
		{[]string{"sync", "urls", "-d", "x"}, "pawl mirror urls -d x"},
		{[]string{"mirro", "urls"}, "pawl mirror urls"},
		{[]string{"ls", "-a"}, "pawl list -a"},
		{[]string{"rm", "--files", "f.iso"}, "pawl remove f.iso --files"},
		{[]string{"continue"}, "pawl resume"},
		{[]string{"example.com/x.iso"}, "pawl https://example.com/x.iso"},
		{[]string{"ttps://h.de/x"}, "pawl https://h.de/x"},
		{[]string{"http:/h.de/x"}, "pawl http://h.de/x"},
		{[]string{"htpp://h.de/x", "http://h/y"}, ""},
		{[]string{"--conections", "4", "http://h/x"}, "pawl http://h/x --connections 4"},
		{[]string{"--limit-rat=4M", "http://h/x"}, "pawl http://h/x --limit-rate=4M"},
		{[]string{"-nc", "http://h/it's?a=1&b=2"}, `pawl 'http://h/it'\''s?a=1&b=2'`},
		{[]string{"-nc", "-H", "A: open-sesame", "-HB: open-sesame", "http://h/x"}, "pawl http://h/x -H '…' '-H…'"},
		{[]string{"-version"}, "pawl --version"},
		{[]string{"--Version"}, "pawl --version"},
		{[]string{"--VERSION"}, "pawl --version"},
		{[]string{"version"}, "pawl --version"},
		{[]string{"-help"}, "pawl --help"},
		{[]string{"-Help"}, "pawl --help"},
		{[]string{"--HELP"}, "pawl --help"},
		{[]string{"-?"}, "pawl --help"},
		{[]string{"--usage"}, "pawl --help"},
		{[]string{"Help"}, "pawl --help"},
		{[]string{"mirror", "-help"}, "pawl mirror --help"},
		{[]string{"mirror", "--Help", "urls"}, "pawl mirror urls --help"},
		{[]string{"--JSON", "http://h/x"}, "pawl http://h/x --json"},
		{[]string{"--Limit-Rate=4M", "http://h/x"}, "pawl http://h/x --limit-rate=4M"},
		{[]string{"http://h/x", "--checksum", "https://h/SHA256SUMS"}, "pawl http://h/x --checksums https://h/SHA256SUMS"},
		{[]string{"http://h/x", "--checksum=urls"}, "pawl http://h/x --checksums=urls"},
		{[]string{"http://h/x", "--sha256", "urls"}, "pawl http://h/x --checksums urls"},
		{[]string{"http://h/x", "--checksums", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"}, "pawl http://h/x --checksum sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"},
		{[]string{"add", "-i", "urls", "-d", "x"}, "pawl add urls -d x --list"},
		{[]string{"add", "--input-file=urls"}, "pawl add urls --list"},
		{[]string{"daemon", "stop"}, "pawl daemon --stop"},
		{[]string{"daemon", "start", "-j", "2"}, "pawl daemon -j 2"},
		{[]string{"daemon", "open"}, "pawl daemon --open"},
		{[]string{"daemon", "dance"}, ""},
		{[]string{"add", "--list"}, ""},
		{[]string{"add", "--list", "--paused"}, ""},
		{[]string{"f.iso"}, ""},
		{[]string{"none.txt"}, ""},
		{[]string{"ftp://h/x"}, ""},
		{[]string{"-nc"}, ""},
		{[]string{"--limit-rate", "fast", "http://h/x"}, ""},
		{[]string{"http://h/x", "http://h:99999/y"}, ""},
		{nil, ""},
	}) {
		_, err := app.Parse(tt.args)
		if err == nil {
			t.Errorf("%q: pawl understands it", tt.args)
			continue
		}
		got := spellingError{}
		errors.As(withIntention(err, app, tt.args), &got)
		if got.command != tt.want {
			t.Errorf("%q: got %s, want %s", tt.args, got.command, tt.want)
		}
	}
}

// TestMissingValue checks that an option without its value is named with its placeholder.
func TestMissingValue(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"http://h/x", "-o"}, "--output needs a value: --output FILE"},
		{[]string{"http://h/x", "--output"}, "--output needs a value: --output FILE"},
		{[]string{"http://h/x", "-x"}, "--connections needs a value: --connections N"},
		{[]string{"http://h/x", "-H"}, "--header needs a value: --header 'N: V'"},
		{[]string{"http://h/x", "--mirror"}, "--mirror needs a value: --mirror URL"},
		{[]string{"http://h/x", "--on-change"}, "--on-change needs a value: --on-change restart|fail"},
		{[]string{"http://h/x", "--limit-rate", "-q"}, "--limit-rate needs a value: --limit-rate RATE"},
		{[]string{"-d", "--quiet", "http://h/x"}, "--dir needs a value: --dir DIR"},
		{[]string{"mirror", "list", "--depth"}, "--depth needs a value: --depth N"},
		{[]string{"mirror", "list", "--include"}, "--include needs a value: --include GLOB"},
		{[]string{"report", "merge", "a", "-o"}, "--output needs a value: --output FILE"},
		{[]string{"config", "--import"}, "--import needs a value: --import FILE"},
		{[]string{"resume", "--as-curl"}, "--as-curl needs a value: --as-curl 'curl …'"},
	} {
		var stderr bytes.Buffer
		if code := run(tt.args, io.Discard, &stderr); code != 2 || !strings.Contains(stderr.String(), "pawl: error: "+tt.want+"\n") {
			t.Errorf("%q: got exit %d, want 2 and %q in %s", tt.args, code, tt.want, &stderr)
		}
	}
}

// TestImportMissing checks the error of a configuration file that cannot be read.
func TestImportMissing(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		var stderr bytes.Buffer
		code := run([]string{"config", "--import", path}, io.Discard, &stderr)
		if code != 3 || !strings.Contains(stderr.String(), "--import cannot be used: ") || !strings.Contains(stderr.String(), "hint: name an aria2.conf, .curlrc or .wgetrc") {
			t.Errorf("%s: got exit %d, want 3, and %s", path, code, &stderr)
		}
	}
}
