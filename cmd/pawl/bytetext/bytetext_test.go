package bytetext

import "testing"

// TestEscape checks that invalid bytes are escaped, such as \xe9, and that a replacement character
// U+FFFD in the text stays as it is.
func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "café \ufffd": "café \ufffd", "caf\xe9": `caf\xe9`, "\xff\xfeé\xed\xa0\x80\ufffd": `\xff\xfeé\xed\xa0\x80` + "\ufffd", `caf\xe9`: `caf\xe9`, "\x85": `\x85`,
	} {
		if got := Escape(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
