package list

import (
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// Lists as they are found in the world, rebuilt from the shape of real ones.

// utf16Text encodes a text in UTF-16.
func utf16Text(text string, bigEndian bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if bigEndian {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func TestReadChecksumFilesOfTheWorld(t *testing.T) {
	o := Options{Base: "http://b/"}
	hexB128 := strings.Repeat("fedcba9876543210", 8)
	groups := func(digits string, width int, gap string) string {
		var b []string
		for ; digits != ""; digits = digits[width:] {
			b = append(b, strings.ToUpper(digits[:width]))
		}
		return strings.Join(b, gap)
	}
	x256 := "http://b/x.iso out=x.iso sha256:" + hex64
	checkCases(t, []readCase{
		{name: "Gentoo DIGESTS", list: "x.iso.DIGESTS", o: o, text: pgpMessage + "\nHash: SHA512\n\n# BLAKE2B HASH\n" + hex128 + "  x.iso\n# SHA512 HASH\n" + hexB128 + "  x.iso\n# BLAKE2B HASH\n" + hexB128 + "  x.iso.CONTENTS.gz\n" + pgpSignature + "\niQ\n",
			want: []string{"5: http://b/x.iso out=x.iso sha512:" + hexB128, "9: http://b/x.iso.CONTENTS.gz out=x.iso.CONTENTS.gz blake2b:" + hexB128,
				"? x.iso.DIGESTS:11: the list is signed, and its signature is not verified"}},
		{name: "Gentoo DIGESTS with Whirlpool", o: o, text: "# SHA512 HASH\n" + hex128 + "  x.iso\n# WHIRLPOOL HASH\n" + hexB128 + "  x.iso\n", want: []string{"2: http://b/x.iso out=x.iso sha512:" + hex128}},
		{name: "Gentoo Manifest", o: o, text: "DIST x.tgz 5 BLAKE2B " + hex128 + " SHA512 " + hexB128 + "\nMANIFEST a/Manifest 7 WHIRLPOOL " + hex128 + "\n", want: []string{
			"1: http://b/x.tgz out=x.tgz sha512:" + hexB128 + " size=5",
			`? L:2: unknown kind of digest "WHIRLPOOL" ignored; the file is not verified`, "2: http://b/a/Manifest out=a/Manifest size=7"}},
		{name: "Slackware", list: "CHECKSUMS.md5", o: o, text: "These are the MD5 message digests for the files in this directory.\nIf you want to test your files, use 'md5sum' and compare the values to\nthe ones listed here.\n\n" +
			"To test all these files, use this command:\n\ntail +13 CHECKSUMS.md5 | md5sum --check | less\n\nMD5 message digest                Filename\n" + hex32 + "  ./ANNOUNCE.15_0\n" + hex32 + "  ./a/x.txz\n", want: []string{
			"10: http://b/ANNOUNCE.15_0 out=ANNOUNCE.15_0 md5:" + hex32, "11: http://b/a/x.txz out=a/x.txz md5:" + hex32}},
		{name: "two algorithms without a word", list: "CHECKSUMS", o: o, text: hex128 + "  x.iso\n" + hexB128 + "  x.iso\n", want: []string{"1: http://b/x.iso out=x.iso sha512|blake2b:" + hex128}},
		{name: "words of prose", list: "CHECKSUMS", o: o, text: "b2sum of the images:\n" + hex128 + "  x.iso\n", want: []string{"2: http://b/x.iso out=x.iso blake2b:" + hex128}},
		{name: "words that contradict each other", list: "SHA512SUMS", o: o, text: "# BLAKE2b\n" + hex128 + "  x.iso\n", want: []string{"2: http://b/x.iso out=x.iso sha512|blake2b:" + hex128}},
		{name: "B3SUMS", list: "B3SUMS", o: o, text: hex64 + "  x.iso\n", want: []string{`? B3SUMS:1: unknown kind of digest "blake3" ignored; the file is not verified`, "1: http://b/x.iso out=x.iso"}},
		{name: "a list that names itself", list: "http://h/SHA256SUMS?x", o: o, text: hex64 + "  SHA256SUMS\n" + hex64 + "  ./SHA256SUMS\n" + hex64 + "  d/SHA256SUMS\n" + hex64 + " *x.iso\n", want: []string{
			"3: http://b/d/SHA256SUMS out=d/SHA256SUMS sha256:" + hex64, "4: " + x256}},
		{name: "named after its file", list: "d/x.iso.sha256", o: o, text: hex64 + "  /build/out/y.iso\n", want: []string{"1: " + x256}},
		{name: "named after its file, upper case and text", list: "x.iso.SHA256SUM.txt", o: o, text: "\n" + hex64 + "\n", want: []string{"2: " + x256}},
		{name: "named after its file, tagged", list: "x.iso.sha512", o: o, text: "SHA256 (out/y.iso) = " + hex64 + "\n", want: []string{"1: " + x256}},
		{name: "two algorithms in one sidecar", list: "x.iso.digest", o: o, text: "MD5: " + hex32 + "\nSHA256: " + hex64 + "\n", want: []string{"1: " + x256}},
		{name: "named after several files", list: "release.iso.sha256", o: o, text: hex64 + "  x.iso\n" + hexB64 + "  y.iso\n", want: []string{"1: " + x256, "2: http://b/y.iso out=y.iso sha256:" + hexB64}},
		{name: "named after a release", list: "checksums.sha256", o: o, text: hex64 + "  x.iso\n", want: []string{"1: " + x256}},
		{name: "named after a version", list: "y-24.04.sha256", o: o, text: hex64 + "  x.iso\n", want: []string{"1: " + x256}},
		{name: "gpg --print-md", o: o, text: "x.iso: " + groups(hex64, 8, " ") + "\ny z.iso: " + groups(hexB64, 8, " ") + "\n", want: []string{"1: " + x256, "2: http://b/y%20z.iso out=y z.iso sha256:" + hexB64}},
		{name: "gpg --print-md, wrapped", o: o, text: "x.iso:\n" + groups(hex64[:32], 8, " ") + "\n       " + groups(hex64[32:], 8, " ") + "\n" +
			"y.iso: " + groups(hex128[:64], 8, " ") + "\n       " + groups(hex128[64:120], 8, " ") + "\n       " + groups(hex128[120:], 8, " ") + "\n", want: []string{"2: " + x256, "4: http://b/y.iso out=y.iso sha512|blake2b:" + hex128}},
		{name: "gpg --print-mds", o: o, text: "x.iso:    MD5 = " + groups(hex32, 2, " ") + "\nx.iso: RMD160 = " + groups(hex40, 4, "  ") + "\nx.iso: SHA256 = " + groups(hex64[:32], 8, " ") + "\n                " + groups(hex64[32:], 8, " ") + "\n", want: []string{"1: " + x256}},
		{name: "FreeBSD distinfo", o: o, text: "TIMESTAMP = 1680000000\nSHA256 (x.iso) = " + hex64 + "\nSIZE (x.iso) = 4096\nSHA256 (d/y.tgz) = " + hexB64 + "\nSIZE (d/y.tgz) = 7\n", want: []string{
			"2: " + x256 + " size=4096", "4: http://b/d/y.tgz out=d/y.tgz sha256:" + hexB64 + " size=7"}},
		{name: "NetBSD distinfo", o: o, text: "$NetBSD: distinfo,v 1.1 $\n\nBLAKE2s (x.iso) = " + hexB64 + "\nSHA256 (x.iso) = " + hex64 + "\nSize (x.iso) = 4096 bytes\n", want: []string{"3: " + x256 + " size=4096"}},
		{name: "OpenBSD, base64", o: o, text: "SHA256 (x.iso) = ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=\n", want: []string{"1: " + x256}},
		{name: "openssl dgst -c", o: o, text: "MD5(x.iso)= " + strings.ToLower(groups(hex32, 2, ":")) + "\n", want: []string{"1: http://b/x.iso out=x.iso md5:" + hex32}},
		{name: "Debian Release", o: o, text: "Origin: Debian\nDate: 2024\nMD5Sum:\n " + hex32 + "  12 main/y\nSHA256:\n " + hex64 + "     4096 x.iso\n", want: []string{"4: http://b/main/y out=main/y md5:" + hex32 + " size=12", "6: " + x256 + " size=4096"}},
		{name: "Debian Release, the same files", o: o, text: "MD5Sum:\n " + hex32 + " 4096 x.iso\n " + hex32 + " 1 y\nSHA1:\n " + hex40 + " 4096 x.iso\nSHA256:\n " + hex64 + " 4096 ./x.iso\n", want: []string{
			"3: http://b/y out=y md5:" + hex32 + " size=1", "7: " + x256 + " size=4096"}},
		{name: "sections", o: o, text: hex32 + "  x.iso\n" + hex32 + "  y\n" + hex64 + "  x.iso\n" + hexB64 + "  y\n", want: []string{"3: " + x256, "4: http://b/y out=y sha256:" + hexB64}},
		{name: "sections, strongest first", o: o, text: "SHA512 (x) = " + hex128 + "\nSHA512 (y) = " + hex128 + "\nMD5 (x) = " + hex32 + "\nMD5 (y) = " + hex32 + "\nMD5 (z) = " + hex32 + "\n", want: []string{
			"1: http://b/x out=x sha512:" + hex128, "2: http://b/y out=y sha512:" + hex128, "5: http://b/z out=z md5:" + hex32}},
		{name: "sections, an unknown kind", o: o, text: "BLAKE3 (x.iso) = " + hex64 + "\nBLAKE3 (y) = " + hex64 + "\nSHA256 (x.iso) = " + hex64 + "\n", want: []string{
			`? L:2: unknown kind of digest "BLAKE3" ignored; the file is not verified`, "2: http://b/y out=y", "3: " + x256}},
		{name: "sections, a contradiction in the strongest", o: o, text: hex32 + "  x\n" + hex32 + "  y\n" + hex64 + "  x\n" + hexB64 + "  x\n", want: []string{
			"2: http://b/y out=y md5:" + hex32, `! L:4: has another digest for "x" than line 3; the file is not downloaded`}},
		{name: "b2sum -l 256", list: "B2SUMS256", o: o, text: hex64 + "  x\n", want: []string{`? B2SUMS256:1: unknown kind of digest "blake2b-256" ignored; the file is not verified`, "1: http://b/x out=x"}},
		{name: "b2sum -l 128", list: "B2SUMS", o: o, text: hex32 + "  x\n", want: []string{`? B2SUMS:1: unknown kind of digest "blake2b-128" ignored; the file is not verified`, "1: http://b/x out=x"}},
		{name: "b2sum --tag -l 224", o: o, text: "BLAKE2b-224 (x) = " + hex32 + hex32[:24] + "\n", want: []string{`? L:1: unknown kind of digest "BLAKE2b-224" ignored; the file is not verified`, "1: http://b/x out=x"}},
		{name: "b2sum -l 256 with a heading", o: o, text: "# BLAKE2b-256\n" + hex64 + "  x\n", want: []string{`? L:2: unknown kind of digest "blake2b-256" ignored; the file is not verified`, "2: http://b/x out=x"}},
		{name: "POSIX cksum", o: o, text: "4038471504 75 x.iso\n1234567 0 d/a b\n", want: []string{
			`? L:1: unknown kind of digest "cksum" ignored; the file is not verified`, "1: http://b/x.iso out=x.iso size=75",
			`? L:2: unknown kind of digest "cksum" ignored; the file is not verified`, "2: http://b/d/a%20b out=d/a b size=0"}},
		{name: "SFV", list: "all.sfv", o: o, text: "; Generated by x\nx.iso 0123abcd\na b.rar  12345678\n", want: []string{
			`? all.sfv:2: unknown kind of digest "crc32" ignored; the file is not verified`, "2: http://b/x.iso out=x.iso",
			`? all.sfv:3: unknown kind of digest "crc32" ignored; the file is not verified`, "3: http://b/a%20b.rar out=a b.rar"}},
		{name: "SFV under another name", o: o, text: "x.iso 0123ABCD\nd/y.r00 ABCD0123\n", want: []string{
			`? L:1: unknown kind of digest "crc32" ignored; the file is not verified`, "1: http://b/x.iso out=x.iso",
			`? L:2: unknown kind of digest "crc32" ignored; the file is not verified`, "2: http://b/d/y.r00 out=d/y.r00"}},
		{name: "dates are no CRC", o: o, text: hex64 + "  x.iso\nrelease.txt 20250101\n", want: []string{"1: " + x256}},
		{name: "certutil", list: "-", o: o, text: "SHA256 hash of C:\\my dir\\x.iso:\n" + hex64 + "\nCertUtil: -hashfile command completed successfully.\n", want: []string{"2: " + x256}},
		{name: "certutil of Windows 7, in German", o: o, text: "SHA256-Hash von Datei x.iso:\n" + strings.ToLower(groups(hex64, 2, " ")) + "\nCertUtil: -hashfile-Befehl wurde erfolgreich ausgeführt.\n", want: []string{"2: " + x256}},
		{name: "Get-FileHash", o: o, text: "\nAlgorithm       Hash                                                                   Path\n---------       ----                                                                   ----\n" +
			"SHA256          " + strings.ToUpper(hex64) + "       C:\\Users\\J Doe\\x.iso\nMD5             " + hex32 + "                                       /home/u/y.iso\n\n\n", want: []string{"4: " + x256, "5: http://b/y.iso out=y.iso md5:" + hex32}},
		{name: "Get-FileHash in a narrow window", o: o, text: "Algorithm Hash Path\nSHA256          " + hex64 + "       C:\\Users\\J...\n", want: []string{"! L:2: file name \"J...\" is cut off", "end L: has no valid checksum line"}},
		{name: "Get-FileHash | Format-List", o: o, text: "Algorithm : SHA256\nHash      : " + hex64 + "\nPath      : C:\\d\\x.iso\n\nAlgorithm : MD5\nHash      : " + hex32 + "\nPath      : D:\\y.iso\n", want: []string{"3: " + x256, "7: http://b/y.iso out=y.iso md5:" + hex32}},
		{name: "Get-FileHash | Export-Csv", o: o, text: "#TYPE Microsoft.PowerShell\n\"Algorithm\",\"Hash\",\"Path\"\n\"SHA256\",\"" + hex64 + "\",\"C:\\d\\x.iso\"\n", want: []string{"3: " + x256}},
		{name: "tables", o: o, text: "| File | SHA256 |\n|------|--------|\n| x.iso | `" + hex64 + "` |\n", want: []string{"3: " + x256}},
		{name: "name first", o: o, text: "x.iso  " + hex64 + "\n", want: []string{"1: " + x256}},
		{name: "with a prefix", o: o, text: "sha256:" + hex64 + "  x.iso\n", want: []string{"1: " + x256}},
		{name: "URLs as names", text: hex64 + "  http://h/x.iso\n", want: []string{"1: http://h/x.iso sha256:" + hex64}},
		{name: "fingerprints", o: o, text: "Key fingerprint = " + hex40 + "\nfingerprint: " + groups(hex40, 4, " ") + "\ncommit " + hex40 + "\n" + hex64 + "  x.iso\n", want: []string{"4: " + x256}},
		{name: "contradiction", o: o, text: hex64 + "  x.iso\n" + hexB64 + "  x.iso\n" + hex64 + "  y.iso\n", want: []string{
			`! L:2: has another digest for "x.iso" than line 1; the file is not downloaded`, "3: http://b/y.iso out=y.iso sha256:" + hex64}},
		{name: "much prose", o: o, text: hex64 + "  x.iso\n" + strings.Repeat("prose\n", maxProse+1), want: []string{"1: " + x256, "? L:102: 101 of 102 lines have no digest; the list may be damaged"}},
		{name: "prose alone", o: Options{Base: "http://b/", Format: Checksum}, text: "These are SHA256 digests.\n", want: []string{"end L: has no valid checksum line"}},
	})
}

// A checksum file that can be read only once has a warning if its strongest digests come last.
func TestReadSumsOnce(t *testing.T) {
	text := hex32 + "  x\n" + hex32 + "  y\n" + hex64 + "  x\n" + hex64 + "  y\n"
	want := []string{"1: http://b/x out=x md5:" + hex32, "2: http://b/y out=y md5:" + hex32, "? L:3: " + errLateSums.Error(), "3: http://b/x out=x sha256:" + hex64, "4: http://b/y out=y sha256:" + hex64}
	if got := readAll("L", struct{ io.Reader }{strings.NewReader(text)}, Options{Base: "http://b/"}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	want = []string{"3: http://b/x out=x sha256:" + hex64, "4: http://b/y out=y sha256:" + hex64}
	if got := readAll("L", strings.NewReader(gzipped(text)), Options{Base: "http://b/"}); !slices.Equal(got, want) {
		t.Errorf("gzipped: got %q, want %q", got, want)
	}
}

// A checksum file in any of these shapes is also a table for the files of another list.
func TestReadSumsOfTheWorld(t *testing.T) {
	for name, c := range map[string]struct{ list, text, path, want string }{
		"DIGESTS":            {"x.DIGESTS", "# BLAKE2B HASH\n" + hex128 + "  x.iso\n", "x.iso", "blake2b:" + hex128},
		"another name":       {"x.iso.sha256", hex64 + "  y.iso\n", "x.iso", "sha256:" + hex64},
		"the name inside":    {"x.iso.sha256", hex64 + "  y.iso\n", "y.iso", "sha256:" + hex64},
		"wrapped at the end": {"L", "x.iso: 01234567 89ABCDEF 01234567 89ABCDEF\n  01234567 89ABCDEF 01234567\n 89ABCDEF\n", "x.iso", "sha256:" + hex64},
		"unknown kind":       {"L", "BLAKE2s (x.iso) = " + hexB64 + "\nMD5 (x.iso) = " + hex32 + "\n", "x.iso", "md5:" + hex32},
		"UTF-16":             {"L", bomUTF16LE + utf16Text(hex64+"  é.iso\r\n", false), "é.iso", "sha256:" + hex64},
	} {
		s, problems, err := ReadSums(c.list, strings.NewReader(c.text), 0)
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: got %v, %v", name, problems, err)
			continue
		}
		if got, err := s.Find(c.path); got.String() != c.want || err != nil {
			t.Errorf("%s: got %v, %v, want %s", name, got, err, c.want)
		}
	}
}

func TestReadDigestsBesideURLs(t *testing.T) {
	sum := " sha256:" + hex64
	unknown := func(line, kind string) string {
		return "? L:" + line + ": unknown kind of digest \"" + kind + "\" ignored; the file is not verified"
	}
	checkCases(t, []readCase{
		{name: "conda", text: "# platform: linux-64\n@EXPLICIT\nhttp://h/x.conda#" + hex32 + "\nhttp://h/y.conda#sha256:" + hex64 + "\nhttp://h/z#" + hex64 + "\n", want: []string{
			"3: http://h/x.conda md5:" + hex32, "4: http://h/y.conda" + sum, "5: http://h/z" + sum}},
		{name: "pip", text: "http://h/x.whl#sha256=" + hex64 + "\nname @ http://h/x.whl#sha256=" + hex64 + "\nhttp://h/x.whl#egg=x&md5=" + hex32 + "\nhttp://h/x.whl --hash=sha256:" + hex64 + "\n", want: []string{
			"1: http://h/x.whl" + sum, "2: http://h/x.whl" + sum, "3: http://h/x.whl md5:" + hex32, "4: http://h/x.whl" + sum}},
		{name: "other fragments", text: "http://h/x#page=2\nhttp://h/x#abc\n", want: []string{"1: http://h/x#page=2", "2: http://h/x#abc"}},
		{name: "after a tab", text: "http://h/x\t" + hex64 + "\nhttp://h/x\t4096\t" + hex64 + "\nhttp://h/x\tmd5:" + hex32 + "\n", want: []string{
			"1: http://h/x" + sum, "2: http://h/x" + sum + " size=4096", "3: http://h/x md5:" + hex32}},
		{name: "after blanks", text: "http://h/x  " + hex64 + "\nhttp://h/a b " + hex32 + "\nhttp://h/x blake2b " + hex128 + "\nhttp://h/x sha256-ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=\n", want: []string{
			"1: http://h/x" + sum, "2: http://h/a b md5:" + hex32, "3: http://h/x blake2b:" + hex128, "4: http://h/x" + sum}},
		{name: "Storage Transfer Service", text: "TsvHttpData-1.0\nhttp://h/x\t1357\tASNFZ4mrze8BI0VniavN7w==\n", want: []string{"2: http://h/x md5:" + hex32 + " size=1357"}},
		{name: "Metalink", text: metalink3Head + "<file name='x'><verification><hash type='tiger'>00</hash></verification><url>http://h/x</url></file></files></metalink>", want: []string{
			unknown("1", "tiger"), "1: http://h/x out=x"}},
		{name: "unknown kinds", text: "http://h/a#blake3=" + hex64 + "\nhttp://h/b\t0123456789abcdef\nhttp://h/c xxh64:0123456789abcdef\nhttp://h/d#foo=0123456789abcdef\n", want: []string{
			unknown("1", "blake3"), "1: http://h/a", unknown("2", "16 hex digits"), "2: http://h/b", unknown("3", "xxh64"), "3: http://h/c", unknown("4", "foo"), "4: http://h/d"}},
		{name: "invalid digests", text: "http://h/a#sha256=00\nhttp://h/b#sha256=" + hex64 + "\n checksum=sha-256=" + hexB64 + "\nhttp://h/c\n", want: []string{
			`! L:1: checksum "sha256:00" does not have the 64 hex digits of sha256`, "! L:2: has two different sha256 digests", "4: http://h/c"}},
		{name: "JSON", text: `{"url":"http://h/x","SHA256":"` + hex64 + `","md5":"` + hex32 + `"}
{"url":"http://h/x","checksum":"` + hex64 + `"}
{"url":"http://h/x","sha1":"` + hex40 + `","size":1}
{"url":"http://h/x","sha512":"sha512:` + hex128 + `"}
{"url":"http://h/x","digests":{"sha256":"` + hex64 + `"}}
{"url":"http://h/x","sha256":"ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8="}
{"url":"http://h/x#sha256=` + hex64 + `"}`, want: []string{
			"1: http://h/x" + sum, "2: http://h/x" + sum, "3: http://h/x sha1:" + hex40 + " size=1", "4: http://h/x sha512:" + hex128, "5: http://h/x" + sum, "6: http://h/x" + sum, "7: http://h/x" + sum}},
		{name: "JSON, unknown kinds", text: `{"url":"http://h/x","blake3":"` + hex64 + `"}
{"url":"http://h/x","checksum":"whirlpool:` + hex128 + `"}
{"url":"http://h/x","hash":"` + hex40 + `"}
{"url":"http://h/x","sha256":"00"}
{"url":"http://h/x","md5":null,"checksum":""}`, want: []string{
			unknown("1", "blake3"), "1: http://h/x", unknown("2", "whirlpool"), "2: http://h/x", unknown("3", "hash"), "3: http://h/x",
			`! L:4: checksum "sha256:00" does not have the 64 hex digits of sha256`, "5: http://h/x"}},
	})
	got := readAll("L", strings.NewReader(strings.Repeat("http://h/a#blake3="+hex64+"\n", 15)), Options{})
	if n := len(got); n != 15+10+1 || got[n-1] != "? L:15: 5 more digests of unknown kinds ignored; the files are not verified" {
		t.Errorf("many unknown kinds: got %q", got)
	}
}

func TestReadJSONArray(t *testing.T) {
	checkCases(t, []readCase{
		{name: "strings", text: `["http://h/x", "http://h/y,z"]`, want: []string{"1: http://h/x", "1: http://h/y,z"}},
		{name: "objects", text: "[\n  {\n    \"url\": \"http://h/x\",\n    \"path\": \"d/]}\\\"x\"\n  },\n  {\"url\": \"http://h/y\", \"filename\": \"y\"},\n  {\"url\":\"http://h/z\",\"name\":\"z\",\"out\":\"o\"}\n]\n", want: []string{
			`2: http://h/x out=d/]}"x`, "6: http://h/y out=y", "7: http://h/z out=o"}},
		{name: "objects over lines", text: "{\n \"url\": \"http://h/x\"\n}\n{\n \"url\": \"http://h/y\", \"name\": {\"en\":\"y\"}\n}\n", want: []string{"1: http://h/x", "4: http://h/y"}},
		{name: "an invalid entry", text: "[{\"url\":\"http://h/x\",},\n 7, null,\n{\"url\":\"ftp://h/y\"}, \"http://h/z\"]", want: []string{
			"! L:1: invalid character '}' looking for beginning of object key string", "! L:2: is a number, and neither an object nor a string",
			"! L:2: entry has no URL", `! L:3: "ftp://h/y" is not an http or https URL`, "3: http://h/z"}},
		{name: "a long entry", text: "[\"http://h/" + strings.Repeat("x", maxEntry) + "\",\n\"http://h/y\"]", want: []string{"! L:1: entry is longer than 1048576 bytes", "2: http://h/y"}},
		{name: "cut off", text: "[\"http://h/x\",\n", want: []string{"1: http://h/x", "end L: reading failed after line 2: the array has no end"}},
		{name: "cut off in an entry", text: "[\"http://h/x\",\n{\"url\":\"http", want: []string{"1: http://h/x", "end L: reading failed after line 2: unexpected EOF"}},
		{name: "empty", text: "[]"},
		{name: "a pattern is none", text: "[1-2]/x\n", o: Options{Base: "http://b/", Glob: true}, want: []string{"1: http://b/1/x", "1: http://b/2/x"}},
	})
}

func TestReadTable(t *testing.T) {
	checkCases(t, []readCase{
		{name: "with a header", text: "url,path\nhttp://h/get?id=1,d/x.iso\n\"http://h/a,b\",\"y, z.iso\"\nhttp://h/w\n", want: []string{
			"2: http://h/get?id=1 out=d/x.iso", "3: http://h/a,b out=y, z.iso", "4: http://h/w"}},
		{name: "without a header", text: "http://h/x.iso,d/x.iso\nhttp://h/y,y.iso\nhttp://h/z,\n", want: []string{"1: http://h/x.iso out=d/x.iso", "2: http://h/y out=y.iso", "3: http://h/z"}},
		{name: "names of digests", text: "url,checksum_sha256\nhttp://h/x," + hex64 + "\n", want: []string{"2: http://h/x sha256:" + hex64}},
		{name: "names of digests", text: "file_md5,url\n" + hex32 + ",http://h/x\n", want: []string{"2: http://h/x md5:" + hex32}},
		{name: "names of digests", text: "url\thash_md5\tsize\nhttp://h/x\t" + hex32 + "\t1\n", want: []string{"2: http://h/x md5:" + hex32 + " size=1"}},
		{name: "names of digests", text: "url,name,file_hash\nhttp://h/x,y," + hex64 + "\n", want: []string{"2: http://h/x out=y sha256:" + hex64}},
		{name: "digests of what is not known", text: "url,name,tarball_md5\nhttp://h/x,y," + hex32 + "\n", want: []string{
			`? L:1: column "tarball_md5" looks like a digest and is not understood; the files are not verified by it`, "2: http://h/x out=y"}},
		{name: "digests of what is not known beside others", text: "url,md5,commit_sha\nhttp://h/x," + hex32 + "," + hex40 + "\n", want: []string{"2: http://h/x md5:" + hex32}},
		{name: "SRA", text: "Run,bases,download_path,Platform\nR1,5,http://h/R1.sra,x\n", want: []string{"2: http://h/R1.sra"}},
		{name: "line ends in fields", text: "url,path,note\n\"http://h/x\",x,\"one\ntwo, \"\"three\"\"\n\nfour\"\nhttp://h/y,y,z\nhttp://h/z,z,\"open\nhttp://h/w,w,\n", want: []string{
			"2: http://h/x out=x", "6: http://h/y out=y", "! L:7: quotes of a field do not match", "8: http://h/w out=w"}},
		{name: "quoted", text: "\"http://h/x\",\"a \"\"b\"\".iso\"\n\"http://h/y\"\n\"http://h/z\n", want: []string{`1: http://h/x out=a "b".iso`, "2: http://h/y", "! L:3: quotes of a field do not match"}},
		{name: "path first, digest", text: "x.iso,http://h/1," + hex64 + "\n", want: []string{"1: http://h/1 out=x.iso sha256:" + hex64}},
		{name: "other columns and order", text: "id;SHA-256;File Name;Download URL;Size\n1;" + hex64 + ";x.iso;http://h/1;42\n", want: []string{"2: http://h/1 out=x.iso sha256:" + hex64 + " size=42"}},
		{name: "with tabs, without a header", text: "http://h/get?id=1\td/x\ny.iso\thttp://h/get?id=2\nhttp://h/z\tsome words\n", want: []string{
			"1: http://h/get?id=1 out=d/x", "2: http://h/get?id=2 out=y.iso", `? L:3: "some words" is not an http or https URL; mirror ignored`, "3: http://h/z"}},
		{name: "a header of one column", text: "url\nhttp://h/a,b\n", want: []string{"2: http://h/a,b"}},
		{name: "URLs with commas are no rows", text: "http://h/x,y.iso\nhttp://h/z\n", want: []string{"1: http://h/x,y.iso", "2: http://h/z"}},
		{name: "tiles are no rows", text: "http://h/a,b\n", want: []string{"1: http://h/a,b"}},
		{name: "tiles are no rows", text: "http://h/tile-1,2.png\nhttp://h/tile-3,4.png\n", want: []string{"1: http://h/tile-1,2.png", "2: http://h/tile-3,4.png"}},
		{name: "unsafe paths", text: "url,path\nhttp://h/x,../x\nhttp://h/y,/y\n", want: []string{`! L:2: file name "../x" contains the path element ".."`, `! L:3: file name "/y" is an absolute path`}},
		{name: "ENA", text: "run_accession\tfastq_ftp\tfastq_md5\tfastq_bytes\nR1\thttp://h/R1_1.fastq.gz;http://h/R1_2.fastq.gz\t" + hex32 + ";" + hex32 + "\t5;6\nR2\tftp.sra.ebi.ac.uk/vol1/R2.fastq.gz\t" + hex32 + "\t7\nR3\t\t\t\n" +
			"R4\thttp://h/R4_1.fastq.gz;http://h/R4_2.fastq.gz\t" + hex32 + "\t5;6\n", want: []string{
			"2: http://h/R1_1.fastq.gz md5:" + hex32 + " size=5", "2: http://h/R1_2.fastq.gz md5:" + hex32 + " size=6",
			"? L:3: URL has no scheme; https is used", "3: https://ftp.sra.ebi.ac.uk/vol1/R2.fastq.gz md5:" + hex32 + " size=7", "? L:4: row has no URL; such rows are skipped",
			"! L:5: row has 2 files, but 1 digests or sizes"}},
		{name: "ENA, other files of the same data", text: "submitted_ftp\tsubmitted_md5\tfastq_ftp\tfastq_md5\nhttp://h/x.bam\t" + hex32 + "\thttp://h/x.fq\t" + hex32 + "\nhttp://h/y.bam\t" + hex32 + "\t\t\n", want: []string{
			`? L:2: column "submitted_ftp" ignored: the files of column "fastq" are used`, "2: http://h/x.fq md5:" + hex32, "3: http://h/y.bam md5:" + hex32}},
		{name: "numbered columns", text: "sample,fastq_1,fastq_2\ns,http://h/1.fq,http://h/2.fq\n", want: []string{"2: http://h/1.fq", "2: http://h/2.fq"}},
		{name: "pairs of columns", text: "read1_url\tread1_md5\tread2_url\tread2_md5\nhttp://h/1.fq\t" + hex32 + "\thttp://h/2.fq\t" + hex32 + "\n", want: []string{"2: http://h/1.fq md5:" + hex32, "2: http://h/2.fq md5:" + hex32}},
		{name: "without a header, with tabs", text: "R1\thttp://h/1.fq\thttp://h/2.fq\t" + hex32 + "\t" + hex32 + "\n", want: []string{
			`? L:1: "R1" is not an http or https URL; mirror ignored`, "1: http://h/1.fq md5:" + hex32, "1: http://h/2.fq md5:" + hex32}},
	})
}

// Lines with more than a URL, and with other ends.
func TestReadPlainLines(t *testing.T) {
	checkCases(t, []readCase{
		{name: "a name after a blank", text: "http://h/get?id=1 x.iso\nhttp://h/2.bin  d/y\nhttp://h/3 z.bin\n", want: []string{"1: http://h/get?id=1 out=x.iso", "2: http://h/2.bin out=d/y", "3: http://h/3 out=z.bin"}},
		{name: "a name after a blank, with a base", text: "http://h/get?id=1 x.iso\n", o: Options{Base: "http://b/"}, want: []string{"1: http://h/get?id=1 out=x.iso"}},
		{name: "blanks in a URL", text: "http://h/my file.iso\nhttp://h/a b c.iso\nhttp://h/x ../y\n", want: []string{"1: http://h/my file.iso", "2: http://h/a b c.iso", "3: http://h/x ../y"}},
		{name: "two URLs", text: "http://h/1 http://h/2\nhttp://a/x  http://b/x\n", want: []string{"1: http://h/1", "1: http://h/2", "2: http://a/x http://b/x"}},
		{name: "semicolons", text: "http://h/1;\n# c\nhttp://h/2; \nhttp://h/3\n", want: []string{"1: http://h/1", "3: http://h/2", "4: http://h/3"}},
		{name: "commas", text: "http://h/1,\r\nhttp://h/2?a=b,\r\n", want: []string{"1: http://h/1", "2: http://h/2?a=b"}},
		{name: "some semicolons", text: "http://h/1;\nhttp://h/2\nhttp://h/3;\n", want: []string{"1: http://h/1;", "2: http://h/2", "3: http://h/3;"}},
		{name: "CR", text: "http://h/1\rhttp://h/2\r out=a\r", want: []string{"1: http://h/1", "2: http://h/2 out=a"}},
		{name: "CR, digests", text: hex64 + "  x\r" + hexB64 + "  y\r", o: Options{Base: "http://b/"}, want: []string{"1: http://b/x out=x sha256:" + hex64, "2: http://b/y out=y sha256:" + hexB64}},
	})
}

// Without out, URLs of different last segments are different files.
func TestReadOtherFiles(t *testing.T) {
	checkCases(t, []readCase{
		{name: "two files", text: "http://a/1.gz\thttp://a/2.gz\thttp://b/1.gz?x\n dir=d\n referer=*\n", want: []string{
			`1: http://a/1.gz http://b/1.gz?x dir=d Referer=["http://a/1.gz"]`, `1: http://a/2.gz dir=d Referer=["http://a/2.gz"]`}},
		{name: "out", text: "http://a/1\thttp://a/2\n out=x\n", want: []string{"1: http://a/1 http://a/2 out=x"}},
		{name: "empty out", text: "http://a/1\thttp://a/2\n out=\n", want: []string{"1: http://a/1 http://a/2"}},
		{name: "digest", text: "http://a/1\thttp://a/2\n checksum=md5=" + hex32 + "\n", want: []string{"1: http://a/1 http://a/2 md5:" + hex32}},
		{name: "encoded", text: "http://a/a%20b\thttp://b/a b\thttp://c/d/\n", want: []string{"1: http://a/a%20b http://b/a b http://c/d/"}},
	})
}

func TestReadCurlConfig(t *testing.T) {
	checkCases(t, []readCase{
		{name: "pairs", text: "# c\nurl = \"http://h/x\"\noutput = \"d/x \\\"1\\\".iso\"\n\nurl=http://h/y\n-o y.iso\n--url http://h/z\nsilent\n", want: []string{
			`2: http://h/x out=d/x "1".iso`, "5: http://h/y out=y.iso", "7: http://h/z"}},
		{name: "output first, other options", text: "output = \"x\"\nheader = \"A: b\"\nurl = \"http://h/x\"\nuser = u:p\noutput: y\nurl: http://h/y\n", want: []string{
			`? L:2: option "header" ignored, and so are all others but url, output and output-dir`, "3: http://h/x out=x", "6: http://h/y out=y"}},
		{name: "remote-name", text: "url = \"http://h/x\"\nremote-name\nurl = \"http://h/y\"\noutput = y2\n", want: []string{"1: http://h/x", "3: http://h/y out=y2"}},
		{name: "the n-th output", text: "url = \"http://h/x\"\nurl = \"http://h/y\"\noutput = a\noutput = b\nnext\nurl = http://h/z\n", want: []string{"1: http://h/x out=a", "2: http://h/y out=b", "6: http://h/z"}},
		{name: "arguments", text: "-L -O http://h/x\n-sSLo y.iso http://h/y\n--location --output z \"http://h/z\" --retry 3\n-O http://h/w\n", want: []string{
			"1: http://h/x", "2: http://h/y out=y.iso", "3: http://h/z out=z", "4: http://h/w"}},
		{name: "parts of patterns", text: "url = \"http://h/f[1-3].bin\"\noutput = \"o_#1.bin\"\nurl = http://h/x\noutput = c#1\n", want: []string{
			`! L:1: output "o_#1.bin" has a part of the URL, which is a pattern; leave out the output and use --glob`, "3: http://h/x out=c#1"}},
		{name: "faults", text: "url = \"http://h/x\"\noutput = \"../x\"\nurl = \"http://h/y\noutput = z\nx,y\n", want: []string{
			`! L:1: file name "../x" contains the path element ".."`, `! L:3: value of option "url" has no closing quote`, `! L:5: "x,y" is not an option of curl`, "! L:4: output has no URL"}},
	})
}

func TestReadCommands(t *testing.T) {
	warning := func(line, tool string) string {
		return "? L:" + line + ": line is a command of a shell; only URL and file name of \"" + tool + "\" are used"
	}
	checkCases(t, []readCase{
		{name: "wget", text: "#!/bin/sh\nwget -c http://h/x\nwget -q -O 'y z.iso' \"http://h/get?a=1&b=2\" # c\nsudo /usr/bin/wget --output-document=z http://h/z\n", want: []string{
			warning("2", "wget"), "2: http://h/x", "3: http://h/get?a=1&b=2 out=y z.iso", "4: http://h/z out=z"}},
		{name: "curl", text: "curl -O http://h/x\ncurl -sSLo y -e http://r/ http://h/y\ncurl http://h/z > /data/z\ncurl.exe -O http://h/1 -O http://h/2\n", want: []string{
			warning("1", "curl"), "1: http://h/x", "2: http://h/y out=y", "3: http://h/z out=z", "4: http://h/1", "4: http://h/2"}},
		{name: "aria2c", text: "aria2c -x 16 http://a/1 http://b/2\n", want: []string{warning("1", "aria2c"), "1: http://a/1 http://b/2"}},
		{name: "continued", text: "wget -c \\\n  http://h/x\nwget \\\n", want: []string{warning("2", "wget"), "2: http://h/x", `! L:3: command "wget" has no URL`}},
		{name: "PowerShell", text: "Invoke-WebRequest -Uri \"http://h/x\" -OutFile \"x.iso\"\n", want: []string{warning("1", "invoke-webrequest"), "1: http://h/x out=x.iso"}},
		{name: "other commands", text: "wget $URL\ncd dir\nhttp://h/x\n", want: []string{`! L:1: command "wget" has no URL`, `! L:2: "cd dir" is not an http or https URL`, "3: http://h/x"}},
	})
}

// Each list can be in UTF-16, with and without a byte order mark.
func TestReadUTF16(t *testing.T) {
	for text, want := range map[string]string{
		"http://h/é\r\n":           "1: http://h/é",
		hex64 + "  é.iso\r\n":      "1: http://b/%C3%A9.iso out=é.iso sha256:" + hex64,
		`[{"url":"http://h/x"}]`:   "1: http://h/x",
		"url,path\nhttp://h/x,é\n": "2: http://h/x out=é",
		"<?xml version='1.0' encoding='UTF-16'?><metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='é'><url>http://h/x</url></file></metalink>": "1: http://h/x out=é",
	} {
		for name, encoded := range map[string]string{
			"LE with a BOM": bomUTF16LE + utf16Text(text, false), "BE with a BOM": bomUTF16BE + utf16Text(text, true),
			"LE": utf16Text(text, false), "BE": utf16Text(text, true), "LE, gzipped": gzipped(bomUTF16LE + utf16Text(text, false)),
		} {
			if got := readAll("L", strings.NewReader(encoded), Options{Base: "http://b/"}); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q: got %q, want %q", name, text, got, want)
			}
		}
	}
}

// A Metalink is read in the encoding that its declaration names.
func TestReadXMLEncodings(t *testing.T) {
	for encoding, name := range map[string]string{
		"ISO-8859-1": "\xe9", "iso-8859-15": "\xe9", "windows-1252": "\xe9", "latin1": "\xe9", "cp1250": "\xe9", "KOI8-R": "\xe9",
		"US-ASCII": "&#233;", "UTF8": "é", "utf-8": "é", "UTF-16": "é", "ASCII": "é",
	} {
		want := "1: http://h/x out=é"
		if encoding == "KOI8-R" {
			want = "1: http://h/x out=И"
		}
		text := `<?xml version="1.0" encoding="` + encoding + `" standalone="yes"?>` + metalink3Head + "<file name='" + name + "'><url>http://h/x</url></file></files></metalink>"
		if got := readAll("L", strings.NewReader(text), Options{}); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", encoding, got, want)
		}
	}
	checkCases(t, []readCase{{name: "unknown", text: "<?xml version='1.0' encoding='x-none'?>" + metalink3Head,
		want: []string{`end L: is in the encoding "x-none", which pawl does not know; UTF-8 works`}}})
}

// The first lines decide on the format, also if they are prose.
func TestDetectFormat(t *testing.T) {
	prose := strings.Repeat("Some words, and more.\n", 2000) // 44 KB
	checkCases(t, []readCase{
		{name: "prose before digests", text: prose + hex64 + "  x\n", o: Options{Base: "http://b/"}, want: []string{"2001: http://b/x out=x sha256:" + hex64,
			"? L:2001: 2000 of 2001 lines have no digest; the list may be damaged"}},
		{name: "a stray line before URLs", text: "hello\nhttp://h/x\n", want: []string{`! L:1: "hello" is not an http or https URL`, "2: http://h/x"}},
		{name: "one long line", text: "http://h/" + strings.Repeat("x", readBufferSize) + ",y\n", want: []string{"1: http://h/" + strings.Repeat("x", readBufferSize) + ",y"}},
	})
}
