package aria2rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/aria2"
	"pawl/downloader/queue"
	"pawl/store"
)

// A download is a download that options are applied to.
type download struct {
	spec   queue.Spec
	paused bool
	base   string // URL that relative URLs of a Metalink are relative to; "" for none

	split, perServer int // as given; 0 for not given
}

// An option is the meaning of an option of aria2 for a download.
type option struct {
	set func(d *download, value string) error // the error must not have the value, which may be a secret
	get func(s *queue.Spec) string            // as aria2 shows it; "" for not at all. nil if it must not be shown
}

// options are the options in the table of package aria2 that RPC applies to a download.
var options = map[string]option{
	"dir":                       {func(d *download, v string) error { d.spec.Dir = v; return nil }, func(s *queue.Spec) string { return s.Dir }},
	"out":                       {func(d *download, v string) error { d.spec.Name = v; return nil }, func(s *queue.Spec) string { return s.Name }},
	"split":                     {func(d *download, v string) error { return setCount(&d.split, v) }, connections},
	"max-connection-per-server": {func(d *download, v string) error { return setCount(&d.perServer, v) }, connections},
	"max-download-limit":        {func(d *download, v string) error { return setSize(&d.spec.LimitRate, v) }, func(s *queue.Spec) string { return decimal(s.LimitRate) }},
	"referer":                   {setReferer, func(s *queue.Spec) string { return s.Referer }},
	"user-agent":                {setUserAgent, func(s *queue.Spec) string { return s.UserAgent }},
	"checksum":                  {setSum, sum},
	"header":                    {setHeader, nil},
	"http-no-cache":             {setNoCache, nil},
	"http-user":                 {func(d *download, v string) error { d.spec.User = setUser(d.spec.User, &v, nil); return nil }, nil},
	"http-passwd":               {func(d *download, v string) error { d.spec.User = setUser(d.spec.User, nil, &v); return nil }, nil},
	"allow-overwrite":           {setOverwrite, func(s *queue.Spec) string { return boolText(s.Existing.InTheWay == downloader.Replace) }},
	"auto-file-renaming":        {setRename, func(s *queue.Spec) string { return boolText(s.Existing.InTheWay == downloader.Rename) }},
	"conditional-get":           {setConditional, nil},
	"continue":                  {setContinue, func(s *queue.Spec) string { return boolText(s.Existing.Taking == downloader.TakePartial) }},
	"remove-control-file":       {func(d *download, v string) error { return setBool(&d.spec.Existing.Restart, v) }, nil},
	"pause":                     {func(d *download, v string) error { return setBool(&d.paused, v) }, nil},
	"gid":                       {setGID, nil},
	"metalink-base-uri":         {func(d *download, v string) error { d.base = v; return nil }, nil},
}

// refusals say why an option that the table refuses is an error, and not ignored.
var refusals = map[string]string{
	"load-cookies":    "no file is read over RPC; send the cookies in the option header",
	"all-proxy":       oneProxy,
	"http-proxy":      oneProxy,
	"https-proxy":     oneProxy,
	"dry-run":         "pawl daemon has no dry run",
	"hash-check-only": "pawl verify does that",
}

const oneProxy = "all downloads of pawl daemon have the proxy that it was started with"

// newDownload returns a download with the options that changeGlobalOption has set, and then the options of a call.
func (x *exchange) newDownload(given map[string]json.RawMessage) (download, error) {
	d := download{spec: queue.Spec{Existing: downloader.Existing{InTheWay: downloader.Rename}}} // the default of aria2
	if err := x.apply(&d, x.defaults.all(), aria2.RPCAdd); err != nil {
		return d, err
	}
	err := x.apply(&d, given, aria2.RPCAdd)
	return d, err
}

// apply applies the options of a call to a download, in the order of the table, as far as use allows it.
func (x *exchange) apply(d *download, given map[string]json.RawMessage, use aria2.RPCUse) error {
	x.ignored.note(given, use)
	d.split, d.perServer = 0, 0
	err := eachOption(given, use, func(name, value string) error { return options[name].set(d, value) })
	if err != nil {
		return err
	}
	if n := aria2.Connections(d.split, d.perServer); n > 0 {
		d.spec.Connections = n
	}
	return nil
}

// eachOption calls do with the options that use has, in the order of the table.
func eachOption(given map[string]json.RawMessage, use aria2.RPCUse, do func(name, value string) error) error {
	if len(given) == 0 {
		return nil
	}
	for _, o := range aria2.Options {
		value, isGiven := given[o.Name]
		if !isGiven {
			continue
		}
		v, isValue := optionValue(value, o.Name == "header")
		switch {
		case !isValue:
		case o.RPC == aria2.RPCRefuse && v != "" && v != "false":
			return optionError(o.Name, errors.New(refusals[o.Name]))
		case o.RPC&use != 0:
			if err := do(o.Name, v); err != nil {
				return optionError(o.Name, err)
			}
		}
	}
	return nil
}

