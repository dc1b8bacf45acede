package main

// This file describes the grammar to the generators of completions.

import (
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"pawl/cmd/pawl/dropin"
)

// CompletionCmd prints the completion script of a shell.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" placeholder:"bash|zsh|fish" help:"The shell that the script is for."`
}

// Run prints the script.
func (c *CompletionCmd) Run(out *printer) error {
	g := newCompletionGrammar(newCommandLine(out, "").Model)
	write := map[string]func(io.Writer, completionGrammar){"bash": writeBash, "zsh": writeZsh, "fish": writeFish}[c.Shell]
	var script strings.Builder
	write(&script, g)
	_, err := io.WriteString(out.stdout, script.String())
	return err
}

// A completionGrammar is the commands as shells complete them. The first one, whose name is "", has the
// options of get, the default command, and the commands as arguments.
type completionGrammar struct {
	commands []completionCommand
	tools    []completionCommand // pawl as TOOL, with the options of the tool
	valued   []string            // all spellings of all options that take a value, with dashes
}

// A completionCommand is a command, or a word that others follow, such as "report".
type completionCommand struct {
	name      string // all words, such as "report merge"
	help      string
	options   []completionOption
	arguments completionValue
}

// lastWord returns the last word of the name of a command, and the words before it.
func (c completionCommand) lastWord() (before, word string) {
	i := strings.LastIndexByte(c.name, ' ')
	return c.name[:max(0, i)], c.name[i+1:]
}

// A completionOption is an option of a command.
type completionOption struct {
	names    []string // with dashes
	help     string
	repeats  bool
	argument *completionValue // nil if it takes none
}

// A completionValue describes the possible values of an argument or an option. The zero value is text
// that a shell cannot complete.
type completionValue struct {
	name      string           // placeholder, such as FILE
	words     []completionWord // all that is possible, or nil
	files     bool
	dirs      bool // directories only
	downloads bool // IDs
	finished  bool // with downloads: also of finished ones
}

// A completionWord is a word with its description.
type completionWord struct{ word, help string }

// newCompletionGrammar returns the visible commands and options.
func newCompletionGrammar(app *kong.Application) (g completionGrammar) {
	root := completionCommand{arguments: completionValue{name: "command"}}
	for _, c := range app.Children {
		if !c.Hidden {
			root.arguments.words = append(root.arguments.words, completionWord{c.Name, firstClause(c.Help)})
		}
	}
	root.arguments.words = append(root.arguments.words, completionWord{"help", helpHelp})
	g.commands = append(g.commands, root)
	for _, c := range app.Children {
		if !c.Hidden {
			g.add(c, app.Flags)
		}
	}
	g.commands[0].options = g.commands[g.index("get")].options
	as := &g.commands[g.index("as")]
	as.arguments = completionValue{name: "tool"}
	for _, tool := range dropin.Names {
		as.arguments.words = append(as.arguments.words, completionWord{tool, "Read a command line of " + tool})
		g.tools = append(g.tools, newCompletionTool(tool))
	}
	g.commands = append(g.commands, completionCommand{name: "help", help: helpHelp, arguments: completionValue{name: "topic", words: helpWords(app)}})
	for _, flag := range allFlags(app) {
		if takesValue(flag) {
			for _, name := range spellings(flag, true) {
				if !slices.Contains(g.valued, name) {
					g.valued = append(g.valued, name)
				}
			}
		}
	}
	return g
}

// helpHelp describes the command help, which is not in the grammar.
const helpHelp = "Print the reference of a topic, or the options of a command"

// helpWords returns the arguments of pawl help.
func helpWords(app *kong.Application) (words []completionWord) {
	for _, t := range helpTopics {
		words = append(words, completionWord{t.name, t.about})
	}
	words = append(words, completionWord{manualTopic, "The manual page, for man"})
	for _, c := range app.Children {
		isTopic := slices.ContainsFunc(words, func(w completionWord) bool { return w.word == c.Name })
		if !c.Hidden && !isTopic {
			words = append(words, completionWord{c.Name, firstClause(c.Help)})
		}
	}
	return words
}

// newCompletionTool returns the command that reads the command lines of a tool, with all of its options that
// pawl does not refuse.
func newCompletionTool(tool string) completionCommand {
	c := completionCommand{name: "as " + tool, arguments: completionValue{name: "URL", files: true}}
	for names, takesValue := range dropin.Options(tool) {
		o := completionOption{names: names, help: "An option of " + tool, repeats: true}
		if takesValue {
			o.argument = &completionValue{name: "value", files: true}
		}
		c.options = append(c.options, o)
	}
	return c
}

