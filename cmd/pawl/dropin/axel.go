package dropin

import (
	"cmp"
	"errors"
	"fmt"
)

// axelVersion is the version of axel whose options axelOptions has.
const axelVersion = "2.17.14"

// axelTool returns the exit codes of axel, from EXIT STATUS of axel(1), and its options.
func axelTool() *tool {
	return &tool{name: "axel", version: axelVersion, options: table{abbreviates: true, all: optionsOf(axelOptions...)}, read: readAxel, other: 1, exits: map[Failure]int{Interrupted: 2}}
}

var axelOptions = []group{
	{translate, "", "s/max-speed= n/num-connections= o/output= 4/ipv4! 6/ipv6! H/header= U/user-agent= N/no-proxy! k/insecure! c/no-clobber! q/quiet! v/verbose! h/help! T/timeout= V/version!"},
	{ignore, "pawl decides itself how it connects", "max-redirect="},
	{ignore, "it changes only what axel prints", "a/alternate! p/percentage!"},
	{refuse, "pawl searches for no mirrors; name them as further URLs", "S/search[=]"},
}

// axelTries is --tries. axel gives up at once on a server that it cannot reach.
const axelTries = "3"

// An axel is a command line of axel that is being translated.
type axel struct {
	translator
}

func newAxel(t *tool, env Env) *axel {
	a := &axel{translator: newTranslator(t, env)}
	a.word = func(word string) error {
		u, err := checkURL(word, "http")
		a.urls = append(a.urls, u)
		return err
	}
	a.handlers = map[string]handler{
		"max-speed": a.toConverted(size, "--limit-rate"), "num-connections": a.toConnections,
		"ipv4": a.toFlag("-4"), "ipv6": a.toFlag("-6"), "header": func(s setting) error { return a.header(s.value) }, "user-agent": a.to("--user-agent"),
		"no-proxy": func(setting) error { a.set("--no-proxy", "*"); return nil }, "insecure": a.toFlag("--insecure"),
		"quiet": a.toFlag("--quiet"), "verbose": a.toFlag("--verbose"),
		"timeout": a.toConverted(timeout, "--connect-timeout", "--stall-timeout"),
		"help":    func(setting) error { a.text = t.helpText(); return nil },
		"version": func(setting) error { a.text = t.versionText("Axel", env); return nil },
	}
	a.keep("output no-clobber")
	return a
}

func readAxel(t *tool, args []string, env Env) (Plan, error) {
	a := newAxel(t, env)
	settings, err := t.options.parse(args)
	if err != nil {
		return Plan{}, err
	}
	if err := a.apply(settings); err != nil {
		return Plan{}, err
	}
	return a.finish()
}

func (a *axel) finish() (Plan, error) {
	if a.text != "" {
		return a.plan(), nil
	}
	if len(a.urls) == 0 {
		return Plan{}, errors.New("no URL is given")
	}
	a.set("--tries", axelTries)
	a.flag("--no-remote-time", true)
	a.flag("--no-netrc", true)
	for _, u := range a.urls[1:] {
		a.add("--mirror", u)
	}
	segment, _ := lastSegment(a.urls[0])
	file := plainName(decoded(segment), "default")
	output := a.value("output")
	file = cmp.Or(output, file)
	switch {
	case a.on("no-clobber") && a.env.Exists(file):
		a.warn(fmt.Sprintf("file %q is there already, and is kept", file))
		return a.plan(), nil
	case output == "-":
		output = "./-"
	case output == "" && (segment == "" || a.env.Exists(file)): // else the server may name the file
		output = unused(file, 0, a.env.Exists)
	}
	plan := a.plan()
	plan.Runs = []Run{a.get("", output, a.urls[0])}
	return plan, nil
}
