package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// TestVersions checks what the program says about itself, for each way to build it.
func TestVersions(t *testing.T) {
	clean := []debug.BuildSetting{{Key: "vcs.revision", Value: "9ce1965"}, {Key: "vcs.modified", Value: "false"}}
	dirty := []debug.BuildSetting{{Key: "vcs.revision", Value: "9ce1965"}, {Key: "vcs.modified", Value: "true"}}
	for _, test := range []struct {
		name, release, main string
		settings            []debug.BuildSetting
		short, commit       string
	}{
		{"go run, without a record of the commit", "", "(devel)", nil, "devel", "unknown"},
		{"no build information", "", "", nil, "devel", "unknown"},
		{"a release", "v1.2.3", "v0.0.0-20261129210700-9ce1965d0a1b", clean, "v1.2.3", "9ce1965"},
		{"a release of a changed checkout", "v1.2.3", "v1.2.2+dirty", dirty, "v1.2.3+dirty", "9ce1965 with changes"},
		{"a release from a source archive", "v1.2.3", "(devel)", nil, "v1.2.3", "unknown"},
		{"a tagged commit", "", "v1.2.3", clean, "v1.2.3", "9ce1965"},
		{"a changed checkout", "", "v1.2.3+dirty", dirty, "v1.2.3+dirty", "9ce1965 with changes"},
		{"go install NAME@VERSION", "", "v1.2.3", nil, "v1.2.3", "unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			short, long := versions(test.release, &debug.BuildInfo{Main: debug.Module{Version: test.main}, Settings: test.settings})
			want := "pawl " + test.short
			wantLong := want + " (commit " + test.commit + ", " + runtime.Version() + ")"
			if short != want || long != wantLong {
				t.Errorf("got %q and %q, want %q and %q", short, long, want, wantLong)
			}
		})
	}
}
