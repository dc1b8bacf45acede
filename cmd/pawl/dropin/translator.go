package dropin

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A handler translates a setting. Its error follows the name of the option in a message, for
// example "needs a number".
type handler func(s setting) error

// A translator translates one command line. It has the state and the options that all tools have in
// common; the type of each tool embeds it.
type translator struct {
	tool     *tool
	env      Env
	handlers map[string]handler // by the long names of the options to translate
	word     func(word string) error

	args     []string // options of pawl, each "--name" or "--name=value"
	warnings []string
	urls     []string
	text     string // see Plan.Text
	depth    int    // of files of settings that are being read, one within the other
	quiet    bool   // print no progress

	kept    map[string]setting // the options of keep, by their long names: the last setting counts
	proxies map[string]string  // by scheme of the URL, or "all"; "" is no proxy

	// lenient means that refused options only cause a warning. It is set while a configuration file is
	// read that the command line does not name, because that was not written for this run.
	lenient bool
}

func newTranslator(t *tool, env Env) translator {
	return translator{tool: t, env: env, kept: make(map[string]setting), proxies: make(map[string]string)}
}

// keep adds handlers that only store options in kept, because their translation depends on other options
// or on the URLs. The names are separated by blanks.
func (x *translator) keep(names string) {
	for name := range strings.FieldsSeq(names) {
		x.handlers[name] = func(s setting) error { x.kept[name] = s; return nil }
	}
}

// on reports whether a boolean was switched on. Its default is off.
func (x *translator) on(name string) bool {
	s, given := x.kept[name]
	return given && !s.off
}

// off reports whether a boolean was switched off. Its default is on.
func (x *translator) off(name string) bool { return x.kept[name].off }

// value returns the value of the first of the options that was given, or "".
func (x *translator) value(names ...string) string {
	for _, name := range names {
		if s, given := x.kept[name]; given {
			return s.value
		}
	}
	return ""
}

// apply translates settings in their order.
func (x *translator) apply(settings []setting) error {
	for _, s := range settings {
		if s.option == nil {
			if err := x.word(s.value); err != nil {
				return err
			}
			continue
		}
		err := x.applyOne(s)
		if err != nil && !x.lenient {
			return err
		}
		if err != nil {
			x.warn(err.Error())
		}
	}
	return nil
}

func (x *translator) applyOne(s setting) error {
	switch s.option.verdict {
	case drop:
		if !s.off {
			x.warn(fmt.Sprintf("option %q has no effect: %s", s.name, s.option.reason))
		}
	case refuse:
		if !s.off {
			return fmt.Errorf("option %q is refused: %s", s.name, s.option.reason)
		}
	case translate:
		if err := x.handlers[s.option.long](s); err != nil {
			return fmt.Errorf("option %q %w", s.name, err)
		}
	}
	return nil
}

// maxDepth is how deep files of settings may name each other, so that a file that names itself ends.
const maxDepth = 5

// applyFile translates the settings in a file that an option names.
func (x *translator) applyFile(name string, parse func(*table, string) ([]setting, error)) error {
	if x.depth++; x.depth > maxDepth {
		return errors.New("names itself")
	}
	defer func() { x.depth-- }()
	text, err := x.env.ReadFile(name)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	settings, err := parse(&x.tool.options, string(text))
	if err != nil {
		return fmt.Errorf("names a faulty file: %w", err)
	}
	return x.apply(settings)
}

// warn adds a warning, once.
func (x *translator) warn(text string) {
	if !slices.Contains(x.warnings, text) {
		x.warnings = append(x.warnings, text)
	}
}

// set replaces an option of pawl, so that the last one counts.
func (x *translator) set(name, value string) {
	x.unset(name)
	x.add(name, value)
}

// add adds an option of pawl that may be repeated.
func (x *translator) add(name, value string) { x.args = append(x.args, name+"="+value) }

