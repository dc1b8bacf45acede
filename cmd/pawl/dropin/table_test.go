package dropin

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pawl/downloader/aria2"
)

// helpOf returns what a tool prints about its options, or skips the test.
func helpOf(t *testing.T, argv ...string) string {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s is not installed", argv[0])
	}
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput() // axel's help has exit code 1
	return string(out)
}

// helpLine matches the lines of help that begin with an option: its letter, name and value.
var helpLine = regexp.MustCompile(`(?m)^ {0,7}(?:-([\w#:]|n[a-zA-Z]),? +)?--([a-z0-9][a-zA-Z0-9.-]*)(\[?=[^ ]*| <[^>]*>| \[protocol)?`)

// inexact are options whose help does not say, or not correctly, whether they have a value.
var inexact = []string{"backups", "help", "hsts-file", "max-redirect"}

// TestTablesAndHelp compares the tables with the help texts of the installed tools: each option must be
// in the table, with the same letter and, where the help says so, with a value.
func TestTablesAndHelp(t *testing.T) {
	for _, tt := range []struct {
		argv  []string
		least int  // how many options the help has at least
		value bool // the help shows which options have a value
	}{
		{[]string{"aria2c", "--help=#all"}, 190, true},
		{[]string{"curl", "--help", "all"}, 240, true},
		{[]string{"wget", "--help"}, 140, true},
		{[]string{"wget2", "--help"}, 130, false},
	} {
		t.Run(tt.argv[0], func(t *testing.T) {
			table := findTool(tt.argv[0]).options
			found := helpLine.FindAllStringSubmatch(helpOf(t, tt.argv...), -1)
			if len(found) < tt.least {
				t.Fatalf("%d options in the help, want at least %d", len(found), tt.least)
			}
			for _, m := range found {
				letter, name, value := m[1], m[2], m[3]
				o, _, err := table.byName(name)
				if err != nil || o.long != name && "no-"+o.long != name {
					t.Errorf("--%s is not in the table: %v", name, err)
					continue
				}
				if len(letter) == 1 && (table.byLetter(letter[0]) != o) {
					t.Errorf("-%s is not --%s", letter, name)
				}
				needs := strings.HasPrefix(value, "=") || strings.HasPrefix(value, " ")
				if tt.value && !slices.Contains(inexact, name) && needs != (o.argument == required) {
					t.Errorf("--%s: the help shows %q, and the table has argument %d", name, value, o.argument)
				}
			}
		})
	}
	t.Run("axel", func(t *testing.T) {
		table := findTool("axel").options
		for _, m := range regexp.MustCompile(`(?m)^--([a-z0-9-]+)(\[?=)?.*?\t+-(\w)?`).FindAllStringSubmatch(helpOf(t, "axel", "--help"), -1) {
			o := table.exact(m[1])
			if o == nil || m[3] != "" && table.byLetter(m[3][0]) != o || (m[2] == "=") != (o.argument == required) {
				t.Errorf("--%s, -%s, %q: not so in the table", m[1], m[3], m[2])
			}
		}
	})
}

// TestTables checks each table: names and letters are unique, each option to translate has a handler and
// no other has one, and all others have a reason.
func TestTables(t *testing.T) {
	handlers := map[string]map[string]handler{
		"aria2c": newAria2(aria2Tool(), testEnv(nil)).handlers, "curl": newCurl(curlTool(), testEnv(nil)).handlers, "wget": newWget(wgetTool(), testEnv(nil)).handlers,
		"axel": newAxel(axelTool(), testEnv(nil)).handlers,
	}
	for _, tool := range tools() {
		var translated []string
		names, letters := make(map[string]bool), make(map[byte]bool)
		for _, o := range tool.options.all {
			if names[o.long] || o.short != 0 && letters[o.short] {
				t.Errorf("%s: %s is twice in the table", tool.name, o)
			}
			names[o.long], letters[o.short] = true, true
			if o.verdict == translate {
				translated = append(translated, o.long)
			}
			if (o.reason == "") != (o.verdict == translate) {
				t.Errorf("%s: %s has the verdict %d and the reason %q", tool.name, o, o.verdict, o.reason)
			}
		}
		for name := range strings.FieldsSeq(perCommand[tool.name]) {
			if !slices.Contains(translated, name) {
				t.Errorf("%s: --%s of perCommand is not translated", tool.name, name)
			}
		}
		slices.Sort(translated)
		if have := slices.Sorted(maps.Keys(handlers[tool.name])); !slices.Equal(translated, have) {
			t.Errorf("%s: options to translate are %q, and handlers are for %q", tool.name, translated, have)
		}
	}
}

// TestAria2Entries checks that the options below URLs are those that lists know, and that their verdicts
// agree with those on a command line.
func TestAria2Entries(t *testing.T) {
	for _, o := range aria2.Options {
		if o.Entry == aria2.EntryApplied && o.Verdict != aria2.Translate {
			t.Errorf("%s is applied in lists, but not on command lines", o.Name)
		}
		if o.Entry == aria2.EntryIgnored && o.Verdict > aria2.Ignore {
			t.Errorf("%s is ignored in lists, but not on command lines", o.Name)
		}
	}
}

func TestToolOf(t *testing.T) {
	for program, want := range map[string]string{
		"aria2c": "aria2c", "pawl-aria2c": "aria2c", "aria2": "aria2c", "ARIA2C.EXE": "aria2c", "curl": "curl", "pawl-curl": "curl", "wget": "wget", "wget2": "wget",
		"pawl-wget": "wget", "axel": "axel", "pawl": "", "pawl.test": "", "": "",
	} {
		if got := ToolOf(program); got != want {
			t.Errorf("ToolOf(%q) = %q, want %q", program, got, want)
		}
	}
}

// TestNewerOptions checks options that the help texts of older versions lack, or that a tool has without
// naming them in its help.
func TestNewerOptions(t *testing.T) {
	for tool, names := range map[string]string{
		"aria2c": "no-want-digest-header",
		"curl": `ca-native proxy-ca-native http3-only ipfs-gateway trace-config trace-ids tls-earlydata variable expand-url haproxy-clientip ech ip-tos vlan-priority mptcp keepalive-cnt
			dump-ca-embed skip-existing ssl-sessions upload-flags show-headers sigalgs proxy-http2 no-clobber no-buffer no-keepalive no-sessionid socks4a`,
		"wget": `retry-on-host-error input-metalink metalink-over-http preferred-location metalink-index keep-badhash http-passwd proxy-passwd htmlify dot-style dont-remove-listing
			clobber cookies proxy glob netrc show-progress no-xattr no-hsts no-verbose`,
	} {
		table := findTool(tool).options
		for name := range strings.FieldsSeq(names) {
			if o, _, err := table.byName(name); err != nil || o.long != name && "no-"+o.long != name {
				t.Errorf("%s: --%s is not in the table: %v", tool, name, err)
			}
		}
	}
}
