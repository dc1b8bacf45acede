package daemon

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pawl/downloader/queue"
)

// sectionsOf returns the sections of the help topic by their titles.
func sectionsOf(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../help/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	sections, title := make(map[string]string), ""
	for line := range strings.Lines(string(text)) {
		if regexp.MustCompile(`^[A-Z ]+\n$`).MatchString(line) {
			title = strings.TrimSpace(line)
			continue
		}
		sections[title] += line
	}
	return sections
}

// keysIn returns the keys that a table of the help topic explains: the names at the beginning of its lines.
func keysIn(section string) (keys []string) {
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z_]+(?:, [a-z_]+)*)(?:\n|  )`).FindAllStringSubmatch(section, -1) {
		keys = append(keys, strings.Split(m[1], ", ")...)
	}
	return keys
}

// TestHelp checks that pawl help api has exactly the requests, keys, states, kinds of events, codes of errors
// and limits that there are.
func TestHelp(t *testing.T) {
	sections := sectionsOf(t)
	same := func(what string, got, want []string) {
		t.Helper()
		got, want = slices.Clone(got), slices.Clone(want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the help topic has\n%q, the code has\n%q", what, got, want)
		}
	}
	var got, want []string
	for _, m := range regexp.MustCompile(`(?m)^  ([A-Z]+ /\S+) `).FindAllStringSubmatch(sections["REQUESTS"], -1) {
		got = append(got, m[1])
	}
	for _, r := range apiRoutes {
		want = append(want, r.method+" "+strings.ReplaceAll(r.path, "{id}", "ID"))
	}
	same("requests", got, want)

	task, states, _ := strings.Cut(sections["TASK"], "\n  state       meaning\n")
	events, kinds, _ := strings.Cut(sections["EVENTS"], "\n  event       meaning\n")
	_, codes, _ := strings.Cut(sections["ERRORS"], "meaning\n")
	same("keys of the status", keysIn(sections["STATUS"]), keysOf(reflect.TypeFor[Status]()))
	same("keys of a task", keysIn(task), keysOf(reflect.TypeFor[Task]()))
	same("keys of an addition", keysIn(sections["ADDING"]), keysOf(reflect.TypeFor[Addition]()))
	same("keys of a change", keysIn(sections["CHANGING"]), keysOf(reflect.TypeFor[Change]()))
	same("keys of an event", keysIn(events), keysOf(reflect.TypeFor[Event]()))
	for what, of := range map[string]reflect.Type{
		"settings": reflect.TypeFor[Settings](), "a detail": reflect.TypeFor[Detail](), "a source": reflect.TypeFor[Source](),
		"a pause": reflect.TypeFor[Pause](), "files": reflect.TypeFor[queue.Files](), "progress": reflect.TypeFor[taskProgress](),
		"a list of IDs": reflect.TypeFor[idList](), "a link": reflect.TypeFor[link](), "an error": reflect.TypeFor[Error](),
	} {
		for _, key := range keysOf(of) {
			if !regexp.MustCompile(`\b` + key + `\b`).MatchString(fmt.Sprint(sections)) {
				t.Errorf("the key %q of %s is not mentioned", key, what)
			}
		}
	}

	want = nil
	for _, s := range allStates {
		want = append(want, string(s))
	}
	same("states", keysIn(states), want)

	want = []string{helloKind, progressKind}
	source, err := os.ReadFile("../../../downloader/queue/events.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Kind += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, m[1])
	}
	same("kinds of events", keysIn(kinds), want)

	got, want = nil, nil
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) +(\d+) `).FindAllStringSubmatch(codes, -1) {
		got = append(got, m[1]+" "+m[2])
	}
	for _, e := range []*Error{errBusy, errTooLarge, errNoPath, errUnauthorized, asError(badRequest("x")), asError(os.ErrClosed)} {
		want = append(want, fmt.Sprint(e.Code, " ", e.Status))
	}
	for _, q := range queueErrors {
		want = append(want, fmt.Sprint(q.code, " ", q.status))
	}
	want = append(want, "origin 403", "method 405")
	slices.Sort(want)
	same("codes of errors", got, slices.Compact(want))

	for _, limit := range []string{
		fmt.Sprintf("connections           %d;", maxConns), fmt.Sprintf("events     %d, and %d WebSockets", maxStreams, maxStreams),
		fmt.Sprintf("%d KiB, %d MiB with at most %d arrays", maxHeaderBytes>>10, maxBody>>20, maxDepth),
		fmt.Sprintf("%d seconds for a header, %d for a request, %d for an", int(headerTime.Seconds()), int(requestTime.Seconds()), int(answerTime.Seconds())),
	} {
		if !strings.Contains(sections["LIMITS"], limit) {
			t.Errorf("LIMITS does not say %q", limit)
		}
	}
	if answerTime != idleTime || eventTime.Seconds() != 10 || guessTime.Seconds() != 1 || tokenLife.Minutes() != 1 || maxJobs != 1000 {
		t.Error("the help topic says something else about times or jobs")
	}
}
