package main

import (
	"os"
	"testing"
)

// Two variables of the environment choose how much the tests do. Without them a sample runs, of
// one row of each kind, which is what a developer waits for. PAWL_TEST_ALL=1 adds the variants, the
// further random samples, and a few expensive measurements, as CI does. PAWL_TEST_LONG=1 also
// makes lists, kills and waits as large as they are in practice, which takes an hour.

// allTests reports whether the variants run, too.
func allTests() bool { return os.Getenv("PAWL_TEST_ALL") != "" || longTests() }

// skipExpensive skips a test that takes seconds of CPU time and runs only with PAWL_TEST_ALL=1.
func skipExpensive(t *testing.T) {
	t.Helper()
	if !allTests() {
		t.Skip("PAWL_TEST_ALL is not set")
	}
}

// longTests reports whether the tests have the sizes of practice.
func longTests() bool { return os.Getenv("PAWL_TEST_LONG") != "" }

// skipUnderRace skips a test whose memory or time the race detector would multiply.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector multiplies its memory or its time")
	}
}
