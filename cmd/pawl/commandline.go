package main

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A commandLine parses the arguments: it is kong with a grammar, its result, and its loader of config files.
type commandLine struct {
	*kong.Kong
	cli    CLI // the result
	config configLoader
	exit   int // the code that kong wants to exit with, -1 if it does not; kong continues after that, and its results must be ignored
}

// newCommandLine returns the parser of one command, or of all commands if command is "".
func newCommandLine(out *printer, command string) *commandLine {
	p := &commandLine{exit: -1}
	options := []kong.Option{
		kong.Name("pawl"),
		kong.Description("Downloads large files, and resumes interrupted downloads."),
		kong.Writers(out.stdout, out.stderr),
		kong.Exit(func(code int) { p.exit = code }),
		kong.DefaultEnvars("PAWL"),
		rawTextMappers(),
		kong.Vars{"version": longVersion()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.Help(help),
		kong.WithBeforeReset(checkEnvironment),
		kong.WithBeforeResolve(p.config.load),
		kong.Bind(out, &p.config),
	}
	if command != "" {
		var others []string
		for name, field := range commandFields() {
			if name != command {
				others = append(others, field)
			}
		}
		options = append(options, kong.IgnoreFields(`^CLI\.(`+strings.Join(others, "|")+`)$`))
	}
	var err error
	if p.Kong, err = kong.New(&p.cli, options...); err != nil {
		panic(err) // the grammar in the source is wrong: every test would fail here
	}
	return p
}

// parse parses the command line. Most of pawl's time at its start, and much of its memory, goes into
// the grammar, so parse tries the grammar of one command first. That one may know too little, and
// then the whole grammar decides, and words the error.
func parse(out *printer, args, environ []string) (*commandLine, *kong.Context, error) {
	if command := likelyCommand(args, environ); command != "" {
		p := newCommandLine(out, command)
		parsed, err := p.Parse(args)
		if err == nil || p.exit >= 0 {
			return p, parsed, err
		}
	}
	p := newCommandLine(out, "")
	parsed, err := p.Parse(args)
	return p, parsed, err
}

// likelyCommand returns the only command that the arguments can mean, if its own grammar suffices to
// understand them. It returns "" if the whole grammar is needed: if a command follows other
// arguments, and for variables of the environment, which may be options of any command.
func likelyCommand(args, environ []string) string {
	isSetting := func(variable string) bool {
		isOther := func(prefix string) bool { return strings.HasPrefix(variable, prefix) }
		return strings.HasPrefix(variable, "PAWL_") && !slices.ContainsFunc(otherPrefixes, isOther)
	}
	if len(args) == 0 || slices.ContainsFunc(environ, isSetting) {
		return ""
	}
	commands := commandFields()
	if commands[args[0]] != "" {
		return args[0]
	}
	for _, arg := range args {
		if commands[arg] != "" {
			return ""
		}
	}
	return "get"
}

// commandFields returns the fields of CLI that are commands, by the names of the commands.
func commandFields() map[string]string {
	fields := make(map[string]string)
	for field := range reflect.TypeFor[CLI]().Fields() {
		if _, isCommand := field.Tag.Lookup("cmd"); isCommand {
			fields[cmp.Or(field.Tag.Get("name"), strings.ToLower(field.Name))] = field.Name
		}
	}
	return fields
}
