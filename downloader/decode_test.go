package downloader

import (
	"io"
	"strings"
	"testing"
)

// A body that does not begin with the magic number of gzip is the file, even if
// Content-Encoding says gzip.
func TestBodyWithoutGzipMagic(t *testing.T) {
	for _, body := range []string{"", "x", "\x1f", "plain text", "PK\x03\x04"} {
		got, err := io.ReadAll(&gzipBody{ReadCloser: io.NopCloser(strings.NewReader(body))})
		if err != nil || string(got) != body {
			t.Errorf("got %q, error %v, want %q", got, err, body)
		}
	}
}
