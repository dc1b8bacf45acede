package main

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pawl/downloader/faultserver"
)

// serverDigests are digests that the server names in its header fields.
var serverDigests = slices.Concat([]hazard{
	{name: "digests: the server's field is wrong for all files", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("X-Checksum-Sha256", strings.Repeat("00", 32)))
		o := tr.runPawl("-x", "1", tr.fileURL())
		o.wantFailure(32)
		o.wantStderr("the server's X-Checksum-Sha256", "the server contradicts itself", "--ignore-server-digest")
		tr.wantSentRatio(2.2)
		o = tr.runPawl("--ignore-server-digest", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr("no digest known")
	}},
	{name: "digests: the server's hint is wrong", run: func(tr *testRun) {
		f := tr.serveFile(3 << 20)
		tr.srv.Set(faultserver.SetHeader("X-Ms-Blob-Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg=="))
		o := tr.runPawl("-x", "1", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr("pawl keeps the file", "no digest known")
		tr.wantSentRatio(2.2)
	}},
	{name: "digests: the server's hint is wrong, for a small file of a list", run: func(tr *testRun) {
		f := tr.serveFile(30_000)
		tr.srv.Set(faultserver.SetHeader("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="))
		tr.writeList("list", tr.fileURL())
		o := tr.runPawl("mirror", "list")
		o.wantDownloaded("f.bin", f)
		o.wantStderr("pawl keeps the file")
	}},
	{name: "digests: the server contradicts the user, who is right", run: func(tr *testRun) {
		f := tr.serveFile(3 << 20)
		tr.srv.Set(faultserver.SetHeader("Repr-Digest", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"))
		o := tr.runPawl("--checksum", checksumOf(tr, f), "-x", "1", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr("warning: f.bin: the server says that the file has sha256:44aff4ab", "(your digest); pawl verifies the latter", "your sha256 verified")
		tr.wantSentRatio(1.2)
	}},
	{name: "digests: the server contradicts the user, who is wrong", run: func(tr *testRun) {
		f := tr.serveFile(3 << 20)
		tr.srv.Set(faultserver.SetHeader("Digest", "SHA-256="+base64.StdEncoding.EncodeToString(sha256Digest(bytesOf(f)))))
		o := tr.runPawl("--checksum", checksumOf(tr, faultserver.NewFile(1, 99)), "-x", "1", tr.fileURL())
		o.wantFailure(32)
		o.wantStderr("(your digest)", "as the server says, too: the server has another file")
		tr.wantSentRatio(1.2) // a second download would bring the same
	}},
	{name: "digests: the server's fields contradict each other", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.SetHeader("Digest", "SHA-256="+base64.StdEncoding.EncodeToString(sha256Digest(bytesOf(f)))), faultserver.SetHeader("X-Checksum-Sha256", strings.Repeat("00", 32)))
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		o.wantStderr("the server contradicts itself about the digest", "no digest known")
	}},
	{name: "digests: a redirect names the digest of its own body", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		delete(tr.served, "f.bin")
		tr.putFile("g.bin", f)
		tr.srv.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/f.bin" {
					w.Header().Set("Repr-Digest", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:")
					http.Redirect(w, r, "/g.bin", http.StatusFound)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		tr.runPawl("-o", "g.bin", tr.fileURL()).wantDownloaded("g.bin", f)
		tr.markMet()
	}},
	{name: "digests: the digest is asked for once", run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		for i, r := range tr.srv.Requests() {
			if got := r.Header.Get("Want-Repr-Digest"); (got != "") != (i == 0) {
				tr.Errorf("request %d: got Want-Repr-Digest %q", i, got)
			}
		}
		tr.markMet()
	}},
	{name: "digests: a mirror names another digest", run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		tr.srv.Set(faultserver.Rate(8 << 20))
		mirror := tr.newServer(f)
		mirror.Set(faultserver.SetHeader("X-Checksum-Sha256", strings.Repeat("00", 32)))
		o := tr.runPawl("-x", "2", "-v", "--checksum", checksumOf(tr, f), "--mirror", mirror.URL+"/f.bin", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderr("it names sha256:0000")
		if sent := mirror.Sent(); sent > 1<<20 {
			tr.Errorf("the mirror sent %d bytes, want only a sample", sent)
		}
		tr.markMet()
	}},
	{name: "digests: a mirror must not outweigh the server's digest", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		delete(tr.served, "f.bin")
		tr.srv.Set(faultserver.SetHeader("X-Checksum-Sha256", strings.Repeat("00", 32)))
		mirror := tr.newServer(f)
		o := tr.runPawl("-x", "1", "--mirror", mirror.URL+"/f.bin", tr.fileURL())
		o.wantFailure(32)
		o.wantStderr("the server's X-Checksum-Sha256", "--ignore-server-digest")
	}},
	{name: "digests: the server's composed digest after a kill", run: func(tr *testRun) {
		f := tr.serveFile(9<<20 + 12_345)
		tr.killOnceHeld(4 << 20)
		tr.srv.Set(faultserver.SetHeader("X-Goog-Hash", "crc32c="+base64.StdEncoding.EncodeToString(crc32cOf(bytesOf(f)))))
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		o.wantStderr("the server's crc32c verified")
	}},
	{name: "digests: the server's digest of a stream", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.SetHeader("X-Checksum-Sha256", hex.EncodeToString(sha256Digest(bytesOf(f)))))
		o := tr.runPawl("-o", "-", tr.fileURL())
		o.wantExit(0)
		o.wantStderr("the server's sha256 verified")
		tr.srv.Set(faultserver.SetHeader("X-Checksum-Sha256", strings.Repeat("00", 32)))
		o = tr.runPawl("-o", "-", tr.fileURL())
		o.wantExit(32)
		o.wantStderr("the server's X-Checksum-Sha256", "--ignore-server-digest")
	}},
	{name: "digests: the report says how each file was proved", run: proofsInReport},
}, namedDigests())

