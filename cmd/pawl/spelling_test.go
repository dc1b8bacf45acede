package main

import (
	"errors"
	"io"
	"os"
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
	for _, tt := range []struct {
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
		{[]string{"f.iso"}, ""},
		{[]string{"none.txt"}, ""},
		{[]string{"ftp://h/x"}, ""},
		{[]string{"-nc"}, ""},
		{[]string{"--limit-rate", "fast", "http://h/x"}, ""},
		{[]string{"http://h/x", "http://h:99999/y"}, ""},
		{nil, ""},
	} {
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