// unset removes an option of pawl.
func (x *translator) unset(name string) {
	x.args = slices.DeleteFunc(x.args, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") })
}

// flag switches an option of pawl on or off.
func (x *translator) flag(name string, on bool) {
	x.unset(name)
	if on {
		x.args = append(x.args, name)
	}
}

// has reports whether an option of pawl is set.
func (x *translator) has(name string) bool {
	return slices.ContainsFunc(x.args, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") })
}

// to returns a handler for an option of pawl with the same value.
func (x *translator) to(name string) handler {
	return func(s setting) error { x.set(name, s.value); return nil }
}

// toFlag returns a handler for an option of pawl without a value.
func (x *translator) toFlag(name string) handler {
	return func(s setting) error { x.flag(name, !s.off); return nil }
}

// toNoFlag is toFlag for an option that means the opposite.
func (x *translator) toNoFlag(name string) handler {
	return func(s setting) error { x.flag(name, s.off); return nil }
}

// toConverted returns a handler for options of pawl whose value read returns. The value "" unsets them.
func (x *translator) toConverted(read func(string) (string, error), names ...string) handler {
	return func(s setting) error {
		value, err := read(s.value)
		for _, name := range names {
			x.unset(name)
			if err == nil && value != "" {
				x.add(name, value)
			}
		}
		return err
	}
}

// toTries returns a handler for --tries. extra is 1 if the tool counts the repetitions alone. 0 means
// no limit if extra is 0.
func (x *translator) toTries(extra int) handler {
	return func(s setting) error {
		n, err := count(s.value)
		if s.value == "inf" {
			n, err = 0, nil
		}
		return x.setChecked("--tries", strconv.Itoa(n+extra), err)
	}
}

// toConnections reads the most connections per host.
func (x *translator) toConnections(s setting) error {
	n, err := count(s.value)
	if err == nil && n == 0 {
		err = errors.New("needs a number of at least 1")
	}
	return x.setChecked("--connections", strconv.Itoa(n), err)
}

// setChecked sets an option of pawl if its value could be read without an error, and returns that.
func (x *translator) setChecked(name, value string, err error) error {
	if err == nil {
		x.set(name, value)
	}
	return err
}

// droppedHeaders are header fields that pawl must send itself: they select a part of the file, a coding
// or a connection. Browsers write them into their "copy as cURL".
var droppedHeaders = []string{"accept-encoding", "connection", "content-length", "expect", "if-match", "if-modified-since", "if-none-match",
	"if-range", "if-unmodified-since", "keep-alive", "proxy-connection", "range", "te", "transfer-encoding", "upgrade"}

// header adds a header field. The text must not be in an error.
func (x *translator) header(text string) error {
	name, value, ok := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	switch lower := strings.ToLower(name); {
	case !ok || name == "":
		return errors.New(`needs a header field such as "Name: value"`)
	case slices.Contains(droppedHeaders, lower):
		if lower != "accept-encoding" {
			x.warn(fmt.Sprintf("header field %q is not sent: pawl sets it itself", name))
		}
	case strings.TrimSpace(value) == "": // in curl and wget, it removes a default
		x.warn(fmt.Sprintf("header field %q is not sent, because it has no value", name))
	default:
		x.add("--header", name+": "+strings.TrimSpace(value))
	}
	return nil
}

// noCache asks caches for the server's own file.
func (x *translator) noCache(on bool) {
	if !on {
		return
	}
	x.add("--header", "Cache-Control: no-cache")
	x.add("--header", "Pragma: no-cache")
}

// checkURL returns the URL that a word stands for. The error must not contain the word.
func checkURL(word, scheme string) (string, error) {
	if strings.TrimSpace(word) == "" {
		return "", errors.New("a URL is empty")
	}
	before, _, ok := strings.Cut(word, "://")
	if strings.HasPrefix(strings.ToLower(word), "magnet:") {
		before, ok = "magnet", true
	}
	if !ok {
		if strings.HasPrefix(strings.ToLower(word), "ftp.") {
			before = "ftp"
		} else {
			before, word = scheme, scheme+"://"+word
		}
	}
	switch strings.ToLower(before) {
	case "http", "https":
		return word, nil
	case "magnet":
		return "", errors.New("a magnet link is refused: pawl downloads over HTTP and HTTPS only, not over BitTorrent")
	}
	if strings.Trim(strings.ToLower(before), "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return "", errors.New("a word is no URL of http or https")
	}
	return "", fmt.Errorf("a URL of %q is refused: pawl downloads over HTTP and HTTPS only", before)
}

// addUser adds user and password. An empty password is one, so that pawl does not ask for it.
func (x *translator) addUser(user, password string) {
	if user != "" {
		x.set("--user", user+":"+password)
	}
}

// addProxy adds the proxy for the schemes of the URLs, with a user if there is one. pawl has one proxy for
// all of them.
func (x *translator) addProxy(user, password string) error {
	if len(x.proxies) == 0 {
		return nil
	}
	var wanted []string
	for _, scheme := range []string{"http", "https"} {
		used := len(x.urls) == 0 || slices.ContainsFunc(x.urls, func(u string) bool { return strings.HasPrefix(strings.ToLower(u), scheme+"://") })
		proxy, given := x.proxies[scheme]
		if !given {
			proxy, given = x.proxies["all"]
		}
		if used && given && !slices.Contains(wanted, proxy) {
			wanted = append(wanted, proxy)
		}
	}
	switch {
	case len(wanted) > 1:
		return errors.New("different proxies for http and https are refused: give them as http_proxy and https_proxy in the environment")
	case len(wanted) == 0:
		return nil
	case wanted[0] == "":
		x.set("--no-proxy", "*")
		return nil
	}
	proxy := wanted[0]
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	if user != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return errors.New("the proxy is no URL")
		}
		u.User = url.UserPassword(user, password)
		proxy = u.String()
	}
	x.set("--proxy", proxy)
	return nil
}

