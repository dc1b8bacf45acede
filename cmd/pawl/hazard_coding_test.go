package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// codings are content codings that pawl has not requested, and success statuses other
// than 200 and 206.
var codings = []hazard{
	gzipBelongsToFile("a redirect to a key without a suffix", "/foo.tar.gz -> /store/0f3a", "foo.tar.gz"),
	gzipBelongsToFile("two redirects", "/latest -> /foo.tgz -> /store/0f3a", "latest"),
	gzipBelongsToFile("a redirect to the name", "/latest -> /foo.tar.gz", "latest"),
	gzipBelongsToFile("a name before the last segment", "/foo.tar.gz/download", "foo.tar.gz"),
	gzipBelongsToFile("a name in the query", "/get?file=foo.tar.gz", "get"),
	gzipBelongsToFile(".bgz", "/foo.vcf.bgz", "foo.vcf.bgz"),
	gzipBelongsToFile(".crate", "/foo-1.0.crate", "foo-1.0.crate"),
	gzipBelongsToFile(".apk", "/foo.apk -> /k", "foo.apk"),
	gzipBelongsToFile(".ipk", "/foo.ipk -> /k", "foo.ipk"),
	gzipBelongsToFile(".taz", "/foo.taz -> /k", "foo.taz"),
	gzipBelongsToFile(".gem", "/foo.gem -> /k", "foo.gem"),
	gzipBelongsToFile("the -o name", "/foo", "mine.tgz", "-o", "mine.tgz"),
	gzipBelongsToFile("Content-Disposition", "/foo", "foo.tar.gz", "Content-Disposition: attachment; filename=foo.tar.gz"),
	gzipBelongsToFile("Content-Type gzip", "/foo", "foo", "Content-Type: application/gzip"),
	gzipBelongsToFile("Content-Type of an image layer", "/foo", "foo", "Content-Type: application/vnd.oci.image.layer.v1.tar+gzip"),
	gzipBelongsToFile("offered ranges", "/foo", "foo", "Accept-Ranges: bytes"),
	gzipBelongsToFile("an OCI digest", "/v2/x/blobs/sha256:"+strings.Repeat("0a", 32)+" -> /k", "sha256_"+strings.Repeat("0a", 32)),
	gzipBelongsToFile("the requested digest", "/foo", "foo", "--checksum", "CODED"),
	gzipBelongsToFile("the requested digest, of the uncompressed file", "/foo", "foo", "--checksum", "PLAIN"),

	{name: "codings: gzip belongs to a file of a list, by its out option", run: func(tr *testRun) { mirrorGzip(tr, "  out=foo.tar.gz", "foo.tar.gz") }},
	{name: "codings: gzip belongs to a file of a list, by its checksum", run: func(tr *testRun) { mirrorGzip(tr, "  checksum=CODED", "foo") }},
	{name: "codings: gzip belongs to a file of a list, by its size", run: func(tr *testRun) { mirrorGzip(tr, "  size=SIZE", "foo") }},
	{name: "codings: gzip does not belong to the file", run: func(tr *testRun) {
		plain, coded := gzipPair(tr)
		tr.srv.Set(serveCoded("/foo", coded, "Content-Encoding: gzip"))
		o := tr.runPawl(tr.srv.URL + "/foo")
		o.wantBytes("foo", plain)
		o.wantStderr("warning: foo: ", "gzip")
	}},
	{name: "codings: gzip of a body that is not compressed", run: func(tr *testRun) {
		plain, _ := gzipPair(tr)
		tr.srv.Set(serveCoded("/foo", plain, "Content-Encoding: gzip"))
		tr.runPawl(tr.srv.URL+"/foo").wantBytes("foo", plain)
	}},
	{name: "codings: gzip on all ranges, and a kill", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfwayUnder(faultserver.SetHeader("Content-Encoding", "gzip"))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "codings: gzip on later ranges only", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(exceptFirst(gzipZeros(f.ETag)), faultserver.ConnRate(4<<20))
		tr.markMet()
		tr.runPawl().wantDownloaded("f.bin", f)
	}},

	identityCoding("aws-chunked"),
	identityCoding("utf-8"),
	identityCoding("UTF-8, aws-chunked"),
	identityCoding("binary"),
	identityCoding("none"),
	{name: "codings: an unknown coding, without ranges", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "aws-chunked"), faultserver.NoLength)
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		o.wantStderr(`"aws-chunked"`)
	}},
	{name: "codings: zstd is an error", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "zstd"), faultserver.NoLength)
		tr.runPawl().wantFailure(7)
	}},
	{name: "codings: deflate is an error", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "deflate"), faultserver.NoRanges)
		tr.runPawl().wantFailure(7)
	}},

	successStatus(203, ""),
	successStatus(203, "without length", faultserver.NoLength),
	successStatus(201, ""),
	successStatus(226, ""),
	successStatus(202, ""),
	{name: "codings: status 203 in a list", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.srv.Set(withStatus(203))
		tr.writeFile(filepath.Join(tr.dir, "list"), []byte(tr.fileURL()+"\n"))
		tr.runPawl("mirror", "list").wantDownloaded("f.bin", f)
	}},
	{name: "codings: status 202 until the file is ready", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.First(2, faultserver.Status(202, 1)))
		tr.runPawl("--retry-max-wait", "30s", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "codings: status 204", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Status(204, -1))
		tr.runPawl().wantFailure(7)
	}},
}