// all returns the commands of pawl, and the commands that read the command lines of tools.
func (g completionGrammar) all() []completionCommand { return slices.Concat(g.commands, g.tools) }

// options returns the options of all commands.
func (g completionGrammar) options() iter.Seq[completionOption] {
	return func(yield func(completionOption) bool) {
		for _, c := range g.commands {
			for _, o := range c.options {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// index returns the place of a command in g.
func (g completionGrammar) index(name string) int {
	return slices.IndexFunc(g.commands, func(c completionCommand) bool { return c.name == name })
}

// add adds a command, and those below it. flags are the options of the commands above.
func (g *completionGrammar) add(node *kong.Node, flags []*kong.Flag) {
	c := completionCommand{name: node.Path(), help: firstClause(node.Help)}
	flags = append(slices.Clone(flags), node.Flags...)
	for _, flag := range flags {
		if !flag.Hidden {
			c.options = append(c.options, newCompletionOption(flag))
		}
	}
	for _, p := range node.Positional {
		c.arguments = newCompletionValue(p, p.Tag.PlaceHolder)
		c.arguments.finished = !slices.Contains([]string{"resume", "pause"}, node.Name)
	}
	for _, child := range node.Children {
		if !child.Hidden {
			c.arguments.name = "command"
			c.arguments.words = append(c.arguments.words, completionWord{child.Name, firstClause(child.Help)})
		}
	}
	g.commands = append(g.commands, c)
	for _, child := range node.Children {
		if !child.Hidden {
			g.add(child, flags)
		}
	}
}

// newCompletionOption returns an option.
func newCompletionOption(flag *kong.Flag) completionOption {
	o := completionOption{names: spellings(flag, false), help: firstClause(flag.Help), repeats: flag.IsSlice()}
	if takesValue(flag) {
		v := newCompletionValue(flag.Value, flag.PlaceHolder)
		o.argument = &v
	}
	return o
}

// takesValue reports whether an option takes a value.
func takesValue(flag *kong.Flag) bool { return !flag.IsBool() && !flag.IsCounter() }

// spellings returns the spellings of an option with dashes, with its aliases (from other tools) if all is set.
func spellings(flag *kong.Flag, all bool) (names []string) {
	if flag.Short != 0 {
		names = append(names, "-"+string(flag.Short))
	}
	names = append(names, "--"+flag.Name)
	if flag.Tag.Negatable != "" {
		names = append(names, "--no-"+flag.Name)
	}
	for _, alias := range flag.Aliases {
		switch {
		case !all:
		case len(alias) == 1:
			names = append(names, "-"+alias, "--"+alias)
		default:
			names = append(names, "--"+alias)
		}
	}
	return names
}

// newCompletionValue describes a value by its enum or, without one, by its placeholder: for example, "FILE"
// is completed with files.
func newCompletionValue(v *kong.Value, placeholder string) completionValue {
	c := completionValue{name: strings.ToLower(v.Name)}
	if placeholder != "" {
		c.name = strings.Trim(placeholder, "'")
	}
	if v.Enum != "" {
		for _, word := range v.EnumSlice() {
			if word != "" {
				c.words = append(c.words, completionWord{word: word})
			}
		}
		return c
	}
	for _, part := range strings.Split(c.name, "|") {
		switch strings.TrimSuffix(part, "...") {
		case "FILE", "LIST", "PATH":
			c.files = true
		case "DIR":
			c.dirs = true
		case "ID":
			c.downloads = true
		}
	}
	return c
}

// maxCompletedIDs is how many downloads a shell completes. A guess: more are no help, and a ledger with
// millions of files would take seconds.
const maxCompletedIDs = 500

// printIDs prints the ID and the name of each download for a shell.
func printIDs(rows iter.Seq2[listRow, error], to io.Writer) error {
	n := 0
	for l, err := range rows {
		if n++; err != nil || n > maxCompletedIDs {
			return err
		}
		fmt.Fprintf(to, "%s\t%s\n", l.ID, printable(filepath.Base(l.Path)))
	}
	return nil
}

// firstClause returns the first part of a help text, for one line beside a word.
func firstClause(help string) string {
	for _, end := range []string{". ", ": ", "; ", " (default", " (one "} {
		help, _, _ = strings.Cut(help, end)
	}
	return strings.TrimSuffix(help, ".")
}

// completionHead is the comment at the top of the script of a shell.
func completionHead(shell, use string) string {
	return fmt.Sprintf("# Completion of pawl for %s, made by \"pawl completion %s\".\n# %s\n\n", shell, shell, use)
}
