package downloader

import (
	"errors"
	"testing"
)

// TestDoubts: one other version in a row is a change, several by turns are
// machines that disagree, and where the wanted one comes again there is patience.
func TestDoubts(t *testing.T) {
	id := map[rune]identity{}
	for _, c := range "ABCD" {
		id[c] = identity{size: 5, etag: `"` + string(c) + `"`}
	}
	const again, changed, turns = "again", "changed", "turns"
	tests := []struct {
		name    string
		past    string // versions given up before
		answers string // versions; A is the wanted one
		want    string // of the last answer
	}{
		{"one other", "", "B", again},
		{"twice", "", "BB", again},
		{"a change", "", "BBB", changed},
		{"every time another", "", "BCD", turns},
		{"another in between", "", "BCB", turns},
		{"one of before", "B", "BBB", turns},
		{"not one of before", "C", "BBB", changed},
		{"a change after all went well", "", "AAABBB", changed},
		{"by turns, the wanted one among them", "", "BABABABABB", again},
		{"the wanted one is gone", "", "BA" + "BBBBBBBBBBBBBBBBBBB", again},
		{"for good", "", "BA" + "BBBBBBBBBBBBBBBBBBBB", changed},
	}
	for _, tt := range tests {
		var d doubts
		for _, c := range tt.past {
			d.left(id[c])
		}
		var err error
		for _, c := range tt.answers {
			if c == 'A' {
				d.agreed()
				continue
			}
			err = d.disagreed(id[c], "why")
		}
		var restart restartError
		got := again
		if errors.As(err, &restart) {
			got = changed
			if restart.keep && restart.single {
				got = turns
			}
		} else if !errors.Is(err, errDoubt) {
			t.Errorf("%s: got error %v", tt.name, err)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestIsPage: a page is refused where another kind of file was, and only there.
func TestIsPage(t *testing.T) {
	of := func(media, etag string) identity { return identity{size: 1, media: media, etag: etag} }
	tests := []struct {
		was, is identity
		want    bool
	}{
		{of("application/zip", ""), of("text/html", ""), true},
		{of("application/zip", `"a"`), of("application/xhtml+xml", `"b"`), true},
		{of("application/zip", `"a"`), of("text/html", `W/"a"`), false}, // the server names it otherwise now
		{of("text/html", ""), of("text/html", ""), false},
		{of("", ""), of("text/html", ""), false},
		{of("application/zip", ""), of("", ""), false},
		{of("application/zip", ""), of("text/plain", ""), false},
	}
	for _, tt := range tests {
		if got := tt.was.isPage(tt.is); got != tt.want {
			t.Errorf("%+v, then %+v: got %v, want %v", tt.was, tt.is, got, tt.want)
		}
	}
}
