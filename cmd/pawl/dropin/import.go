package dropin

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// An importer is a tool's settings on their way to pawl's configuration file.
type importer interface {
	shared() *translator
	addCollected() error
	addImported() // the settings that are no options of each run, such as the directory
}

func (x *translator) shared() *translator { return x }

// setGiven sets an option of pawl unless the value is empty.
func (x *translator) setGiven(name, value string) {
	if value != "" {
		x.set(name, value)
	}
}

func (a *aria2Line) addImported() {
	a.flag("--quiet", a.on("quiet"))
	a.setGiven("--jobs", a.value("max-concurrent-downloads"))
	a.setGiven("--dir", a.value("dir"))
}

func (c *curl) addImported() {
	c.setGiven("--dir", c.value("output-dir"))
}

func (w *wget) addImported() {
	w.flag("--quiet", w.silent)
	w.flag("--continue", w.on("continue"))
	w.setGiven("--dir", w.value("directory-prefix"))
}

// perCommand are the options that have no meaning in a configuration file of pawl, although pawl
// translates them on a command line.
var perCommand = map[string]string{
	"aria2c": "out checksum input-file metalink-file metalink-base-uri save-session force-sequential parameterized-uri dry-run conditional-get help version conf-path no-conf",
	"curl": `url output remote-name remote-name-all remote-header-name url-query data data-ascii data-binary data-raw data-urlencode get request time-cond config disable
		continue-at clobber skip-existing fail-early help version manual show-error proto-default globoff write-out dump-header`,
	"wget": `input-file base output-document clobber no-clobber-command timestamping spider default-page content-disposition force-directories host-directories
		protocol-directories cut-dirs directories ask-password execute config debug help version method`,
}

// impliedBy says which option of a tool asks for an option of pawl that most of its runs have anyway.
var impliedBy = map[string]string{"--auto-rename": "auto-file-renaming", "--no-remote-time": "remote-time"}

// longNames are the names in a config file of options that have only a letter on command lines.
var longNames = map[string]string{"-4": "ipv4", "-6": "ipv6"}

// Import turns a configuration file of aria2, curl or wget into one of pawl, and returns its text and the
// name of the tool. name is the path of the file, by which the tool is recognized if possible, or else by
// the text. Settings that have no meaning for pawl become comments with the reason.
func Import(name, text string, env Env) (config, tool string, err error) {
	tool = configTool(path.Base(strings.ReplaceAll(name, `\`, "/")), text)
	switch tool {
	case "aria2c":
		config, err = importText(newAria2(aria2Tool(), env), newAria2(aria2Tool(), env), name, text, parseAria2Config)
	case "curl":
		config, err = importText(newCurl(curlTool(), env), newCurl(curlTool(), env), name, text, parseCurlConfig)
	case "wget":
		config, err = importText(newWget(wgetTool(), env), newWget(wgetTool(), env), name, text, parseWgetConfig)
	default:
		err = errors.New("it is not recognized as aria2.conf, .curlrc or .wgetrc")
	}
	return config, tool, err
}

// configTool returns the tool whose configuration file a text is: by the name of the file, or else the one
// that knows most of its lines. It returns "" if none knows any.
func configTool(name, text string) string {
	if tool := ToolOf(name); tool != "" {
		return tool
	}
	best, most := "", 0
	for tool, parse := range configParsers() {
		known := 0
		for line := range strings.Lines(text) {
			if found, err := parse(line); err == nil {
				known += len(found)
			}
		}
		if known > most || known == most && known > 0 && tool < best {
			best, most = tool, known
		}
	}
	return best
}

// configParsers returns the functions that read the lines of configuration files, by tool.
func configParsers() map[string]func(string) ([]setting, error) {
	aria2, curl, wget := aria2Table(), curlTable(), wgetTable()
	return map[string]func(string) ([]setting, error){
		"aria2c": func(line string) ([]setting, error) { return parseAria2Config(&aria2, line) },
		"curl":   func(line string) ([]setting, error) { return parseCurlConfig(&curl, line) },
		"wget":   func(line string) ([]setting, error) { return parseWgetConfig(&wget, line) },
	}
}

// importText returns the text of pawl's configuration file. none is like i, but stays without settings: an
// option of pawl that it has, too, is a default of the tool, and gets no line.
func importText(i, none importer, name, text string, parse func(*table, string) ([]setting, error)) (string, error) {
	x := i.shared()
	var notes []string
	note := func(name, why string) { notes = append(notes, fmt.Sprintf("# %s: %s", name, why)) }
	n, given := 0, make(map[string]bool)
	for line := range strings.Lines(text) {
		n++
		settings, err := parse(&x.tool.options, line)
		if err != nil {
			note(fmt.Sprintf("line %d", n), strings.TrimPrefix(err.Error(), "line 1: "))
		}
		for _, s := range settings {
			s.name, given[s.option.long] = strings.TrimLeft(s.name, "-"), true
			why := s.option.reason
			switch {
			case s.option.verdict != translate && s.off:
				continue
			case s.option.verdict != translate:
			case slices.Contains(strings.Fields(perCommand[x.tool.name]), s.option.long):
				why = "it belongs to a command, such as pawl as " + x.tool.name
			default:
				if err := x.handlers[s.option.long](s); err != nil {
					why = "it " + err.Error()
				}
			}
			if why != "" {
				note(s.name, why)
			}
		}
	}
	if err := i.addCollected(); err != nil {
		return "", err
	}
	i.addImported()
	none.addCollected() // it has no settings that could be wrong
	var b strings.Builder
	fmt.Fprintf(&b, "# From %s\n", strings.Map(visible, name))
	for _, arg := range x.args {
		option, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if long := longNames[arg]; long != "" {
			option = long
		}
		switch {
		case slices.Contains(none.shared().args, arg) && !given[impliedBy[arg]]:
		case hasValue:
			fmt.Fprintf(&b, "%s = %s\n", option, value)
		default:
			fmt.Fprintf(&b, "%s = true\n", option)
		}
	}
	for _, line := range append(notes, commented(x.warnings)...) {
		fmt.Fprintln(&b, line)
	}
	return b.String(), nil
}

// visible replaces control characters.
func visible(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

func commented(lines []string) (all []string) {
	for _, line := range lines {
		all = append(all, "# "+line)
	}
	return all
}
