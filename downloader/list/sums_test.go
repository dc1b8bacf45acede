package list

import (
	"fmt"
	"strings"
	"testing"

	"pawl/chunk"
)

func TestSumsFind(t *testing.T) {
	text := strings.Join([]string{
		hex64 + "  ./top.iso", hex64 + " *dir/sub/x.iso", hexB64 + "  other/y.iso", hex64 + "  more/y.iso",
		hex64 + "  a/same", hex64 + "  b/same", hex32 + "  weak", hex64 + "  weak", hex128 + "  weak", hex40 + "  weak",
		hex64 + "  twice", hexB64 + "  twice", hex64 + "  q/twice", hex64 + "  m/late", hex64 + "  n/late", hexB64 + "  n/late", `\` + hex64 + `  n\nl`, hex64 + `  w\z.iso`, "prose", hex64 + "x", "",
	}, "\n")
	s, problems, err := ReadSums("L", strings.NewReader(gzipped(text)), 0)
	if err != nil || len(problems) != 1 || problems[0].Error() != "L:20: is not a valid checksum line" {
		t.Fatalf("got problems %v, error %v", problems, err)
	}
	a, b := "sha256:"+hex64, "sha256:"+hexB64
	for path, want := range map[string]string{
		"top.iso": a, "./top.iso": a, ".//./top.iso": a, "elsewhere/top.iso": a, "dir/sub/x.iso": a, "./dir/sub/x.iso": a, "x.iso": a, "sub/x.iso": a,
		"other/y.iso": b, "more/y.iso": a, "y.iso": "conflict", "third/y.iso": "conflict", "same": a, "weak": "sha512|blake2b:" + hex128,
		"twice": "conflict", "q/twice": a, "z/twice": "conflict", "m/late": a, "late": "conflict", "n\nl": a, "z.iso": a, "none": "", "": "", "iso": "",
	} {
		got, err := s.Find(path)
		if want == "conflict" {
			if err == nil || !got.IsZero() || !strings.Contains(err.Error(), "L: has conflicting checksums for") {
				t.Errorf("Find(%q): got %v, %v, want a conflict", path, got, err)
			}
		} else if got.String() != want || err != nil {
			t.Errorf("Find(%q): got %v, %v, want %q", path, got, err, want)
		}
	}
}

func TestReadSumsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "x.md5: has no valid checksum line",
		"junk\n":                  "x.md5: has no valid checksum line",
		"<!doctype html>":         "x.md5: is a web page, not a list",
		"\x1f\x8bjunk":            "x.md5: unexpected EOF",
		hex32 + "  a\n" + "http:": "",
		"B3SUMS\n":                "x.md5: has no valid checksum line",
	} {
		s, _, err := ReadSums("x.md5", strings.NewReader(text), 0)
		if got := fmt.Sprint(err); err != nil && got != want || err == nil && (want != "" || s == nil) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	s, problems, err := ReadSums("x.md5", strings.NewReader(hex32), 0)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if got, err := s.Find("d/x"); got.String() != "md5:"+hex32 || err != nil {
		t.Errorf("sidecar file: got %v, %v", got, err)
	}
}

func TestStronger(t *testing.T) {
	sums := []chunk.Sum{{}}
	for _, text := range []string{"crc32c:00000000", "md5:" + hex32, "sha1:" + hex40, "sha256:" + hex64, "blake2b:" + hex128, "sha512:" + hex128} {
		sums = append(sums, mustParseSum(t, text))
	}
	for i, a := range sums {
		for j, b := range sums {
			if got, want := stronger(a, b), sums[max(i, j)]; got != want {
				t.Errorf("stronger(%v, %v): got %v, want %v", a, b, got, want)
			}
		}
	}
}

// Find finds lines of a large file by path, and by the last element of the path.
func TestSumsMany(t *testing.T) {
	const n = 20_000
	list := &generatedList{n: n, entry: func(b []byte, i int) []byte { return fmt.Appendf(b, "%064x  dir%d/file%d\n", i, i%7, i) }}
	s, problems, err := ReadSums("L", list, 0)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	for i := 0; i < n; i += 997 {
		want, _ := chunk.ParseSum(fmt.Sprintf("sha256:%064x", i))
		for _, path := range []string{fmt.Sprintf("dir%d/file%d", i%7, i), fmt.Sprintf("./dir%d/file%d", i%7, i), fmt.Sprintf("other/file%d", i)} {
			if got, err := s.Find(path); got != want || err != nil {
				t.Errorf("Find(%q): got %v, %v, want %v", path, got, err, want)
			}
		}
	}
	if got, err := s.Find("dir/other"); !got.IsZero() || err != nil {
		t.Errorf("Find of an unknown path: got %v, %v", got, err)
	}
}

// A checksum file with too many lines is an error. Reading stops after a thousand invalid
// lines.
func TestSumsBounds(t *testing.T) {
	for lines, want := range map[int]string{1000: "", 1001: "L: has more than 1000 lines"} {
		_, _, err := readSums("L", &generatedList{n: lines, entry: numbered(hex32+"  f", "\n")}, 0, 1000)
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
			t.Errorf("%d lines: got error %v, want %q", lines, err, want)
		}
	}
	bad := &generatedList{n: 1e9, entry: numbered(hex32+"  good", "\n"+hex32+"x\n")}
	if _, problems, err := ReadSums("L", bad, 0); err != nil || len(problems) != maxProblems {
		t.Errorf("got %d problems, %v, want %d", len(problems), err, maxProblems)
	}
}
