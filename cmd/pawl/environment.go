package main

// This file is about variables of the environment that cannot be used.

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"pawl/downloader"
)

// A settingError says that a variable of the environment cannot be used. It
// must not contain a user or a password.
type settingError struct {
	name string // of the variable
	why  string // what is wrong with it, for example "has no host"
	hint string // what to type
}

func (e *settingError) Error() string { return e.name + " " + e.why }

// Is is for errors.Is.
func (e *settingError) Is(kind error) bool { return kind == downloader.ErrUsage }

// foreignNames begin the names of variables that are no options: those that hooks
// receive, and those of the tests.
var otherPrefixes = []string{"PAWL_FILE_", "PAWL_TEST_"}

// warnUnused warns of variables that look like settings of pawl and have no effect.
// It must be called once, after the command line has been parsed.
func warnUnknownVariables(say *printer, app *kong.Application, environ []string) {
	known := make(map[string]string) // the variable of an option, by all variables that it could have
	for _, flag := range allFlags(app) {
		for _, variable := range flag.Envs { // one at most
			known[variable] = variable
			for _, alias := range flag.Aliases {
				known[variableName(alias)] = variable
			}
		}
	}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		isForeign := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !strings.HasPrefix(name, "PAWL_") || value == "" || known[name] == name || slices.ContainsFunc(otherPrefixes, isForeign) {
			continue
		}
		hint := ""
		if near := known[nearest(name, maps.Keys(known))]; near != "" {
			hint = "; did you mean " + near + "?"
		}
		say.warn("%s is ignored, because pawl has no such option%s", printable(name), hint)
	}
	for _, name := range []string{"XDG_STATE_HOME", "XDG_CONFIG_HOME"} { // whose specification has relative paths ignored
		if dir := os.Getenv(name); dir != "" && !filepath.IsAbs(dir) {
			say.warn("%s is ignored, because %q is not an absolute path", name, dir)
		}
	}
}

// variableOf returns the variable that another name of an option would have.
func variableName(name string) string {
	return "PAWL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// flagsOf returns the options of all commands.
func allFlags(app *kong.Application) []*kong.Flag {
	var all []*kong.Flag
	kong.Visit(app, func(node kong.Visitable, next kong.Next) error { // no function returns an error
		if flag, ok := node.(*kong.Flag); ok {
			all = append(all, flag)
		}
		return next(nil)
	})
	return all
}
