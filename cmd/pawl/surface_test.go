package main

import (
	"bytes"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// unfinished are the commands and options of testdata/surface that do not work yet.
var unfinished = strings.Fields(`
`)

// TestSurface checks that each command and option of testdata/surface is in the grammar, is shown by
// help, has an effect and has a test; and that no visible option or command is missing in that file.
func TestSurface(t *testing.T) {
	app := newCommandLine(&printer{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}, "").Model
	s := surface{used: words(readSources(t), `\.[A-Z]\w*|"[a-z-]+"`), fields: make(map[*kong.Flag]string)}
	s.tested = words(readTests(t), `--[a-z][a-z0-9-]*[a-z0-9]|PAWL_[A-Z0-9_]*[A-Z0-9]=|[ "]-\w\b|pawl (?:-\S+ )*[a-z]+|"[a-z]+"`)
	s.addFields(reflect.ValueOf(app.Target.Addr().Interface()).Elem(), allFlags(app))
	listed := make(map[string]bool)
	check := func(name string, problems []string) {
		listed[name] = true
		switch waits := slices.Contains(unfinished, name); {
		case len(problems) == 0 && waits:
			t.Errorf("%s works, so it must not be in unfinished", name)
		case !waits && len(problems) > 0:
			t.Errorf("%s %s", name, strings.Join(problems, " and "))
		}
	}
	for line := range strings.Lines(readFile(t, "testdata/surface")) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "COMMANDS":
			for _, name := range words[1:] {
				check(name, s.commandProblems(app, name))
			}
		default:
			at := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") })
			check(words[len(words)-1], s.optionProblems(app, strings.Join(words[:at], " "), words[at:]))
		}
	}
	for _, name := range unfinished {
		if !listed[name] {
			t.Errorf("unfinished: %s is not in testdata/surface", name)
		}
	}
	for _, c := range app.Children {
		if !c.Hidden && !listed[c.Name] {
			t.Errorf("the command %s is not in testdata/surface", c.Name)
		}
	}
	for _, flag := range allFlags(app) {
		if !flag.Hidden && !listed["--"+flag.Name] {
			t.Errorf("--%s is not in testdata/surface", flag.Name)
		}
	}
}

// A surface has what shows whether an option works.
type surface struct {
	used   map[string]bool       // ".Field" and "\"text\"" in the source of the program
	tested map[string]bool       // options, variables and commands in the tests and scripts
	fields map[*kong.Flag]string // name of the field of each flag
}

// words returns what matches a pattern in text.
func words(text, pattern string) map[string]bool {
	all := make(map[string]bool)
	for _, word := range regexp.MustCompile(pattern).FindAllString(text, -1) {
		all[word] = true
	}
	return all
}

// readSources returns the source of the program, without tests and without the tags of the grammar.
func readSources(t *testing.T) string {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			all.WriteString(readFile(t, file))
		}
	}
	return regexp.MustCompile("`[^`\n]*help:[^`\n]*`").ReplaceAllString(all.String(), "")
}

// readTests returns the tests and the scripts, but not this one, which names all options.
func readTests(t *testing.T) string {
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "testdata/*.txtar"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if file != "surface_test.go" {
				all.WriteString(readFile(t, file))
			}
		}
	}
	return all.String()
}

// addFields finds the field of each flag by its address.
func (s *surface) addFields(v reflect.Value, flags []*kong.Flag) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		for _, flag := range flags {
			if flag.Target.CanAddr() && flag.Target.Addr().Pointer() == value.Addr().Pointer() && flag.Target.Type() == value.Type() {
				s.fields[flag] = field.Name
			}
		}
		if value.Kind() == reflect.Struct {
			s.addFields(value, flags)
		}
	}
}

// commandProblems returns why a command is no use.
func (s *surface) commandProblems(app *kong.Application, name string) (problems []string) {
	i := slices.IndexFunc(app.Children, func(c *kong.Node) bool { return c.Name == name && !c.Hidden })
	if i < 0 {
		return []string{"is not in the grammar"}
	}
	c := app.Children[i]
	if c.Help == "" || !strings.Contains(overview, "\n  "+name+" ") {
		problems = append(problems, "has no help")
	}
	isTest := func(word string) bool { return strings.HasPrefix(word, "pawl ") && strings.HasSuffix(word, " "+name) }
	if !s.tested[`"`+name+`"`] && !slices.ContainsFunc(slices.Collect(maps.Keys(s.tested)), isTest) {
		problems = append(problems, "has no test")
	}
	return problems
}

// withChildren returns all commands below a node.
func withChildren(node *kong.Node) (all []*kong.Node) {
	for _, c := range node.Children {
		all = append(append(all, c), withChildren(c)...)
	}
	return all
}

// optionProblems returns why an option of a command, with its spellings, is no use.
func (s *surface) optionProblems(app *kong.Application, command string, spelled []string) (problems []string) {
	long := spelled[len(spelled)-1]
	var flag *kong.Flag
	for _, c := range withChildren(app.Node) {
		for _, f := range slices.Concat(app.Flags, c.Flags) {
			if c.Path() == command && "--"+f.Name == long && !f.Hidden {
				flag = f
			}
		}
	}
	if flag == nil {
		return []string{"is not in the grammar, or hidden"}
	}
	if flag.Help == "" {
		problems = append(problems, "has no help")
	}
	for _, name := range spelled {
		if !slices.Contains(spellings(flag, false), name) {
			problems = append(problems, "is not spelled "+name)
		}
	}
	// kong itself gives help and version their effect.
	if field := s.fields[flag]; flag.Name != "help" && flag.Name != "version" && !s.used["."+field] && !s.used[`"`+flag.Name+`"`] {
		problems = append(problems, "has no effect: nothing reads "+field)
	}
	variable := "PAWL_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
	short := "-" + string(flag.Short)
	if !s.tested[long] && !s.tested[variable+"="] && !s.tested[" "+short] && !s.tested[`"`+short] {
		problems = append(problems, "has no test")
	}
	return problems
}
