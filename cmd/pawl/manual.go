package main

// This file writes the manual page pawl(1), from the texts of the grammar and of the help topics, in the
// macros of man(7).

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// manualDate is when the texts of the manual were last revised. It is a constant, so that the same source
// makes the same page.
const manualDate = "2026-11-30"

// manualTopics are the sections of the manual that are help topics, with their titles, in their order.
var manualTopics = []struct{ topic, title string }{
	{"config", "CONFIGURATION"},
	{"formats", "LISTS"},
	{"report", "OUTPUT"},
	{"security", "SECURITY"},
	{"as", "OTHER TOOLS"},
	{"daemon", "DAEMON"},
	{"api", "DAEMON API"},
	{"fleet", "FLEET"},
	{"exit-codes", "EXIT STATUS"},
	{"examples", "EXAMPLES"},
}

// promotedHeadings are headings of topics that are sections of each manual page, by the usual title.
var promotedHeadings = map[string]string{"ENVIRONMENT": "ENVIRONMENT", "WHERE STATE LIVES": "FILES"}

// A manual is a page that is being written.
type manual struct {
	strings.Builder
	begun bool // the section has text, so that the next paragraph needs a macro
}

// writeManual returns the page.
func writeManual(app *kong.Application) string {
	var m manual
	fmt.Fprintf(&m, ".TH PAWL 1 %s \"%s\" \"User Commands\"\n", manualDate, roff(version()))
	m.section("NAME")
	m.text("pawl - download large files, and resume interrupted downloads")
	m.section("SYNOPSIS")
	m.synopsis(app)
	m.section("DESCRIPTION")
	m.text(app.Help + " An interrupted download goes on with the same command, or with \"pawl resume\". " +
		"A word of the command line that is no command is a URL for get, the default command.")
	m.section("COMMANDS")
	for _, c := range leaves(app) {
		m.tagged(`\fB`+roff("pawl "+c.Path())+`\fR`+roff(argumentText(c)), c.Help)
	}
	m.tagged(`\fBpawl help\fR`+roff(" [TOPIC|COMMAND]"), helpHelp+".")
	m.section("OPTIONS")
	m.options(app)
	var promoted []helpSection
	for _, t := range manualTopics {
		m.section(t.title)
		for _, s := range readTopic(t.topic) {
			if promotedHeadings[s.heading] != "" {
				promoted = append(promoted, s)
				continue
			}
			m.topicSection("SS", s.heading, s)
		}
	}
	for _, s := range promoted {
		m.topicSection("SH", promotedHeadings[s.heading], s)
	}
	return m.String()
}

// synopsis writes one line for each command.
func (m *manual) synopsis(app *kong.Application) {
	m.WriteString(`\fBpawl\fR [\fIoption\fR ...] \fIURL\fR ...` + "\n")
	for _, c := range leaves(app) {
		fmt.Fprintf(m, ".br\n\\fBpawl %s\\fR [\\fIoption\\fR ...]%s\n", roff(c.Path()), roff(argumentText(c)))
	}
}

