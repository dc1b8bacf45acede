package list

import (
	"fmt"
	"strings"
	"testing"

	"pawl/chunk"
)

var atB = Options{Base: "http://b/d/SHA256SUMS?q"}

func TestReadSums(t *testing.T) {
	sha256 := func(line int, url, out, digits string) string {
		return fmt.Sprintf("%d: http://b/d/%s out=%s sha256:%s", line, url, out, digits)
	}
	runCases(t, []listCase{
		{name: "GNU", text: "# comment\n" + hex64 + "  a b.iso\n\n" + strings.ToUpper(hex64) + " *./d/b.iso\n  " + hex64 + "   c\n", o: atB, want: []string{
			sha256(2, "a%20b.iso", "a b.iso", hex64), sha256(4, "d/b.iso", "d/b.iso", hex64),
			`! L:5: file name " c" begins or ends with a blank`}},
		{name: "one blank", text: hex64 + " a b\n" + hex64 + "\tc\n", o: atB, want: []string{sha256(1, "a%20b", "a b", hex64), sha256(2, "c", "c", hex64)}},
		{name: "BSD", text: "SHA256 (a) = " + hex64 + "\nSHA1 (b) (c) = " + hex40 + "\nBLAKE2b (d) = " + hex128 + "\nBLAKE2b-256 (e) = " + hex64 + "\n", o: atB, want: []string{
			sha256(1, "a", "a", hex64), "2: http://b/d/b%29%20%28c out=b) (c sha1:" + hex40, "3: http://b/d/d out=d blake2b:" + hex128,
			`! L:4: checksum algorithm "BLAKE2b-256" is not one of md5, sha1, sha224, sha256, sha384, sha512, blake2b, crc32c, adler32`}},
		{name: "OpenSSL", text: "SHA256(a)= " + hex64 + "\nSHA2-256(b)= " + hex64 + "\nSHA2-512(c)= " + hex128 + "\nBLAKE2B-512(d)= " + hex128 + "\n", o: atB, want: []string{
			sha256(1, "a", "a", hex64), sha256(2, "b", "b", hex64), "3: http://b/d/c out=c sha512:" + hex128, "4: http://b/d/d out=d blake2b:" + hex128}},
		{name: "by length", text: hex32 + "  a\n" + hex40 + "  b\n" + hex40 + hex32[:16] + "  c\n" + hex64 + hex32 + "  d\n" + hex128 + "  e\n" + hex32 + "00  f\n", o: atB, want: []string{
			"1: http://b/d/a out=a md5:" + hex32, "2: http://b/d/b out=b sha1:" + hex40, "3: http://b/d/c out=c sha224:" + hex40 + hex32[:16],
			"4: http://b/d/d out=d sha384:" + hex64 + hex32, "5: http://b/d/e out=e sha512:" + hex128, "! L:6: 34 hex digits are no known digest"}},
		{name: "B2SUMS", list: "dir/B2SUMS", text: hex128 + "  e\n", o: atB, want: []string{"1: http://b/d/e out=e blake2b:" + hex128}},
		{name: "b2", list: "e.iso.b2", text: hex128 + "\n", o: atB, want: []string{"1: http://b/d/e.iso out=e.iso blake2b:" + hex128}},
		{name: "SHA512SUMS of blake2b/", list: "blake2b/SHA512SUMS", text: hex128 + "  e\n", o: atB, want: []string{"1: http://b/d/e out=e sha512:" + hex128}},
		{name: "companion", list: "/x/y.iso.sha256", text: hex64 + "\n", o: atB, want: []string{sha256(1, "y.iso", "y.iso", hex64)}},
		{name: "companion by URL", list: "https://h/x/y.iso.SHA256SUM?a=/b.c", text: hex64, o: atB, want: []string{sha256(1, "y.iso", "y.iso", hex64)}},
		{name: "companion of nothing", list: "x/.sha256", text: hex64 + "\n", o: atB, want: []string{
			`! x/.sha256:1: a digest without a name, and the list's own name ".sha256" does not tell it`, "end x/.sha256: has no valid line of a checksum file"}},
		{name: "companion of no kind", list: "-", text: hex64 + "\n" + hex64 + "  a\n", o: atB, want: []string{
			`! -:1: a digest without a name, and the list's own name "-" does not tell it`, sha256(2, "a", "a", hex64)}},
		{name: "PGP", text: pgpMessage + "\nHash: SHA256\n\n# Fedora\n- " + hex64 + "  a\nSHA256 (bb: c) = " + hex64 + "\n" + pgpSignature + "\nVersion: x\n\niQ=\n" + hex64 + "  evil\n", o: atB, want: []string{
			sha256(5, "a", "a", hex64), sha256(6, "bb:%20c", "bb: c", hex64)}},
		{name: "signify", text: "untrusted comment: verify with x.pub\nRWQ=\nSHA256 (a) = " + hex64 + "\n", o: atB, want: []string{sha256(3, "a", "a", hex64)}},
		{name: "names that are URLs' syntax", text: hex64 + "  aa:b?c#d%41\n", o: atB, want: []string{sha256(1, "aa:b%3Fc%23d%2541", "aa:b?c#d%41", hex64)}},
		{name: "unsafe names", text: hex64 + "  /a\n" + hex64 + "  ../a\n" + hex64 + "  a/../..\n" + hex64 + `  a\b` + "\n" + `\` + hex64 + `  a\nb` + "\n", o: atB, want: []string{
			`! L:1: file name "/a" is an absolute path`, `! L:2: file name "../a" has a ".." in its path`, `! L:3: file name "a/../.." has a ".." in its path`,
			`! L:4: file name "a\\b" has a backslash`, `! L:5: file name "a\nb" has a control character`}},
		{name: "junk between", text: hex64 + "  a\njunk\n" + hex64[1:] + "  b\nSHA256 (c) = 00\nMD5 (d) = " + hex64 + "\n" + `\` + hex64 + `  a\tb` + "\n" + hex64 + "x\n", o: atB, want: []string{
			sha256(1, "a", "a", hex64), "! L:2: is no line of a checksum file", "! L:3: 63 hex digits are no known digest", "! L:4: is no line of a checksum file",
			`! L:5: checksum "MD5:` + hex64 + `" does not have the 32 hex digits of md5`, `! L:6: a backslash in an escaped name is not before \, n or r`,
			"! L:7: is no line of a checksum file"}},
		{name: "forced", text: "junk\nSHA1 (a) = " + hex40, o: Options{Format: Checksum, Base: "http://b"}, want: []string{
			"! L:1: is no line of a checksum file", "2: http://b/a out=a sha1:" + hex40}},
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
		sum, name, err := parseDigest(line, "L")
		if name != want || err != nil || sum != mustSum(t, "sha256:"+hex64) {
			t.Errorf("parseDigest(%q): got %v %q, %v, want %q", line, sum, name, err, want)
		}
	}
	if _, _, err := parseDigest(`\`+hex64+`  a\`, "L"); err == nil {
		t.Error("a backslash at the end: got no error")
	}
}

func TestSumsFind(t *testing.T) {
	text := strings.Join([]string{
		hex64 + "  ./top.iso", hex64 + " *dir/sub/x.iso", hexB64 + "  other/y.iso", hex64 + "  more/y.iso",
		hex64 + "  a/same", hex64 + "  b/same", hex32 + "  weak", hex64 + "  weak", hex128 + "  weak", hex40 + "  weak",
		hex64 + "  twice", hexB64 + "  twice", hex64 + "  q/twice", hex64 + "  m/late", hex64 + "  n/late", hexB64 + "  n/late", `\` + hex64 + `  n\nl`, hex64 + `  w\z.iso`, "junk", "",
	}, "\n")
	s, problems, err := ReadSums("L", strings.NewReader(gzipped(text)), 0)
	if err != nil || len(problems) != 1 || problems[0].Error() != "L:19: is no line of a checksum file" {
		t.Fatalf("got problems %v, error %v", problems, err)
	}
	a, b := "sha256:"+hex64, "sha256:"+hexB64
	for path, want := range map[string]string{
		"top.iso": a, "./top.iso": a, ".//./top.iso": a, "elsewhere/top.iso": a, "dir/sub/x.iso": a, "./dir/sub/x.iso": a, "x.iso": a, "sub/x.iso": a,
		"other/y.iso": b, "more/y.iso": a, "y.iso": "clash", "third/y.iso": "clash", "same": a, "weak": "sha512:" + hex128,
		"twice": "clash", "q/twice": a, "z/twice": "clash", "m/late": a, "late": "clash", "n\nl": a, "z.iso": a, "none": "", "": "", "iso": "",
	} {
		got, err := s.Find(path)
		if want == "clash" {
			if err == nil || !got.IsZero() || !strings.Contains(err.Error(), "L: has different checksums for") {
				t.Errorf("Find(%q): got %v, %v, want an error", path, got, err)
			}
		} else if got.String() != want || err != nil {
			t.Errorf("Find(%q): got %v, %v, want %q", path, got, err, want)
		}
	}
}

func TestReadSumsWhole(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "x.md5: has no valid line of a checksum file",
		"junk\n":                  "x.md5: has no valid line of a checksum file",
		"<!doctype html>":         "x.md5: is a web page, no list",
		"\x1f\x8bjunk":            "x.md5: unexpected EOF",
		hex32 + "  a\n" + "http:": "",
	} {
		s, _, err := ReadSums("x.md5", strings.NewReader(text), 0)
		if got := fmt.Sprint(err); err != nil && got != want || err == nil && (want != "" || s == nil) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	s, problems, err := ReadSums("x.md5", strings.NewReader(hex32), 0)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if got, err := s.Find("d/x"); got.String() != "md5:"+hex32 || err != nil {
		t.Errorf("companion: got %v, %v", got, err)
	}
}

func TestStronger(t *testing.T) {
	sums := []chunk.Sum{{}}
	for _, text := range []string{"crc32c:00000000", "md5:" + hex32, "sha1:" + hex40, "sha256:" + hex64, "blake2b:" + hex128, "sha512:" + hex128} {
		sums = append(sums, mustSum(t, text))
	}
	for i, a := range sums {
		for j, b := range sums {
			if got, want := stronger(a, b), sums[max(i, j)]; got != want {
				t.Errorf("stronger(%v, %v): got %v, want %v", a, b, got, want)
			}
		}
	}
}
