package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// parseWork parses a command line of pawl work.
func parseWork(args []string) (*CLI, error) {
	cli := new(CLI)
	parser, err := kong.New(cli, rawTextMappers(), kong.DefaultEnvars("PAWL"), kong.Vars{"version": ""}, kong.Bind(new(configLoader)))
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(args)
	if err == nil && parsed.Selected().Path() != "work" {
		err = fmt.Errorf("the command is %s", parsed.Selected().Path())
	}
	if err == nil {
		err = cli.Work.check()
	}
	return cli, err
}

// TestPackagedFiles checks that the packages have each unit and each example: those of the fleet as documentation.
func TestPackagedFiles(t *testing.T) {
	contents := make(map[string]string) // the directory in a package, by pattern
	for _, m := range regexp.MustCompile(`src: ([^,]+), dst: ([^,]+),`).FindAllStringSubmatch(readFile(t, "../../.ci/nfpm.yaml"), -1) {
		contents[m[1]] = m[2]
	}
	for dir, want := range map[string]string{"systemd": "/usr/lib/systemd/system/", "systemd/user": "/usr/lib/systemd/user/", "fleet": "/usr/share/doc/pawl/examples/"} {
		if !regexp.MustCompile(`(?m)^\tcp -r .*\bcmd/pawl/` + strings.Split(dir, "/")[0] + `\b`).MatchString(readFile(t, "../../.ci/release")) {
			t.Errorf(".ci/release does not copy %s", dir)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			got := ""
			for pattern, to := range contents {
				if ok, _ := path.Match(pattern, dir+"/"+f.Name()); ok {
					got = to
				}
			}
			if !f.IsDir() && got != want {
				t.Errorf("%s/%s is packaged in %q, want %q", dir, f.Name(), got, want)
			}
		}
	}
}

