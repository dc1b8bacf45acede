package main

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// release is the version that a release or a packager gives the program:
//
//	go build -ldflags "-X main.release=v1.2.3" ./cmd/pawl
//
// If it is empty, Go takes the version from a tag of the commit.
var release string

// version returns the name and the version, for reports: for example "pawl v1.2.3", "pawl
// v1.2.3+dirty" if the checkout had changes that no commit has, or "pawl devel" if the program
// does not know.
func version() string {
	short, _ := versions(release, buildInfo())
	return short
}

// longVersion returns the text of --version: version, commit and Go version, for example
// "pawl v1.2.3 (commit 9ce1965, go1.26.8)" with the whole commit.
func longVersion() string {
	_, long := versions(release, buildInfo())
	return long
}

// buildInfo returns the record that Go has made in the program, or an empty one.
func buildInfo() *debug.BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info
	}
	return new(debug.BuildInfo)
}

// versions returns the results of version and longVersion for a program with the given release
// and build information.
func versions(release string, info *debug.BuildInfo) (short, long string) {
	settings := map[string]string{"vcs.revision": "unknown"}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	isDirty := settings["vcs.modified"] == "true"
	number := strings.Trim(info.Main.Version, "()") // "(devel)" if there is no version
	switch {
	case release != "" && isDirty:
		number = release + "+dirty" // as Go does it with a tag
	case release != "":
		number = release
	case number == "":
		number = "devel"
	}
	short = "pawl " + number
	commit := "commit " + settings["vcs.revision"]
	if isDirty {
		commit += " with changes"
	}
	return short, short + " (" + commit + ", " + runtime.Version() + ")"
}
