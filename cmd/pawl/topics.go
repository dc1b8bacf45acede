package main

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// helpFiles holds the text of each help topic as help/NAME.txt: plain text of at most 80
// columns.
//
//go:embed help/*.txt
var helpFiles embed.FS

// A helpTopic is a page of reference that "pawl help NAME" prints.
type helpTopic struct {
	name  string
	about string // the subject, in one short line
}

// helpTopics are all topics, in the order of the help page.
var helpTopics = []helpTopic{
	{"report", "output, --report, --json, hooks"},
	{"formats", "lists, names of files, pruning"},
	{"config", "settings, credentials, proxies, addresses, times, state"},
	{"security", "what is checked, who gets your headers, limits"},
	{"as", "command lines and settings of aria2c, curl, wget, axel"},
	{"daemon", "the queue, its page, aria2's RPC, systemd, other machines"},
	{"api", "requests and events of the daemon"},
	{"fleet", "one list on many machines: the queue, workers, limits"},
	{"exit-codes", "what they mean, what is resumable, signals"},
	{"examples", "command lines for common tasks"},
}

// topicOverview returns the lines of the help page that name the topics.
func topicOverview() string {
	var b strings.Builder
	b.WriteString("Reference (see \"pawl help TOPIC\"):\n")
	for _, t := range helpTopics {
		fmt.Fprintf(&b, "  %-20s  %s\n", t.name, t.about)
	}
	fmt.Fprintf(&b, "  %-20s  %s\n", manualTopic, "all as a manual page: pawl help manual | man -l -")
	return b.String()
}

// text returns the page of the topic.
func (t helpTopic) text() string {
	text, err := helpFiles.ReadFile("help/" + t.name + ".txt")
	if err != nil {
		panic(err) // the file is not embedded: TestHelpTopics would fail here
	}
	return string(text)
}

// manualTopic is the argument of help that prints the manual page pawl(1).
const manualTopic = "manual"

// helpOn interprets the arguments after "pawl help". It returns the text to print if the
// first one is a topic or manual. If it is a command, or there is none, the text is empty and the
// help page comes from kong with the returned arguments. Anything else is an error.
func helpOn(app *kong.Application, args []string) (text string, options []string, err error) {
	options = append(slices.Clone(args), "--help")
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return "", options, nil
	}
	if args[0] == manualTopic {
		return writeManual(app), nil, nil
	}
	var known []string
	for _, t := range helpTopics {
		if t.name == args[0] {
			return t.text(), nil, nil
		}
		known = append(known, t.name)
	}
	for _, command := range app.Children {
		if command.Name == args[0] {
			return "", options, nil
		}
		known = append(known, command.Name)
	}
	return "", nil, fmt.Errorf("there is no help on %q, only on %s", args[0], strings.Join(known, ", "))
}