// TestSystemdWorker checks the unit of a worker: the grammar accepts its command line, it may write where it must, its
// disk is mounted, and it is confined as the daemon is.
func TestSystemdWorker(t *testing.T) {
	unit := readUnit(t, "systemd/pawl-work@.service")
	args := strings.Fields(strings.Join(unit["Service.ExecStart"], "\n"))
	if len(args) < 2 || filepath.Base(args[0]) != "pawl" {
		t.Fatalf("ExecStart is %q, want a command line of pawl", args)
	}
	for _, setting := range unit["Service.Environment"] {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	cli, err := parseWork(args[1:])
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if !cli.Work.isGiven() || !cli.Work.Shared {
		t.Errorf("%q names no queue, or is not for a shared directory", args)
	}
	if !strings.Contains(cli.State, "%i") {
		t.Errorf("all workers of a machine have the state directory %q", cli.State)
	}
	credential, _, _ := strings.Cut(strings.Join(unit["Service.LoadCredential"], " "), ":")
	for key, want := range map[string]string{
		"Service.ReadWritePaths": cli.Work.Dir, "Unit.RequiresMountsFor": cli.Work.Dir, "Service.SuccessExitStatus": "143",
		"Service.RestartPreventExitStatus": "2", "Service.Restart": "on-failure", "Install.WantedBy": "multi-user.target",
	} {
		if !slices.Equal(unit[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, unit[key], want)
		}
	}
	if credential != os.Getenv("PAWL_QUEUE_CREDS") {
		t.Errorf("LoadCredential has %q, and pawl reads %q", credential, os.Getenv("PAWL_QUEUE_CREDS"))
	}
	confines := regexp.MustCompile(`^Service\.(Protect|Private|Restrict[A-Z]|NoNew|Capab|Lock|Memory|SystemCall)`)
	for key, values := range readUnit(t, "systemd/pawl-daemon.service") {
		if confines.MatchString(key) && !slices.Equal(unit[key], values) {
			t.Errorf("%s is %q, want that of the daemon, %q", key, unit[key], values)
		}
	}
}

// TestKubernetesWorkers checks that the grammar accepts the arguments of the file, that the names in it fit together,
// and that a worker has the time to give its files back.
func TestKubernetesWorkers(t *testing.T) {
	text := readFile(t, "fleet/kubernetes.yaml")
	for _, problem := range yamlProblems(text) {
		t.Error(problem)
	}
	value := func(pattern string) string {
		m := regexp.MustCompile(`(?m)^ *` + pattern + `$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("the file has no %s", pattern)
		}
		return m[1]
	}
	if claim := value(`claimName: (.*)`); !strings.Contains(text, "\n  name: "+claim+"\n") {
		t.Errorf("there is no claim %q", claim)
	}
	value(`accessModes: \[(ReadWriteMany)\]`)
	if grace := atoi(t, value(`terminationGracePeriodSeconds: (\d+)`)); grace < 10 {
		t.Errorf("a worker has only %d seconds to end", grace)
	}
	if secret := value(`secretName: (.*)`); !strings.Contains(text, "create secret generic "+secret+" ") {
		t.Errorf("no command makes the secret %q", secret)
	}
	_, list, _ := strings.Cut(text, "args:\n")
	list, _, _ = strings.Cut(list, "env:\n")
	var args []string
	for _, m := range regexp.MustCompile(`(?m)^ +- (.*)$`).FindAllStringSubmatch(list, -1) {
		args = append(args, m[1])
	}
	cli, err := parseWork(args)
	if err != nil || !cli.Work.isGiven() {
		t.Fatalf("%q: %v", args, err)
	}
	mounts := regexp.MustCompile(`(?m)^ +mountPath: (.*)$`).FindAllStringSubmatch(text, -1)
	for _, path := range []string{cli.Work.Dir, cli.State, cli.Work.QueueCA, filepath.Join(value(`value: (/.*)`), string(cli.Work.QueueCreds))} {
		if !slices.ContainsFunc(mounts, func(m []string) bool { return strings.HasPrefix(path+"/", m[1]+"/") || !filepath.IsAbs(path) }) {
			t.Errorf("%q is in no volume", path)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^#   pawl (.*)$`).FindAllStringSubmatch(text, -1) {
		var cli CLI
		parser, err := kong.New(&cli, rawTextMappers(), kong.Vars{"version": ""}, kong.Bind(new(configLoader)))
		if err == nil {
			_, err = parser.Parse(strings.Fields(m[1]))
		}
		if err != nil {
			t.Errorf("pawl %s: %v", m[1], err)
		}
	}
}

// A yamlLevel is a mapping or a sequence that contains a line of YAML.
type yamlLevel struct {
	indent int
	keys   map[string]bool // nil until there is a key
}

// yamlProblems checks the part of YAML that the examples use: blocks of mappings and sequences, and flow values in one
// line.
func yamlProblems(text string) (problems []string) {
	entry := regexp.MustCompile(`^([A-Za-z][\w./-]*):(?: (.*))?$`)
	var levels []yamlLevel
	opens := true // the line before may have lines below it
	for n, line := range strings.Split(text, "\n") {
		rest := strings.TrimLeft(line, " ")
		indent := len(line) - len(rest)
		fail := func(why string) { problems = append(problems, fmt.Sprintf("line %d: %q %s", n+1, line, why)) }
		switch {
		case strings.Contains(line, "\t"):
			fail("has a tab")
		case rest == "" || rest[0] == '#':
			continue
		case line == "---":
			levels, opens = nil, true
			continue
		case indent%2 != 0:
			fail("has an odd indentation")
		}
		for isItem := true; isItem; {
			if len(levels) == 0 || indent > levels[len(levels)-1].indent {
				if !opens {
					fail("is below a value")
				}
				levels = append(levels, yamlLevel{indent: indent})
			}
			for len(levels) > 1 && indent < levels[len(levels)-1].indent {
				levels = levels[:len(levels)-1]
			}
			if levels[len(levels)-1].indent != indent {
				fail("fits to no line above")
			}
			if rest, isItem = strings.CutPrefix(rest, "- "); isItem {
				levels[len(levels)-1].keys = nil
				indent, opens = indent+2, true
				for len(levels) > 1 && levels[len(levels)-1].indent >= indent {
					levels = levels[:len(levels)-1]
				}
				if !entry.MatchString(rest) {
					break
				}
			}
		}
		m := entry.FindStringSubmatch(rest)
		switch level := &levels[len(levels)-1]; {
		case m == nil && !strings.HasPrefix(strings.TrimLeft(line, " "), "- "):
			fail("is no key")
		case m == nil:
			opens = false
		case level.keys[m[1]]:
			fail("repeats a key")
		default:
			if level.keys == nil {
				level.keys = make(map[string]bool)
			}
			level.keys[m[1]] = true
			opens = m[2] == ""
			for _, pair := range []string{"[]", "{}", `""`} {
				if strings.Count(m[2], pair[:1])-strings.Count(m[2], pair[1:]) != 0 || pair == `""` && strings.Count(m[2], `"`)%2 != 0 {
					fail("has half of " + pair)
				}
			}
		}
	}
	return problems
}

// TestYAMLProblems checks that the check of YAML finds mistakes.
func TestYAMLProblems(t *testing.T) {
	for text, want := range map[string]int{
		"a: 1\nb:\n  c: [x, y]\n  d: {e: 1}\n---\na: 1\n":                        0,
		"a:\n  - b: 1\n    c: 2\n  - b: 1\n    c:\n      - d\n      - e\nf: 1\n": 0,
		"a: 1\na: 2\n": 1, "a: 1\n  b: 2\n": 1, "a:\n\tb: 1\n": 1, "a: [x\n": 1, "a: \"x\n": 1, "a:\n   b: 1\n": 1, "a\n": 1,
		"a:\n  - b: 1\n    b: 2\n": 1, "a:\n    b: 1\n  c: 2\n": 1,
	} {
		if got := yamlProblems(text); min(len(got), 1) != want {
			t.Errorf("%q: got %q, want problems: %d", text, got, want)
		}
	}
}

// TestSlurmWorkers runs the job file with programs in place of those of Slurm.
func TestSlurmWorkers(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("there is no bash")
	}
	if out, err := exec.Command(bash, "-n", "fleet/slurm.sh").CombinedOutput(); err != nil {
		t.Fatalf("bash -n: %v\n%s", err, out)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"srun": `printf '%s\n' "$PAWL_QUEUE" "$PAWL_QUEUE_CREDS" "$@"; exit "$CODE"`, "scontrol": `echo "scontrol $@"`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	job := func(env ...string) ([]string, int) {
		cmd := exec.Command(bash, "fleet/slurm.sh")
		cmd.Env = append(os.Environ(), "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"), "HOME="+dir, "TMPDIR="+dir, "SLURM_ARRAY_JOB_ID=99", slurmID+"=3")
		cmd.Env = append(cmd.Env, env...)
		out, _ := cmd.Output()
		return strings.Split(strings.TrimSpace(string(out)), "\n"), cmd.ProcessState.ExitCode()
	}
	out, code := job("CODE=0")
	if code != 0 || len(out) < 4 || out[2] != "pawl" {
		t.Fatalf("exit %d, got %q", code, out)
	}
	cli, err := parseWork(append(out[3:], "--queue", out[0], "--queue-creds", out[1]))
	if err != nil || !cli.Work.Once || !cli.Work.Shared || filepath.Dir(cli.State) != dir || !strings.HasPrefix(string(cli.Work.QueueCreds), dir) {
		t.Errorf("%q: %v; want --once, --shared, and a state directory in %q", out, err, dir)
	}
	const again = "scontrol requeue 99_3"
	if out, code := job("CODE=143"); code != 143 || out[len(out)-1] != again {
		t.Errorf("at the end of its time: exit %d, %q", code, out)
	}
	for _, env := range [][]string{{"CODE=143", "SLURM_RESTART_COUNT=5"}, {"CODE=9"}} {
		if out, code := job(env...); code == 0 || slices.Contains(out, again) {
			t.Errorf("%q: exit %d, %q", env, code, out)
		}
	}
}
