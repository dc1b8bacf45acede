package downloader

import (
	"io"
	"strings"
	"testing"
)

// said to be.
func TestDecodedWithoutMark(t *testing.T) {
	for _, body := range []string{"", "x", "\x1f", "plain text", "PK\x03\x04"} {
		got, err := io.ReadAll(&gzipBody{ReadCloser: io.NopCloser(strings.NewReader(body))})
		if err != nil || string(got) != body {
			t.Errorf("%q: got %q, %v", body, got, err)
		}
	}
}
