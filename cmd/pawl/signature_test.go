package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"

	"pawl/downloader/faultserver"
)

// A pgpSigner makes keys and signatures with gpg.
type pgpSigner struct {
	t    *testing.T
	home string
}

// newPGPSigner returns a signer. Without gpg and gpgv it skips the test, or fails it with
// PAWL_TEST_SERVERS=required.
func newPGPSigner(t *testing.T) *pgpSigner {
	t.Helper()
	for _, program := range []string{"gpg", "gpgv"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("PAWL_TEST_SERVERS") == "required" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	home, err := os.MkdirTemp("", "pgp") // the path of the agent's socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	s := &pgpSigner{t, home}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	return s
}

// gpg runs gpg with input, and returns its output.
func (s *pgpSigner) gpg(input string, args ...string) []byte {
	s.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", s.home, "--batch", "--quiet", "--no-tty", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("gpg %q: %v\n%s", args, err, messages.String())
	}
	return out
}

// newKey makes a key for a user, which expires after a time such as "1d".
func (s *pgpSigner) newKey(user, expires string, args ...string) {
	s.t.Helper()
	s.gpg("", append(args, "--quick-generate-key", user, "ed25519", "sign", expires)...)
}

// A signedSite is a directory with a keyring, and a server with a file and checksum files of it.
type signedSite struct {
	t    *testing.T
	dir  string
	srv  *faultserver.Server
	file faultserver.File
}

func newSignedSite(t *testing.T) *signedSite {
	s := &signedSite{t: t, dir: t.TempDir(), srv: faultserver.New(), file: faultserver.NewFile(50_000, 1)}
	t.Cleanup(s.srv.Close)
	s.srv.Put("f.bin", s.file)
	return s
}

// sums returns a checksum file of f.bin.
func (s *signedSite) sums() string {
	b := make([]byte, s.file.Size)
	s.file.ReadAt(b, 0)
	return strings.TrimPrefix(sha256Of(b), "sha256:") + "  f.bin\n"
}

