package dropin

import (
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
		UnknownProxy: 5, UnknownHost: 6, NoConnection: 7, CutBody: 18, BrokenTransfer: 56, WrongUser: 22, NotFound: 22, HTTPError: 22, ServerRefused: 22, Busy: 22,
		WrongProxyUser: 56, CannotCreate: 23, CannotWrite: 23, DiskFull: 23, FileExists: 23, InUse: 23, WrongDigest: 23, Timeout: 28, TooSlow: 28, FileChanged: 33,
		TLSFailure: 35, TooManyHops: 47, BadCertificate: 60, TooLarge: 63, ProtocolError: 8,
	}}
}

// curlTries is --tries without --retry. curl tries once. pawl needs some tries to find out what a
// server can do, and gives up on a dead host after three seconds with this.
const curlTries = 3

// A curl is a command line of curl that is being translated.
type curl struct {
	transfer
	outputs              []curlOutput // the n-th one is for the n-th URL
	dir                  string
	allRemote, byServer  bool // --remote-name-all, --remote-header-name
	silent, showError    bool
	literal              bool // --globoff
	resumes, remoteTime  bool
	keeps, skips         bool // --no-clobber, --skip-existing
	failEarly            bool
	useNetrc             bool
	scheme               string   // of a URL without one
	schemes              []string // allowed by --proto; nil for all
	dataOption           string   // the first option with data, as it was typed
	query                []string // what is added to each URL
	getData              bool     // --get: the data is a part of the URL
	cookies              []string
	ifNewer              string // the argument of --time-cond
	minRate, minRateTime string
	configs              int // files of --config that are being read, one within the other
}

// A curlOutput says where a file goes: to a name, or to that of the URL.
type curlOutput struct {
	name   string
	remote bool
}

