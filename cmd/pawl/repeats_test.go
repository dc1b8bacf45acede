package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRepeats checks which messages are of one kind, that the first of a kind are printed, and
// that the others are counted.
func TestRepeats(t *testing.T) {
	var r repeats
	add := func(level, host, text string, most int) bool {
		return r.admit(message{level: level, host: host, text: text, line: text, most: most})
	}
	for i := range 15 {
		texts := []string{
			fmt.Sprintf("HTTP error 403 from h, try %d", i),
			fmt.Sprintf(`open /d/%s: permission denied`, strings.Repeat("x", i+1)),
			fmt.Sprintf(`%q has no address`, strings.Repeat(`"h`, i+1)),
		}
		for _, text := range texts {
			for _, host := range []string{"a", "b"} {
				if got := add("error", host, text, maxAlike); got != (i < maxAlike) {
					t.Errorf("message %d: %q of %s: got %v", i, text, host, got)
				}
			}
		}
		add("error", "a", "not tried", 0)
	}
	add("warning", "a", "once", maxAlike)
	for range maxAlike + 1 {
		add("warning", "a", "twice", maxAlike)
	}
	got := r.rest()
	if len(got) != 8 || !slices.Contains(got, "pawl: error: 5 more such as: HTTP error 403 from h, try 10") ||
		!slices.Contains(got, "pawl: error: 15 more such as: not tried") || !slices.Contains(got, "pawl: warning: twice") {
		t.Errorf("got %q", got)
	}
	if got := r.rest(); got != nil {
		t.Errorf("after rest: got %q", got)
	}
}

// TestRepeatsBounded checks that messages of very many kinds are bounded in lines and in memory.
func TestRepeatsBounded(t *testing.T) {
	skipUnderRace(t)
	var r repeats
	printed := 0
	for i := range 100 * maxKinds {
		if r.admit(message{level: "error", host: fmt.Sprintf("h%d", i), text: strings.Repeat("é", 500), most: maxAlike}) {
			printed++
		}
	}
	if printed > maxKinds+maxAlike || len(r.kinds) > maxKinds+2 {
		t.Errorf("%d messages were printed, and %d kinds are kept", printed, len(r.kinds))
	}
}
