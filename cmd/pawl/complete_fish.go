package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeFish writes the script for fish. An option that several commands have is one line, because fish
// asks for each condition only once.
func writeFish(w io.Writer, g completionGrammar) {
	io.WriteString(w, completionHead("fish", `Use it as the file pawl.fish in ~/.config/fish/completions, or with: pawl completion fish | source`))
	fmt.Fprintf(w, `function __pawl_command -d 'Print the command of the command line, as far as it is typed'
    set -l command
    set -l option
    for word in (commandline -opc)[2..-1]
        string match -q -- 'as ?*' "$command"; and break
        if set -q option[1]
            set option
            continue
        end
        switch $word
            case --
                break
            case %s
                set option $word
            case '-*'
            case '*'
                switch "$command $word"
%s                    case '*'
                        test -n "$command"; or set command get
                end
        end
    end
    echo "$command"
end

function __pawl_using -d 'Report whether one of some commands is typed'
    contains -- (__pawl_command) $argv
end

function __pawl_downloads -d 'Print IDs with the names of the files'
    set -l words (commandline -opc)
    set -l state
    if set -l at (contains -i -- --state $words)
        set state --state $words[(math $at + 1)]
    end
    for word in $words
        string match -q -- '--state=*' $word; and set state $word
    end
    $words[1] list --ids $argv $state 2>/dev/null
end

complete -c pawl -f
`, strings.Join(g.valued, " "), fishCommands(g))
	for _, c := range g.all() {
		fishArguments(w, c)
	}
	fishOptions(w, g)
}

// fishCommands returns the cases that follow the words of commands.
func fishCommands(g completionGrammar) string {
	var b strings.Builder
	for _, c := range g.all()[1:] {
		before, word := c.lastWord()
		fmt.Fprintf(&b, "                    case %s\n                        set command %s\n", fishQuoted(before+" "+word), fishQuoted(c.name))
	}
	return b.String()
}

// fishArguments writes the lines of the arguments of a command.
func fishArguments(w io.Writer, c completionCommand) {
	condition := "-n " + fishQuoted("__pawl_using "+fishQuoted(c.name))
	for _, word := range c.arguments.words {
		fmt.Fprintf(w, "complete -c pawl %s -a %s%s\n", condition, fishQuoted(word.word), fishDescription(word.help))
	}
	if c.arguments.downloads {
		fmt.Fprintf(w, "complete -c pawl %s -k -a %s\n", condition, fishQuoted("(__pawl_downloads"+map[bool]string{true: " --all"}[c.arguments.finished]+")"))
	}
	switch {
	case c.arguments.files:
		fmt.Fprintf(w, "complete -c pawl %s -F\n", condition)
	case c.arguments.dirs:
		fmt.Fprintf(w, "complete -c pawl %s -a '(__fish_complete_directories)'\n", condition)
	}
}

// fishOptions writes one line for each option, with all commands that have it.
func fishOptions(w io.Writer, g completionGrammar) {
	commands := make(map[string][]string) // that have an option, by its line
	var lines []string
	for _, c := range g.all() {
		for _, o := range c.options {
			line := fishOption(o)
			if commands[line] == nil {
				lines = append(lines, line)
			}
			commands[line] = append(commands[line], fishQuoted(c.name))
		}
	}
	for _, line := range lines {
		fmt.Fprintf(w, "complete -c pawl -n %s%s\n", fishQuoted("__pawl_using "+strings.Join(commands[line], " ")), line)
	}
}

// fishOption returns the properties of an option for complete.
func fishOption(o completionOption) string {
	var b strings.Builder
	for _, name := range o.names {
		if long, isLong := strings.CutPrefix(name, "--"); isLong {
			b.WriteString(" -l " + long)
		} else {
			b.WriteString(" -s " + name[1:])
		}
	}
	if v := o.argument; v != nil {
		switch {
		case len(v.words) > 0:
			var words []string
			for _, word := range v.words {
				words = append(words, word.word)
			}
			b.WriteString(" -x -a " + fishQuoted(strings.Join(words, " ")))
		case v.files:
			b.WriteString(" -r -F")
		case v.dirs:
			b.WriteString(" -x -a '(__fish_complete_directories)'")
		default:
			b.WriteString(" -x")
		}
	}
	return b.String() + fishDescription(o.help)
}

// fishDescription returns the option -d, unless the text is empty.
func fishDescription(text string) string {
	if text == "" {
		return ""
	}
	return " -d " + fishQuoted(text)
}

// fishQuoted returns text as one word of fish, in single quotes.
func fishQuoted(text string) string {
	if text != "" && !slices.ContainsFunc([]rune(text), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz-", r) }) {
		return text
	}
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
