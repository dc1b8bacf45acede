package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promises are those of the README, "How it keeps its word", with the tests that hold each:
// groups of hazards ("changes:"), or tests by package and name ("store.TestCrash").
var promises = map[string][]string{
	"Versions never mix":                     {"changes:", "lies:", "evidence: no validators", "downloader.FuzzResponses", "downloader.FuzzReadAnswer", "cmd/pawl.TestGrammar"},
	"Versions that look alike are not mixed": {"evidence: no validators, so one connection", "evidence: no validators, changed in place", "evidence: no validators, and a mirror"},
	"Damage is found":                        {"disks: part file", "states:"},
	"A wrong digest heals":                   {"digests:", "downloader.TestMismatches", "downloader.TestSumHeals"},
	"One stream is enough":                   {"refused:", "limits:", "breaks:", "lies: ranges ignored", "downloader.TestFaults"},
	"Mirrors are checked":                    {"evidence: a mirror", "digests: wrong bytes of", "downloader.TestMirrorLies", "downloader.TestMirrorLinked", "downloader.TestMirrorRefused"},
	"The file is downloaded as it is stored": {"codings:", "downloader.TestCodingOf"},
	"A truncated file is not complete":       {"evidence: https without an end", "evidence: http without an end"},
	"Nothing of yours is destroyed":          {"disks: foreign file", "disks: target is", "names:", "cmd/pawl.TestScripts"},
	"One failure is one failure":             {"cmd/pawl.TestMirrorDead", "cmd/pawl.TestMirrorRounds"},
	"Every wait ends":                        {"silences:", "trickles:", "breaks:", "downloader.TestWatchdogOneClock", "downloader.TestMultiplexerNoStreams", "downloader.TestPatienceSilence", "cmd/pawl.TestGetOffline"},
	"No secret leaks":                        {"origins:", "links:", "cmd/pawl.TestPrivateAddresses", "downloader.TestCheckRedirect", "downloader.TestShownURL", "store.TestRecordKeys"},
	"Bounded":                                {"cmd/pawl.TestTerabyte", "cmd/pawl.TestGrammar"},
}

// TestPromises: each promise of the README has tests, which exist.
func TestPromises(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "## How it keeps its word")
	text, _, _ = strings.Cut(text, "\n## ")
	var made []string
	for _, m := range regexp.MustCompile(`(?m)^- \*\*([^*]+)\.\*\*`).FindAllStringSubmatch(text, -1) {
		made = append(made, m[1])
	}
	slices.Sort(made)
	if held := slices.Sorted(maps.Keys(promises)); !slices.Equal(made, held) {
		t.Errorf("the README promises %q, and the table holds %q", made, held)
	}
	for promise, tests := range promises {
		for _, test := range tests {
			if !existsTest(test) {
				t.Errorf("%s: there is no test %q", promise, test)
			}
		}
	}
}

// existsTest reports whether a group of hazards, or a test of a package, is there.
func existsTest(name string) bool {
	if slices.ContainsFunc(hazards(), func(h hazard) bool { return strings.HasPrefix(h.name, name) }) {
		return true
	}
	dir, function, ok := strings.Cut(name, ".")
	files, _ := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	return ok && slices.ContainsFunc(files, func(file string) bool {
		source, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(source), "func "+function+"(")
	})
}
