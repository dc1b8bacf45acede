package list

import (
	"strings"
	"testing"
)

func TestPathGlob(t *testing.T) {
	for _, tt := range []struct{ glob, match, not string }{ // paths, separated by blanks; "d/" is a directory
		{"*.iso", "a.iso d/a.iso d/e/a.iso .iso a.iso/ a.iso/b", "a.isox aXiso iso"},
		{"a?.bin", "ab.bin d/ac.bin aé.bin", "a.bin abc.bin a/.bin"},
		{"d/*.iso", "d/a.iso", "a.iso e/d/a.iso d/e/a.iso"},
		{"/a.iso", "a.iso", "d/a.iso"},
		{"/d/*", "d/a d/e/ d/e/f", "d/ e/d/a"},
		{"**/a", "a d/a d/e/a", "da d/ba"},
		{"d/**", "d/a d/e/a", "d/ e/d/a"},
		{"d/**/a", "d/a d/e/a d/e/f/a", "d/ba a"},
		{"d/**.iso", "d/a.iso d/e/a.iso", "a.iso e/a.iso"},
		{"**.iso", "a.iso d/a.iso", "a.isx"},
		{"old/", "old/ old/a d/old/a d/old/e/", "old d/old"},
		{"old", "old old/ old/a d/old/a", "older d/older/a"},
		{"a/b/", "a/b/ a/b/c", "a/b c/a/b/"},
		{"[a-c].[!0-9]", "a.x d/b.y", "d.x a.1 a./ a.x1"},
		{"[^a]", "b", "a"},
		{"[]a]", "] a", "b"},
		{"[a^]", "a ^", "b"},
		{"x[1-2]y", "x1y", "x3y x[1-2]y"},
		{`\*.\[a`, "*.[a", "b.[a"},
		{"a+(b)|c{2}.$", "a+(b)|c{2}.$", "aab"},
		{"été*", "été.bin d/été", "ete"},
	} {
		var g PathGlob
		if err := g.UnmarshalText([]byte(tt.glob)); err != nil {
			t.Errorf("%q: %v", tt.glob, err)
			continue
		}
		for want, paths := range map[bool]string{true: tt.match, false: tt.not} {
			for _, p := range strings.Fields(paths) {
				name, isDir := strings.CutSuffix(p, "/")
				if got := g.Match(name, isDir); got != want {
					t.Errorf("%q matches %q: got %v, want %v", tt.glob, p, got, want)
				}
			}
		}
	}
	for _, bad := range []string{"", "/", "[", "a[b", "[!", "[]", "[z-a]"} {
		if new(PathGlob).UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
	if (PathGlob{}).Match("a", false) {
		t.Error("the zero PathGlob matches")
	}
}
