package main

// This file prints the settings for "pawl config", and knows which of them are secrets.

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"pawl/downloader/weburl"
)

// A settingRow is one setting: a line of the table, or an object of --json. Its values are as the user
// wrote them, but without secrets.
type settingRow struct {
	V      int      `json:"v"` // format version
	Host   string   `json:"host,omitempty"`
	Name   string   `json:"name"`
	Value  string   `json:"value,omitempty"`
	Values []string `json:"values,omitempty"` // instead of Value, of an option that may be repeated
	From   string   `json:"from"`             // default, file, environment or command line
	Source string   `json:"source,omitempty"` // the path of the file, or the variable
	Lines  []int    `json:"lines,omitempty"`  // of the file

	repeated bool // the option may be repeated
}

// Run prints the settings in the order of the help pages, and then the settings of single hosts.
func (c *ConfigCmd) Run(g *Globals, config *configLoader, parsed *kong.Context, out *printer) error {
	if c.Import != "" {
		return c.runImport(out)
	}
	var rows []settingRow
	for _, flags := range optionsByName(newCommandLine(out, "").Model) {
		rows = append(rows, config.rowOf(parsed, flags))
	}
	rows = append(rows, config.hosts.rows()...)
	if g.JSON {
		return printJSONLines(out, rows)
	}
	return printRows(out.stdout, rows)
}

// optionsByName returns the visible options that can be set, each with the flags of the commands that
// have it.
func optionsByName(app *kong.Application) (options [][]*kong.Flag) {
	at := make(map[string]int)
	for _, flag := range allFlags(app) {
		if flag.Hidden || isTyped(flag) || flag.Name == "help" || flag.Name == "version" {
			continue
		}
		i, known := at[flag.Name]
		if !known {
			i = len(options)
			at[flag.Name] = i
			options = append(options, nil)
		}
		options[i] = append(options[i], flag)
	}
	return options
}

// rowOf returns the row of an option, of which each command has one of the flags.
func (l *configLoader) rowOf(parsed *kong.Context, flags []*kong.Flag) settingRow {
	r := settingRow{V: 1, Name: flags[0].Name, repeated: flags[0].IsSlice()}
	if onCommandLine(parsed, r.Name) {
		r.From = "command line"
		return r.with(givenTexts(parsed.Args, flags[0])...)
	}
	if r.Source = fromEnvironment(flags[0]); r.Source != "" {
		r.From = "environment"
		return r.with(os.Getenv(r.Source))
	}
	for _, c := range slices.Backward(l.files) {
		if lines := c.settings[r.Name]; lines != nil {
			return r.fromFile(c, lines)
		}
	}
	r.From, r.Value = "default", defaultText(flags[0])
	return r
}

// with returns r with values, of which the last one counts if the option cannot be repeated.
func (r settingRow) with(values ...string) settingRow {
	for _, v := range values {
		r.Value, _ = withoutSecrets(r.Name, v)
		r.Values = append(r.Values, r.Value)
	}
	if r.repeated {
		r.Value = ""
	} else {
		r.Values = nil
	}
	return r
}

// fromFile returns r with the values of some lines of a file.
func (r settingRow) fromFile(c *configFile, lines []setting) settingRow {
	r.From, r.Source = "file", c.path
	if !r.repeated {
		lines = lines[len(lines)-1:]
	}
	var values []string
	for _, s := range lines {
		values = append(values, s.value)
		r.Lines = append(r.Lines, s.line)
	}
	return r.with(values...)
}

// statedDefault matches the default in the help of an option that has none in the grammar, because it
// depends on other options or on the command.
var statedDefault = regexp.MustCompile(`\(default: ([^()]+)\)`)

// defaultText returns the default of an option, "" for none.
func defaultText(flag *kong.Flag) string {
	if m := statedDefault.FindStringSubmatch(flag.Help); flag.Default == "" && m != nil {
		return m[1]
	}
	if flag.IsBool() {
		return cmp.Or(flag.Default, "false")
	}
	return flag.Default
}

