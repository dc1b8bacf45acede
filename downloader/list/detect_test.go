package list

import (
	"strings"
	"testing"
)

// TestBinary: an archive is no list of many wrong lines.
func TestBinary(t *testing.T) {
	text := "\x7fELF\x02\x01\x00\x00\xb0\xff\nhttp://h/x\n"
	for e, err := range Read("L", strings.NewReader(text), Options{}) {
		if err == nil || !strings.Contains(err.Error(), "is a binary file, no list") {
			t.Errorf("got %v, %v, want that it is binary", e, err)
		}
	}
}