// plan returns a Plan without runs.
func (x *translator) plan() Plan {
	return Plan{Warnings: x.warnings, Text: x.text}
}

// get returns a run that downloads the URLs: to a file if there is one URL and output is not empty,
// else into the directory.
func (x *translator) get(dir, output string, urls ...string) Run {
	args := append([]string{"get"}, x.args...)
	if x.quiet {
		args = append(args, "--no-progress")
	}
	args = append(args, "--dir="+orDot(dir), "--no-glob")
	if output != "" {
		args = append(args, "--output="+output)
	}
	return Run{Args: append(append(args, "--"), urls...), Stream: output == "-"}
}

// orDot returns a directory, or the working directory for "".
func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// streamName returns "-" for the names of standard output, and other names as they are.
func streamName(name string) string {
	if slices.Contains([]string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, name) {
		return "-"
	}
	return name
}

// lastSegment returns the part of a URL's path behind its last slash, as it is spelled, and the query.
func lastSegment(u string) (segment, query string) {
	_, rest, _ := strings.Cut(u, "://")
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ = strings.Cut(rest, "?")
	if !strings.Contains(rest, "/") {
		return "", query
	}
	return rest[strings.LastIndexByte(rest, '/')+1:], query
}

// decoded returns a segment of a URL without escapes, if these are valid.
func decoded(segment string) string {
	if text, err := url.PathUnescape(segment); err == nil {
		return text
	}
	return segment
}

// plainName returns a name for a file in one directory: without slashes and control characters, or
// fallback if nothing is left.
func plainName(name, fallback string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '/' {
			return '_'
		}
		return r
	}, name)
	if name == "" || name == "." || name == ".." || name == "_" {
		return fallback
	}
	return name
}

// unused returns name, or name with the first number of numbers behind it that no file has.
func unused(name string, first int, exists func(string) bool) string {
	if !exists(name) {
		return name
	}
	for n := first; ; n++ {
		if numbered := name + "." + strconv.Itoa(n); !exists(numbered) {
			return numbered
		}
	}
}