func (s *signedSite) write(name string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// A signedRun is a run of pawl, and what must come of it.
type signedRun struct {
	name string
	args []string // after which --checksums SUMS or the list come
	sums string   // name of the checksum file
	path string   // PATH of pawl; "" for the usual one
	code int
	want string // in stderr; must not be there if it begins with "!"
}

// run runs pawl as get with --checksums and as mirror with the checksum file as the list, both of which must
// end in the same way. Unless the run succeeds, nothing may be requested or stored.
func (s *signedSite) run(r signedRun) {
	s.t.Helper()
	for _, args := range [][]string{{"--checksums", r.sums, s.srv.URL + "/f.bin"}, {"mirror", "--rounds", "1", "--base", s.srv.URL + "/", r.sums}} {
		s.srv.Reset()
		out := filepath.Join(s.dir, "out")
		os.RemoveAll(out)
		state := filepath.Join(s.dir, "state")
		os.RemoveAll(state)
		cmd := pawlCommand(s.dir, append(args, append([]string{"-d", "out"}, r.args...)...)...)
		if r.path != "" {
			pawl := cmd.Path
			cmd.Env = append(cmd.Env, "PATH="+r.path)
			cmd.Path = pawl
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		code := cmd.ProcessState.ExitCode()
		want, absent := strings.CutPrefix(r.want, "!")
		if code != r.code || strings.Contains(stderr.String(), want) == absent {
			s.t.Errorf("%s, %q: got exit %d, want %d and %q in\n%s", r.name, args, code, r.code, r.want, stderr.String())
		}
		if r.code == 0 {
			checkFile(s.t, filepath.Join(out, "f.bin"), s.file)
		} else if requests := s.srv.Requests(); slices.ContainsFunc(requests, func(q faultserver.Request) bool { return q.Path == "/f.bin" }) || exists(out) {
			s.t.Errorf("%s, %q: got %d requests, and out exists: %v; want none", r.name, args, len(requests), exists(out))
		}
		if left, _ := filepath.Glob(filepath.Join(state, "pawl", "lists", "signed-*")); len(left) > 0 {
			s.t.Errorf("%s: %q is left", r.name, left)
		}
	}
}

// altered returns text with another digit in its first line that is a digest.
func altered(text string) string {
	i := strings.Index(text, "  f.bin")
	b := []byte(text)
	b[i-1] ^= 1 // another hex digit, except for a, which becomes `
	if b[i-1] == '`' || b[i-1] == 'g' {
		b[i-1] = '0'
	}
	return string(b)
}

// TestOpenPGPSignatures checks lists that are signed with gpg in each form.
func TestOpenPGPSignatures(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	pgp, s := newPGPSigner(t), newSignedSite(t)
	pgp.newKey("right", "never")
	pgp.newKey("other", "never")
	pgp.newKey("old", "1d", "--faked-system-time", "20200101T000000")
	sums := s.sums()
	evil := strings.Repeat("0", 64) + "  f.bin\n"
	clear := string(pgp.gpg(sums, "-u", "right", "--clearsign"))
	s.write("keys.gpg", pgp.gpg("", "--export", "right"))
	s.write("keys.asc", pgp.gpg("", "--armor", "--export", "right"))
	s.write("both.gpg", pgp.gpg("", "--export", "right", "other"))
	s.write("other.gpg", pgp.gpg("", "--export", "other"))
	s.write("old.gpg", pgp.gpg("", "--export", "old"))
	s.write("minisign.pub", []byte(newEd25519Signer(1).public()))
	s.write("SUMS", []byte(sums))
	s.write("SUMS.altered", []byte(altered(sums)))
	s.write("SUMS.asc", pgp.gpg(sums, "-u", "right", "--armor", "--detach-sign"))
	s.write("SUMS.gpg", pgp.gpg(sums, "-u", "right", "--detach-sign"))
	s.write("SUMS.two", pgp.gpg(sums, "-u", "right", "-u", "other", "--detach-sign"))
	s.write("SUMS.old", pgp.gpg(sums, "-u", "old", "--faked-system-time", "20200101T000001", "--detach-sign"))
	s.write("CLEAR", []byte(clear))
	s.write("CLEAR.altered", []byte(altered(clear)))
	s.write("CLEAR.before", []byte(evil+clear))
	s.write("CLEAR.after", []byte(clear+evil))
	s.write("CLEAR.twice", []byte(strings.Replace(clear, sums, evil, 1)+clear))
	s.write("EMPTY", nil)
	bin := t.TempDir() // a PATH without gpgv
	for _, r := range sample(4, []signedRun{
		{name: "armored", sums: "SUMS", args: []string{"--signature", "SUMS.asc", "--keyring", "keys.gpg"}, want: "!warning"},
		{name: "binary", sums: "SUMS", args: []string{"--signature", "SUMS.gpg", "--keyring", "keys.gpg"}, want: "!warning"},
		{name: "armored keys", sums: "SUMS", args: []string{"--signature", "SUMS.gpg", "--keyring", "keys.asc"}, want: "!warning"},
		{name: "clear-signed", sums: "CLEAR", args: []string{"--keyring", "keys.gpg"}, want: "!warning"},
		{name: "clear-signed, text behind it", sums: "CLEAR.after", args: []string{"--keyring", "keys.gpg"}, want: "!warning"},
		{name: "two signatures, one key", sums: "SUMS", args: []string{"--signature", "SUMS.two", "--keyring", "keys.gpg"}, want: "!warning"},
		{name: "two keys", sums: "SUMS", args: []string{"--signature", "SUMS.gpg", "--keyring", "both.gpg"}, want: "!warning"},
		{name: "not verified", sums: "CLEAR", want: "the list is signed, and its signature is not verified"},
		{name: "not signed", sums: "SUMS", want: "!signature"},

		{name: "altered", sums: "SUMS.altered", args: []string{"--signature", "SUMS.asc", "--keyring", "keys.gpg"}, code: 32, want: "the signature does not match"},
		{name: "clear-signed, altered", sums: "CLEAR.altered", args: []string{"--keyring", "keys.gpg"}, code: 32, want: "the signature does not match"},
		{name: "clear-signed, text before it", sums: "CLEAR.before", args: []string{"--keyring", "keys.gpg"}, code: 32, want: "the list has none in it"},
		{name: "two clear-signed texts", sums: "CLEAR.twice", args: []string{"--keyring", "keys.gpg"}, code: 32, want: "error: "},
		{name: "another key", sums: "SUMS", args: []string{"--signature", "SUMS.asc", "--keyring", "other.gpg"}, code: 32, want: "not in the keyring"},
		{name: "clear-signed, another key", sums: "CLEAR", args: []string{"--keyring", "other.gpg"}, code: 32, want: "not in the keyring"},
		{name: "an expired key", sums: "SUMS", args: []string{"--signature", "SUMS.old", "--keyring", "old.gpg"}, code: 32, want: "the key has expired"},
		{name: "keys of minisign", sums: "SUMS", args: []string{"--signature", "SUMS.asc", "--keyring", "minisign.pub"}, code: 32, want: "the keyring has keys of minisign"},
		{name: "an empty keyring", sums: "SUMS", args: []string{"--signature", "SUMS.asc", "--keyring", "EMPTY"}, code: 32, want: "not in the keyring"},
		{name: "an empty signature", sums: "SUMS", args: []string{"--signature", "EMPTY", "--keyring", "keys.gpg"}, code: 32, want: "it is none of OpenPGP"},
		{name: "the list as its own signature", sums: "SUMS", args: []string{"--signature", "SUMS", "--keyring", "keys.gpg"}, code: 32, want: "it is none of OpenPGP"},
		{name: "no keyring", sums: "SUMS", args: []string{"--signature", "SUMS.asc"}, code: 2, want: "--keyring FILE"},
		{name: "a missing keyring", sums: "SUMS", args: []string{"--signature", "SUMS.asc", "--keyring", "none"}, code: 2, want: "--keyring: open "},
		{name: "without gpgv", sums: "SUMS", args: []string{"--signature", "SUMS.asc", "--keyring", "keys.gpg"}, path: bin, code: 1, want: "install the package gpgv"},
		{name: "clear-signed, without gpgv", sums: "CLEAR", args: []string{"--keyring", "keys.gpg"}, path: bin, code: 1, want: "install the package gpgv"},
	}) {
		s.run(r)
	}
}

// TestSignatureURL checks that list and signature may be at URLs, and that the list is read again from
// its copy.
func TestSignatureURL(t *testing.T) {
	t.Parallel()
	s, signer := newSignedSite(t), newEd25519Signer(1)
	sums := s.sums()
	texts := map[string]string{"/SUMS": sums, "/SUMS.minisig": signer.minisign(sums, "c"), "/ALTERED": altered(sums)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := texts[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
		}
		io.WriteString(w, text)
	}))
	t.Cleanup(srv.Close)
	web := srv.URL
	s.write("key.pub", []byte(signer.public()))
	args := []string{"--signature", web + "/SUMS.minisig", "--keyring", "key.pub"}
	for range 2 {
		s.run(signedRun{name: "right", sums: web + "/SUMS", args: args, want: "!warning"})
	}
	s.run(signedRun{name: "altered", sums: web + "/ALTERED", args: args, code: 32, want: "the signature does not match"})
	s.run(signedRun{name: "missing", sums: web + "/SUMS", args: []string{"--signature", web + "/none", "--keyring", "key.pub"}, code: 8, want: "404"})
}

