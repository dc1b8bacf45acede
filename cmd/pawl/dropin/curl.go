package dropin

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// curlTool returns the table of exit codes of curl, from EXIT CODES of curl(1), and of its options.
func curlTool() *tool {
	return &tool{name: "curl", version: curlVersion, options: curlTable(), read: readCurl, other: 56, exits: map[Failure]int{
		UnknownHost: 6, NoConnection: 7, CutBody: 18, BrokenTransfer: 56, WrongUser: 22, NotFound: 22, HTTPError: 22, ServerRefused: 22, Busy: 22,
		WrongProxyUser: 56, CannotCreate: 23, CannotWrite: 23, DiskFull: 23, FileExists: 23, InUse: 23, WrongDigest: 23, Timeout: 28, TooSlow: 28, FileChanged: 33,
		TLSFailure: 35, TooManyHops: 47, BadCertificate: 60, TooLarge: 63, ProtocolError: 8,
	}}
}

// curlTries is --tries without --retry. curl tries once. pawl needs some tries to find out which requests
// a server accepts, and gives up on a dead host after three seconds with this.
const curlTries = 3

// A curl is a command line of curl that is being translated.
type curl struct {
	translator
	outputs    []curlOutput // the n-th one is for the n-th URL
	schemes    []string     // allowed by --proto; nil for all
	dataOption string       // the first option with data, as it was typed
	query      []string     // query strings that are added to each URL
	cookies    []string
	useNetrc   bool
	writeOut   string   // the format of --write-out
	taken      []string // the files of the runs so far
}

// A curlOutput is the output file of a URL: a given name, or the name in the URL (remote).
type curlOutput struct {
	name   string
	remote bool
}

func newCurl(t *tool, env Env) *curl {
	c := &curl{translator: newTranslator(t, env)}
	c.word = func(word string) error { c.urls = append(c.urls, word); return nil }
	c.handlers = c.newHandlers()
	c.keep(`disable remote-name-all output-dir clobber skip-existing remote-header-name continue-at remote-time fail fail-with-body location fail-early silent show-error
		get time-cond speed-limit speed-time globoff proto-default user proxy-user`)
	return c
}

func readCurl(t *tool, args []string, env Env) (Plan, error) {
	c := newCurl(t, env)
	if len(args) == 0 || !strings.HasPrefix(args[0], "-q") && args[0] != "--disable" {
		if err := c.readDefaults(); err != nil {
			return Plan{}, err
		}
	}
	if err := c.parse(args); err != nil {
		return Plan{}, err
	}
	return c.finish()
}

func (c *curl) parse(args []string) error {
	settings, err := c.tool.options.parse(args)
	if err != nil {
		return err
	}
	return c.apply(settings)
}

// readDefaults reads the first of curl's own configuration files.
func (c *curl) readDefaults() error {
	home := c.env.Getenv("HOME")
	for _, file := range []string{path.Join(c.env.Getenv("CURL_HOME"), ".curlrc"), path.Join(c.env.Getenv("XDG_CONFIG_HOME"), "curlrc"), path.Join(home, ".curlrc"), path.Join(home, ".config/curlrc")} {
		if text, err := c.env.ReadFile(file); path.IsAbs(file) && err == nil {
			return c.readDefault(text)
		}
	}
	return nil
}

func (c *curl) readDefault(text []byte) error {
	c.lenient = true
	defer func() { c.lenient = false }()
	settings, err := parseCurlConfig(&c.tool.options, string(text))
	if err != nil {
		c.warn("the user's .curlrc is not read: " + err.Error())
		return nil
	}
	return c.apply(settings)
}

