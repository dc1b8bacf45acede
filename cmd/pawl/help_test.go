package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// maxHelpColumns is the width of the narrowest terminal that help texts are written for.
const maxHelpColumns = 80

// readFile returns a file of the repository, named relative to this directory.
func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shownTexts returns the texts that tell users about options: the README, the help topics,
// the systemd units, the job files and the examples for a fleet, by file name.
func shownTexts(t *testing.T) map[string]string {
	t.Helper()
	names := []string{"../../README.md"}
	for _, pattern := range []string{"help/*.txt", "systemd/*.*", "systemd/user/*", "jobs/*", "fleet/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		names = append(names, found...)
	}
	texts := make(map[string]string)
	for _, name := range names {
		texts[name] = readFile(t, name)
	}
	return texts
}

// TestHelpTopics checks that each file of help is a topic and the reverse, that the texts
// fit a terminal, and that "pawl help" prints them and names them.
func TestHelpTopics(t *testing.T) {
	code, overview, _ := runHelp()
	if code != 0 {
		t.Errorf("pawl help: exit code %d", code)
	}
	_, _, unknown := runHelp("nonsense")
	var files []string
	for _, topic := range helpTopics {
		files = append(files, "help/"+topic.name+".txt")
		code, text, _ := runHelp(topic.name)
		if code != 0 || !strings.HasPrefix(text, "pawl help "+topic.name+": ") || text != readFile(t, files[len(files)-1]) {
			t.Errorf("pawl help %s: exit code %d, got %.60q, want the text of the file, with that as its title", topic.name, code, text)
		}
		for n, line := range strings.Split(text, "\n") {
			if utf8.RuneCountInString(line) > maxHelpColumns || strings.Contains(line, "\t") || strings.TrimRight(line, " ") != line {
				t.Errorf("topic %s, line %d: %q has more than %d columns, a tab, or blanks at its end", topic.name, n+1, line, maxHelpColumns)
			}
		}
		if !strings.Contains(overview, "\n  "+topic.name+" ") || !strings.Contains(unknown, topic.name) {
			t.Errorf("topic %s: not named by pawl help, or not by the error of an unknown topic", topic.name)
		}
	}
	found, _ := filepath.Glob("help/*")
	slices.Sort(files)
	if !slices.Equal(files, found) {
		t.Errorf("the topics have the files %q, and help has %q", files, found)
	}
}

