// Package dropin translates the command lines and the configuration files of aria2c, curl, wget and
// axel into command lines of pawl. It is pure: [Translate] takes the words of a command line and
// returns a [Plan]: for example, "curl -o x http://h/f" becomes the run "get --output=x -- http://h/f".
// It reads files only through [Env], and downloads nothing.
//
// Each tool has one table of its options. pawl either translates an option, ignores it (it changes
// only how the tool works or prints), drops it with a warning, or refuses it with the reason. An
// option that is in no table is an error.
//
//	dropin.go       Plan, Env, Failure, Translate
//	table.go        a table of options, and the reading of arguments by it
//	values.go       numbers, times and rates as the tools write them
//	translator.go   the options that all tools have: URLs, proxies, headers, names
//	aria2.go        aria2c; its table is in package downloader/aria2
//	curl.go         curl, with curltable.go
//	writeout.go     curl's --write-out
//	wget.go         wget and wget2, with wgettable.go
//	axel.go         axel
//	configfile.go   aria2.conf, .curlrc and .wgetrc
//	words.go        splits a command as a shell does, for "copy as cURL"
//	paste.go        the request in a pasted curl command
//	import.go       turns configuration files into pawl's
package dropin

import (
	"fmt"
	"iter"
	"strings"
)

// A Plan is the translation of a command line of another tool: the runs of pawl that do the same.
type Plan struct {
	// Runs are done one after another. They are command lines of pawl.
	Runs []Run
	// Warnings name the options that have no effect, and why. They contain no values.
	Warnings []string
	// Text is printed on standard output, and nothing else is done. It answers --version and
	// --help.
	Text string
	// Silent means that the tool would print neither progress nor errors.
	Silent bool
	// FailEarly means that the first failed run is the last one.
	FailEarly bool
}

// A Run is one command line of pawl, without the name of the program.
type Run struct {
	Args []string
	// Stream means that the file goes to standard output. Other runs must not print there.
	Stream bool
	// WriteOut is printed on standard output after the run, with its variables replaced; see Report.
	WriteOut string
	// File is the path of the file, for Report; "" for standard output, or if only the server knows it.
	File string
}

// An Env gives access to the files and variables that a command line may depend on. All functions
// must be set.
type Env struct {
	// ReadFile returns the content of a configuration file or a list of URLs; "-" is standard input.
	ReadFile func(path string) ([]byte, error)
	// Exists reports whether there is a file or a directory.
	Exists func(path string) bool
	// Getenv returns a variable of the environment.
	Getenv func(name string) string
	// Expand returns the URLs that the patterns in a URL stand for, such as [1-20] and {a,b}.
	Expand func(url string) ([]string, error)
	// Version is pawl's version, for --version.
	Version string
}

// A Failure is a kind of failure, as far as one of the tools has an exit code for it.
type Failure int

// The kinds of failures.
const (
	OtherFailure   Failure = iota // none of the others
	Usage                         // the command line cannot be followed
	UnknownHost                   // the name of the server has no address
	NoConnection                  // the server cannot be reached
	BrokenTransfer                // the connection broke during a response
	CutBody                       // the response ended before its length
	Timeout                       // the server was silent, or a time limit has passed
	TooSlow                       // the rate was below the minimum
	TLSFailure                    // TLS could not be agreed on
	BadCertificate                // the server could not prove its identity
	WrongUser                     // the server wants other credentials
	WrongProxyUser                // the proxy wants other credentials
	NotFound                      // HTTP status 404
	HTTPError                     // another HTTP error
	ServerRefused                 // an HTTP error whose status is not known any more
	Busy                          // the server is overloaded, and asks to come back
	ProtocolError                 // the response contradicts HTTP or the request
	TooManyHops                   // too many redirects
	TooLarge                      // the file is larger than allowed
	FileExists                    // a file is in the way
	InUse                         // another process downloads to the same place
	CannotCreate                  // a file or a directory cannot be created
	CannotWrite                   // a file cannot be written
	DiskFull                      // no space is left
	WrongDigest                   // the file does not have its digest
	FileChanged                   // the remote file has changed, and the download cannot go on
	Interrupted                   // a signal ended the run
)

// A tool is a program whose command lines can be read.
type tool struct {
	name    string
	version string // the one whose options the table has
	options table
	read    func(t *tool, args []string, env Env) (Plan, error)
	exits   map[Failure]int
	other   int // exit code of a failure that is not in exits
}

// tools returns all tools. A name that contains the name of a tool stands for the tool; the first one wins.
func tools() []*tool { return []*tool{aria2Tool(), curlTool(), wgetTool(), axelTool()} }

// Names are the names of the tools, as in "pawl as NAME".
var Names = []string{"aria2c", "curl", "wget", "axel"}

