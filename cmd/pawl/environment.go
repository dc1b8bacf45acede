package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"pawl/downloader/failure"
)

// A settingError is an unusable value of an environment variable. Its texts must not
// contain the user or password of a proxy.
type settingError struct {
	name string // name of the variable, for example "https_proxy"
	why  string // predicate of the error message, for example "has no host"
	hint string // how to correct it, for example "unset it, or …"
}

func (e *settingError) Error() string { return e.name + " " + e.why }

// Is makes the error a usage error for errors.Is.
func (e *settingError) Is(kind error) bool { return kind == failure.ErrUsage }

// otherPrefixes begin the names of PAWL_ variables that are not options: hooks receive the
// first ones, the tests use the others.
var otherPrefixes = []string{"PAWL_FILE_", "PAWL_TEST_"}

// warnUnknownVariables warns of environment variables that look like settings of pawl but
// have no effect. It must be called once, after the command line has been parsed, so that
// neither --help nor an error of the command line comes with warnings.
func warnUnknownVariables(out *printer, app *kong.Application, environ []string) {
	known := make(map[string]bool)       // the variables of all options
	options := make(map[string]string)   // the option of each name, also of the names in other tools
	variables := make(map[string]string) // by option
	for _, flag := range allFlags(app) {
		for _, variable := range flag.Envs { // at most one
			known[variable] = true
			variables[flag.Name] = variable
			for _, name := range append(slices.Clone(flag.Aliases), flag.Name) {
				options[name] = flag.Name
			}
		}
	}
	known[shardsVariable] = true // for --shard auto
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		hasPrefix := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !strings.HasPrefix(name, "PAWL_") || value == "" || known[name] || slices.ContainsFunc(otherPrefixes, hasPrefix) {
			continue
		}
		hint := "" // a suggestion, for a misspelled name or the name of an alias
		option := strings.ReplaceAll(strings.TrimPrefix(name, "PAWL_"), "_", "-")
		if near := variables[nearestOption(option, options)]; near != "" {
			hint = "; did you mean " + near + "?"
		}
		out.warn("%s is ignored, because pawl has no such option%s", printable(name), hint)
	}
	for _, name := range []string{"HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} { // the XDG specification says that relative paths must be ignored
		if dir := os.Getenv(name); dir != "" && !filepath.IsAbs(dir) {
			out.warn("%s is ignored, because %q is not an absolute path", name, dir)
		}
	}
}

// allFlags returns the options of all commands.
func allFlags(app *kong.Application) []*kong.Flag {
	var all []*kong.Flag
	kong.Visit(app, func(node kong.Visitable, next kong.Next) error { // neither function returns an error
		if flag, ok := node.(*kong.Flag); ok {
			all = append(all, flag)
		}
		return next(nil)
	})
	return all
}
