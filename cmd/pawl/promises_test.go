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

// promises maps each promise in the README, "How it keeps its word", to the tests that
// check it: prefixes of hazard names ("changes:"), or tests by package directory and name
// ("store.TestCrash"). Whoever renames a hazard or a test must rename it here, too.
var promises = map[string][]string{
	"Versions never mix":                     {"changes:", "lies:", "evidence: no validators", "downloader.FuzzResponses", "downloader/response.FuzzRead", "cmd/pawl.TestGrammar"},
	"Versions that look alike are not mixed": {"evidence: no validators, so one connection", "evidence: no validators, changed in place", "evidence: no validators, and a mirror"},
	"Damage is found":                        {"disks: part file", "states:"},
	"A wrong digest heals":                   {"digests:", "downloader.TestMismatches", "downloader.TestWrongDigestOnce"},
	"One stream is enough":                   {"refused:", "limits:", "breaks:", "lies: ranges ignored", "downloader.TestFaults"},
	"Mirrors are checked":                    {"evidence: a mirror", "digests: wrong bytes from", "downloader.TestMirrorLies", "downloader.TestMirrorFromLinkField", "downloader.TestMirrorNotUsed"},
	"The file is downloaded as it is stored": {"codings:", "downloader/response.TestCodingOf"},
	"A truncated file is not complete":       {"evidence: https without framing", "evidence: http without framing"},
	"Nothing of yours is destroyed":          {"disks: foreign file", "disks: target is", "leftover:", "names:", "cmd/pawl.TestScripts"},
	"One failure is one failure":             {"cmd/pawl.TestMirrorDead", "cmd/pawl.TestMirrorRounds"},
	"Every wait ends":                        {"silences:", "trickles:", "breaks:", "downloader/transport.TestWatchdogOneClock", "downloader/transport.TestH2PoolNoStreams", "downloader.TestRetryBudgetSilence", "cmd/pawl.TestGetOffline"},
	"No secret leaks":                        {"origins:", "links:", "credentials: planted secrets", "credentials: not for other origins", "cmd/pawl.TestPrivateAddresses", "downloader/transport.TestCheckRedirect", "downloader/weburl.TestRedact", "store.TestRecordKeys"},
	"Bounded":                                {"cmd/pawl.TestTerabyte", "cmd/pawl.TestGrammar"},
}

// TestPromises checks that the README and the table have the same promises, and that all
// tests in the table exist.
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
		t.Errorf("the README has promises %q, want those of the table, %q", made, held)
	}
	for promise, tests := range promises {
		for _, test := range tests {
			if !existsTest(test) {
				t.Errorf("promise %q: no test or hazard is named %q", promise, test)
			}
		}
	}
}

// existsTest reports whether a hazard's name has the prefix name, or a test with that
// package directory and name exists.
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
