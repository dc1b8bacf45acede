package downloader

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pawl/downloader/failure"
)

// TestCodingOf: a coding is removed only if nothing says that it belongs to the file.
func TestCodingOf(t *testing.T) {
	const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const removed, kept, plain, refused = "removed", "kept", "plain", "refused"
	tests := []struct {
		coding string
		url    string // "a -> b" for a redirect
		header string // "Name: value"
		known  knownForm
		want   string
	}{
		{"", "/f", "", knownForm{}, plain},
		{"identity", "/f", "", knownForm{}, plain},
		{" Identity ", "/f", "", knownForm{}, plain},
		{"gzip", "/f", "", knownForm{}, removed},
		{"X-GZip", "/f.tar", "", knownForm{}, removed},
		{"gzip, identity", "/f", "", knownForm{}, removed},
		{"gzip", "/f.br", "", knownForm{}, removed},

		{"x-gzip", "/f.tar.gz", "", knownForm{}, kept},
		{"gzip", "/F.TGZ", "", knownForm{}, kept},
		{"gzip", "/f.bgz", "", knownForm{}, kept},
		{"gzip", "/f.crate", "", knownForm{}, kept},
		{"gzip", "/f.taz", "", knownForm{}, kept},
		{"gzip", "/f.apk", "", knownForm{}, kept},
		{"gzip", "/f.ipk", "", knownForm{}, kept},
		{"gzip", "/f.gem", "", knownForm{}, kept},
		{"gzip", "/f.tar.gz/download", "", knownForm{}, kept},
		{"gzip", "/get?file=f.tar.gz&v=1", "", knownForm{}, kept},
		{"gzip", "/f.tar.gz -> /store/key", "", knownForm{}, kept},
		{"gzip", "/latest -> /f.tar.gz -> /store/key", "", knownForm{}, kept},
		{"gzip", "/latest -> /f.tar.gz", "", knownForm{}, kept},
		{"gzip", "/download", `Content-Disposition: attachment; filename="f.tar.gz"`, knownForm{}, kept},
		{"gzip", "/f.gz", `Content-Disposition: attachment; filename="f.txt"`, knownForm{}, kept},
		{"gzip", "/f", "Content-Type: application/gzip", knownForm{}, kept},
		{"gzip", "/f", "Content-Type: application/x-gzip; charset=binary", knownForm{}, kept},
		{"gzip", "/f", "Content-Type: application/vnd.oci.image.layer.v1.tar+gzip", knownForm{}, kept},
		{"gzip", "/f", "Content-Type: application/x-compressed-tar", knownForm{}, kept},
		{"gzip", "/f", "Accept-Ranges: bytes", knownForm{}, kept},
		{"gzip", "/f", "Accept-Ranges: none", knownForm{}, removed},
		{"gzip", "/f", "", knownForm{name: "f.tgz"}, kept},
		{"gzip", "/f", "", knownForm{size: 50}, kept},
		{"gzip", "/f", "", knownForm{size: 51}, removed},
		{"gzip", "/f", "", knownForm{digest: true}, kept},
		{"gzip", "/f", "", knownForm{digest: true, decoded: true}, removed},
		{"gzip", "/f.gz", "", knownForm{digest: true, decoded: true}, kept},
		{"gzip", "/f", "Accept-Ranges: bytes", knownForm{digest: true, decoded: true}, removed},
		{"gzip", "/v2/lib/x/blobs/sha256:" + hex64, "", knownForm{}, kept},
		{"gzip", "/v2/lib/x/blobs/sha256:" + hex64 + " -> /bucket/key", "", knownForm{}, kept},
		{"gzip", "/x -> /sha256/01/" + hex64 + "/data", "", knownForm{}, kept},
		{"gzip", "/f", "Docker-Content-Digest: sha256:" + hex64, knownForm{}, kept},

		{"aws-chunked", "/f", "", knownForm{}, plain},
		{"utf-8", "/f", "", knownForm{}, plain},
		{"none", "/f", "", knownForm{}, plain},
		{"binary", "/f", "", knownForm{}, plain},
		{"UTF-8, aws-chunked", "/f", "", knownForm{}, plain},
		{"aws-chunked, gzip", "/f", "", knownForm{}, removed},
		{"gzip, aws-chunked", "/f.gz", "", knownForm{}, kept},

		{"br", "/f", "", knownForm{}, refused},
		{"zstd", "/f", "", knownForm{}, refused},
		{"deflate", "/f", "", knownForm{}, refused},
		{"compress", "/f", "", knownForm{}, refused},
		{"gzip, br", "/f", "", knownForm{}, refused},
		{"gzip, gzip", "/f", "", knownForm{}, refused},
		{"br", "/f", "Accept-Ranges: bytes", knownForm{}, refused},
		{"br", "/f.br", "", knownForm{}, kept},
		{"zstd", "/f.tar.zst", "", knownForm{}, kept},
		{"compress", "/f.tar.Z", "", knownForm{}, kept},
		{"bzip2", "/f.tar.bz2", "", knownForm{}, kept},
		{"zstd", "/f", "Content-Type: application/zstd", knownForm{}, kept},
		{"br", "/f", "", knownForm{digest: true}, kept},
	}
	for _, tt := range tests {
		if tt.known.size == 0 {
			tt.known.size = -1
		}
		resp := respond(200, 50, "Content-Encoding", tt.coding)
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			resp.Header.Set(name, value)
		}
		resp.Request = nil
		for hop := range strings.SplitSeq(tt.url, " -> ") {
			u, err := url.Parse("http://h" + hop)
			if err != nil {
				t.Fatal(err)
			}
			var from *http.Response
			if resp.Request != nil {
				from = &http.Response{Request: resp.Request}
			}
			resp.Request = &http.Request{URL: u, Response: from}
		}
		c, err := codingOf(resp, tt.known)
		got := plain
		switch {
		case err != nil:
			got = refused
		case c.removed != "":
			got = removed
		case c.kept != "":
			got = kept
		}
		if got != tt.want || err != nil && !errors.Is(err, failure.ErrProtocol) {
			t.Errorf("%q of %s with %q, known %+v: got %s, %v, want %s", tt.coding, tt.url, tt.header, tt.known, got, err, tt.want)
		}
	}
}

// TestDecodedWithoutMark: a body that is not gzip is the file, whatever its coding is
// said to be.
func TestDecodedWithoutMark(t *testing.T) {
	for _, body := range []string{"", "x", "\x1f", "plain text", "PK\x03\x04"} {
		got, err := io.ReadAll(&decoded{ReadCloser: io.NopCloser(strings.NewReader(body))})
		if err != nil || string(got) != body {
			t.Errorf("%q: got %q, %v", body, got, err)
		}
	}
}
