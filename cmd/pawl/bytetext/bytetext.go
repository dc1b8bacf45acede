// Package bytetext writes bytes that may not be UTF-8, for example file names, as text.
package bytetext

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Escape writes each byte that is not UTF-8 as \xNN, for example "caf\xe9". Both messages
// and JSON need it: JSON cannot contain such bytes, and encoding/json would replace them
// all with the same character.
func Escape(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if _, size := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