// newHandlers returns the handlers of the options to translate.
func (c *curl) newHandlers() map[string]handler {
	data := func(s setting) error { return c.addData(s, s.value) }
	netrc := func(s setting) error { c.useNetrc = !s.off; return nil }
	return map[string]handler{
		"config": func(s setting) error { return c.applyFile(s.value, parseCurlConfig) }, "url": func(s setting) error { return c.word(s.value) }, "url-query": c.addQuery,
		"output":         func(s setting) error { c.outputs = append(c.outputs, curlOutput{name: s.value}); return nil },
		"remote-name":    func(s setting) error { c.outputs = append(c.outputs, curlOutput{remote: !s.off}); return nil },
		"verbose":        c.toFlag("--verbose"),
		"progress-meter": func(s setting) error { c.quiet = s.off; return nil },
		"version":        func(setting) error { c.text = c.tool.versionText("curl", c.env); return nil },
		"help":           func(setting) error { c.text = c.tool.helpText(); return nil },
		"manual":         func(setting) error { c.text = c.tool.helpText(); return nil },

		"header": c.headerOption, "user-agent": c.userAgent, "referer": c.referer, "cookie": c.cookie,
		"oauth2-bearer": func(s setting) error { c.add("--header", "Authorization: Bearer "+s.value); return nil },
		"netrc":         netrc, "netrc-optional": netrc, "netrc-file": func(s setting) error { c.useNetrc = true; c.set("--netrc-file", s.value); return nil },
		"data": data, "data-ascii": data, "data-binary": data, "data-raw": data, "data-urlencode": c.addEncoded, "request": onlyGet,

		"write-out": c.setWriteOut, "dump-header": func(s setting) error {
			if s.value != "/dev/null" {
				return errors.New("is refused: pawl writes the file and nothing else; see: pawl info URL")
			}
			return nil
		},

		"proxy": c.proxy(""), "socks5": c.proxy("socks5://"), "socks5-hostname": c.proxy("socks5h://"), "noproxy": c.to("--no-proxy"),
		"connect-timeout": c.toConverted(timeout, "--connect-timeout"), "max-time": c.toConverted(seconds, "--deadline"), "retry": c.retry, "retry-delay": c.retryDelay,
		"limit-rate": c.toConverted(size, "--limit-rate"), "rate": c.rate, "max-filesize": c.toConverted(size, "--max-size"),

		"insecure": c.toFlag("--insecure"), "cacert": c.to("--cacert"), "cert": c.certificate, "cert-type": onlyPEM, "key": c.to("--key"), "key-type": onlyPEM,
		"proto": c.protocols, "proto-redir": c.redirectProtocols, "tls-max": c.tlsMax, "ipv4": c.toFlag("-4"), "ipv6": c.toFlag("-6"), "interface": c.bind,
		"resolve": func(s setting) error { c.add("--resolve", s.value); return nil },
	}
}