// namedDigests returns hazards in which the server names the digest of the file, and sends a
// wrong byte once.
func namedDigests() (all []hazard) {
	base64Of := base64.StdEncoding.EncodeToString
	for _, n := range []struct {
		what, field, algorithm string
		value                  func(b []byte) string
	}{
		{"Repr-Digest", "Repr-Digest", "sha512", func(b []byte) string {
			return "sha-256=:" + base64Of(sha256Digest(b)) + ":, sha-512=:" + base64Of(sha512Digest(b)) + ":"
		}},
		{"Digest", "Digest", "sha256", func(b []byte) string { return "SHA-256=" + base64Of(sha256Digest(b)) }},
		{"Digest with hex in base64", "Digest", "sha256", func(b []byte) string {
			return "SHA-256=" + base64Of([]byte(hex.EncodeToString(sha256Digest(b))))
		}},
		{"Digest as hex Adler-32", "Digest", "adler32", func(b []byte) string { return "adler32=" + fmt.Sprintf("%08x", adler32.Checksum(b)) }},
		{"X-Goog-Hash", "X-Goog-Hash", "md5", func(b []byte) string {
			return "crc32c=" + base64Of(crc32cOf(b)) + ",md5=" + base64Of(md5Digest(b))
		}},
		{"X-Goog-Hash of a composite object", "X-Goog-Hash", "crc32c", func(b []byte) string { return "crc32c=" + base64Of(crc32cOf(b)) }},
		{"X-Amz-Checksum-Crc64nvme", "X-Amz-Checksum-Crc64nvme", "crc64nvme", func(b []byte) string {
			return base64Of(binary.BigEndian.AppendUint64(nil, crc64.Checksum(b, crc64.MakeTable(0x9a6c9329ac4bc9b5))))
		}},
		{"X-Checksum-Sha1", "X-Checksum-Sha1", "sha1", func(b []byte) string { return hex.EncodeToString(sha1Digest(b)) }},
		{"Content-MD5", "Content-MD5", "md5", func(b []byte) string { return base64Of(md5Digest(b)) }},
	} {
		all = append(all, hazard{name: "digests: one wrong byte, found by " + n.what, run: func(tr *testRun) {
			f := tr.serveFile(2<<20 + 345)
			tr.srv.Set(faultserver.SetHeader(n.field, n.value(bytesOf(f))), faultserver.CorruptOnce(1<<20))
			o := tr.runPawl("-x", "1", tr.fileURL())
			o.wantDownloaded("f.bin", f)
			o.wantStderr("checksum mismatch", "the server's "+n.field, "the server's "+n.algorithm+" verified")
			tr.wantSentRatio(2.2)
		}})
	}
	return append(all, hazard{name: "digests: the checksum of the parts of an upload", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.SetHeader("X-Amz-Checksum-Sha256", base64Of(sha256Digest(nil))+"-7"))
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		o.wantStderr("no digest known")
	}})
}

