package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeBash writes the script for bash. It needs neither bash-completion nor a bash newer than 3.2.
// COMP_WORDS has a "=" as a word of its own, as in --limit-rate = 1M, unless the user has changed
// COMP_WORDBREAKS.
func writeBash(w io.Writer, g completionGrammar) {
	io.WriteString(w, completionHead("bash", `Use it with: source <(pawl completion bash)`))
	fmt.Fprintf(w, `_pawl() {
    local cur=${COMP_WORDS[COMP_CWORD]} command= option= state= literal= prefix= word i
    COMPREPLY=()
    [[ $cur == = ]] && cur=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        [[ $word == = && $option ]] && continue
        [[ $command == 'as '* ]] && break
        if [[ $option ]]; then
            [[ $option == --state ]] && state=$word
            option=
            continue
        fi
        case $literal$word in
        --) literal=literal ;;
        %s)
            option=$word ;;
        --state=*) state=${word#*=} ;;
        -*) ;;
        *)
            case "$command $literal$word" in
%s            *) [[ $command ]] || command=get ;;
            esac ;;
        esac
    done
    if [[ $cur == --*=* && ! $option && ! $literal ]]; then
        option=${cur%%%%=*} prefix=${cur%%%%=*}= cur=${cur#*=}
    fi
    if [[ $option ]]; then
        case $option in
%s        esac
    elif [[ $cur == -* && ! $literal ]]; then
        case $command in
%s        esac
    else
        case $command in
%s        esac
    fi
}
`, strings.Join(g.valued, " | "), bashCommands(g), bashValues(g), bashOptions(g), bashArguments(g))
	io.WriteString(w, `
_pawl_words() {
    local word
    for word in $1; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$prefix$word")
    done
}

_pawl_paths() {
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do
        COMPREPLY+=("$prefix$path")
    done < <(compgen "$1" -- "$cur")
}

_pawl_downloads() {
    local id name
    while IFS=$'\t' read -r id name; do
        [[ $id == "$cur"* ]] && COMPREPLY+=("$id")
    done < <("${COMP_WORDS[0]}" list --ids $1 ${state:+--state "$state"} 2>/dev/null)
}

complete -F _pawl pawl
`)
}

// bashCommands returns the cases that follow the words of commands.
func bashCommands(g completionGrammar) string {
	var b strings.Builder
	for _, c := range g.all()[1:] {
		before, word := c.lastWord()
		fmt.Fprintf(&b, "            %s) command=%s ;;\n", quoted(before+" "+word), quoted(c.name))
	}
	return b.String()
}

// bashValues returns the cases that complete the value of an option.
func bashValues(g completionGrammar) string {
	var b strings.Builder
	names := make(map[string][]string) // of the options, by the action
	var actions []string
	for o := range g.options() {
		if o.argument == nil {
			continue
		}
		action := bashAction(*o.argument)
		if names[action] == nil {
			actions = append(actions, action)
		}
		for _, name := range o.names {
			if !slices.Contains(names[action], name) {
				names[action] = append(names[action], name)
			}
		}
	}
	for _, action := range actions {
		if action != "" {
			fmt.Fprintf(&b, "        %s) %s ;;\n", strings.Join(names[action], " | "), action)
		}
	}
	return b.String()
}

// bashOptions returns the cases that complete the options of a command.
func bashOptions(g completionGrammar) string {
	var b strings.Builder
	for _, c := range g.all() {
		var names []string
		for _, o := range c.options {
			names = append(names, o.names...)
		}
		if len(names) > 0 {
			fmt.Fprintf(&b, "        %s) _pawl_words %s ;;\n", quoted(c.name), quoted(strings.Join(names, " ")))
		}
	}
	return b.String()
}

// bashArguments returns the cases that complete the arguments of a command.
func bashArguments(g completionGrammar) string {
	var b strings.Builder
	for _, c := range g.all() {
		if action := bashAction(c.arguments); action != "" {
			fmt.Fprintf(&b, "        %s) %s ;;\n", quoted(c.name), action)
		}
	}
	return b.String()
}

// bashAction returns the commands that complete a value, "" if the shell cannot know it.
func bashAction(v completionValue) string {
	var actions []string
	if len(v.words) > 0 {
		var words []string
		for _, w := range v.words {
			words = append(words, w.word)
		}
		actions = append(actions, "_pawl_words "+quoted(strings.Join(words, " ")))
	}
	if v.downloads {
		actions = append(actions, "_pawl_downloads"+map[bool]string{true: " --all"}[v.finished])
	}
	switch {
	case v.files:
		actions = append(actions, "_pawl_paths -f")
	case v.dirs:
		actions = append(actions, "_pawl_paths -d")
	}
	return strings.Join(actions, "; ")
}