// optionError returns an error that begins as aria2's.
func optionError(name string, err error) error {
	return failf("We encountered a problem while processing the option '--%s': %s", name, err)
}

// optionValue returns the value of an option. aria2 wants a text; pawl also takes a number or boolean. A list of lines
// is their text, if there may be several. Other values are ignored: ok is false.
func optionValue(value json.RawMessage, several bool) (v string, ok bool) {
	switch k := kindOf(value); {
	case k == isText:
		return text(value)
	case k == isNumber, string(value) == "true", string(value) == "false":
		return string(value), true
	case k == isList && several:
		if lines, _ := (params{value}).texts(0); len(lines) > 0 {
			return strings.Join(lines, "\n"), true
		}
	}
	return "", false
}

func setBool(to *bool, value string) error {
	if value != "true" && value != "false" && value != "" {
		return errors.New("needs true or false")
	}
	*to = value != "false"
	return nil
}

func setCount(to *int, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return errors.New("needs a number of at least 1")
	}
	*to = n
	return nil
}

// setSize reads a number of bytes, perhaps with one of the units K and M, which are 1024 and 1024² bytes.
func setSize(to *int64, value string) error {
	number, unit := value, int64(1)
	if n := len(value); n > 0 {
		if u, ok := map[byte]int64{'K': 1 << 10, 'k': 1 << 10, 'M': 1 << 20, 'm': 1 << 20}[value[n-1]]; ok {
			number, unit = value[:n-1], u
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return errors.New("needs a number of bytes such as 500K or 10M")
	}
	*to = n * unit
	return nil
}

func setReferer(d *download, value string) error {
	if value == "*" { // stands for the URI itself
		value = ""
	}
	d.spec.Referer = value
	return checkValue(value)
}

func setUserAgent(d *download, value string) error {
	d.spec.UserAgent = value
	return checkValue(value)
}

func checkValue(value string) error {
	if !httpguts.ValidHeaderFieldValue(value) {
		return errors.New("contains a control character")
	}
	return nil
}

func setSum(d *download, value string) (err error) {
	d.spec.Sum = chunk.Sum{}
	if value != "" {
		d.spec.Sum, err = chunk.ParseSum(value)
	}
	return err
}

// sum returns the checksum as aria2 has it, for example "sha-256=…".
func sum(s *queue.Spec) string {
	if s.Sum.IsZero() {
		return ""
	}
	algorithm, digest, _ := strings.Cut(s.Sum.String(), ":")
	if size, ok := strings.CutPrefix(algorithm, "sha"); ok && !strings.HasPrefix(size, "-") {
		algorithm = "sha-" + size
	}
	return algorithm + "=" + digest
}

// setHeader reads lines of the form "Name: value". They replace earlier fields with the same names.
func setHeader(d *download, value string) error {
	given := make(http.Header)
	for line := range strings.Lines(value) {
		line = strings.Trim(line, " \t\r\n")
		if line == "" {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return errors.New("needs lines of the form Name: value")
		}
		given.Add(name, strings.TrimSpace(value))
	}
	if d.spec.Header == nil {
		d.spec.Header = make(http.Header)
	}
	maps.Copy(d.spec.Header, given)
	return nil
}

// setNoCache asks caches on the way not to answer, as aria2 does.
func setNoCache(d *download, value string) error {
	var on bool
	if err := setBool(&on, value); err != nil || !on {
		return err
	}
	return setHeader(d, "Cache-Control: no-cache\nPragma: no-cache")
}

func setOverwrite(d *download, value string) error {
	var on bool
	err := setBool(&on, value)
	if e := &d.spec.Existing; on {
		e.InTheWay = downloader.Replace
	} else if e.InTheWay == downloader.Replace {
		e.InTheWay = downloader.Rename
	}
	return err
}

// setRename does nothing for files that are replaced.
func setRename(d *download, value string) error {
	var on bool
	err := setBool(&on, value)
	if e := &d.spec.Existing; on && e.InTheWay == downloader.Refuse {
		e.InTheWay = downloader.Rename
	} else if !on && e.InTheWay == downloader.Rename {
		e.InTheWay = downloader.Refuse
	}
	return err
}

func setContinue(d *download, value string) error {
	var on bool
	err := setBool(&on, value)
	if e := &d.spec.Existing; on {
		e.Taking = downloader.TakePartial
	} else if e.Taking == downloader.TakePartial {
		e.Taking = downloader.TakeProved
	}
	return err
}

// setConditional takes a file of the same size, and replaces others.
func setConditional(d *download, value string) error {
	var on bool
	err := setBool(&on, value)
	if e := &d.spec.Existing; on {
		e.InTheWay = downloader.Replace
		e.Taking = max(e.Taking, downloader.TakeSameSize)
	}
	return err
}

func setGID(d *download, value string) error {
	id := store.ID(strings.ToLower(value))
	if !id.IsValid() {
		return errors.New("needs 16 hex digits")
	}
	d.spec.ChosenID = id
	return nil
}

func boolText(b bool) string { return strconv.FormatBool(b) }

// connections returns the value of split and of max-connection-per-server.
func connections(s *queue.Spec) string {
	if s.Connections == 0 {
		return ""
	}
	return decimal(s.Connections)
}

// shown returns the options of a download.
func shown(s *queue.Spec) fields {
	f := make(fields)
	for name, o := range options {
		if o.get == nil {
			continue
		}
		if value := o.get(s); value != "" {
			f[name] = value
		}
	}
	return f
}

func getOption(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	return shown(&t.Spec), nil
}

// changeOption changes options of a download. A download that has begun keeps its directory and name.
func changeOption(x *exchange, p params) (any, error) {
	if _, err := p.text(0); err != nil {
		return nil, err
	}
	if _, err := p.at(1, isObject); err != nil {
		return nil, err
	}
	given, err := p.options(1)
	if err != nil {
		return nil, err
	}
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	if t.State.Ended() {
		return nil, failf("Cannot change option for GID#%s", t.ID)
	}
	err = x.queue.Change(t.ID, func(s *queue.Spec) error {
		d := download{spec: *s}
		if err := x.apply(&d, given, aria2.RPCChange); err != nil {
			return err
		}
		*s = d.spec
		return nil
	})
	if err != nil {
		return nil, err
	}
	return success, nil
}

// A set of defaults are options for downloads that are added later. Safe for concurrent use.
type defaults struct {
	mu     sync.Mutex
	values map[string]json.RawMessage // a new map at each change; guarded by mu
}

func (d *defaults) all() map[string]json.RawMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.values
}

