package list

import (
	"fmt"
	"strings"
	"testing"
)

var withBase = Options{Base: "http://b/d/SHA256SUMS?q"}

func TestReadChecksumFile(t *testing.T) {
	sha256 := func(line int, url, out, digits string) string {
		return fmt.Sprintf("%d: http://b/d/%s out=%s sha256:%s", line, url, out, digits)
	}
	checkCases(t, []readCase{
		{name: "md5sum style", text: "# comment\n" + hex64 + "  a b.iso\n\n" + strings.ToUpper(hex64) + " *./d/b.iso\n  " + hex64 + "  c \n", o: withBase, want: []string{
			sha256(2, "a%20b.iso", "a b.iso", hex64), sha256(4, "d/b.iso", "d/b.iso", hex64),
			`! L:5: file name "c " begins or ends with white space`}},
		{name: "one blank before the name", text: hex64 + " a b\n" + hex64 + "\tc\n", o: withBase, want: []string{sha256(1, "a%20b", "a b", hex64), sha256(2, "c", "c", hex64)}},
		{name: "BSD", text: "SHA256 (a) = " + hex64 + "\nSHA1 (b) (c) = " + hex40 + "\nBLAKE2b (d) = " + hex128 + "\nBLAKE2b-256 (e) = " + hex64 + "\n", o: withBase, want: []string{
			sha256(1, "a", "a", hex64), "2: http://b/d/b%29%20%28c out=b) (c sha1:" + hex40, "3: http://b/d/d out=d blake2b:" + hex128,
			`? L:4: unknown kind of digest "BLAKE2b-256" ignored; the file is not verified`, "4: http://b/d/e out=e"}},
		{name: "OpenSSL", text: "SHA256(a)= " + hex64 + "\nSHA2-256(b)= " + hex64 + "\nSHA2-512(c)= " + hex128 + "\nBLAKE2B-512(d)= " + hex128 + "\n", o: withBase, want: []string{
			sha256(1, "a", "a", hex64), sha256(2, "b", "b", hex64), "3: http://b/d/c out=c sha512:" + hex128, "4: http://b/d/d out=d blake2b:" + hex128}},
		{name: "by length", text: hex32 + "  a\n" + hex40 + "  b\n" + hex40 + hex32[:16] + "  c\n" + hex64 + hex32 + "  d\n" + hex128 + "  e\n" + hex32 + "00  f\n", o: withBase, want: []string{
			"1: http://b/d/a out=a md5:" + hex32, "2: http://b/d/b out=b sha1:" + hex40, "3: http://b/d/c out=c sha224:" + hex40 + hex32[:16],
			"4: http://b/d/d out=d sha384:" + hex64 + hex32, "5: http://b/d/e out=e sha512|blake2b:" + hex128, "! L:6: no known digest has 34 hex digits"}},
		{name: "B2SUMS", list: "dir/B2SUMS", text: hex128 + "  e\n", o: withBase, want: []string{"1: http://b/d/e out=e blake2b:" + hex128}},
		{name: "sidecar file of b2sum", list: "e.iso.b2", text: hex128 + "\n", o: withBase, want: []string{"1: http://b/d/e.iso out=e.iso blake2b:" + hex128}},
		{name: "SHA512SUMS of blake2b/", list: "blake2b/SHA512SUMS", text: hex128 + "  e\n", o: withBase, want: []string{"1: http://b/d/e out=e sha512:" + hex128}},
		{name: "sidecar file", list: "/x/y.iso.sha256", text: hex64 + "\n", o: withBase, want: []string{sha256(1, "y.iso", "y.iso", hex64)}},
		{name: "sidecar file from a URL", list: "https://h/x/y.iso.SHA256SUM?a=/b.c", text: hex64, o: withBase, want: []string{sha256(1, "y.iso", "y.iso", hex64)}},
		{name: "sidecar file without a base name", list: "x/.sha256", text: hex64 + "\n", o: withBase, want: []string{
			`! x/.sha256:1: digest has no file name, and the list's name ".sha256" does not imply one`, "end x/.sha256: has no valid checksum line"}},
		{name: "digest without a name, not in a sidecar file", list: "-", text: hex64 + "\n" + hex64 + "  a\n", o: withBase, want: []string{
			`! -:1: digest has no file name, and the list's name "-" does not imply one`, sha256(2, "a", "a", hex64)}},
		{name: "PGP", text: pgpMessage + "\nHash: SHA256\n\n# Fedora\n- " + hex64 + "  a\nSHA256 (bb: c) = " + hex64 + "\n" + pgpSignature + "\nVersion: x\n\niQ=\n" + hex64 + "  evil\n", o: withBase, want: []string{
			sha256(5, "a", "a", hex64), sha256(6, "bb:%20c", "bb: c", hex64), "? L:11: the list is signed, and its signature is not verified"}},
		{name: "signify", text: "untrusted comment: verify with x.pub\nRWQ=\nSHA256 (a) = " + hex64 + "\n", o: withBase, want: []string{
			sha256(3, "a", "a", hex64), "? L:3: the list is signed, and its signature is not verified"}},
		{name: "names with URL syntax are escaped", text: hex64 + "  aa:b?c#d%41\n", o: withBase, want: []string{sha256(1, "aa:b%3Fc%23d%2541", "aa:b?c#d%41", hex64)}},
		{name: "unsafe names", text: hex64 + "  /a\n" + hex64 + "  ../a\n" + hex64 + "  a/../..\n" + hex64 + `  \a\b` + "\n" + `\` + hex64 + `  a\nb` + "\n", o: withBase, want: []string{
			`! L:1: file name "/a" is an absolute path`, `! L:2: file name "../a" contains the path element ".."`, `! L:3: file name "a/../.." contains the path element ".."`,
			`! L:4: file name "\\a\\b" is an absolute path`, `! L:5: file name "a\nb" contains a control character`}},
		{name: "invalid lines in between", text: hex64 + "  a\njunk\n" + hex64[1:] + "  b\nSHA256 (c) = 00\nMD5 (d) = " + hex64 + "\n" + `\` + hex64 + `  a\tb` + "\n" + hex64 + "x\n", o: withBase, want: []string{
			sha256(1, "a", "a", hex64), "! L:3: no known digest has 63 hex digits", `! L:4: checksum "sha256:00" does not have the 64 hex digits of sha256`,
			`! L:5: checksum "md5:` + hex64 + `" does not have the 32 hex digits of md5`, `! L:6: escaped name contains a backslash that is not followed by \, n or r`,
			"! L:7: is not a valid checksum line"}},
		{name: "requested format", text: "junk\nSHA1 (a) = " + hex40, o: Options{Format: Checksum, Base: "http://b"}, want: []string{
			"2: http://b/a out=a sha1:" + hex40}},
	})
}

func TestParseDigestEscapes(t *testing.T) {
	for line, want := range map[string]string{
		`\` + hex64 + `  n\nl`:       "n\nl",
		`\` + hex64 + ` *a\\n\r`:     "a\\n\r",
		`\SHA256 (n\nl) = ` + hex64:  "n\nl",
		`SHA256 (n\nl) = ` + hex64:   `n\nl`,
		hex64 + `  \n`:               `\n`,
		hex64 + `  *x`:               "*x",
		hex64 + ` **x`:               "*x",
		`SHA256 (a) = b) = ` + hex64: "a) = b",
		`SHA256 () = ` + hex64:       "",
	} {
		d, err := new(digestContext).parseDigest(line)
		if d.name != want || err != nil || d.sum != mustParseSum(t, "sha256:"+hex64) {
			t.Errorf("parseDigest(%q): got %v, %v, want %q", line, d, err, want)
		}
	}
	if _, err := new(digestContext).parseDigest(`\` + hex64 + `  a\`); err == nil {
		t.Error("trailing backslash: got no error")
	}
}
