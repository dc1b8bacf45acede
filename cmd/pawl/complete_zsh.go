package main

import (
	"fmt"
	"io"
	"strings"
)

// writeZsh writes the script for zsh. Its function removes the words of the command before _arguments
// sees the line, because the options of pawl may stand before the command, and the default command has
// no word.
func writeZsh(w io.Writer, g completionGrammar) {
	io.WriteString(w, "#compdef pawl\n\n")
	io.WriteString(w, completionHead("zsh", `Use it as the file _pawl in a directory of $fpath, or with: source <(pawl completion zsh)`))
	fmt.Fprintf(w, `_pawl() {
    local command= option= state= word i=2
    local -a options
    while ((i < CURRENT)); do
        word=${words[i]}
        [[ $command == 'as '* ]] && break
        if [[ -n $option ]]; then
            [[ $option == --state ]] && state=$word
            option=
        else
            case $word in
            --) break ;;
            %s) option=$word ;;
            --state=*) state=${word#--state=} ;;
            -*) ;;
            *)
                case "$command $word" in
%s                *) [[ -n $command ]] || command=get ; ((i++)); continue ;;
                esac
                words[i]=()
                ((CURRENT--))
                continue ;;
            esac
        fi
        ((i++))
    done
    case $command in
%s    esac
}
`, strings.Join(g.valued, "|"), strings.ReplaceAll(bashCommands(g), "            '", "                '"), zshCommands(g))
	fmt.Fprintf(w, `
_pawl_downloads() {
    local line
    local -a downloads
    for line in "${(@f)$(_call_program downloads $words[1] list --ids $1 ${state:+--state ${(q)${(Q)state}}} 2>/dev/null)}"; do
        [[ -n $line ]] && downloads+=("${${line//:/\\:}/$'\t'/:}")
    done
    _describe -t downloads download downloads
}

if [[ $funcstack[1] == _pawl ]]; then
    _pawl "$@"
else
    compdef _pawl pawl
fi
`)
}

// zshCommands returns the cases that complete a command.
func zshCommands(g completionGrammar) string {
	var b strings.Builder
	for _, c := range g.all() {
		fmt.Fprintf(&b, "    %s)\n        options=(\n", quoted(c.name))
		for _, o := range c.options {
			fmt.Fprintf(&b, "            %s\n", zshOption(o))
		}
		fmt.Fprintf(&b, "        )\n        _arguments -s -S : $options %s ;;\n", quoted("*:"+zshText(c.arguments.name)+":"+zshAction(c.arguments)))
	}
	return b.String()
}

// zshOption returns the specification of an option for _arguments.
func zshOption(o completionOption) string {
	value := ""
	names := make([]string, len(o.names))
	for i, name := range o.names {
		names[i] = name
		if o.argument != nil && strings.HasPrefix(name, "--") {
			names[i] += "="
		} else if o.argument != nil {
			names[i] += "+"
		}
	}
	if o.argument != nil {
		value = ":" + zshText(o.argument.name) + ":" + zshAction(*o.argument)
	}
	before := "(" + strings.Join(o.names, " ") + ")"
	if o.repeats {
		before = "*"
	}
	list := names[0]
	if len(names) > 1 {
		list = "{" + strings.Join(names, ",") + "}"
	}
	return quoted(before) + list + quoted("["+zshText(o.help)+"]"+value)
}

// zshText escapes text that stands between brackets or colons of a specification.
func zshText(text string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}

// zshAction returns the action of a specification.
func zshAction(v completionValue) string {
	switch {
	case len(v.words) > 0 && v.words[0].help != "":
		var words []string
		for _, w := range v.words {
			words = append(words, w.word+`\:"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, ":", `\:`, "`", "\\`", "$", `\$`).Replace(w.help)+`"`)
		}
		return "((" + strings.Join(words, " ") + "))"
	case len(v.words) > 0:
		var words []string
		for _, w := range v.words {
			words = append(words, w.word)
		}
		return "(" + strings.Join(words, " ") + ")"
	case v.downloads:
		downloads := "_pawl_downloads" + map[bool]string{true: " --all"}[v.finished]
		// The blank keeps _alternative from adding options for compadd.
		return `_alternative "downloads\:download\: ` + downloads + `" "files\:file\:_files"`
	case v.files:
		return "_files"
	case v.dirs:
		return "_files -/"
	}
	return " "
}
