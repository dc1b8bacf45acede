package dropin

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"pawl/downloader/aria2"
)

// aria2Tool returns the exit codes of aria2, from EXIT STATUS of aria2c(1), and its options.
func aria2Tool() *tool {
	return &tool{name: "aria2c", version: "1.37.0", options: aria2Table(), read: readAria2, other: 1, exits: map[Failure]int{
		Timeout: 2, NotFound: 3, ServerRefused: 3, TooSlow: 5, BrokenTransfer: 6, NoConnection: 1, TLSFailure: 1, BadCertificate: 1, Interrupted: 7, FileChanged: 8, DiskFull: 9, InUse: 11,
		FileExists: 13, CannotCreate: 16, CannotWrite: 17, UnknownHost: 19, HTTPError: 22, ProtocolError: 22, CutBody: 22, TooManyHops: 23,
		WrongUser: 24, WrongProxyUser: 24, Busy: 29, WrongDigest: 32,
	}}
}

// aria2Table makes the table of package aria2 one of this package.
func aria2Table() table {
	t := table{switches: true, abbreviates: true}
	arguments := map[aria2.Argument]argument{aria2.None: none, aria2.Optional: optional, aria2.Bool: boolean, aria2.Value: required}
	verdicts := map[aria2.Verdict]verdict{aria2.Translate: translate, aria2.Ignore: ignore, aria2.Drop: drop, aria2.Refuse: refuse}
	for _, o := range aria2.Options {
		t.all = append(t.all, option{o.Name, o.Short, arguments[o.Argument], verdicts[o.Verdict], o.Reason})
	}
	return t
}

// aria2Tries is --tries without the option, the default of aria2.
const aria2Tries = "5"

// An aria2Line is a command line of aria2c that is being translated.
type aria2Line struct {
	translator
	lists, metalinks []string // of --input-file, --metalink-file
}

func newAria2(t *tool, env Env) *aria2Line {
	a := &aria2Line{translator: newTranslator(t, env)}
	a.word = a.addWord
	a.handlers = a.newHandlers()
	a.keep(`no-conf conf-path dir out checksum metalink-base-uri save-session force-sequential parameterized-uri allow-overwrite auto-file-renaming continue conditional-get
		remote-time dry-run max-concurrent-downloads split max-connection-per-server http-user http-passwd quiet
		http-proxy-user http-proxy-passwd https-proxy-user https-proxy-passwd all-proxy-user all-proxy-passwd`)
	return a
}

func readAria2(t *tool, args []string, env Env) (Plan, error) {
	a := newAria2(t, env)
	settings, err := t.options.parse(args)
	if err != nil {
		return Plan{}, err
	}
	if err := a.readConfig(settings); err != nil {
		return Plan{}, err
	}
	if err := a.apply(settings); err != nil {
		return Plan{}, err
	}
	return a.finish()
}

// readConfig reads aria2.conf, unless --no-conf is given. A file of --conf-path must be there.
func (a *aria2Line) readConfig(settings []setting) error {
	file, named := "", false
	for _, s := range settings {
		switch {
		case s.option == nil:
		case s.option.long == "no-conf" && !s.off:
			return nil
		case s.option.long == "conf-path":
			file, named = s.value, true
		}
	}
	files := []string{file}
	if !named {
		home := a.env.Getenv("HOME")
		files = []string{path.Join(home, ".aria2/aria2.conf"), path.Join(a.env.Getenv("XDG_CONFIG_HOME"), "aria2/aria2.conf"), path.Join(home, ".config/aria2/aria2.conf")}
	}
	for _, file := range files {
		text, err := a.env.ReadFile(file)
		if named && err != nil {
			return fmt.Errorf("aria2.conf cannot be read: %w", err)
		}
		if err != nil || !named && !path.IsAbs(file) {
			continue
		}
		found, err := parseAria2Config(&a.tool.options, string(text))
		if err != nil {
			return fmt.Errorf("%q: %w", file, err)
		}
		a.lenient = !named
		defer func() { a.lenient = false }()
		return a.apply(found)
	}
	return nil
}

// addWord adds a URL, or the name of a metalink.
func (a *aria2Line) addWord(word string) error {
	lower := strings.ToLower(word)
	if !strings.Contains(word, "://") && !strings.HasPrefix(lower, "magnet:") {
		switch {
		case strings.HasSuffix(lower, ".torrent"):
			return errors.New("a torrent is refused: pawl downloads over HTTP and HTTPS only, not over BitTorrent")
		case strings.HasSuffix(lower, ".metalink"), strings.HasSuffix(lower, ".meta4"):
			a.metalinks = append(a.metalinks, word)
			return nil
		}
		return errors.New("a word is no URL of http or https")
	}
	u, err := checkURL(word, "")
	a.urls = append(a.urls, u)
	return err
}

