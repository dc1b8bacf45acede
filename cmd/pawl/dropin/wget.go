package dropin

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// wgetTool returns the exit codes of wget, from EXIT STATUS of wget(1), and its options.
func wgetTool() *tool {
	return &tool{name: "wget", version: wgetVersion, options: wgetTable(), read: readWget, other: 1, exits: map[Failure]int{
		CannotCreate: 3, CannotWrite: 3, DiskFull: 3, FileExists: 3, InUse: 3,
		UnknownHost: 4, NoConnection: 4, BrokenTransfer: 4, CutBody: 4, Timeout: 4, TooSlow: 4,
		TLSFailure: 5, BadCertificate: 5, WrongUser: 6, WrongProxyUser: 6, ProtocolError: 7,
		NotFound: 8, HTTPError: 8, ServerRefused: 8, Busy: 8, TooManyHops: 8,
	}}
}

// wgetTries is --tries without the option. wget tries 20 times, but a server that it cannot reach only
// once; pawl gives up on such a server after 15 seconds with this.
const wgetTries = "5"

// A wget is a command line of wget that is being translated.
type wget struct {
	translator
	lists   []string // of --input-file
	silent  bool     // print no errors
	keeps   bool     // --no-clobber
	noHost  bool     // --no-host-directories
	tree    bool     // --force-directories
	cutDirs int
	taken   []string // the files of the runs so far
}

func newWget(t *tool, env Env) *wget {
	w := &wget{translator: newTranslator(t, env)}
	w.word = func(word string) error { w.urls = append(w.urls, word); return nil }
	w.handlers = w.newHandlers()
	w.keep(`no-config debug show-progress spider base output-document continue timestamping user password http-user http-password http-passwd ask-password
		proxy-user proxy-password proxy-passwd http-proxy-user http-proxy-password directory-prefix protocol-directories default-page content-disposition https-only`)
	return w
}

func readWget(t *tool, args []string, env Env) (Plan, error) {
	w := newWget(t, env)
	settings, err := t.options.parse(args)
	if err != nil {
		return Plan{}, err
	}
	named := func(name string) func(setting) bool {
		return func(s setting) bool { return s.option != nil && s.option.long == name }
	}
	if !slices.ContainsFunc(settings, named("no-config")) && !slices.ContainsFunc(settings, named("config")) {
		w.readDefaults()
	}
	if err := w.apply(settings); err != nil {
		return Plan{}, err
	}
	return w.finish()
}

// readDefaults reads wget's own configuration files: the system's and the user's.
func (w *wget) readDefaults() {
	own := w.env.Getenv("WGETRC")
	if own == "" {
		own = path.Join(w.env.Getenv("HOME"), ".wgetrc")
	}
	w.lenient = true
	defer func() { w.lenient = false }()
	for _, file := range []string{"/etc/wgetrc", own} {
		text, err := w.env.ReadFile(file)
		if !path.IsAbs(file) || err != nil {
			continue
		}
		settings, err := parseWgetConfig(&w.tool.options, string(text))
		if err != nil {
			w.warn(fmt.Sprintf("%q is not read: %s", file, err))
			continue
		}
		w.apply(settings) // it is lenient, so there is no error
	}
}

func (w *wget) newHandlers() map[string]handler {
	toBool := func(b *bool) handler { return func(s setting) error { *b = !s.off; return nil } }
	toNoBool := func(b *bool) handler { return func(s setting) error { *b = s.off; return nil } }
	toProxy := func(scheme string) handler { return func(s setting) error { w.proxies[scheme] = s.value; return nil } }
	return map[string]handler{
		"": w.pair, "execute": w.execute, "config": func(s setting) error { return w.applyFile(s.value, parseWgetConfig) },
		"version": func(setting) error { w.text = w.tool.versionText("GNU Wget", w.env); return nil },
		"help":    func(setting) error { w.text = w.tool.helpText(); return nil },

		"quiet": toBool(&w.silent), "verbose": toNoBool(&w.quiet), "output-file": w.logFile, "append-output": w.logFile,
		"server-response": w.toFlag("--verbose"), "input-file": func(s setting) error { w.lists = append(w.lists, s.value); return nil },
		"clobber": toNoBool(&w.keeps), "no-clobber-command": toBool(&w.keeps), "use-server-timestamps": w.toNoFlag("--no-remote-time"),

		"tries": w.toTries(0), "timeout": w.toConverted(timeout, "--connect-timeout", "--stall-timeout"), "connect-timeout": w.toConverted(timeout, "--connect-timeout"),
		"read-timeout": w.toConverted(timeout, "--stall-timeout"), "waitretry": w.waitRetry, "limit-rate": w.toConverted(size, "--limit-rate"),
		"inet4-only": w.toFlag("-4"), "inet6-only": w.toFlag("-6"), "bind-address": w.to("--interface"),
		"proxy": w.useProxy, "http-proxy": toProxy("http"), "https-proxy": toProxy("https"), "no-proxy-hosts": w.to("--no-proxy"),

		"netrc": w.toNoFlag("--no-netrc"), "netrc-file": w.to("--netrc-file"), "load-cookies": w.to("--load-cookies"), "header": w.headerOption,
		"cache": func(s setting) error { w.noCache(s.off); return nil }, "referer": w.to("--referer"), "user-agent": w.to("--user-agent"), "method": onlyGet,

		"force-directories": toBool(&w.tree), "directories": func(s setting) error { w.tree = w.tree && !s.off; return nil }, "host-directories": toNoBool(&w.noHost),
		"cut-dirs": func(s setting) (err error) { w.cutDirs, err = count(s.value); return err },

		"secure-protocol": w.secureProtocol, "check-certificate": w.toNoFlag("--insecure"), "check-hostname": w.toNoFlag("--insecure"),
		"certificate": w.to("--cert"), "certificate-type": onlyPEM, "private-key": w.to("--key"), "private-key-type": onlyPEM, "ca-certificate": w.to("--cacert"),
	}
}

