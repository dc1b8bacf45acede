package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pawl/downloader/faultserver"
)

// rawName has what messages must not have: an escape sequence, a line feed, a mark that changes the direction of
// text, and a byte that is not UTF-8.
const rawName = "d\x1b[31m\n\u202e\xff"

// TestRawNames checks that no message has the raw bytes of the name of a file or directory of this machine.
func TestRawNames(t *testing.T) {
	sampled(t, 8)
	s := newSite(t)
	s.add("f.bin", 10)
	s.add("g.bin", 3<<20)
	dir := filepath.Join(s.dir, rawName)
	must(s.testRun, os.Mkdir(dir, 0o777))
	list, sums := rawName+"/list", rawName+"/SUMS"
	s.writeList(list, s.srv.URL+"/f.bin", "nonsense")
	s.writeList(sums, strings.TrimPrefix(checksumOf(s.testRun, s.files["f.bin"]), "sha256:")+"  f.bin")
	s.writeFile(filepath.Join(dir, "foreign"), []byte("x"))
	s.writeFile(filepath.Join(dir, "report"), nil)
	sumLine := strings.TrimPrefix(checksumOf(s.testRun, s.files["f.bin"]), "sha256:") + "  f.bin\n"
	s.writeFile(filepath.Join(dir, "signed"), []byte(newEd25519Signer(1).signify(sumLine)+sumLine))
	check := func(args ...string) {
		t.Helper()
		o := s.runPawl(args...)
		for i, r := range o.stderr {
			_, size := utf8.DecodeRuneInString(o.stderr[i:])
			if r != '\n' && !unicode.IsPrint(r) || r == utf8.RuneError && size == 1 {
				t.Errorf("pawl %q: %q in %q", args, r, o.stderr)
				break
			}
		}
		for line := range strings.Lines(o.stderr) {
			if !strings.Contains(line, "pawl: ") {
				t.Errorf("pawl %q: a line that is no message: %q in %q", args, line, o.stderr)
			}
		}
	}
	url := s.srv.URL + "/f.bin"
	for _, args := range [][]string{
		{"-d", rawName, url}, {"-v", "-d", rawName, url}, {"-o", rawName + "/foreign", url}, {"-o", rawName + "/h", url + "x"},
		{"--checksums", sums, "-d", rawName + "/sums", url}, {"--checksums", list, "-d", rawName + "/sums", url}, {"--checksums", rawName, url},
		{"mirror", list, "-d", rawName + "/m"}, {"mirror", rawName, "-d", rawName + "/m"}, {"mirror", rawName + "/none", "-d", rawName + "/m"},
		{"mirror", rawName + "/foreign", "-d", rawName + "/m"}, {"mirror", list, "-d", rawName + "/foreign"}, {"mirror", "--dry-run", list, "-d", rawName + "/n"},
		{"verify", rawName + "/f.bin"}, {"verify", rawName}, {"verify", "--checksums", sums, "-d", rawName}, {"verify", "--checksums", sums, "-d", rawName + "/none"},
		{"verify", rawName + "/foreign"}, {"verify", rawName + "/none"}, {"list", "--all"}, {"remove", rawName + "/none"}, {"resume", rawName + "/none"},
		{"report", "merge", rawName + "/none"}, {"report", "merge", rawName + "/report"}, {"config", "--import", rawName + "/none"}, {"config", "--import", rawName + "/foreign"},
		{"--report", rawName + "/none/x", url}, {"--netrc-file", rawName + "/none", url}, {"--load-cookies", rawName + "/foreign", url}, {"--bearer-file", rawName + "/report", url},
		{"-H", "@" + rawName + "/foreign", url}, {"--cacert", rawName + "/foreign", url}, {"--config", rawName + "/foreign", url}, {"--state", rawName + "/foreign", url},
		{"mirror", "--keyring", rawName + "/none", list, "-d", rawName + "/m"}, {"--on-complete", "exit 1", "-d", rawName + "/hook", url}, {rawName}, {"mirror", "-i", rawName},
		{"--checksums", rawName + "/signed", "-d", rawName + "/sums", url}, {"verify", rawName + "/signed"}, {"mirror", "--base", s.srv.URL, rawName + "/signed", "-d", rawName + "/m"},
		{"--state", rawName + "/state", "-d", rawName + "/sums", url}, {"remove", rawName + "/f.bin"}, {"--cert", rawName + "/foreign", url}, {"as", "curl", "-o", rawName + "/c", url}, {"as", "wget", "-i", rawName + "/none"},
	} {
		check(args...)
	}
	s.srv.Set(faultserver.CutAt(1<<20, func() { s.srv.Set(faultserver.Status(http.StatusInternalServerError, 0)) }))
	check("--tries", "1", "-d", rawName, s.srv.URL+"/g.bin")
	s.srv.Set()
	s.writeFile(filepath.Join(dir, "g.bin.part"), []byte("damaged"))
	check("list")
	check("resume", rawName+"/g.bin")
	s.writeFile(filepath.Join(dir, "g2.bin.part"), []byte("damaged"))
	check("-o", rawName+"/g2.bin", s.srv.URL+"/g.bin")
	must(s.testRun, os.WriteFile(filepath.Join(dir, "f.bin"), []byte("y"), 0o666))
	check("-d", rawName, url)
	check("verify", rawName)
	check("verify", "--repair", rawName)
}
