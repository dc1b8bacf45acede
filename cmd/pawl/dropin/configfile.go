package dropin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// blanks separate the words of configuration files.
const blanks = " \t\r"

// parseLines reads a configuration file: parse reads a line without the blanks around it. Empty lines and comments are
// left out.
func parseLines(text string, parse func(line string) ([]setting, error)) (all []setting, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.Trim(line, blanks+"\n")
		if line == "" || line[0] == '#' {
			continue
		}
		found, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseCurlConfig reads a configuration file of curl: a line has the name of an option, with or without
// dashes, and its value behind blanks, "=" or ":". A value may be quoted.
func parseCurlConfig(t *table, text string) ([]setting, error) {
	return parseLines(text, func(line string) ([]setting, error) { return parseCurlLine(t, line) })
}

func parseCurlLine(t *table, line string) ([]setting, error) {
	at := strings.IndexAny(line, blanks+"=:")
	if line[0] == ':' {
		at = 1
	}
	name, value := line, ""
	if at >= 0 {
		name, value = line[:at], strings.TrimLeft(line[at:], blanks)
		if strings.HasPrefix(value, "=") || strings.HasPrefix(value, ":") {
			value = strings.TrimLeft(value[1:], blanks)
		}
	}
	if !strings.HasPrefix(name, "-") {
		name = "--" + name
	}
	given := value != ""
	value, err := curlValue(value)
	if err != nil {
		return nil, fmt.Errorf("the value of %q %w", name, err)
	}
	args := []string{name}
	o, _, _ := t.byName(strings.TrimPrefix(name, "--"))
	if strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "--") && len(name) > 1 {
		o = t.byLetter(name[len(name)-1])
	}
	if o != nil && o.argument == required && given {
		args = append(args, value)
	}
	all, err := t.parse(args)
	isWord := func(s setting) bool { return s.option == nil }
	if err == nil && (len(all) == 0 || slices.ContainsFunc(all, isWord)) {
		err = fmt.Errorf("%q is not an option", name)
	}
	return all, err
}

// curlValue reads a value: up to the next blank, or in double quotes with escapes.
func curlValue(text string) (string, error) {
	if !strings.HasPrefix(text, `"`) {
		value, _, _ := strings.Cut(text, " ")
		return value, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), nil
		case c == '\\' && i+1 < len(text):
			i++
			c = text[i]
			if at := strings.IndexByte("tnrv", c); at >= 0 {
				c = "\t\n\r\v"[at]
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("has no closing quote")
}

// parseAria2Config reads aria2.conf: lines of name=value.
func parseAria2Config(t *table, text string) ([]setting, error) {
	return parseLines(text, func(line string) ([]setting, error) {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, errors.New("not of the form name=value")
		}
		s, err := t.setting(strings.Trim(name, blanks), strings.Trim(value, blanks))
		return []setting{s}, err
	})
}

// setting returns the setting of a whole name and its value, as in a configuration file.
func (t *table) setting(name, value string) (s setting, err error) {
	s = setting{option: t.exact(name), name: "--" + name, value: value}
	switch {
	case s.option == nil:
		return s, t.unknown(s.name)
	case s.option.argument == boolean && value != "":
		err = s.switchTo(value)
	}
	return s, err
}

// parseWgetConfig reads .wgetrc: lines of name = value. In a name, case, "-" and "_" do not count.
func parseWgetConfig(t *table, text string) ([]setting, error) {
	return parseLines(text, func(line string) ([]setting, error) {
		s, err := parseWgetCommand(t, line)
		return []setting{s}, err
	})
}

// wgetCommands are the names of .wgetrc whose option has another name on the command line.
var wgetCommands = map[string]string{
	"addhostdir": "host-directories", "dirprefix": "directory-prefix", "dirstruct": "force-directories", "htmlextension": "adjust-extension",
	"httppasswd": "http-password", "input": "input-file", "logfile": "output-file", "login": "ftp-user", "netrc": "netrc", "passwd": "ftp-password", "ftppasswd": "ftp-password",
	"proxypasswd": "proxy-password", "reclevel": "level", "useproxy": "proxy", "useragent": "user-agent", "dotbytes": "progress", "dotsinline": "progress",
	"dotspacing": "progress", "dotstyle": "progress", "base": "base", "simplehostcheck": "ignore-case", "numtries": "tries", "removelisting": "remove-listing",
	"robots": "robots", "httpproxy": "http-proxy", "httpsproxy": "https-proxy", "ftpproxy": "ftp-proxy", "noproxy": "no-proxy-hosts", "noclobber": "no-clobber-command", "noparent": "no-parent-command",
	"dnscache": "dns-cache", "verbose": "verbose", "showprogress": "show-progress", "cutdirs": "cut-dirs",
}

// parseWgetCommand reads one line of .wgetrc, which may also be the argument of --execute.
func parseWgetCommand(t *table, line string) (setting, error) {
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.Trim(name, blanks), strings.Trim(value, blanks)
	if !ok || name == "" {
		return setting{}, fmt.Errorf("not of the form name = value")
	}
	if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		value = value[1 : len(value)-1]
	}
	plain := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
	long := wgetCommands[plain]
	for _, o := range t.all {
		if long == "" && strings.ReplaceAll(o.long, "-", "") == plain {
			long = o.long
		}
	}
	if long == "" {
		return setting{}, fmt.Errorf("there is no command %q", name)
	}
	s, err := t.setting(long, value)
	s.name = name
	return s, err
}
