package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxReadmeLines is the length of the README. It is for somebody who needs help now, so
// everything that people only look up belongs to the help topics.
const maxReadmeLines = 220

// A readmeSession is a group of commands in the README: a block of code, whose commands
// share a directory, or a single `command` in the text.
type readmeSession struct {
	line     int               // where the session begins in the README, from 1
	files    map[string]string // what the block shows of files, as the output of "cat NAME"
	commands []readmeCommand
}

// A readmeCommand is one command line and what the README says of its result.
type readmeCommand struct {
	text        string   // as in the README, without prompt and comment
	exit        int      // "exit code N" in the comment; 130 if a line "^C" follows; else 0
	interrupted bool     // a line "^C" follows
	messages    []string // the lines "pawl: …" that follow
}

// readmeCommandPattern matches command lines that the tests check: of pawl and of go, with
// variables of the environment before them.
var readmeCommandPattern = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:pawl|go (?:run|test|install)) \S`)

// readmeSessions returns all sessions of the README.
func readmeSessions(t *testing.T) []readmeSession {
	t.Helper()
	var sessions []readmeSession
	lines := strings.Split(readFile(t, "../../README.md"), "\n")
	for n := 0; n < len(lines); {
		block := n
		for n < len(lines) && strings.HasPrefix(lines[n], "    ") {
			n++
		}
		if n > block {
			sessions = append(sessions, blockSession(block+1, lines[block:n]))
			continue
		}
		for n < len(lines) && lines[n] != "" && !strings.HasPrefix(lines[n], "    ") {
			n++
		}
		sessions = append(sessions, inlineSessions(block+1, strings.Join(lines[block:n], "\n"))...)
		if n == block { // an empty line
			n++
		}
	}
	return slices.DeleteFunc(sessions, func(s readmeSession) bool { return len(s.commands) == 0 })
}

// blockSession reads a block of code that begins at the given line.
func blockSession(line int, block []string) readmeSession {
	s := readmeSession{line: line, files: make(map[string]string)}
	shown := "" // the file whose content the next lines are
	for _, text := range block {
		text, isTyped := strings.CutPrefix(text[4:], "$ ")
		if isTyped {
			shown = ""
		}
		last := max(len(s.commands)-1, 0)
		switch {
		case readmeCommandPattern.MatchString(text):
			s.commands = append(s.commands, parseReadmeCommand(text))
		case isTyped && strings.HasPrefix(text, "cat "):
			shown = text[len("cat "):]
		case shown != "":
			s.files[shown] += text + "\n"
		case len(s.commands) > 0 && text == "^C":
			s.commands[last].exit, s.commands[last].interrupted = 130, true
		case len(s.commands) > 0 && strings.HasPrefix(text, "pawl: "):
			s.commands[last].messages = append(s.commands[last].messages, text)
		}
	}
	return s
}

// parseReadmeCommand separates a command line from the comment at its end.
func parseReadmeCommand(text string) readmeCommand {
	command, comment, _ := strings.Cut(text, " # ")
	c := readmeCommand{text: strings.TrimSpace(command)}
	if m := regexp.MustCompile(`exit code (\d+)`).FindStringSubmatch(comment); m != nil {
		c.exit, _ = strconv.Atoi(m[1])
	}
	return c
}

// inlineSessions returns a session for each `command` in a paragraph or a table that begins
// at the given line.
func inlineSessions(line int, text string) (sessions []readmeSession) {
	for _, at := range regexp.MustCompile("`[^`]+`").FindAllStringIndex(text, -1) {
		code := strings.ReplaceAll(text[at[0]+1:at[1]-1], "\n", " ")
		code = strings.ReplaceAll(code, `\|`, "|") // in a table
		if readmeCommandPattern.MatchString(code) {
			sessions = append(sessions, readmeSession{line: line + strings.Count(text[:at[0]], "\n"), commands: []readmeCommand{{text: code}}})
		}
	}
	return sessions
}

