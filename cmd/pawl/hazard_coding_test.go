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

// codings are hazards of TestHazards: content codings that nobody asked for, and
// statuses of success other than 200 and 206.
var codings = []hazard{
	stored("redirected to a key without a suffix", "/foo.tar.gz -> /store/0f3a", "foo.tar.gz"),
	stored("redirected twice", "/latest -> /foo.tgz -> /store/0f3a", "latest"),
	stored("redirected to the name", "/latest -> /foo.tar.gz", "latest"),
	stored("a name before the last segment", "/foo.tar.gz/download", "download"),
	stored("a name in the query", "/get?file=foo.tar.gz", "get"),
	stored(".bgz", "/foo.vcf.bgz", "foo.vcf.bgz"),
	stored(".crate", "/foo-1.0.crate", "foo-1.0.crate"),
	stored(".apk", "/foo.apk -> /k", "foo.apk"),
	stored(".ipk", "/foo.ipk -> /k", "foo.ipk"),
	stored(".taz", "/foo.taz -> /k", "foo.taz"),
	stored(".gem", "/foo.gem -> /k", "foo.gem"),
	stored("the name asked for", "/foo", "mine.tgz", "-o", "mine.tgz"),
	stored("Content-Disposition", "/foo", "foo.tar.gz", "Content-Disposition: attachment; filename=foo.tar.gz"),
	stored("Content-Type gzip", "/foo", "foo", "Content-Type: application/gzip"),
	stored("Content-Type of an image layer", "/foo", "foo", "Content-Type: application/vnd.oci.image.layer.v1.tar+gzip"),
	stored("ranges offered", "/foo", "foo", "Accept-Ranges: bytes"),
	stored("an OCI digest", "/v2/x/blobs/sha256:"+strings.Repeat("0a", 32)+" -> /k", "sha256_"+strings.Repeat("0a", 32)),
	stored("the digest asked for", "/foo", "foo", "--checksum", "CODED"),
	stored("the digest asked for, of the plain form", "/foo", "foo", "--checksum", "PLAIN"),

	{name: "codings: gzip of a file of a list, by its out", try: func(tr *trial) { listedCoding(tr, "  out=foo.tar.gz", "foo.tar.gz") }},
	{name: "codings: gzip of a file of a list, by its checksum", try: func(tr *trial) { listedCoding(tr, "  checksum=CODED", "foo") }},
	{name: "codings: gzip of a file of a list, by its size", try: func(tr *trial) { listedCoding(tr, "  size=SIZE", "foo") }},
	{name: "codings: nothing says gzip belongs to the file", try: func(tr *trial) {
		plain, coded := gzipped(tr)
		tr.srv.Set(serveCoded("/foo", coded, "Content-Encoding: gzip"))
		o := tr.run(tr.srv.URL + "/foo")
		o.hasBytes("foo", plain)
		o.says("warning: foo: ", "gzip")
	}},
	{name: "codings: gzip that is none", try: func(tr *trial) {
		plain, _ := gzipped(tr)
		tr.srv.Set(serveCoded("/foo", plain, "Content-Encoding: gzip"))
		tr.run(tr.srv.URL+"/foo").hasBytes("foo", plain)
	}},
	{name: "codings: gzip of ranges with a kill", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interruptUnder(faultserver.SetHeader("Content-Encoding", "gzip"))
		tr.run().good("f.bin", f)
		tr.overhead(1.2)
	}},
	{name: "codings: gzip of later ranges only", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(laterOnes(otherGzip(f.ETag)), faultserver.ConnRate(4<<20))
		tr.met()
		tr.run().good("f.bin", f)
	}},

	harmless("aws-chunked"),
	harmless("utf-8"),
	harmless("UTF-8, aws-chunked"),
	harmless("binary"),
	harmless("none"),
	{name: "codings: an unknown coding, without ranges", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "aws-chunked"), faultserver.NoLength)
		o := tr.run()
		o.good("f.bin", f)
		o.says(`"aws-chunked"`)
	}},
	{name: "codings: zstd is an error", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "zstd"), faultserver.NoLength)
		tr.run().fails(7)
	}},
	{name: "codings: deflate is an error", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "deflate"), faultserver.NoRanges)
		tr.run().fails(7)
	}},

	success(203, ""),
	success(203, "without length", faultserver.NoLength),
	success(201, ""),
	success(226, ""),
	success(202, ""),
	{name: "codings: status 203 in a list", try: func(tr *trial) {
		f := tr.serve(5000)
		tr.srv.Set(succeeds(203))
		tr.write(filepath.Join(tr.dir, "list"), []byte(tr.url()+"\n"))
		tr.run("mirror", "list").good("f.bin", f)
	}},
	{name: "codings: status 202 until the file is ready", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.First(2, faultserver.Status(202, 1)))
		tr.run("--retry-max-wait", "30s", tr.url()).good("f.bin", f)
	}},
	{name: "codings: status 204", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.Status(204, -1))
		tr.run().fails(7)
	}},
}