// gzipPair returns a compressible file and its gzip coding.
func gzipPair(tr *testRun) (plain, coded []byte) {
	plain = bytes.Repeat(tr.randomBytes(1000), 300)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(plain)
	w.Close()
	return plain, b.Bytes()
}

// serveCoded serves body without ranges at the last path of chain, for example
// "/a -> /b -> /c", whose other paths redirect to the next. fields are header fields of
// the response ("Name: value").
func serveCoded(chain string, body []byte, fields ...string) faultserver.Fault {
	hops := strings.Split(chain, " -> ")
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i, hop := range hops[:len(hops)-1] {
				if r.URL.Path == hop {
					http.Redirect(w, r, hops[i+1], http.StatusFound)
					return
				}
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			for _, f := range fields {
				name, value, _ := strings.Cut(f, ": ")
				w.Header().Set(name, value)
			}
			w.Write(body)
		})
	}
}

// gzipBelongsToFile returns a hazard of a gzip coding that is part of the stored file, so
// pawl must not decode it. The signal is a header field of the response ("Name: value")
// or arguments of pawl, in which CODED and PLAIN stand for the digests of the two forms.
// With the digest of the plain form pawl must decode.
func gzipBelongsToFile(what, chain, name string, signal ...string) hazard {
	return hazard{name: "codings: gzip belongs to the file, by " + what, run: func(tr *testRun) {
		tr.markMet()
		plain, coded := gzipPair(tr)
		want, fields, args := coded, []string{"Content-Encoding: gzip"}, []string{}
		for _, s := range signal {
			switch {
			case strings.Contains(s, ": "):
				fields = append(fields, s)
			case s == "CODED":
				args = append(args, sha256Of(coded))
			case s == "PLAIN":
				args, want = append(args, sha256Of(plain)), plain
			default:
				args = append(args, s)
			}
		}
		tr.srv.Set(serveCoded(chain, coded, fields...))
		first, _, _ := strings.Cut(chain, " -> ")
		tr.runPawl(append(args, tr.srv.URL+first)...).wantBytes(name, want)
	}}
}

// sha256Of returns the digest of b in the form of --checksum.
func sha256Of(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// wantBytes checks that pawl succeeded and that the file has these bytes. It also marks
// the hazard as met.
func (o runResult) wantBytes(name string, want []byte) {
	o.tr.Helper()
	o.tr.markMet()
	o.wantExit(0)
	if !fileEquals(filepath.Join(o.tr.dir, name), want) {
		o.tr.Errorf("%s does not have the wanted bytes", name)
	}
}

// mirrorGzip mirrors a gzip-coded file by a list. The option of its entry says that the
// coding belongs to the file.
func mirrorGzip(tr *testRun, option, name string) {
	_, coded := gzipPair(tr)
	tr.srv.Set(serveCoded("/foo", coded, "Content-Encoding: gzip"))
	option = strings.NewReplacer("CODED", sha256Of(coded), "SIZE", fmt.Sprint(len(coded))).Replace(option)
	tr.writeFile(filepath.Join(tr.dir, "list"), []byte(tr.srv.URL+"/foo\n"+option+"\n"))
	tr.runPawl("mirror", "list").wantBytes(name, coded)
}

// gzipZeros responds to range requests with zeros that are labeled as gzip-coded.
func gzipZeros(etag string) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("ETag", etag)
			http.ServeContent(w, r, "", noTime, io.NewSectionReader(zeros{}, 0, 9<<20))
		})
	}
}

type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) {
	clear(b)
	return len(b), nil
}

// identityCoding returns a hazard of a coding name that transforms nothing.
func identityCoding(coding string) hazard {
	return hazard{name: "codings: " + coding + " transforms nothing", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", coding))
		tr.runPawl().wantDownloaded("f.bin", f)
	}}
}

// successStatus returns a hazard of a success status other than 200 and 206.
func successStatus(status int, what string, faults ...faultserver.Fault) hazard {
	return hazard{name: strings.TrimSpace(fmt.Sprintf("codings: status %d %s", status, what)), run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(append([]faultserver.Fault{withStatus(status)}, faults...)...)
		tr.runPawl().wantDownloaded("f.bin", f)
	}}
}

// withStatus responds with whole files and with a status instead of 200.
func withStatus(status int) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return faultserver.NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(statusWriter{w, status}, r)
		}))
	}
}

// A statusWriter replaces every status by its own.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w statusWriter) WriteHeader(int)             { w.ResponseWriter.WriteHeader(w.status) }
func (w statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
