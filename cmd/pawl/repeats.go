package main

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

const (
	// maxAlike is how many messages of one kind are printed. It is a choice for the eye: with
	// half of it, the files that share a fault are hard to guess from those shown; double
	// fills a screen with two kinds.
	maxAlike = 10

	// maxKinds bounds the kinds of messages that are distinguished, and so the memory. Beyond it,
	// all others count as one kind. A guess; half of it hides hosts of a list with many dead
	// ones, double prints up to 2000 lines.
	maxKinds = 100

	// maxPattern is how many bytes of a text are compared. The beginning names the event.
	maxPattern = 200
)

// repeats counts messages, so that many of one kind do not hide the others: the first ones of a
// kind are printed, and one line at the end has the number of the others. The zero value is
// ready to use. It is safe for concurrent use.
type repeats struct {
	mu    sync.Mutex
	kinds map[string]*repeat // by level and pattern; guarded by mu
	order []*repeat          // in the order of their first messages; guarded by mu
}

// A repeat is one kind of messages. The mu of its repeats guards it.
type repeat struct {
	level  string // "error" or "warning"
	n      int    // messages so far
	hidden int    // of these, messages that were not printed
	sample string // the first of the hidden messages
}

// admit counts a message and reports whether it must be printed. Messages are of one kind if
// their levels and hosts are equal and their texts differ only in names and numbers.
func (r *repeats) admit(m message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kind(m)
	if k.n++; k.n <= m.most {
		return true
	}
	if k.hidden++; k.hidden == 1 {
		k.sample = m.line
	}
	return false
}

// A message is a line for repeats.
type message struct {
	level string // "error" or "warning"
	host  string // origin; "" if the message is not about a host
	text  string // the event, without the file
	line  string // the whole message
	most  int    // how many of its kind are printed
}

// kind returns the kind of a message. mu must be held.
func (r *repeats) kind(m message) *repeat {
	key := m.level + " " + m.host + " " + pattern(m.text)
	if r.kinds[key] == nil && len(r.kinds) >= maxKinds {
		key = m.level
	}
	k := r.kinds[key]
	if k == nil {
		k = &repeat{level: m.level}
		if r.kinds == nil {
			r.kinds = make(map[string]*repeat)
		}
		r.kinds[key] = k
		r.order = append(r.order, k)
	}
	return k
}

// variableParts matches the parts of a text that are about a single file: quoted texts, words with a
// slash, and numbers.
var variableParts = regexp.MustCompile(`"(?:[^"\\]|\\.)*"?|\S*/\S*|[0-9]+`)

// pattern returns a text without names and numbers.
func pattern(text string) string {
	return strings.ToValidUTF8(variableParts.ReplaceAllLiteralString(text[:min(len(text), maxPattern)], ""), "")
}

// rest returns a line for each kind of which messages were hidden, and forgets all messages.
func (r *repeats) rest() (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.order {
		switch {
		case k.hidden == 1:
			lines = append(lines, fmt.Sprintf("pawl: %s: %s", k.level, k.sample))
		case k.hidden > 1:
			lines = append(lines, fmt.Sprintf("pawl: %s: %d more such as: %s", k.level, k.hidden, k.sample))
		}
	}
	r.kinds, r.order = nil, nil
	return lines
}
