package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var updateFlag = flag.Bool("update", false, "write testdata/commands.golden anew")

// TestCommandLines compares all command lines, over HTTP and HTTPS, with the golden file.
func TestCommandLines(t *testing.T) {
	const file = "testdata/commands.golden"
	var got strings.Builder
	for _, k := range []kind{oneFile, limitedServer, manyFiles, manyLarge, killedHalfway, twoMirrors} {
		for _, ca := range []string{"", "/c/ca.pem"} {
			scheme := "http"
			if ca != "" {
				scheme = "https"
			}
			fmt.Fprintf(&got, "# %s, %s\n", k, scheme)
			j := job{baseURL: scheme + "://a:1", mirrorURL: scheme + "://b:2", name: "f.bin", size: 3200, dir: "/d", stateDir: "/s", caFile: ca}
			for _, c := range commands[k] {
				fmt.Fprintf(&got, "%-28s %q\n", c, c.argv(j))
			}
		}
	}
	if *updateFlag {
		os.Mkdir("testdata", 0o777)
		if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(strings.ReplaceAll(string(want), "\r\n", "\n"), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("line %d: got\n%s\nwhich differs from %s (-update rewrites it)", i+1, line, file)
		}
	}
}

// TestCommandsAreConsistent checks that labels are unique, that a command has a line or
// a reason for having none, and that all {names} are known.
func TestCommandsAreConsistent(t *testing.T) {
	for k, all := range commands {
		seen := make(map[string]bool)
		for _, c := range all {
			if seen[c.String()] {
				t.Errorf("%s: command %q is listed twice", k, c)
			}
			seen[c.String()] = true
			switch {
			case c.line == "" && unsupported[k] == "":
				t.Errorf("%s: %s has no line, and unsupported has no reason for this kind", k, c)
			case c.line != "" && (c.maxConns == 0 || strings.Fields(c.line)[0] != c.tool):
				t.Errorf("%s: %s: got %d connections and line %q, want at least 1 and a line that begins with the tool", k, c, c.maxConns, c.line)
			}
			if left := strings.Join(c.argv(job{}), " "); strings.ContainsAny(left, "{}") {
				t.Errorf("%s: %s: unknown {name} in %q", k, c, left)
			}
		}
	}
}

// TestWorkloadsAreConsistent checks that names are unique, that --quick has less to
// download, and that each workload has a command of pawl that --few does not skip.
func TestWorkloadsAreConsistent(t *testing.T) {
	names := make(map[string]bool)
	for _, w := range workloads {
		if names[w.Name] {
			t.Errorf("workload %s is listed twice", w.Name)
		}
		names[w.Name] = true
		if w.Quick.total() >= w.Full.total() {
			t.Errorf("%s: Quick is %v, want less than Full, %v", w.Name, w.Quick, w.Full)
		}
		pawl := func(c command) bool { return c.tool == "pawl" && w.includes(c) && w.competitive(c) }
		if !slices.ContainsFunc(commands[w.Kind], pawl) {
			t.Errorf("%s: no command of pawl", w.Name)
		}
	}
}

// TestContenders checks which commands run in a workload with --few, and which are skipped.
func TestContenders(t *testing.T) {
	byName := func(name string) workload {
		return workloads[slices.IndexFunc(workloads, func(w workload) bool { return w.Name == name })]
	}
	b := &bench{options: options{few: true}, tools: []tool{
		{Name: "pawl", isPawl: true}, {Name: "old", isPawl: true}, {Name: "axel"}, {Name: "curl"}, {Name: "bare"}}}
	tests := []struct{ work, in, out string }{
		{"throttle", "pawl, pawl -x 32, old, old -x 32, axel -n16, axel -n32", "axel -n4, curl"},
		{"loopback", "pawl, old, axel -n4, axel -n16, axel -n32, curl, bare 4", ""},
		{"loopback-https", "pawl, old, axel -n4, axel -n16, axel -n32, curl, bare 1", ""},
		{"kill", "pawl, old, axel -n16, curl -C -", ""},
		{"small-h1", "pawl, pawl -x 100, old, old -x 100, axel, curl parallel 50, curl parallel 100, waiting", "curl parallel 16"},
	}
	join := func(all []contender) string {
		var names []string
		for _, c := range all {
			names = append(names, c.String())
		}
		return strings.Join(names, ", ")
	}
	for _, test := range tests {
		in, out := b.contenders(byName(test.work))
		if join(in) != test.in || join(out) != test.out {
			t.Errorf("%s: got %q, skipped %q; want %q, skipped %q", test.work, join(in), join(out), test.in, test.out)
		}
	}
}
