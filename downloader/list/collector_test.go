package list

import (
	"slices"
	"strings"
	"testing"
)

// The limits of an entry apply to all its parts together, in every format.
func TestEntryBounds(t *testing.T) {
	long := strings.Repeat("x", maxEntry/2)
	relative := strings.Repeat(`"a",`, 100_000)
	invalid := strings.Repeat(`"ftp://h/x",`, 20)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"aria2 header": {"http://h/x\n header=A: " + long + "\n referer=" + long + "\n", []string{"! L:1: entry is longer than 1048576 bytes"}},
		"aria2 mirrors": {"http://h/1\thttp://h/" + long + "\n referer=" + long + "\n out=a\n", []string{
			"? L:1: 1 mirrors ignored: an entry may have at most 1000 URLs and 1048576 bytes",
			"1: http://h/1 out=a Referer=[\"" + long + "\"]"}},
		"relative mirrors": {`{"urls":[` + relative + `"a"]}`, []string{
			"? L:1: 99001 mirrors ignored: an entry may have at most 1000 URLs and 1048576 bytes",
			"1: " + strings.TrimSpace(strings.Repeat("http://h/d/a ", maxMirrors))}},
		"invalid URLs": {`{"urls":[` + invalid + `"http://h/x"]}`, append(slices.Repeat([]string{
			`? L:1: "ftp://h/x" is not an http or https URL; mirror ignored`}, maxRepeated),
			"? L:1: 10 more invalid mirrors ignored", "1: http://h/x")},
	} {
		got := readAll("L", strings.NewReader(c.text), Options{Base: "http://h/d/"})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %.300q, want %.300q", name, got, c.want)
		}
	}
}
