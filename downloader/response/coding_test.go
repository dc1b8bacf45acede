package response

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A gzip coding is removed only if no signal says that it belongs to the file. Other codings
// that transform bytes are refused without such a signal.
func TestCodingOf(t *testing.T) {
	const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const removed, kept, plain, refused = "removed", "kept", "plain", "refused"
	tests := []struct {
		coding string
		url    string // path, or "/a -> /b" for a redirect
		header string // "Name: value" of a further field; "" for none
		known  Known
		want   string
	}{
		{"", "/f", "", Known{}, plain},
		{"identity", "/f", "", Known{}, plain},
		{" Identity ", "/f", "", Known{}, plain},
		{"gzip", "/f", "", Known{}, removed},
		{"X-GZip", "/f.tar", "", Known{}, removed},
		{"gzip, identity", "/f", "", Known{}, removed},
		{"gzip", "/f.br", "", Known{}, removed},

		{"x-gzip", "/f.tar.gz", "", Known{}, kept},
		{"gzip", "/F.TGZ", "", Known{}, kept},
		{"gzip", "/f.bgz", "", Known{}, kept},
		{"gzip", "/f.crate", "", Known{}, kept},
		{"gzip", "/f.taz", "", Known{}, kept},
		{"gzip", "/f.apk", "", Known{}, kept},
		{"gzip", "/f.ipk", "", Known{}, kept},
		{"gzip", "/f.gem", "", Known{}, kept},
		{"gzip", "/f.tar.gz/download", "", Known{}, kept},
		{"gzip", "/get?file=f.tar.gz&v=1", "", Known{}, kept},
		{"gzip", "/f.tar.gz -> /store/key", "", Known{}, kept},
		{"gzip", "/latest -> /f.tar.gz -> /store/key", "", Known{}, kept},
		{"gzip", "/latest -> /f.tar.gz", "", Known{}, kept},
		{"gzip", "/download", `Content-Disposition: attachment; filename="f.tar.gz"`, Known{}, kept},
		{"gzip", "/f.gz", `Content-Disposition: attachment; filename="f.txt"`, Known{}, kept},
		{"gzip", "/f", "Content-Type: application/gzip", Known{}, kept},
		{"gzip", "/f", "Content-Type: application/x-gzip; charset=binary", Known{}, kept},
		{"gzip", "/f", "Content-Type: application/vnd.oci.image.layer.v1.tar+gzip", Known{}, kept},
		{"gzip", "/f", "Content-Type: application/x-compressed-tar", Known{}, kept},
		{"gzip", "/f", "Accept-Ranges: bytes", Known{}, kept},
		{"gzip", "/f", "Accept-Ranges: none", Known{}, removed},
		{"gzip", "/f", "", Known{Name: "f.tgz"}, kept},
		{"gzip", "/f", "", Known{Size: 50}, kept},
		{"gzip", "/f", "", Known{Size: 51}, removed},
		{"gzip", "/f", "", Known{Digest: true}, kept},
		{"gzip", "/f", "", Known{Digest: true, WrongCoded: true}, removed},
		{"gzip", "/f.gz", "", Known{Digest: true, WrongCoded: true}, kept},
		{"gzip", "/f", "Accept-Ranges: bytes", Known{Digest: true, WrongCoded: true}, removed},
		{"gzip", "/v2/lib/x/blobs/sha256:" + hex64, "", Known{}, kept},
		{"gzip", "/v2/lib/x/blobs/sha256:" + hex64 + " -> /bucket/key", "", Known{}, kept},
		{"gzip", "/x -> /sha256/01/" + hex64 + "/data", "", Known{}, kept},
		{"gzip", "/f", "Docker-Content-Digest: sha256:" + hex64, Known{}, kept},

		{"aws-chunked", "/f", "", Known{}, plain},
		{"utf-8", "/f", "", Known{}, plain},
		{"none", "/f", "", Known{}, plain},
		{"binary", "/f", "", Known{}, plain},
		{"UTF-8, aws-chunked", "/f", "", Known{}, plain},
		{"aws-chunked, gzip", "/f", "", Known{}, removed},
		{"gzip, aws-chunked", "/f.gz", "", Known{}, kept},

		{"br", "/f", "", Known{}, refused},
		{"zstd", "/f", "", Known{}, refused},
		{"deflate", "/f", "", Known{}, refused},
		{"compress", "/f", "", Known{}, refused},
		{"gzip, br", "/f", "", Known{}, refused},
		{"gzip, gzip", "/f", "", Known{}, refused},
		{"br", "/f", "Accept-Ranges: bytes", Known{}, refused},
		{"br", "/f.br", "", Known{}, kept},
		{"zstd", "/f.tar.zst", "", Known{}, kept},
		{"compress", "/f.tar.Z", "", Known{}, kept},
		{"bzip2", "/f.tar.bz2", "", Known{}, kept},
		{"zstd", "/f", "Content-Type: application/zstd", Known{}, kept},
		{"br", "/f", "", Known{Digest: true}, kept},
	}
	for _, tt := range tests {
		if tt.known.Size == 0 {
			tt.known.Size = -1
		}
		resp := newResponse(200, 50, "Content-Encoding", tt.coding)
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			resp.Header.Set(name, value)
		}
		resp.Request = nil
		for hop := range strings.SplitSeq(tt.url, " -> ") {
			u, err := url.Parse("http://h" + hop)
			if err != nil {
				t.Fatal(err)
			}
			var redirect *http.Response
			if resp.Request != nil {
				redirect = &http.Response{Request: resp.Request}
			}
			resp.Request = &http.Request{URL: u, Response: redirect}
		}
		c := codingOf(resp, tt.known)
		got := plain
		switch {
		case c.problem != "":
			got = refused
		case c.removed:
			got = removed
		case c.kept != "":
			got = kept
		}
		if got != tt.want {
			t.Errorf("%q of %s with %q, known %+v: got %s (%s), want %s", tt.coding, tt.url, tt.header, tt.known, got, c.problem, tt.want)
		}
	}
}