// TestReadmeExtraction checks that commands are found wherever the README may show them.
func TestReadmeExtraction(t *testing.T) {
	s := blockSession(7, []string{
		"    $ cat list", "    https://example.com/a", "    $ pawl mirror list    # exit code 8, here", "    pawl: error: x", "    ^C",
		"    X_Y=1 go test ./...   # all", "    pawling", "    cmd/pawl ──► downloader",
	})
	want := []readmeCommand{{"pawl mirror list", 130, true, []string{"pawl: error: x"}}, {"X_Y=1 go test ./...", 0, false, nil}}
	same := func(a, b readmeCommand) bool {
		return a.text == b.text && a.exit == b.exit && a.interrupted == b.interrupted && slices.Equal(a.messages, b.messages)
	}
	if !slices.EqualFunc(s.commands, want, same) || s.files["list"] != "https://example.com/a\n" {
		t.Errorf("a block: got %+v and the file %q", s.commands, s.files["list"])
	}
	inline := inlineSessions(3, "`pawl` is\n| `pawl -o - URL \\| tar x`, `pawl\nlist` |")
	if len(inline) != 2 || inline[0].commands[0].text != "pawl -o - URL | tar x" || inline[0].line != 4 || inline[1].commands[0].text != "pawl list" {
		t.Errorf("in the text: got %+v", inline)
	}
	if c := parseReadmeCommand("pawl x # exit code 17"); c.exit != 17 || c.text != "pawl x" {
		t.Errorf("a comment: got %+v", c)
	}
}

// TestReadmeGoCommands checks the packages and the tests of the go commands in the README.
// It does not run them: it is itself one of these tests.
func TestReadmeGoCommands(t *testing.T) {
	found := 0
	for _, s := range readmeSessions(t) {
		for _, c := range s.commands {
			_, command, isGo := strings.Cut(" "+c.text, " go ")
			if !isGo {
				continue
			}
			found++
			checkGoCommand(t, s.line, strings.Fields(command))
		}
	}
	if found < 6 {
		t.Errorf("%d go commands found in the README, want at least 6", found)
	}
}

// checkGoCommand checks the arguments of go: packages must exist, "run" and "install" need
// programs, and the pattern of "test -run" must match a test.
func checkGoCommand(t *testing.T, line int, args []string) {
	t.Helper()
	at := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "./") })
	if at < 0 {
		t.Errorf("README line %d: go %q names no package", line, args)
		return
	}
	if args[at] == "./..." {
		return
	}
	dir := filepath.Join("../..", args[at])
	sources, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	hasMain := func(file string) bool { return strings.Contains(readFile(t, file), "\nfunc main() {\n") }
	if len(sources) == 0 || args[0] != "test" && !slices.ContainsFunc(sources, hasMain) {
		t.Errorf("README line %d: go %s: %s is no package, or not a program", line, args[0], args[at])
	}
	if run := slices.Index(args, "-run"); run >= 0 && run+1 < len(args) {
		tests, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
		pattern := regexp.MustCompile(`(?m)^func (Test\w*` + args[run+1] + `\w*)\(t `)
		if !slices.ContainsFunc(tests, func(file string) bool { return pattern.MatchString(readFile(t, file)) }) {
			t.Errorf("README line %d: no test matches -run %s", line, args[run+1])
		}
	}
}

// TestReadmeIsShort checks the length of the README.
func TestReadmeIsShort(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(readFile(t, "../../README.md"), "\n"), "\n")
	if len(lines) > maxReadmeLines {
		t.Errorf("the README has %d lines, want at most %d", len(lines), maxReadmeLines)
	}
}

// TestReadmeLinks checks that the files and sections to which the README links exist.
func TestReadmeLinks(t *testing.T) {
	text := readFile(t, "../../README.md")
	found := regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1)
	for _, m := range found {
		if title, isSection := strings.CutPrefix(m[1], "#"); isSection {
			if !strings.Contains(strings.ToLower(text), "# "+strings.ReplaceAll(title, "-", " ")+"\n") {
				t.Errorf("the README has no section %s", m[1])
			}
		} else if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("a link of the README: %v", err)
		}
	}
	if len(found) < 4 {
		t.Errorf("%d links found in the README, want at least 4", len(found))
	}
}

// TestReadmeHazard checks that the row which the README shows is the one at the top of
// hazard_test.go, and that there is a hazard of that name.
func TestReadmeHazard(t *testing.T) {
	row := regexp.MustCompile(`(?m)^ {4}(\{name: "([^"]+)"[\s\S]*?\n {4}\}\},)$`).FindStringSubmatch(readFile(t, "../../README.md"))
	if row == nil {
		t.Fatal("the README shows no row of a hazard")
	}
	comment := "//\t" + strings.ReplaceAll(row[1], "\n    ", "\n//\t")
	if !strings.Contains(readFile(t, "hazard_test.go"), comment) {
		t.Errorf("hazard_test.go does not show the row of the README:\n%s", comment)
	}
	if !slices.ContainsFunc(hazards(), func(h hazard) bool { return h.name == row[2] }) {
		t.Errorf("there is no hazard %q", row[2])
	}
}