func (d *defaults) merge(given map[string]json.RawMessage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	merged := maps.Clone(d.values)
	if merged == nil {
		merged = make(map[string]json.RawMessage)
	}
	maps.Copy(merged, given)
	d.values = merged
}

// getGlobalOption returns the options that new downloads have, and the limits of all.
func getGlobalOption(x *exchange, _ params) (any, error) {
	d, err := x.newDownload(nil)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(d.spec.Dir) {
		d.spec.Dir = filepath.Join(x.queue.Root(), d.spec.Dir)
	}
	f := shown(&d.spec)
	f["max-concurrent-downloads"] = decimal(x.queue.Jobs())
	f["max-overall-download-limit"] = decimal(x.options.LimitRate())
	return f, nil
}

// changeGlobalOption changes the limits of all downloads, and the options of downloads that are added later.
func changeGlobalOption(x *exchange, p params) (any, error) {
	if _, err := p.at(0, isObject); err != nil {
		return nil, err
	}
	given, err := p.options(0)
	if err != nil {
		return nil, err
	}
	x.ignored.note(given, aria2.RPCGlobal)
	var d download
	jobs, rate, changesRate := 0, int64(0), false
	kept := make(map[string]json.RawMessage)
	err = eachOption(given, aria2.RPCGlobal, func(name, value string) error {
		switch name {
		case "max-concurrent-downloads":
			return setCount(&jobs, value)
		case "max-overall-download-limit":
			changesRate = true
			return setSize(&rate, value)
		}
		kept[name] = json.RawMessage(quote(value))
		return options[name].set(&d, value)
	})
	if err == nil && d.spec.Dir != "" {
		err = x.queue.Check(queue.Spec{URLs: []string{"http://localhost/"}, Dir: d.spec.Dir})
	}
	if err != nil {
		return nil, err
	}
	x.defaults.merge(kept)
	if jobs > 0 {
		x.queue.SetJobs(jobs)
	}
	if changesRate {
		x.options.SetLimitRate(rate)
	}
	return success, nil
}

// maxIgnored is the most names that ignored remembers, so that a client cannot fill the memory with them. aria2 has
// 200 options.
const maxIgnored = 1000

// maxIgnoredName is how many bytes of such a name are remembered and logged. Options of aria2 have at most 40.
const maxIgnoredName = 100

// ignored logs the options that are ignored, each once. Safe for concurrent use.
type ignored struct {
	log *slog.Logger

	mu    sync.Mutex
	names map[string]bool // guarded by mu
}

// note logs the given options that use does not have.
func (g *ignored) note(given map[string]json.RawMessage, use aria2.RPCUse) {
	for name := range given {
		if len(name) > maxIgnoredName {
			name = name[:maxIgnoredName]
		}
		o, known := aria2.Lookup(name)
		if known && (o.RPC&use != 0 || o.RPC == aria2.RPCRefuse) || !g.isNew(name) {
			continue
		}
		reason := o.Reason
		switch {
		case !known:
			reason = "aria2 has no such option"
		case o.RPC != 0:
			reason = "it is not possible in this call"
		case reason == "":
			reason = "it is the same for all downloads of pawl daemon"
		}
		g.log.Warn(fmt.Sprintf("aria2 RPC: option %q is ignored: %s", name, reason))
	}
}

// isNew remembers a name, and reports whether it was not known.
func (g *ignored) isNew(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names[name] || len(g.names) >= maxIgnored {
		return false
	}
	if g.names == nil {
		g.names = make(map[string]bool)
	}
	g.names[name] = true
	return true
}