// proofsInReport downloads files that are proved in different ways, and reads the report.
func proofsInReport(tr *testRun) {
	f := tr.serveFile(300_000)
	sum := checksumOf(tr, f)
	_, digits, _ := strings.Cut(sum, ":")
	tr.writeFile(filepath.Join(tr.dir, "SHA256SUMS"), []byte(digits+"  f.bin\n"))
	tr.writeList("plain", tr.fileURL(), "  out=f.bin")
	tr.writeList("summed", tr.fileURL(), "  out=f.bin", "  checksum="+sum)
	server := faultserver.SetHeader("X-Checksum-Sha256", digits)
	for i, tt := range []struct {
		fault faultserver.Fault // nil for none
		args  []string
		want  string
		sum   bool
	}{
		{nil, []string{tr.fileURL()}, "checksums", false},
		{nil, []string{"--checksum", sum, tr.fileURL()}, "digest:you", true},
		{nil, []string{"--checksums", "SHA256SUMS", tr.fileURL()}, "digest:list", true},
		{server, []string{tr.fileURL()}, "digest:server", true},
		{server, []string{"--checksum", sum, tr.fileURL()}, "digest:you", true},
		{server, []string{"--ignore-server-digest", tr.fileURL()}, "checksums", false},
		{nil, []string{"mirror", "plain"}, "checksums", false},
		{server, []string{"mirror", "plain"}, "digest:server", true},
		{server, []string{"mirror", "summed"}, "digest:list", true},
		{nil, []string{"-o", "-", tr.fileURL()}, "none", false},
	} {
		tr.srv.Set()
		if tt.fault != nil {
			tr.srv.Set(tt.fault)
		}
		name := fmt.Sprintf("report%d", i)
		tr.env = []string{fmt.Sprintf("PAWL_STATE=%s/state%d", tr.dir, i)}
		tr.runPawl(append(tt.args, "--report", name)...).wantExit(0)
		os.Remove(filepath.Join(tr.dir, "f.bin"))
		var report struct{ Files []struct{ Proof, Sum string } }
		must(tr, json.Unmarshal(tr.readFile(filepath.Join(tr.dir, name)), &report))
		if len(report.Files) != 1 || report.Files[0].Proof != tt.want || (report.Files[0].Sum == sum) != tt.sum {
			tr.Errorf("%v: got %+v, want proof %q", tt.args, report.Files, tt.want)
		}
	}
	tr.markMet()
}

// bytesOf returns the content of f.
func bytesOf(f faultserver.File) []byte {
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	return b
}

func sha256Digest(b []byte) []byte { d := sha256.Sum256(b); return d[:] }
func sha512Digest(b []byte) []byte { d := sha512.Sum512(b); return d[:] }
func sha1Digest(b []byte) []byte   { d := sha1.Sum(b); return d[:] }
func md5Digest(b []byte) []byte    { d := md5.Sum(b); return d[:] }

func crc32cOf(b []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}
