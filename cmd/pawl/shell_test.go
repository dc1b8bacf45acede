package main

import (
	"os/exec"
	"testing"
)

// TestShellQuote checks that a shell reads each argument as it was, and that its quoted form is printable.
func TestShellQuote(t *testing.T) {
	for arg, want := range map[string]string{
		"a.iso":              "a.iso",
		"":                   "''",
		"it's 1":             `'it'\''s 1'`,
		"größe":              "'größe'",
		"a\x1b[31m'\\b\xff1": `$'a\033[31m\'\\b\3771'`,
		"a\nb\u202ec\u00a0":  `$'a\012b\342\200\256c\302\240'`,
	} {
		got := shellQuote(arg)
		if got != want || printable(got) != got {
			t.Errorf("%q: got %s, want %s", arg, got, want)
		}
		bash, err := exec.LookPath("bash")
		if err != nil {
			continue
		}
		if out, err := exec.Command(bash, "-c", "printf %s "+got).Output(); err != nil || string(out) != arg {
			t.Errorf("%q: bash reads %q, %v", arg, out, err)
		}
	}
}