// leaves returns the visible commands, without the words that another word must follow.
func leaves(app *kong.Application) (all []*kong.Node) {
	for _, c := range app.Leaves(true) {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// argumentText returns the arguments of a command, such as " [ID|PATH...]".
func argumentText(c *kong.Node) string {
	var b strings.Builder
	for _, p := range c.Positional {
		name := p.Tag.PlaceHolder
		if name == "" {
			name = strings.ToUpper(p.Name)
		}
		if p.IsCumulative() {
			name += "..."
		}
		if !p.Required {
			name = "[" + name + "]"
		}
		b.WriteString(" " + name)
	}
	return b.String()
}

// A manualOption is an option with all its meanings.
type manualOption struct {
	flag     *kong.Flag
	meanings []manualMeaning
}

// A manualMeaning is the help of an option in some commands.
type manualMeaning struct {
	help     string
	commands []string
}

// options writes each option once, in the groups of the help pages.
func (m *manual) options(app *kong.Application) {
	options := manualOptions(app)
	var groups []string
	for _, o := range options {
		if g := o.group(); g != ungrouped && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	transfers := commandsWith(leaves(app), "connections") // an option of all of them needs no list of commands
	for _, group := range append(groups, ungrouped) {
		m.subsection(group)
		for _, o := range options {
			if o.group() == group {
				m.option(o, transfers)
			}
		}
	}
}

// manualOptions returns all visible options.
func manualOptions(app *kong.Application) (options []*manualOption) {
	at := make(map[string]*manualOption) // by name
	add := func(flags []*kong.Flag, command string) {
		for _, flag := range flags {
			if flag.Hidden {
				continue
			}
			o := at[flag.Name]
			if o == nil {
				o = &manualOption{flag: flag}
				at[flag.Name] = o
				options = append(options, o)
			}
			o.add(flag.Help, command)
		}
	}
	add(app.Flags, "")
	for _, c := range leaves(app) {
		add(c.Flags, c.Path())
	}
	return options
}

// ungrouped is the title of the options without a group.
const ungrouped = "Other options"

// group returns the title of the group of the option.
func (o *manualOption) group() string {
	if o.flag.Group == nil {
		return ungrouped
	}
	return o.flag.Group.Title
}

// commandsWith returns the commands that have an option.
func commandsWith(commands []*kong.Node, option string) (names []string) {
	for _, c := range commands {
		if slices.ContainsFunc(c.Flags, func(f *kong.Flag) bool { return f.Name == option }) {
			names = append(names, c.Path())
		}
	}
	return names
}

// add adds the meaning of the option in a command.
func (o *manualOption) add(help, command string) {
	i := slices.IndexFunc(o.meanings, func(m manualMeaning) bool { return m.help == help })
	if i < 0 {
		i = len(o.meanings)
		o.meanings = append(o.meanings, manualMeaning{help: help})
	}
	o.meanings[i].commands = append(o.meanings[i].commands, command)
}

// option writes an option. The list of transfers stands for all commands that download.
func (m *manual) option(o *manualOption, transfers []string) {
	var tag []string
	for _, name := range spellings(o.flag, false) {
		tag = append(tag, `\fB`+roff(name)+`\fR`)
	}
	value := ""
	if takesValue(o.flag) {
		value = ` \fI` + roff(o.flag.FormatPlaceHolder()) + `\fR`
	}
	var texts []string
	for _, meaning := range o.meanings {
		where := ""
		if all := slices.Equal(meaning.commands, transfers) || meaning.commands[0] == ""; !all {
			where = "(" + strings.Join(meaning.commands, ", ") + ") "
		}
		texts = append(texts, where+meaning.help)
	}
	m.tagged(strings.Join(tag, ", ")+value, texts...)
}

// A helpSection is the text of a help topic below one heading.
type helpSection struct {
	heading    string   // "" for the beginning of the topic
	paragraphs []string // lines that begin with blanks stay as they are
}

// headingPattern matches the headings of help topics.
var headingPattern = regexp.MustCompile(`^[A-Z][A-Z, ]+$`)

// readTopic returns the sections of a help topic, without its first line.
func readTopic(name string) []helpSection {
	_, text, _ := strings.Cut(helpTopic{name: name}.text(), "\n")
	sections := []helpSection{{}}
	for _, p := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if headingPattern.MatchString(p) {
			sections = append(sections, helpSection{heading: p})
			continue
		}
		last := &sections[len(sections)-1]
		last.paragraphs = append(last.paragraphs, strings.Trim(p, "\n"))
	}
	return sections
}

// topicSection writes a section of a topic below a heading.
func (m *manual) topicSection(macro, heading string, s helpSection) {
	if heading != "" {
		m.macro(macro, heading)
		m.begun = false
	}
	for _, p := range s.paragraphs {
		// A paragraph may go on as a table or an example, whose lines begin with blanks.
		var filled, kept []string
		for line := range strings.SplitSeq(p, "\n") {
			switch {
			case strings.HasPrefix(line, " "):
				m.flush(&filled)
				kept = append(kept, line)
			default:
				m.keep(&kept)
				filled = append(filled, line)
			}
		}
		m.flush(&filled)
		m.keep(&kept)
	}
}

// flush writes lines as a paragraph, and empties them.
func (m *manual) flush(lines *[]string) {
	if len(*lines) > 0 {
		m.text(strings.Join(*lines, " "))
		*lines = nil
	}
}

// keep writes lines as they are, and empties them.
func (m *manual) keep(lines *[]string) {
	if len(*lines) == 0 {
		return
	}
	m.paragraph()
	m.WriteString(".nf\n")
	for _, line := range *lines {
		m.WriteString(roffLine(roff(line)) + "\n")
	}
	m.WriteString(".fi\n")
	*lines = nil
}

// section begins a section.
func (m *manual) section(title string) {
	m.macro("SH", title)
	m.begun = false
}

// subsection begins a part of a section.
func (m *manual) subsection(title string) {
	m.macro("SS", title)
	m.begun = false
}

// macro writes a macro with arguments.
func (m *manual) macro(name string, args ...string) {
	m.WriteString("." + name)
	for _, a := range args {
		fmt.Fprintf(m, " \"%s\"", strings.ReplaceAll(roff(a), `"`, `\(dq`))
	}
	m.WriteString("\n")
}

// paragraph separates a paragraph from the one before.
func (m *manual) paragraph() {
	if m.begun {
		m.WriteString(".PP\n")
	}
	m.begun = true
}

// text writes a paragraph.
func (m *manual) text(text string) {
	m.paragraph()
	m.fold(text)
}

// tagged writes texts below a tag, which is already in roff.
func (m *manual) tagged(tag string, texts ...string) {
	fmt.Fprintf(m, ".TP\n%s\n", tag)
	for i, text := range texts {
		if i > 0 {
			m.WriteString(".br\n")
		}
		m.fold(text)
	}
	m.begun = true
}

// fold writes text in short lines.
func (m *manual) fold(text string) {
	const most = 76 // mandoc finds lines of more than 80 bytes ugly
	line := ""
	for _, word := range strings.Fields(text) {
		word = roff(word)
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > most:
			m.WriteString(roffLine(line) + "\n")
			line = word
		default:
			line += " " + word
		}
	}
	m.WriteString(roffLine(line) + "\n")
}

// roff escapes the characters of text that roff interprets or that are not ASCII. A hyphen that users may
// copy must not become a typographical one.
func roff(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r > 126:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// roffLine keeps roff from taking a line of text for a macro.
func roffLine(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}
