package list

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pawl/chunk"
)

// An entry is bounded as a whole, in every format.
func TestEntryBounds(t *testing.T) {
	long := strings.Repeat("x", maxEntry/2)
	relative := strings.Repeat(`"a",`, 100_000)
	wrong := strings.Repeat(`"ftp://h/x",`, 20)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"aria2 header": {"http://h/x\n header=A: " + long + "\n referer=" + long + "\n", []string{"! L:1: an entry longer than 1048576 bytes"}},
		"aria2 mirrors": {"http://h/1\thttp://h/" + long + "\n referer=" + long + "\n out=a\n", []string{
			"? L:1: 1 of its URLs are not used: an entry has 1000 URLs and 1048576 bytes at most",
			"1: http://h/1 out=a Referer=[\"" + long + "\"]"}},
		"relative": {`{"urls":[` + relative + `"a"]}`, []string{
			"? L:1: 99001 of its URLs are not used: an entry has 1000 URLs and 1048576 bytes at most",
			"1: " + strings.TrimSpace(strings.Repeat("http://h/d/a ", maxMirrors))}},
		"wrong": {`{"urls":[` + wrong + `"http://h/x"]}`, append(slices.Repeat([]string{
			`? L:1: "ftp://h/x" is not an http or https URL, and not used as a mirror`}, mostRefused),
			"? L:1: 10 more of its URLs cannot be used", "1: http://h/x")},
	} {
		got := read("L", strings.NewReader(c.text), Options{Base: "http://h/d/"})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %.300q, want %.300q", name, got, c.want)
		}
	}
}

// A checksum file of many lines is found by path and by last element.
func TestSumsMany(t *testing.T) {
	const n = 100_000
	list := &repeated{n: n, entry: func(b []byte, i int) []byte { return fmt.Appendf(b, "%064x  dir%d/file%d\n", i, i%7, i) }}
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
		t.Errorf("got %v, %v for an unknown path", got, err)
	}
}

// A checksum file with too many lines is refused, and one of bad lines read no further
// than the first thousand of them.
func TestSumsBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads 4 million lines")
	}
	_, _, err := ReadSums("L", &repeated{n: maxSums + 1, entry: around(hex32+"  f", "\n")}, 0)
	if err == nil || err.Error() != "L: more than 4000000 lines" {
		t.Errorf("got %v", err)
	}
	bad := &repeated{n: 1e9, entry: around(hex32+"  good", "\nbad\n")}
	if _, problems, err := ReadSums("L", bad, 0); err != nil || len(problems) != mostWarned {
		t.Errorf("got %d problems, %v", len(problems), err)
	}
}