func (a *aria2Line) newHandlers() map[string]handler {
	toList := func(l *[]string) handler { return func(s setting) error { *l = append(*l, s.value); return nil } }
	toProxy := func(scheme string) handler { return func(s setting) error { a.proxies[scheme] = s.value; return nil } }
	return map[string]handler{
		"version":    func(setting) error { a.text = a.tool.versionText("aria2 version", a.env); return nil },
		"help":       func(setting) error { a.text = a.tool.helpText(); return nil },
		"input-file": toList(&a.lists), "metalink-file": toList(&a.metalinks), "remove-control-file": a.toFlag("--restart"),

		"timeout": a.toConverted(timeout, "--stall-timeout"), "connect-timeout": a.toConverted(timeout, "--connect-timeout"),
		"max-tries": a.toTries(0), "retry-wait": a.retryWait, "stop": a.stop, "lowest-speed-limit": a.toConverted(size, "--min-rate"),
		"max-overall-download-limit": a.toConverted(size, "--limit-rate"), "max-download-limit": a.limitOne,

		"header": func(s setting) error { return a.header(s.value) }, "referer": a.referer, "user-agent": a.to("--user-agent"),
		"http-no-cache": func(s setting) error { a.noCache(!s.off); return nil },
		"load-cookies":  a.to("--load-cookies"), "netrc-path": a.to("--netrc-file"), "no-netrc": a.toFlag("--no-netrc"),
		"certificate": a.to("--cert"), "private-key": a.to("--key"), "ca-certificate": a.to("--cacert"), "check-certificate": a.toNoFlag("--insecure"), "min-tls-version": minTLS,
		"http-proxy": toProxy("http"), "https-proxy": toProxy("https"), "all-proxy": toProxy("all"), "no-proxy": a.to("--no-proxy"),
		"interface": a.to("--interface"), "disable-ipv6": a.toFlag("-4"),

		"show-console-readout": func(s setting) error { a.quiet = s.off; return nil },
		"on-download-complete": a.hook("--on-complete"), "on-download-error": a.hook("--on-error"),
	}
}

// retryWait reads the wait between tries, which does not grow in aria2.
func (a *aria2Line) retryWait(s setting) error {
	d, err := seconds(s.value)
	if err != nil {
		return err
	}
	a.set("--retry-wait", d)
	a.unset("--retry-max-wait")
	if d != "0s" {
		a.set("--retry-max-wait", d)
	}
	return nil
}

// stop reads after how many seconds the run ends, 0 for never.
func (a *aria2Line) stop(s setting) error {
	d, err := seconds(s.value)
	a.unset("--deadline")
	if err == nil && d != "0s" {
		a.set("--deadline", d)
	}
	return err
}

// limitOne reads the rate of each download. pawl has one rate for all together, so a limit of all wins.
func (a *aria2Line) limitOne(s setting) error {
	rate, err := size(s.value)
	if rate != "" && !a.has("--limit-rate") {
		a.set("--limit-rate", rate)
		a.warn(fmt.Sprintf("option %q limits all downloads together", s.name))
	}
	return err
}

// referer reads a URL; "*" is the URL of each file.
func (a *aria2Line) referer(s setting) error {
	if s.value == "*" {
		a.warn(`referer "*" is not sent`)
		return nil
	}
	a.set("--referer", s.value)
	return nil
}

func minTLS(s setting) error {
	if s.value == "TLSv1.3" {
		return errors.New("is refused: pawl accepts TLS 1.2, too")
	}
	return nil
}

// hook returns a handler for a command that aria2 runs with three arguments: an ID, the number of files,
// and the path of the first one.
func (a *aria2Line) hook(name string) handler {
	return func(s setting) error {
		a.unset(name)
		if s.value != "" {
			command := "'" + strings.ReplaceAll(s.value, "'", `'\''`) + "'"
			a.add(name, command+` "$PAWL_FILE_ID" 1 "$1"`)
		}
		return nil
	}
}

// finish returns the plan for the whole command line.
func (a *aria2Line) finish() (Plan, error) {
	if a.text != "" {
		return a.plan(), nil
	}
	if len(a.urls)+len(a.lists)+len(a.metalinks) == 0 {
		return Plan{}, errors.New("no URL is given")
	}
	if err := a.addCollected(); err != nil {
		return Plan{}, err
	}
	if !a.has("--tries") {
		a.set("--tries", aria2Tries)
	}
	var runs []Run
	for _, list := range a.lists {
		runs = append(runs, a.mirror(list, "aria2"))
	}
	for _, list := range a.metalinks {
		runs = append(runs, a.mirror(list, "metalink"))
	}
	own, err := a.ownRuns()
	if err != nil {
		return Plan{}, err
	}
	plan := a.plan()
	plan.Runs, plan.Silent = append(runs, own...), a.on("quiet")
	return plan, nil
}

