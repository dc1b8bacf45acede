package list

import (
	"strings"
	"testing"
)

// A binary file gives one error, and not a problem for each of its lines.
func TestReadRejectsBinary(t *testing.T) {
	text := "\x7fELF\x02\x01\x00\x00\xb0\xff\nhttp://h/x\n"
	for e, err := range Read("L", strings.NewReader(text), Options{}) {
		if err == nil || !strings.Contains(err.Error(), "is a binary file, not a list") {
			t.Errorf("got %v, %v, want an error that it is a binary file", e, err)
		}
	}
}