// gzipped returns a tar-like file, and the same coded.
func gzipped(tr *trial) (plain, coded []byte) {
	plain = bytes.Repeat(tr.random(1000), 300)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(plain)
	w.Close()
	return plain, b.Bytes()
}

// serveCoded serves body, without ranges, at the end of a chain of redirects
// ("/a -> /b"), with header fields ("Name: value").
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

// stored is a hazard of a gzip coding that belongs to the file, as something says: a
// header field of the answer ("Name: value") or arguments.
func stored(what, chain, name string, signal ...string) hazard {
	return hazard{name: "codings: gzip belongs to the file, by " + what, try: func(tr *trial) {
		tr.met()
		plain, coded := gzipped(tr)
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
		tr.run(append(args, tr.srv.URL+first)...).hasBytes(name, want)
	}}
}

func sha256Of(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// hasBytes checks that the run succeeded, and that name has these bytes.
func (o outcome) hasBytes(name string, want []byte) {
	o.tr.Helper()
	o.tr.met()
	o.exits(0)
	if !same(filepath.Join(o.tr.dir, name), want) {
		o.tr.Errorf("%s does not have the bytes that are right", name)
	}
}

// listedCoding mirrors a gzip-coded file by a list whose option says that the coding
// belongs to the file.
func listedCoding(tr *trial, option, name string) {
	_, coded := gzipped(tr)
	tr.srv.Set(serveCoded("/foo", coded, "Content-Encoding: gzip"))
	option = strings.NewReplacer("CODED", sha256Of(coded), "SIZE", fmt.Sprint(len(coded))).Replace(option)
	tr.write(filepath.Join(tr.dir, "list"), []byte(tr.srv.URL+"/foo\n"+option+"\n"))
	tr.run("mirror", "list").hasBytes(name, coded)
}

// otherGzip answers with ranges of zeros that are said to be gzip-coded.
func otherGzip(etag string) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("ETag", etag)
			http.ServeContent(w, r, "", never, io.NewSectionReader(zeros{}, 0, 9<<20))
		})
	}
}

type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) {
	clear(b)
	return len(b), nil
}

// harmless is a hazard of a coding that transforms nothing.
func harmless(coding string) hazard {
	return hazard{name: "codings: " + coding + " transforms nothing", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", coding))
		tr.run().good("f.bin", f)
	}}
}

// success is a hazard of a status of success.
func success(status int, what string, faults ...faultserver.Fault) hazard {
	return hazard{name: strings.TrimSpace(fmt.Sprintf("codings: status %d %s", status, what)), try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(append([]faultserver.Fault{succeeds(status)}, faults...)...)
		tr.run().good("f.bin", f)
	}}
}

// succeeds answers with whole files and a status in place of 200.
func succeeds(status int) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return faultserver.NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(statusWriter{w, status}, r)
		}))
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w statusWriter) WriteHeader(int)             { w.ResponseWriter.WriteHeader(w.status) }
func (w statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
