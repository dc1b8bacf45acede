package list

import (
	"path"
	"slices"
	"strings"
)

// A command is a line that calls a program for downloads.
type command struct {
	tool string
	urls []string
	out  string // the name of the file, "" if the line gives none
}

// An outOption is the option of a program for the name of the file.
type outOption struct {
	short string // a letter, which may be the last of several in one argument
	long  string // without the dashes
}

// tools are the programs for downloads, in lower case.
var tools = map[string]outOption{
	"wget": {"O", "output-document"}, "wget2": {"O", "output-document"}, "curl": {"o", "output"}, "aria2c": {"o", "out"},
	"axel": {"o", "output"}, "pawl": {"o", "output"}, "fetch": {"o", "output"}, "http": {"o", "output"}, "https": {"o", "output"},
	"xh": {"o", "output"}, "lwp-download": {}, "saldl": {"o", ""}, "puf": {},
	"invoke-webrequest": {"", "outfile"}, "iwr": {"", "outfile"}, "start-bitstransfer": {"", "destination"},
}

// prefixes are the words that may stand before a program.
var prefixes = []string{"sudo", "nohup", "time", "nice", "env", "exec", "command", "$", ">", "&"}

// optionsWithURL are the options whose value may be a URL that is not the file's.
var optionsWithURL = []string{"-e", "--referer", "-x", "--proxy", "--preproxy", "--all-proxy", "--http-proxy", "--https-proxy", "-H", "--header"}

// isCommand reports whether a line calls a program for downloads.
func isCommand(line string) bool {
	_, ok := toolOf(shellWords(line))
	return ok
}

// toolOf returns the index of the word that is a program for downloads.
func toolOf(words []string) (int, bool) {
	for i, w := range words {
		if _, ok := tools[toolName(w)]; ok {
			return i, true
		}
		if !slices.Contains(prefixes, w) && (i == 0 || !strings.HasPrefix(w, "-")) && !isAssignment(w) {
			break
		}
	}
	return 0, false
}

// isAssignment reports whether a word before a program sets a variable.
func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

func toolName(word string) string {
	return strings.TrimSuffix(strings.ToLower(baseName(word)), ".exe")
}

// parseCommand returns the URLs of a line that calls a program for downloads, and the name of
// the file. It reports false for other lines. Nothing is expanded, and all other options are
// ignored.
func parseCommand(line string) (command, bool) {
	words := shellWords(line)
	at, ok := toolOf(words)
	if !ok {
		return command{}, false
	}
	cmd := command{tool: toolName(words[at])}
	option := tools[cmd.tool]
	for i := at + 1; i < len(words); i++ {
		w := words[i]
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		name, assigned, isAssigned := strings.Cut(w, "=")
		switch {
		case w == ";" || w == "&&" || w == "||" || w == "|":
			return cmd, true
		case w == ">", option.matches(w):
			cmd.out = value
			i++
		case strings.HasPrefix(w, "-") && isAssigned && option.matches(name):
			cmd.out = assigned
		case strings.HasPrefix(w, "--") && isAssigned && name == "--url":
			cmd.urls = append(cmd.urls, assigned)
		case slices.Contains(optionsWithURL, w):
			i++
		case isURL(w):
			cmd.urls = append(cmd.urls, w)
		}
	}
	return cmd, true
}

// matches reports whether a word is the option.
func (o outOption) matches(word string) bool {
	if o.long != "" && strings.EqualFold(strings.TrimLeft(word, "-"), o.long) && strings.HasPrefix(word, "-") {
		return true
	}
	letters, ok := strings.CutPrefix(word, "-")
	return ok && o.short != "" && strings.HasSuffix(letters, o.short) && !strings.HasPrefix(letters, "-")
}

// fileName returns the path of the file below the target directory, "" if the line gives
// none. Of a path elsewhere only the name is used.
func (c command) fileName() string {
	if len(c.urls) != 1 || c.out == "-" || strings.HasPrefix(c.out, "/dev/") || c.out == "" {
		return ""
	}
	if out, err := localPath(c.out); err == nil && !strings.Contains(out, `\`) {
		return out
	}
	out, err := localPath(path.Base(strings.ReplaceAll(c.out, `\`, "/")))
	if err != nil {
		return ""
	}
	return out
}

// shellWords splits a line as a shell does: blanks separate words, quotes and backslashes
// protect blanks. Operators are words of their own.
func shellWords(line string) (words []string) {
	var word []byte
	inWord, quote := false, byte(0)
	end := func() {
		if inWord {
			words = append(words, string(word))
		}
		word, inWord = word[:0], false
	}
	for i := 0; i < len(line); i++ {
		b := line[i]
		switch {
		case quote != 0 && b == quote:
			quote = 0
		case b == '\\' && quote != '\'' && i+1 < len(line) && strings.IndexByte(" \\\"'&?;()#$!", line[i+1]) >= 0:
			i++
			word, inWord = append(word, line[i]), true
		case quote != 0:
			word = append(word, b)
		case b == '"' || b == '\'':
			quote, inWord = b, true
		case isBlank(b):
			end()
		case b == '#' && !inWord:
			return words
		case b == '>' || b == ';' || b == '|':
			end()
			words = append(words, string(b))
		default:
			word, inWord = append(word, b), true
		}
	}
	end()
	return words
}