// headerOption reads "Name: value", "Name;" for an empty value, and @FILE.
func (c *curl) headerOption(s setting) error {
	if name, ok := strings.CutPrefix(s.value, "@"); ok {
		text, err := c.env.ReadFile(name)
		if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				if err := c.header(line); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if strings.HasPrefix(s.value, ":") { // of HTTP/2, in a browser's list of headers
		return nil
	}
	if name, ok := strings.CutSuffix(s.value, ";"); ok && !strings.Contains(name, ":") {
		c.warn(fmt.Sprintf("header field %q is not sent, because it has no value", name))
		return nil
	}
	return c.header(s.value)
}

func (c *curl) userAgent(s setting) error {
	if s.value == "" {
		c.warn("pawl always sends a user agent")
		return nil
	}
	c.set("--user-agent", s.value)
	return nil
}

func (c *curl) referer(s setting) error {
	c.set("--referer", strings.TrimSuffix(s.value, ";auto"))
	return nil
}

// cookie reads "name=value; …", or the name of a file.
func (c *curl) cookie(s setting) error {
	switch {
	case s.value == "" || s.value == "/dev/null": // switches cookies on, which pawl always has
	case !strings.Contains(s.value, "=") && !c.env.Exists(s.value): // the same
	case strings.Contains(s.value, "="):
		c.cookies = append(c.cookies, strings.Trim(s.value, "; "))
	default:
		c.set("--load-cookies", s.value)
	}
	return nil
}

// addData adds data, which can only be sent as a part of the URL; see addCollected.
func (c *curl) addData(s setting, text string) error {
	if c.lenient {
		return errNoData
	}
	if c.dataOption == "" {
		c.dataOption = s.name
	}
	if strings.HasPrefix(text, "@") && s.option.long != "data-raw" && s.option.long != "data-urlencode" {
		content, err := c.env.ReadFile(text[1:])
		if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		text = string(content)
	}
	c.query = append(c.query, text)
	return nil
}

func (c *curl) addEncoded(s setting) error {
	text, err := urlEncoded(s.value)
	if err != nil {
		return err
	}
	return c.addData(s, text)
}

func (c *curl) addQuery(s setting) error {
	if raw, ok := strings.CutPrefix(s.value, "+"); ok {
		c.query = append(c.query, raw)
		return nil
	}
	text, err := urlEncoded(s.value)
	c.query = append(c.query, text)
	return err
}

// urlEncoded reads "content", "=content" and "name=content", and escapes the content.
func urlEncoded(value string) (string, error) {
	name, content, ok := strings.Cut(value, "=")
	if !ok {
		name, content = "", value
	}
	if strings.Contains(name, "@") || !ok && strings.Contains(value, "@") {
		return "", errors.New("needs the text itself, not a file")
	}
	content = strings.ReplaceAll(url.QueryEscape(content), "+", "%20")
	if name != "" {
		return name + "=" + content, nil
	}
	return content, nil
}

// setWriteOut reads a format, or "@" and the name of a file with it.
func (c *curl) setWriteOut(s setting) error {
	format := s.value
	if name, ok := strings.CutPrefix(format, "@"); ok {
		text, err := c.env.ReadFile(name)
		if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		format = string(text)
	}
	c.writeOut = format
	return checkWriteOut(format)
}

func onlyGet(s setting) error {
	if !strings.EqualFold(s.value, "GET") {
		return errors.New("is refused: pawl sends GET requests only")
	}
	return nil
}

// proxy returns the handler of an option for a proxy without a scheme of its own.
func (c *curl) proxy(scheme string) handler {
	return func(s setting) error {
		value := s.value
		if value != "" && !strings.Contains(value, "://") {
			value = scheme + value
		}
		if strings.HasPrefix(value, "socks4") || strings.HasPrefix(value, "socks://") {
			return errors.New("is refused: pawl has only proxies of http, https, socks5 and socks5h")
		}
		c.proxies["all"] = value
		return nil
	}
}

func (c *curl) retry(s setting) error {
	n, err := count(s.value)
	return c.setChecked("--tries", strconv.Itoa(max(n+1, curlTries)), err)
}

// retryDelay reads the wait between tries, 0 for the usual one.
func (c *curl) retryDelay(s setting) error {
	d, err := seconds(s.value)
	c.unset("--retry-wait")
	c.unset("--retry-max-wait")
	if err == nil && d != "0s" {
		c.set("--retry-wait", d)
		c.set("--retry-max-wait", d)
	}
	return err
}

// rate reads requests per second, minute, hour or day, such as 2/s.
func (c *curl) rate(s setting) error {
	number, unit, _ := strings.Cut(s.value, "/")
	n, err := strconv.ParseFloat(number, 64)
	minutes := map[string]float64{"s": 60, "m": 1, "h": 1.0 / 60, "d": 1.0 / 1440, "": 1.0 / 60}[unit]
	if err != nil || n <= 0 || minutes == 0 {
		return errors.New("needs a number of requests such as 2/s or 30/m")
	}
	c.set("--max-request-rate", strconv.FormatFloat(n*minutes, 'f', -1, 64)+"/m")
	return nil
}

func (c *curl) certificate(s setting) error {
	file, _, hasPass := strings.Cut(s.value, ":")
	if hasPass && !c.env.Exists(s.value) {
		return errors.New("is refused: pawl cannot decrypt the key of a certificate")
	}
	if !hasPass {
		file = s.value
	}
	c.set("--cert", file)
	return nil
}

func onlyPEM(s setting) error {
	if !strings.EqualFold(s.value, "PEM") {
		return errors.New("is refused: pawl reads PEM only")
	}
	return nil
}

// allowedSchemes reads the argument of --proto: which of http and https it allows.
func allowedSchemes(value string) (allowed []string) {
	has := map[string]bool{"http": true, "https": true}
	for i, part := range strings.Split(strings.ToLower(value), ",") {
		name := strings.TrimLeft(part, "=+-")
		on := !strings.HasPrefix(part, "-")
		if strings.HasPrefix(part, "=") || i == 0 && name == part {
			clear(has)
		}
		for _, scheme := range []string{"http", "https"} {
			if name == scheme || name == "all" {
				has[scheme] = on
			}
		}
	}
	for _, scheme := range []string{"http", "https"} {
		if has[scheme] {
			allowed = append(allowed, scheme)
		}
	}
	return allowed
}

func (c *curl) protocols(s setting) error {
	if c.schemes = allowedSchemes(s.value); len(c.schemes) == 0 {
		return errors.New("is refused: pawl downloads over HTTP and HTTPS only")
	}
	if !c.has("--proto") {
		c.set("--proto", strings.Join(c.schemes, ","))
	}
	return nil
}

func (c *curl) redirectProtocols(s setting) error {
	allowed := allowedSchemes(s.value)
	if len(allowed) == 0 {
		return errors.New("is refused: pawl follows redirects to HTTP and HTTPS only")
	}
	c.set("--proto", strings.Join(allowed, ","))
	return nil
}

func (c *curl) tlsMax(s setting) error {
	if s.value != "default" && s.value != "1.3" {
		return errors.New("is refused: pawl uses the newest TLS that the server has")
	}
	return nil
}

func (c *curl) bind(s setting) error {
	c.set("--interface", strings.TrimPrefix(strings.TrimPrefix(s.value, "if!"), "host!"))
	return nil
}

// finish returns the plan for the whole command line.
func (c *curl) finish() (Plan, error) {
	if c.text != "" {
		return c.plan(), nil
	}
	if err := c.addCollected(); err != nil {
		return Plan{}, err
	}
	if !c.has("--tries") {
		c.set("--tries", strconv.Itoa(curlTries))
	}
	if len(c.urls) == 0 {
		return Plan{}, errors.New("no URL is given")
	}
	if len(c.outputs) > len(c.urls) {
		c.warn("there are more names than URLs")
	}
	plan := c.plan()
	plan.Silent, plan.FailEarly = c.on("silent") && !c.on("show-error"), c.on("fail-early")
	for i, u := range c.urls {
		if err := c.checkScheme(u); err != nil {
			return Plan{}, err
		}
		urls, err := c.expand(u)
		if err != nil {
			return Plan{}, err
		}
		for _, u := range urls {
			to, err := c.outputOf(i, len(urls))
			if err != nil {
				return Plan{}, err
			}
			if run, ok := c.run(u, to); ok {
				run.WriteOut = c.writeOut
				plan.Runs = append(plan.Runs, run)
			}
		}
	}
	if file := c.value("time-cond"); file != "" && !slices.Contains(c.taken, file) {
		return Plan{}, errors.New(`option "--time-cond" is refused: pawl compares the file on the server with the one that it replaces only`)
	}
	plan.Warnings = c.warnings
	return plan, nil
}

// errNoData is why data is refused.
var errNoData = errors.New("is refused: pawl only downloads, and sends no data")

// addCollected adds the options of pawl that stand for several ones of curl.
func (c *curl) addCollected() error {
	if c.dataOption != "" && !c.on("get") {
		return fmt.Errorf("option %q %w", c.dataOption, errNoData)
	}
	if at := c.value("continue-at"); at != "" && at != "-" && at != "0" {
		return errors.New(`option "-C" needs "-": pawl decides itself where a download goes on`)
	}
	scheme := cmp.Or(c.value("proto-default"), "http")
	for i, word := range c.urls {
		u, err := checkURL(word, scheme)
		if err != nil {
			return err
		}
		c.urls[i] = withQuery(u, c.query)
	}
	if len(c.cookies) > 0 {
		c.add("--header", "Cookie: "+strings.Join(c.cookies, "; "))
	}
	if err := c.addMinRate(); err != nil {
		return err
	}
	c.flag("--no-remote-time", !c.on("remote-time"))
	c.flag("--no-netrc", !c.useNetrc)
	c.flag("--quiet", c.on("silent"))
	if user := c.value("user"); user != "" {
		c.set("--user", user)
	}
	user, password, _ := strings.Cut(c.value("proxy-user"), ":")
	return c.addProxy(user, password)
}

// addMinRate adds the lowest rate, which curl has by default for 30 seconds.
func (c *curl) addMinRate() error {
	if c.value("speed-limit", "speed-time") == "" {
		return nil
	}
	rate, err := size(cmp.Or(c.value("speed-limit"), "1"))
	if err != nil {
		return fmt.Errorf(`option "--speed-limit" %w`, err)
	}
	span, err := seconds(cmp.Or(c.value("speed-time"), "30"))
	if err != nil {
		return fmt.Errorf(`option "--speed-time" %w`, err)
	}
	if rate != "" && span != "0s" {
		c.set("--min-rate", rate+":"+span)
	}
	return nil
}

// withQuery adds data to the query of a URL.
func withQuery(u string, data []string) string {
	if len(data) == 0 {
		return u
	}
	u, fragment, _ := strings.Cut(u, "#")
	separator := "?"
	if strings.Contains(u, "?") {
		separator = "&"
	}
	if u += separator + strings.Join(data, "&"); fragment != "" {
		u += "#" + fragment
	}
	return u
}

func (c *curl) checkScheme(u string) error {
	scheme, _, _ := strings.Cut(strings.ToLower(u), "://")
	if c.schemes != nil && !slices.Contains(c.schemes, scheme) {
		return fmt.Errorf("a URL of %q is refused by --proto", scheme)
	}
	return nil
}

// expand returns the URLs that a URL with patterns stands for.
func (c *curl) expand(u string) ([]string, error) {
	if c.on("globoff") {
		return []string{u}, nil
	}
	urls, err := c.env.Expand(u)
	if err != nil {
		return nil, fmt.Errorf("%w; --globoff takes the URL literally", err)
	}
	return urls, nil
}

// outputOf returns where the files of the n-th URL go, of which there are several if it has patterns.
func (c *curl) outputOf(n, files int) (curlOutput, error) {
	to := curlOutput{name: "-"}
	if c.on("remote-name-all") {
		to = curlOutput{remote: true}
	}
	if n < len(c.outputs) {
		to = c.outputs[n]
	}
	if !to.remote && to.name == "" {
		to.name = "-"
	}
	if files > 1 && !to.remote && streamName(to.name) != "-" && to.name != "/dev/null" {
		return to, errors.New("one name for all files of a pattern is refused; name them after their URLs with --remote-name")
	}
	return to, nil
}

// run returns the run that downloads a URL. It reports false for a file that is there already and that
// --skip-existing keeps.
func (c *curl) run(u string, to curlOutput) (Run, bool) {
	name := streamName(to.name)
	if to.remote {
		segment, _ := lastSegment(u)
		name = plainName(segment, "curl_response")
	}
	if name == "-" {
		return c.get("", "-", u), true
	}
	dir, keeps, resumes := c.value("output-dir"), c.off("clobber"), c.value("continue-at") == "-"
	file := name
	if !path.IsAbs(name) {
		file = path.Join(dir, name)
	}
	exists := func(file string) bool { return c.env.Exists(file) || slices.Contains(c.taken, file) }
	switch {
	case c.on("skip-existing") && exists(file):
		c.warn(fmt.Sprintf("file %q exists, and is kept", file))
		return Run{}, false
	case keeps:
		free := unused(file, 1, exists)
		name += strings.TrimPrefix(free, file)
		file = free
	}
	c.taken = append(c.taken, file)
	if to.remote && c.on("remote-header-name") {
		name = ""
	}
	run := c.get(dir, name, u)
	run.File = file
	flags := []string{"--overwrite"}
	if keeps {
		flags = []string{"--auto-rename"}
	}
	if resumes || c.value("time-cond") == file {
		flags = append(flags, "--adopt")
	}
	if resumes {
		flags = append(flags, "--continue")
	}
	run.Args = slices.Insert(run.Args, 1, flags...)
	return run, true
}