// TestEd25519Signatures checks lists that are signed by minisign and signify.
func TestEd25519Signatures(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	s, right, other := newSignedSite(t), newEd25519Signer(1), newEd25519Signer(2)
	sums := s.sums()
	s.write("key.pub", []byte(right.public()))
	s.write("other.pub", []byte(other.public()))
	s.write("SUMS", []byte(sums))
	s.write("SUMS.altered", []byte(altered(sums)))
	s.write("SUMS.minisig", []byte(right.minisign(sums, "timestamp:1")))
	s.write("SUMS.sig", []byte(right.signify(sums)))
	s.write("SHA256.sig", []byte(right.signify(sums)+sums)) // as OpenBSD has it
	s.write("ALTERED.sig", []byte(right.signify(sums)+altered(sums)))
	s.write("keys.gpg", []byte("\x99\x01\x0d"))
	for _, r := range []signedRun{
		{name: "minisign", sums: "SUMS", args: []string{"--signature", "SUMS.minisig", "--keyring", "key.pub"}, want: "!warning"},
		{name: "signify", sums: "SUMS", args: []string{"--signature", "SUMS.sig", "--keyring", "key.pub"}, want: "!warning"},
		{name: "embedded", sums: "SHA256.sig", args: []string{"--keyring", "key.pub"}, want: "!warning"},
		{name: "not verified", sums: "SHA256.sig", want: "its signature is not verified"},
		{name: "minisign, altered", sums: "SUMS.altered", args: []string{"--signature", "SUMS.minisig", "--keyring", "key.pub"}, code: 32, want: "the signature does not match"},
		{name: "signify, altered", sums: "SUMS.altered", args: []string{"--signature", "SUMS.sig", "--keyring", "key.pub"}, code: 32, want: "the signature does not match"},
		{name: "embedded, altered", sums: "ALTERED.sig", args: []string{"--keyring", "key.pub"}, code: 32, want: "the signature does not match"},
		{name: "another key", sums: "SUMS", args: []string{"--signature", "SUMS.minisig", "--keyring", "other.pub"}, code: 32, want: "not in the keyring"},
		{name: "embedded, another key", sums: "SHA256.sig", args: []string{"--keyring", "other.pub"}, code: 32, want: "not in the keyring"},
		{name: "keys of OpenPGP", sums: "SUMS", args: []string{"--signature", "SUMS.sig", "--keyring", "keys.gpg"}, code: 32, want: "the keyring has keys of OpenPGP"},
		{name: "not signed", sums: "SUMS", args: []string{"--keyring", "key.pub"}, code: 32, want: "--signature FILE|URL"},
	} {
		s.run(r)
	}
}