// headerOption adds a header field. An empty one removes those before it.
func (w *wget) headerOption(s setting) error {
	if s.value == "" {
		w.unset("--header")
		return nil
	}
	return w.header(s.value)
}

// pair reads -nc, -nd, -nH, -np and -nv. Several letters may follow the n.
func (w *wget) pair(s setting) error {
	for _, letter := range s.value {
		switch letter {
		case 'c':
			w.keeps = true
		case 'v':
			w.quiet = true
		case 'H':
			w.noHost = true
		case 'd':
			w.tree = false
		case 'p': // matters only if links are followed
		default:
			return fmt.Errorf("has no letter %q; it may be -nc, -nd, -nH, -np or -nv", letter)
		}
	}
	return nil
}

// execute reads a command of .wgetrc.
func (w *wget) execute(s setting) error {
	command, err := parseWgetCommand(&w.tool.options, s.value)
	if err != nil {
		return err
	}
	return w.apply([]setting{command})
}

func (w *wget) logFile(s setting) error {
	switch s.value {
	case "-":
	case "/dev/null":
		w.silent = true
	default:
		w.warn(fmt.Sprintf("option %q has no effect: pawl writes no log; redirect standard error", s.name))
	}
	return nil
}

// waitRetry reads the longest wait between tries. wget increases it by a second each time.
func (w *wget) waitRetry(s setting) error {
	d, err := seconds(s.value)
	if err != nil {
		return err
	}
	w.unset("--retry-max-wait")
	w.set("--retry-wait", d)
	if d != "0s" {
		w.set("--retry-wait", "1s")
		w.set("--retry-max-wait", d)
	}
	return nil
}

func (w *wget) useProxy(s setting) error {
	w.unset("--no-proxy")
	if s.off {
		w.set("--no-proxy", "*")
	}
	return nil
}

func (w *wget) secureProtocol(s setting) error {
	if !slices.Contains([]string{"", "auto", "tlsv1", "tlsv1_1", "tlsv1_2"}, strings.ToLower(s.value)) {
		return errors.New("is refused: pawl accepts TLS 1.2 and newer, and cannot be restricted further")
	}
	return nil
}

// finish returns the plan for the whole command line.
func (w *wget) finish() (Plan, error) {
	if w.text != "" {
		return w.plan(), nil
	}
	for _, name := range w.lists {
		if err := w.readList(name); err != nil {
			return Plan{}, err
		}
	}
	if len(w.urls) == 0 {
		return Plan{}, errors.New("no URL is given")
	}
	for i, word := range w.urls {
		u, err := checkURL(word, "http")
		if err != nil {
			return Plan{}, err
		}
		if w.on("https-only") && !strings.HasPrefix(strings.ToLower(u), "https://") {
			return Plan{}, errors.New("a URL of \"http\" is refused by --https-only")
		}
		w.urls[i] = u
	}
	if err := w.addCollected(); err != nil {
		return Plan{}, err
	}
	if !w.has("--tries") {
		w.set("--tries", wgetTries)
	}
	if to := w.value("output-document"); len(w.urls) > 1 && to != "" && streamName(to) != "-" && to != "/dev/null" {
		return Plan{}, errors.New(`option "-O" is refused for several URLs: pawl does not put files into one another`)
	}
	plan := w.plan()
	plan.Silent = w.silent && !w.on("debug") && !w.on("show-progress")
	for _, u := range w.urls {
		if run, ok := w.run(u); ok {
			plan.Runs = append(plan.Runs, run)
		}
	}
	plan.Warnings = w.warnings
	return plan, nil
}

