package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// volatile are the parts of a message that differ between runs, and their placeholders in
// the golden file.
var volatile = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`"[0-9a-f]+-[0-9a-f]+"`), "TAG"}, // an ETag; must come before the rule for numbers
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "sha256:HEX"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST"},
	{regexp.MustCompile(`\[::1\]:\d+`), "HOST"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "ID"},
	{regexp.MustCompile(`\b\d{4,}\b|\b\d+ are free`), "N"},
	{regexp.MustCompile(`\b[0-9.]+ (B|KiB|MiB|GiB)\b`), "SIZE"},
}

// errorLines returns the errors and hints that the program printed, with placeholders for
// the volatile parts.
func (o runResult) errorLines() string {
	var b strings.Builder
	for line := range strings.Lines(o.stderr) {
		if !strings.HasPrefix(line, "pawl: error: ") && !strings.HasPrefix(line, "pawl: hint: ") {
			continue
		}
		line = strings.ReplaceAll(line, o.tr.dir, "DIR")
		for _, v := range volatile {
			line = v.re.ReplaceAllString(line, v.to)
		}
		b.WriteString(line)
	}
	return b.String()
}

// checkGolden compares the errors of all hazards with testdata/errors.golden. That file
// has one paragraph per hazard with errors: "# " and the name, then the errors and hints
// of all runs. So every text that people can see is reviewed in one place. With -update
// it rewrites the file and keeps the paragraphs of hazards that did not run.
func checkGolden(t *testing.T, runs []*testRun) {
	const path = "testdata/errors.golden"
	got := make(map[string]string)
	for _, tr := range runs {
		if !tr.ran || tr.skipped {
			continue
		}
		text := ""
		for _, o := range tr.results {
			if lines := o.errorLines(); !strings.HasSuffix(text, lines) {
				text += lines
			}
		}
		got[tr.name] = text
	}
	data, err := os.ReadFile(path)
	if err != nil && !*updateFlag {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for _, p := range strings.Split(string(data), "\n\n") {
		name, text, _ := strings.Cut(strings.Trim(p, "\n")+"\n", "\n")
		want[strings.TrimPrefix(name, "# ")] = text
	}
	if *updateFlag {
		var b strings.Builder
		for name, text := range got {
			want[name] = text
		}
		for _, hz := range slices.SortedFunc(slices.Values(hazards()), func(a, b hazard) int { return cmp.Compare(a.name, b.name) }) {
			if text := want[hz.name]; text != "" {
				fmt.Fprintf(&b, "# %s\n%s\n", hz.name, text)
			}
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, text := range got {
		if text != want[name] {
			t.Errorf("%s: got errors\n%swant\n%s(-update rewrites the golden file)", name, text, want[name])
		}
	}
}