// TestProofOfSignedList checks that a verified signature is the proof of the files of a list in the
// report, in JSON and in the last line, also of files that are here already; and that it is not the
// proof of another digest.
func TestProofOfSignedList(t *testing.T) {
	t.Parallel()
	s, signer := newSignedSite(t), newEd25519Signer(1)
	sums := s.sums()
	s.srv.Put("none.bin", s.file) // the list has no digest of it
	s.write("key.pub", []byte(signer.public()))
	s.write("SUMS", []byte(sums))
	s.write("SUMS.minisig", []byte(signer.minisign(sums, "c")))
	plain := s.srv.URL + "/f.bin\n" + s.srv.URL + "/none.bin\n"
	s.write("plain", []byte(plain))
	s.write("plain.minisig", []byte(signer.minisign(plain, "c")))
	url, key := s.srv.URL+"/f.bin", []string{"--keyring", "key.pub", "--signature"}
	for _, r := range []struct {
		args  []string
		proof string
		last  string // in stderr; "" for anything
	}{
		{append(key, "SUMS.minisig", "--checksums", "SUMS", "-d", "get", url), "signature", "the signed list's sha256 verified"},
		{append(key, "SUMS.minisig", "--checksums", "SUMS", "-d", "get", url), "signature", ""}, // it is there
		{append(key, "SUMS.minisig", "mirror", "--base", s.srv.URL+"/", "SUMS", "-d", "m"), "signature", ""},
		{append(key, "SUMS.minisig", "mirror", "--base", s.srv.URL+"/", "SUMS", "-d", "m"), "signature", ""}, // it is there
		{[]string{"mirror", "--base", s.srv.URL + "/", "SUMS", "-d", "m"}, "digest:list", ""},
		{[]string{"--checksums", "SUMS", "-d", "get2", url}, "digest:list", "the list's sha256 verified"},
		{append(key, "plain.minisig", "mirror", "plain", "-d", "p"), "checksums", ""}, // the signature is not of a digest
	} {
		args := slices.Clone(r.args)
		if i := slices.Index(args, "mirror"); i > 0 {
			args = slices.Concat([]string{"mirror"}, args[:i], args[i+1:])
		}
		out := pawlOK(t, s.dir, append(args, "--report", "report.json")...)
		if !strings.Contains(out, r.last) {
			t.Errorf("%q: no %q in %s", args, r.last, out)
		}
		report, err := os.ReadFile(filepath.Join(s.dir, "report.json"))
		if err != nil || !strings.Contains(strings.ReplaceAll(string(report), " ", ""), `"proof":"`+r.proof+`"`) {
			t.Errorf("%q: got %v and %s, want the proof %q", args, err, report, r.proof)
		}
	}
	cmd := pawlCommand(s.dir, append(key, "SUMS.minisig", "--checksums", "SUMS", "-d", "json", "--json", url)...)
	if events, err := cmd.Output(); err != nil || !strings.Contains(string(events), `"proof":"signature"`) {
		t.Errorf("--json: got %v and %s", err, events)
	}
}