// readList adds the URLs in a list: a URL a line.
func (w *wget) readList(name string) error {
	if strings.Contains(name, "://") {
		return errors.New("a list from a URL is refused; see: pawl mirror URL")
	}
	text, err := w.env.ReadFile(name)
	if err != nil {
		return fmt.Errorf("the list of URLs cannot be read: %w", err)
	}
	base, err := url.Parse(w.value("base"))
	if err != nil {
		return errors.New(`option "--base" needs a URL`)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '<' {
			return errors.New("a web page as a list is refused; for a directory of a server: pawl mirror URL/")
		}
		if w.value("base") != "" && !strings.Contains(line, "://") {
			u, err := base.Parse(line)
			if err != nil {
				return errors.New("a line of the list is no URL")
			}
			line = u.String()
		}
		w.urls = append(w.urls, line)
	}
	return nil
}

// addCollected adds the options of pawl that stand for several ones of wget.
func (w *wget) addCollected() error {
	user, password := w.value("http-user", "user"), w.value("http-password", "http-passwd", "password")
	switch asks := w.on("ask-password"); {
	case asks && user == "":
		return errors.New(`option "--ask-password" needs --user`)
	case asks:
		w.set("--user", user)
	default:
		w.addUser(user, password)
	}
	if w.on("https-only") {
		w.set("--proto", "https")
	}
	proxyUser := w.value("proxy-user", "http-proxy-user")
	if proxyUser != "" && len(w.proxies) == 0 {
		w.proxiesFromEnvironment()
	}
	w.quiet = !w.on("show-progress") && (w.quiet || w.silent || w.off("show-progress"))
	return w.addProxy(proxyUser, w.value("proxy-password", "proxy-passwd", "http-proxy-password"))
}

// proxiesFromEnvironment takes the proxies to which a user and a password belong.
func (w *wget) proxiesFromEnvironment() {
	for _, scheme := range []string{"http", "https"} {
		for _, name := range []string{scheme + "_proxy", "all_proxy"} {
			if proxy := w.env.Getenv(name); proxy != "" {
				w.proxies[scheme] = proxy
				break
			}
		}
	}
}

// run returns the run that downloads a URL. It reports false for a file that is there already and is
// kept.
func (w *wget) run(u string) (Run, bool) {
	if w.on("spider") {
		return Run{Args: slices.Concat([]string{"info"}, w.args, []string{"--", u})}, true
	}
	output := streamName(w.value("output-document"))
	if output == "-" {
		return w.get("", "-", u), true
	}
	dir, name := w.value("directory-prefix"), w.name(u)
	if output != "" { // and then the directory does not count
		dir, name = "", output
	}
	file := name
	if !path.IsAbs(name) {
		file = path.Join(dir, name)
	}
	exists := func(file string) bool { return w.env.Exists(file) || slices.Contains(w.taken, file) }
	var flags []string
	switch {
	case w.keeps && exists(file):
		w.warn(fmt.Sprintf("file %q is there already, and is kept", file))
		return Run{}, false
	case w.on("continue"):
		flags = []string{"--continue", "--adopt"}
	case w.on("timestamping"):
		flags = []string{"--adopt", "--overwrite"}
	case output != "", w.tree:
		flags = []string{"--overwrite"}
	default:
		free := unused(file, 1, exists)
		name += strings.TrimPrefix(free, file)
		file = free
	}
	w.taken = append(w.taken, file)
	if w.on("content-disposition") && output == "" {
		name = ""
		flags = append(flags, "--auto-rename")
	}
	run := w.get(dir, name, u)
	run.Args = slices.Insert(run.Args, 1, flags...)
	return run, true
}

// name returns the path at which wget puts the file of a URL, below its directory.
func (w *wget) name(u string) string {
	segment, query := lastSegment(u)
	name := plainName(decoded(segment), cmp.Or(w.value("default-page"), "index.html"))
	if query != "" {
		name += "?" + plainName(strings.ReplaceAll(decoded(query), "/", "%2F"), "")
	}
	if !w.tree {
		return name
	}
	scheme, rest, _ := strings.Cut(u, "://")
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	host, dirs, _ := strings.Cut(rest, "/")
	var parts []string
	if w.on("protocol-directories") {
		parts = append(parts, strings.ToLower(scheme))
	}
	if !w.noHost {
		host = host[strings.LastIndexByte(host, '@')+1:]
		parts = append(parts, plainName(strings.ToLower(host), "host"))
	}
	dirs = strings.Trim(dirs[:strings.LastIndexByte("/"+dirs, '/')], "/")
	for i, dir := range strings.FieldsFunc(dirs, func(r rune) bool { return r == '/' }) {
		if i >= w.cutDirs {
			parts = append(parts, plainName(decoded(dir), "_"))
		}
	}
	return path.Join(append(parts, name)...)
}
