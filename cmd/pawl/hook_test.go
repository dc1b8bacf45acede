package main

import (
	"strings"
	"testing"
)

// TestHookLines checks that the output of a hook is printed in whole lines, however it is
// split among writes, and that long lines are broken at hookLine bytes.
func TestHookLines(t *testing.T) {
	long := strings.Repeat("x", maxHookLine)
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a\nb\r\n\nc", []string{"a", "b", "", "c"}},
		{"\x1b[31mred\n", []string{" [31mred"}},
		{long + "\n", []string{long}},
		{long + long + "y\nz", []string{long, long, "y", "z"}},
	} {
		for _, step := range []int{1, 3, 100, 1 << 20} {
			var out strings.Builder
			l := &hookOutput{out: &printer{stderr: &out}}
			for rest := tt.text; rest != ""; {
				n := min(step, len(rest))
				l.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			l.flush()
			want := ""
			for _, line := range tt.want {
				want += "pawl: hook: " + line + "\n"
			}
			if got := out.String(); got != want {
				t.Errorf("%.20q by %d: got %.200q, want %.200q", tt.text, step, got, want)
			}
		}
	}
}