// Options yields the options of a tool that pawl accepts in "pawl as", as their spellings with dashes, and whether
// a value must follow.
func Options(tool string) iter.Seq2[[]string, bool] {
	return func(yield func([]string, bool) bool) {
		t := findTool(tool)
		if t == nil {
			return
		}
		for _, o := range t.options.all {
			var names []string
			if o.short != 0 {
				names = append(names, "-"+string(o.short))
			}
			if o.long != "" {
				names = append(names, "--"+o.long)
			}
			if o.verdict != refuse && !yield(names, o.argument == required) {
				return
			}
		}
	}
}

// ToolOf returns the tool that the name of a program contains, for example "aria2c" for
// "pawl-aria2c.exe", or "" for none.
func ToolOf(program string) string {
	program = strings.ToLower(program)
	for _, name := range Names {
		if strings.Contains(program, strings.TrimSuffix(name, "c")) {
			return name
		}
	}
	return ""
}

func findTool(name string) *tool {
	for _, t := range tools() {
		if t.name == ToolOf(name) {
			return t
		}
	}
	return nil
}

// A RefusedError is a command line that pawl cannot follow. It contains no value of an option,
// because that may be a secret.
type RefusedError struct {
	Tool string
	Text string
}

func (e *RefusedError) Error() string { return e.Tool + ": " + e.Text }

// Translate reads the arguments of a tool, without the name of the program. An error is a
// *RefusedError. The name may be one for which ToolOf finds the tool.
func Translate(name string, args []string, env Env) (Plan, error) {
	t := findTool(name)
	if t == nil {
		return Plan{}, &RefusedError{"pawl as", fmt.Sprintf("there is no tool %q, only %s", name, strings.Join(Names, ", "))}
	}
	plan, err := t.read(t, args, env)
	if err != nil {
		return Plan{}, &RefusedError{t.name, err.Error()}
	}
	return plan, nil
}

// ExitCode returns the exit code with which a tool reports a failure.
func ExitCode(name string, f Failure) int {
	t := findTool(name)
	if t == nil || f == Usage {
		return 2
	}
	if code, ok := t.exits[f]; ok {
		return code
	}
	return t.other
}

// FailureOf returns the failure that an exit code of pawl stands for, as far as the code says it.
func FailureOf(exit int) Failure {
	return map[int]Failure{2: Usage, 3: CannotWrite, 4: BrokenTransfer, 5: TLSFailure, 6: WrongUser, 7: ProtocolError,
		8: ServerRefused, 9: DiskFull, 13: FileExists, 17: FileChanged, 32: WrongDigest, 75: Busy}[exit]
}

// Combine returns the exit code of several runs of a tool, from the code of the runs before and the code of
// the next one: the first failure counts, and in wget the lowest code above 1 (EXIT STATUS of wget(1)).
func Combine(name string, before, next int) int {
	if before == 0 || ToolOf(name) == "wget" && next > 1 && (next < before || before == 1) {
		return next
	}
	return before
}

// versionText answers --version. The first words are the tool's own, because scripts look for them.
func (t *tool) versionText(title string, env Env) string {
	return fmt.Sprintf("%s %s\n%s reads the command line of %s; see: pawl help as\n", title, t.version, env.Version, t.name)
}

// helpText answers --help: how pawl treats each option.
func (t *tool) helpText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: pawl as %s ARGUMENTS OF %s\n", t.name, strings.ToUpper(t.name))
	for _, v := range []struct {
		verdict verdict
		title   string
	}{{translate, "Translated"}, {ignore, "Ignored, because"}, {drop, "Without effect, with a warning, because"}, {refuse, "Refused, because"}} {
		fmt.Fprintf(&b, "\n%s:\n", v.title)
		t.listOptions(&b, v.verdict)
	}
	return b.String()
}

// listOptions writes the options of a verdict, those with the same reason together.
func (t *tool) listOptions(b *strings.Builder, v verdict) {
	var reasons []string
	names := make(map[string][]string)
	for _, o := range t.options.all {
		if o.verdict != v {
			continue
		}
		if names[o.reason] == nil {
			reasons = append(reasons, o.reason)
		}
		names[o.reason] = append(names[o.reason], o.String())
	}
	for _, reason := range reasons {
		indent := "  "
		if reason != "" {
			fmt.Fprintf(b, "  %s:\n", reason)
			indent = "    "
		}
		line := indent
		for _, name := range names[reason] {
			if len(line)+len(name) > helpColumns {
				fmt.Fprintln(b, strings.TrimRight(line, " "))
				line = indent
			}
			line += name + " "
		}
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
}

// helpColumns is the width of the narrowest terminal that help texts are written for.
const helpColumns = 80