func newCurl(t *tool, env Env) *curl {
	c := &curl{transfer: newTransfer(t, env), scheme: "http"}
	c.word = func(word string) error { c.urls = append(c.urls, word); return nil }
	c.handlers = c.newHandlers()
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

// maxConfigs is how deep files of --config may name each other, so that a file that names itself ends.
const maxConfigs = 5

func (c *curl) readConfig(s setting) error {
	if c.configs++; c.configs > maxConfigs {
		return errors.New("names itself")
	}
	defer func() { c.configs-- }()
	text, err := c.env.ReadFile(s.value)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	settings, err := parseCurlConfig(&c.tool.options, string(text))
	if err != nil {
		return fmt.Errorf("names a faulty file: %w", err)
	}
	return c.apply(settings)
}

// newHandlers returns the handlers of the options to translate.
func (c *curl) newHandlers() map[string]handler {
	toBool := func(b *bool) handler { return func(s setting) error { *b = !s.off; return nil } }
	toText := func(t *string) handler { return func(s setting) error { *t = s.value; return nil } }
	data := func(s setting) error { return c.addData(s, s.value) }
	nothing := func(setting) error { return nil }
	return map[string]handler{
		"config": c.readConfig, "disable": nothing, "url": func(s setting) error { return c.word(s.value) },
		"output":          func(s setting) error { c.outputs = append(c.outputs, curlOutput{name: s.value}); return nil },
		"remote-name":     func(s setting) error { c.outputs = append(c.outputs, curlOutput{remote: !s.off}); return nil },
		"remote-name-all": toBool(&c.allRemote), "remote-header-name": toBool(&c.byServer), "output-dir": toText(&c.dir),
		"url-query": func(s setting) error { return c.addQuery(s.value) },
		"clobber":   func(s setting) error { c.keeps = s.off; return nil }, "skip-existing": toBool(&c.skips),
		"continue-at": c.continueAt, "remote-time": toBool(&c.remoteTime),
		"fail": nothing, "fail-with-body": nothing, "location": nothing, "fail-early": toBool(&c.failEarly),
		"silent": toBool(&c.silent), "show-error": toBool(&c.showError), "verbose": c.toFlag("--verbose"),
		"progress-meter": func(s setting) error { c.quiet = s.off; return nil },
		"version":        func(setting) error { c.text = c.tool.versionText("curl", c.env); return nil },
		"help":           func(setting) error { c.text = c.tool.helpText(); return nil },
		"manual":         func(setting) error { c.text = c.tool.helpText(); return nil },

		"header": c.headerOption, "user-agent": c.userAgent, "referer": func(s setting) error {
			c.set("--referer", strings.TrimSuffix(s.value, ";auto"))
			return nil
		},
		"cookie": c.cookie, "user": c.to("--user"), "oauth2-bearer": func(s setting) error {
			c.add("--header", "Authorization: Bearer "+s.value)
			return nil
		},
		"netrc": toBool(&c.useNetrc), "netrc-optional": toBool(&c.useNetrc),
		"netrc-file": func(s setting) error { c.useNetrc = true; c.set("--netrc-file", s.value); return nil },

		"data": data, "data-ascii": data, "data-binary": data, "data-raw": data, "data-urlencode": func(s setting) error {
			text, err := urlEncoded(s.value)
			if err != nil {
				return err
			}
			return c.addData(s, text)
		},
		"get": toBool(&c.getData), "request": c.request, "time-cond": toText(&c.ifNewer),

		"proxy": c.proxy(""), "socks5": c.proxy("socks5://"), "socks5-hostname": c.proxy("socks5h://"), "proxy-user": c.proxyCredentials, "noproxy": c.to("--no-proxy"),
		"connect-timeout": c.toConverted(timeout, "--connect-timeout"), "max-time": c.toConverted(seconds, "--deadline"),
		"retry": c.retry, "retry-delay": c.retryDelay, "speed-limit": toText(&c.minRate), "speed-time": toText(&c.minRateTime),
		"limit-rate": c.toConverted(size, "--limit-rate"), "rate": c.rate, "max-filesize": c.toConverted(size, "--max-size"),

		"insecure": c.toFlag("--insecure"), "cacert": c.to("--cacert"), "cert": c.certificate, "cert-type": onlyPEM, "key": c.to("--key"), "key-type": onlyPEM,
		"proto": c.protocols, "proto-redir": c.redirectProtocols, "proto-default": c.defaultScheme, "tls-max": c.tlsMax,
		"ipv4": c.toFlag("-4"), "ipv6": c.toFlag("-6"), "interface": c.bind, "resolve": func(s setting) error {
			c.add("--resolve", strings.TrimPrefix(s.value, "+"))
			return nil
		}, "globoff": toBool(&c.literal),
	}
}

func (c *curl) continueAt(s setting) error {
	switch s.value {
	case "-":
		c.resumes = true
	case "0":
		c.resumes = false
	default:
		return errors.New(`needs "-": pawl decides itself where a download goes on`)
	}
	return nil
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

// cookie reads "name=value; …", or the name of a file.
func (c *curl) cookie(s setting) error {
	switch {
	case s.value == "" || s.value == "/dev/null": // switches cookies on, which pawl always has
	case strings.Contains(s.value, "="):
		c.cookies = append(c.cookies, strings.Trim(s.value, "; "))
	default:
		c.set("--load-cookies", s.value)
	}
	return nil
}

func (c *curl) addData(s setting, text string) error {
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

func (c *curl) addQuery(value string) error {
	if raw, ok := strings.CutPrefix(value, "+"); ok {
		c.query = append(c.query, raw)
		return nil
	}
	text, err := urlEncoded(value)
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

func (c *curl) request(s setting) error {
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

func (c *curl) proxyCredentials(s setting) error {
	c.proxyUser, c.proxyPassword, _ = strings.Cut(s.value, ":")
	return nil
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

func (c *curl) defaultScheme(s setting) error {
	if s.value != "http" && s.value != "https" {
		return errors.New("is refused: pawl downloads over HTTP and HTTPS only")
	}
	c.scheme = s.value
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
	plan.Silent, plan.FailEarly = c.silent && !c.showError, c.failEarly
	var taken []string
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
			if run, ok := c.run(u, to, &taken); ok {
				plan.Runs = append(plan.Runs, run)
			}
		}
	}
	if c.ifNewer != "" && !slices.Contains(taken, c.ifNewer) {
		return Plan{}, errors.New(`option "--time-cond" is refused: pawl compares the file on the server with the one that it replaces only`)
	}
	plan.Warnings = c.warnings
	return plan, nil
}

// addCollected adds the options of pawl that stand for several ones of curl.
func (c *curl) addCollected() error {
	if c.dataOption != "" && !c.getData {
		return fmt.Errorf("option %q is refused: pawl only downloads, and sends no data", c.dataOption)
	}
	for i, word := range c.urls {
		u, err := checkURL(word, c.scheme)
		if err != nil {
			return err
		}
		c.urls[i] = withQuery(u, c.query)
	}
	if len(c.cookies) > 0 {
		c.add("--header", "Cookie: "+strings.Join(c.cookies, "; "))
	}
	if c.minRate != "" || c.minRateTime != "" {
		rate, err := size(c.minRate + map[bool]string{true: "1"}[c.minRate == ""])
		if err != nil {
			return fmt.Errorf(`option "--speed-limit" %w`, err)
		}
		span, err := seconds(c.minRateTime + map[bool]string{true: "30"}[c.minRateTime == ""])
		if err != nil {
			return fmt.Errorf(`option "--speed-time" %w`, err)
		}
		if rate != "" && span != "0s" {
			c.set("--min-rate", rate+":"+span)
		}
	}
	c.flag("--no-remote-time", !c.remoteTime)
	c.flag("--no-netrc", !c.useNetrc)
	c.flag("--quiet", c.silent)
	return c.credentials()
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
	if c.literal {
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
	if c.allRemote {
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
// --skip-existing keeps. taken are the names of the runs before it.
func (c *curl) run(u string, to curlOutput, taken *[]string) (Run, bool) {
	name := streamName(to.name)
	if to.remote {
		segment, _ := lastSegment(u)
		name = plainName(segment, "curl_response")
	}
	if name == "-" {
		return c.get("", "-", u), true
	}
	file := name
	if !path.IsAbs(name) {
		file = path.Join(c.dir, name)
	}
	exists := func(file string) bool { return c.env.Exists(file) || slices.Contains(*taken, file) }
	switch {
	case c.skips && exists(file):
		c.warn(fmt.Sprintf("file %q exists, and is kept", file))
		return Run{}, false
	case c.keeps:
		free := unused(file, 1, exists)
		name += strings.TrimPrefix(free, file)
		file = free
	}
	*taken = append(*taken, file)
	if to.remote && c.byServer {
		name = ""
	}
	run := c.get(c.dir, name, u)
	flags := []string{"--overwrite"}
	if c.keeps {
		flags = []string{"--auto-rename"}
	}
	if c.resumes || c.ifNewer != "" && c.ifNewer == file {
		flags = append(flags, "--adopt")
	}
	if c.resumes {
		flags = append(flags, "--continue")
	}
	run.Args = slices.Insert(run.Args, 1, flags...)
	return run, true
}