// runHelp runs "pawl help" with arguments.
func runHelp(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"help"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// TestHelpCommands checks that "pawl help" still prints the page of a command, and that it
// refuses what is neither a command nor a topic.
func TestHelpCommands(t *testing.T) {
	for _, command := range []string{"get", "mirror", "resume", "list", "remove"} {
		if code, text, _ := runHelp(command); code != 0 || !strings.HasPrefix(text, "Usage: pawl "+command) {
			t.Errorf("pawl help %s: exit code %d, got %.60q", command, code, text)
		}
	}
	if code, text, stderr := runHelp("nonsense"); code != 2 || text != "" || !strings.Contains(stderr, `no help on "nonsense"`) {
		t.Errorf("pawl help nonsense: exit code %d, got %q and %q, want 2 and an error", code, text, stderr)
	}
}

// TestExitCodeTexts checks that the help topic, the end of every help page and the README
// list exactly the exit codes of the program, with the names that summaries use.
func TestExitCodeTexts(t *testing.T) {
	want := map[int]string{0: "all files are complete and durable", 129: "hung up", 130: "interrupted", 143: "terminated"}
	for code, name := range failureNames {
		want[code] = name
	}
	topic := readFile(t, "help/exit-codes.txt")
	_, readme, _ := strings.Cut(readFile(t, "../../README.md"), "## Exit codes")
	readme, _, _ = strings.Cut(readme, "\n## ")
	for _, tt := range []struct{ where, text, row string }{
		{"help/exit-codes.txt", topic, `(?m)^ +(\d+)  (.+)$`},
		{"the end of help pages", strings.ReplaceAll(exitCodes, "\n", " "), `(\d+) (\D+)`},
		{"the README", readme, `\| (\d+) \| ([^|]+)`},
	} {
		got := make(map[int]string)
		for _, m := range regexp.MustCompile(tt.row).FindAllStringSubmatch(tt.text, -1) {
			code, _ := strconv.Atoi(m[1])
			got[code] = m[2]
			if want[code] == "" || !strings.HasPrefix(m[2], want[code]) {
				t.Errorf("%s: exit code %d is %q, want it to begin with %q", tt.where, code, m[2], want[code])
			}
		}
		for code, name := range want {
			if got[code] == "" {
				t.Errorf("%s: exit code %d (%s) is missing", tt.where, code, name)
			}
		}
	}
	var order []string
	for _, code := range exitPriority {
		order = append(order, strconv.Itoa(code))
	}
	if line := "\n" + strings.Join(order, ", ") + ".\n"; !strings.Contains(topic, line) {
		t.Errorf("help/exit-codes.txt: the order of priority is not %q", line)
	}
}

// otherOptions are the options of other programs that the texts mention.
var otherOptions = map[string]string{
	"--quick": "cmd/bench", "--from-file": "kubectl", "--replicas": "kubectl", "PAWL_SHARDS": "--shard auto", "--parsable": "sbatch", "--dependency": "sbatch", "--wrap": "sbatch", "--job-name": "sbatch", "--array": "sbatch",
	"--ntasks": "sbatch", "--cpus-per-task": "sbatch", "--mem": "sbatch", "--time": "sbatch", "--signal": "sbatch", "--requeue": "sbatch", "--open-mode": "sbatch",
}

// TestShownOptions checks that all options and environment variables in the README, the
// help topics, the systemd units and the job files exist.
func TestShownOptions(t *testing.T) {
	app, err := kong.New(new(CLI), kong.DefaultEnvars("PAWL"), kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"PAWL_NAME": true} // stands for any of them
	for _, flag := range allFlags(app.Model) {
		for _, name := range append(slices.Clone(flag.Aliases), flag.Name) {
			known["--"+name] = true
		}
		if flag.Tag.Negatable != "" {
			known["--no-"+flag.Name] = true
		}
		for _, variable := range flag.Envs {
			known[variable] = true
		}
	}
	used := make(map[string]bool)
	for file, text := range shownTexts(t) {
		for _, name := range regexp.MustCompile(`--[a-z][a-z0-9-]*[a-z0-9]|\bPAWL_[A-Z_]*[A-Z]`).FindAllString(text, -1) {
			used[name] = true
			isOther := slices.ContainsFunc(otherPrefixes, func(p string) bool { return strings.HasPrefix(name+"_", p) })
			if !known[name] && otherOptions[name] == "" && !isOther {
				t.Errorf("%s: there is no option or variable %s", file, name)
			}
		}
	}
	for name, program := range otherOptions {
		if !used[name] || known[name] {
			t.Errorf("otherOptions: %s of %s is not mentioned anywhere, or is an option of pawl", name, program)
		}
	}
}

// TestReportText checks that the help topic on reports names all keys, outcomes and events.
func TestReportText(t *testing.T) {
	var words []string
	for _, v := range []any{reportHeader{}, reportFile{}, reportProblem{}, summary{}, listRow{}} {
		for field := range reflect.TypeOf(v).Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "-" {
				words = append(words, name)
			}
		}
	}
	for _, source := range []string{"report.go", "../../downloader/event.go"} {
		for _, m := range regexp.MustCompile(`(?m)^\t\w+ +(?:Kind|reportOutcome) += "(\w+)"`).FindAllStringSubmatch(readFile(t, source), -1) {
			words = append(words, m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\bf\["(\w+)"\]|optional\("(\w+)"`).FindAllStringSubmatch(readFile(t, "display.go"), -1) {
		words = append(words, m[1]+m[2])
	}
	if len(words) < 70 {
		t.Errorf("only %d words found, so the patterns of this test are out of date", len(words))
	}
	text := readFile(t, "help/report.txt")
	for _, word := range words {
		if !regexp.MustCompile(`\b` + word + `\b`).MatchString(text) {
			t.Errorf("help/report.txt does not mention %q", word)
		}
	}
}