// TestVerifySignedList checks that verify verifies the signature of a checksum file and of a list, and
// compares nothing with one that is not as it was signed.
func TestVerifySignedList(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	s, right, other := newSignedSite(t), newEd25519Signer(1), newEd25519Signer(2)
	sums := s.sums()
	pawlOK(t, s.dir, s.srv.URL+"/f.bin")
	s.write("key.pub", []byte(right.public()))
	s.write("other.pub", []byte(other.public()))
	s.write("SUMS", []byte(sums))
	s.write("SUMS.altered", []byte(altered(sums)))
	s.write("SUMS.minisig", []byte(right.minisign(sums, "c")))
	s.write("SHA256.sig", []byte(right.signify(sums)+sums))
	s.write("ALTERED.sig", []byte(right.signify(sums)+altered(sums)))
	detached := []string{"--signature", "SUMS.minisig", "--keyring", "key.pub"}
	for _, tt := range []struct {
		args []string
		code int
		want string // in stderr; must not be there if it begins with "!"
	}{
		{append(detached, "--checksums", "SUMS"), 0, "!warning"},
		{append(detached, "--checksums", "SUMS", "f.bin"), 0, "!warning"},
		{append(detached, "SUMS"), 0, "!warning"},
		{[]string{"--keyring", "key.pub", "--checksums", "SHA256.sig"}, 0, "!warning"},
		{[]string{"--keyring", "key.pub", "--checksums", "SHA256.sig", "f.bin"}, 0, "!warning"},
		{[]string{"--keyring", "key.pub", "SHA256.sig"}, 0, "!warning"},
		{[]string{"--keyring", "key.pub", "f.bin"}, 0, "!warning"}, // such as from a config file
		{[]string{"--checksums", "SHA256.sig"}, 0, "not verified; verify it with --keyring FILE"},
		{[]string{"SHA256.sig"}, 0, "not verified; verify it with --keyring FILE"},
		{append(detached, "--checksums", "SUMS.altered"), 32, "the signature does not match"},
		{append(detached, "--checksums", "SUMS.altered", "f.bin"), 32, "the signature does not match"},
		{append(detached, "SUMS.altered"), 32, "the signature does not match"},
		{[]string{"--keyring", "key.pub", "--checksums", "ALTERED.sig"}, 32, "the signature does not match"},
		{[]string{"--keyring", "other.pub", "--checksums", "SHA256.sig"}, 32, "not in the keyring"},
		{[]string{"--keyring", "key.pub", "--checksums", "SUMS"}, 32, "give its signature with --signature"},
		{append(detached, "SUMS", "SHA256.sig"), 2, "--signature is for one list"},
		{append(detached, "--all"), 2, "--signature is for one list"},
		{[]string{"--signature", "SUMS.minisig", "--checksums", "SUMS"}, 2, "--keyring FILE"},
	} {
		cmd := pawlCommand(s.dir, append([]string{"verify"}, tt.args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		want, absent := strings.CutPrefix(tt.want, "!")
		if code := cmd.ProcessState.ExitCode(); code != tt.code || strings.Contains(stderr.String(), want) == absent {
			t.Errorf("verify %q: got exit %d, want %d and %q in\n%s", tt.args, code, tt.code, tt.want, stderr.String())
		}
	}
}

// TestRemoveOldCopies checks that the copies of killed processes are removed, and no others.
func TestRemoveOldCopies(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{copyPrefix + "old": 2 * maxCopyAge, copyPrefix + "new": time.Hour, "list": 2 * maxCopyAge} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	removeOldCopies(dir)
	if exists(filepath.Join(dir, copyPrefix+"old")) || !exists(filepath.Join(dir, copyPrefix+"new")) || !exists(filepath.Join(dir, "list")) {
		t.Error("the wrong copies were removed")
	}
}

// An ed25519Signer makes keys and signatures of minisign and signify.
type ed25519Signer struct {
	id  string
	key ed25519.PrivateKey
}

func newEd25519Signer(id byte) ed25519Signer {
	return ed25519Signer{strings.Repeat(string('a'+id), 8), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{id}, ed25519.SeedSize))}
}

func (s ed25519Signer) lines(comment, algorithm string, b []byte) string {
	return fmt.Sprintf("untrusted comment: %s\n%s\n", comment, base64.StdEncoding.EncodeToString([]byte(algorithm+s.id+string(b))))
}

func (s ed25519Signer) public() string {
	return s.lines("a key", "Ed", s.key.Public().(ed25519.PublicKey))
}

func (s ed25519Signer) signify(text string) string {
	return s.lines("verify with key.pub", "Ed", ed25519.Sign(s.key, []byte(text)))
}

func (s ed25519Signer) minisign(text, comment string) string {
	sum := blake2b.Sum512([]byte(text))
	sig := ed25519.Sign(s.key, sum[:])
	global := ed25519.Sign(s.key, append(bytes.Clone(sig), comment...))
	return s.lines("signature", "ED", sig) + "trusted comment: " + comment + "\n" + base64.StdEncoding.EncodeToString(global) + "\n"
}