// addCollected adds the options of pawl that stand for several ones of aria2.
func (a *aria2Line) addCollected() error {
	if err := a.addNumbers(); err != nil {
		return err
	}
	resumes, refreshes, overwrites := a.on("continue"), a.on("conditional-get"), a.on("allow-overwrite")
	a.flag("--no-remote-time", !a.on("remote-time"))
	a.flag("--overwrite", overwrites || refreshes)
	a.flag("--continue", resumes)
	a.flag("--adopt", resumes || refreshes)
	a.flag("--auto-rename", !a.off("auto-file-renaming") && !overwrites && !refreshes)
	a.quiet = a.quiet || a.on("quiet")
	a.addUser(a.value("http-user"), a.value("http-passwd"))
	return a.addProxy(a.value("all-proxy-user", "http-proxy-user", "https-proxy-user"), a.value("all-proxy-passwd", "http-proxy-passwd", "https-proxy-passwd"))
}

// addNumbers adds the numbers of files and connections.
func (a *aria2Line) addNumbers() error {
	numbers := make(map[string]int)
	for _, name := range []string{"max-concurrent-downloads", "split", "max-connection-per-server"} {
		s, given := a.kept[name]
		if !given {
			continue
		}
		n, err := count(s.value)
		if err != nil || n == 0 {
			return fmt.Errorf("option %q needs a number of at least 1", s.name)
		}
		numbers[name] = n
	}
	if n := aria2.Connections(numbers["split"], numbers["max-connection-per-server"]); n > 0 {
		a.set("--connections", strconv.Itoa(n))
	}
	return nil
}

// ownRuns returns the run for the URLs on the command line: mirrors of one file, or with
// --force-sequential a file each.
func (a *aria2Line) ownRuns() ([]Run, error) {
	if a.on("parameterized-uri") {
		var all []string
		for _, u := range a.urls {
			urls, err := a.env.Expand(u)
			if err != nil {
				return nil, err
			}
			all = append(all, urls...)
		}
		a.urls = all
	}
	switch {
	case len(a.urls) == 0:
		return nil, nil
	case a.on("dry-run"):
		return []Run{{Args: slices.Concat([]string{"info"}, a.args, []string{"--", a.urls[0]})}}, nil
	}
	for _, u := range a.urls {
		if segment, _ := lastSegment(u); strings.HasSuffix(strings.ToLower(segment), ".torrent") {
			a.warn("only the torrent itself is downloaded, not its files")
		}
	}
	if jobs := a.value("max-concurrent-downloads"); jobs != "" {
		a.set("--jobs", jobs)
	}
	dir := a.value("dir")
	if a.on("force-sequential") && len(a.urls) > 1 {
		return []Run{a.get(dir, "", a.urls...)}, nil
	}
	if sum := a.value("checksum"); sum != "" {
		a.set("--checksum", sum)
	}
	for _, u := range a.urls[1:] {
		a.add("--mirror", u)
	}
	out := a.value("out")
	if out == "" {
		return []Run{a.get(dir, "", a.urls[0])}, nil
	}
	out = path.Join(orDot(dir), out) // "/x" and "-" are names in the directory, too
	if !path.IsAbs(out) {
		out = "./" + out
	}
	return []Run{a.get("", out, a.urls[0])}, nil
}

// mirror returns the run for a list of files.
func (a *aria2Line) mirror(list, format string) Run {
	args := slices.Concat([]string{"mirror"}, a.args, []string{"--dir=" + orDot(a.value("dir")), "--format=" + format, "--rounds=1"})
	if slices.ContainsFunc(a.args, func(arg string) bool { return strings.HasPrefix(arg, "--header=") || strings.HasPrefix(arg, "--user=") }) {
		args = append(args, "--headers-everywhere") // as aria2 does
	}
	if a.quiet {
		args = append(args, "--no-progress")
	}
	if a.on("dry-run") {
		args = append(args, "--dry-run")
	}
	options := []struct{ pawl, value string }{{"--jobs", a.value("max-concurrent-downloads")}, {"--failed", a.value("save-session")}}
	if format == "metalink" {
		options = append(options, struct{ pawl, value string }{"--base", a.value("metalink-base-uri")})
	}
	for _, o := range options {
		if o.value != "" {
			args = append(args, o.pawl+"="+o.value)
		}
	}
	return Run{Args: append(args, "--", list)}
}