// givenTexts returns the values of an option as the command line has them.
func givenTexts(args []string, flag *kong.Flag) (values []string) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		name, value, joined := strings.Cut(arg, "=")
		isLong := slices.ContainsFunc(append(slices.Clone(flag.Aliases), flag.Name), func(n string) bool { return "--"+n == name || len(n) == 1 && "-"+n == name })
		short, isShort := strings.CutPrefix(arg, "-"+string(flag.Short))
		switch {
		case name == "--no-"+flag.Name && flag.Tag.Negatable != "":
			values = append(values, "false")
		case !isLong && (flag.Short == 0 || !isShort):
		case flag.IsBool():
			values = append(values, cmp.Or(value, "true"))
		case isLong && joined:
			values = append(values, value)
		case isShort && flag.Short != 0 && short != "":
			values = append(values, strings.TrimPrefix(short, "="))
		case i+1 < len(args):
			values = append(values, args[i+1])
		}
	}
	return values
}

// printRows prints the table.
func printRows(to io.Writer, rows []settingRow) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	host := ""
	for _, r := range rows {
		if r.Host != host {
			host = r.Host
			fmt.Fprintf(w, "\n[host %s]\n", host)
		}
		values := r.Values
		if len(values) == 0 {
			values = []string{r.Value}
		}
		for i, v := range values {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, cmp.Or(printable(v), "-"), printable(r.origin(i)))
		}
	}
	return w.Flush()
}

// origin returns the origin of value i, for the table.
func (r settingRow) origin(i int) string {
	switch r.From {
	case "environment":
		return r.Source
	case "file":
		return fmt.Sprintf("%s line %d", printable(homePath(r.Source)), r.Lines[i])
	}
	return r.From
}

// homePath returns a path as the user would type it, with ~ for the home directory.
func homePath(path string) string {
	home, err := os.UserHomeDir()
	if rel, relErr := filepath.Rel(home, path); err == nil && relErr == nil && filepath.IsLocal(rel) && home != "/" {
		return filepath.Join("~", rel)
	}
	return path
}

// mask stands for a secret.
const mask = "***"

// isSecretSetting reports whether the value of an option has a secret in it.
func isSecretSetting(option, value string) bool {
	_, secret := withoutSecrets(option, value)
	return secret
}

// withoutSecrets returns the value of an option without secrets, and whether there are any. No value
// of a header field is shown, but only one with a telling name counts as a secret.
func withoutSecrets(option, value string) (shown string, secret bool) {
	switch option {
	case "header":
		if strings.HasPrefix(value, "@") {
			return value, false
		}
		name, _, _ := strings.Cut(value, ":")
		if m := hostFieldPattern.FindStringSubmatch(value); m != nil {
			field, _, _ := strings.Cut(m[2], ":")
			name = m[1] + "=" + field
		}
		return name + ": " + mask, isSecretName(name)
	case "user":
		user, _, hasPassword := strings.Cut(value, ":")
		if !hasPassword {
			return value, false
		}
		return user + ":" + mask, true
	case "proxy":
		if at := strings.LastIndexByte(value, '@'); at >= 0 {
			scheme, rest, found := strings.Cut(value, "://")
			if !found || len(rest) < len(value)-at {
				return mask + value[at:], true
			}
			return scheme + "://" + mask + value[at:], true
		}
	}
	redacted := weburl.RedactText(value)
	return strings.ReplaceAll(redacted, "…", mask), redacted != value
}

// nearestOption returns the option that was most likely meant by a name, "" if none is similar. known has
// the option of each name.
func nearestOption(name string, known map[string]string) string {
	name = strings.ToLower(strings.Trim(name, "-"))
	if option := known[name]; option != "" {
		return option
	}
	names := make([]string, 0, len(known))
	for n := range known {
		if len(n) > 1 {
			names = append(names, n)
		}
	}
	if near := nearestWord(name, slices.Values(names)); near != "" {
		return known[near]
	}
	slices.Sort(names)
	for _, n := range names { // such as rate-limit and max-connections
		if sameWords(name, n) {
			return known[n]
		}
	}
	return ""
}

// sameWords reports whether two names have the same words in any order, but for words that one has
// more: such as rate-limit and limit-rate, or max-connections and connections.
func sameWords(a, b string) bool {
	x, y := strings.Split(a, "-"), strings.Split(b, "-")
	if len(x) > len(y) {
		x, y = y, x
	}
	return !slices.ContainsFunc(x, func(w string) bool { return !slices.Contains(y, w) })
}
